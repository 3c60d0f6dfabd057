"""Processes that do the work. One that dies or takes too long costs its own result and nothing else."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from joblib.externals.loky import ProcessPoolExecutor
from joblib.externals.loky.process_executor import TerminatedWorkerError

from unlearnbench.runtime import time_limit

Result = TypeVar("Result")
EMPTY: Mapping[str, str] = {}
_began: dict[str, object] = {}
"""Where, and with which search path and environment, the processes that are kept began."""
_kept: list[ProcessPoolExecutor] = []
"""Executors of one process each that have nothing to do: they are kept, because starting a process takes seconds."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A piece of work that came to an end.

    Attributes:
        index: Which call it was.
        result: What the function returned; None if its process did not survive.
        reason: "timeout" or "crashed" if it did not.
        trace: Where it was when its time was over.
    """

    index: int
    result: Result | None
    reason: str = ""
    trace: str = ""


def in_parallel(
    function: Callable[..., Result],
    calls: Sequence[tuple[Any, ...]],
    workers: int,
    limit: float | None = None,
    environment: Mapping[str, str] = EMPTY,
) -> Generator[Done[Result], None, None]:
    """Calls a function many times, in as many processes as there are workers, and yields what comes of it.

    A call whose process dies is a suspect: it may have been killed for the memory that another one took. When all
    others are done, each suspect is called again, alone and in a new process, and who dies there has crashed.

    Args:
        function: What to call; an exception that it raises ends everything.
        calls: The arguments of each call.
        workers: How many processes.
        limit: Seconds after which a call's process is ended, counted in blocks that are `limited`.
        environment: Variables that the processes are started with, beside those of this one.
    """
    with tempfile.TemporaryDirectory(prefix="unlearnbench-", ignore_cleanup_errors=True) as folder:
        markers = [Path(folder, str(index)) for index in range(len(calls))]

        def submitted(executor: ProcessPoolExecutor, index: int) -> Future[Result]:
            future: Future[Result] = executor.submit(marked, function, calls[index], markers[index], limit, os.getpid())
            return future

        suspects = []
        with closing(spread(submitted, len(calls), workers, environment)) as ended:
            for index, future in ended:
                done = ending(index, future, markers[index])
                if done.reason == "crashed":
                    suspects.append(index)
                else:
                    yield done
        if suspects:
            dismiss()  # what waits for work has memory, too
        for index in suspects:
            executor = started(environment)
            try:
                yield ending(index, submitted(executor, index), markers[index])
            finally:
                stop(executor)


def spread(
    submitted: Callable[[ProcessPoolExecutor, int], Future[Result]],
    count: int,
    workers: int,
    environment: Mapping[str, str],
) -> Generator[tuple[int, Future[Result]], None, None]:
    """Has calls 0, 1, ... made by several processes, one at a time by each, and yields each when it has ended."""
    indices = iter(range(count))
    with lent(min(workers, count), environment) as executors:
        at_work: dict[Future[Result], tuple[int, ProcessPoolExecutor]] = {}

        def begin(executor: ProcessPoolExecutor, index: int) -> None:
            try:
                future = submitted(executor, index)
            except TerminatedWorkerError:  # its process died while it had nothing to do
                executor = replaced(executor, executors, environment)
                future = submitted(executor, index)
            at_work[future] = index, executor

        for executor, index in zip(tuple(executors), indices, strict=False):
            begin(executor, index)
        while at_work:
            for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                index, executor = at_work.pop(future)
                if died(future):
                    executor = replaced(executor, executors, environment)
                following = next(indices, None)
                if following is not None:
                    begin(executor, following)
                yield index, future


def started(environment: Mapping[str, str]) -> ProcessPoolExecutor:
    """An executor of one process, which begins with its first call."""
    return ProcessPoolExecutor(max_workers=1, env=dict(environment))


def replaced(
    executor: ProcessPoolExecutor, executors: list[ProcessPoolExecutor], environment: Mapping[str, str]
) -> ProcessPoolExecutor:
    """A new executor, which takes the place of one whose process is dead."""
    stop(executor)
    executors.remove(executor)
    executors.append(started(environment))
    return executors[-1]


@contextmanager
def lent(count: int, environment: Mapping[str, str]) -> Iterator[list[ProcessPoolExecutor]]:
    """Executors of one process each; they are stopped if anything goes wrong, and otherwise kept for the next time.

    Processes that began in another folder, or with another search path, would look for files and modules elsewhere;
    those of another environment would compute otherwise.
    """
    here = Path.cwd(), tuple(sys.path), dict(environment)
    if here != _began.get("in"):
        dismiss()
    _began["in"] = here
    executors = [_kept.pop() if _kept else started(environment) for _ in range(count)]
    try:
        yield executors
    except BaseException:
        for executor in executors:
            stop(executor)
        raise
    _kept.extend(executors)


def died(future: Future[Any]) -> bool:
    """Whether the process of a call did not survive it."""
    return isinstance(future.exception(), TerminatedWorkerError)


def ending(index: int, future: Future[Result], marker: Path) -> Done[Result]:
    """How a call ended."""
    if not died(future):
        return Done(index, future.result())
    trace = marker.read_text(errors="replace") if marker.exists() else ""
    return Done(index, None, "timeout", trace) if trace.startswith("Timeout") else Done(index, None, "crashed")


def dismiss() -> None:
    """Ends the processes that are kept: they do not know what has been installed or changed since they began."""
    while _kept:
        stop(_kept.pop())


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


def marked(
    function: Callable[..., Result], arguments: tuple[Any, ...], marker: Path, limit: float | None, parent: int
) -> Result:
    """Calls a function and leaves a mark while it is at work."""
    end_with(parent)
    with marker.open("w") as file:
        if limit is not None:
            time_limit.present.append((limit, file))
        try:
            result = function(*arguments)
        finally:
            time_limit.present.clear()
    marker.unlink()
    settle()
    return result


@cache
def end_with(parent: int) -> None:
    """Ends this process when its parent is gone: if that was killed, it would wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@cache
def settle() -> None:
    """Spares the collector of garbage what has been imported by now: a worker collects every second, for long."""
    gc.collect()
    gc.freeze()
