"""The time limit of the current call of this process."""

from __future__ import annotations

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

present: list[tuple[float, TextIO]] = []
"""The limit of the current call in seconds, and the file for its traceback; at most one entry."""


@contextmanager
def limited() -> Iterator[None]:
    """Ends this process if a block takes longer than the limit of the current call.

    Applies to the code of plugins, not to the making of shared artefacts. The traceback is written to the call's file
    by a thread that does not need the interpreter's lock.
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
