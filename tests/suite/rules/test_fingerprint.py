"""What identifies an overhead model: what it computes, in every process the same, or the name that it is given."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from drivers import Lookup

from zerowait import suite
from zerowait.suite import Overhead, Simulator
from zerowait.suite.rules.errors import RunMismatchError, SpecificationError
from zerowait.suite.rules.fingerprint import UnknowableError, fingerprint

RATE = 0.5
TABLE = np.array([0.25, 0.5])


def at_a_rate(n):
    return RATE * n


def recursive(n):
    return 0.0 if n == 0 else 1.0 + recursive(n - 1)


def growing(rate):
    def seconds(n):
        return rate * n

    return seconds


def by_default(rate):
    return lambda n, rate=rate: rate * n


@dataclass(frozen=True)
class Growing:
    rate: float

    def __call__(self, n):
        return self.rate * n


class Opaque:
    def __call__(self, n):
        return 0.0


OPAQUE = Opaque()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda n: 0.1, lambda n: 0.2),
        (lambda n: 0.1 * n, lambda n: 0.1 + n),
        (lambda n: math.sqrt(n) + 1.0, lambda n: math.log1p(n) + 1.0),
        (lambda n: sum(k / 2 for k in range(n)), lambda n: sum(k / 3 for k in range(n))),
        (growing(0.1), growing(0.2)),
        (by_default(0.1), by_default(0.2)),
        (Growing(0.1), Growing(0.2)),
        (functools.partial(max, 1.0), functools.partial(max, 2.0)),
        (Growing(0.1).__call__, Growing(0.2).__call__),
        (lambda n: 1.0 if n in {1, 2} else 0.0, lambda n: 1.0 if n in {1, 3} else 0.0),
    ],
)
def test_models_that_compute_something_else_are_told_apart(one, other, tmp_path):
    assert fingerprint(one) != fingerprint(other)
    with Simulator(Lookup((1.0,)), n_workers=1, directory=tmp_path, overhead=Overhead.model(one)):
        with pytest.raises(RunMismatchError, match="holds a run with overhead="):
            Simulator(Lookup((1.0,)), n_workers=1, directory=tmp_path, overhead=Overhead.model(other))
        Simulator(Lookup((1.0,)), n_workers=1, directory=tmp_path, overhead=Overhead.model(one)).close()


def test_models_that_compute_the_same_are_the_same():
    assert fingerprint(growing(0.1)) == fingerprint(growing(0.1))
    assert fingerprint(Growing(0.1)) == fingerprint(Growing(0.1))


def test_what_python_adds_to_a_dataclass_does_not_belong_to_its_model(monkeypatch):
    """Python 3.13 adds `__replace__`, a function of its own module."""
    before = fingerprint(Growing(0.1))
    monkeypatch.setattr(Growing, "__replace__", dataclasses.replace, raising=False)
    assert fingerprint(Growing(0.1)) == before


@pytest.mark.parametrize(("name", "value"), [("RATE", 0.25), ("TABLE", np.array([0.25, 0.75])), ("recursive", growing)])
def test_a_global_that_a_model_reads_belongs_to_it(monkeypatch, name, value):
    def model(n):
        return at_a_rate(n) + TABLE[n] + recursive(n)

    before = fingerprint(model)
    monkeypatch.setitem(globals(), name, value)
    assert fingerprint(model) != before


def test_a_builtin_function_is_known_by_its_name():
    assert fingerprint(math.sqrt) == "math.sqrt"
    assert Overhead.model(math.sqrt).name == "model(math.sqrt)"


@pytest.mark.parametrize("model", [OPAQUE, lambda n: OPAQUE(n) + 1.0, OPAQUE.__call__])
def test_a_model_that_depends_on_who_knows_what_needs_a_name(model):
    with pytest.raises(UnknowableError):
        fingerprint(model)
    with pytest.raises(SpecificationError, match=r"needs a name .* the class .*Opaque; use Overhead\.model\(.*name="):
        Overhead.model(model)
    assert Overhead.model(model, name="opaque").name == "model(opaque)"


@pytest.mark.parametrize("name", ["", 3, "\ud800"])
def test_a_name_is_a_text(name):
    with pytest.raises(SpecificationError, match="the name of the overhead model is"):
        Overhead.model(lambda n: 0.0, name=name)


def test_every_process_finds_the_same_fingerprint(tmp_path):
    program = (
        "from zerowait.suite.rules.fingerprint import fingerprint; from tests_fingerprint import *\n"
        "print([fingerprint(f) for f in (at_a_rate, recursive, growing(0.1), Growing(0.5), members)])"
    )
    # What the order of a set depends on, `hash()`, differs from process to process.
    source = Path(__file__).read_text().replace("from drivers import Lookup\n", "")
    source += '\ndef members(n):\n    return 1.0 if n in {"a", "b", "c", 1, 2.5} else TABLE[0]\n'
    folder = Path(suite.__file__).parents[2]

    def found(seed, where):
        (where / "tests_fingerprint.py").write_text(source)
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([str(folder), str(where)])}
        return subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        ).stdout

    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    assert found("1", tmp_path / "one") == found("2", tmp_path / "other") != ""
