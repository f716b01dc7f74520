"""Study files: what they say, and how an error in one is told."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from zerowait.experiments.studies.study import _refuse_repetition, load_study
from zerowait.suite.rules.budget import Budget
from zerowait.suite.rules.errors import SpecificationError
from zerowait.suite.rules.overhead import Overhead

NONE = 'overhead = "none"'


def test_a_study_says_what_its_file_says(study_file):
    study = load_study(study_file(('output = "', '# output = "')))
    assert study.workers == [1, 3]
    assert [list(study.seeds_of(one)) for one in study.optimizers] == [[0, 1], [0, 1]]
    assert study.folder == Path("runs/small")
    assert study.budget.budget() == Budget(12, None)
    assert [o.shown_as for o in study.optimizers] == ["random", "optuna-tpe"]
    assert study.optimizers[1].parameters == {"n_startup_trials": 4}
    assert study.benchmarks[0].tasks is None


def test_seeds_can_be_listed_and_optimizers_labelled(study_file):
    study = load_study(study_file(("seeds = 2", "seeds = [3, 1]"), ('"random"', '"random"\nlabel = "RS"')))
    assert study.seeds_of(study.optimizers[0]) == [3, 1]
    assert study.optimizers[0].shown_as == "RS"


@pytest.mark.parametrize(
    ("text", "overhead"),
    [
        ("", Overhead.measured()),
        ('overhead = "measured"', Overhead.measured()),
        ('overhead = "none"', Overhead.none()),
        ("overhead = {fixed = 1.5}", Overhead.fixed(1.5)),
        ("overhead = {fixed = 2}", Overhead.fixed(2.0)),
        ("overhead = {base = 0.1, per_result = 0.05}", Overhead.linear(0.1, 0.05)),
        ('overhead = {fixed = 1.5, sampling = "parallel"}', Overhead.fixed(1.5, sampling="parallel")),
    ],
)
def test_overhead_is_named_or_modelled(study_file, text, overhead):
    assert load_study(study_file((NONE, text))).overhead == overhead


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("workers = [1, 3]", "workers = [0]", "workers[0] is 0; it must be greater than 0"),
        ("workers = [1, 3]", "workers = []", "workers is []; it must not be empty"),
        ("workers = [1, 3]", "workers = [2, 2]", "workers has 2 more than once; keep it once"),
        ("workers = [1, 3]", "workers = [true]", "workers[0] is True; it must be a valid integer"),
        ("workers =", "worker =", "worker is not a key that a study has; did you mean 'workers'? allowed: "),
        ("workers = [1, 3]\n", "", "the key workers is missing; add it (every study has name, workers, seeds"),
        ("seeds = 2", "seeds = 0", "seeds is 0; it must be greater than 0"),
        ("seeds = 2", "seeds = [1, -1]", "seeds[1] is -1; it must be greater than or equal to 0"),
        ("seeds = 2", "seeds = [1, 1]", "seeds has 1 more than once; keep it once"),
        ("seeds = 2", 'seeds = "2"', "seeds is '2'; it must be a valid integer"),
        ("seeds = 2", "seeds = 1000000000000", "seeds is 1000000000000; it must be less than or equal to 100000"),
        ("seeds = 2", f"seeds = 1{'0' * 30}", "it must be less than or equal to 100000"),
        ("seeds = 2", f"seeds = 1{'0' * 5000}", "not valid TOML: Exceeds the limit"),
        ("seeds = 2", f"seeds = {list(range(100_001))}", "49, ...]; it must not have more than 100000 entries"),
        ("workers = [1, 3]", "workers = [1, 1000000000000]", "workers[1] is 1000000000000; it must be less than or"),
        ("workers = [1, 3]", f"workers = {'[' * 5000}", "not valid TOML: maximum recursion depth exceeded"),
        ('name = "small"', 'name = "../small"', "name is '../small'; it must consist of letters, digits"),
        (NONE, 'overhead = "non"', 'overhead: it is \'non\'; it must be one of "none", "measured"'),
        (NONE, "overhead = {fixd = 1}", "overhead: fixd is not a key of an overhead; did you mean 'fixed'?"),
        (
            NONE,
            "overhead = {fixed = -1}",
            "overhead: the fixed overhead is -1; it must be a number of s",
        ),
        (NONE, "overhead = {fixed = inf}", "overhead: the fixed overhead is inf; it must be a number of seconds"),
        (NONE, "overhead = {base = 1}", "overhead: it is {'base': 1}; it must be one of "),
        (NONE, "overhead = {fixed = 1, base = 1}", "overhead: it is {'base': 1, 'fixed': 1}; it must be one of "),
        (
            NONE,
            'overhead = {fixed = 1, sampling = "both"}',
            "overhead: sampling is 'both'; it must be 'serial' or 'parallel'",
        ),
        ("max_evaluations = 12", "max_evaluation = 12", "budget.max_evaluation is not a key"),
        ("max_evaluations = 12", "", "budget: it has no max_evaluations, max_time or full_trainings; give at"),
        ("max_evaluations = 12", "max_time = inf", "budget.max_time is inf; it must be a finite number"),
        ("[budget]", "[budgets]", "budgets is not a key that a study has; did you mean 'budget'?"),
        (
            'mode = "ask_tell"',
            'mode = "async"',
            "optimizers[0].mode is 'async'; it must be 'native', 'ask_tell' or 'native-simulated'",
        ),
        ("parameters =", "params =", "optimizers[1].params is not a key that a study has"),
        ('"optuna-tpe"', '"random"', "optimizers has 'random' more than once; give one of them a label"),
        ("[[benchmarks]]", "[benchmarks]", "it must be a list of tables: write [[benchmarks]] once for each"),
        ('"branin"', '"branin"\ntasks = []', "benchmarks[0].tasks is []; it must not be empty"),
        ('name = "small"', 'name = "small', "not valid TOML: Illegal character '\\n' (at line 1, column 14)"),
    ],
)
def test_an_error_is_one_line_with_file_place_and_remedy(study_file, old, new, message):
    path = study_file()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(SpecificationError) as error:
        load_study(path)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in text


def test_a_hundred_thousand_seeds_are_compared_at_once(study_file):
    study = load_study(study_file(("seeds = 2", f"seeds = {list(range(100_000))}")))
    counted = load_study(study_file(("seeds = 2", "seeds = 100000")))
    assert [*counted.seeds_of(counted.optimizers[0])] == study.seeds_of(study.optimizers[0])


def test_looking_for_what_is_named_twice_compares_each_with_few():
    compared = 0

    class Value(int):
        def __hash__(self):
            return int(self)

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return int(self) == int(other)

    _refuse_repetition("seeds", [Value(i) for i in range(5000)])
    assert compared < 5000  # each with each: 12 million
    with pytest.raises(ValueError, match="seeds has 7 more than once; keep it once"):
        _refuse_repetition("seeds", [Value(i) for i in (3, 7, 5, 7)])


def test_several_errors_are_counted(study_file):
    path = study_file(("workers = [1, 3]", "workers = [0]"), ("seeds = 2", "seeds = 0"))
    with pytest.raises(SpecificationError, match=r"workers\[0\] is 0; .* \(and 1 more\)$"):
        load_study(path)


def test_a_missing_file_a_folder_and_another_encoding_are_told_apart(tmp_path):
    with pytest.raises(SpecificationError, match=r"none\.toml: there is no such file; give the path of a study"):
        load_study(tmp_path / "none.toml")
    with pytest.raises(SpecificationError, match=r"this folder has no study\.toml"):
        load_study(tmp_path)
    with pytest.raises(
        SpecificationError, match=r"that is here: baselines, clocks, clusters, figure-6, paper-fair, paper"
    ):
        load_study("quick")
    (tmp_path / "latin.toml").write_bytes(b'name = "caf\xe9"')
    with pytest.raises(SpecificationError, match=r"cannot be read .* TOML in UTF-8"):
        load_study(tmp_path / "latin.toml")


def test_budgets_may_be_simulated_time(study_file):
    study = load_study(study_file(("max_evaluations = 12", "max_time = 3600")))
    assert study.budget.budget() == Budget(None, 3600)
    assert math.isfinite(study.budget.max_time)
