"""Plugins in files that nobody installed: named by their place, FILE.py:FUNCTION, and found there by every process."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module, invalidate_caches
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from unlearnbench.errors import UserError, unknown
from unlearnbench.plugins import registry
from unlearnbench.plugins.fingerprint import fingerprint, sources
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.plugins.registry import Entry

ORIGIN = "file"
"""What stands in place of a distribution."""
_ready: dict[Local, tuple[Path, Entry]] = {}
"""Plugins by name, with their folder, as long as their code is as it was when they were last named."""
_imported: dict[str, tuple[Path, str]] = {}
"""File and source of each module that was imported from such a folder."""


class Local(str):
    """The name of a plugin in a file, such as "mine.forget".

    Whoever makes one, or unpickles it as a worker does, knows the plugin by this name from then on. The file is read
    when the plugin is wanted.
    """

    path: Path
    function: str

    def __new__(cls, path: Path, function: str) -> Local:
        """Makes the name, and the plugin known by it."""
        name = super().__new__(cls, f"{path.stem}.{function}")
        name.path, name.function = path, function
        _ready.pop(name, None)
        registry.offer(name, partial(entry, name))
        return name

    def __reduce__(self) -> tuple[type[Local], tuple[Path, str]]:
        return Local, (self.path, self.function)

    @property
    def place(self) -> str:
        """As it is written on the command line."""
        return f"{self.path}:{self.function}"


def named(names: Sequence[str]) -> list[str]:
    """Names of plugins, of which some may be places, as names that the registry knows.

    Raises:
        UserError: If there is no plugin at such a place.
    """
    found = [placed(name) for name in names]
    places = {name: name.place for name in found if isinstance(name, Local)}
    for name in found:
        if isinstance(name, Local):
            if places[name] != name.place:
                raise UserError(f"{places[name]} and {name.place} would both be called {name}: rename one of the files")
            entry(name)
    if lost := [place for name, place in places.items() if name not in _ready]:
        raise UserError(
            f"{lost[0]} and {list(places.values())[-1]} cannot be tried together: their folders have files of one name"
        )
    return found


def placed(name: str) -> str:
    """A name that is a place as a `Local`, any other as it is."""
    if isinstance(name, Local):
        return Local(name.path, name.function)
    path, colon, function = name.rpartition(":")
    if name.endswith(".py"):
        raise UserError(f"say which function of {name} is the plugin: {name}:FUNCTION")
    if colon and not path.endswith(".py"):
        raise UserError(f"{path} is no Python file: did you mean {path}.py:{function}?")
    if not colon:
        if "/" in name:
            raise UserError(f"{name} is no plugin; if it is in a file, say where: {name}.py:FUNCTION")
        if "." in name and not any(name in registry.entries(group) for group in registry.GROUPS):
            place = ".py:".join(name.rsplit(".", 1))
            raise UserError(f"{name} is not installed; if it is in a file, say where: {place}")
        return name
    return Local(Path(path).expanduser().resolve(), function)


def place_of(name: str) -> str:
    """What to write on the command line for a plugin."""
    return name.place if isinstance(name, Local) else name


def known_here(name: str) -> str:
    """A name as one that workers understand, too, if it is that of a plugin in a file."""
    return next((known for known in _ready if known == name), name)


def entry(name: Local) -> Entry:
    """The plugin at a place; it is read again if its code has changed since its name was last made.

    Raises:
        UserError: If there is none, or it cannot be imported.
    """
    if name not in _ready:
        _ready[name] = name.path.parent, loaded(name)
    return _ready[name][1]


def loaded(name: Local) -> Entry:
    """Imports the plugin at a place; raises as `entry`."""
    path, function = name.path, name.function
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if not path.stem.isidentifier():
        raise UserError(f"Python cannot import {path}: name the file with letters, digits and underscores")
    try:
        module = imported(path)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # whatever somebody's file raises
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    plugin = getattr(module, function, None)
    if plugin is None:
        raise unknown(f"function of {path}:", function, [n for n, v in vars(module).items() if isinstance(v, Plugin)])
    if not isinstance(plugin, Plugin):
        raise UserError(f"{name.place} is no plugin: it lacks a decorator such as @method(title=..., access=...)")
    if plugin.__module__ != path.stem:
        raise UserError(f"{name.place} is only imported there, from {plugin.__module__}: name the file that defines it")
    group = f"{plugin.kind}s"
    if name in registry.entries(group):
        raise UserError(f"{name} is the name of an installed {plugin.kind}: rename {path} or its function")
    point = EntryPoint(name, f"{path.stem}:{function}", f"unlearnbench.{group}")
    return Entry(group, name, ORIGIN, path.name, point)


def imported(path: Path) -> ModuleType:
    """Imports a file as a module, from its folder, with those that it imports from there.

    Raises:
        UserError: If one of them has the name of another module, which it would hide, or be hidden by.
    """
    found = sources(path.stem, folder=path.parent)
    for module in found.keys() & _imported.keys():
        if module in _imported and _imported[module] != found[module]:
            forget(_imported[module][0].parent)
    for module, (file, _) in found.items():  # before its folder is searched, or it might hide what is installed
        spec = find_spec(module) if "." not in module else None
        if spec and (spec.origin is None or Path(spec.origin).resolve() != file.resolve()):
            raise UserError(f"{file} has the name of another module, {spec.origin or module}: rename the file")
    with searched_last(path.parent):
        registry.check_contract(str(path), path.stem)
        for module in found.keys() - _imported.keys():  # whoever imported it may have done so before it was edited
            sys.modules.pop(module, None)
        _imported.update(found)
        module_of_file = import_module(path.stem)
        for module in found:  # also those that a function imports when it runs: then the folder is no longer searched
            import_module(module)
        return module_of_file


@contextmanager
def searched_last(folder: Path) -> Iterator[None]:
    """Puts a folder at the end of Python's search path for a while.

    Nothing is compiled into files meanwhile: these would be taken for up to date within a second of an edit.
    """
    compiled, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    added = [str(folder)] * (str(folder) not in sys.path)
    sys.path += added
    invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = compiled
        for there in added:
            sys.path.remove(there)


def forget(folder: Path) -> None:
    """Forgets everything that was imported from a folder or from those in it."""
    for module in [name for name, (path, _) in _imported.items() if path.is_relative_to(folder)]:
        sys.modules.pop(module, None)
        del _imported[module]
    for name in [name for name, (where, _) in _ready.items() if where.is_relative_to(folder)]:
        del _ready[name]
    fingerprint.cache_clear()
