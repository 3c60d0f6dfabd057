"""Calls in parallel processes. A process that dies or takes too long costs its own call and no other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

from unlearnbench.engines.guard import guarded
from unlearnbench.engines.pool import POOL

Result = TypeVar("Result")
Timed = tuple[Result, float]
"""A result, and the seconds that it took."""
EMPTY: Mapping[str, str] = {}


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A call that ended.

    Attributes:
        index: Its number.
        result: The value that the function returned; None if the process died.
        reason: "timeout" or "crashed" if the process died.
        seconds: How long the call took; 0 if the process died.
        trace: Where it was when its time was over.
    """

    index: int
    result: Result | None
    reason: str = ""
    trace: str = ""
    seconds: float = 0.0


def in_parallel(
    function: Callable[..., Result],
    calls: Sequence[tuple[Any, ...]],
    workers: int,
    limit: float | None = None,
    environment: Mapping[str, str] = EMPTY,
) -> Generator[Done[Result], None, None]:
    """Calls a function many times in several processes, and yields the results as they come.

    A call whose process dies is a suspect: the process may have been killed for the memory that another one took. When
    all others are done, each suspect is called again, alone and in a new process; if that dies too, it has crashed.

    Args:
        function: The function; an exception that it raises ends everything.
        calls: The arguments of each call.
        workers: Number of processes.
        limit: Seconds after which a call's process is ended, counted in blocks inside `time_limit.limited`.
        environment: Environment variables that the processes start with, beside those of this process.
    """
    with tempfile.TemporaryDirectory(prefix="unlearnbench-", ignore_cleanup_errors=True) as folder:
        markers = [Path(folder, str(index)) for index in range(len(calls))]

        def submit(executor: ProcessPoolExecutor, index: int) -> Future[Timed[Result]]:
            arguments = function, calls[index], markers[index], limit, os.getpid()
            future: Future[Timed[Result]] = executor.submit(guarded, *arguments)
            return future

        suspects = []
        with closing(spread(submit, len(calls), workers, environment)) as ended:
            for index, future in ended:
                done = ending(index, future, markers[index])
                if done.reason == "crashed":
                    suspects.append(index)
                else:
                    yield done
        if suspects:
            POOL.dismiss()  # idle processes have memory, too
        for index in suspects:
            executor = POOL.start(environment)
            try:
                yield ending(index, submit(executor, index), markers[index])
            finally:
                POOL.stop(executor)


def spread(
    submit: Callable[[ProcessPoolExecutor, int], Future[Timed[Result]]],
    count: int,
    workers: int,
    environment: Mapping[str, str],
) -> Generator[tuple[int, Future[Timed[Result]]], None, None]:
    """Makes calls 0, 1, ... in several processes, one at a time in each, and yields each call when it has ended."""
    indices = iter(range(count))
    with POOL.lend(min(workers, count), environment) as executors:
        running: dict[Future[Timed[Result]], tuple[int, ProcessPoolExecutor]] = {}

        def begin(executor: ProcessPoolExecutor, index: int) -> None:
            try:
                future = submit(executor, index)
            except TerminatedWorkerError:  # its process died while it was idle
                executor = POOL.replace(executor, executors, environment)
                future = submit(executor, index)
            running[future] = index, executor

        for executor, index in zip(tuple(executors), indices, strict=False):
            begin(executor, index)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                index, executor = running.pop(future)
                if died(future):
                    executor = POOL.replace(executor, executors, environment)
                following = next(indices, None)
                if following is not None:
                    begin(executor, following)
                yield index, future


def died(future: Future[Any]) -> bool:
    """Whether the process of a call died."""
    return isinstance(future.exception(), TerminatedWorkerError)


def ending(index: int, future: Future[Timed[Result]], marker: Path) -> Done[Result]:
    """The result of a call, or how its process died."""
    if not died(future):
        result, seconds = future.result()
        return Done(index, result, seconds=seconds)
    trace = marker.read_text(errors="replace") if marker.exists() else ""
    return Done(index, None, "timeout", trace) if trace.startswith("Timeout") else Done(index, None, "crashed")
