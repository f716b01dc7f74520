"""HpBandSter's processes: what goes wrong in them is heard, and each shim is still needed."""

from __future__ import annotations

import inspect
import json
import os
import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import numpy as np
import psutil
import pytest
from pandas.testing import assert_frame_equal

from zerowait.adapters import load
from zerowait.adapters.conformance.benchmark import Bowl, Epochs, conditional_space, mixed_space
from zerowait.suite.rules.errors import InvalidEvaluationError, StalledError, WorkerDied

pytest.importorskip("hpbandster", reason="HpBandSter is not installed")

# Isolated runs unpickle what is defined here in another process, which cannot import this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

BOWL = Bowl(conditional_space, fidelity=Epochs())


@dataclass(frozen=True)
class Wrong(Bowl):
    """Returns something that is not an evaluation."""

    def __call__(self, config, *, fidelity=None):
        return {"loss": 1.0}


@dataclass(frozen=True)
class Deadly(Bowl):
    """Kills the process of an evaluation of the second rung."""

    def __call__(self, config, *, fidelity=None):
        if fidelity == 3.0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(config, fidelity=fidelity)


@pytest.mark.parametrize("mode", ["native", "ask_tell"])
def test_an_objective_that_returns_nonsense_ends_the_run(run, mode):
    with pytest.raises(InvalidEvaluationError, match="without 'value'"):
        run(load("hyperband"), Wrong(fidelity=Epochs()), mode, 4)


@pytest.mark.parametrize("n_workers", [1, 4])
def test_the_death_of_a_worker_ends_the_run(run, n_workers):
    with pytest.raises(WorkerDied, match=r"process \d+ (of HpBandSter ended by signal SIGKILL|died)"):
        run(load("hyperband"), Deadly(fidelity=Epochs()), "native", n_workers, evaluations=60)


def breaking(adapter_class, where):
    """Return an adapter whose library fails in the tenth call of a method."""

    class Breaking(adapter_class):
        def native(self, run, simulator):
            from hpbandster.optimizers.config_generators.random_sampling import RandomSampling

            calls = []
            works = getattr(RandomSampling, where)

            def fail(generator, *args, **kwargs):
                calls.append(args)
                if len(calls) == 10:
                    raise ArithmeticError(f"{where} broke down")
                return works(generator, *args, **kwargs)

            setattr(RandomSampling, where, fail)
            super().native(run, simulator)

    return Breaking()


@pytest.mark.parametrize("n_workers", [pytest.param(1, marks=pytest.mark.stress), 4])
@pytest.mark.parametrize("where", ["get_config", "new_result"])
def test_an_exception_in_a_thread_of_the_library_ends_the_run(run, n_workers, where):
    # Left alone, HpBandSter would wait for ever: nobody hears of an exception in one of its threads.
    with pytest.raises(ArithmeticError, match=f"{where} broke down"):
        run(breaking(type(load("hyperband")), where), BOWL, "native", n_workers, evaluations=60)


class Forgetful(type(load("hyperband"))):
    """An adapter whose library loses its tenth job."""

    def native(self, run, simulator):
        from hpbandster.core.dispatcher import Dispatcher

        from zerowait.adapters.hpbandster import processes as hpbandster_processes

        hpbandster_processes.LONGEST_SILENCE = 0.5
        submit, jobs = Dispatcher.submit_job, []

        def lose_one(dispatcher, config_id, **kwargs):
            jobs.append(config_id)
            if len(jobs) != 10:
                submit(dispatcher, config_id, **kwargs)

        Dispatcher.submit_job = lose_one
        super().native(run, simulator)


def test_a_message_that_the_library_has_lost_ends_the_run(run):
    with pytest.raises(StalledError, match=r"evaluated nothing for 0\.5 s, after 9 evaluations"):
        run(Forgetful(), BOWL, "native", 1, evaluations=60)


@dataclass(frozen=True)
class Watching(Bowl):
    """Notes on which addresses the processes of the run listen."""

    path: str = ""

    def __call__(self, config, *, fidelity=None):
        addresses = [
            connection.laddr.ip
            for pid in (os.getppid(), os.getpid())
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN or (connection.laddr and not connection.raddr)
        ]
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(addresses) + "\n")
        return super().__call__(config, fidelity=fidelity)


def test_nothing_listens_elsewhere_than_on_the_loopback_interface(run, tmp_path, monkeypatch):
    for name, value in {"HOST": "0.0.0.0", "SERIALIZER": "pickle", "SERIALIZERS_ACCEPTED": "pickle,serpent"}.items():
        monkeypatch.setenv(f"PYRO_{name}", value)  # what a user has set for Pyro elsewhere
    run(load("hyperband"), Watching(fidelity=Epochs(), path=str(tmp_path / "seen")), "native", 2, evaluations=6)
    seen = list(map(json.loads, (tmp_path / "seen").read_text().splitlines()))
    assert len(seen) == 6
    for addresses in seen:
        assert len(addresses) >= 3  # nameserver, dispatcher, worker
        assert set(addresses) == {"127.0.0.1"}


@pytest.mark.stress
@pytest.mark.parametrize("name", ["bohb", "hyperband"])
def test_many_processes_repeat_their_run_many_times(name, run):
    expected = run(load(name), BOWL, "ask_tell", 16, evaluations=100)
    for _ in range(10):
        assert_frame_equal(run(load(name), BOWL, "native", 16, evaluations=100), expected, check_exact=True)


@pytest.mark.stress
def test_more_processes_than_pyro_serves_by_default(run):
    native = run(load("hyperband"), BOWL, "native", 64, evaluations=300)
    assert_frame_equal(native, run(load("hyperband"), BOWL, "ask_tell", 64, evaluations=300), check_exact=True)


# -- why the shims are there: each test fails when its shim is no longer needed ----------------------------------------


def test_the_librarys_numbers_do_not_survive_its_serializer():
    import serpent
    from hpbandster.optimizers import HyperBand

    from zerowait.adapters.hpbandster.optimizers import Brackets

    optimizer = type("Plain", (HyperBand, Brackets), {})(configspace=mixed_space(), min_budget=1, max_budget=27)
    assert type(optimizer.budgets[0]) is np.float64
    with pytest.raises(ValueError, match="malformed node"):
        serpent.loads(serpent.dumps({"budget": optimizer.budgets[0]}))
    activation = optimizer.config_generator.get_config(1.0)[0]["nesterov"]
    with pytest.raises(TypeError, match="don't know how to serialize"):
        serpent.dumps({"nesterov": activation})


def test_bohb_takes_no_ordinals():
    from hpbandster.optimizers.config_generators.bohb import BOHB

    with pytest.raises(RuntimeError, match="does not support ordinal hyperparameters"):
        BOHB(mixed_space())


def test_discovery_takes_a_worker_for_idle_while_a_job_is_on_its_way(monkeypatch):
    import Pyro4
    from hpbandster.core.dispatcher import Dispatcher

    class Proxied:
        """A worker to which a one-way call has been sent that it has not taken yet."""

        runs_job = (0, 0, 0)

        def is_alive(self):
            return True

        def is_busy(self):
            return False

    class NameServer:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            dispatcher.shutdown_all_threads = True

        def list(self, prefix):
            return {}

    dispatcher = Dispatcher(None, ping_interval=0)
    dispatcher.worker_pool = {"worker": Proxied()}
    assert dispatcher.idle_workers == set()
    monkeypatch.setattr(Pyro4, "locateNS", lambda **_: NameServer())
    thread = threading.Thread(target=dispatcher.discover_workers)
    thread.start()
    thread.join(timeout=300)
    assert not thread.is_alive()
    assert dispatcher.idle_workers == {"worker"}


def test_the_library_knows_no_seed_and_no_budget():
    from hpbandster.core.master import Master
    from hpbandster.optimizers import BOHB

    names = {*inspect.signature(BOHB.__init__).parameters, *inspect.signature(Master.__init__).parameters}
    assert not any("seed" in name or "random_state" in name for name in names)
    assert set(inspect.signature(Master.run).parameters) == {
        "self", "n_iterations", "min_n_workers", "iteration_kwargs"
    }  # fmt: skip


def test_pyro_serves_a_fixed_number_of_connections():
    from Pyro4.configuration import Configuration

    assert Configuration().THREADPOOL_SIZE < 4 * 64
