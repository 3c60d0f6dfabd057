"""The order of calls of which some must wait for others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import heapify, heappop, heappush


class Order:
    """Gives out the first call that need not wait, again and again.

    Args:
        after: For each call the earlier calls that it waits for. That they are earlier makes circles impossible.

    Raises:
        ValueError: If one of them is not earlier.
    """

    def __init__(self, after: Sequence[Collection[int]]) -> None:
        self._open = [set(before) for before in after]
        self._followers: list[list[int]] = [[] for _ in after]
        for index, before in enumerate(self._open):
            for earlier in before:
                if not 0 <= earlier < index:
                    raise ValueError(f"call {index} cannot wait for call {earlier}, which is not before it")
                self._followers[earlier].append(index)
        self._ready = [index for index, before in enumerate(self._open) if not before]
        heapify(self._ready)
        self._left = len(after)

    def __len__(self) -> int:
        """The number of calls that are not given out."""
        return self._left

    @property
    def is_ready(self) -> bool:
        """Whether there is a call that need not wait."""
        return bool(self._ready)

    def next(self) -> int:
        """The first call that need not wait; there must be one."""
        self._left -= 1
        return heappop(self._ready)

    def done(self, index: int) -> None:
        """A call has ended, so that nobody waits for it any longer."""
        for follower in self._followers[index]:
            self._open[follower].remove(index)
            if not self._open[follower]:
                heappush(self._ready, follower)
