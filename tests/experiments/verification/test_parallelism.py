"""The page on parallelism is written from the archive, whose ranks are worked out here without any of our code."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections import defaultdict
from pathlib import Path
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest

from zerowait.experiments.grid.archive import make_archive
from zerowait.experiments.verification.parallelism import BEGIN, END, _tiers, write_page
from zerowait.plots.catalogue import figure_kind
from zerowait.plots.studies.loading import load_study
from zerowait.suite.rules.errors import SpecificationError

ROOT = Path(__file__).resolve().parents[3]
ARCHIVE = ROOT / "results" / "baselines"
PAGE = (ROOT / "docs" / "parallelism.md").read_text(encoding="utf-8")
TIER = re.search(r"^## (.+): \d+ tasks", PAGE, flags=re.MULTILINE)[1].split(", ")
"""The optimizers of the page's first section."""


def recommended_at(rows, time):
    """Return what the configuration is worth that has the least value of those at the highest fidelity so far."""
    best, reached, worth = math.inf, -math.inf, math.inf
    for row in rows:
        if row["end"] > time:
            break
        fidelity = math.inf if row["fidelity"] is None or math.isnan(row["fidelity"]) else row["fidelity"]
        if math.isnan(row["value"]) or fidelity < reached:
            continue
        if fidelity > reached or row["value"] < best:
            best, reached, worth = row["value"], fidelity, row["full.value"]
    return worth


def ranks_of(losses):
    """Return ranks from 1, ties with their mean."""
    return [1 + sum(o < x for o in losses) + (sum(o == x for o in losses) - 1) / 2 for x in losses]


def ranks_of_archive():
    """Return the average rank of each optimizer with each number of workers, over benchmarks and their seeds."""
    runs = defaultdict(list)
    for path in ARCHIVE.glob("traces/*/*/runs.parquet"):
        optimizer, benchmark = (unquote(folder.partition("=")[2]) for folder in path.parts[-3:-1])
        if optimizer not in TIER:
            continue
        for row in pq.ParquetFile(path).read().to_pylist():
            runs[benchmark, row["n_workers"], optimizer, row["run_seed"]].append(row)
    optimizers = sorted({key[2] for key in runs})
    found = defaultdict(list)
    for benchmark, n_workers in sorted({key[:2] for key in runs}):
        seeds = [{key[3] for key in runs if key[:3] == (benchmark, n_workers, name)} for name in optimizers]
        common = sorted(set.intersection(*seeds))
        ends = [[runs[benchmark, n_workers, name, seed][-1]["end"] for seed in common] for name in optimizers]
        horizon = min(map(statistics.median, ends))
        of_seeds = [
            ranks_of([recommended_at(runs[benchmark, n_workers, name, seed], horizon) for name in optimizers])
            for seed in common
        ]
        found[n_workers].append([statistics.fmean(column) for column in zip(*of_seeds, strict=True)])
    return {(name, n): statistics.fmean(of[i] for of in found[n]) for n in found for i, name in enumerate(optimizers)}


def test_the_ranks_of_the_archive_are_those_that_somebody_else_works_out():
    drawn = (
        figure_kind("rank_by_workers").make(load_study(ARCHIVE, where={"optimizer": TIER}), result="recommended").table
    )
    ours = {(row["optimizer"], row["n_workers"]): row["rank"] for row in drawn.to_dict("records")}
    theirs = ranks_of_archive()
    assert ours.keys() == theirs.keys()
    assert len(ours) >= 15
    # Sums of the same numbers in another order differ by roundings.
    assert [ours[key] for key in theirs] == pytest.approx(list(theirs.values()), rel=1e-12)


def test_the_page_has_the_numbers_of_the_archive_and_can_be_written_again(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n{BEGIN}\nearlier numbers\n{END}\nafter\n")
    files = write_page(ARCHIVE, page, tmp_path / "figures", "benchmark=branin,hartmann*,P=1,256,seed<3")
    assert all(file.stat().st_size > 100 for file in files)
    text = page.read_text()
    assert text.startswith(f"# Title\n{BEGIN}\n## dehb, hyperband, random: 3 tasks, 3 seeds each\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "earlier numbers" not in text
    assert "(figures/3-optimizers-rank_by_workers.png)" in text
    assert "3 tasks have 3 seeds. There one seed a task shows the order" in text
    assert "It cannot be said of 3 tasks." in text
    make_archive(ARCHIVE, tmp_path / "tiers", ["random,branin,P=1,256", "hyperband,branin,P=1,256", "dehb,branin,P=1"])
    # Those with more numbers of workers come first, and the next ones join them.
    assert _tiers(load_study(tmp_path / "tiers")) == [["hyperband", "random"], ["dehb", "hyperband", "random"]]
    with pytest.raises(SpecificationError, match="the page needs the lines"):
        write_page(ARCHIVE, tmp_path / "figures" / files[1].name, tmp_path)
    with pytest.raises(SpecificationError, match="a comparison needs two optimizers"):
        write_page(ARCHIVE, page, tmp_path / "figures", "optimizer=dehb,P=1")


def test_the_documentation_has_the_ranks_of_the_archive():
    header = next(line for line in PAGE.splitlines() if line.startswith("|  | P = "))
    columns = [int(cell.removeprefix("P = ").rstrip(" |")) for cell in header.split(" | ")[1:]]
    for (name, n_workers), rank in ranks_of_archive().items():
        line = next(line for line in PAGE.splitlines() if line.startswith(f"| {name} | "))
        said = float(line.split(" | ")[columns.index(n_workers) + 1].partition(" ")[0])
        assert said == pytest.approx(rank, abs=0.005 + 1e-12), (name, n_workers)  # two digits


def test_the_readme_of_the_archive_says_how_many_runs_it_has():
    runs = pq.read_table(ARCHIVE / "cells.parquet", columns=["optimizer", "specification"])
    text = (ARCHIVE / "README.md").read_text(encoding="utf-8")
    assert f"{runs.num_rows:,} of" in text
    assert len({json.loads(one)["benchmark"] for one in runs["specification"].to_pylist()}) >= 3
