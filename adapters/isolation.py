"""Runs a function in a fresh process of its own, with a fixed environment, and leaves no process behind.

Why a fresh process: libraries draw on `hash()` and on the number of linear-algebra threads, both of which are
fixed when an interpreter starts; worker processes are cheap only by `fork`, which is safe only while a
process has one thread, and the caller may have many (Dask, Arrow, OpenMP). The fresh process has one thread,
may fork, and need not import the caller's `__main__`, because the function travels by value where it cannot
be imported (cloudpickle).

Why a process group: whatever the function starts lies in the group of the fresh process. The group is killed
when the function has returned, failed or died, and by the process itself as soon as the caller is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from suite.errors import WorkerDied, ZerowaitError

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
}
"""What the processes of a run find in their environment, whatever the caller's is."""

_CALL, _OUTCOME = "call.pickle", "outcome.pickle"
_PROGRAM = "import sys; from adapters.isolation import serve; serve(sys.argv[1])"


def run_isolated(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call the function in a fresh process with the environment `ENVIRONMENT` and return what it returns.

    Exceptions of the function are raised here, with the traceback of the other process as a note.

    Raises
    ------
    WorkerDied
        The process ended before the function did; the message names its exit code or signal.
    """
    import cloudpickle  # type: ignore[import-untyped]

    with tempfile.TemporaryDirectory(prefix="zerowait-") as name:
        folder = Path(name)
        (folder / _CALL).write_bytes(cloudpickle.dumps((function, args, kwargs)))
        # What the caller can import, the fresh process can import too.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        process = subprocess.Popen(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", _PROGRAM, name],
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": path},
            stdin=subprocess.PIPE,  # never written to: its end of file tells that the caller is gone
            start_new_session=True,
        )
        try:
            # Not reaped yet, so that its number still names its group and nobody else's when the group is
            # killed.
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            assert process.stdin is not None
            process.stdin.close()
        outcome = folder / _OUTCOME
        if not outcome.exists():
            how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise WorkerDied(f"the process of the run (pid {process.pid}) ended {how} before the run did")
        returned, error = cloudpickle.loads(outcome.read_bytes())
    if error is not None:
        raise error
    return cast("R", returned)


def serve(folder: str) -> None:
    """Run the call that lies in the folder and leave its outcome there: all that the fresh process does."""
    import cloudpickle

    threading.Thread(target=_die_with_the_caller, daemon=True).start()
    returned, error = None, None
    try:
        function, args, kwargs = cloudpickle.loads((Path(folder) / _CALL).read_bytes())
        returned = function(*args, **kwargs)
    except BaseException as caught:  # noqa: BLE001 - every exception is the caller's to see
        caught.add_note("in the process of the run:\n" + "".join(traceback.format_exception(caught)))
        error = caught
    partial = Path(folder) / (_OUTCOME + ".partial")
    partial.write_bytes(_dumps(returned, error))
    partial.rename(Path(folder) / _OUTCOME)
    sys.stdout.flush()
    sys.stderr.flush()
    # Whatever still runs, threads and exit handlers that would wait for it included, has no work left.
    os.killpg(0, signal.SIGKILL)


def _dumps(returned: object, error: BaseException | None) -> bytes:
    """Pickle the outcome; an exception that does not survive pickling travels as its text."""
    import cloudpickle

    try:
        if error is not None:
            cloudpickle.loads(cloudpickle.dumps(error))
        outcome = cloudpickle.dumps((returned, error))
    except Exception as problem:  # noqa: BLE001 - pickling runs code of the exception's class, which may raise anything
        described = traceback.format_exception(error if error is not None else problem)
        return cast("bytes", cloudpickle.dumps((None, ZerowaitError("".join(described)))))
    return cast("bytes", outcome)


def _die_with_the_caller() -> None:
    """Wait until the pipe from the caller closes, then kill the whole group.

    The thread holds no lock while it waits, so forking beside it is safe.
    """
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)
