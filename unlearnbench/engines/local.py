"""Worker processes on this machine; several GPUs are shared out, one for each process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from unlearnbench.engines.guard import guarded
from unlearnbench.engines.lanes import CRASHED, TIMEOUT, Calls, Done, Result
from unlearnbench.engines.pool import POOL, Worker, WorkerPool
from unlearnbench.runtime import gpus

Timed = tuple[Result, float]
"""A result, and the seconds that it took."""


@dataclass(frozen=True)
class Local:
    """Worker processes on this machine.

    Attributes:
        pool: Where they wait for the next calls.
    """

    pool: WorkerPool = POOL

    @property
    def elsewhere(self) -> bool:
        """False: they have the paths, devices and code of this process."""
        return False

    def workers(self, jobs: int | None, device: str) -> int:
        """As many as asked for; by default one for each core, and on GPUs one for each. On GPUs `jobs` is per GPU."""
        if device == "cuda":
            return (jobs or 1) * max(1, len(gpus.visible()))
        return jobs or joblib.cpu_count()

    @contextmanager
    def lanes(self, calls: Calls[Any], workers: int) -> Iterator[LocalLanes]:
        """Processes for some calls."""
        environments = gpus.shared_out(calls.environment, min(workers, len(calls.arguments)))
        with (
            tempfile.TemporaryDirectory(prefix="unlearnbench-", ignore_cleanup_errors=True) as folder,
            self.pool.lend(environments) as lent,
        ):
            yield LocalLanes(calls, lent, Path(folder), self.pool)

    def ask(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Calls a function in this process."""
        return function(*arguments)

    def examining(self, say: Callable[[str], object], fitness: Callable[..., str], *arguments: Any) -> Local:
        """Itself: these workers have the code, the data and the folders of this process."""
        return self


LOCAL = Local()


class LocalLanes:
    """Processes that make calls.

    Args:
        calls: The calls.
        workers: The processes.
        folder: An empty folder, for the files that tell how a process died.
        pool: That of the processes.
    """

    def __init__(self, calls: Calls[Any], workers: Sequence[Worker], folder: Path, pool: WorkerPool) -> None:
        self._calls, self._workers, self._folder, self._pool = calls, workers, folder, pool
        self._free = [*reversed(workers)]
        self._running: dict[Future[Timed[Any]], tuple[int, Worker]] = {}

    def free(self) -> bool:
        """Whether a process is free."""
        return bool(self._free)

    def begin(self, index: int) -> None:
        """Begins a call."""
        worker = self._free.pop()
        try:
            future = self._submit(worker, index)
        except TerminatedWorkerError:  # its process died while it was idle
            self._pool.renew(worker)
            future = self._submit(worker, index)
        self._running[future] = index, worker

    def ended(self) -> list[Done[Any]]:
        """Waits until a call has ended."""
        ended = []
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            index, worker = self._running.pop(future)
            if died(future):
                self._pool.renew(worker)
            self._free.append(worker)
            ended.append(self._ending(index, future))
        return ended

    def alone(self, index: int) -> Done[Any]:
        """Makes a call in a new process; all others are ended, because idle processes have memory, too."""
        self._pool.dismiss()
        for worker in self._workers:
            self._pool.renew(worker)
        future = self._submit(self._workers[0], index)
        wait([future])
        self._pool.renew(self._workers[0])
        return self._ending(index, future)

    def stop(self) -> None:
        """Ends all processes at once; calls that are running raise an exception where they are waited for."""
        for worker in self._workers:
            self._pool.stop(worker)

    def _submit(self, worker: Worker, index: int) -> Future[Timed[Any]]:
        calls = self._calls
        arguments = calls.function, calls.arguments[index], self._marker(index), calls.limit, os.getpid()
        future: Future[Timed[Any]] = worker.executor.submit(guarded, *arguments)
        return future

    def _ending(self, index: int, future: Future[Timed[Any]]) -> Done[Any]:
        """The result of a call, or how its process died."""
        if not died(future):
            result, seconds = future.result()
            return Done(index, result, seconds=seconds)
        marker = self._marker(index)
        trace = marker.read_text(errors="replace") if marker.exists() else ""
        return Done(index, None, TIMEOUT, trace) if trace.startswith("Timeout") else Done(index, None, CRASHED)

    def _marker(self, index: int) -> Path:
        """The file that exists while a call is running."""
        return self._folder / str(index)


def died(future: Future[Any]) -> bool:
    """Whether the process of a call died."""
    return isinstance(future.exception(), TerminatedWorkerError)
