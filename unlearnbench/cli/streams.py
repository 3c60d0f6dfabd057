"""Standard output and standard error where they are closed, full or otherwise unusable."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def open_closed_streams() -> None:
    """Opens standard streams that were closed, so that no other file gets their numbers.

    Writing to standard output then fails, as it would with any other program; standard error loses what is written.
    """
    if sys.stderr is None:
        sys.stderr = opened(2, os.O_WRONLY)
    if sys.stdout is None:
        sys.stdout = opened(1, os.O_RDONLY)


def opened(number: int, mode: int) -> TextIO:
    """The null device as the stream of this number."""
    descriptor = os.open(os.devnull, mode)
    if descriptor != number:
        os.dup2(descriptor, number)
        os.close(descriptor)
    return os.fdopen(number, "w", closefd=False)


def is_unwritable(stream: TextIO) -> bool:
    """True if an empty line cannot be written to a stream."""
    try:
        stream.write("\n")
        stream.flush()
    except OSError:
        return True
    return False


def discard(stream: TextIO) -> None:
    """Sends what waits in a stream, and all that follows, to the null device; Python would fail with it at exit."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, stream.fileno())
    os.close(descriptor)


def os_error_message(error: OSError, is_kept: bool) -> str:
    """An error of the operating system in words: what cannot be used, and why.

    Args:
        error: The error.
        is_kept: Whether the command keeps finished work.
    """
    if error.filename is None and is_unwritable(sys.stdout):
        discard(sys.stdout)
        return f"cannot write to standard output: {error.strerror}" + (". Finished work is kept" if is_kept else "")
    what = f"cannot use {os.fspath(error.filename)}: " if error.filename is not None else ""
    kept = "Finished work is kept: run" if is_kept else "Run"
    return f"{what}{error.strerror or error}. {kept} the same command again when this is mended"
