"""Hand-made runs."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from zerowait.plots.studies.run import Run
from zerowait.suite import simulate
from zerowait.suite.rules.evaluation import Evaluation, Query
from zerowait.suite.rules.overhead import Overhead


class Scripted:
    """An optimizer that asks for the given losses in turn."""

    def __init__(self, losses):
        self.losses = list(losses)

    def ask(self):
        return Query({"x": self.losses.pop(0)}) if self.losses else None

    def tell(self, query, evaluation):
        pass


@pytest.fixture
def make_run():
    """Make a run from its deliveries, given as (end, value)."""

    def make(deliveries, *, optimizer="random", benchmark="toy", n_workers=1, seed=0, optimum=None):
        trace = pd.DataFrame(deliveries, columns=["end", "value"], dtype=float)
        return Run(optimizer, benchmark, n_workers, seed, optimum, trace)

    return make


@pytest.fixture
def write_trace():
    """Write a real trace: evaluations of 10 s each with the given losses, on one worker."""

    def write(directory, losses, *, seed=0, labels=None):
        labels = {"optimizer": "random", "benchmark": "toy", "optimum": 0.0} if labels is None else labels
        simulate(
            Scripted(losses),
            lambda config: Evaluation(float(config["x"]), 10.0),
            n_workers=1,
            max_evaluations=len(losses),
            seed=seed,
            overhead=Overhead.none(),
            labels=labels,
            directory=directory,
        )

    return write


@pytest.fixture
def list_cells():
    """Write the list of a study's cells."""

    def write(folder, cells):
        (folder / "study.json").write_text(json.dumps({"name": "toy", "cells": cells}))

    return write
