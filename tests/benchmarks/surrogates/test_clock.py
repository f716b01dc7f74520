"""The linear clock of surrogates: the share of the full training's seconds, in the label and in the cell."""

from __future__ import annotations

import pickle

import pytest

from zerowait.benchmarks import load
from zerowait.benchmarks.data.sources import data_set
from zerowait.suite.rules.errors import SpecificationError

CASES = {
    "lcbench": ("167104", 52, (1, 6, 17, 52), {"fidelity_range": [1, 52]}),
    "rbv2_rpart": (None, 1.0, (0.05, 0.3, 1.0), {}),
    "iaml_glmnet": (None, 1.0, (0.05, 0.3, 1.0), {}),
}
MISSING = {name: data_set("lcbench" if name == "lcbench" else "yahpo").missing_reason() for name in CASES}


def made(name, **options):
    if MISSING[name]:
        pytest.skip(f"real data: {MISSING[name]}")
    task = CASES[name][0]
    if task is None:
        from zerowait.benchmarks.surrogates.yahpo import SCENARIOS

        task = SCENARIOS[name].tasks()[0]
    return load(name, task=task, **CASES[name][3], **options)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [None, 3])
def test_the_linear_clock_takes_the_share_of_the_full_training(name, seed):
    linear, surrogate = made(name, clock="linear"), made(name)
    full = CASES[name][1]
    linear.space.seed(0)
    for config in map(dict, linear.space.sample_configuration(20)):
        seconds = surrogate(config, fidelity=full, seed=seed).runtime
        for fidelity in CASES[name][2]:
            found, predicted = (one(config, fidelity=fidelity, seed=seed) for one in (linear, surrogate))
            assert found.runtime == (seconds if fidelity == full else seconds * (fidelity / full))
            assert (found.value, found.metrics) == (predicted.value, predicted.metrics)


@pytest.mark.parametrize("name", CASES)
def test_the_clock_is_part_of_the_label_and_survives_a_pickle(name):
    linear = made(name, clock="linear")
    assert "clock=linear" in linear.label
    assert "clock" not in made(name).label
    assert pickle.loads(pickle.dumps(linear)).label == linear.label
    with pytest.raises(SpecificationError, match=f"{name}: clock is 'real'; it must be 'surrogate' or 'linear'"):
        made(name, clock="real")


def test_a_narrower_range_does_not_change_the_seconds():
    config = dict(made("lcbench").space.get_default_configuration())
    narrow = load("lcbench", task="167104", clock="linear", fidelity_range=[3, 27])
    assert narrow(config, fidelity=9).runtime == made("lcbench", clock="linear")(config, fidelity=9).runtime
    paper = load("lcbench", task="167104", clock="linear", paper_protocol=True)
    assert paper(config, fidelity=54).runtime == made("lcbench")(config, fidelity=52).runtime
