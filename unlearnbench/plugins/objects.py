"""Plugins that are objects of a notebook or a script: found where they are installed, or written to a file.

Workers and later commands import plugins by name, so the code of a plugin that only a notebook has, and of everything
that it uses, goes to a file of its own. From there it is used like any other plugin in a file.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from symtable import SymbolTable, symtable
from types import FunctionType, ModuleType
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.files import Local, ready
from unlearnbench.plugins.fingerprint import CORE
from unlearnbench.plugins.plugin import Plugin, survives_json
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.folders import expanded

FOLDER = "notebook"
"""The folder of these files in a results folder."""


def several(names: str | Plugin | Iterable[str | Plugin]) -> list[str | Plugin]:
    """Names and plugins of a sequence; a single one may stand alone."""
    return [names] if isinstance(names, str | Plugin) else list(names)


def name_of(plugin: object, results: str | Path | None = None) -> str:
    """The name of a plugin, which may be an object.

    Args:
        plugin: A name, which is returned as it is, or an object.
        results: The results folder in which the code of an object is kept; None: keep none.

    Raises:
        UserError: If it is no plugin, or its code cannot be found.
    """
    if isinstance(plugin, str):
        return plugin
    if not isinstance(plugin, Plugin):
        name = getattr(plugin, "__name__", repr(plugin))
        raise UserError(f"{name} is no plugin: decorate it, as with @method(title=..., access=...)")
    module, known = sys.modules.get(plugin.__module__), known_name(plugin)
    if known is not None:
        return known
    if plugin.__module__ != "__main__" and module is not None and getattr(module, "__file__", None):
        return in_module(plugin, module)
    function = plugin.function.__name__
    label = f"{stem_of_main()}_{function}.{function}"
    if results is None:
        return label
    path = expanded(results).resolve() / FOLDER / f"{label.rpartition('.')[0]}.py"
    source = source_of(plugin)
    if not path.exists() or path.read_text(encoding="utf-8") != source:
        write_atomically(path, source.encode())
    return Local(path, function)


def known_name(plugin: Plugin) -> str | None:
    """The name of a plugin that is installed, or was used as one in a file; None if there is none."""
    for entry in registry.entries(f"{plugin.kind}s").values():
        if entry.point.module == plugin.__module__ and entry.load() is plugin:
            return entry.name
    return next((name for name, entry in ready().items() if entry.load() is plugin), None)


def in_module(plugin: Plugin, module: ModuleType) -> Local:
    """The name of a plugin in the file of a module.

    Raises:
        UserError: If the module is in a package, or does not have the plugin.
    """
    names = [name for name, value in vars(module).items() if value is plugin]
    if "." in module.__name__ or not names:
        raise UserError(
            f"{module.__name__} is a module of a package: give its {plugin.kind}s an entry point (`unlearnbench new "
            f"{plugin.kind} NAME` writes one), or name FILE.py:FUNCTION"
        )
    return Local(Path(str(module.__file__)).resolve(), names[0])


def stem_of_main() -> str:
    """The name of the script that runs, as a word of Python; that of a notebook is "notebook"."""
    file = getattr(sys.modules["__main__"], "__file__", None)
    stem = Path(file).stem if file and "IPython" not in sys.modules else FOLDER
    return stem if stem.isidentifier() else FOLDER


def source_of(plugin: Plugin) -> str:
    """A module with a plugin and everything that it uses from where it was defined.

    Raises:
        UserError: If code cannot be found, or a value that it uses has no code, such as a tensor.
    """
    code = _Code(plugin.function.__name__)
    code.add_plugin(plugin)
    return code.module()


class _Code:
    """The code that is gathered for a module.

    Args:
        user: The name of the plugin, for messages.
    """

    def __init__(self, user: str) -> None:
        self.user = user
        self.imports: dict[str, None] = {}
        self.constants: dict[str, None] = {}
        self.definitions: dict[str, None] = {}
        self.seen: set[int] = set()

    def module(self) -> str:
        """The text of the module."""
        title = f'"""{self.user}, as it was defined in a notebook or a script; written by unlearnbench."""'
        parts = [title, "from __future__ import annotations", "\n".join(self.imports), "\n".join(self.constants)]
        return "\n\n".join(filter(None, parts)) + "\n\n\n" + "\n\n\n".join(self.definitions) + "\n"

    def add_plugin(self, plugin: Plugin) -> None:
        """Adds the functions of a plugin."""
        self.seen.add(id(plugin))
        self.add_definition(plugin.function)
        for decorator, function in plugin.registered.items():
            call = f"{plugin.function.__name__}.{decorator}"
            self.add(function.__name__, function)
            if f"@{call}\n" not in definition(function, self.user):
                self.definitions[f"{call}({function.__name__})"] = None

    def add_definition(self, thing: Callable[..., Any]) -> None:
        """Adds a function or a class, after what it uses."""
        self.seen.add(id(thing))
        text = definition(thing, self.user)
        scope = thing.__globals__ if isinstance(thing, FunctionType) else vars(sys.modules[thing.__module__])
        for name in global_names(text):
            if name in scope:
                self.add(name, scope[name])
        self.definitions[text] = None

    def add(self, name: str, value: Any) -> None:
        """Adds what a global name stands for, unless it is there already."""
        if isinstance(value, ModuleType):
            self.imports[f"import {value.__name__}" + ("" if value.__name__ == name else f" as {name}")] = None
        elif id(value) in self.seen:
            return
        elif isinstance(value, Plugin) and value.__module__ == "__main__":
            self.add_plugin(value)
        elif isinstance(value, FunctionType | type) and value.__module__ == "__main__":
            self.add_definition(value)
        elif home := home_of(name, value):
            self.imports[home] = None
        elif survives_json(value) and not isinstance(value, dict):
            self.constants[f"{name} = {value!r}"] = None
        else:
            raise UserError(
                f"{self.user} uses {name}, a {type(value).__name__} that only this session has: make it inside of the "
                "function, or put both into a file"
            )


def home_of(name: str, value: Any) -> str | None:
    """The line that imports a value from where it is defined; None if it is not found there."""
    places = [(CORE, name), (getattr(value, "__module__", None), getattr(value, "__name__", name))]
    for module, attribute in places:
        if module and module != "__main__" and getattr(import_module(module), attribute, None) is value:
            return f"from {module} import {attribute}" + ("" if attribute == name else f" as {name}")
    return None


def definition(thing: Callable[..., Any], user: str) -> str:
    """The source of a function or a class, with its decorators.

    Raises:
        UserError: If it cannot be found.
    """
    try:
        return textwrap.dedent(inspect.getsource(thing)).strip()
    except (OSError, TypeError):
        pass
    try:  # a class of a notebook is found through its methods
        method = next(value for value in vars(thing).values() if isinstance(value, FunctionType))
        lines, _ = inspect.findsource(method)
        nodes = ast.parse("".join(lines)).body
        node = next(node for node in nodes if isinstance(node, ast.ClassDef) and node.name == thing.__name__)
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return "".join(lines[first - 1 : node.end_lineno]).strip()
    except (OSError, StopIteration, SyntaxError) as error:
        what = f"the source of {thing.__name__}, which {user} uses,"
        raise UserError(f"{what} cannot be found: put it into a file") from error


def global_names(source: str) -> Iterator[str]:
    """The names that a definition takes from where it stands."""

    def walked(table: SymbolTable) -> Iterator[str]:
        for symbol in table.get_symbols():
            at_top = table.get_type() == "module" and not symbol.is_assigned()
            if symbol.is_referenced() and (at_top or symbol.is_global()):
                yield symbol.get_name()
        for child in table.get_children():
            yield from walked(child)

    yield from dict.fromkeys(walked(symtable(source, "<definition>", "exec")))
