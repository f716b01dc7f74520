"""`ObjectiveFuncWrapper`: the objective of a script of mfhpo-simulator, in the place of which a `Simulator` stands."""

from __future__ import annotations

import functools
import math
import numbers
import os
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from zerowait.compat.benchmark_simulator import results
from zerowait.compat.benchmark_simulator.interface import AbstractAskTellOptimizer, Fidels, ObjectiveFuncType
from zerowait.suite.asktell import simulate
from zerowait.suite.rules.errors import DivergedError, RunAborted, StalledError, TooManyCallsError, WorkerDied
from zerowait.suite.rules.evaluation import Evaluation, Query
from zerowait.suite.rules.fidelities import AnyFidelity
from zerowait.suite.rules.overhead import Overhead
from zerowait.suite.simulator import Simulator

DIR_NAME = "mfhpo-simulator-info/"
INF = float(1 << 30)
"""What a call past the budget gets for every metric and for the runtime."""
NOTHING_TO_DO = {
    "check_interval_time": 1e-4,
    "careful_init": False,
    "expensive_sampler": False,
    "config_tracking": True,
}
"""Arguments that change nothing here, with their defaults: nobody polls, and sampling is always charged as it is."""


class ObjectiveFuncWrapper:
    """An objective that any parallel optimizer can call, with the arguments of mfhpo-simulator 1.4.6.

    The first of `obj_keys` is the value of the run, the others are its metrics; `fidel_keys` are its fidelities.

    Parameters
    ----------
    obj_func
        Returns the metrics and the runtime by name: `obj_func(eval_config=..., fidels=..., seed=..., **data)`.
    launch_multiple_wrappers_from_user_side
        Whether every worker makes a wrapper of its own, all with the same `save_dir_name`.
    ask_and_tell
        Whether `simulate` is used, and not calls.
    save_dir_name, tmp_dir
        The run's folder is `<tmp_dir>/mfhpo-simulator-info/<save_dir_name>`.
    n_workers, n_evals, max_total_eval_time
        Simulated workers, and the budget: so many results, up to that simulated time in seconds.
    n_actual_evals_in_opt
        How often the optimizer calls: at least `n_evals + n_workers`.
    fidel_keys, obj_keys, runtime_key
        Names of the fidelities, of the metrics (`["loss"]` by default) and of the runtime.
    seed
        Run seed, from which the objective's seeds are derived; None is 0.
    continual_max_fidel
        Whether trainings continue, and up to which fidelity.
    max_waiting_time
        Real seconds that the objective may take to answer while others wait for it.
    store_config, store_actual_cumtime
        Whether the results have configurations, fidelities and seeds, and real times.
    allow_parallel_sampling
        Whether every worker samples for itself.
    worker_index
        Accepted; which worker a result has follows from its times.
    batch_size
        Synchronous batches of so many; who calls then calls one after the other.
    check_interval_time, careful_init, expensive_sampler, config_tracking
        Accepted, with a warning: nothing to do here.
    overhead
        Not of 1.4.6: how the optimizer's own time is charged; measured by default.

    Raises
    ------
    ValueError
        Arguments contradict one another.
    FileExistsError
        The folder is there, and each worker's wrapper is not made by the user.
    """

    def __init__(
        self,
        obj_func: ObjectiveFuncType,
        launch_multiple_wrappers_from_user_side: bool = False,
        ask_and_tell: bool = False,
        save_dir_name: str | None = None,
        n_workers: int = 4,
        n_actual_evals_in_opt: int = 105,
        n_evals: int = 100,
        fidel_keys: list[str] | None = None,
        obj_keys: list[str] | None = None,
        runtime_key: str = "runtime",
        seed: int | None = None,
        continual_max_fidel: int | None = None,
        max_waiting_time: float = math.inf,
        check_interval_time: float = 1e-4,
        store_config: bool = False,
        store_actual_cumtime: bool = False,
        allow_parallel_sampling: bool = False,
        config_tracking: bool = True,
        worker_index: int | None = None,
        max_total_eval_time: float = math.inf,
        expensive_sampler: bool = False,
        careful_init: bool = False,
        tmp_dir: str | None = None,
        batch_size: int | None = None,
        _async_instantiations: bool = True,
        *,
        overhead: Overhead | None = None,
    ) -> None:
        given = {
            "check_interval_time": check_interval_time, "careful_init": careful_init,
            "expensive_sampler": expensive_sampler, "config_tracking": config_tracking,
        }  # fmt: skip
        _say_once(tuple(name for name, value in given.items() if value != NOTHING_TO_DO[name]))
        n_filled = n_actual_evals_in_opt - (n_workers if batch_size is None else 1)
        both_samplers = allow_parallel_sampling and expensive_sampler
        if refused := _refusal(
            ask_and_tell, launch_multiple_wrappers_from_user_side, save_dir_name, worker_index, n_workers, n_evals,
            n_filled, both_samplers=both_samplers,
        ):  # fmt: skip
            raise ValueError(refused)
        self._fidel_keys = None if fidel_keys is None else list(fidel_keys)
        self._continual = continual_max_fidel is not None
        if self._continual and len(self.fidel_keys) != 1:
            raise ValueError(f"continual_max_fidel needs exactly one fidelity, and fidel_keys is {fidel_keys}")
        if batch_size is not None and n_workers != 1 and not ask_and_tell:
            warnings.warn("with batch_size call the wrapper one after the other, not in parallel", stacklevel=2)

        self._dir_name = _folder(tmp_dir, save_dir_name if save_dir_name is not None else _new_name())
        self._obj_keys = list(obj_keys) if obj_keys is not None else ["loss"]
        self._runtime_key = runtime_key
        self._n_workers, self._n_evals, self._n_calls = n_workers, n_evals, n_actual_evals_in_opt
        self._batch_size = batch_size
        max_time = None if max_total_eval_time == math.inf else max_total_eval_time
        sampling = Overhead.measured(sampling="parallel" if allow_parallel_sampling else "serial")
        labels = {
            "obj_keys": self._obj_keys, "runtime_key": runtime_key, "fidel_keys": self.fidel_keys, "n_evals": n_evals,
            "n_workers": n_workers, "batch_size": batch_size, "called": not ask_and_tell, "max_time": max_time,
            "continual": self._continual, "store_config": store_config, "store_actual_cumtime": store_actual_cumtime,
        }  # fmt: skip
        one_by_one = batch_size is not None and not ask_and_tell
        self._specification: dict[str, Any] = {
            "n_workers": 1 if one_by_one else n_workers,
            "max_evaluations": n_evals if batch_size is not None else n_evals + n_workers - 1,
            "max_time": None if one_by_one else max_time,
            "seed": 0 if seed is None else seed,
            "overhead": sampling if overhead is None else overhead,
            "continual": self._continual,
            "fresh_seeds": not self._continual,
            "fidelities": self.fidel_keys if len(self.fidel_keys) > 1 else None,
            "labels": {results.LABEL: labels},
        }
        self._objective = _Objective(obj_func, self._obj_keys, runtime_key)
        self._simulator: Simulator | None = None
        if ask_and_tell:
            _check_absent(os.path.join(self._dir_name, "run.json"))  # noqa: PTH118 - a run that was called
        else:
            if not launch_multiple_wrappers_from_user_side:
                _check_absent(self._dir_name)
            self._simulator = Simulator(
                self._objective, directory=self._dir_name, on_exhausted="inf",
                query_timeout=None if max_waiting_time == math.inf else max_waiting_time, **self._specification,
            )  # fmt: skip
            if launch_multiple_wrappers_from_user_side and _async_instantiations:
                self._join(n_workers)
            self._simulator.start()
            if not worker_index:
                weakref.finalize(self, results.write_at_exit, self._dir_name, os.getpid())

    def _join(self, n_workers: int) -> None:
        assert self._simulator is not None
        try:
            self._simulator.wait_joined(n_workers)
        except StalledError as error:
            raise TimeoutError(str(error)) from error
        if self._simulator.progress()["recorded"] >= self._n_evals:
            warnings.warn(f"the run in {self._dir_name} has ended; remove the folder to run again", stacklevel=3)

    # -- what scripts read -------------------------------------------------------------------------------------------

    @property
    def dir_name(self) -> str:
        """The run's folder."""
        return self._dir_name

    @property
    def result_file_path(self) -> str:
        """The path of `results.json`, which is written now, with what has been recorded so far."""
        results.write_results(self._dir_name)
        return os.path.join(self._dir_name, results.RESULTS)  # noqa: PTH118

    @property
    def optimizer_overhead_file_path(self) -> str:
        """The path of `sampled_time.json`, which is written now."""
        results.write_results(self._dir_name)
        return os.path.join(self._dir_name, results.SAMPLED_TIME)  # noqa: PTH118

    @property
    def obj_keys(self) -> list[str]:
        """The names of the metrics."""
        return self._obj_keys[:]

    @property
    def runtime_key(self) -> str:
        """The name of the runtime."""
        return self._runtime_key

    @property
    def fidel_keys(self) -> list[str]:
        """The names of the fidelities."""
        return list(self._fidel_keys or ())

    @property
    def n_actual_evals_in_opt(self) -> int:
        """How often the optimizer calls."""
        return self._n_calls

    @property
    def n_workers(self) -> int:
        """How many simulated workers there are."""
        return self._n_workers

    def get_results(self) -> dict[str, list[Any]]:
        """Return `cumtime`, `worker_index` and the metrics by name, in delivery order.

        Who calls gets the results that were in flight when the last of `n_evals` came; who is asked is told no more.
        """
        return results.read_results(self._dir_name)[0]

    def get_optimizer_overhead(self) -> dict[str, list[Any]]:
        """Return `before_sample`, `after_sample` and `worker_index`, in the order of the samplings."""
        return results.read_results(self._dir_name)[1]

    # -- calls -------------------------------------------------------------------------------------------------------

    def __call__(
        self,
        eval_config: dict[str, Any],
        *,
        fidels: Fidels | None = None,
        config_id: int | None = None,
        **data_to_scatter: Any,
    ) -> dict[str, float]:
        """Return the metrics and the runtime by name when they are due; `INF` for all of them past the budget.

        Raises
        ------
        ValueError, KeyError
            The fidelities are not those of `fidel_keys`, or the objective has left out a metric.
        ProcessLookupError
            More than `n_workers` calls run at once.
        TimeoutError
            Another worker has died, or the objective has not answered it for `max_waiting_time`.
        InterruptedError
            The run was ended.
        """
        if self._simulator is None:  # the type that 1.4.6 raises, as below in `simulate`
            raise NotImplementedError(
                "with ask_and_tell=True the wrapper is not called; use wrapper.simulate(optimizer)"
            )
        call, fidelity = self._described(eval_config, fidels, data_to_scatter)
        try:
            evaluation = self._simulator(call, fidelity, config_id)
        except DivergedError as error:
            return call.results(self._obj_keys, self._runtime_key, error.runtime if self._continual else None)
        except TooManyCallsError as error:
            raise ProcessLookupError(str(error)) from error
        except (WorkerDied, StalledError) as error:
            raise TimeoutError(str(error)) from error
        except RunAborted as error:
            raise InterruptedError(str(error)) from error
        if math.isinf(evaluation.value):
            return dict.fromkeys([*self._obj_keys, self._runtime_key], INF)
        return call.results(self._obj_keys, self._runtime_key, evaluation.runtime if self._continual else None)

    def _described(
        self, eval_config: Mapping[str, Any], fidels: Fidels | None, data: Mapping[str, Any]
    ) -> tuple[_Call, AnyFidelity]:
        """Return what is recorded of a call, and its fidelity."""
        keys = self._fidel_keys
        if (fidels is None) != (keys is None):
            missing, there = ("fidels", "fidel_keys") if fidels is None else ("fidel_keys", "fidels")
            raise ValueError(f"{there} were given, but no {missing}: give both, or neither")
        if fidels is None or keys is None:
            return _Call(eval_config, None, data), None
        if self._continual:
            fidels = {keys[0]: _training_length(fidels)}
        if set(fidels) != set(keys):
            raise KeyError(f"fidels are {fidels}; they must have the names {keys}")
        if twice := set(keys) & set(eval_config):
            raise ValueError(f"the configuration has a value of the name {min(twice)!r}, which is a fidelity's")
        return _Call(eval_config, fidels, data), fidels if len(keys) > 1 else next(iter(fidels.values()), None)

    # -- ask and tell ------------------------------------------------------------------------------------------------

    def simulate(self, opt: AbstractAskTellOptimizer) -> None:
        """Ask and tell an optimizer until it has been told `n_evals` results; they come in simulated order.

        Raises
        ------
        ValueError
            The optimizer has no `ask` or no `tell`.
        """
        if self._simulator is not None:
            raise NotImplementedError("simulate needs ask_and_tell=True; without it the wrapper is called")
        if not (callable(getattr(opt, "ask", None)) and callable(getattr(opt, "tell", None))):
            raise ValueError(  # noqa: TRY004 - as scripts expect it
                f"the optimizer is {opt!r}; it must have ask() and tell(): see AbstractAskTellOptimizer"
            )
        simulate(
            _Teller(opt, self), self._objective, directory=self._dir_name, batch_size=self._batch_size,
            **self._specification,
        )  # fmt: skip
        results.write_results(self._dir_name)

    def _asked(self, opt: AbstractAskTellOptimizer) -> Query:
        eval_config, fidels, config_id = opt.ask()
        call, fidelity = self._described(eval_config, fidels, {})
        call.config_id = config_id
        return Query(call, fidelity, None if config_id is None else str(config_id))

    def _tell(self, opt: AbstractAskTellOptimizer, query: Query, charged: float | None) -> None:
        assert isinstance(query.config, _Call)
        call = query.config
        told = {**call.returned, self._runtime_key: call.returned[self._runtime_key] if charged is None else charged}
        opt.tell(eval_config=call.eval_config, results=told, fidels=call.fidels or {}, config_id=call.config_id)


class _Call(dict[str, Any]):
    """What is recorded of a call as its configuration, with what the objective gets and returns."""

    def __init__(self, eval_config: Mapping[str, Any], fidels: Fidels | None, data: Mapping[str, Any]) -> None:
        super().__init__(eval_config)
        self.eval_config = eval_config if isinstance(eval_config, dict) else dict(eval_config)
        self.fidels = fidels
        self.data = data
        self.config_id: int | None = None
        self.returned: Mapping[str, Any] = {}

    def results(self, obj_keys: list[str], runtime_key: str, charged: float | None = None) -> dict[str, Any]:
        """Return the metrics and the runtime by name; `charged` takes the place of the objective's runtime."""
        found = {key: self.returned[key] for key in (*obj_keys, runtime_key)}
        return found if charged is None else {**found, runtime_key: charged}


@dataclass(frozen=True, slots=True)
class _Objective:
    """The user's objective as the simulator calls it."""

    obj_func: ObjectiveFuncType
    obj_keys: list[str]
    runtime_key: str

    def __call__(self, config: Mapping[str, Any], *, seed: int | None) -> Evaluation:
        assert isinstance(config, _Call)
        returned = self.obj_func(eval_config=config.eval_config, fidels=config.fidels, seed=seed, **config.data)
        if absent := [key for key in (*self.obj_keys, self.runtime_key) if key not in returned]:
            raise KeyError(f"the objective returned {sorted(returned)}, without {', '.join(absent)}")
        config.returned = returned
        first, *others = self.obj_keys
        metrics = {key: returned[key] for key in others if key != self.runtime_key}
        return Evaluation(returned[first], returned[self.runtime_key], metrics)


@dataclass(slots=True)
class _Teller:
    """The user's optimizer as `zerowait.simulate` asks and tells it; what comes past `n_evals` it is not told."""

    opt: AbstractAskTellOptimizer
    wrapper: ObjectiveFuncWrapper
    n_told: int = field(default=0)

    def ask(self) -> Query:
        return self.wrapper._asked(self.opt)  # noqa: SLF001 - a part of the wrapper

    def tell(self, query: Query, evaluation: Evaluation) -> None:
        self._count(query, evaluation.runtime if self.wrapper._continual else None)  # noqa: SLF001

    def tell_failure(self, query: Query, error: Exception) -> None:
        if not isinstance(error, DivergedError):
            raise error
        self._count(query, error.runtime if self.wrapper._continual else None)  # noqa: SLF001

    def _count(self, query: Query, charged: float | None) -> None:
        self.n_told += 1
        if self.n_told <= self.wrapper._n_evals:  # noqa: SLF001
            self.wrapper._tell(self.opt, query, charged)  # noqa: SLF001


def get_multiple_wrappers(
    obj_func: ObjectiveFuncType, save_dir_name: str | None = None, n_workers: int = 4, **arguments: Any
) -> list[ObjectiveFuncWrapper]:
    """Return a wrapper for each of `n_workers` workers, all of one run; the arguments are those of the wrapper.

    Raises
    ------
    FileExistsError
        The run's folder is there already.
    """
    name = save_dir_name if save_dir_name is not None else _new_name()
    _check_absent(_folder(arguments.get("tmp_dir"), name))
    arguments.update(save_dir_name=name, n_workers=n_workers, launch_multiple_wrappers_from_user_side=True)
    arguments["_async_instantiations"] = False  # all of them are made here
    return [ObjectiveFuncWrapper(obj_func, worker_index=i, **arguments) for i in range(n_workers)]


def _new_name() -> str:
    return f"data-{datetime.now():%Y-%m-%d-%H:%M:%S.%f}"  # noqa: DTZ005 - the user's own time


def _folder(tmp_dir: str | None, name: str) -> str:
    return os.path.join(tmp_dir or "", DIR_NAME, name)  # noqa: PTH118 - a text, as scripts read it


def _check_absent(folder: str) -> None:
    if os.path.exists(folder):  # noqa: PTH110
        raise FileExistsError(f"{folder} is there already; remove it, or name another save_dir_name")


def _refusal(
    ask_and_tell: bool,
    many_wrappers: bool,
    save_dir_name: str | None,
    worker_index: int | None,
    n_workers: int,
    n_evals: int,
    n_filled: int,
    *,
    both_samplers: bool,
) -> str | None:
    """Return what is wrong with the arguments of a wrapper, or None."""
    wrong = {
        "ask_and_tell and launch_multiple_wrappers_from_user_side exclude each other": ask_and_tell and many_wrappers,
        "launch_multiple_wrappers_from_user_side needs a save_dir_name, by which workers meet": many_wrappers
        and save_dir_name is None,
        "worker_index is for launch_multiple_wrappers_from_user_side=True": worker_index is not None
        and not many_wrappers,
        f"worker_index is {worker_index}; it must be from 0 to {n_workers - 1}": worker_index is not None
        and worker_index not in range(n_workers),
        f"n_actual_evals_in_opt is too small: to get n_evals = {n_evals} results from busy workers the optimizer must "
        f"call {n_evals - n_filled} times more": n_filled < n_evals,
        "allow_parallel_sampling and expensive_sampler exclude each other": both_samplers,
    }
    return next((text for text, is_so in wrong.items() if is_so), None)


def _training_length(fidels: Fidels) -> int:
    values = list(fidels.values())
    if len(values) != 1:
        raise ValueError(f"fidels are {fidels}; with continual_max_fidel there must be exactly one")
    if isinstance(values[0], bool) or not isinstance(values[0], numbers.Integral) or values[0] < 0:
        raise ValueError(f"fidels are {fidels}; with continual_max_fidel it must be an integer from 0")
    return int(values[0])


@functools.cache
def _say_once(names: tuple[str, ...]) -> None:
    if names:
        warnings.warn(f"{', '.join(names)}: nothing to do here (docs/compat/mfhpo-simulator.md)", stacklevel=3)
