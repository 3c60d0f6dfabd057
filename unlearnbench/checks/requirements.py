"""What plugins of every kind must do."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any, NoReturn, Protocol
from unittest import SkipTest

from unlearnbench.checks.side_effects import SideEffects
from unlearnbench.plugins.contract import require
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.storage.keys import canonical

ARGUMENTS = {"method": 1, "task": 2, "dataset": 1, "model": 2, "attack": 1}
"""The number of arguments of a plugin's function beside its options."""


class AnyBench(Protocol):
    """A plugin under test."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def plugin(self) -> Any:
        """The plugin."""

    @property
    def effects(self) -> SideEffects:
        """The side effects of its calls."""


def skip(reason: str) -> NoReturn:
    """Ends a check that cannot be made."""
    raise SkipTest(reason)


def outcome(result: object) -> str:
    """The result of a call in words; an exception stands for having been raised."""
    if isinstance(result, Exception):
        return f"raises {type(result).__name__}: {result}"
    return f"returns {type(result).__name__}"


def functions(plugin: Plugin) -> list[Callable[..., Any]]:
    """A plugin's function, and that of its preparing phase if it has one."""
    preparation = getattr(plugin, "preparation", None)
    return [plugin.function, *([preparation] if preparation else [])]


def is_documented(bench: AnyBench) -> None:
    """It has a title, a docstring whose first line is a sentence, and a reference."""
    plugin, kind = bench.plugin, bench.plugin.kind
    require(bool(plugin.title.strip()), f"give it a title: @{kind}(title=...), the name in tables")
    require(
        plugin.summary.endswith("."),
        "give its function a docstring whose first line says in one sentence, with a full stop, what it does",
    )
    has_reference = bool(plugin.reference.strip()) or getattr(plugin, "role", "") == "control"
    require(has_reference, f'give it a reference: @{kind}(reference="Authors, Title, Venue Year")')


def takes_options_as_keywords(bench: AnyBench) -> None:
    """Its options are keyword-only arguments with defaults."""
    for function in functions(bench.plugin):
        parameters = list(inspect.signature(function).parameters.values())[ARGUMENTS[bench.plugin.kind] :]
        loose = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        require(not loose, f"put a star before {', '.join(loose)}, `*, {', '.join(loose)}`: options are keyword-only")


def has_options_that_records_can_keep(bench: AnyBench) -> None:
    """Its options are numbers, strings, true or false, None, or flat tuples of these, so that records can keep them."""
    for name, value in bench.plugin.defaults.items():
        require(
            survives_json(bench, name, value) and not isinstance(value, dict),
            f"option {name} is {value!r}, which JSON does not keep: use a number, a string, true or false, None or a "
            "flat tuple of these",
        )


def survives_json(bench: AnyBench, name: str, value: object) -> bool:
    """True if an option has the same value after it was written as JSON and read again."""
    try:
        read = bench.plugin.resolve(bench.name, {name: json.loads(canonical(value))})[name]
    except (TypeError, ValueError):
        return False
    return bool(read == value)


def restores_global_settings(bench: AnyBench) -> None:
    """It restores global settings, such as the default dtype and device, gradients, threads, the working directory."""
    changed = bench.effects.settings
    require(not changed, f"it changes {', '.join(dict.fromkeys(changed))}: restore that, best in a context manager")
