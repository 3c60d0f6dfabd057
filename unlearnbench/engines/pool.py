"""Worker processes that are kept between runs, because a start takes seconds."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import current_process, util
from pathlib import Path

from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.process_executor import ProcessPoolExecutor

from unlearnbench.errors import UserError


@dataclass(eq=False)
class Worker:
    """An executor of one process.

    Attributes:
        environment: The environment variables that its process starts with, beside those of this process.
        executor: The executor; its process starts with its first call.
    """

    environment: Mapping[str, str]
    executor: ProcessPoolExecutor


class WorkerPool:
    """Executors of one process each, so that a process that dies takes nothing else with it.

    Args:
        kept: Seconds after which an idle process ends; None: it is kept as long as this one lives.
    """

    def __init__(self, kept: float | None = None) -> None:
        self._kept = kept
        self._idle: list[Worker] = []
        self._origin: object = None

    @contextmanager
    def lend(self, environments: Sequence[Mapping[str, str]]) -> Iterator[list[Worker]]:
        """Lends workers; afterwards they are idle, or stopped if anything was raised.

        Idle workers that were started in another folder, or with another search path or environment, are stopped: they
        would find other files and modules, or compute with other arithmetic.

        Args:
            environments: The environment variables of each worker, beside those of this process.
        """
        origin = Path.cwd(), tuple(sys.path)
        if origin != self._origin:
            self.dismiss()
        self._origin = origin
        for worker in [worker for worker in self._idle if worker.environment not in environments]:
            self._idle.remove(worker)
            self.stop(worker)
        workers = [self._take(environment) for environment in environments]
        try:
            yield workers
        except BaseException:
            for worker in workers:
                self.stop(worker)
            raise
        self._idle.extend(workers)

    def _take(self, environment: Mapping[str, str]) -> Worker:
        """The worker that was idle last, of those that were started with these variables; or a new one."""
        worker = next((worker for worker in reversed(self._idle) if worker.environment == environment), None)
        if worker is None:
            return Worker(environment, self._started(environment))
        self._idle.remove(worker)
        return worker

    def renew(self, worker: Worker) -> None:
        """Ends the process of a worker, if it is not dead, and prepares a new one."""
        self.stop(worker)
        worker.executor = self._started(worker.environment)

    def stop(self, worker: Worker) -> None:
        """Ends a worker's process at once, whatever it is doing."""
        worker.executor.shutdown(wait=False, kill_workers=True)

    def _started(self, environment: Mapping[str, str]) -> ProcessPoolExecutor:
        dismiss_at_exit(self, os.getpid())
        return started(environment, self._kept)

    def dismiss(self) -> None:
        """Ends the idle processes: they do not know what has been installed or changed since they started."""
        while self._idle:
            self.stop(self._idle.pop())


def started(environment: Mapping[str, str], kept: float | None) -> ProcessPoolExecutor:
    """A new executor with these environment variables; its process starts with its first call.

    Args:
        environment: The variables.
        kept: Seconds after which an idle process ends; the next call starts another one. None: it does not end.

    Raises:
        UserError: If this process cannot have children, or there is no room for semaphores.
    """
    if current_process().daemon:
        raise UserError(
            "a process of multiprocessing.Pool cannot start workers: call this in the main process, where jobs=N "
            "starts N workers, or replace the pool by concurrent.futures.ProcessPoolExecutor"
        )
    hide_noise()
    try:
        return ProcessPoolExecutor(max_workers=1, timeout=kept, env=dict(environment))
    except OSError as error:
        raise UserError(
            f"cannot make the semaphores of a worker: {error.strerror}. On Linux they lie in /dev/shm: make it "
            "writable, or make room there"
        ) from error


POOL = WorkerPool()
"""The pool of this process: one, so that all runs of a Python session share its workers."""


@cache
def dismiss_at_exit(pool: WorkerPool, _: int) -> None:
    """Ends idle workers when the process of this number ends; a child of multiprocessing would wait for them."""
    util.Finalize(None, pool.dismiss, exitpriority=100)


@cache
def hide_noise() -> None:
    """Hides messages of loky that name nothing a user could mend; once in a process, as hooks stack.

    They are: errors of managing threads, which fail when their process is killed; a warning when a worker is replaced
    because its memory has grown; the resource tracker's list of semaphores that it removes when this process is killed.
    """
    previous = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if type(arguments.thread).__name__ != "_ExecutorManagerThread":
            previous(arguments)

    threading.excepthook = hook
    warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
    with warning_filter_of_children("ignore:resource_tracker:UserWarning"):
        resource_tracker.ensure_running()


@contextmanager
def warning_filter_of_children(rule: str) -> Iterator[None]:
    """Adds a warning filter to Python processes that are started in a block; `rule` as in PYTHONWARNINGS."""
    before = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = f"{before},{rule}" if before else rule
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before
