"""More runs in one process than it keeps open at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from zerowait.suite import Evaluation, Overhead, Simulator

NONE = Overhead.none()


def unit(_config):
    return Evaluation(0.0, 1.0)


def test_a_run_that_is_being_called_stays_open_however_many_others_are_opened(tmp_path, monkeypatch):
    """A process keeps the files of 16 runs open; here 40 are opened between a call's first look and its claim."""
    simulator = Simulator(unit, n_workers=1, directory=tmp_path / "run", max_evaluations=2, overhead=NONE)
    others = []
    describe = Simulator._describe

    def late(self, *arguments):
        if self is simulator:
            others.extend(
                Simulator(unit, n_workers=1, directory=tmp_path / str(k), max_evaluations=1, overhead=NONE)
                for k in range(40)
            )
            self.close()  # another thread might, and must not either
            assert not self._coordinator.transport.closed
        return describe(self, *arguments)

    monkeypatch.setattr(Simulator, "_describe", late)
    assert simulator({"x": 1}).end == 1.0
    for other in others:
        assert other({"x": 1}).end == 1.0
    assert simulator._coordinator.transport.closed  # nobody used it any more when room was needed


def test_more_threads_with_runs_of_their_own_than_a_process_keeps_open(tmp_path):
    def run(k):
        with Simulator(unit, n_workers=1, directory=tmp_path / str(k), max_evaluations=40, overhead=NONE) as simulator:
            for x in range(40):
                simulator({"x": x})
            return simulator.trace()["end"].tolist()

    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(run, range(48))) == [[float(n) for n in range(1, 41)]] * 48
