"""What commands say: results on standard output, all else on standard error."""

from __future__ import annotations

import sys


def print_out(text: object) -> None:
    """Print a line of a command's result."""
    print(text)  # noqa: T201 - the command's output


def print_err(text: object) -> None:
    """Print a line about what goes on or went wrong, at once."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the command's messages
