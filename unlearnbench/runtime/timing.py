"""The seconds of a process by kind of work, each counted once."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

KINDS = ("training", "unlearning", "attacks", "overhead")
"""Original and shadow models; methods and the outputs of their networks; attacks and metrics; everything else."""

_spent: defaultdict[str, float] = defaultdict(float)
_open: list[tuple[str, float]] = []


@contextmanager
def spending(kind: str) -> Iterator[None]:
    """Counts the time of a block as this kind of work; nested blocks count as their own kinds."""
    _enter(kind)
    try:
        yield
    finally:
        now = time.perf_counter()
        kind, since = _open.pop()
        _spent[kind] += now - since
        if _open:
            _open[-1] = (_open[-1][0], now)


def _enter(kind: str) -> None:
    """Stops counting for the enclosing block, and starts for this one."""
    now = time.perf_counter()
    if _open:
        outer, since = _open[-1]
        _spent[outer] += now - since
        _open[-1] = (outer, now)
    _open.append((kind, now))


LEAST = 1 / 200
"""The share of the work from which on the rest is estimated; before, only small jobs are done."""


class Forecast:
    """Estimates the time left from the seconds that finished jobs took in their workers.

    The time since the start would mislead at first: it includes the start of the workers, and when the first of several
    workers finishes its job, the others have nearly finished theirs. For the same reasons the first job of each worker
    does not count as soon as there are others. Seconds per amount are a least-squares fit, so that large jobs decide:
    small ones take longer than their amount says.

    Args:
        total: The amount of all work, in any unit.
        workers: Number of workers.
    """

    def __init__(self, total: float, workers: int) -> None:
        self._total, self._workers = total, workers
        self._jobs: list[tuple[float, float]] = []

    def add(self, amount: float, seconds: float) -> None:
        """A job of this amount took these seconds of a worker."""
        self._jobs.append((amount, seconds))

    @property
    def seconds(self) -> float | None:
        """The estimate in seconds; None before a two-hundredth of the work is done."""
        done = sum(amount for amount, _ in self._jobs)
        if done <= LEAST * self._total:
            return None
        jobs = self._jobs[self._workers :] or self._jobs
        squares = sum(amount**2 for amount, _ in jobs)
        rate = sum(amount * seconds for amount, seconds in jobs) / squares if squares else 0.0
        return rate * max(0.0, self._total - done) / self._workers

    def __str__(self) -> str:
        if (seconds := self.seconds) is None:
            return "estimating"
        return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"


def read_and_reset() -> dict[str, float]:
    """The seconds by kind of work since the last call."""
    seconds = dict(_spent)
    _spent.clear()
    return seconds
