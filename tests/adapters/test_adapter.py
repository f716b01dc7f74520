"""What every adapter checks before a run starts, and what it writes into the trace."""

from __future__ import annotations

import pytest

from zerowait.adapters import Adapter, load
from zerowait.adapters.spaces import random_configs
from zerowait.suite import Budget, Query, read_trace
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.seeds import optimizer_seed


class Asked(Adapter):
    """An optimizer that can only be asked."""

    name = "asked"
    library = "zerowait"
    modes = frozenset({"ask_tell"})

    def ask_tell(self, run):
        configs = random_configs(run.benchmark.space, run.optimizer_seed)

        class Optimizer:
            def ask(self):
                return Query(next(configs))

            def tell(self, query, evaluation):
                pass

        return Optimizer()


class MultiFidelity(Asked):
    uses_fidelity = True


def test_a_mode_that_is_not_supported_is_refused(bowl, run):
    with pytest.raises(SpecificationError, match="mode is 'native'; 'asked' can run in 'ask_tell'"):
        run(Asked(), bowl, "native")
    with pytest.raises(SpecificationError, match="mode is 'threads'; 'random' can run in 'native' or 'ask_tell'"):
        run(load("random"), bowl, "threads")


def test_an_empty_budget_is_refused(bowl, run):
    with pytest.raises(SpecificationError, match="set max_evaluations, max_time or both"):
        run(Asked(), bowl, "ask_tell", budget=Budget())


def test_an_optimizer_of_fidelities_refuses_a_benchmark_without_one(bowl, run):
    assert MultiFidelity().refuses(bowl) == ("the optimizer chooses training budgets and the benchmark has no fidelity")
    with pytest.raises(SpecificationError, match=r"'asked' cannot run on 'bowl/mixed': the optimizer chooses"):
        run(MultiFidelity(), bowl, "ask_tell")
    bowl.fidelity = ("epoch", 1, 50)
    assert MultiFidelity().refuses(bowl) is None


def test_the_trace_carries_labels_and_parameters(bowl, run):
    adapter = load("optuna-tpe", n_startup_trials=3)
    trace = run(adapter, bowl, "ask_tell", evaluations=5, labels={"note": "first"})
    assert trace.attrs["zerowait"]["specification"]["labels"] == {
        "optimizer": "optuna-tpe",
        "benchmark": "bowl/mixed",
        "mode": "ask_tell",
        "n_startup_trials": 3,
        "note": "first",
    }


def test_nobody_overrides_the_name_of_the_optimizer(bowl, run):
    trace = run(Asked(), bowl, "ask_tell", evaluations=2, labels={"optimizer": "mine"})
    assert trace.attrs["zerowait"]["specification"]["labels"]["optimizer"] == "asked"
    with pytest.raises(SpecificationError, match=r"parameter 'mode', .*reserved names are optimizer, benchmark, mode"):
        Asked(mode="fast")


def test_a_parameter_that_json_does_not_know_is_refused():
    with pytest.raises(SpecificationError, match=r"gamma of 'asked' is <function .* of type function"):
        Asked(gamma=lambda n: n)


@pytest.mark.parametrize("name", ["random", "optuna-tpe"])
@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_the_trace_is_also_in_the_directory(bowl, run, tmp_path, name, mode):
    trace = run(load(name), bowl, mode, n_workers=2, evaluations=12, directory=tmp_path / "run")
    stored = read_trace(tmp_path / "run" / "trace.parquet")
    assert stored.equals(trace)
    assert stored.attrs == trace.attrs
    assert len(stored) == 12


@pytest.mark.parametrize("first", ["native", "ask_tell"])
@pytest.mark.parametrize("second", ["native", "ask_tell"])
def test_a_directory_that_holds_a_run_is_refused(bowl, run, tmp_path, first, second):
    (tmp_path / "notes.txt").write_text("other files do not matter")
    run(load("optuna-random"), bowl, first, evaluations=5, directory=tmp_path)
    before = (tmp_path / "trace.parquet").read_bytes()
    with pytest.raises(SpecificationError, match="holds a run, and an optimizer cannot go on"):
        run(load("optuna-random"), bowl, second, evaluations=5, directory=tmp_path)
    assert (tmp_path / "trace.parquet").read_bytes() == before


def test_the_optimizer_is_seeded_from_the_run_seed(bowl, run):
    trace = run(Asked(), bowl, "ask_tell", n_workers=1, evaluations=5, seed=11)
    configs = random_configs(bowl.space, optimizer_seed(11))
    assert trace["config.rate"].tolist() == [next(configs)["rate"] for _ in range(5)]
