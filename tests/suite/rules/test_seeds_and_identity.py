"""Identities and seeds: the same for the same question, whoever asks, whenever and in whichever process."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys

import numpy as np
import pytest
from drivers import environment
from hypothesis import given
from hypothesis import strategies as st
from modes import MODES, Scripted, queries

from zerowait.suite import Evaluation, Overhead, Query, Simulator, read_trace, simulate
from zerowait.suite.rules.errors import InvalidEvaluationError, SpecificationError
from zerowait.suite.rules.identity import canonical_json, check_config, digest
from zerowait.suite.rules.seeds import MAX_RUN_SEED, ObjectiveSeeds, check_run_seed, optimizer_seed
from zerowait.suite.sharing import journal

NONE = Overhead.none()
run_seeds = st.integers(0, MAX_RUN_SEED)
digests = st.binary(min_size=16, max_size=16)
plain_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
configs = st.dictionaries(st.text(), plain_values | st.lists(plain_values, max_size=3), max_size=6)


@pytest.fixture(params=MODES)
def mode(request):
    return MODES[request.param]


# -- identity ----------------------------------------------------------------------------------------------------------


def test_an_identity_is_blake2b_of_sorted_json_without_spaces():
    text = '{"kernel":"rbf","layers":[1,2.5,null],"lr":0.001,"nesterov":true,"\\u00e9":-0.0}'
    config = {"lr": 1e-3, "layers": [1, 2.5, None], "nesterov": True, "é": -0.0, "kernel": "rbf"}
    assert canonical_json(config) == text
    assert digest(text) == hashlib.blake2b(text.encode(), digest_size=16).digest()


@given(configs, st.randoms())
def test_the_order_of_the_names_does_not_matter(config, random):
    names = list(config)
    random.shuffle(names)
    assert canonical_json({name: config[name] for name in names}) == canonical_json(config)


@given(configs)
def test_the_text_is_that_of_the_standard_librarys_encoder_and_can_be_read_back(config):
    text = canonical_json(config)
    assert text == json.dumps(config, sort_keys=True, separators=(",", ":"))
    assert canonical_json(json.loads(text)) == text


SAME = [
    ({"x": np.int64(3)}, {"x": 3}),
    ({"x": np.uint8(3)}, {"x": 3}),
    ({"x": np.float64(0.1)}, {"x": 0.1}),
    ({"x": np.float32(0.5)}, {"x": 0.5}),
    ({"x": np.float32(0.1)}, {"x": 0.10000000149011612}),
    ({"x": np.bool_(True)}, {"x": True}),
    ({"x": np.str_("rbf")}, {"x": "rbf"}),
    ({"x": np.array([1, 2])}, {"x": [1, 2]}),
    ({"x": np.array(1.5)}, {"x": 1.5}),
    ({"x": (1, 2)}, {"x": [1, 2]}),
    ({np.str_("x"): 1}, {"x": 1}),
    ({"x": {"b": 1, "a": np.int8(2)}}, {"x": {"a": 2, "b": 1}}),
]


@pytest.mark.parametrize(("config", "plain"), SAME)
def test_values_of_numpy_and_tuples_have_the_identity_of_plain_ones(config, plain):
    assert canonical_json(config) == canonical_json(plain)


DIFFERENT = [
    ({"x": 1}, {"x": 1.0}),
    ({"x": 1}, {"x": True}),
    ({"x": 1}, {"x": "1"}),
    ({"x": None}, {}),
    ({"x": 0.0}, {"x": -0.0}),
    ({"x": 0.1}, {"x": math.nextafter(0.1, 1)}),
    ({"x": [1, 2]}, {"x": [2, 1]}),
    ({"x": "a"}, {"X": "a"}),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_values_have_different_identities(one, other):
    assert digest(canonical_json(one)) != digest(canonical_json(other))


REFUSED = {
    "a set": ({"x": {1}}, "parameter 'x' has the value {1} of type set"),
    "an object": ({"y": 1, "x": 1j}, "parameter 'x' has the value 1j of type complex"),
    "bytes": ({"x": b"a"}, "parameter 'x' has the value b'a' of type bytes"),
    "a number as name": ({1: "a"}, "parameter name 1 is of type int; names must be strings"),
    "nothing as name": ({None: "a"}, "parameter name None is of type NoneType"),
    "names of two types": ({"a": 1, 2: 2}, "parameter name 2 is of type int"),
    "a set in a list": ({"x": [1, {2}]}, "parameter 'x' has the value [1, {2}] of type list"),
}


@pytest.mark.parametrize("refuse", [canonical_json, check_config])
@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_json_form_is_refused_by_name(what, refuse):
    config, message = REFUSED[what]
    with pytest.raises(SpecificationError) as caught:
        refuse(config)
    assert message in str(caught.value)


def test_a_value_that_contains_itself_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(SpecificationError, match=r"parameter 'x' has the value \[\[\.\.\.\]\] of type list"):
        canonical_json({"x": loop})


@given(configs)
def test_what_has_a_json_form_passes(config):
    check_config(config)


def test_ask_and_tell_refuses_a_configuration_when_it_is_asked_for_and_not_at_the_end(tmp_path):
    with pytest.raises(SpecificationError, match=r"parameter 'x' has the value \{1\}") as caught:
        simulate(
            Scripted([Query({"x": 0}), Query({"x": {1}}), Query({"x": 2})]), lambda _: Evaluation(0.0, 1.0),
            n_workers=1, overhead=NONE, directory=tmp_path,
        )  # fmt: skip
    assert caught.value.__notes__ == [f"the 1 evaluations delivered so far are in {tmp_path / 'trace.parquet'}"]


PROGRAM = """
    import json, sys
    from zerowait.suite.rules.identity import canonical_json, digest
    from zerowait.suite.rules.seeds import ObjectiveSeeds, optimizer_seed
    identity = digest(canonical_json({"b": [1, 2.5], "a": "text", "c": None}))
    print(json.dumps([identity.hex(), ObjectiveSeeds(7).seed(identity), optimizer_seed(7)]))
"""


HALF = "\ud83d"  # the first half of a surrogate pair
HALVES = {
    "a value": {"x": HALF},
    "a value of two halves": {"x": "\ud83d\ude00"},
    "the end of a value": {"x": "word" + HALF},
    "a name": {HALF: 1},
    "a value in a list": {"x": ["a", HALF]},
    "a name in a mapping": {"x": {HALF: 1}},
    "a string of NumPy": {"x": np.str_(HALF)},
}


def one_second(_config):
    return Evaluation(0.0, 1.0)


def with_a_strange_metric(_config):
    return {"value": 0.0, "runtime": 1.0, HALF: 1.0}


@pytest.mark.parametrize("what", HALVES)
def test_half_a_surrogate_pair_is_refused_when_it_is_asked_for(mode, what):
    with pytest.raises(SpecificationError, match="half a surrogate pair, which no file can hold"):
        mode([Query(HALVES[what])], one_second, n_workers=1, max_evaluations=1, overhead=NONE)
    for refuse in (canonical_json, check_config):
        with pytest.raises(SpecificationError, match=r"parameter .* has the value .*, a text with half"):
            refuse(HALVES[what])


def test_whole_characters_of_any_kind_are_stored(tmp_path):
    config = {"é": "\U0001f600", "\U0001f600": "\\ud83d", "list": ["\U0001f600", "\x00"]}
    with Simulator(lambda _: Evaluation(0.0, 1.0), n_workers=1, directory=tmp_path) as simulator:
        simulator(config, config_id="\U0001f600")
        path = simulator.finish()
    check_config(config)
    trace = read_trace(path)
    assert trace["config.é"].tolist() == ["\U0001f600"]
    assert trace["config_id"].tolist() == ["\U0001f600"]


@pytest.mark.parametrize("given", [3.0, b"3", HALF, ("a",), True])
def test_an_id_that_is_no_text_is_refused_in_every_mode(mode, given):
    with pytest.raises(SpecificationError, match=r"config_id is .* of type \w+; it must be a string of whole char"):
        mode([Query({"x": 0}, None, given)], one_second, n_workers=1, overhead=NONE)


def test_a_metric_with_half_a_surrogate_pair_is_refused(mode):
    with pytest.raises(InvalidEvaluationError, match="half a surrogate pair"):
        mode([Query({"x": 0})], with_a_strange_metric, n_workers=1, max_evaluations=1, overhead=NONE)


def test_every_process_finds_the_same_identity_and_seeds():
    """Nothing comes from `hash()`, which is salted anew in every process."""
    answers = set()
    for salt in ("0", "1", "random"):
        program = "\n".join(line.strip() for line in PROGRAM.splitlines())
        answers.add(
            subprocess.run(
                [sys.executable, "-c", program], env=environment(PYTHONHASHSEED=salt), capture_output=True, check=True
            ).stdout
        )
    text = '{"a":"text","b":[1,2.5],"c":null}'
    identity = hashlib.blake2b(text.encode(), digest_size=16).digest()
    assert json.loads(answers.pop()) == [identity.hex(), seed_by_the_book(7, identity), optimizer_seed_by_the_book(7)]
    assert not answers


# -- seeds -------------------------------------------------------------------------------------------------------------
#
# By the book: NumPy's SeedSequence over 32-bit words, first the domain (1: optimizer, 2: objective), then the low and
# the high half of the run seed, then the identity as four little-endian words.


def halves(run_seed):
    return [run_seed % 2**32, run_seed // 2**32]


def seed_by_the_book(run_seed, identity):
    words = [int.from_bytes(identity[k : k + 4], "little") for k in range(0, 16, 4)]
    return int(np.random.SeedSequence([2, *halves(run_seed), *words]).generate_state(1)[0])


def optimizer_seed_by_the_book(run_seed):
    return int(np.random.SeedSequence([1, *halves(run_seed)]).generate_state(1)[0])


@given(run_seeds, digests)
def test_an_objectives_seed_is_that_of_the_book(run_seed, identity):
    assert ObjectiveSeeds(run_seed).seed(identity) == seed_by_the_book(run_seed, identity)


@given(run_seeds, st.lists(digests, max_size=20))
def test_many_seeds_at_once_are_the_single_ones(run_seed, identities):
    seeds = ObjectiveSeeds(run_seed)
    words = np.frombuffer(b"".join(identities), dtype=np.uint32)
    assert seeds.many(words).tolist() == [seeds.seed(identity) for identity in identities]


@given(run_seeds)
def test_an_optimizers_seed_is_that_of_the_book_and_fits_every_library(run_seed):
    assert optimizer_seed(run_seed) == optimizer_seed_by_the_book(run_seed)
    assert 0 <= optimizer_seed(run_seed) < 2**32


def test_seeds_of_neighbours_share_nothing():
    """10,000 seeds of 32 bits: the chance that more than 3 pairs of them agree is below 1 in a billion."""
    seeds = [ObjectiveSeeds(run).seed(digest(str(k))) for run in range(100) for k in range(99)]
    seeds += [optimizer_seed(run) for run in range(100)]
    assert len(set(seeds)) >= len(seeds) - 3


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, "1", None, True, np.float64(1)])
def test_a_run_seed_that_is_none_is_refused(seed):
    with pytest.raises(SpecificationError, match=r"seed is .*; it must be an integer from 0 to 2\*\*63 - 1"):
        check_run_seed(seed)


@pytest.mark.parametrize("seed", [0, 2**63 - 1, np.int32(7), np.uint64(2**63 - 1)])
def test_a_run_seed_may_be_any_integer_of_63_bits(seed):
    assert check_run_seed(seed) == int(seed)
    assert type(check_run_seed(seed)) is int


class TellsItsSeed:
    def __call__(self, config, *, fidelity, seed):
        return Evaluation(float(seed), 1.0 + config["x"] + (fidelity or 0.0))


class AsksForNoSeed:
    def __call__(self, config, *, fidelity):
        return Evaluation(0.0, 1.0 + config["x"] + (fidelity or 0.0))


ASKED = queries((0, None), (1, None), (0, 3.0), (2, 1.0), (0, None), (1, 9.0, "named"), (2, None, "named too"))


def expected_seeds(trace, run_seed):
    """Return the seeds by the book, from the configurations and ids that were asked for."""
    given = {(q.config["x"], -1.0 if q.fidelity is None else q.fidelity): q.config_id for q in ASKED}
    rows = zip(trace["config.x"].tolist(), trace["fidelity"].fillna(-1.0).tolist(), strict=True)
    texts = [given[row] or json.dumps({"x": row[0]}, separators=(",", ":")) for row in rows]
    return [seed_by_the_book(run_seed, hashlib.blake2b(t.encode(), digest_size=16).digest()) for t in texts]


@pytest.mark.parametrize("n_workers", [1, 3])
@pytest.mark.parametrize("overhead", [NONE, Overhead.fixed(2.0)], ids=["none", "fixed"])
def test_an_objective_gets_the_seed_of_its_configuration_whoever_asks_and_whenever(mode, n_workers, overhead):
    trace = mode(ASKED, TellsItsSeed(), n_workers=n_workers, seed=11, overhead=overhead, max_evaluations=len(ASKED))
    assert trace["seed"].tolist() == expected_seeds(trace, 11)
    assert trace["value"].tolist() == trace["seed"].tolist()


def test_a_trace_has_the_seeds_although_the_objective_takes_none(mode):
    trace = mode(ASKED, AsksForNoSeed(), n_workers=2, seed=11, overhead=NONE, max_evaluations=len(ASKED))
    assert trace["seed"].tolist() == expected_seeds(trace, 11)


def test_a_seed_is_in_the_journal_only_when_it_was_asked_for(tmp_path):
    for objective, there in ((TellsItsSeed(), True), (AsksForNoSeed(), False)):
        directory = tmp_path / type(objective).__name__
        with Simulator(objective, n_workers=1, directory=directory, overhead=NONE) as simulator:
            simulator({"x": 0})
        (record,) = journal.read(directory / "journal")
        assert ("seed" in record) == there


def test_another_run_seed_gives_other_seeds(mode):
    one, other = (
        mode(ASKED, TellsItsSeed(), n_workers=2, seed=seed, overhead=NONE, max_evaluations=len(ASKED))
        for seed in (11, 12)
    )
    assert not set(one["seed"]) & set(other["seed"])
    assert one["end"].tolist() == other["end"].tolist()


def test_the_order_of_the_parameters_changes_nothing(mode):
    traces = [
        mode([Query(config)], TwoParameters(), n_workers=1, seed=1, overhead=NONE, max_evaluations=1)
        for config in ({"a": 1, "b": 2.0}, {"b": np.float64(2.0), "a": np.int64(1)})
    ]
    assert traces[0].equals(traces[1])


class TwoParameters:
    def __call__(self, config, *, seed):
        return Evaluation(config["a"] + config["b"] + seed, 1.0)
