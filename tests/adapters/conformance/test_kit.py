"""The conformance kit catches adapters that break a promise; the tests of each library apply it to sound ones."""

from __future__ import annotations

import importlib.util
import os
import pickle
import re
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import psutil
import pytest

from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.conformance.benchmark import (
    Bowl,
    Epochs,
    conditional_space,
    config_problems,
    mixed_space,
    numerical_space,
    unordered_space,
)
from zerowait.adapters.spaces import random_configs

ROOT = Path(__file__).resolve().parents[3]
BROKEN_ADAPTERS = Path(__file__).with_name("broken_adapters.py")


def broken_adapters():
    spec = importlib.util.spec_from_file_location("tests.adapters.conformance.broken_adapters", BROKEN_ADAPTERS)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CAUGHT = broken_adapters().BROKEN
"""By the name of the class: which tests fail, and what they say."""


class Examination:
    """A plugin of pytest that selects the tests of the broken adapters and remembers what they say."""

    def __init__(self):
        self.said = {name: {} for name in CAUGHT}

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if self.wanted(item.cls.__name__, item.originalname)]

    def wanted(self, name, test):
        # Of an adapter that breaks a promise only what is to notice it; there are fifty.
        return test in CAUGHT[name] or not CAUGHT[name]

    def pytest_runtest_logreport(self, report):
        _, name, test = report.nodeid.partition("[")[0].rsplit("::", 2)
        if report.failed:
            self.said[name][test] = str(report.longrepr)
        elif report.when == "call":
            self.said[name].setdefault(test, "")


@pytest.fixture(scope="module")
def examination(tmp_path_factory):
    """What the kit says of every broken adapter."""
    plugin = Examination()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "zerowait.adapters.conformance.leak_check.GRACE", 0.3
        )  # what these adapters leave behind does not go by itself
        pytest.main(
            [
                str(BROKEN_ADAPTERS), "-q", "--tb=native", "--noconftest", "-c", os.devnull, f"--rootdir={ROOT}",
                f"--basetemp={tmp_path_factory.mktemp('examination')}", "--import-mode=importlib",
                "-p", "no:timeout", "-p", "no:cacheprovider", "-p", "no:faulthandler",
            ],
            plugins=[plugin],
        )  # fmt: skip
    return plugin.said


@pytest.mark.parametrize("name", CAUGHT)
def test_the_kit_catches_a_broken_adapter_and_says_what_is_broken(name, examination):
    said = examination[name]
    assert {test for test, message in said.items() if message} == set(CAUGHT[name])
    for test, message in CAUGHT[name].items():
        assert re.search(message, said[test]), said[test]
    assert said


@pytest.mark.usefixtures("examination")
def test_what_broken_adapters_leave_behind_does_not_disturb_other_tests():
    names = {process.name() for process in psutil.Process().children() if process.status() != psutil.STATUS_ZOMBIE}
    assert "sleep" not in names


def test_every_test_of_the_kit_catches_something():
    tests = {name for name in dir(AdapterConformance) if name.startswith("test_")}
    assert {test for caught in CAUGHT.values() for test in caught} == tests


def test_the_benchmark_survives_pickling_and_is_the_same_function():
    bowl = replace(Bowl(conditional_space), fidelity=Epochs(), failing_share=0.1)
    copy = pickle.loads(pickle.dumps(bowl))
    config = next(random_configs(bowl.space, 1))
    assert copy(config, fidelity=9, seed=5) == bowl(config, fidelity=9, seed=5)
    assert copy(config, seed=5) != bowl(config, seed=6)
    assert copy.space == bowl.space


@pytest.mark.parametrize("make_space", [mixed_space, conditional_space, unordered_space, numerical_space])
def test_the_spaces_own_samples_are_no_problem(make_space):
    space = make_space()
    for config in islice(random_configs(space, 2), 100):
        assert config_problems(space, config) == []


def test_a_condition_that_is_broken_is_a_problem():
    space = conditional_space()
    config = next(config for config in random_configs(space, 2) if config["nesterov"])
    assert config_problems(space, {**config, "nesterov": False})
    del config["beta"]
    assert config_problems(space, config)
