"""HEBO: what it suggests is what the library suggests, and the process that it runs in does not notice."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ConfigSpace import (
    Categorical,
    ConfigurationSpace,
    Constant,
    EqualsCondition,
    Float,
    ForbiddenEqualsClause,
    Integer,
    Normal,
)
from ConfigSpace import OrdinalHyperparameter as Ordinal
from hebo.acq_optimizers import evolution_optimizer
from hebo.design_space.design_space import DesignSpace
from hebo.models.nn.deep_ensemble import DeepEnsemble
from hebo.optimizers.hebo import HEBO
from hypothesis import given, settings
from hypothesis import strategies as st

from zerowait.adapters import load
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.conformance.benchmark import Bowl, config_problems, mixed_space, numerical_space
from zerowait.adapters.hebo.library import AskTellHEBO, LentGenerators, _seeded_pymoo, _seeded_torch, _working
from zerowait.adapters.hebo.space import HeboSpace, refuses_space
from zerowait.adapters.spaces import random_configs
from zerowait.suite import Budget, Evaluation
from zerowait.suite.rules.errors import InvalidEvaluationError, SpecificationError
from zerowait.suite.rules.seeds import optimizer_seed


class TestHEBO(AdapterConformance):
    modes = ("ask_tell",)
    workers = 2
    evaluations = 8  # the last suggestion is the model's, or two are, and each takes seconds

    @pytest.fixture
    def adapter(self):
        return load("hebo", rand_sample=6)


@pytest.mark.stress
class TestHEBOForLonger(AdapterConformance):
    modes = ("ask_tell",)
    workers = 8
    evaluations = 40

    @pytest.fixture
    def adapter(self):
        return load("hebo")


def small_space():
    return ConfigurationSpace(
        space=[Float("rate", (1e-5, 1.0), log=True), Categorical("c", ["a", None, 2]), Constant("k", 5)]
    )


def first_row(frame):
    return {name: frame[name].iloc[0] for name in frame}


def library_run(bowl, seed, evaluations, **options):
    """What HEBO suggests to somebody who seeds the global generators and uses it as its documentation shows."""
    space = HeboSpace(bowl.space)
    suggested = []
    hebo = HEBO(DesignSpace().parse(space.description()), scramble_seed=seed, **options)
    for _ in range(evaluations):
        suggestion = hebo.suggest(1)
        config = space.config(first_row(suggestion))
        suggested.append(config)
        hebo.observe(suggestion, np.array([[bowl(config).value]]))
    return suggested


@contextlib.contextmanager
def seeded(seed):
    """Seed the global generators, and put them back; with one thread, as HEBO's import wants it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - HEBO's
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - HEBO's
    torch.manual_seed(seed)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002 - HEBO's
    torch.set_rng_state(states[2])
    torch.set_num_threads(threads)


@pytest.fixture
def recorded(monkeypatch):
    """The configurations that the simulator is given in this process, with their exact types."""
    seen = []
    call = Bowl.__call__

    def record(self, config, /, *, fidelity=None, seed=None):
        seen.append(dict(config))
        return call(self, config)  # the same value as without a simulator: no seed

    monkeypatch.setattr(Bowl, "__call__", record)
    return seen


def test_one_worker_evaluates_what_hebo_suggests_without_a_simulator(run, recorded):
    bowl, seed = Bowl(small_space), optimizer_seed(3)
    run(load("hebo", rand_sample=5), bowl, "ask_tell", 1, 7)
    asked = list(recorded)
    with seeded(seed), _seeded_pymoo():
        assert library_run(bowl, seed, 7, rand_sample=5) == asked


def test_the_first_suggestions_are_those_of_the_library_for_every_space_and_model(run, recorded):
    seed = optimizer_seed(3)
    for make_space in (mixed_space, numerical_space):
        recorded.clear()
        run(load("hebo", rand_sample=40, model_name="rf"), Bowl(make_space), "ask_tell", 1, 30)
        asked = list(recorded)
        with seeded(seed):
            assert library_run(Bowl(make_space), seed, 30, rand_sample=40) == asked


@pytest.mark.stress
@pytest.mark.parametrize("n_workers", [1, 4, 8])
@pytest.mark.parametrize("options", [{}, {"model_name": "rf"}, {"model_name": "deep_ensemble"}])
def test_runs_repeat_themselves(run, n_workers, options):
    first, second = (run(load("hebo", **options), Bowl(), "ask_tell", n_workers, 25) for _ in range(2))
    assert first.equals(second)


@pytest.mark.stress
def test_the_model_finds_a_better_optimum_than_chance(run):
    best = {
        name: run(load(name), Bowl(numerical_space), "ask_tell", 2, evaluations=40)["value"].min()
        for name in ("random", "hebo")
    }
    assert best["hebo"] < best["random"]


@pytest.mark.stress
def test_hebo_still_does_not_seed_pymoo(monkeypatch):
    given = []
    minimize = evolution_optimizer.minimize

    def look(*args, **kwargs):
        given.append(kwargs.get("seed"))
        return minimize(*args, **kwargs)

    monkeypatch.setattr(evolution_optimizer, "minimize", look)
    bowl = Bowl(small_space)
    with seeded(1):
        library_run(bowl, 1, 3, rand_sample=2)
    assert given == [None], "HEBO seeds pymoo now: `_seeded_pymoo` may go"
    given.clear()
    with seeded(1), _seeded_pymoo():
        library_run(bowl, 1, 3, rand_sample=2)
    assert len(given) == 1
    assert isinstance(given[0], int)
    assert evolution_optimizer.minimize is look


def fitted_network():
    """Train HEBO's ensemble a little, and return what it predicts and which random number comes next."""
    x, y = torch.linspace(0, 1, 12).reshape(6, 2), torch.linspace(0, 1, 6).reshape(6, 1)
    model = DeepEnsemble(2, 0, 1, num_ensembles=2, num_epochs=2, num_hiddens=4)
    model.fit(x, torch.zeros(6, 0).long(), y)
    with torch.no_grad():
        return [*model.predict(x, torch.zeros(6, 0).long())[0].flatten().tolist(), float(torch.rand(()))]


def test_hebos_networks_still_seed_torch_from_the_system():
    with torch.random.fork_rng():
        runs = []
        for _ in range(2):
            torch.manual_seed(7)
            runs.append(fitted_network())
    assert runs[0] != runs[1], "HEBO leaves torch's generator alone now: `_seeded_torch` may go"


def test_its_networks_depend_on_the_seed_alone_and_other_threads_are_left_alone():
    seed, runs, elsewhere = torch.seed, [], []
    with torch.random.fork_rng():
        for _ in range(2):
            torch.manual_seed(7)
            with _seeded_torch():
                runs.append(fitted_network())
        with _seeded_torch(), ThreadPoolExecutor(1) as other:
            torch.manual_seed(7)
            elsewhere = [other.submit(torch.seed).result() for _ in range(2)]
    assert runs[0] == runs[1]
    assert elsewhere[0] != elsewhere[1]
    assert torch.seed is seed


# -- what it leaves alone ----------------------------------------------------------------------------------------------


def global_state():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


def test_the_processs_generators_threads_and_output_are_left_alone(run, capfd):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        before = global_state()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            run(load("hebo", rand_sample=2), Bowl(small_space), "ask_tell", 1, 3)
        assert global_state() == before
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert capfd.readouterr() == ("", "")


def test_generators_that_are_lent_go_on_where_they_stopped():
    one, other = LentGenerators(1), LentGenerators(2)
    drawn = []
    for generators in (one, other, one, other):
        with generators.lent():
            drawn.append((random.random(), np.random.random(), torch.rand(1).item()))  # noqa: NPY002 - lent
    with seeded(1):
        expected = [(random.random(), np.random.random(), torch.rand(1).item()) for _ in range(2)]  # noqa: NPY002
    assert [drawn[0], drawn[2]] == expected
    assert drawn[0] != drawn[1]


def test_two_runs_at_once_do_not_share_random_numbers(run):
    traces = {}

    def optimize(number):
        traces[number] = run(load("hebo", rand_sample=30), Bowl(), "ask_tell", 4, 30, seed=number % 2)

    threads = [threading.Thread(target=optimize, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert traces[0].equals(traces[2])
    assert traces[1].equals(traces[3])
    assert not traces[0].equals(traces[1])


def test_an_interrupt_waits_for_the_end_of_hebos_work_which_would_swallow_it():
    reached = []

    def work():
        with _working():
            with contextlib.suppress(BaseException):  # as HEBO's bare `except:` does
                os.kill(os.getpid(), signal.SIGINT)
                reached.append("the model")
            reached.append("the suggestion")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert reached == ["the model", "the suggestion"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.stress
def test_hebo_still_swallows_interrupts(monkeypatch):
    interrupted = []

    def interrupt(*args, **kwargs):
        interrupted.append(True)
        if len(interrupted) == 1:
            raise KeyboardInterrupt
        return transform(*args, **kwargs)

    import hebo.optimizers.hebo as module

    transform = module.power_transform
    monkeypatch.setattr(module, "power_transform", interrupt)
    with seeded(1):
        suggested = library_run(Bowl(small_space), 1, 3, rand_sample=2)
    assert interrupted, "the model was not used"
    assert len(suggested) == 3, "HEBO lets Ctrl-C through now: `_interrupts_held_back` may go"


# -- failures and errors -----------------------------------------------------------------------------------------------


def test_failed_evaluations_are_not_told(run):
    trace = run(load("hebo", rand_sample=40), Bowl(failing_share=0.5), "ask_tell", 4, 40)
    assert 5 < (trace["status"] == "failed").sum() < 35


def test_hebo_still_drops_what_is_not_finite():
    space = HeboSpace(small_space())
    hebo = HEBO(DesignSpace().parse(space.description()), scramble_seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hebo.observe(hebo.suggest(1), np.array([[np.nan]]))
        assert len(hebo.X) == 0
        hebo.observe(hebo.suggest(1), np.array([[1.0]]))
    assert len(hebo.X) == 1


@dataclass
class Spaced:
    """A benchmark of which only the space matters, and whose evaluations are none."""

    space: ConfigurationSpace
    name: str = "spaced"
    label: str = "spaced"
    fidelity: Any = None

    def __call__(self, _config):
        return {"loss": 1.0}


def test_an_error_of_the_run_is_raised(run):
    with pytest.raises(InvalidEvaluationError, match="without 'value'"):
        run(load("hebo"), Spaced(small_space()), "ask_tell")


@pytest.mark.stress
def test_equal_values_everywhere_do_not_end_the_run(run):
    class Flat(Spaced):
        def __call__(self, config):
            return Evaluation(1.0, 1.0 + config["rate"])

    assert len(run(load("hebo", rand_sample=2), Flat(small_space()), "ask_tell", 1, 3)) == 3


@pytest.mark.parametrize(
    "space",
    [
        ConfigurationSpace({"x": (0.0, 1.0)}),
        ConfigurationSpace({"c": ["a", "b"], "d": ["a", "b", "c"]}),
        ConfigurationSpace({"n": (1, 4)}),  # small enough to be exhausted
    ],
)
def test_spaces_of_one_kind_and_tiny_ones_are_searched(run, space):
    class First(Spaced):
        def __call__(self, config):
            return Evaluation(float(str(next(iter(config.values()))) == "a"), 1.0)

    assert len(run(load("hebo", rand_sample=4), First(space), "ask_tell", 1, 5)) == 5


# -- parameters and refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "gp", "scramble_seed": 1}, r"'hebo' was given 'model', 'scramble_seed'; it takes model_name"),
        ({"model_name": "gpp"}, "model_name='gpp'; it must be one of svidkl, svgp, gp, rf"),
        ({"rand_sample": 1}, "rand_sample=1; it must be an integer of at least 2"),
        ({"rand_sample": True}, "rand_sample=True"),
        ({"model_config": [1]}, r"model_config=\[1\]; it must be a mapping"),
    ],
)
def test_parameters_that_hebo_does_not_take_are_refused_when_loading(parameters, message):
    with pytest.raises(SpecificationError, match=message):
        load("hebo", **parameters)


def test_parameters_reach_hebo():
    adapter = load("hebo", model_name="rf", rand_sample=7, model_config={"n_estimators": 3})
    optimizer = AskTellHEBO(HeboSpace(small_space()), 1, adapter.parameters)
    assert (optimizer._hebo.model_name, optimizer._hebo.rand_sample) == ("rf", 7)
    assert optimizer._hebo.model_config == {"n_estimators": 3, "num_uniqs": [3]}


def test_native_mode_does_not_exist(run):
    with pytest.raises(SpecificationError, match="can run in 'ask_tell'"):
        run(load("hebo"), Bowl(), "native")


def conditional():
    space = ConfigurationSpace({"c": ["a", "b"], "x": (0.0, 1.0)})
    space.add(EqualsCondition(space["x"], space["c"], "a"))
    return space


def forbidding():
    space = ConfigurationSpace({"c": ["a", "b"]})
    space.add(ForbiddenEqualsClause(space["c"], "b"))
    return space


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        (conditional(), "no conditions and the space has x | c == 'a'"),
        (forbidding(), "no forbidden clauses and the space has Forbidden: c == 'b'"),
        (ConfigurationSpace(space=[Float("x", (0.0, 1.0), distribution=Normal(0.5, 0.1))]), "'x' is a NormalFloat"),
        (ConfigurationSpace(space=[Categorical("c", ["a", "b"], weights=[1, 3])]), "'c' has [0.25, 0.75]"),
        (ConfigurationSpace({"n": (0, 2**25)}), "exact to 2**24, and 'n' is"),
        (ConfigurationSpace({"x": (1e6, 1e6 + 1e-3)}), "does not hold the bounds of 'x'"),
        (ConfigurationSpace({"x": (0.0, 1e39)}), "does not hold the bounds of 'x'"),
        (ConfigurationSpace(space=[Constant("k", 1), Categorical("c", ["a"])]), "only one configuration"),
    ],
)
def test_what_hebo_cannot_express_is_refused_with_the_reason(space, reason):
    assert reason in load("hebo").refuses(Spaced(space))


# -- translation -------------------------------------------------------------------------------------------------------

# ConfigSpace keeps values in NumPy arrays, which drop NULs at the end of a text: it refuses such a constant itself.
texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6), texts)
values = st.one_of(scalars, st.tuples(st.integers(0, 9), st.integers(0, 9)))
choices = st.lists(values, min_size=1, max_size=6, unique=True)


@st.composite
def parameters(draw, name):
    kind = draw(st.sampled_from(["float", "integer", "categorical", "ordinal", "constant"]))
    if kind == "categorical":
        return Categorical(name, draw(choices))
    if kind == "ordinal":
        return Ordinal(name, draw(choices))
    if kind == "constant":
        return Constant(name, draw(scalars))
    log = draw(st.booleans())
    if kind == "float":
        lower = draw(st.floats(1e-6, 1e3) if log else st.floats(-1e3, 1e3))
        return Float(name, (lower, lower + draw(st.floats(1e-2, 1e6))), log=log)
    lower = draw(st.integers(1, 10**4) if log else st.integers(-(10**6), 10**6))
    return Integer(name, (lower, lower + draw(st.integers(1, 10**6))), log=log)


@st.composite
def spaces(draw):
    number = draw(st.integers(1, 6))
    space = ConfigurationSpace(space=[draw(parameters(f"p{index}")) for index in range(number)])
    if not HeboSpace(space).parameters:
        space.add(Float("x", (0.0, 1.0)))
    return space


def identical(first, second):
    """Equal in value and in type: 1, 1.0 and True are three configurations."""
    return [(k, type(v), v) for k, v in first.items()] == [(k, type(v), v) for k, v in second.items()]


@given(spaces(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_every_configuration_survives_the_way_to_hebo_and_back(space, seed):
    assert refuses_space(space) is None
    translation = HeboSpace(space)
    design = DesignSpace().parse(translation.description())
    for config in islice(random_configs(space, seed), 5):
        row = pd.DataFrame([translation.row(config)])
        assert identical(translation.config(first_row(row)), config)
        numbers, choices_ = design.transform(row)  # HEBO takes it
        assert torch.isfinite(numbers).all()
        assert choices_.shape == (1, design.num_categorical)


@given(spaces(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_every_suggestion_is_a_legal_configuration_also_at_the_bounds(space, seed):
    optimizer = AskTellHEBO(HeboSpace(space), seed, {"rand_sample": 100})
    for _ in range(3):
        query = optimizer.ask()
        assert list(query.config) == list(space)
        assert config_problems(space, query.config) == []
        optimizer.tell(query, Evaluation(1.0, 1.0))
    design = optimizer._hebo.space
    for bounds in (design.opt_lb, design.opt_ub):
        corner = design.inverse_transform(
            bounds[None, : design.num_numeric].float(), bounds[None, design.num_numeric :].float()
        )
        assert config_problems(space, HeboSpace(space).config(first_row(corner))) == []


def test_a_budget_of_time_ends_the_run(run):
    trace = run(load("hebo", rand_sample=99), Bowl(), "ask_tell", 4, budget=Budget(max_time=300.0))
    assert 250.0 < trace["end"].max() <= 300.0
