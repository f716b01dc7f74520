"""`zerowait plot`, in this process."""

from __future__ import annotations

import pandas as pd
import pytest
from typer.testing import CliRunner

from zerowait.experiments.commands.cli import app
from zerowait.plots.catalogue import FIGURES
from zerowait.plots.studies.loading import load_study
from zerowait.suite.rules.errors import SpecificationError


@pytest.fixture
def folder(tmp_path, write_trace):
    for seed in range(2):
        for optimizer in ("random", "optuna-tpe"):
            labels = {"optimizer": optimizer, "benchmark": "toy", "optimum": 0.0}
            write_trace(tmp_path / "study" / "cells" / f"{optimizer}-{seed}", [3.0, 2.0, 1.0], seed=seed, labels=labels)
    return tmp_path / "study"


def plot(*arguments):
    done = CliRunner().invoke(app, ["plot", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_one_figure_goes_into_the_file_that_was_named(folder, tmp_path):
    out = plot(folder, "win_rates", "--where", "P=1", "--style", "paper", "--out", tmp_path / "new" / "f.pdf")
    assert [path.name for path in sorted((tmp_path / "new").iterdir())] == ["f.csv", "f.pdf", "f.png"]
    assert pd.read_csv(tmp_path / "new" / "f.csv")["win_rate"].tolist() == [0.5, 0.5]
    assert "caption: How often the result of the optimizer of the row is less than that of the column" in out


def test_without_names_performance_over_time_goes_into_the_study(folder):
    plot(folder, "--set", "statistic=median")
    assert "median" in pd.read_csv(folder / "figures" / "performance_over_time.csv").columns


def test_all_figures_are_drawn_or_said_to_be_left_out(folder):
    out = plot(folder, "all")
    drawn = {path.stem for path in (folder / "figures").glob("*.pdf")}
    left_out = {line.split(": ")[1] for line in out.splitlines() if line.startswith("left out: ")}
    assert drawn | left_out == {name for name, kind in FIGURES.items() if kind.is_of(load_study(folder))}
    compare = {"rank_by_workers", "speed_up", "degradation"}  # numbers of workers, or clusters
    assert left_out == {"critical_difference", "performance_profile", "expected_running_time"} | compare


def test_the_list_names_every_figure_and_option(folder):
    out = plot("--list")
    for name, kind in FIGURES.items():
        assert f"\n{name}\n" in f"\n{out}"
        for option in kind.options():
            assert f"--set {option}=" in out


def test_a_study_file_stands_for_its_folder(folder):
    (folder.parent / "study.toml").write_text(
        f'name = "x"\noutput = "{folder}"\nworkers = [1]\nseeds = 1\n[budget]\nmax_evaluations = 1\n'
        '[[optimizers]]\nname = "random"\n[[benchmarks]]\nname = "branin"\n'
    )
    plot(folder.parent / "study.toml", "targets_reached")
    assert (folder / "figures" / "targets_reached.pdf").exists()


def test_a_study_file_that_asks_for_other_runs_than_its_folder_holds_is_said(folder):
    text = (
        f'name = "x"\noutput = "{folder}"\nworkers = [1]\nseeds = 1\n[budget]\nmax_evaluations = 1\n'
        '[[optimizers]]\nname = "random"\n[[benchmarks]]\nname = "{}"\n'
    )
    (folder / "study.toml").write_text(text.replace("{}", "branin"))
    file = folder.parent / "study.toml"
    said = "has been changed since"
    file.write_text(text.replace("{}", "branin") + '[labels]\nrandom = "anything"\n')
    assert said not in plot(file, "targets_reached")
    file.write_text(text.replace("{}", "hartmann3"))
    assert said in plot(file, "targets_reached")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "name the output folder of a study"),
        (("{}", "speedup"), "there is no figure 'speedup'"),
        (("{}", "--where", "P=9"), "no run meets 'P=9'"),
        (("{}", "all", "--set", "alpha=1"), "leave out --set"),
        (("{}", "all", "--out", "f.pdf"), "give --out a folder"),
        (("{}", "win_rates", "--style", "poster"), "there is no style 'poster'"),
        (("{}", "win_rates", "--set", "fraction=2"), "fraction is 2.0"),
        (("{}", "order_match"), "set reference=STUDY"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_one_line(folder, arguments, text):
    with pytest.raises(SpecificationError, match=text) as caught:
        plot(*(part.format(folder) for part in arguments))
    assert "\n" not in str(caught.value)
