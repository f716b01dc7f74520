"""ifBO of NePS, with random weights in the place of those that NePS would download."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from pandas.testing import assert_frame_equal

from zerowait.adapters import available, load
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.conformance.benchmark import Bowl, Epochs, numerical_space
from zerowait.adapters.neps.adapter import WEIGHTS_VARIABLE
from zerowait.suite.rules.errors import SpecificationError

neps = pytest.importorskip("neps", reason="NePS is not installed")

BOWL = Bowl(numerical_space, Epochs())
WEIGHTS = ("ftpfnv0.0.1.tar.gz", "bopfn_broken_unisep_1000curves_10params_2M.pt")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder as NePS leaves it after its download, with a tiny transformer of the same make, untrained."""
    import torch
    from ifbo.bar_distribution import BarDistribution
    from ifbo.encoders import Linear, get_variable_num_features_encoder
    from ifbo.transformer import TransformerModel

    folder = tmp_path_factory.mktemp("weights")
    (folder / ".model").mkdir()
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    model = TransformerModel(
        get_variable_num_features_encoder(Linear)(12, 16), 16, 2, 16, 1,
        y_encoder=Linear(1, 16), decoder_dict={"standard": (None, 20)},
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.data.mul_(3)  # so that its predictions differ enough for some configurations to be continued
    model.criterion = BarDistribution(torch.linspace(0, 1, 21))
    torch.random.set_rng_state(state)
    (folder / ".model" / WEIGHTS[0]).touch()
    torch.save(model, folder / ".model" / WEIGHTS[1])
    return folder


def make(weights, **parameters):
    return load("neps-ifbo", **{"surrogate_path": str(weights), "value_range": [0, 3], **parameters})


@pytest.mark.stress
class TestIfBO(AdapterConformance):
    """Every mode; the short version is below."""

    benchmark = Bowl(numerical_space)
    evaluations = 16

    @pytest.fixture
    def adapter(self, weights):
        return make(weights)


@pytest.mark.parametrize("n_workers", [1, 4])
def test_processes_give_the_trace_of_ask_and_tell(run, weights, n_workers):
    native = run(make(weights), BOWL, "native", n_workers, evaluations=16)
    asked = run(make(weights), BOWL, "ask_tell", n_workers, evaluations=16)
    assert len(native) == 16
    assert_frame_equal(native, asked, check_exact=True)


def test_one_step_at_a_time_of_one_configuration_at_a_time(run, weights):
    trace = run(make(weights), BOWL, "ask_tell", 4, evaluations=30, seed=1)
    resumed = trace[trace["resumed_from"].notna()]
    assert len(resumed) > 3
    assert (resumed["fidelity"] - resumed["resumed_from"] == 1).all()
    assert not trace.duplicated(["config_id", "fidelity"]).any()
    for _, steps in trace.groupby("config_id"):
        assert (steps["start"].iloc[1:].to_numpy() >= steps["end"].iloc[:-1].to_numpy()).all()


def test_the_library_still_fails_when_one_configuration_can_be_continued(weights):
    # When this fails, `ParallelIFBO` need not make vectors of scores any more.
    optimizer = neps.AskAndTell(neps.algorithms.ifbo(small_space(), surrogate_path=weights, initial_design_size=1))
    optimizer.tell(optimizer.ask(), 0.5)
    with pytest.raises(IndexError):
        optimizer.ask()


def test_the_library_still_offers_running_configurations_for_continuation():
    # When this fails, see whether `ParallelIFBO` still has to leave them out.
    from neps.optimizers.ifbo import IFBO

    source = inspect.getsource(IFBO.__call__)
    assert "not_pending_X = X[not_pending_mask]" in source
    assert "continuation_samples=not_pending_X" in source


def test_a_running_configuration_is_not_continued(weights, monkeypatch):
    from neps.optimizers import ifbo

    from zerowait.adapters.neps.ifbo import make_ifbo

    offered = []
    acquire = ifbo.acquire_next_from_ftpfn

    def watch(*, continuation_samples, **others):
        offered.append(continuation_samples[:, 0].tolist())
        return acquire(continuation_samples=continuation_samples, **others)

    optimizer = neps.AskAndTell(make_ifbo(small_space(), surrogate_path=weights, initial_design_size=4))
    for trial in [optimizer.ask() for _ in range(4)]:
        optimizer.tell(trial, 0.5)
    monkeypatch.setattr(ifbo, "acquire_next_from_ftpfn", watch)
    running = set()
    for _ in range(8):
        number = int(optimizer.ask().id.partition("_")[0])
        assert not running & {int(identity) - 1 for identity in offered[-1]}
        running.add(number)
    assert running & {1, 2, 3, 4}


def small_space():
    attributes = {"x": neps.Float(0.0, 1.0), "y": neps.Float(0.0, 1.0), "z": neps.IntegerFidelity(1, 9)}
    return type("Space", (neps.PipelineSpace,), attributes)()


def descriptor():
    return next(found for found in available() if found.name == "neps-ifbo")


def test_it_is_listed_with_what_is_missing(monkeypatch, tmp_path, weights):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    assert "it needs the weights of FT-PFN, which are not downloaded" in descriptor().problem
    with pytest.raises(SpecificationError, match=r"neps-ifbo.* needs the weights of FT-PFN.*ZEROWAIT_FTPFN"):
        load("neps-ifbo")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    assert f"are not in {tmp_path / '.model'}" in descriptor().problem
    for place in (weights, weights / ".model"):
        monkeypatch.setenv(WEIGHTS_VARIABLE, str(place))
        assert descriptor().installed
        assert Path(load("neps-ifbo").arguments["surrogate_path"]) == place


def test_nothing_is_written_to_the_folder_and_nothing_downloaded(run, weights, monkeypatch):
    import requests

    def refuse(*_, **__):
        raise AssertionError("a download")

    monkeypatch.setattr(requests, "get", refuse)
    before = sorted(weights.rglob("*"))
    run(make(weights), BOWL, "ask_tell", 1, evaluations=6)
    assert sorted(weights.rglob("*")) == before


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_a_value_that_ftpfn_cannot_see_ends_the_run_with_advice(run, weights, mode):
    with pytest.raises(SpecificationError, match=r"values from 0 to 0.1 and the benchmark returned .* value_range"):
        run(make(weights, value_range=[0, 0.1]), BOWL, mode, 2, evaluations=20)


@pytest.mark.parametrize("value_range", [[1, 0], [0, 0], 3, ["a", "b"], [0, float("inf")], [0, 1, 2]])
def test_value_ranges_that_are_none_are_refused(weights, value_range):
    with pytest.raises(SpecificationError, match=r"value_range.* must be (two finite numbers|a finite number)"):
        make(weights, value_range=value_range)


def test_large_spaces_and_unknown_parameters_are_refused(weights):
    from ConfigSpace import ConfigurationSpace

    wide = Bowl(lambda: ConfigurationSpace({f"x{index}": (0.0, 1.0) for index in range(11)}), Epochs())
    assert make(weights).refuses(wide) == "FT-PFN was trained with up to 10 parameters and the space has 11"
    with pytest.raises(SpecificationError, match="was given 'device'; it takes initial_design_size"):
        make(weights, device="cpu")
    with pytest.raises(SpecificationError, match="ifbo of NePS does not take"):
        make(weights, step_size=1000)
