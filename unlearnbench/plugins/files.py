"""Plugins in files that are not installed, named FILE.py:FUNCTION; every process imports them from there."""

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
from unlearnbench.runtime.frames import at_line
from unlearnbench.storage.folders import expanded

ORIGIN = "file"
"""The origin of these plugins, in place of a distribution."""
_ready: dict[Local, tuple[Path, Entry]] = {}
"""Imported plugins by name, with their folder; a plugin is removed when its code has changed or it is named again."""
_imported: dict[str, tuple[Path, str]] = {}
"""File and source of each module that was imported from such a folder."""


class Local(str):
    """The name of a plugin in a file, such as "mine.forget".

    Making one, or unpickling it in a worker, makes the plugin known by this name. The file is imported when the plugin
    is used.
    """

    path: Path
    function: str

    def __new__(cls, path: Path, function: str) -> Local:
        """Makes the name, and makes the plugin known by it."""
        name = super().__new__(cls, f"{path.stem}.{function}")
        name.path, name.function = path, function
        _ready.pop(name, None)
        registry.offer(name, partial(entry, name))
        return name

    def __reduce__(self) -> tuple[type[Local], tuple[Path, str]]:
        return Local, (self.path, self.function)

    @property
    def place(self) -> str:
        """FILE.py:FUNCTION, as on the command line."""
        return f"{self.path}:{self.function}"


def named(names: Sequence[str]) -> list[str]:
    """The names that the registry knows plugins by, for names of which some may be FILE.py:FUNCTION.

    Raises:
        UserError: If there is no plugin at such a place.
    """
    known = [placed(name) for name in names]
    places = {name: name.place for name in known if isinstance(name, Local)}
    for name in known:
        if isinstance(name, Local):
            if places[name] != name.place:
                raise UserError(f"{places[name]} and {name.place} would both be called {name}: rename one of the files")
            entry(name)
    if lost := [place for name, place in places.items() if name not in _ready]:
        raise UserError(
            f"{lost[0]} and {list(places.values())[-1]} cannot be used together: their folders have files of one name"
        )
    return known


def placed(name: str, folder: Path | None = None) -> str:
    """A FILE.py:FUNCTION as a `Local`, any other name as it is.

    Args:
        name: The name.
        folder: The folder that FILE.py is relative to; None: the working directory.
    """
    if isinstance(name, Local):
        return Local(name.path, name.function)
    if type(name) is not str:  # the name of something else that a process must learn about
        return name
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
    return Local((folder or Path()).joinpath(expanded(path)).resolve(), function)


def place_of(name: str) -> str:
    """The name of a plugin as on the command line."""
    return name.place if isinstance(name, Local) else name


def ready() -> dict[Local, Entry]:
    """The plugins in files that this process has imported, by name."""
    return {name: entry for name, (_, entry) in _ready.items()}


def known_here(name: str) -> str:
    """The name as a `Local`, which workers understand, too, if it is that of a plugin in a file; else as it is."""
    return next((known for known in _ready if known == name), name)


def entry(name: Local) -> Entry:
    """The plugin of this name; it is imported again if its code has changed since the name was last made.

    Raises:
        UserError: If there is none, or it cannot be imported.
    """
    if name not in _ready:
        _ready[name] = name.path.parent, loaded(name)
    return _ready[name][1]


def loaded(name: Local) -> Entry:
    """Imports the plugin of this name; raises as `entry`."""
    path, function = name.path, name.function
    plugin = attribute(path, function)
    if not isinstance(plugin, Plugin):
        raise UserError(f"{name.place} is no plugin: it lacks a decorator such as @method(title=..., access=...)")
    if plugin.__module__ != path.stem:
        raise UserError(f"{name.place} is only imported there, from {plugin.__module__}: name the file that defines it")
    group = f"{plugin.kind}s"
    if name in registry.entries(group):
        raise UserError(f"{name} is the name of an installed {plugin.kind}: rename {path} or its function")
    point = EntryPoint(name, f"{path.stem}:{function}", f"unlearnbench.{group}")
    return Entry(group, name, ORIGIN, path.name, point)


def attribute(path: Path, name: str) -> object:
    """Imports a file, again if its code has changed, and returns what it calls by this name.

    Raises:
        UserError: If the file cannot be imported, or has nothing of that name.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    if not path.stem.isidentifier():
        raise UserError(f"Python cannot import {path}: name the file with letters, digits and underscores")
    try:
        module = imported(path)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # anything that a user's file raises
        raise UserError(f"{path} cannot be imported: {type(error).__name__}: {error}{at_line(error)}") from error
    value = getattr(module, name, None)
    if value is None:
        own = [n for n, v in vars(module).items() if isinstance(v, Plugin) or getattr(v, "__module__", "") == path.stem]
        raise unknown(f"function of {path}:", name, own)
    return value


def imported(path: Path) -> ModuleType:
    """Imports a file as a module, together with the modules that it imports from its folder.

    Raises:
        UserError: If one of them has the name of a module elsewhere.
    """
    files = sources(path.stem, folder=path.parent)
    for module in files.keys() & _imported.keys():
        if module in _imported and _imported[module] != files[module]:
            forget(_imported[module][0].parent)
    for module, (file, _) in files.items():  # while the folder is not yet searched: it might hide what is installed
        spec = find_spec(module) if "." not in module else None
        if spec and (spec.origin is None or Path(spec.origin).resolve() != file.resolve()):
            raise UserError(f"{file} has the name of another module, {spec.origin or module}: rename the file")
    with searched_last(path.parent):
        registry.check_contract(str(path), path.stem)
        for module in files.keys() - _imported.keys():  # it may have been imported in another way, before an edit
            sys.modules.pop(module, None)
        _imported.update(files)
        module_of_file = import_module(path.stem)
        for module in files:  # also those that a function imports when it runs: then the folder is no longer searched
            import_module(module)
        return module_of_file


@contextmanager
def searched_last(folder: Path) -> Iterator[None]:
    """Puts a folder at the end of Python's search path in a block.

    The block writes no compiled files: within a second after an edit Python would take them for up to date.
    """
    dont_write, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    is_new = str(folder) not in sys.path
    if is_new:
        sys.path.append(str(folder))
    invalidate_caches()
    try:
        yield
    finally:
        sys.dont_write_bytecode = dont_write
        if is_new:
            sys.path.remove(str(folder))


def forget(folder: Path) -> None:
    """Forgets all modules that were imported from a folder or its subfolders."""
    for module in [name for name, (path, _) in _imported.items() if path.is_relative_to(folder)]:
        sys.modules.pop(module, None)
        del _imported[module]
    for name in [name for name, (parent, _) in _ready.items() if parent.is_relative_to(folder)]:
        del _ready[name]
    fingerprint.cache_clear()
