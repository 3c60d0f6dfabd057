"""What every plugin must do, of whatever kind."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any, NoReturn, Protocol
from unittest import SkipTest

from unlearnbench.checks import BrokenContractError
from unlearnbench.checks.watching import Watch
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.storage.keys import canonical

ARGUMENTS = {"method": 1, "task": 2, "dataset": 1, "model": 2, "attack": 1}
"""How many arguments a plugin's function has beside its options."""


class Subject(Protocol):
    """A plugin on the bench."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def plugin(self) -> Any:
        """The plugin."""

    @property
    def watch(self) -> Watch:
        """What was seen while it ran."""


def require(condition: bool, message: str) -> None:
    """Raises `BrokenContractError` unless a condition holds."""
    if not condition:
        raise BrokenContractError(message)


def no_need(reason: str) -> NoReturn:
    """Ends a check: there is nothing to look at."""
    raise SkipTest(reason)


def outcome(found: object) -> str:
    """What came of a call, in words, where an exception stands for having been raised."""
    if isinstance(found, Exception):
        return f"raises {type(found).__name__}: {found}"
    return f"gives {type(found).__name__}"


def functions(plugin: Plugin) -> list[Callable[..., Any]]:
    """A plugin's function, and that of its preparing phase if it has one."""
    preparation = getattr(plugin, "preparation", None)
    return [plugin.function, *([preparation] if preparation else [])]


def is_documented(bench: Subject) -> None:
    """It has a title, a docstring whose first line is a sentence, and a reference."""
    plugin, kind = bench.plugin, bench.plugin.kind
    require(bool(plugin.title.strip()), f"give it a title: @{kind}(title=...), the name in tables")
    require(
        plugin.summary.endswith("."),
        "give its function a docstring whose first line says in one sentence, with a full stop, what it does",
    )
    known = bool(plugin.reference.strip()) or getattr(plugin, "role", "") == "control"
    require(known, f'say where it comes from: @{kind}(reference="Authors, Title, Venue Year")')


def takes_options_as_keywords(bench: Subject) -> None:
    """Whatever can be set is a keyword-only argument with a default, behind a star."""
    for function in functions(bench.plugin):
        parameters = list(inspect.signature(function).parameters.values())[ARGUMENTS[bench.plugin.kind] :]
        loose = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        require(not loose, f"put a star before {', '.join(loose)}, `*, {', '.join(loose)}`: options are keyword-only")


def has_options_that_records_can_keep(bench: Subject) -> None:
    """Its options are numbers, words, true or false, None, or flat tuples of these, so that a record can keep them."""
    for name, value in bench.plugin.defaults.items():
        try:
            again = bench.plugin.resolve(bench.name, {name: json.loads(canonical(value))})[name]
        except (TypeError, ValueError):
            again = ...
        require(
            again == value and not isinstance(value, dict),
            f"option {name} is {value!r}, which JSON does not keep: use a number, a word, true or false, None or a "
            "flat tuple of these",
        )


def restores_global_settings(bench: Subject) -> None:
    """It leaves as they were: the default dtype and device, gradients, threads, the working directory and the like."""
    changed = bench.watch.settings
    require(not changed, f"it changes {', '.join(dict.fromkeys(changed))}: put that back, best in a context manager")
