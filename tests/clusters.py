"""Dask clusters on this machine, for tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def cluster(folder: Path, environments: Sequence[Mapping[str, str]]) -> Iterator[Any]:
    """A scheduler, and workers of one thread each in processes of their own.

    Args:
        folder: For Dask's files.
        environments: The environment variables of each worker.
    """
    import dask
    import distributed

    scheduler = {"cls": distributed.Scheduler, "options": {"dashboard_address": ":0", "host": "127.0.0.1", "port": 0}}
    workers = {
        number: {"cls": distributed.Nanny, "options": {"nthreads": 1, "env": dict(environment)}}
        for number, environment in enumerate(environments)
    }
    with (
        dask.config.set({"distributed.worker.daemon": False, "temporary-directory": str(folder)}),
        distributed.SpecCluster(workers=workers, scheduler=scheduler, silence_logs="CRITICAL") as started,
    ):
        yield started


@contextmanager
def commands(folder: Path, workers: int) -> Iterator[tuple[Path, Sequence[subprocess.Popen[bytes]]]]:
    """A scheduler and workers as people start them: the scheduler's file, and the processes, the scheduler's first."""
    file = folder / "scheduler.json"
    words = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("wb"))

        def start(*command: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        processes = [start(*words, "--no-dashboard", "--scheduler-file", str(file))]
        processes += [start(*worker, "--scheduler-file", str(file)) for _ in range(workers)]
        yield file, processes
