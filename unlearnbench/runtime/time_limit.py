"""The time limit of the call that this process is at."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

present: list[tuple[float, TextIO]] = []
"""The limit of the call that this process is at, and its marker."""


@contextmanager
def limited() -> Iterator[None]:
    """A block that must be left within the seconds of the present call's limit; otherwise this process ends.

    It is put around what plugins do, not around what cells share. The traceback is written to the call's marker, by a
    thread that needs no lock of the interpreter.
    """
    if not present:
        yield
        return
    limit, file = present[-1]
    faulthandler.dump_traceback_later(limit, file=file, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
