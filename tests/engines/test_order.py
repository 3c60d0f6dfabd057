"""Calls start in order, none before those that it waits for, whatever dies; each is made once."""

from __future__ import annotations

import random
from typing import Any

import pytest

from unlearnbench.engines.lanes import CRASHED, Done
from unlearnbench.engines.order import Order
from unlearnbench.engines.processes import made


class Simulated:
    """Workers of which no process exists: calls end in random order, and some die."""

    def __init__(self, seed: int, workers: int, fatal: set[int]) -> None:
        self.rng, self.workers, self.fatal = random.Random(seed), workers, fatal
        self.running: list[int] = []
        self.begun: list[int] = []
        self.finished: list[int] = []
        self.tried_alone: list[int] = []

    def free(self) -> bool:
        return len(self.running) < self.workers

    def begin(self, index: int) -> None:
        assert self.free()
        self.running.append(index)
        self.begun.append(index)

    def ended(self) -> list[Done[Any]]:
        assert self.running
        several = self.rng.sample(self.running, self.rng.randint(1, len(self.running)))
        self.running = [index for index in self.running if index not in several]
        dying = {index for index in several if index in self.fatal or self.rng.random() < 0.2}
        self.finished += [index for index in several if index not in dying]
        return [Done(index, None, CRASHED) if index in dying else Done(index, index) for index in several]

    def alone(self, index: int) -> Done[Any]:
        assert not self.running
        self.tried_alone.append(index)
        self.finished.append(index)
        return Done(index, None, CRASHED) if index in self.fatal else Done(index, index)


@pytest.mark.parametrize("seed", range(100))
def test_no_call_starts_before_those_it_waits_for_and_all_are_made_once(seed: int) -> None:
    rng = random.Random(seed)
    count = rng.randint(0, 30)
    after = [{rng.randrange(index) for _ in range(rng.randint(0, 3))} if index else set() for index in range(count)]
    fatal = {index for index in range(count) if rng.random() < 0.1}
    lanes = Simulated(seed, rng.randint(1, 3), fatal)
    begin = lanes.begin

    def checked(index: int) -> None:
        assert after[index] <= set(lanes.finished)
        begin(index)

    lanes.begin = checked  # type: ignore[method-assign]
    done = list(made(lanes, Order(after)))
    assert sorted(each.index for each in done) == sorted(lanes.begun) == list(range(count))
    assert {each.index for each in done if each.reason} == fatal
    assert len(set(lanes.tried_alone)) == len(lanes.tried_alone)
    assert fatal <= set(lanes.tried_alone)


def test_without_anything_to_wait_for_calls_start_in_order() -> None:
    lanes = Simulated(0, 2, set())
    list(made(lanes, Order([()] * 9)))
    assert lanes.begun == list(range(9))


def test_a_call_cannot_wait_for_a_later_one() -> None:
    with pytest.raises(ValueError, match="call 0 cannot wait for call 1"):
        Order([[1], []])
