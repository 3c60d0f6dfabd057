"""Settings of Python's garbage collector: plans, records and imports create many small objects that live long."""

from __future__ import annotations

import atexit
import gc
from functools import cache


def collect_rarely() -> None:
    """Runs the collector once per million new objects, and not at the end of the process, which saves seconds."""
    gc.set_threshold(1_000_000)
    atexit.register(gc.freeze)


@cache
def freeze_imports() -> None:
    """Excludes all present objects from collection: workers collect every second, and these objects stay alive."""
    gc.collect()
    gc.freeze()
