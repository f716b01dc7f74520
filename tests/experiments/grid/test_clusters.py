"""Cells on clusters of others: a real scheduler and workers, some of which are killed, and a Slurm that is not one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from zerowait.experiments.grid import remote
from zerowait.experiments.grid.attempts import CellFolders
from zerowait.experiments.grid.planning import make_plan
from zerowait.experiments.grid.remote import RemoteDask
from zerowait.experiments.studies.study import load_study
from zerowait.suite.records.trace import read_trace
from zerowait.suite.rules.errors import SpecificationError

COUNTED = '''\
"""A benchmark that writes down each of its evaluations, by the objective's seed, which no two of a study share."""

import os
import time

from zerowait.benchmarks import Family
from zerowait.suite.rules.evaluation import Evaluation


class Counted:
    name = label = "counted"
    task, metrics, fidelity, citation, licence, optimum = None, {}, None, "", "", None

    @property
    def space(self):
        from ConfigSpace import ConfigurationSpace

        return ConfigurationSpace({"x": (0.0, 1.0)})

    def __call__(self, config, *, fidelity=None, seed=None):
        with open(os.environ["COUNTED_FILE"], "a") as file:
            file.write(f"{seed}\\n")
        time.sleep(0.02)
        return Evaluation(float(config["x"]), 1.0)


FAMILY = Family("counted", "writes down its evaluations", Counted)
'''

STUDY = """\
name = "counted"
workers = [1]
seeds = 24
overhead = "none"
output = "{output}"

[budget]
max_evaluations = 6

[[optimizers]]
name = "random"
mode = "ask_tell"

[[benchmarks]]
name = "counted"
"""


def counted_seeds(file):
    """Return the seeds of the evaluations; what a row's configuration is worth without noise is asked without one."""
    return [seed for seed in file.read_text().split() if seed != "None"]


@pytest.fixture
def counted(tmp_path, monkeypatch, install):
    """Install the benchmark that counts its evaluations, and return the file that it writes to."""
    install("counted", COUNTED)
    monkeypatch.setenv("COUNTED_FILE", str(tmp_path / "counted"))
    (tmp_path / "study.toml").write_text(STUDY.format(output=tmp_path / "runs"))
    return tmp_path / "counted"


class Cluster:
    """A scheduler and workers, each a process of its own on loopback."""

    def __init__(self, folder, *, threads=1, workers=2, tls=()):
        self.tls = tls
        self.folder, self.processes = folder, []
        file = folder / f"scheduler-{time.monotonic_ns()}.json"
        protocol = ["--protocol", "tls"] if tls else []
        self.scheduler = self._start(
            "dask_scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--scheduler-file",
            file,
            *protocol,
        )
        wait_for(lambda: file.exists() and file.read_text().endswith("}"), "the scheduler")
        self.address = json.loads(file.read_text())["address"]
        self.workers = [self.start_worker(threads) for _ in range(workers)]

    def start_worker(self, threads=1):
        return self._start(
            "dask_worker", self.address, "--nthreads", str(threads), "--no-nanny", "--host", "127.0.0.1",
            "--no-dashboard", "--local-directory", self.folder,
        )  # fmt: skip

    def _start(self, program, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{program}", *map(str, arguments), *map(str, self.tls)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    """Start clusters, and end them with the test."""
    clusters = []

    def start(**options):
        clusters.append(Cluster(tmp_path, **options))
        return clusters[-1]

    yield start
    for one in clusters:
        one.close()


def wait_for(condition, what, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def test_a_killed_worker_and_a_killed_scheduler_lose_nothing_and_run_nothing_twice(
    zerowait, counted, cluster, tmp_path
):
    study, cells = tmp_path / "study.toml", CellFolders(tmp_path / "runs" / "cells")
    first = cluster()
    process = subprocess.Popen(
        [zerowait.command, "run", study, "--scheduler", first.address],
        cwd=zerowait.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: len(cells.finished_keys()) >= 3, "three cells")
    first.workers[0].send_signal(signal.SIGKILL)
    wait_for(lambda: len(cells.finished_keys()) >= 8, "eight cells, most of them of the other worker")
    first.scheduler.send_signal(signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=300)
    assert (process.returncode, stdout) == (2, "")
    assert "Traceback" not in stderr
    assert f"the connection to the scheduler at {first.address} is lost; finished cells are kept" in stderr
    before = {key: cells.finished(key).stat().st_ino for key in cells.finished_keys()}
    assert 8 <= len(before) < 24
    second = cluster()
    done = zerowait("run", study, "--scheduler", second.address)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("24 of 24 cells are finished (")
    assert {key: cells.finished(key).stat().st_ino for key in before} == before
    evaluations = Counter(map(int, counted_seeds(counted)))
    keys = [cell.key for cell in make_plan(load_study(study), "study").cells]
    assert cells.finished_keys() == set(keys)
    seeds = {key: read_trace(cells.finished(key) / "trace.parquet")["seed"].tolist() for key in keys}
    assert sum(map(len, seeds.values())) == len(evaluations) == 24 * 6  # none is lost, and none was evaluated in vain
    twice = {key for key in keys if any(evaluations[seed] > 1 for seed in seeds[key])}
    assert (
        len(twice) <= 2
    )  # those at which a process died: the worker that was killed, and the one that lost its scheduler
    assert max(evaluations.values()) <= 2


def test_a_cluster_at_tls_is_used_with_certificates_and_not_without(zerowait, study_file, cluster, tmp_path):
    from distributed import Security

    security = Security.temporary()
    files = {}
    for name, text in {
        "ca-file": security.tls_ca_file,
        "cert": security.tls_client_cert,
        "key": security.tls_client_key,
    }.items():
        files[name] = tmp_path / f"{name}.pem"
        files[name].write_text(text)
    tls = [part for name, path in files.items() for part in (f"--tls-{name}", path)]
    there = cluster(workers=1, tls=tls)
    assert there.address.startswith("tls://127.0.0.1:")
    study = study_file(("seeds = 2", "seeds = 1"))
    done = zerowait("run", study, "--scheduler", there.address)
    assert done.returncode == 2
    assert "give --tls-ca-file, --tls-cert and --tls-key" in done.stderr
    done = zerowait("run", study, "--scheduler", there.address, *tls)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("4 of 4 cells are finished (4 now")


def test_workers_with_threads_are_refused(zerowait, study_file, cluster):
    there = cluster(threads=2, workers=1)
    wait = "import sys; from distributed import Client; Client(sys.argv[1]).wait_for_workers(1)"
    subprocess.run([sys.executable, "-c", wait, there.address], check=True, timeout=300)
    done = zerowait("run", study_file(), "--scheduler", there.address)
    assert done.returncode == 2
    assert "has 2 threads, and runs need a process each; start workers with: " in done.stderr
    assert f"dask worker {there.address} --nthreads 1" in done.stderr


def test_a_worker_with_threads_that_joins_later_is_refused_and_what_others_have_begun_is_finished(
    zerowait, counted, cluster, tmp_path
):
    study, cells = tmp_path / "study.toml", CellFolders(tmp_path / "runs" / "cells")
    study.write_text(study.read_text().replace("seeds = 24", "seeds = 300"))
    there = cluster(workers=1)
    process = subprocess.Popen(
        [zerowait.command, "run", study, "--scheduler", there.address],
        cwd=zerowait.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(cells.finished_keys, "the first cell")
    there.start_worker(threads=2)
    stdout, stderr = process.communicate(timeout=300)
    assert (process.returncode, stdout) == (2, "")
    refusal = stderr.splitlines()[-1]
    assert "has 2 threads, and runs need a process each; start workers with: " in refusal
    assert refusal.endswith(f"dask worker {there.address} --nthreads 1")
    assert "Traceback" not in stderr

    def nothing_was_begun_in_vain():  # between two cells none runs, so that alone says nothing
        return not cells.running_keys() and len(counted_seeds(counted)) == 6 * len(cells.finished_keys())

    wait_for(nothing_was_begun_in_vain, "the cells that the other worker had begun")
    assert not list(cells.path.glob(".*"))
    assert 0 < len(cells.finished_keys()) < 300


def address_of(listener):
    return "tcp://{}:{}".format(*listener.getsockname())


def refusal_of(address):
    """Return the refusal of a scheduler, and what was told before."""
    told = []
    engine = RemoteDask(address, tell=told.append)
    with pytest.raises(SpecificationError) as error:
        list(engine.run([None], None))
    return str(error.value), told


def test_an_address_where_nobody_listens_is_refused_without_waiting(monkeypatch):
    monkeypatch.setattr(remote, "MOMENT_SECONDS", 100.0)  # what takes longer is announced
    text, told = refusal_of("tcp://127.0.0.1:1")
    assert text == (
        "no scheduler answers at tcp://127.0.0.1:1 (Connection refused); start one with: dask scheduler, and give the "
        "address that it prints"
    )
    assert told == []


@pytest.mark.parametrize("queue", ["full", "open"])
def test_a_host_that_says_nothing_is_announced_and_then_refused(monkeypatch, queue):
    for name, seconds in {"MOMENT_SECONDS": 0.1, "CONNECT_SECONDS": 1.0, "ANSWER_SECONDS": 1.0}.items():
        monkeypatch.setattr(remote, name, seconds)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        if queue == "full":  # the kernel answers nobody else, as for a host that is not there
            stack.enter_context(socket.create_connection(listener.getsockname()))
        else:
            listener.listen()
        text, told = refusal_of(address_of(listener))
        assert text.startswith(f"no scheduler answers at {address_of(listener)} (")
        assert told == [f"connecting to {address_of(listener)} ..."]


def test_a_server_that_is_no_scheduler_is_refused_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        address = address_of(listener)
        text, _ = refusal_of(address)
        thread.join()
    assert text.startswith(f"no scheduler answers at {address} (")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scheduler", "localhost:8786"], "it must be tcp://HOST:PORT or tls://HOST:PORT"),
        (["--scheduler", "tcp://localhost"], "it must be tcp://HOST:PORT or tls://HOST:PORT"),
        (["--scheduler", "tcp://localhost:port"], "it must be tcp://HOST:PORT or tls://HOST:PORT"),
        (["--scheduler", "tcp://127.0.0.1:9"], "no scheduler answers at tcp://127.0.0.1:9"),
        (["--scheduler", "tcp://127.0.0.1:9", "--jobs", "2"], "leave out --jobs"),
        (["--scheduler", "tcp://127.0.0.1:9", "--tls-cert", "x"], "belong together; give all three"),
        (["--scheduler", "tcp://127.0.0.1:9", "--in-process"], "--in-process and --scheduler contradict each other"),
        (["--slurm", "--jobs", "2"], "--slurm needs the command sbatch, which is not there"),
        (["--slurm"], "add --jobs NUMBER"),
        (["--slurm-option", "queue=long"], "add --slurm"),
    ],
)
def test_options_that_cannot_be_used_are_one_line(zerowait, study_file, options, message):
    done = zerowait("run", study_file(), *options)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert message in done.stderr.splitlines()[-1]


SBATCH = """\
#!/bin/sh
n=0
until mkdir "$SLURM_FAKE/job.$n" 2>/dev/null; do n=$((n + 1)); done
cp "$1" "$SLURM_FAKE/script.$n"
setsid sh "$SLURM_FAKE/script.$n" >"$SLURM_FAKE/log.$n" 2>&1 &
echo $! >"$SLURM_FAKE/pid.$n"
echo "Submitted batch job $n"
"""
SCANCEL = """\
#!/bin/sh
echo "$1" >>"$SLURM_FAKE/cancelled"
kill -9 -"$(cat "$SLURM_FAKE/pid.$1")"
"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Put a Slurm onto the path that starts each job at once, on this machine, and keeps its script."""
    folder, programs = tmp_path / "slurm", tmp_path / "programs"
    folder.mkdir()
    programs.mkdir()
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_FAKE", str(folder))
    yield folder
    for file in folder.glob("pid.*"):
        try:
            os.killpg(int(file.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_slurm_jobs_are_submitted_with_the_options_and_run_the_cells(zerowait, study_file, slurm, tmp_path):
    options = ["queue=long", "walltime=04:00:00", "memory=2GB", 'job_extra_directives=["--nice=10"]']
    options.append('scheduler_options={host = "127.0.0.1"}')
    done = zerowait(
        "run", study_file(), "--slurm", "--jobs", "2", *(part for o in options for part in ("--slurm-option", o))
    )
    assert done.returncode == 0, done.stderr
    assert "2 jobs are submitted" in done.stderr
    assert done.stdout.startswith("8 of 8 cells are finished (8 now")
    scripts = sorted(slurm.glob("script.*"))
    assert len(scripts) == 2
    text = scripts[0].read_text()
    lines = text.splitlines()
    for line in ("-p long", "-n 1", "--cpus-per-task=1", "--mem=2G", "-t 04:00:00", "--nice=10"):
        assert f"#SBATCH {line}" in lines
    for line in (
        "export OMP_NUM_THREADS=1",
        "export PYTHONHASHSEED=0",
        "export DASK_DISTRIBUTED__WORKER__DAEMON=False",
    ):
        assert line in lines
    worker = lines[-1]
    assert worker.startswith(sys.executable)
    assert " -m distributed.cli.dask_worker tls://127.0.0.1:" in worker
    assert "--nthreads 1 " in worker
    assert "--tls-cert " in worker
    assert sorted((slurm / "cancelled").read_text().split()) == ["0", "1"]
    assert not list((tmp_path / "runs").glob(".slurm-*"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("quue=long", "'quue', which is no option of dask-jobqueue; did you mean 'queue'?"),
        ("queue", "--slurm-option is 'queue'; it must be KEY=VALUE"),
    ],
)
@pytest.mark.usefixtures("slurm")
def test_an_option_that_dask_jobqueue_does_not_know_is_one_line(zerowait, study_file, option, message):
    done = zerowait("run", study_file(), "--slurm", "--jobs", "1", "--slurm-option", option)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert message in line


def test_what_sbatch_says_is_told(zerowait, study_file, slurm, tmp_path):
    (tmp_path / "programs" / "sbatch").write_text("#!/bin/sh\necho 'invalid partition specified: lng' >&2\nexit 1\n")
    done = zerowait("run", study_file(), "--slurm", "--jobs", "1", "--slurm-option", "queue=lng")
    assert done.returncode == 2
    assert "Slurm did not take the jobs" in done.stderr.splitlines()[-1]
    assert "invalid partition specified: lng" in done.stderr.splitlines()[-1]
