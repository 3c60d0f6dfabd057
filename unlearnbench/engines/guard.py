"""The guard around one call in a worker process: it leaves a trace if the process dies, and dies with its parent."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from unlearnbench.runtime import time_limit
from unlearnbench.runtime.garbage import freeze_imports

Result = TypeVar("Result")


def guarded(
    function: Callable[..., Result], arguments: tuple[Any, ...], marker: Path, limit: float | None, parent: int
) -> tuple[Result, float]:
    """Calls a function and returns its result and its seconds.

    The marker file exists while it runs, and gets a trace if the time limit ends the process.

    Args:
        function: The function.
        arguments: Its arguments.
        marker: A file that does not exist yet.
        limit: Seconds that blocks inside `time_limit.limited` may take; None: no limit.
        parent: The process that this one must not outlive.
    """
    end_with(parent)
    with marker.open("w") as file:
        if limit is not None:
            time_limit.present.append((limit, file))
        start = time.perf_counter()
        try:
            result = function(*arguments)
        finally:
            time_limit.present.clear()
    marker.unlink()
    freeze_imports()
    return result, time.perf_counter() - start


@cache
def end_with(parent: int) -> None:
    """Starts a thread that ends this process when its parent is gone; it would wait for calls forever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
