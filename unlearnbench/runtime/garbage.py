"""Python's garbage collector: plans, records and imported modules are many small objects that stay."""

from __future__ import annotations

import atexit
import gc
from functools import cache


def collect_rarely() -> None:
    """Lets the collector run after a million new objects, and not at the end of the process; it saves seconds."""
    gc.set_threshold(1_000_000)
    atexit.register(gc.freeze)


@cache
def freeze_imports() -> None:
    """Excludes all present objects from collection: a worker collects every second, and these stay."""
    gc.collect()
    gc.freeze()
