"""What plugins of every kind must do."""

from __future__ import annotations

from typing import Any, NoReturn, Protocol
from unittest import SkipTest

from unlearnbench.checks.side_effects import SideEffects
from unlearnbench.plugins.contract import require
from unlearnbench.plugins.plugin import require_keywords, require_plain_options
from unlearnbench.runtime.frames import at_line


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


class Remark(Exception):  # noqa: N818 - no error: the plugin keeps its contract
    """A plugin keeps its contract, but should change something."""


def warn(message: str) -> NoReturn:
    """Ends a check whose result is "warning"."""
    raise Remark(message)


def skip(reason: str) -> NoReturn:
    """Ends a check that cannot be made."""
    raise SkipTest(reason)


def outcome(bench: AnyBench, result: object) -> str:
    """The result of a plugin's call in words; an exception stands for having been raised."""
    return raised(result, bench.plugin.home) if isinstance(result, Exception) else f"returns {type(result).__name__}"


def raised(error: Exception, home: str) -> str:
    """An exception in words, with the line of the plugin's code where it was raised.

    Args:
        error: The exception.
        home: The plugin's; see `Plugin.home`.
    """
    return f"raises {type(error).__name__}: {error}{at_line(error, home)}"


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
    require_keywords(bench.plugin)


def has_options_that_records_can_keep(bench: AnyBench) -> None:
    """Its options are numbers, strings, true or false, None, or flat tuples of these, so that records can keep them."""
    require_plain_options(bench.plugin)


def restores_global_settings(bench: AnyBench) -> None:
    """It restores global settings, such as the default dtype and device, gradients, threads, the working directory."""
    changed = bench.effects.settings
    require(not changed, f"it changes {', '.join(dict.fromkeys(changed))}: restore that, best in a context manager")
