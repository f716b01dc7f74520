"""Random runs with random kills: nothing hangs, nothing is lost or delivered twice, the journal stays readable.

A run is drawn from one number. `ZEROWAIT_STRESS_SEED=<number>` repeats the run of a failure (as far as the kernel's
scheduling repeats itself), `ZEROWAIT_STRESS_SECONDS` says how long the long test goes on.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import threading
import time
from collections import Counter

import pytest
from crashes import HANG, Crew, TrainingDiverged, die_at_line

from zerowait.suite import Evaluation, Overhead, Query
from zerowait.suite.records.check import check, render
from zerowait.suite.rules.idle import Idle

SECONDS = float(os.environ.get("ZEROWAIT_STRESS_SECONDS", "180"))
SEED = os.environ.get("ZEROWAIT_STRESS_SEED")
KILLS = 200


class RandomObjective:
    """Runtimes drawn by configuration, many of them equal, and a few trainings that diverge."""

    def __init__(self, seed, share_of_failures):
        self.seed = seed
        self.share_of_failures = share_of_failures

    def __call__(self, config, fidelity=None):
        rng = random.Random(f"{self.seed} {config['x']}")
        runtime = rng.choice([rng.uniform(0.5, 10.0), float(rng.randint(1, 4))]) * (fidelity or 1.0)
        if rng.random() < self.share_of_failures:
            raise TrainingDiverged(runtime)
        if rng.random() < 0.02:
            time.sleep(0.01)  # an objective that takes a while, so that some are killed while they evaluate
        return Evaluation(rng.random(), runtime)


class RandomRun:
    """One run: its specification, who works on it, and who is killed when."""

    def __init__(self, seed):
        self.seed = seed
        rng = self.rng = random.Random(seed)
        self.n_workers = rng.choice([1, 2, 3, 5, 8, 16, 32, 64])
        self.policy = rng.choice(["continue", "continue", "continue", "raise"])
        self.n = rng.randint(10, 60) + 2 * self.n_workers
        self.continual = rng.random() < 0.4
        self.overhead = rng.choice(
            [Overhead.none(), Overhead.fixed(0.5), Overhead.linear(0.0, 0.01), Overhead.measured()]
        )
        self.longest_thought = rng.choice([0.0, 0.001, 0.005])
        self.n_kills = rng.randint(0, 6)
        self.objective = RandomObjective(seed, rng.choice([0.0, 0.1]))
        self.idle = Idle(after=rng.choice([0.08, 0.15]))
        # Every look at a shared directory costs system calls, so there are fewer workers on it.
        self.shared_directory = self.n_workers <= 8 and rng.random() < 0.3
        self.statuses = Counter()
        self.kills = 0

    def think(self):
        if self.longest_thought:
            time.sleep(random.uniform(0.0, self.longest_thought))

    def queries(self):
        if not self.continual:
            return [Query({"x": k}) for k in range(2 * self.n + 200)]
        return [Query({"x": k // 3}, (1.0, 3.0, 9.0)[k % 3]) for k in range(2 * self.n + 200)]

    def specification(self):
        return {
            "n_workers": self.n_workers,
            "max_evaluations": self.n,
            "overhead": self.overhead,
            "continual": self.continual,
            "on_worker_death": self.policy,
            "idle": self.idle,
            "seed": self.seed,
            "shared_directory": self.shared_directory,
        }

    def groups(self):
        """Return how many threads each process has, n_workers in all."""
        left, groups = self.n_workers, []
        most = self.rng.choice([1, 4, 16])
        while left:
            groups.append(min(left, self.rng.randint(1, most)))
            left -= groups[-1]
        return groups

    def take_place(self, folder):
        with Crew(folder, self.objective, self.queries(), **self.specification()) as crew:
            own, *others = self.groups() if self.rng.random() < 0.3 else (0, *self.groups())
            workers = {self.start(crew, n): n for n in others}
            thread = threading.Thread(target=crew.work_in_threads, args=(own, self.think), daemon=True)
            thread.start()
            for _ in range(self.n_kills):
                time.sleep(self.rng.expovariate(1 / 0.02))
                self.kill_one(crew, workers)
                crew.records()  # readable, whatever was interrupted
            self.settle_dead_workers(crew, workers)
            thread.join(HANG)
            assert not thread.is_alive(), f"the threads hang\n{crew.report()}"
            crew.simulator.trace()  # whoever looks sees to the dead
            self.is_sound(crew)

    def start(self, crew, n_threads):
        # Some die by themselves, at a line that cannot be hit from outside.
        doomed = n_threads == 1 and self.rng.random() < 0.05
        line = self.rng.randint(1, 1500)
        if doomed:
            return crew.start(crew.work, self.think, doom=lambda: die_at_line(line))
        return crew.start(crew.work_in_threads, n_threads, self.think)

    def kill_one(self, crew, workers):
        alive = [p for p in workers if p.exitcode is None]
        if alive:
            victim = self.rng.choice(alive)
            victim.kill()
            self.bury(crew, workers, victim)

    def bury(self, crew, workers, victim):
        """Take note of a process that has been killed or is just ending, and replace it more often than not."""
        crew.until(lambda: victim.exitcode is not None, f"process {victim.pid} has ended")
        n_threads = workers.pop(victim)
        if victim.exitcode == 0:
            return  # it was faster
        crew.dies(victim)
        self.kills += 1
        if self.rng.random() < 0.8:
            workers[self.start(crew, n_threads)] = n_threads

    def settle_dead_workers(self, crew, workers):
        """Wait until all have ended; those that are doomed are replaced until then."""
        deadline = time.monotonic() + HANG
        while workers:
            for process in [p for p in workers if p.exitcode is not None]:
                self.bury(crew, workers, process)
            assert time.monotonic() < deadline, f"{len(workers)} processes hang\n{crew.report()}"
            time.sleep(0.002)

    def is_sound(self, crew):
        assert crew.violations() == []
        assert render(check(crew.run))[-1] == f"{len(crew.records())} records checked: no violation"
        statuses = self.statuses = Counter(r["status"] for r in crew.records())
        died = len(crew.testimony("died"))
        started = crew.simulator.progress()["started"]
        if self.policy == "continue":
            # Every call that got a slot is recorded; nobody else was lost than who was killed within a call.
            assert died == 0
            assert statuses.total() == started <= self.n
            assert statuses["lost"] <= len(crew.killed_calls())
        else:
            # What is not recorded was killed, or was told that somebody had been (as may be who never got a slot).
            assert statuses["lost"] == 0
            missing = started - statuses.total()
            assert 0 <= missing <= len(crew.killed_calls()) + died
        if self.policy == "continue" or not died:
            # Whoever was left went on to the end.
            killed_last = not crew.testimony("refused")
            assert killed_last or started == self.n
        if not self.kills:
            assert statuses["lost"] == died == 0
            assert started == statuses.total() == self.n
        assert not crew.alive()


def random_runs(folder, seconds, least, first_seed):
    """Do random runs for so long and until there were at least so many of each; return how many there were of what."""
    done = Counter()
    began = time.monotonic()
    seed = first_seed
    while time.monotonic() - began < seconds or any(done[what] < number for what, number in least.items()):
        (folder / str(seed)).mkdir()
        run = RandomRun(seed)
        try:
            run.take_place(folder / str(seed))
        except BaseException as error:
            error.add_note(f"repeat this run with ZEROWAIT_STRESS_SEED={seed}; its files are in {folder / str(seed)}")
            raise
        shutil.rmtree(folder / str(seed))
        done.update(runs=1, kills=run.kills, **run.statuses)
        seed += 1
        if SEED is not None:
            break
    return done


@pytest.mark.stress
@pytest.mark.timeout(SECONDS + 1800)
def test_hundreds_of_random_runs_with_random_kills_break_no_promise(tmp_path, capsys):
    first = int(SEED) if SEED is not None else random.SystemRandom().randrange(10**9)
    # Were nothing but the first moments of each run survived, these would never come together.
    done = random_runs(tmp_path, SECONDS, {"kills": KILLS, "ok": 100, "failed": 100, "lost": 100}, first)
    evaluations = ", ".join(f"{done[status]} {status}" for status in ("ok", "failed", "lost"))
    with capsys.disabled():
        sys.stdout.write(f"\n{done['runs']} runs from seed {first} on, {done['kills']} kills, {evaluations}\n")
    assert SEED or done["runs"] < 100 * KILLS


def test_a_few_random_runs_with_random_kills_break_no_promise(tmp_path):
    done = random_runs(tmp_path, 0.0, {"kills": 10, "ok": 100, "lost": 1}, int(SEED or 0))
    assert SEED or done["runs"] < 200
