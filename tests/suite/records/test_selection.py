"""One language in which runs are chosen, by commands and functions alike."""

import numpy as np
import pandas as pd
import pytest

from zerowait.suite.records.selection import number_in, parse
from zerowait.suite.rules.errors import SpecificationError

RUNS = pd.DataFrame(
    [
        (o, b, n, s)
        for o in ("random", "optuna-tpe", "optuna-gp")
        for b in ("branin", "lcbench/3945", "lcbench/7593")
        for n in (1, 2, 4, 8)
        for s in range(10)
    ],
    columns=["optimizer", "benchmark", "n_workers", "run_seed"],
)


@pytest.mark.parametrize(
    ("where", "query"),
    [
        ("optimizer=optuna*,P=1,2,4,seed=5..9,benchmark=lcbench/*",
         "optimizer != 'random' and n_workers < 8 and run_seed >= 5 and benchmark != 'branin'"),
        ("optuna*,*,P=8,seed<5", "optimizer != 'random' and n_workers == 8 and run_seed < 5"),
        ("random", "optimizer == 'random'"),
        ("*,bran?n,P>=4", "benchmark == 'branin' and n_workers >= 4"),
        ("seed=2..4,P=2-4", "2 <= run_seed <= 4 and 2 <= n_workers <= 4"),
        ("*,*, P<=1 , seed!=1..7", "n_workers <= 1 and not 1 <= run_seed <= 7"),
        ("optimizer=random,optuna-gp,workers=8", "optimizer in ['random', 'optuna-gp'] and n_workers == 8"),
        ("optimizer!=optuna*,random_state", None),
        ("optimizer!=random,seed=0,9", "optimizer != 'random' and run_seed in [0, 9]"),
        (["P=8", "seed<5"], "n_workers == 8 and run_seed < 5"),
        ({"optimizer": ["random", "optuna-tpe"], "P": np.int64(8), "seed": range(3)},
         "optimizer in ['random', 'optuna-tpe'] and n_workers == 8 and run_seed < 3"),
        ({"optimizer": "optuna*"}, "optimizer != 'random'"),
        (None, "n_workers > 0"),
        ("", None),
    ],
)  # fmt: skip
def test_a_selection_means_what_the_same_question_in_pandas_means(where, query):
    if query is None:
        with pytest.raises(SpecificationError):
            parse(where).mask(RUNS)
        return
    selection = parse(where)
    mask = selection.mask(RUNS)
    assert mask.tolist() == RUNS.index.isin(RUNS.query(query).index).tolist()
    one_by_one = [selection.holds(**{str(k): v for k, v in row.items()}) for row in RUNS.to_dict("records")]
    assert mask.tolist() == one_by_one


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("a,b,c", "'a,b,c' has 'c', which is not understood; write one such as optimizer=optuna"),
        ("", "has '', which is not understood"),
        ("P=", "has 'P=', which is not understood"),
        ("P=1,,2", "has '', which is not understood"),
        ("P=1,random", "'P=1,random' compares with 'random'; allowed after =: a whole number, or a range such as 2..5"),
        ("P=1.5", "compares with '1.5'; allowed after =: a whole number"),
        ("P<2..3", "compares with '2..3'; allowed after <: a whole number"),
        ("seed<1,2", "compares with several numbers; give one"),
        ("optimizer<b", "orders texts; write optimizer=... or !=..."),
        ("task=car", "names 'task', which no run has; it may name: optimizer, benchmark, P, seed"),
        ("optimizer=random,tpe", "the study has no optimizer 'tpe'; it has: optuna-gp, optuna-tpe, random"),
        ("P=3,seed=1..3", "no run meets 'P=3,seed=1..3'; there are optimizer optuna-gp, optuna-tpe, random; "),
        (7, "where is 7; write it as optimizer="),
        ({7: 1}, "where has the name 7; names are texts"),
        ({"P": "many"}, "compares with 'many'"),
    ],
)
def test_what_cannot_be_read_or_chooses_nothing_is_one_line(where, message):
    with pytest.raises(SpecificationError) as caught:
        parse(where).mask(RUNS)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_with_wildcard_characters_is_found_as_it_stands():
    runs = RUNS.assign(optimizer="TPE[n=3]")
    assert parse({"optimizer": "TPE[n=3]"}).mask(runs).all()


def test_one_of_several_names_is_enough_unless_it_is_excluded():
    assert parse("optimizer=optuna*").holds(optimizer=("TPE", "optuna-tpe"))
    assert not parse("optimizer!=optuna*").holds(optimizer=("TPE", "optuna-tpe"))


def test_columns_of_other_types_are_compared_as_what_they_are():
    rows = RUNS.assign(value=np.linspace(0, 1, len(RUNS)), ok=RUNS["run_seed"] > 4)
    assert parse("value<=0.5").mask(rows).sum() == (rows["value"] <= 0.5).sum()
    assert parse("ok=true").mask(rows).tolist() == rows["ok"].tolist()
    assert parse({"ok": True}).mask(rows).tolist() == rows["ok"].tolist()
    assert parse({"value": 0.0}).mask(rows).sum() == 1


@pytest.mark.parametrize(("text", "number"), [("3", 3), ("-2.5e3", -2500.0), ("x", None), ("=1", None)])
def test_numbers_are_read_from_texts(text, number):
    assert number_in(text) == number
