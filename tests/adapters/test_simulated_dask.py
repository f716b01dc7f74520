"""What libraries use of Dask's client, on simulated workers."""

from __future__ import annotations

import pytest
from distributed import Client

from zerowait import Evaluation, Overhead, SimulatedExecutor
from zerowait.adapters.simulated_dask import CallsOnWorkers, SimulatedClient


def train(config):
    if config["x"] == 9:
        raise ArithmeticError("diverged")
    return Evaluation(float(config["x"]), 1.0 + config["x"])


@pytest.fixture
def executor():
    return SimulatedExecutor(train, n_workers=2, overhead=Overhead.none())


@pytest.fixture
def client(executor):
    return SimulatedClient(executor)


def value_of(executor):
    return lambda x, scale=1: scale * executor.objective({"x": x}).value


def test_libraries_take_it_for_dasks_client(client):
    assert isinstance(client, Client)
    assert sum(client.nthreads().values()) == len(client.ncores()) == 2


def test_submitted_mapped_and_gathered(executor, client):
    value = value_of(executor)
    one = client.submit(value, 3, scale=10, pure=False, key="mine", workers=["a"])
    more = client.map(value, [0, 1, 2], pure=False)
    assert len({future.key for future in [one, *more]}) == 4
    assert [one.status, more[1].status] == ["pending", "pending"]
    assert client.gather({"one": one, "more": more}) == {"one": 30.0, "more": [0.0, 1.0, 2.0]}
    assert one.status == "finished"
    # 0 to 4; 0 to 1, then 1 to 3; the last from 3 to 6
    assert executor.trace()["end"].tolist() == [1.0, 3.0, 4.0, 6.0]


def test_waited_for_and_completed(executor, client):
    futures = client.map(value_of(executor), [5, 1, 2])
    done, running = client.wait(futures, return_when="FIRST_COMPLETED")
    assert (done, running) == ({futures[1]}, {futures[0], futures[2]})
    assert list(client.as_completed(futures))[-1] is futures[0]
    assert client.wait(futures).not_done == set()


def test_asked_and_asked_again(executor, client):
    first, second = client.map(value_of(executor), [4, 1])
    assert [first.done(), second.done()] == [False, False]
    assert [first.done(), second.done()] == [False, True]


def test_failed_and_cancelled(executor, client):
    called = []
    good, failed, waiting = client.map(value_of(executor), [1, 9, 2])
    waiting.cancel()
    failed.add_done_callback(called.append)
    assert isinstance(failed.exception(), ArithmeticError)
    assert [failed.status, waiting.status, called] == ["error", "cancelled", [failed]]
    assert client.gather([good, failed], errors="skip") == [1.0]
    with pytest.raises(ArithmeticError):
        client.gather([good, failed])


def test_scattered_data_are_the_data(executor, client):
    data = {"rows": [1, 2]}
    assert client.scatter(data, broadcast=True) is data
    client.close()
    assert CallsOnWorkers(executor)({"x": 1}).end == 2.0
