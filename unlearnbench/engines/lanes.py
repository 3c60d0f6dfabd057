"""What the policy (`processes.in_parallel`) and those who run the calls (engines) say to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True)
class Done(Generic[Result]):
    """A call that ended.

    Attributes:
        index: Its number.
        result: The value that the function returned; None if the process died.
        reason: "timeout" or "crashed" if the process died.
        seconds: How long the call took; 0 if the process died.
        trace: Where it was when its time was over.
    """

    index: int
    result: Result | None
    reason: str = ""
    trace: str = ""
    seconds: float = 0.0


CRASHED, TIMEOUT = "crashed", "timeout"
"""The reasons of a call without a result."""


@dataclass(frozen=True)
class Calls(Generic[Result]):
    """Calls of one function.

    Attributes:
        function: The function; an exception that it raises ends everything.
        arguments: The arguments of each call.
        limit: Seconds after which a call's process is ended, counted in blocks inside `time_limit.limited`.
        environment: Environment variables that the processes start with, beside those that they inherit.
    """

    function: Callable[..., Result]
    arguments: Sequence[tuple[Any, ...]]
    limit: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


class Lanes(Protocol):
    """Workers that make calls, one at a time each."""

    def free(self) -> bool:
        """Whether a worker is free."""

    def begin(self, index: int) -> None:
        """Begins a call; a worker must be free."""

    def ended(self) -> list[Done[Any]]:
        """Waits until a call has ended or a worker may have become free; returns the calls that have ended."""

    def alone(self, index: int) -> Done[Any]:
        """Makes a call in a new process while no other call is running."""


class Engine(Protocol):
    """Something that has workers."""

    @property
    def elsewhere(self) -> bool:
        """True if workers are no children of this process: paths, devices and code are theirs."""

    def workers(self, jobs: int | None, device: str) -> int:
        """The number of workers.

        Args:
            jobs: The number that the user asked for; None: the engine's own choice.
            device: "cpu" or "cuda".

        Raises:
            UserError: If the engine cannot have that many.
        """

    def lanes(self, calls: Calls[Any], workers: int) -> AbstractContextManager[Lanes]:
        """Workers for some calls; leaving the block by an exception ends the calls that are running.

        Args:
            calls: The calls.
            workers: Their number, if the engine has a choice.
        """

    def ask(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Calls a function where the workers are, e.g. to learn what devices there are."""

    def examining(self, say: Callable[[str], object], fitness: Callable[..., str], *arguments: Any) -> Engine:
        """The same engine, which examines every worker before its first call.

        Args:
            say: Is told what happens to workers.
            fitness: Returns why the process that it is called in cannot be used; "" if it can.
            *arguments: Its arguments.
        """
