"""Where the time goes: the seconds of a process by kind of work, each of them counted once."""

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
    """Books the time of a block under a kind; blocks inside it book theirs under their own."""
    _turn(kind)
    try:
        yield
    finally:
        now = time.perf_counter()
        ended, since = _open.pop()
        _spent[ended] += now - since
        if _open:
            _open[-1] = (_open[-1][0], now)


def _turn(kind: str) -> None:
    """Begins to book under a kind."""
    now = time.perf_counter()
    if _open:
        outer, since = _open[-1]
        _spent[outer] += now - since
        _open[-1] = (outer, now)
    _open.append((kind, now))


def left(began: float, share: float) -> str:
    """An estimate of the time left, if this share (0, 1] of the work was done since `began` (of `perf_counter`)."""
    seconds = (time.perf_counter() - began) * max(0.0, 1 / share - 1)
    return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"


def taken() -> dict[str, float]:
    """The seconds by kind since this was last asked."""
    found = dict(_spent)
    _spent.clear()
    return found
