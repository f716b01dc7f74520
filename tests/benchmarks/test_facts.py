"""Every registered benchmark states its units, its least known value, its citation and its licence."""

from __future__ import annotations

import re

import pytest

from zerowait.benchmarks import DataMissingError, Family, available, load
from zerowait.benchmarks.facts import Facts
from zerowait.benchmarks.registry import BUILT_IN

LISTED = {found.name: found for found in available()}
ENTRY = re.compile(r"@(\w+)\{([\w:-]+),\n(.*?)\n\}", flags=re.DOTALL)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_benchmark_states_units_optimum_citation_and_licence(name):
    found = LISTED[name]
    assert found.facts.gaps() == []
    assert found.citation
    assert found.licence
    assert all(unit for unit in found.facts.metrics.values())
    # Either least values for every task, or the reason why there are none.
    tasks = set(found.tasks) or {None}
    assert set(found.facts.optima) in (set(), tasks)
    assert len(found.facts.optimum_note) > 10


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_bibtex_entry_is_one(name):
    text = LISTED[name].facts.bibtex
    entries = ENTRY.findall(text)
    rest = ENTRY.sub("", text).strip()
    if name == "table":  # whoever has made it is the one to cite
        assert rest.startswith("%")
        return
    assert rest == ""
    assert entries
    assert len({key for _, key, _ in entries}) == len(entries)
    for _, _, fields in entries:
        assert {"author", "title", "year"} <= set(re.findall(r"^\s*(\w+)\s*=", fields, flags=re.MULTILINE))
    assert text.count("{") == text.count("}")


def loadable(name):
    found = LISTED[name]
    if name == "table":
        pytest.skip("a user's own table states its facts itself")
    if found.reason is not None:
        pytest.skip(found.reason)
    for task in found.tasks or (None,):  # of a table with a file a task, some may be here
        try:
            return load(name, task=task)
        except DataMissingError:
            continue
    return pytest.skip(f"no task of {name} has its data here")


@pytest.mark.parametrize("name", BUILT_IN)
def test_what_is_stated_is_what_the_benchmark_has(name):
    benchmark = loadable(name)
    assert dict(benchmark.metrics) == dict(LISTED[name].facts.metrics)
    assert benchmark.licence == LISTED[name].licence
    assert benchmark.citation == LISTED[name].citation
    optima = LISTED[name].facts.optima
    if optima or "load(...).optimum" not in LISTED[name].facts.optimum_note:
        assert benchmark.optimum == (optima[benchmark.task] if optima else None)


@pytest.mark.parametrize(
    ("name", "task"), [(name, task) for name in ("hpobench", "hpolib", "nasbench201") for task in LISTED[name].tasks]
)
def test_the_stated_optima_of_the_tables_are_exact(name, task):
    assert load(name, task=task).optimum == LISTED[name].facts.optima[task]


def test_a_family_that_states_nothing_has_gaps():
    family = Family(name="mine", description="", make=lambda: None)
    assert family.facts.gaps() == ["value", "optimum_note", "bibtex"]
    assert Facts(value="v", optimum_note="o", bibtex="b").gaps() == []
