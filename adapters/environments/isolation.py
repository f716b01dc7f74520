"""Runs a function in a fresh process of its own, with a fixed environment, and leaves no process behind.

Why a fresh process: libraries draw on `hash()` and on the number of linear-algebra threads, both of which are
fixed when an interpreter starts; worker processes are cheap only by `fork`, which is safe only while a
process has one thread, and the caller may have many (Dask, Arrow, OpenMP). The fresh process has one thread,
may fork, and need not import the caller's `__main__`, because the function travels by value where it cannot
be imported (cloudpickle).

Why a process group: whatever the function starts lies in the group of the fresh process. The group is killed
when the function has returned, failed or died, and by the process itself as soon as the caller is gone.

The fresh process may belong to another interpreter (`run_elsewhere`), whose libraries have other versions.
"""

from __future__ import annotations

import json
import math
import os
import pkgutil
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from zerowait.suite.rules.errors import WorkerDied, ZerowaitError

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

PATIENCE = 5.0
"""Real seconds that an interrupted function may take to end."""

_LOOK_AGAIN = 0.005  # real seconds
_CALL, _OUTCOME, _TEMPORARY = "call", "outcome", "t"
_PROGRAM = "import sys; from zerowait.adapters.environments.isolation import {}; {}(sys.argv[1])"


def run_isolated(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Call the function in a fresh process with the environment `ENVIRONMENT` and return what it returns.

    Exceptions of the function are raised here, with the traceback of the other process as a note.

    Raises
    ------
    WorkerDied
        The process ended before the function did; the message names its exit code or signal.
    """
    return cast("R", _call((function, args, kwargs), patience=0.0))


def run_interruptible(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Do the same, except that Ctrl-C reaches the function, which may take `PATIENCE` to leave what it has."""
    return cast("R", _call((function, args, kwargs), patience=PATIENCE))


def has_fixed_environment() -> bool:
    """Tell whether this process already has what `ENVIRONMENT` fixes when an interpreter starts."""
    fixed = all(os.environ.get(name) == value for name, value in ENVIRONMENT.items() if name != "PYTHONHASHSEED")
    return fixed and not sys.flags.hash_randomization


def _call(call: tuple[Any, ...], *, patience: float) -> Any:
    import cloudpickle  # type: ignore[import-untyped]

    # What the caller can import, the fresh process can import too; and nothing else (-P), such as a module of the
    # current folder with the name of a library.
    path = [entry or str(Path.cwd()) for entry in sys.path]
    command = [sys.executable, "-P", "-c", _PROGRAM.format("serve", "serve")]
    returned, error = cloudpickle.loads(_outcome(cloudpickle.dumps(call), command, path, patience=patience))
    if error is not None:
        raise error
    return returned


def run_elsewhere(interpreter: Path, function: str, arguments: Mapping[str, Any], path: Sequence[Path]) -> Any:
    """Call a function in a fresh process of another interpreter, with other versions of libraries.

    As `run_isolated`, except that only JSON crosses: a pickle made with one version of a library need not be
    readable with another. An exception is raised here with its text; its type is kept if it exists here.

    Parameters
    ----------
    interpreter
        The Python to start.
    function
        What to call, as `package.module:name`.
    arguments
        Its keyword arguments, JSON; it must return JSON.
    path
        Folders of modules beside the interpreter's own; nothing else of this process's path is visible.

    Raises
    ------
    WorkerDied
        The process ended before the function did; the message names its exit code or signal.
    """
    call = json.dumps([function, dict(arguments)]).encode()
    command = [str(interpreter), "-P", "-c", _PROGRAM.format("serve_json", "serve_json")]
    outcome = json.loads(_outcome(call, command, list(map(str, path))))
    if outcome["error"] is not None:
        raise _as_exception(**outcome["error"])
    return outcome["returned"]


def _outcome(call: bytes, command: Sequence[str], path: Sequence[str], *, patience: float = 0.0) -> bytes:
    """Start the process that makes the call, wait for its end, kill what it has started, return what it left.

    An interrupt is passed on to the process if there is `patience`, so many real seconds, for what it does then.
    """
    with tempfile.TemporaryDirectory(prefix="zerowait-") as name:
        folder = Path(name)
        (folder / _CALL).write_bytes(call)
        # What is killed removes no temporary files; here they go with the folder.
        temporary = folder / _TEMPORARY
        temporary.mkdir()
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, name],
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(path), "TMPDIR": str(temporary)},
            stdin=subprocess.PIPE,  # never written to: its end of file tells that the caller is gone
            start_new_session=True,
        )
        try:
            # Not reaped yet, so that its number still names its group and nobody else's when the group is
            # killed.
            _wait_for_the_end(process, math.inf)
        except KeyboardInterrupt:
            if patience:
                process.send_signal(signal.SIGINT)
                _wait_for_the_end(process, patience)
            raise
        finally:
            with suppress(PermissionError):  # macOS says so of a group of which only the ended process is left
                os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            assert process.stdin is not None
            process.stdin.close()
        outcome = folder / _OUTCOME
        if not outcome.exists():
            how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
            raise WorkerDied(f"the process of the run (pid {process.pid}) ended {how} before the run did")
        return outcome.read_bytes()


def _wait_for_the_end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait until the process has ended, at most so many seconds, and leave it to be reaped.

    By `poll`, which every signal interrupts. A library may have asked for calls of the system to go on after a signal
    (polars does when it is imported, and statsmodels imports it): then Ctrl-C does not reach who waits in `waitid`.
    """
    if not hasattr(os, "pidfd_open"):
        _look_for_the_end(process.pid, time.monotonic() + seconds)
        return
    ended = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.poll(None if math.isinf(seconds) else seconds * 1000.0)
    finally:
        os.close(ended)


def _look_for_the_end(pid: int, deadline: float) -> None:
    """Look every few milliseconds whether a child of this process has ended: only Linux says so without reaping it."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        child = psutil.Process(pid)
        while child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN)


def serve(folder: str) -> None:
    """Make the pickled call that lies in the folder and leave its outcome there: all that the fresh process does."""
    import cloudpickle

    def call(text: bytes) -> Any:
        function, args, kwargs = cloudpickle.loads(text)
        return function(*args, **kwargs)

    _serve(Path(folder), call, _dumps)


def serve_json(folder: str) -> None:
    """Do the same for a call that is JSON."""

    def call(text: bytes) -> Any:
        function, arguments = json.loads(text)
        return pkgutil.resolve_name(function)(**arguments)

    _serve(Path(folder), call, _dumps_json)


def _serve(
    folder: Path, call: Callable[[bytes], Any], dumps: Callable[[object, BaseException | None], bytes]
) -> NoReturn:
    threading.Thread(target=_die_with_the_caller, daemon=True).start()
    returned, error = None, None
    try:
        returned = call((folder / _CALL).read_bytes())
    except BaseException as caught:  # noqa: BLE001 - every exception is the caller's to see
        caught.add_note("in the process of the run:\n" + "".join(traceback.format_exception(caught)))
        error = caught
    partial = folder / (_OUTCOME + ".partial")
    partial.write_bytes(dumps(returned, error))
    partial.rename(folder / _OUTCOME)
    sys.stdout.flush()
    sys.stderr.flush()
    # Whatever still runs, threads and exit handlers that would wait for it included, has no work left.
    os.killpg(0, signal.SIGKILL)
    raise AssertionError("a killed process goes on")


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


def _dumps_json(returned: object, error: BaseException | None) -> bytes:
    """Describe the outcome as JSON."""
    try:
        text = json.dumps(returned)
    except (TypeError, ValueError) as problem:
        text, error = "null", error or problem
    described = None
    if error is not None:
        kind = f"{type(error).__module__}:{type(error).__qualname__}"
        described = {"kind": kind, "text": str(error), "notes": getattr(error, "__notes__", [])}
    return f'{{"returned": {text}, "error": {json.dumps(described)}}}'.encode()


def _as_exception(kind: str, text: str, notes: list[str]) -> Exception:
    """Return an exception of another interpreter: of its type, if that exists here and is made of its text alone."""
    error: Exception = ZerowaitError(f"{kind.rpartition(':')[2]}: {text}")
    try:
        found = pkgutil.resolve_name(kind)(text)
        if isinstance(found, Exception) and str(found) == text:
            error = found
    except Exception:  # noqa: BLE001, S110 - a type that is not here, or that wants more: its text says what happened
        pass
    for note in notes:
        error.add_note(note)
    return error


def _die_with_the_caller() -> None:
    """Wait until the pipe from the caller closes, then kill the whole group.

    The thread holds no lock while it waits, so forking beside it is safe.
    """
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(0, signal.SIGKILL)
