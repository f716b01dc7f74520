"""Optimizers are listed without their libraries, and a broken plugin harms nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest

from zerowait import adapters
from zerowait.adapters import Adapter, available, load
from zerowait.suite.rules.errors import SpecificationError


class Third(Adapter):
    name = "third"
    library = "third-party"
    modes = frozenset({"ask_tell"})
    uses_fidelity = True


class Undeclared(Adapter):
    name = "undeclared"


class EntryPoint:
    """Stands in for `importlib.metadata.EntryPoint`."""

    def __init__(self, name, loaded):
        self.name = name
        self.value = f"package:{name}"
        self._loaded = loaded

    def load(self):
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture
def plug_in(monkeypatch):
    def plug_in(**plugins):
        points = [EntryPoint(name.replace("_", "-"), loaded) for name, loaded in plugins.items()]
        monkeypatch.setattr("zerowait.adapters.registry.entry_points", lambda group: points if group else [])

    return plug_in


@pytest.fixture
def without_torch(monkeypatch, tmp_path):
    from zerowait.adapters import adapter

    monkeypatch.setenv("ZEROWAIT_ENVIRONMENTS", str(tmp_path))  # nor is there an environment that has it
    find_spec = adapter.find_spec
    monkeypatch.setattr(adapter, "find_spec", lambda name: None if name == "torch" else find_spec(name))


def described(name):
    return next(descriptor for descriptor in available() if descriptor.name == name)


def test_listing_imports_no_library():
    program = (
        "import sys, json; from zerowait import adapters; names = [d.name for d in adapters.available()];"
        "print(json.dumps([names, sorted(m for m in sys.modules if '.' not in m)]))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    names, modules = json.loads(output)
    assert {"random", "optuna-tpe", "optuna-random", "optuna-cmaes", "optuna-gp"} <= set(names)
    assert not {"optuna", "ConfigSpace", "numpy", "pandas", "torch", "cmaes", "cloudpickle"} & set(modules)


def test_a_descriptor_says_how_the_optimizer_can_be_run():
    tpe = described("optuna-tpe")
    assert tpe.library == "optuna"
    assert tpe.modes == ("native", "ask_tell")
    assert not tpe.uses_fidelity
    assert tpe.installed
    assert tpe.problem is None


@pytest.mark.usefixtures("without_torch")
def test_a_missing_library_is_the_reason_why_an_optimizer_is_not_installed():
    gp = described("optuna-gp")
    assert not gp.installed
    assert gp.problem == (
        "it needs torch, which is not installed; pip install torch, or it runs in an environment of its own: "
        "create it with `zerowait env create optuna`"
    )
    assert described("optuna-tpe").installed


@pytest.mark.usefixtures("without_torch")
def test_loading_an_optimizer_whose_library_is_missing_says_what_to_install():
    with pytest.raises(SpecificationError, match=r"'optuna-gp' cannot be loaded: it needs torch, .*pip install torch"):
        load("optuna-gp")


def test_the_module_of_every_requirement_is_looked_up_and_not_imported(monkeypatch):
    from zerowait.adapters import adapter

    asked = []
    monkeypatch.setattr(adapter, "find_spec", lambda name: asked.append(name) or ModuleSpec(name, None))
    assert described("optuna-gp").installed
    assert {"optuna", "torch", "scipy"} <= set(asked)


def test_an_unknown_optimizer_is_refused_with_the_known_ones():
    with pytest.raises(SpecificationError, match=r"no optimizer 'optuna-tpo'; known are .*optuna-tpe"):
        load("optuna-tpo")


def test_a_third_party_joins_through_its_entry_point(plug_in):
    plug_in(third=Third)
    assert described("third").library == "third-party"
    assert described("third").modes == ("ask_tell",)
    assert described("third").uses_fidelity
    assert isinstance(load("third"), Third)


def test_a_broken_plugin_is_reported_and_harms_nobody(plug_in):
    plug_in(broken=ImportError("no module named gone"), third=Third)
    assert described("broken").problem == (
        "the plugin 'broken' (package:broken) is broken: ImportError: no module named gone"
    )
    assert described("third").installed
    with pytest.raises(SpecificationError, match="no module named gone"):
        load("broken")


def test_a_plugin_that_is_no_adapter_is_reported(plug_in):
    plug_in(wrong=dict)
    assert "not a subclass of adapters.Adapter" in described("wrong").problem


def test_a_plugin_that_declares_too_little_is_reported(plug_in):
    plug_in(undeclared=Undeclared)
    assert "does not declare library, modes" in described("undeclared").problem


def test_a_plugin_cannot_take_the_name_of_another_optimizer(plug_in):
    plug_in(random=Third)
    both = [descriptor for descriptor in available() if descriptor.name == "random"]
    assert [descriptor.installed for descriptor in both] == [True, False]
    assert "its name is taken by zerowait.adapters.random_search:RandomSearch" in both[1].problem
    assert type(load("random")).__name__ == "RandomSearch"


def test_the_package_exports_what_the_author_of_an_adapter_needs():
    assert {"Adapter", "Benchmark", "Run", "available", "load"} <= set(adapters.__all__)
