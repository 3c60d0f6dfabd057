"""Calls in parallel processes. A process that dies or takes too long costs its own call and no other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from typing import Any

from unlearnbench.engines.lanes import CRASHED, Calls, Done, Engine, Lanes, Result
from unlearnbench.engines.local import LOCAL
from unlearnbench.engines.order import Order

EMPTY: Mapping[str, str] = {}


def in_parallel(
    function: Callable[..., Result],
    calls: Sequence[tuple[Any, ...]],
    workers: int,
    limit: float | None = None,
    environment: Mapping[str, str] = EMPTY,
    after: Sequence[Collection[int]] | None = None,
    engine: Engine = LOCAL,
) -> Generator[Done[Result], None, None]:
    """Calls a function many times in several processes, and yields the results as they come.

    A call whose process dies is a suspect: the process may have been killed for the memory that another one took. When
    no other call can go on, each suspect is called again, alone and in a new process; if that dies too, it has crashed.

    Args:
        function: The function; an exception that it raises ends everything.
        calls: The arguments of each call.
        workers: Number of processes, if the engine has a choice.
        limit: Seconds after which a call's process is ended, counted in blocks inside `time_limit.limited`.
        environment: Environment variables that the processes start with, beside those that they inherit. Local
            processes share out the GPUs of `CUDA_VISIBLE_DEVICES`, one each.
        after: For each call the earlier calls that it waits for; None: no call waits.
        engine: Who runs the processes; by default this machine.
    """
    order = Order(after if after is not None else [()] * len(calls))
    with engine.lanes(Calls(function, calls, limit, environment), workers) as lanes:
        yield from made(lanes, order)


def made(lanes: Lanes, order: Order) -> Generator[Done[Any], None, None]:
    """Makes all calls in order, suspects alone and when nothing else can go on; yields them as they end."""
    suspects: deque[int] = deque()
    running = begin(lanes, order)
    while running or suspects or order:
        if suspects and not running and not order.is_ready:
            ended = [lanes.alone(suspects.popleft())]
        else:
            all_ended = lanes.ended()
            running -= len(all_ended)
            suspects.extend(done.index for done in all_ended if done.reason == CRASHED)
            ended = [done for done in all_ended if done.reason != CRASHED]
        for done in ended:
            order.done(done.index)
        running += begin(lanes, order)  # before anybody looks at results, so that no worker waits
        yield from ended


def begin(lanes: Lanes, order: Order) -> int:
    """Gives free workers something to do; returns the number of calls begun."""
    begun = 0
    while order.is_ready and lanes.free():
        lanes.begin(order.next())
        begun += 1
    return begun
