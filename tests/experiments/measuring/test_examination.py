"""What `zerowait data examine` finds on benchmarks whose clock and values are known."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from typer.testing import CliRunner

from zerowait.benchmarks import from_dataframe, load
from zerowait.experiments.commands.cli import app
from zerowait.experiments.measuring.examination import examine, in_words, levels_of, rungs_of
from zerowait.suite.rules.errors import SpecificationError

LEVELS = (1, 3, 9, 27)
COLUMNS = {"params": ["a"], "fidelity": "z", "value": "loss", "runtime": "s", "seconds": "independent"}


def made(loss=lambda a, z: a + 1 / z, seconds=lambda a, z: (1 + a) * z):
    rows = [(a, z, loss(a, z), seconds(a, z)) for a in range(50) for z in LEVELS]
    return from_dataframe(pd.DataFrame(rows, columns=["a", "z", "loss", "s"]), **COLUMNS)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ZEROWAIT_CACHE", str(tmp_path / "cache"))


def test_a_linear_clock_and_values_that_keep_their_order():
    found = examine(made())
    assert [level.fidelity for level in found.levels] == list(LEVELS)
    assert [level.share for level in found.levels] == pytest.approx([z / 27 for z in LEVELS])
    assert all(level.falls == level.below_optimum == level.failures == 0 for level in found.levels)
    assert all(level.rank_correlation == pytest.approx(1.0) and level.best_overlap == 1.0 for level in found.levels)
    assert found.rungs == (1, 3, 9, 27)
    words = list(in_words(found))
    assert words[0] == "time grows with the fidelity in every configuration"
    assert "the clock is linear" in words[1]
    assert words[-1] == "eta = 3 has 4 rungs: 1, 3, 9, 27"


@pytest.mark.parametrize(("power", "shape"), [(0.3, "concave"), (2.0, "convex")])
def test_a_bent_clock_is_told(power, shape):
    found = examine(made(seconds=lambda a, z: z**power))
    assert found.levels[0].share == pytest.approx(27**-power)
    assert f"the clock is {shape}: low fidelities take" in list(in_words(found))[1]


def test_falling_time_values_below_the_optimum_and_failures_are_counted():
    found = examine(made(seconds=lambda a, z: 20.0 if (a < 10 and z == 9) else z), configurations=500)
    assert found.levels[2].falls == 0.0
    assert found.levels[3].falls == 0.0
    found = examine(made(seconds=lambda a, z: 30.0 if (a < 10 and z == 9) else z), configurations=500)
    assert 0.1 < found.levels[3].falls < 0.3
    assert "time falls now and then: in " in next(in_words(found))
    found = examine(made(loss=lambda a, z: -1.0 / z))
    assert found.levels[0].below_optimum == found.configurations
    assert math.isnan(found.levels[0].rank_correlation)
    assert any("are below the optimum of the full training" in text for text in in_words(found))
    found = examine(made(loss=lambda a, z: math.nan if (a % 2 and z == 3) else a))
    assert 0 < found.levels[1].failures < found.configurations
    assert found.levels[1].rank_correlation == pytest.approx(1.0)


def test_orders_that_turn_round_have_the_correlation_minus_one():
    found = examine(made(loss=lambda a, z: a if z == 27 else -a))
    assert found.levels[0].rank_correlation == pytest.approx(-1.0)
    assert found.levels[0].best_overlap == 0.0


def test_a_benchmark_without_a_fidelity_is_refused():
    frame = pd.DataFrame({"a": [1, 2], "loss": [1.0, 2.0], "s": 1.0})
    with pytest.raises(SpecificationError, match="there is no fidelity, so there is nothing to examine"):
        examine(from_dataframe(frame, params=["a"], value="loss", runtime="s"))


def test_levels_hold_the_ends_and_the_rungs():
    fidelity = load("branin").fidelity
    levels = levels_of(fidelity)
    assert levels == sorted(set(levels))
    assert (levels[0], levels[-1]) == (fidelity.lower, fidelity.upper)
    assert set(rungs_of(fidelity)) <= set(levels)


def test_the_command_examines_benchmarks_and_studies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["data", "examine", "branin", "-p", "fidelity_range=[50, 100]", "--configurations", "20"]
    )
    assert done.exit_code == 0, done.output
    assert "20 random configurations" in done.output
    assert "eta = 3 has 1 rung: 100; a bracket optimizer compares little" in done.output
    rows = "".join(f"{a},{z},{a / z},{a * z}\n" for a in (1, 2, 3) for z in (1, 3, 9))
    (tmp_path / "mine.csv").write_text("a,z,loss,s\n" + rows)
    (tmp_path / "study.toml").write_text(
        'name = "s"\nworkers = [1]\nseeds = 1\n[budget]\nmax_evaluations = 5\n[[optimizers]]\nname = "random"\n'
        '[[benchmarks]]\nname = "table"\nparameters = {path = "mine.csv", params = ["a"], value = "loss", '
        'runtime = "s", fidelity = "z"}\n'
    )
    done = CliRunner().invoke(app, ["data", "examine", "study.toml", "--configurations", "20"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("table/mine: 20 random configurations")
    with pytest.raises(SpecificationError, match="--parameter is 'x', which is no TOML"):
        CliRunner().invoke(app, ["data", "examine", "branin", "-p", "x"], catch_exceptions=False)
