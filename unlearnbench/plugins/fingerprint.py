"""A hash of what code does: a module's source without comments, docstrings and blank lines, and what it imports."""

from __future__ import annotations

import ast
import hashlib
import io
import tokenize
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path

CORE = "unlearnbench"
PLUGINS = tuple(f"{CORE}.{group}." for group in ("methods", "tasks", "data", "models", "attacks"))


@cache
def fingerprint(*modules: str, folder: Path | None = None) -> str:
    """The hash of these modules and of everything they import from their own distribution.

    The suite's core is not followed: which core modules can change an artefact is listed in versions.py.

    Args:
        *modules: Dotted names of importable modules.
        folder: Where they are, if Python does not know.

    Returns:
        32 hexadecimal digits, the same on every machine and for every version of Python.
    """
    found = sources(*modules, folder=folder)
    text = "\n".join(f"# {name}\n{code}" for name, (_, code) in sorted(found.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def sources(*modules: str, folder: Path | None = None) -> dict[str, tuple[Path, str]]:
    """The files and the normalised sources that a fingerprint is made of, by the names of their modules."""
    seen: dict[str, tuple[Path, str]] = {}
    waiting = [(name, located(folder, name) if folder else source_of(name)) for name in modules]
    while waiting:
        name, path = waiting.pop()
        if name in seen or path is None:
            continue
        source = path.read_text(encoding="utf-8")
        seen[name] = path, normalised(source)
        waiting += [(other, followed(name, other, path)) for other in imported(source, name, path)]
    return seen


def located(folder: Path, module: str) -> Path | None:
    """The source file of a module below a folder; None if it has none there."""
    place = folder.joinpath(*module.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


def source_of(module: str) -> Path | None:
    """The source file of a module; None if it has none or does not exist."""
    if module.split(".")[0] == CORE:  # `find_spec` would import the packages that a module is in
        return located(Path(__file__).parents[2], module)
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def followed(importer: str, imported: str, path: Path) -> Path | None:
    """Where `imported` is, if a change of it is a change of `importer`, whose source is at `path`.

    It is if both are of one package, or lie in one folder that is not the folder of everything that is installed.
    """
    if imported.split(".")[0] == importer.split(".")[0]:
        if imported.startswith(CORE):
            return source_of(imported) if imported.startswith(PLUGINS) else None
        root = path.parents[importer.count(".") + (path.name == "__init__.py")]
        return located(root, imported) or source_of(imported)
    if "." in importer or path.parent.name in ("site-packages", "dist-packages"):
        return None
    return located(path.parent, imported)


@cache
def imported(source: str, module: str, path: Path) -> set[str]:
    """The dotted names that a module's source imports; `from a import b` gives both a and a.b."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in nodes(source):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


@cache
def functions_of(module: str) -> set[str]:
    """The functions that a module's source defines, by name; none if it has no source that can be read."""
    path = source_of(module)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8")) if path else ast.Module([], [])
    except (SyntaxError, UnicodeError):
        return set()
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    """All nodes of a source's syntax tree; every command looks for some of them twice, and to find them takes long."""
    return tuple(ast.walk(ast.parse(source)))


@cache
def normalised(source: str) -> str:
    """Source text without comments, docstrings, blank lines and trailing spaces."""
    lines, tree = source.splitlines(), nodes(source)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in tree:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            first, last = node.lineno - 1, node.end_lineno or node.lineno
            alone = not lines[first][: node.col_offset].strip()  # not in `def f(): "text"`, where code stands before
            lines[first:last] = [""] * (last - first) if alone else lines[first:last]
    return "\n".join(line.rstrip() for line in lines if line.strip())
