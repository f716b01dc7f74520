"""Unmodified libraries on simulated workers: whatever takes an executor or its `map`."""

from __future__ import annotations

import heapq
from concurrent.futures import FIRST_COMPLETED, wait

import numpy as np
import pytest
from scipy.optimize import differential_evolution

from zerowait import Evaluation, Overhead, Query, SimulatedExecutor, simulate

NONE = Overhead.none()
NAMES = ("a", "b", "c")
BOUNDS = [(-1.0, 1.0)] * 3


def loss_of(x):
    return float(((np.asarray(x) - 0.3) ** 2).sum())


def runtime_of(x):
    return 60.0 + 600.0 * float(np.abs(x).sum())


def train(config):
    x = [config[name] for name in NAMES]
    return Evaluation(loss_of(x), runtime_of(x))


def simulated(overhead=NONE, n_workers=8, **more):
    return SimulatedExecutor(train, n_workers=n_workers, overhead=overhead, **more)


class Loss:
    """What a library minimises: the simulated loss of its own form of a configuration; remembers what was asked."""

    def __init__(self, run):
        self.run = run
        self.asked = []

    def __call__(self, x):
        x = [float(v) for v in x]
        self.asked.append(x)
        return self.run.objective(dict(zip(NAMES, x, strict=True))).value


def makespan_of_generations(asked, size, n_workers):
    """Return when the last of each generation has ended, worked out without the simulator: whoever is free is next."""
    now, ends = 0.0, []
    for first in range(0, len(asked), size):
        free = [now] * n_workers
        done = []
        for x in asked[first : first + size]:
            done.append(heapq.heappop(free) + runtime_of(x))
            heapq.heappush(free, done[-1])
        now = max(done)
        ends.append(now)
    return ends


# -- scipy -------------------------------------------------------------------------------------------------------------


def evolve(fun, workers):
    return differential_evolution(
        fun, BOUNDS, popsize=5, maxiter=6, polish=False, seed=3, tol=0.0, updating="deferred", workers=workers
    )


def test_differential_evolution_of_scipy_by_map():
    run = simulated()
    loss = Loss(run)
    found, plain = evolve(loss, run.map), evolve(loss_of, 1)
    assert found.x.tolist() == plain.x.tolist()
    assert found.nfev == plain.nfev == len(run.trace())
    ends = run.trace()["end"]
    expected = makespan_of_generations(loss.asked, 15, 8)
    assert ends.tolist()[14::15] == expected


# -- Nevergrad ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_mode", [True, False])
@pytest.mark.parametrize("name", ["DE", "CMA", "OnePlusOne", "PSO"])
@pytest.mark.parametrize("overhead", [NONE, Overhead.fixed(30.0), Overhead.measured()], ids=str)
def test_nevergrad_polls_its_jobs(name, batch_mode, overhead):
    nevergrad = pytest.importorskip("nevergrad")

    def minimize():
        run = simulated(overhead, 8)
        loss = Loss(run)
        space = nevergrad.p.Array(shape=(3,)).set_bounds(-1.0, 1.0)
        optimizer = nevergrad.optimizers.registry[name](space, budget=100, num_workers=8)
        optimizer.parametrization.random_state = np.random.RandomState(1)
        optimizer.minimize(loss, executor=run, batch_mode=batch_mode)
        return loss.asked, run.trace()

    asked, trace = minimize()
    assert len(asked) == len(trace) == 100
    assert trace["worker"].nunique() == 8
    if overhead is NONE and batch_mode:
        assert trace["end"].tolist()[7:96:8] == makespan_of_generations(asked, 8, 8)[:12]
    if overhead is NONE and not batch_mode:  # nobody is ever idle while there is something to ask for
        assert trace["start"].tolist() == trace["freed"].tolist()
    if not overhead.is_measured:
        assert minimize()[1].equals(trace)


# -- pymoo -------------------------------------------------------------------------------------------------------------


def test_pymoo_runs_a_generation_by_map():
    pytest.importorskip("pymoo")  # comes with HEBO
    from pymoo.algorithms.soo.nonconvex.ga import GA
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.optimize import minimize

    class Problem(ElementwiseProblem):
        def __init__(self, fun, **more):
            super().__init__(n_var=3, n_obj=1, xl=-1.0, xu=1.0, **more)
            self.fun = fun

        def _evaluate(self, x, out, *_args, **_kwargs):
            out["F"] = self.fun(x)

    run = simulated()
    loss = Loss(run)
    found = minimize(Problem(loss, elementwise_runner=run.map), GA(pop_size=20), ("n_gen", 5), seed=2)
    plain = minimize(Problem(loss_of), GA(pop_size=20), ("n_gen", 5), seed=2)
    assert found.X.tolist() == plain.X.tolist()
    trace = run.trace()
    assert len(trace) == 100
    assert trace["end"].tolist()[19::20] == makespan_of_generations(loss.asked, 20, 8)


# -- ask-and-tell loops over futures -----------------------------------------------------------------------------------


class AskedByUs:
    """An optimizer with `ask` and `tell` of its own words, in those of `simulate`."""

    def __init__(self, ask, tell):
        self._ask, self._tell = ask, tell

    def ask(self):
        return Query(dict(zip(NAMES, self._ask(), strict=True)))

    def tell(self, query, evaluation):
        self._tell([query.config[name] for name in NAMES], evaluation.value)


def loop(run, ask, tell, n):
    """Keep all workers busy, as the documentation of such libraries shows it."""
    running = {}
    for _ in range(n):
        if len(running) == run.n_workers:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                tell(running.pop(future), future.result().value)
        x = ask()
        running[run.submit(run.objective, dict(zip(NAMES, x, strict=True)))] = x
    for future in wait(running).done:
        future.result()
    return run.trace()


def new_skopt():
    skopt = pytest.importorskip("skopt")
    optimizer = skopt.Optimizer(BOUNDS, "ET", n_initial_points=8, random_state=0)
    return lambda: [float(v) for v in optimizer.ask()], optimizer.tell


def new_cmaes():
    import cmaes

    optimizer = cmaes.CMA(mean=np.zeros(3), sigma=0.5, seed=1, population_size=8)
    told = []

    def tell(x, value):
        told.append((np.array(x), value))
        if len(told) == 8:
            optimizer.tell(told)
            told.clear()

    return lambda: [float(v) for v in optimizer.ask()], tell


@pytest.mark.parametrize("new", [new_skopt, new_cmaes])
@pytest.mark.parametrize("overhead", [NONE, Overhead.linear(20.0, 3.0)], ids=["none", "linear"])
def test_an_asking_and_telling_library_gives_what_it_gives_to_simulate(new, overhead):
    trace = loop(simulated(overhead, 4), *new(), 24)
    asked = simulate(AskedByUs(*new()), train, n_workers=4, max_evaluations=24, overhead=overhead)
    # Whoever loops until n were submitted sets no budget, and that is all that differs.
    assert trace.equals(asked)
