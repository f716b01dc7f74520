"""Adapters each of which breaks one promise, and the kit's tests on them; `test_conformance.py` runs these."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from zerowait.adapters import Adapter
from zerowait.adapters.conformance import AdapterConformance
from zerowait.adapters.random_search import RandomSearch
from zerowait.adapters.spaces import random_configs
from zerowait.suite import Budget, Overhead, Query

BROKEN = {}
"""The tests by which each broken adapter is to be caught, with a part of what they say."""


def caught_by(modes=("ask_tell",), **caught):
    """Make the kit's tests of an adapter, and say which of them fail and how."""

    def make_tests(kind):
        attributes = {"modes": modes, "evaluations": 20, "seconds_to_end": getattr(kind, "patience", 10.0)}
        tests = type(f"Test{kind.__name__}", (AdapterConformance,), attributes)
        tests.adapter = pytest.fixture(lambda self: kind())
        globals()[tests.__name__] = tests
        BROKEN[tests.__name__] = {f"test_{name}": message for name, message in caught.items()}
        return kind

    return make_tests


class Sampled:
    """An ask-and-tell optimizer on whatever yields configurations."""

    def __init__(self, configs, fidelity=None):
        self.configs = configs
        self.fidelity = fidelity

    def ask(self):
        return Query(next(self.configs), self.fidelity)

    def tell(self, query, evaluation):
        pass

    def tell_failure(self, query, error):
        pass


@caught_by()
class Sound(Adapter):
    """Keeps every promise; the others differ from it in one thing."""

    name = "sound"
    library = "zerowait"
    modes = frozenset({"ask_tell"})

    def configs(self, run):
        return random_configs(run.benchmark.space, run.optimizer_seed)

    def ask_tell(self, run):
        return Sampled(self.configs(run))


class Changed(Sound):
    """Changes every configuration."""

    def change(self, config):
        return config

    def configs(self, run):
        return (self.change(config) for config in super().configs(run))


@caught_by(configurations_are_of_the_space="'momentum' is 1.5, not from 0.0 to 1.0")
class OutOfBounds(Changed):
    def change(self, config):
        return {**config, "momentum": 1.5}


@caught_by(configurations_are_of_the_space=r"'momentum' is .* of type numpy.float64, not float")
class NumpyScalars(Changed):
    def change(self, config):
        return {**config, "momentum": np.float64(config["momentum"])}


@caught_by(configurations_are_of_the_space=r"'depth' is \d.0 of type float, not int")
class FloatsForIntegers(Changed):
    def change(self, config):
        return {**config, "depth": float(config["depth"])}


@caught_by(configurations_are_of_the_space=r"'activation' is '3' of type str, which is none of")
class TextForNumbers(Changed):
    def change(self, config):
        return {**config, "activation": "3" if config["activation"] == 3 else config["activation"]}


@caught_by(configurations_are_of_the_space=r"'nesterov' is 1 of type int, which is none of")
class IntegersForBooleans(Changed):
    def change(self, config):
        return {**config, "nesterov": int(config["nesterov"])}


@caught_by(configurations_are_of_the_space=r"patience")
class Incomplete(Changed):
    def change(self, config):
        return {name: value for name, value in config.items() if name != "patience"}


@caught_by(configurations_are_of_the_space=r"the parameter 'epoch' is not of the space")
class Overcomplete(Changed):
    def change(self, config):
        return {**config, "epoch": 27}


class Budgeted(Sound):
    uses_fidelity = True
    fidelities: ClassVar[tuple[float, ...]] = (9, 27)

    def ask_tell(self, run):
        sampled = super().ask_tell(run)
        ask, asked = sampled.ask, []

        def ask_for_budget():
            asked.append(None)
            return dataclasses.replace(ask(), fidelity=self.fidelities[len(asked) % len(self.fidelities)])

        sampled.ask = ask_for_budget
        return sampled


@caught_by(fidelities_are_allowed="the fidelity is 5.78, but epoch is an integer")
class FractionalFidelity(Budgeted):
    fidelities = (5.78, 27)


@caught_by(fidelities_are_allowed="the fidelity is 81, not from 1 to 27")
class TooHighFidelity(Budgeted):
    fidelities = (27, 81)


@caught_by(fidelities_are_allowed="all of its evaluations have")
class SingleFidelity(Budgeted):
    fidelities = (27,)


@caught_by(fidelities_are_allowed="does not use fidelities, but asked for")
class UndeclaredFidelity(Budgeted):
    uses_fidelity = False


@caught_by(the_adapter_takes_the_benchmark="does not refuse a benchmark that has none")
class TakesAnything(Budgeted):
    def refuses(self, benchmark):
        return None


@caught_by(the_adapter_takes_the_benchmark="the adapter refuses the benchmark: no constants")
class Choosy(Sound):
    def refuses(self, benchmark):
        return "no constants"


@caught_by(other_seeds_give_other_runs="evaluated the same configurations")
class IgnoresItsSeed(Sound):
    def configs(self, run):
        return random_configs(run.benchmark.space, 0)


@caught_by(
    equal_seeds_give_equal_bytes="two runs with seed 3 differ: evaluation 0 has",
    the_objectives_random_numbers_are_not_the_optimizers="the run changes",
)
class Unseeded(Sound):
    def configs(self, run):
        return random_configs(run.benchmark.space, int(np.random.default_rng().integers(2**31)))


@caught_by(equal_seeds_give_equal_bytes="two runs with seed 3 differ: evaluation 0 has")
class Salted(Sound):
    def configs(self, run):
        return random_configs(run.benchmark.space, abs(hash(f"seed {run.seed}")) % 2**31)


class GlobalRandom(Sound):
    def seed(self, seed):
        raise NotImplementedError

    def draw(self):
        raise NotImplementedError

    def configs(self, run):
        self.seed(run.optimizer_seed)
        while True:
            yield next(random_configs(run.benchmark.space, self.draw()))


@caught_by(the_objectives_random_numbers_are_not_the_optimizers="when the objective seeds the global random")
class NumpysGlobalRandom(GlobalRandom):
    def seed(self, seed):
        np.random.seed(seed)  # noqa: NPY002 - the global generator is the point

    def draw(self):
        return np.random.randint(2**31)  # noqa: NPY002


@caught_by(the_objectives_random_numbers_are_not_the_optimizers="when the objective seeds the global random")
class PythonsGlobalRandom(GlobalRandom):
    def seed(self, seed):
        random.seed(seed)

    def draw(self):
        return random.randrange(2**31)


@caught_by(the_adapter_declares_itself="`nondeterminism` must give the reason")
class NondeterministicForNoReason(Sound):
    deterministic = frozenset()


@caught_by(the_adapter_declares_itself="is deterministic in every mode, but `nondeterminism` is")
class DeterministicWithAReason(Sound):
    nondeterminism = "its threads race"


@caught_by()
class NondeterministicForAReason(Unseeded):
    deterministic = frozenset()
    nondeterminism = "it draws its seed from the operating system"


@caught_by(modes=("native", "ask_tell"), the_adapter_declares_itself="the adapter has no mode {'native'}; set `modes`")
class OneModeOnly(Sound):
    pass


class Altered(Sound):
    """Changes what `optimize` is given, or what it returns."""

    def alter(self, options):
        pass

    def optimize(self, benchmark, **options):
        self.alter(options)
        return super().optimize(benchmark, **options)


@caught_by(the_budget_of_evaluations_is_exact="max_evaluations is 20; 21 were recorded")
class OneTooMany(Altered):
    def alter(self, options):
        limit = options["budget"].max_evaluations
        options["budget"] = Budget(None if limit is None else limit + 1, options["budget"].max_time)


@caught_by(the_budget_of_evaluations_is_exact="max_evaluations is 20; 19 were recorded")
class OneTooFew(Altered):
    def alter(self, options):
        limit = options["budget"].max_evaluations
        options["budget"] = Budget(None if limit is None else max(1, limit - 1), options["budget"].max_time)


@caught_by(the_budget_of_evaluations_is_exact="max_evaluations is 20; the objective saw 21")
class EvaluatesInSecret(Sound):
    def ask_tell(self, run):
        with suppress(Exception):
            run.benchmark(next(random_configs(run.benchmark.space, 1)))
        return super().ask_tell(run)


@caught_by(the_budget_of_time_is_exact=r"max_time is .*; a result of .* s was recorded")
class Overtime(Altered):
    def alter(self, options):
        limit = options["budget"].max_time
        options["budget"] = Budget(options["budget"].max_evaluations, None if limit is None else 1.5 * limit)


@caught_by(the_budget_of_time_is_exact=r"max_time is .*; nothing was recorded after")
class EndsEarly(Altered):
    def alter(self, options):
        limit = options["budget"].max_time
        options["budget"] = Budget(options["budget"].max_evaluations, None if limit is None else 0.5 * limit)


@caught_by(measured_overhead_is_charged="some evaluations cost no time to choose")
class FreeOfCharge(Altered):
    def alter(self, options):
        options["overhead"] = Overhead.none()


@caught_by(every_worker_evaluates_and_none_twice_at_once="3 evaluations ran at once with n_workers=4")
class LeavesAWorkerIdle(Altered):
    def alter(self, options):
        options["n_workers"] = max(1, options["n_workers"] - 1)


@caught_by(
    every_worker_evaluates_and_none_twice_at_once="5 evaluations ran at once with n_workers=4",
)
class EmploysAnother(Altered):
    def alter(self, options):
        if options["n_workers"] > 1 and options["budget"].max_time is None:
            options["n_workers"] += 1


@caught_by(
    results_arrive_in_order="the evaluations are numbered",
    the_run_directory_is_sound="trace.parquet does not hold the trace that was returned",
)
class Reversed(Sound):
    def optimize(self, benchmark, **options):
        return super().optimize(benchmark, **options).iloc[::-1].reset_index(drop=True)


@caught_by(failing_evaluations_are_survived="ClusterFailure")
class DiesOfAFailure(Sound):
    def ask_tell(self, run):
        optimizer = super().ask_tell(run)

        def tell_failure(query, error):
            raise error

        optimizer.tell_failure = tell_failure
        return optimizer


class Surrounded(Sound):
    """Does something around every run."""

    def before(self, run):
        pass

    def after(self, run):
        pass

    @contextmanager
    def session(self, run):
        self.before(run)
        yield
        self.after(run)


@caught_by(nothing_is_left_behind="the file notes.txt in the temporary folder")
class LeavesATemporaryFile(Surrounded):
    def after(self, run):
        Path(tempfile.gettempdir(), "notes.txt").write_text("notes")


@caught_by(nothing_is_left_behind="the file output in the working directory")
class LeavesAFolderHere(Surrounded):
    def after(self, run):
        Path("output", "0").mkdir(parents=True)


@caught_by(nothing_is_left_behind=r"the process \d+ \(sleep 600\)")
class LeavesAProcess(Surrounded):
    def after(self, run):
        subprocess.Popen(["sleep", "600"])


@caught_by(nothing_is_left_behind=r"the process \d+ \(sleep 600\)")
class LeavesADaemon(Surrounded):
    def after(self, run):
        program = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
        subprocess.run([sys.executable, "-c", program], check=True)


@caught_by(nothing_is_left_behind="the thread 'left over'")
class LeavesAThread(Surrounded):
    def after(self, run):
        threading.Thread(target=time.sleep, args=(3,), name="left over", daemon=True).start()


@caught_by(nothing_is_left_behind=r"the listening port 127.0.0.1:\d+")
class LeavesAPort(Surrounded):
    sockets: ClassVar[list[socket.socket]] = []

    def after(self, run):
        self.sockets.append(socket.create_server(("127.0.0.1", 0)))


@caught_by(a_run_ends_with_its_budget="s after its last query; 0.5 s are allowed")
class Lingers(Surrounded):
    patience = 0.5

    def after(self, run):
        time.sleep(0.7)


@caught_by(control_c_leaves_nothing=r"the process \d+ \(sleep 600\)")
class LeavesAProcessAtControlC(Surrounded):
    def before(self, run):
        self.process = subprocess.Popen(["sleep", "600"], start_new_session=True)

    def after(self, run):
        self.process.kill()
        self.process.wait()


@caught_by(control_c_leaves_nothing=r"the run goes on 3\.\d s after Ctrl-C")
class IgnoresControlC(Surrounded):
    patience = 1.0

    def before(self, run):
        if threading.current_thread() is threading.main_thread():
            self.handler = signal.signal(signal.SIGINT, signal.SIG_IGN)

    def after(self, run):
        signal.signal(signal.SIGINT, self.handler)


@caught_by(control_c_leaves_nothing="was interrupted, and its process ended with exit code 0")
class HidesControlC(Sound):
    def optimize(self, benchmark, **options):
        try:
            return super().optimize(benchmark, **options)
        except KeyboardInterrupt:
            os._exit(0)


@caught_by(
    modes=("native", "ask_tell"),
    both_modes_are_the_same_run_with_one_worker="the modes differ: evaluation 0 has",
    the_default_mode_gives_the_librarys_own_results="differs from the native one at equal seeds",
)
class TwoOptimizers(RandomSearch):
    def ask_tell(self, run):
        return super().ask_tell(dataclasses.replace(run, seed=run.seed + 10))


@caught_by(modes=("native",), the_run_directory_is_sound="checksum")
class TampersWithTheJournal(RandomSearch):
    def optimize(self, benchmark, **options):
        trace = super().optimize(benchmark, **options)
        journal = Path(options["directory"] or ".", "journal")
        if journal.exists():
            journal.write_bytes(journal.read_bytes().replace(b'"status":"ok"', b'"status":"OK"', 1))
        return trace
