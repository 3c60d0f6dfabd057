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


def time_left(start: float, share: float) -> str:
    """An estimate of the time left: a share in (0, 1] of the work was done since `start` (of `time.perf_counter`)."""
    seconds = (time.perf_counter() - start) * max(0.0, 1 / share - 1)
    return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"


def read_and_reset() -> dict[str, float]:
    """The seconds by kind of work since the last call."""
    seconds = dict(_spent)
    _spent.clear()
    return seconds
