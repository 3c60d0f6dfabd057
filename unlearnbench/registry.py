"""Finds plugins by entry point. Nothing is imported before it is asked for."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from unlearnbench.errors import UserError, unknown
from unlearnbench.plugin import Plugin

P = TypeVar("P", bound=Plugin)
GROUPS = ("methods", "tasks", "datasets", "models", "attacks")


@dataclass(frozen=True)
class Entry:
    """A plugin that is installed but perhaps not imported yet.

    Attributes:
        group: One of `GROUPS`.
        name: Its name on the command line.
        origin: The distribution it comes from.
        version: That distribution's version.
    """

    group: str
    name: str
    origin: str
    version: str
    point: EntryPoint = field(repr=False, compare=False)

    def load(self) -> Plugin:
        """Imports the plugin.

        Raises:
            UserError: If the import fails or does not give a plugin.
        """
        where = f"{self.group[:-1]} {self.name!r} of package {self.origin} {self.version}"
        try:
            module = sys.modules.get(self.point.module)
            plugin = getattr(module, self.point.attr, None) or self.point.load()  # that takes 15 times as long
        except Exception as error:  # whatever a third party's module raises
            raise UserError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
        if not isinstance(plugin, Plugin) or plugin.kind != self.group[:-1]:
            raise UserError(f"{where} is no {self.group[:-1]}: {self.point.value} lacks @{self.group[:-1]}(...)")
        return plugin


def entries(group: str) -> dict[str, Entry]:
    """The installed plugins of a group by name."""
    return _entries(group, tuple(sys.path))


@cache
def _entries(group: str, path: tuple[str, ...]) -> dict[str, Entry]:
    """As `entries`; reading the metadata of every distribution takes a while, so it is kept for each search path."""
    found: dict[str, Entry] = {}
    for point in sorted(entry_points(group=f"unlearnbench.{group}"), key=lambda p: p.name):
        origin = point.dist.name if point.dist else "?"
        entry = Entry(group, point.name, origin, point.dist.version if point.dist else "?", point)
        known = found.setdefault(point.name, entry)
        if known.origin != entry.origin:
            raise UserError(f"two packages call a {group[:-1]} {point.name!r}: {known.origin} and {origin}; remove one")
    if not found:
        raise UserError(f"no {group} are installed; from a checkout, run: pip install -e .")
    return found


def get(kind: type[P], name: str) -> P:
    """Imports one plugin, e.g. `get(Task, "data-removal")`.

    Raises:
        UserError: If there is none of that name, or it cannot be loaded.
    """
    known = entries(f"{kind.kind}s")
    if name not in known:
        raise unknown(kind.kind, name, known)
    plugin = known[name].load()
    assert isinstance(plugin, kind)
    return plugin


def usable(group: str) -> dict[str, Plugin]:
    """Imports every plugin of a group; one that cannot be loaded is left out with a warning."""
    plugins = {}
    for name, entry in entries(group).items():
        try:
            plugins[name] = entry.load()
        except UserError as error:
            warnings.warn(str(error), stacklevel=2)
    return plugins
