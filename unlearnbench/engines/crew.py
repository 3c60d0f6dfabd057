"""The workers of a cluster: who is there, who may be used, who is free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from time import monotonic

from distributed import Client, Future

from unlearnbench.engines.node import examine
from unlearnbench.errors import EngineLostError, UserError, counted

RECENT = 0.1
"""Seconds for which a count of the workers holds."""
SELDOM = 2.0
"""Seconds between two reports while workers are being examined: many may join one after the other."""


class Crew:
    """Counts the workers again and again, and examines each before it may make calls.

    Args:
        client: The connection to the scheduler.
        examination: The first arguments of `node.examine`.
        ended: Is called with the future of each examination when it has ended.
        say: Is told who may be used and who may not.
    """

    def __init__(
        self,
        client: Client,
        examination: tuple[str, bytes | None, Mapping[str, str]],
        ended: Callable[[Future], object],
        say: Callable[[str], object],
    ) -> None:
        self.idle: list[str] = []
        self._client, self._examination, self._on_end, self._say = client, examination, ended, say
        self._examinations: dict[str, tuple[str, Future]] = {}
        self._hosts: dict[str, str] = {}
        self._refused: dict[str, str] = {}
        self._present: set[str] = set()
        self._looked, self._reported, self._said = 0.0, 0.0, ""
        self._used = False

    def look(self) -> dict[str, str]:
        """Counts the workers, and begins to examine new ones.

        Returns:
            Those that have left: their machines by address.

        Raises:
            EngineLostError: If the scheduler does not answer.
        """
        if monotonic() - self._looked < RECENT:
            return {}
        threads = self._threads()
        self._looked = monotonic()
        gone, new = self._present - threads.keys(), threads.keys() - self._present
        self._present = set(threads)
        left = {address: self.host(address) for address in gone}
        for address in gone:
            self._hosts.pop(address, None)
            self._refused.pop(address, None)
        self.idle = [address for address in self.idle if address not in gone]
        self._examinations = {k: (a, future) for k, (a, future) in self._examinations.items() if a not in gone}
        for address in sorted(new):
            self._examine(address, threads[address])
        return left

    @property
    def examinations(self) -> list[Future]:
        """The examinations that have not ended."""
        return [future for _, future in self._examinations.values()]

    def is_examination(self, key: str) -> bool:
        """Whether a future is that of an examination."""
        return key.startswith(f"unlearnbench-examination-{self._examination[0]}")

    def examined(self, future: Future) -> None:
        """An examination has ended."""
        address, _ = self._examinations.pop(future.key, ("", None))
        if not address:
            return
        try:
            host, reason = future.result()
        except CancelledError:  # a lost scheduler cancels everything
            self.check_scheduler()
            return
        except Exception as error:  # whatever a worker with other code raises
            host, reason = address, f"it cannot be examined: {type(error).__name__}: {error}"
        if reason:
            self._refused[address] = reason
            self._say(f"worker {address} on {host} is not used: {reason}")
        else:
            self._hosts[address], self._used = host, True
            self.idle.append(address)
        self.report()

    def release(self, address: str) -> None:
        """The call of a worker has ended, so that it is free again, if it is still there."""
        if address in self._present:
            self.idle.append(address)

    def host(self, address: str) -> str:
        """The machine of a worker."""
        return self._hosts.get(address, address)

    @property
    def idleness(self) -> str:
        """Why nobody makes a call."""
        if self._examinations:
            return f"{counted(len(self._examinations), 'worker')} being examined"
        if self._refused:
            return "no worker of the scheduler can be used"
        return "the scheduler has no worker"

    def check_scheduler(self) -> None:
        """Raises `EngineLostError` if the scheduler does not answer."""
        self._threads()

    def _threads(self) -> dict[str, int]:
        """The number of threads of each worker, by address; raises as `look`."""
        try:
            if self._client.status == "running":
                threads: dict[str, int] = dict(self._client.nthreads())
                return threads
        except (OSError, TimeoutError, CancelledError):
            pass
        raise EngineLostError(
            "the scheduler is gone. Finished work is kept: start it again, and run the same command again"
        )

    def _examine(self, address: str, threads: int) -> None:
        """Begins to examine a worker."""
        key = f"unlearnbench-examination-{self._examination[0]}-{address}"
        future = self._client.submit(examine, *self._examination, threads, workers=[address], key=key, pure=False)
        self._examinations[key] = address, future
        future.add_done_callback(self._on_end)

    def report(self) -> None:
        """Says how many workers there are and where, if that has changed; not often while some are being examined.

        Raises:
            UserError: If no worker may be used.
        """
        if self._examinations and (not self._hosts or monotonic() - self._reported < SELDOM):
            return
        if self._refused and not self._hosts and not self._used:
            reasons = "; ".join(f"{address}: {reason}" for address, reason in self._refused.items())
            raise UserError(f"no worker of the scheduler can be used: {reasons}")
        where = ", ".join(f"{count} on {host}" for host, count in sorted(Counter(self._hosts.values()).items()))
        none = f"no workers {'any more' if self._used else 'yet'}: waiting for one to join"
        text = f"{counted(len(self._hosts), 'worker')}: {where}" if where else none
        if text != self._said:
            self._say(text)
        self._said, self._reported = text, monotonic()
