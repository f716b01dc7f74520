"""Whether Ctrl-C has reached this process: only its main thread gets the `KeyboardInterrupt`, the others wait on."""

from __future__ import annotations

import sys
import threading
from types import FrameType


def main_thread_is_interrupted() -> bool:
    """Tell whether the main thread is leaving what it did by a `KeyboardInterrupt`, or the program ends by one.

    While a `with` block or a `finally` clause is left by an exception, that is the one that its thread handles; an
    executor waits there for its threads. An exception that nothing has handled is printed, and then the interpreter
    waits for the threads that are left.
    """
    main = threading.main_thread().ident
    return _handles_an_interrupt(main) or (_was_printed() and _is_shutting_down(main))


def _handles_an_interrupt(thread: int | None) -> bool:
    handled = sys._current_exceptions().get(thread or 0)  # noqa: SLF001 - a documented function of the interpreter
    error = handled[1] if isinstance(handled, tuple) else handled  # a triple until Python 3.12
    seen = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__context__
    return False


def _was_printed() -> bool:
    printed = getattr(sys, "last_type", None)
    return printed is not None and issubclass(printed, KeyboardInterrupt)


def _is_shutting_down(thread: int | None) -> bool:
    """Tell whether the main program has ended: then the module `threading` runs below everything else, or nothing."""
    frame: FrameType | None = sys._current_frames().get(thread or 0)  # noqa: SLF001 - a documented function, too
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame is None or frame.f_globals.get("__name__") == "threading"
