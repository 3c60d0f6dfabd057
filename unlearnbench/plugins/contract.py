"""The version of the contract between plugins and the suite, and the names that it has changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

from unlearnbench.errors import ContentError, UserError

CONTRACT = 2
"""The present version. The module of a plugin may name the version that it was written for, `contract = 2`; a plugin
for another version is not imported."""


class BrokenContractError(UserError, AssertionError):
    """A plugin does not keep the contract; the message says what to change.

    `unlearnbench check` reports it as a failed check, and a run as an error or as the reason of a failed cell.
    """


def fail(message: str) -> NoReturn:
    """Raises `BrokenContractError`."""
    raise BrokenContractError(message)


def require(condition: bool, message: str) -> None:
    """Raises `BrokenContractError` unless a condition holds."""
    if not condition:
        fail(message)


@contextmanager
def explaining(plugin: str, name: str, options: Mapping[str, Any]) -> Iterator[None]:
    """Puts a plugin before the message of a `UserError` that it raises, and after it what to change if that is no file.

    Args:
        plugin: The plugin, e.g. "task data-removal".
        name: Its name on the command line.
        options: Its options.
    """
    try:
        yield
    except BrokenContractError as error:
        raise BrokenContractError(f"{plugin}: {error}") from error
    except ContentError as error:
        raise ContentError(f"{plugin}: {error}") from error
    except UserError as error:
        values = ", ".join(f"{option}={value}" for option, value in options.items())
        change = f"; change its options ({values}) in the preset or with -p {name}.OPTION=VALUE" if options else ""
        raise type(error)(f"{plugin}: {error}{change}") from error


@contextmanager
def naming(plugin: str) -> Iterator[None]:
    """Puts the name of a plugin before the message of a `BrokenContractError`."""
    try:
        yield
    except BrokenContractError as error:
        raise BrokenContractError(f"{plugin}: {error}") from error


class Change(NamedTuple):
    """What stands in place of a name of contract 1, and what the author of a plugin must do."""

    new: str
    action: str = "rename it"


CHANGES = {
    "Access(remain=...)": Change("Access(retain=...)"),
    "problem.remain": Change("problem.retain"),
    "audit.remaining": Change("audit.retained"),
    "audit.fleet": Change("audit.unlearned_shadows"),
    "@method(cost=...)": Change("a function with the decorator @NAME.cost", "move it there"),
    "@method(prepare_cost=...)": Change("a function with the decorator @NAME.prepare_cost", "move it there"),
}
"""By name in contract 1."""


def changed(old: str) -> str:
    """The message for a plugin that uses a name of contract 1."""
    new, action = CHANGES[old]
    return f"{old} is {new} since contract 2: {action}"


def upgrade() -> str:
    """What to do about a plugin that was written for contract 1."""
    changes = ", ".join(f"{old} is now {change.new}" for old, change in CHANGES.items())
    return f"install a newer version of that package, or change it: {changes}"


def check_keywords(call: str, unknown: Iterable[str]) -> None:
    """Raises `TypeError` if there are unknown keywords; for one of contract 1 the message says what replaces it.

    Args:
        call: What was called, e.g. "@method".
        unknown: The keywords that it does not take.
    """
    for name in unknown:
        old = f"{call}({name}=...)"
        raise TypeError(changed(old) if old in CHANGES else f"{call}(...) takes no {name!r}")


class Renamed:
    """An attribute of contract 1; reading it raises an `AttributeError` that says the new name."""

    def __init__(self, old: str) -> None:
        self.old = old

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(changed(self.old))
