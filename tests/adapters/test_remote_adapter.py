"""Runs in an environment of their own: DEHB on NumPy 1, called from here, where NePS needs NumPy 2.

The environment is a real one, installed by the first of these tests that ever runs in this checkout (some 30 s) and
kept in `.venv-environments`, or in `$ZEROWAIT_ENVIRONMENTS`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest

from zerowait import adapters, benchmarks
from zerowait.adapters.adapter import Adapter
from zerowait.adapters.environments import environments
from zerowait.adapters.environments.isolation import run_elsewhere
from zerowait.adapters.environments.site_links import link_caller
from zerowait.adapters.random_search import RandomSearch
from zerowait.adapters.registry import classes
from zerowait.adapters.remote_adapter import elsewhere, examine
from zerowait.suite import Budget, Overhead, read_trace
from zerowait.suite.records.check import check
from zerowait.suite.rules.errors import SpecificationError, WorkerDied, ZerowaitError

ROOT = Path(__file__).resolve().parents[2]
KEPT = Path(os.environ.get("ZEROWAIT_ENVIRONMENTS", ROOT / ".venv-environments"))


@pytest.fixture(autouse=True)
def _kept_environments(monkeypatch):
    monkeypatch.setenv("ZEROWAIT_ENVIRONMENTS", str(KEPT))


@pytest.fixture
def environment(_kept_environments):
    """The environment of DEHB, built if it does not exist."""
    return environments.create("dehb")


@pytest.fixture
def random_there(environment):
    """Random search, forced into the environment."""
    return elsewhere(RandomSearch, environment)


@pytest.fixture
def dehb_there(environment):
    """DEHB, forced into the environment although it can be imported here."""
    return elsewhere(classes()["dehb"], environment)


@pytest.fixture
def without_dehb(monkeypatch):
    """Make DEHB look as if it were not installed here."""
    monkeypatch.setattr(
        "zerowait.adapters.adapter.find_spec", lambda name: None if name == "dehb" else find_spec(name)
    )  # fmt: skip


def optimize(adapter, benchmark, mode="native", evaluations=30, **options):
    return adapter.optimize(
        benchmark, n_workers=2, seed=7, budget=Budget(max_evaluations=evaluations), mode=mode,
        overhead=options.pop("overhead", Overhead.none()), **options,
    )  # fmt: skip


def versions(trace):
    return trace.attrs["zerowait"]["versions"]


@pytest.mark.timeout(600)
def test_the_environment_is_what_it_should_be_beside_what_excludes_it(environment):
    import neps

    assert neps is not None
    assert int(np.__version__.partition(".")[0]) >= 2
    assert environment.versions()["numpy"] == "1.26.4"
    assert examine(environment, ("dehb", "zerowait.suite", "zerowait.benchmarks", "zerowait.adapters")) == []
    # DEHB's own requirements are met there, which they are not here.
    command = [sys.executable, "-m", "pip", "--python", environment.interpreter, "check"]
    assert subprocess.check_output(command, text=True) == "No broken requirements found.\n"


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_a_run_there_is_the_run_here(random_there, mode):
    benchmark = benchmarks.load("branin", delta_t=0.01)
    here = optimize(RandomSearch(), benchmark, mode)
    trace = optimize(random_there(), benchmark, mode)
    assert trace.equals(here)
    assert versions(trace)["numpy"] == "1.26.4"
    assert versions(trace)["zerowait"] == versions(here)["zerowait"]
    assert versions(here)["numpy"] == np.__version__
    both = [dict(found.attrs["zerowait"]["specification"]) for found in (trace, here)]
    assert both[0] == both[1]


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_dehb_on_numpy_1_makes_the_same_run_as_on_numpy_2(dehb_there, mode, tmp_path):
    benchmark = benchmarks.load("branin")
    adapter = dehb_there(mutation_factor=0.6)
    assert isinstance(adapter, classes()["dehb"])
    assert adapter.refuses(benchmark) is None
    trace = optimize(adapter, benchmark, mode, directory=tmp_path / "run", labels={"note": "first"})
    assert len(trace) == 30
    assert trace["fidelity"].nunique() > 1
    assert versions(trace)["numpy"] == "1.26.4"
    assert trace.attrs["zerowait"]["specification"]["labels"]["note"] == "first"
    assert read_trace(tmp_path / "run" / "trace.parquet").equals(trace)
    if mode == "native":
        assert check(tmp_path / "run").violations == ()
    # The native run is the one of ask-and-tell, which starts sooner.
    assert trace.equals(optimize(adapters.load("dehb", mutation_factor=0.6), benchmark, "ask_tell"))


def test_measured_overhead_and_times_cross_as_well(random_there):
    trace = random_there().optimize(
        benchmarks.load("branin"), n_workers=2, seed=0, budget=Budget(max_time=20_000.0), overhead=Overhead.measured()
    )
    assert trace["end"].max() <= 20_000.0
    assert (trace["overhead"] > 0).any()
    modelled = Overhead.linear(2.0, 0.5, sampling="parallel")
    here = optimize(RandomSearch(), benchmarks.load("branin"), "ask_tell", overhead=modelled)
    assert optimize(random_there(), benchmarks.load("branin"), "ask_tell", overhead=modelled).equals(here)


def test_the_tables_of_a_benchmark_are_found_there(random_there, tmp_path, monkeypatch):
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path))  # nothing is converted yet: the package itself is read
    benchmark = benchmarks.load("hpobench", task="car")
    trace = optimize(random_there(), benchmark, "ask_tell", evaluations=5)
    assert trace.equals(optimize(RandomSearch(), benchmark, "ask_tell", evaluations=5))


def test_a_benchmark_of_another_package_is_found_there(random_there, tmp_path, monkeypatch):
    site = tmp_path / "site"
    info = site / "bowls-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bowls\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[zerowait.benchmarks]\nbowls = bowls:FAMILY\n")
    (site / "bowls.py").write_text(
        "from zerowait.benchmarks import Family\n"
        "class Bowl:\n"
        "    name, label, task, fidelity, metrics, optimum, citation, licence = "
        "'bowls', 'bowls', None, None, {}, 0.0, '', ''\n"
        "    @property\n"
        "    def space(self):\n"
        "        from ConfigSpace import ConfigurationSpace\n"
        "        return ConfigurationSpace({'x': (0.0, 1.0)})\n"
        "    def __call__(self, config):\n"
        "        return {'value': config['x'], 'runtime': 1.0 + config['x']}\n"
        "FAMILY = Family('bowls', 'a bowl', Bowl)\n"
    )
    monkeypatch.syspath_prepend(site)
    try:
        assert len(optimize(random_there(), benchmarks.load("bowls"), evaluations=4)) == 4
    finally:
        sys.modules.pop("bowls", None)


def test_the_library_there_checks_parameters_and_benchmarks_before_the_run(dehb_there, random_there):
    with pytest.raises(SpecificationError, match="'dehb' was given 'mutation'; it takes"):
        dehb_there(mutation=3)
    with pytest.raises(SpecificationError, match="'random' has no parameters; it was given x"):
        random_there(x=1)
    without_fidelity = benchmarks.load("hpobench", task="car")
    assert (
        dehb_there()
        .refuses(without_fidelity)
        .startswith("the optimizer chooses training budgets and the benchmark has no fidelity: the official file")
    )
    with pytest.raises(SpecificationError, match="mode is 'threads'; 'random' can run in 'native' or 'ask_tell'"):
        optimize(random_there(), benchmarks.load("branin"), "threads")


def test_what_cannot_be_sent_is_refused(random_there, bowl):
    adapter, branin = random_there(), benchmarks.load("branin")
    assert "only one that benchmarks.load has made" in adapter.refuses(bowl)
    with pytest.raises(SpecificationError, match="'bowl/mixed' cannot be sent to the environment"):
        optimize(adapter, bowl)
    with pytest.raises(SpecificationError, match=r"is a function, which cannot be sent .* use Overhead.linear"):
        optimize(adapter, branin, overhead=Overhead.model(lambda n: n * 0.5))
    branin.noise = True
    with pytest.raises(SpecificationError, match="was changed after it had been loaded: loaded again it is 'branin'"):
        optimize(adapter, branin)


@pytest.mark.usefixtures("without_dehb")
def test_an_optimizer_whose_library_is_not_here_runs_in_its_environment(environment):
    (found,) = [found for found in adapters.available() if found.name == "dehb"]
    assert found.installed
    assert found.problem is None
    assert found.environment == "dehb"
    assert found.modes == ("native", "ask_tell", "native-simulated")
    adapter = adapters.load("dehb")
    assert adapter.environment == environment
    assert versions(optimize(adapter, benchmarks.load("branin"), "ask_tell", evaluations=6))["numpy"] == "1.26.4"


@pytest.mark.usefixtures("without_dehb")
def test_without_an_environment_the_problem_says_how_to_create_one(tmp_path, monkeypatch):
    monkeypatch.setenv("ZEROWAIT_ENVIRONMENTS", str(tmp_path))
    (found,) = [found for found in adapters.available() if found.name == "dehb"]
    assert not found.installed
    assert found.problem.startswith("it needs dehb, which is not installed; pip install ")
    assert found.problem.endswith(
        ", or it runs in an environment of its own: create it with `zerowait env create dehb`"
    )
    with pytest.raises(
        SpecificationError, match=r"'dehb' cannot be loaded: it needs dehb, .*`zerowait env create dehb`"
    ):
        adapters.load("dehb")


class Unknown(Adapter):
    name = "unknown"
    library = "a-library-of-a-third-party"
    modes = frozenset({"ask_tell"})
    requires = {"no_such_module": "no-such-module"}  # noqa: RUF012


def test_a_library_without_an_environment_is_only_to_be_installed():
    assert Unknown.missing() == "it needs no_such_module, which is not installed; pip install no-such-module"


def test_what_is_damaged_is_told(environment, tmp_path, monkeypatch):
    # An environment that finds everything in the real one, which stays whole, and something else before it.
    (real,) = environment.folder.glob("lib/python*/site-packages")
    monkeypatch.setenv("ZEROWAIT_ENVIRONMENTS", str(tmp_path))
    damaged = environments.environment("dehb")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", damaged.folder], check=True)
    (site,) = damaged.folder.glob("lib/python*/site-packages")
    (site / "real.pth").write_text(f"{real}\n")
    (damaged.folder / "environment.json").write_text((environment.folder / "environment.json").read_text())
    assert examine(damaged, ("dehb",)) == []
    (site / "loguru-0.1.dist-info").mkdir()
    (site / "loguru-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: loguru\nVersion: 0.1\n")
    (site / "dehb.py").write_text("raise ImportError('torn')\n")
    assert examine(damaged, ("dehb", "no_such_module")) == [
        f"loguru has version 0.1 and not {environments.pins('dehb')['loguru']}",
        "dehb cannot be imported: ImportError: torn",
        "no_such_module cannot be imported: ModuleNotFoundError: No module named 'no_such_module'",
    ]


SCRIPT = """
import sys
from zerowait import benchmarks
from zerowait.adapters.environments import environments
from zerowait.adapters.remote_adapter import elsewhere
from zerowait.adapters.random_search import RandomSearch
from zerowait.suite import Budget, Overhead
elsewhere(RandomSearch, environments.environment("dehb"))().optimize(
    benchmarks.load("branin"), n_workers=4, seed=0, budget=Budget(max_evaluations=1_000_000), overhead=Overhead.none(),
    directory=sys.argv[1], mode="native",
)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.usefixtures("environment")
def test_the_end_of_the_caller_ends_everything_there(tmp_path, how):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "run")], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    journal = tmp_path / "run" / "journal"
    deadline = time.monotonic() + 300
    while not journal.exists() or journal.stat().st_size < 10_000:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 6  # the interpreter there, its isolated process, and the pool
    process.send_signal(how)
    process.communicate(timeout=300)
    _, alive = psutil.wait_procs(children, timeout=300)
    assert not alive
    assert environments.environment("dehb").exists
    assert check(tmp_path / "run").violations == ()


# -- the process of another interpreter ------------------------------------------------------------------------------

FUNCTIONS = """
import os, sys

class OddError(Exception):
    def __init__(self, one, two):
        super().__init__(one)

def add(a, b):
    return {"sum": a + b, "hash": os.environ["PYTHONHASHSEED"]}

def refuse():
    from zerowait.suite.rules.errors import SpecificationError
    raise SpecificationError("seed is -1")

def odd():
    raise OddError("one", "two")

def leave():
    sys.exit(3)

def die():
    os._exit(4)

def unspeakable():
    return object()
"""


@pytest.fixture
def call(tmp_path):
    """Call a function of a module that only another interpreter sees."""
    (tmp_path / "only_there.py").write_text(FUNCTIONS)
    (tmp_path / "links").mkdir()
    link_caller(tmp_path / "links")
    return lambda name, **arguments: run_elsewhere(
        Path(sys.executable), f"only_there:{name}", arguments, [tmp_path, tmp_path / "links"]
    )


def test_arguments_and_results_are_json(call):
    assert call("add", a=1, b=2) == {"sum": 3, "hash": "0"}
    with pytest.raises(TypeError, match="not JSON serializable"):
        call("add", a=1, b=object())
    with pytest.raises(TypeError, match="not JSON serializable"):
        call("unspeakable")


def test_an_error_keeps_its_type_where_that_exists_here_and_its_text_always(call):
    with pytest.raises(SpecificationError, match="seed is -1") as caught:
        call("refuse")
    assert str(caught.value) == "seed is -1"
    assert "in refuse" in caught.value.__notes__[0]
    with pytest.raises(ZerowaitError, match="OddError: one"):
        call("odd")
    with pytest.raises(ZerowaitError, match="SystemExit: 3"):
        call("leave")
    with pytest.raises(WorkerDied, match="ended with exit code 4 before the run did"):
        call("die")


def test_a_module_of_the_current_folder_takes_no_ones_place(call, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "zerowait.py").write_text("raise AssertionError('imported from the current folder')")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(SpecificationError, match="seed is -1"):
        call("refuse")


def test_the_links_show_zerowait_and_no_library(tmp_path):
    link_caller(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert "zerowait" in names
    assert not {"numpy", "pandas", "dehb", "site-packages"} & names
    assert any(name.startswith("zerowait-") for name in names)
