"""Workers of a Dask cluster. Dask moves the calls; on its workers, the suite's own processes make them.

This module needs the extra `dask`; only `choice.opened` imports it.
"""

from __future__ import annotations

import json
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any
from uuid import uuid4

from distributed import Client, Future, KilledWorker

from unlearnbench.engines.crew import Crew
from unlearnbench.engines.lanes import CRASHED, Calls, Done, Result
from unlearnbench.engines.node import attempt, dismiss, packed, stop, unpacked
from unlearnbench.errors import UserError
from unlearnbench.runtime import arithmetic, gpus

CONNECTING = 8.0
"""Seconds in which a scheduler must answer."""
PULSE = 0.5
"""Seconds after which workers are counted again while no call ends."""
PATIENCE = 60.0
"""Seconds without news after which the user is told what is waited for."""
LOSSES = 3
"""How often a call may lose its worker before it is suspected of having ended it; as Dask's `allowed-failures`."""
NAMED = 3
"""The number of calls that are named as waited for."""


@dataclass(frozen=True)
class Cluster:
    """The workers of a scheduler.

    Attributes:
        client: The connection.
        fitness: A call that returns why a machine cannot be used, as bytes; None: nothing is examined.
        say: Is told what happens to workers.
    """

    client: Client
    say: Callable[[str], object]
    fitness: bytes | None = None

    @property
    def elsewhere(self) -> bool:
        """True: its workers have paths, devices and code of their own."""
        return True

    def workers(self, jobs: int | None, device: str) -> int:
        """The workers that there are now; those that join later are used, too. `jobs` is None: see `opened`."""
        try:
            return max(1, len(self.client.nthreads()))
        except (OSError, TimeoutError, CancelledError):  # it is said elsewhere that the scheduler is gone
            return 1

    @contextmanager
    def lanes(self, calls: Calls[Any], workers: int) -> Iterator[ClusterLanes]:
        """All workers that there are or will be, one call each."""
        lanes = ClusterLanes(self, calls)
        try:
            yield lanes
        except BaseException:
            lanes.stop()
            raise

    def ask(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Calls a function on a worker, as soon as there is one that can be used; says so if there is none yet.

        Raises:
            UserError: If no worker can be used.
        """
        environment = arithmetic.environment(arithmetic.PORTABLE)
        with self.lanes(Calls(function, [arguments], None, environment), 1) as lanes:
            done = lanes.only(0)
        if done.result is None:
            raise UserError("the process that a worker of the scheduler started died: see the worker's log")
        result: Result = done.result
        return result

    def examining(self, say: Callable[[str], object], fitness: Callable[..., str], *arguments: Any) -> Cluster:
        """The same workers, examined before their first call."""
        return replace(self, fitness=packed(fitness, arguments), say=say)

    def dismiss(self) -> None:
        """Ends the processes that the workers keep for the next call."""
        with suppress(OSError, TimeoutError):
            if self.client.status == "running":
                self.client.run(dismiss, on_error="ignore")


@contextmanager
def connected(scheduler: str | Path, say: Callable[[str], object]) -> Iterator[Cluster]:
    """The cluster of the scheduler at an address, or in a file that the scheduler has written (`--scheduler-file`).

    Args:
        scheduler: The address or the file.
        say: As of `Cluster`.

    Raises:
        UserError: If there is none.
    """
    hide_logs()
    where = str(scheduler)
    if where.endswith(".json"):
        check_file(Path(where))
    place = {"scheduler_file": where} if where.endswith(".json") else {"address": where}
    try:
        client = Client(**place, timeout=CONNECTING, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            f"no scheduler answers at {where}: start one with `dask scheduler`, and name the address that it prints"
        ) from error
    with client:
        cluster = Cluster(client, say=say)
        try:
            yield cluster
        finally:
            cluster.dismiss()


def check_file(path: Path) -> None:
    """Raises `UserError` if a file is none that a scheduler has written."""
    if not path.is_file():
        raise UserError(f"there is no file {path}: start the scheduler with --scheduler-file {path}")
    try:
        address = json.loads(path.read_text())["address"]
    except (ValueError, KeyError, TypeError):
        address = None
    if not isinstance(address, str):
        raise UserError(f"{path} is not the file of a scheduler: start one with --scheduler-file {path}")


def hide_logs() -> None:
    """Hides what Dask logs about lost connections: it is said in other words, or done about."""
    for name in ("distributed", "tornado", "asyncio", *logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Sent:
    """A call that was sent to a worker.

    Attributes:
        index: Its number.
        address: The worker's address.
        future: Its future; while it is kept, Dask keeps the call.
        since: When it was sent, by `monotonic`.
    """

    index: int
    address: str
    future: Future
    since: float


class ClusterLanes:
    """The workers of a cluster while they make some calls: one call each, so that a worker's death is the call's.

    Args:
        cluster: The cluster.
        calls: The calls.
    """

    def __init__(self, cluster: Cluster, calls: Calls[Any]) -> None:
        self._cluster, self._client, self._calls, self._say = cluster, cluster.client, calls, cluster.say
        self._environment = {name: value for name, value in calls.environment.items() if name != gpus.VARIABLE}
        self._run = uuid4().hex
        self._futures: SimpleQueue[Future] = SimpleQueue()
        examination = self._run, cluster.fitness, self._environment
        self._crew = Crew(cluster.client, examination, self._futures.put, cluster.say)
        self._sent: dict[str, Sent] = {}
        self._ended: list[Future] = []
        self._again: deque[int] = deque()
        self._losses: Counter[int] = Counter()
        self._crashed: list[Done[Any]] = []
        self._count, self._news = 0, monotonic()

    def free(self) -> bool:
        """Whether a worker is free, after calls that lost theirs."""
        self._look()
        return bool(self._crew.idle)

    def begin(self, index: int) -> None:
        """Sends a call to a free worker."""
        address = self._crew.idle.pop()
        self._count += 1
        key = f"unlearnbench-{self._run}-{self._count}"
        call = packed(self._calls.function, self._calls.arguments[index])
        future = self._client.submit(
            attempt, self._run, call, self._calls.limit, self._environment, workers=[address], key=key, pure=False
        )
        self._sent[key] = Sent(index, address, future, monotonic())
        future.add_done_callback(self._futures.put)
        self._ended.clear()

    def ended(self) -> list[Done[Any]]:
        """Waits until a call has ended, or workers may have become free."""
        try:
            future = self._futures.get(timeout=PULSE)
        except Empty:
            self._look()
            self._remind()
            return self._taken()
        self._news = monotonic()
        if self._crew.is_examination(future.key):
            self._crew.examined(future)
        elif sent := self._sent.get(future.key):  # otherwise it has lost its worker
            done = self._ending(sent)
            self._crew.release(sent.address)
            return [*done, *self._taken()]
        return self._taken()

    def alone(self, index: int) -> Done[Any]:
        """Makes a call in a new process while no worker has another one; losing its worker again is a crash."""
        self._losses[index] = LOSSES - 1
        self._cluster.dismiss()
        return self.only(index)

    def only(self, index: int) -> Done[Any]:
        """Makes a call while no worker has another one."""
        while not self.free():
            self.ended()
        self.begin(index)
        while not (ended := self.ended()):
            pass
        return ended[0]

    def stop(self) -> None:
        """Ends all calls, and all examinations."""
        futures = [*self._crew.examinations, *(sent.future for sent in self._sent.values())]
        with suppress(OSError, TimeoutError):
            if self._client.status == "running" and futures:
                self._client.cancel(futures, force=True)
                self._client.run(stop, self._run, on_error="ignore")
        self._sent.clear()

    def _taken(self) -> list[Done[Any]]:
        """The calls that have crashed since this was last asked."""
        crashed, self._crashed = self._crashed, []
        return crashed

    def _look(self) -> None:
        """Counts the workers; calls that have lost theirs are sent again, before any others."""
        gone = self._crew.look()
        for sent in [sent for sent in self._sent.values() if sent.address in gone]:
            self._lose(sent, gone[sent.address])
        self._crew.report()
        while self._again and self._crew.idle:
            self.begin(self._again.popleft())

    def _lose(self, sent: Sent, host: str) -> None:
        """A call has lost its worker on a machine."""
        del self._sent[sent.future.key]
        self._losses[sent.index] += 1
        if self._losses[sent.index] < LOSSES:
            self._say(f"worker {sent.address} on {host} is gone: {self._name(sent)} is sent again")
            self._again.append(sent.index)
        else:
            self._crashed.append(Done(sent.index, None, CRASHED))

    def _ending(self, sent: Sent) -> list[Done[Any]]:
        """The result of a call whose future has ended; nothing if it has lost its worker.

        The future is kept until the next call has been sent: Dask would tell the scheduler at once that it is not
        needed, and would then hold back the next message, the call, for 10 ms, and the scheduler it for another 5.
        """
        while True:
            try:
                done: Done[bytes] = sent.future.result(timeout=PULSE)
            except TimeoutError:  # it had ended, but perhaps its result is lost with its worker
                if sent.future.status == "error":  # it is the call's own
                    raise
                self._look()
                if sent.future.key not in self._sent:
                    return []
            except (KilledWorker, CancelledError):  # a lost scheduler cancels everything
                self._crew.check_scheduler()
                self._lose(sent, self._crew.host(sent.address))
                return []
            else:
                del self._sent[sent.future.key]
                self._ended.append(sent.future)
                result = None if done.result is None else unpacked(done.result)
                return [replace(done, index=sent.index, result=result)]

    def _remind(self) -> None:
        """Says what is waited for, if nothing has happened for long."""
        if monotonic() - self._news < PATIENCE:
            return
        self._news = monotonic()
        oldest = sorted(self._sent.values(), key=lambda sent: sent.since)[:NAMED]
        named = [f"{self._name(s)} on {self._crew.host(s.address)} ({self._news - s.since:.0f} s)" for s in oldest]
        more = f" and {len(self._sent) - NAMED} more" if len(self._sent) > NAMED else ""
        self._say(f"waiting for {', '.join(named)}{more}" if named else f"waiting: {self._crew.idleness}")

    def _name(self, sent: Sent) -> str:
        """What a call is about."""
        return str(self._calls.arguments[sent.index][0])
