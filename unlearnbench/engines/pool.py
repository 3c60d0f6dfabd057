"""Worker processes that are kept between runs, because a start takes seconds."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from joblib.externals.loky.process_executor import ProcessPoolExecutor


class WorkerPool:
    """Executors of one process each, so that a process that dies takes nothing else with it."""

    def __init__(self) -> None:
        self._idle: list[ProcessPoolExecutor] = []
        self._origin: object = None

    @contextmanager
    def lend(self, count: int, environment: Mapping[str, str]) -> Iterator[list[ProcessPoolExecutor]]:
        """Lends executors; afterwards they are idle, or stopped if anything was raised.

        Idle executors that were started in another folder, or with another search path or environment, are stopped:
        they would find other files and modules, or compute with other arithmetic.

        Args:
            count: How many.
            environment: The environment variables that their processes start with, beside those of this process.
        """
        origin = Path.cwd(), tuple(sys.path), dict(environment)
        if origin != self._origin:
            self.dismiss()
        self._origin = origin
        executors = [self._idle.pop() if self._idle else self.start(environment) for _ in range(count)]
        try:
            yield executors
        except BaseException:
            for executor in executors:
                self.stop(executor)
            raise
        self._idle.extend(executors)

    def start(self, environment: Mapping[str, str]) -> ProcessPoolExecutor:
        """A new executor; its process starts with its first call."""
        return ProcessPoolExecutor(max_workers=1, env=dict(environment))

    def replace(
        self, executor: ProcessPoolExecutor, executors: list[ProcessPoolExecutor], environment: Mapping[str, str]
    ) -> ProcessPoolExecutor:
        """Puts a new executor in the place of one whose process is dead."""
        self.stop(executor)
        executors.remove(executor)
        executors.append(self.start(environment))
        return executors[-1]

    def stop(self, executor: ProcessPoolExecutor) -> None:
        """Ends an executor's process at once, whatever it is doing."""
        ignore_errors_of_managers()
        executor.shutdown(wait=False, kill_workers=True)

    def dismiss(self) -> None:
        """Ends the idle processes: they do not know what has been installed or changed since they started."""
        while self._idle:
            self.stop(self._idle.pop())


POOL = WorkerPool()
"""The pool of this process: one, so that all runs of a Python session share its workers."""


@cache
def ignore_errors_of_managers() -> None:
    """Hides the errors of loky's managing threads, which fail when their process is killed; once, as hooks stack."""
    previous = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if type(arguments.thread).__name__ != "_ExecutorManagerThread":
            previous(arguments)

    threading.excepthook = hook
