"""Processes that do the work. One that dies or takes too long costs its own result; what others were at is repeated."""

from __future__ import annotations

import faulthandler
import gc
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TextIO, TypeVar

from joblib.externals.loky import ProcessPoolExecutor, get_reusable_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError

Result = TypeVar("Result")
_present: list[tuple[float, TextIO]] = []
"""The limit of the call that this process is at, and its marker."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A piece of work that came to an end.

    Attributes:
        index: Which call it was.
        result: What the function returned; None if its process did not survive.
        reason: "timeout" or "crashed" if it did not.
    """

    index: int
    result: Result | None
    reason: str = ""


def in_parallel(
    function: Callable[..., Result], calls: Sequence[tuple[Any, ...]], workers: int, limit: float | None = None
) -> Generator[Done[Result], None, None]:
    """Calls a function many times, in as many processes as there are workers, and yields what comes of it.

    When a process dies, all that were at work are suspects, because the others are ended with it. Each suspect is
    called again in a process of its own, and who dies there has crashed.

    Args:
        function: What to call; an exception that it raises ends everything.
        calls: The arguments of each call.
        workers: How many processes.
        limit: Seconds after which a call's process is ended, counted in blocks that are `limited`.
    """
    with tempfile.TemporaryDirectory(prefix="unlearnbench-", ignore_cleanup_errors=True) as folder:
        markers = [Path(folder, str(index)) for index in range(len(calls))]
        waiting = dict.fromkeys(range(len(calls)))
        while waiting:
            executor = get_reusable_executor(max_workers=workers)
            try:
                futures = {executor.submit(marked, function, calls[i], markers[i], limit): i for i in waiting}
                for future in as_completed(futures):
                    if not isinstance(future.exception(), TerminatedWorkerError):
                        del waiting[futures[future]]
                        yield Done(futures[future], future.result())
            except BaseException:
                stop(executor)
                raise
            for index in [i for i in waiting if markers[i].exists()] or list(waiting)[:1]:
                del waiting[index]
                yield (
                    Done(index, None, "timeout")
                    if timed_out(markers[index])
                    else alone(index, function, calls[index], markers[index], limit)
                )


def stop(executor: ProcessPoolExecutor) -> None:
    """Ends an executor's processes at once, whatever they are at."""
    let_managers_stumble()
    executor.shutdown(wait=False, kill_workers=True)


@cache
def let_managers_stumble() -> None:
    """Hides what loky's managing threads say when their processes are gone; once, because hooks are stacked."""
    said = threading.excepthook

    def of_others(arguments: threading.ExceptHookArgs) -> None:
        if type(arguments.thread).__name__ != "_ExecutorManagerThread":  # which stumbles over work that is gone
            said(arguments)

    threading.excepthook = of_others


def alone(
    index: int, function: Callable[..., Result], arguments: tuple[Any, ...], marker: Path, limit: float | None
) -> Done[Result]:
    """Calls a function in a process of its own."""
    executor = ProcessPoolExecutor(max_workers=1)
    try:
        return Done(index, executor.submit(marked, function, arguments, marker, limit).result())
    except TerminatedWorkerError:
        return Done(index, None, "timeout" if timed_out(marker) else "crashed")
    finally:
        stop(executor)


def marked(function: Callable[..., Result], arguments: tuple[Any, ...], marker: Path, limit: float | None) -> Result:
    """Calls a function and leaves a mark while it is at work."""
    with marker.open("w") as file:
        if limit is not None:
            _present.append((limit, file))
        try:
            result = function(*arguments)
        finally:
            _present.clear()
    marker.unlink()
    settle()
    return result


@cache
def settle() -> None:
    """Spares the collector of garbage what has been imported by now: a worker collects every second, for long."""
    gc.collect()
    gc.freeze()


@contextmanager
def limited() -> Iterator[None]:
    """A block that must be left within the seconds of the present call's limit; otherwise this process ends.

    It is put around what plugins do, not around what cells share. The traceback is written to the call's marker, by a
    thread that needs no lock of the interpreter.
    """
    if not _present:
        yield
        return
    limit, file = _present[-1]
    faulthandler.dump_traceback_later(limit, file=file, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def timed_out(marker: Path) -> bool:
    """Whether a call was ended by its limit."""
    return marker.exists() and marker.read_text(errors="replace").startswith("Timeout")
