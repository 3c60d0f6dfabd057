"""Finds plugins by entry point, and imports them when they are first used."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import Distribution, EntryPoint, entry_points
from multiprocessing import parent_process
from typing import Any, TypeVar

from unlearnbench.errors import UserError, unknown
from unlearnbench.plugins.contract import CONTRACT, upgrade
from unlearnbench.plugins.fingerprint import CORE, source_of, source_text
from unlearnbench.plugins.plugin import Plugin

P = TypeVar("P", bound=Plugin)
GROUPS = ("methods", "tasks", "datasets", "models", "attacks")
_offered: dict[str, Callable[[], Entry]] = {}
"""Functions that find plugins that are not installed, by name; see `offer`."""


@dataclass(frozen=True)
class Entry:
    """A plugin that is installed but perhaps not imported yet.

    Attributes:
        group: One of `GROUPS`.
        name: Its name on the command line.
        origin: The distribution it comes from.
        version: That distribution's version.
        point: Its entry point.
        trouble: Why it cannot be used, if that is known without importing it; else "".
    """

    group: str
    name: str
    origin: str
    version: str
    point: EntryPoint = field(repr=False, compare=False)
    trouble: str = ""

    def load(self) -> Plugin:
        """Imports the plugin.

        Raises:
            UserError: If it cannot be used, the import fails, or does not give a plugin.
        """
        if self.trouble:
            raise UserError(self.trouble)
        try:
            module, attr = self._module_and_attr
            plugin = getattr(sys.modules.get(module), attr, None) or self._imported()  # that takes 15 times as long
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # anything that a third party's module raises
            raise UserError(f"{self._label} cannot be loaded: {type(error).__name__}: {error}") from error
        kind = self.group[:-1]
        if not isinstance(plugin, Plugin) or plugin.kind != kind:
            raise UserError(f"{self._label} is no {kind}: {self.point.value} lacks @{kind}(...)")
        return plugin

    @cached_property
    def _module_and_attr(self) -> tuple[str, str]:
        """The module and the name in it; kept, because `point` parses them at each access."""
        return self.point.module, self.point.attr

    @property
    def _label(self) -> str:
        return f"{self.group[:-1]} {self.name!r} of package {self.origin} {self.version}"

    def _imported(self) -> object:
        if self.origin != CORE:
            module = self.point.module
            check_contract(self._label, module.split(".")[0], module)  # in the order of their import
        return self.point.load()


def check_contract(label: str, *modules: str) -> None:
    """Raises `UserError` if one of these modules names another version of the contract than the suite's.

    The modules are read and not imported, because the import might fail with a less helpful message. Finding a module
    in a package imports the package, so packages come first.

    Args:
        label: What messages call the plugin.
        *modules: Dotted names.
    """
    for module in modules:
        path = source_of(module)
        source = source_text(path) if path else ""
        for version in map(int, re.findall(r"^contract *= *(\d+)\b", source, re.MULTILINE)):
            if version != CONTRACT:
                raise UserError(
                    f"{label} was written for contract {version}, and this unlearnbench has contract {CONTRACT}: "
                    + ("install a newer version of unlearnbench" if version > CONTRACT else upgrade())
                )


def entries(group: str) -> dict[str, Entry]:
    """The installed plugins of a group by name; some may have a `trouble`."""
    return _entries(group, tuple(sys.path))[0]


def shadowed(group: str) -> Iterable[Entry]:
    """The installed plugins that cannot be used because the suite has a built-in one of that name."""
    return _entries(group, tuple(sys.path))[1]


@cache
def _entries(group: str, path: tuple[str, ...]) -> tuple[dict[str, Entry], list[Entry]]:
    """As `entries` and `shadowed`; kept by search path, because reading the metadata of all distributions is slow.

    Of two plugins of one name the built-in one is used, so that no package can change the meaning of a published name.
    Of two others neither is used, because the choice would be arbitrary.
    """
    by_name: dict[str, dict[str, Entry]] = {}
    for point in _points(path).select(group=f"unlearnbench.{group}"):
        origin, version = _release(point.dist) if point.dist else ("?", "?")
        by_name.setdefault(point.name, {})[origin] = Entry(group, point.name, origin, version, point)
    if not by_name:
        raise UserError(f"no {group} are installed; from a checkout, run: pip install -e .")
    chosen, hidden = {}, []
    for name, by_origin in sorted(by_name.items()):
        *others, last = sorted(by_origin)
        entry = by_origin[CORE if CORE in by_origin else last]
        if others:
            kind, rivals = group[:-1], f"{', '.join(others)} and {last}"
            trouble = f"{len(by_origin)} packages call a {kind} {name!r}: {rivals}"
            if CORE in by_origin:
                trouble += "; the built-in one is used: uninstall the other, or rename it"
                hidden += [replace(rival, trouble=trouble) for origin, rival in by_origin.items() if origin != CORE]
            else:
                trouble += "; none is used: uninstall all but one"
                entry = replace(entry, origin=", ".join(sorted(by_origin)), version="", trouble=trouble)
            if parent_process() is None:  # workers need not repeat it
                warnings.warn(trouble, stacklevel=3)
        chosen[name] = entry
    return chosen, hidden


@cache
def _points(path: tuple[str, ...]) -> Any:  # the type depends on Python's version; all have `select`
    """The entry points of all distributions on a search path; kept, because all groups need them."""
    return entry_points()


@cache
def _release(distribution: Distribution) -> tuple[str, str]:
    """The name and the version of a distribution; kept, because each access reads its metadata.

    Without metadata (an installation that was interrupted) both come from the name of its folder.
    """
    folder = str(getattr(getattr(distribution, "_path", None), "name", ""))
    name, _, version = folder.rpartition(".")[0].partition("-")
    try:
        metadata: Any = distribution.metadata or {}
    except Exception:  # the backport importlib_metadata raises an error of its own
        metadata = {}
    return metadata.get("Name") or name or "?", metadata.get("Version") or version or "?"


def offer(name: str, find: Callable[[], Entry]) -> None:
    """Makes a plugin that is not installed known to this process; each use calls `find`."""
    _offered[name] = find


def entry(group: str, name: str) -> Entry:
    """The plugin of this name.

    Raises:
        UserError: If there is none.
    """
    known = entries(group)
    if name in known:
        return known[name]
    if name in _offered:
        offered = _offered[name]()
        if offered.group == group:
            return offered
    raise unknown(group[:-1], name, known)


def get(kind: type[P], name: str) -> P:
    """Imports one plugin, e.g. `get(Task, "data-removal")`.

    Raises:
        UserError: If there is none of that name, or it cannot be loaded.
    """
    plugin = entry(f"{kind.kind}s", name).load()
    assert isinstance(plugin, kind)
    return plugin


def usable(group: str) -> dict[str, Plugin]:
    """Imports every plugin of a group; those that cannot be loaded are left out with a warning."""
    plugins = {}
    for name, entry in entries(group).items():
        try:
            plugins[name] = entry.load()
        except UserError as error:
            if str(error) != entry.trouble:  # of which `entries` has warned
                warnings.warn(str(error), stacklevel=2)
    return plugins
