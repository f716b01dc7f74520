"""The exceptions of zerowait; everything that a user can cause is a `ZerowaitError`."""

from __future__ import annotations

import reprlib

_repr = reprlib.Repr()
_repr.maxlevel = 6
_repr.maxdict = _repr.maxlist = _repr.maxtuple = 50
_repr.maxstring = _repr.maxother = 400
_repr.maxlong = 60


def shown(value: object) -> str:
    """Return the `repr` of a value for a message, shortened: what somebody wrote into a file may be of any size."""
    return " ".join(_repr.repr(value).split("\n"))  # an array's is of several lines


def one_line(error: object) -> str:
    """Return what an error says as one line of what can be printed; what cannot stands there as Python escapes it."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class ZerowaitError(Exception):
    """Base of every error that zerowait raises on purpose."""


class SpecificationError(ZerowaitError, ValueError):
    """An argument is not usable; the message names it, its value and what is allowed."""


class BudgetExhausted(ZerowaitError):  # noqa: N818 - a signal that ends an optimizer's loop, not a mistake
    """The run's budget is spent; nothing that is called after it is recorded."""


class TooManyCallsError(ZerowaitError, RuntimeError):
    """The optimizer evaluates more configurations at once than the run has workers."""


class WorkerDied(ZerowaitError, RuntimeError):  # noqa: N818 - the name that the design fixes
    """A process died while it held a slot; the message names slot, process and configuration."""


class RunAborted(ZerowaitError):  # noqa: N818 - what another caller did, not a mistake of this one
    """Another caller has ended the run with `Simulator.abort`."""


class InvalidEvaluationError(ZerowaitError, ValueError):
    """The objective returned something that is not an evaluation."""


class DivergedError(InvalidEvaluationError):
    """The objective returned a loss that is infinite or NaN: the training failed, after its `runtime` in seconds."""

    def __init__(self, message: str, runtime: float) -> None:
        super().__init__(message)
        self.runtime = runtime

    def __reduce__(self) -> tuple[type[DivergedError], tuple[str, float]]:
        return type(self), (str(self), self.runtime)


class RunMismatchError(ZerowaitError, ValueError):
    """The directory holds another run; the message names the differing field."""


class RunDirectoryError(ZerowaitError, RuntimeError):
    """The run directory cannot be used: not writable, full, damaged or of another version."""


class StalledError(ZerowaitError, RuntimeError):
    """A wait ran out; the message names what was waited for."""


class WrongGuessError(ZerowaitError, RuntimeError):
    """A worker that was taken to be idle called after all, in a run with `Idle(on_wrong_guess="raise")`."""


class UnsupportedPlatformError(ZerowaitError, ImportError):
    """A part of zerowait was imported on an operating system that it does not run on."""


class TraceError(ZerowaitError, ValueError):
    """A file is not a trace that this version reads."""


class NoWorkersLeftError(ZerowaitError, RuntimeError):
    """No worker of the cluster is there any more, or one is away so often that its evaluation never ends."""


class ClusterFailure(RuntimeError):  # noqa: N818 - what becomes of an evaluation, as an exception of the objective does
    """The cluster failed an evaluation: its worker failed, was preempted or left. No mistake of anybody's.

    The optimizer is told of it as of an exception of the objective.
    """

    worker_left = False
    """Whether the worker has left for good, so that whoever calls for it need not call again."""
