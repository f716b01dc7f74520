"""A script for each library, before and after its changed line, run against the libraries themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zerowait.suite.records.check import check

SCRIPTS = Path(__file__).resolve().parents[2] / "docs" / "compat" / "scripts"
AFTER, BEFORE = "from zerowait.compat.benchmark_simulator import ", "from benchmark_simulator import "
ALONE = "from on_its_own import "
ON_ITS_OWN = '''
"""The objective without any simulator, for one worker."""

class ObjectiveFuncWrapper:
    dir_name = None
    def __init__(self, obj_func, n_evals, n_actual_evals_in_opt, **_):
        self.obj_func, self.n_evals, self.n_actual_evals_in_opt = obj_func, n_evals, n_actual_evals_in_opt
        self.losses = []
    def __call__(self, eval_config, fidels=None, config_id=None):
        results = self.obj_func(eval_config, fidels)
        self.losses.append(results["loss"])
        return results
    def get_results(self):
        return {"loss": self.losses[: self.n_evals]}

def get_multiple_wrappers(obj_func, **arguments):
    return [ObjectiveFuncWrapper(obj_func, **arguments)]
'''
SLOW = ["dehb", "neps", "smac", "optuna_ask_tell", "random_pool"]


def losses(folder, script, imported, n_workers, n_evals):
    """Run a script of the page with this import; return the losses that it prints."""
    folder.mkdir()
    source = (SCRIPTS / f"{script}.py").read_text(encoding="utf-8")
    assert source.count(AFTER) == 1
    (folder / "main.py").write_text(source.replace(AFTER, imported), encoding="utf-8")
    (folder / "on_its_own.py").write_text(ON_ITS_OWN, encoding="utf-8")
    programs = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "main.py", str(n_workers), str(n_evals), *([str(k)] if k else [])],
            cwd=folder, env={**os.environ, "PYTHONHASHSEED": "0"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(n_workers if script == "neps" else 1)
    ]  # fmt: skip
    said = [program.communicate(timeout=600) for program in programs]
    assert [program.returncode for program in programs] == [0] * len(programs), said
    printed = json.loads(said[0][0].splitlines()[-1])
    assert len(printed) >= n_evals
    return printed


def run_is_valid(folder, script):
    """What the run left behind says itself that it is one."""
    (run,) = (folder / "mfhpo-simulator-info").iterdir()
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    assert results["cumtime"] == sorted(results["cumtime"])
    if script != "optuna_ask_tell":
        assert check(run).violations == ()


def test_one_worker_gets_the_losses_that_it_got_before(tmp_path):
    script = "optuna_threads"
    assert losses(tmp_path / "a", script, AFTER, 1, 12) == losses(tmp_path / "b", script, BEFORE, 1, 12)
    run_is_valid(tmp_path / "a", script)


@pytest.mark.parametrize("script", ["random_pool", pytest.param("optuna_ask_tell", marks=pytest.mark.stress)])
def test_four_workers_get_the_losses_that_they_got_before(tmp_path, script):
    assert losses(tmp_path / "a", script, AFTER, 4, 24)[:24] == losses(tmp_path / "b", script, BEFORE, 4, 24)[:24]


@pytest.mark.stress
@pytest.mark.parametrize("script", SLOW)
def test_other_libraries_get_the_losses_that_they_got_before(tmp_path, script):
    assert losses(tmp_path / "a", script, AFTER, 1, 16) == losses(tmp_path / "b", script, BEFORE, 1, 16)


@pytest.mark.stress
def test_a_library_that_draws_from_numpys_generator_chooses_what_it_chooses_without_a_simulator(tmp_path):
    """mfhpo-simulator draws from it while it waits, so with one worker in its process BOHB chooses something else."""
    alone = losses(tmp_path / "c", "bohb", ALONE, 1, 16)
    assert losses(tmp_path / "a", "bohb", AFTER, 1, 16) == alone
    assert losses(tmp_path / "b", "bohb", BEFORE, 1, 16) != alone


@pytest.mark.stress
@pytest.mark.parametrize("script", ["optuna_threads", "bohb", *SLOW])
def test_every_library_runs_with_two_workers(tmp_path, script):
    losses(tmp_path / "a", script, AFTER, 2, 16)
    run_is_valid(tmp_path / "a", script)
