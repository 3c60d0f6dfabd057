"""What a worker of a cluster does: it makes a call in a guarded process of its own, as this machine does locally.

The worker itself loads neither torch nor plugins. A call and its result pass through it as bytes, pickled as what local
processes are sent.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from multiprocessing import current_process
from typing import Any

from joblib.externals.loky.backend.reduction import dumps, loads

from unlearnbench.engines.lanes import Calls, Done
from unlearnbench.engines.local import Local, LocalLanes
from unlearnbench.engines.pool import WorkerPool

DAEMON = (
    "its process may not have children: start it with --no-nanny, or set DASK_DISTRIBUTED__WORKER__DAEMON=False in its "
    "environment"
)
KEPT = 300.0
"""Seconds after which a process ends that nobody has called."""
HERE = Local(WorkerPool(KEPT))
"""The processes of this worker."""
_running: dict[str, LocalLanes] = {}
"""The process of the present call of each run, so that the run can end it."""
_stopped: set[str] = set()
"""The runs that have been ended; a call of theirs may still be on its way."""


def packed(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """A call as bytes."""
    return bytes(dumps((function, arguments)))


def unpacked(result: bytes) -> Any:
    """The result of a call that was made by `attempt`."""
    return loads(result)


def in_child(call: bytes) -> bytes:
    """In a process of a worker: makes a call; returns its result as bytes."""
    function, arguments = loads(call)
    return bytes(dumps(function(*arguments)))


def attempt(run: str, call: bytes, limit: float | None, environment: Mapping[str, str]) -> Done[bytes]:
    """On a worker: makes a call in a process that is kept for the next one.

    Args:
        run: The name of the run.
        call: The call, as bytes.
        limit: As in `Calls`, likewise the next one.
        environment: The environment variables of the process.

    Returns:
        How it ended, with its result as bytes.
    """
    with HERE.lanes(Calls(in_child, [(call,)], limit, environment), 1) as lanes:
        _running[run] = lanes
        try:
            if run in _stopped:
                raise InterruptedError("the run has been ended")
            lanes.begin(0)
            (done,) = lanes.ended()
        finally:
            _running.pop(run, None)
    return done


def examine(run: str, call: bytes | None, environment: Mapping[str, str], threads: int) -> tuple[str, str]:
    """On a worker: whether calls can be made here.

    Args:
        run: As in `attempt`.
        call: A call that returns what is wrong with this machine, or "".
        environment: As in `attempt`.
        threads: The number of threads of this worker.

    Returns:
        The name of this machine, and why calls cannot be made here; "" if they can.
    """
    host = socket.gethostname()
    if threads > 1:
        return host, f"it has {threads} threads: start it with --nthreads 1"
    if current_process().daemon:
        return host, DAEMON
    end_with_worker()
    if call is None:
        return host, ""
    done = attempt(run, call, None, environment)
    return host, "a process that it started died" if done.result is None else unpacked(done.result)


def end_with_worker() -> None:
    """On a worker: ends the processes when the worker closes, which would wait for them otherwise."""
    from distributed import WorkerPlugin, get_worker
    from distributed.utils import sync

    class Ending(WorkerPlugin):  # type: ignore[misc, unused-ignore]
        """Ends the processes of a worker that closes, e.g. because its scheduler is gone or its time is over."""

        def teardown(self, worker: object) -> None:
            for lanes in [*_running.values()]:
                lanes.stop()
            dismiss()

    worker = get_worker()
    if __name__ not in worker.plugins:
        sync(worker.loop, worker.plugin_add, plugin=Ending(), name=__name__)


def stop(run: str) -> None:
    """On a worker: ends the process of a run's present call, and makes no more of its calls."""
    _stopped.add(run)
    if lanes := _running.get(run):
        lanes.stop()


def dismiss() -> None:
    """On a worker: ends processes that wait for the next call."""
    HERE.pool.dismiss()
