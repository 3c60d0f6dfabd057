"""Checks whether a plugin keeps the contract. A check that fails says in a sentence what to change.

In a plugin's own tests:

    import pytest
    from unlearnbench.checks import checks

    @pytest.mark.parametrize("check", checks("my-method"), ids=str)
    def test_it_keeps_the_contract(check):
        check()
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import SkipTest

from unlearnbench.checks.requirements import Remark, raised
from unlearnbench.errors import UserError, unknown
from unlearnbench.plugins import registry
from unlearnbench.plugins.contract import BrokenContractError
from unlearnbench.plugins.files import Local, entry, named
from unlearnbench.plugins.plugin import Plugin

KINDS = tuple(group[:-1] for group in registry.GROUPS)


@dataclass(frozen=True)
class Result:
    """The result of a check.

    Attributes:
        check: Its name.
        status: "ok", "warning" (it keeps the contract, but something should be changed), "failed", "expected" (it
            failed, as was declared) or "skipped".
        message: What to change, why the failure was expected, or why the check was skipped; "" if all is well.
        about: What is checked.
    """

    check: str
    status: str
    message: str
    about: str


@dataclass(frozen=True)
class Check:
    """One requirement of the contract; call it to check the plugin.

    Attributes:
        name: Its name, words joined by hyphens.
        about: What is checked, in a sentence.
        expected: Why it is known to fail; "" if it must not.
    """

    name: str
    about: str
    expected: str = ""
    _function: Callable[[], None] = field(repr=False, default=lambda: None)
    _home: str = field(repr=False, default="")

    def __str__(self) -> str:
        return self.name

    def __call__(self) -> None:
        """Passes or raises, as a test does.

        Raises:
            BrokenContractError: If the check fails, or does not although it was expected to.
            unittest.SkipTest: If the check is skipped, gives a warning, or fails as expected. pytest shows the reason.
        """
        result = self.result()
        if result.status == "failed":
            raise BrokenContractError(result.message)
        if result.status != "ok":
            raise SkipTest(result.message)

    def result(self) -> Result:
        """Makes the check, on one thread as the suite does; never raises."""
        from unlearnbench.runtime.threads import one_thread

        status, message = "ok", ""
        try:
            with one_thread(), redirect_stdout(StringIO()):  # what plugins print is no result
                self._function()
        except SkipTest as reason:
            status, message = "skipped", str(reason)
        except Remark as remark:
            status, message = "warning", str(remark)
        except BrokenContractError as failure:
            status, message = "failed", str(failure)
        except Exception as error:  # anything that a plugin raises
            status, message = "failed", f"it {raised(error, self._home)}"
        if self.expected and status == "failed":
            status, message = "expected", f"{self.expected} ({message})"
        elif self.expected and status == "ok":
            status, message = "failed", f"it was expected to fail and does not ({self.expected}): expect it no longer"
        return Result(self.name, status, message, self.about)


def checks(
    plugin: str | Plugin,
    *,
    kind: str | None = None,
    expected_failures: Mapping[str, str] | None = None,
    data: str | Path | None = None,
    shape: tuple[int, int, int] | None = None,
) -> list[Check]:
    """All checks for a plugin.

    Args:
        plugin: Its name, FILE.py:FUNCTION, or the plugin itself.
        kind: "method", "task", "dataset", "model" or "attack", if there are several of that name.
        expected_failures: Reasons by name of a check. If a check that is expected to fail passes, its result is
            "failed".
        data: For data sets: the folder with their files.
        shape: For models: channels, height and width of images, in place of the usual ones.

    Raises:
        UserError: If there is no such plugin, or no such check, or a shape is given for something else.
    """
    name, checked = (plugin.function.__name__, plugin) if isinstance(plugin, Plugin) else find(plugin, kind)
    expected = expected_failures or {}
    module = import_module(f"{__name__}.{checked.kind}s")
    if shape and checked.kind != "model":
        raise UserError(f"a shape is for models, and {name} is a {checked.kind}: leave out --shape")
    settings: dict[str, dict[str, Any]] = {"dataset": {"data": data}, "model": {"shapes": (shape,)} if shape else {}}
    bench = module.Bench(name, checked, **settings.get(checked.kind, {}))
    bench.effects.package = checked.__module__.partition(".")[0]
    functions = {function.__name__.replace("_", "-"): function for function in module.CHECKS}
    for check in expected:
        if check not in functions:
            raise unknown(f"check of a {checked.kind}:", check, functions)
    return [
        Check(check, sentence(function), expected.get(check, ""), partial(function, bench), checked.home)
        for check, function in functions.items()
    ]


def sentence(function: Callable[..., None]) -> str:
    """The first line of a docstring."""
    return (function.__doc__ or "").partition("\n")[0]


def find(name: str, kind: str | None = None) -> tuple[str, Plugin]:
    """A plugin by its name or FILE.py:FUNCTION: the name that the registry knows it by, and the plugin.

    Raises:
        UserError: If there is none, or several.
    """
    if kind is not None and kind not in KINDS:
        raise unknown("kind of plugin", kind, KINDS)
    (name,) = named([name])
    if isinstance(name, Local):
        entries = [entry(name)]
    else:
        every = [registry.entries(group) for group in registry.GROUPS]
        entries = [by_name[name] for by_name in every if name in by_name]
    if not entries:
        raise unknown("plugin", name, [known for group in registry.GROUPS for known in registry.entries(group)])
    chosen = [one for one in entries if kind in (None, one.group[:-1])]
    if len(chosen) != 1:
        kinds = " and ".join(f"a {one.group[:-1]}" for one in entries)
        raise UserError(f"{name} is {kinds}: " + ("say which with --kind" if chosen else f"not a {kind}"))
    return name, chosen[0].load()


def examine(plugin: str | Plugin, **arguments: Any) -> Iterator[Result]:
    """Makes all checks for a plugin, one after the other; arguments as for `checks`."""
    for check in checks(plugin, **arguments):
        yield check.result()
