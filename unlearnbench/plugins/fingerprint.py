"""Hashes of code: of the sources of modules and of their imports, without comments, docstrings and blank lines."""

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
    """As `current_fingerprint`, computed once in a process."""
    return current_fingerprint(*modules, folder=folder)


def current_fingerprint(*modules: str, folder: Path | None = None) -> str:
    """The hash of these modules, as their files are now, and of everything they import from their own distribution.

    Imports of the suite's core are not followed: versions.py lists which core modules can change an artefact.

    Args:
        *modules: Dotted names of importable modules.
        folder: The folder of their files; None: Python's search path.

    Returns:
        32 hexadecimal digits, the same on every machine and for every version of Python.
    """
    by_module = sources(*modules, folder=folder)
    text = "\n".join(f"# {name}\n{code}" for name, (_, code) in sorted(by_module.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def sources(*modules: str, folder: Path | None = None) -> dict[str, tuple[Path, str]]:
    """The files and normalised sources that a fingerprint is computed from, by module."""
    by_module: dict[str, tuple[Path, str]] = {}
    queue = [(name, located(folder, name) if folder else source_of(name)) for name in modules]
    while queue:
        name, path = queue.pop()
        if name in by_module or path is None:
            continue
        source = source_text(path)
        by_module[name] = path, normalised(source)
        queue += [(other, followed(name, other, path)) for other in imported(source, name, path)]
    return by_module


def source_text(path: Path) -> str:
    """The text of a source file, in the encoding that Python reads it in: see PEP 263."""
    with tokenize.open(path) as file:
        return file.read()


def located(folder: Path, module: str) -> Path | None:
    """The source file of a module below a folder; None if it has none there."""
    stem = folder.joinpath(*module.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


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
    """The file of `imported`, if it counts as a part of `importer`, whose source is at `path`; else None.

    It does if both are in one package, or in one folder other than the folder of all installed packages.
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
    """The names of the functions that a module's source defines; none if the source cannot be read."""
    path = source_of(module)
    try:
        tree = ast.parse(source_text(path)) if path else ast.Module([], [])
    except (SyntaxError, UnicodeError):
        return set()
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@cache
def nodes(source: str) -> tuple[ast.AST, ...]:
    """All nodes of a source's syntax tree; cached, because every command needs them twice."""
    return tuple(ast.walk(ast.parse(source)))


@cache
def normalised(source: str) -> str:
    """A source without comments, docstrings, blank lines and trailing spaces."""
    lines, tree = source.splitlines(), nodes(source)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in tree:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            first, last = node.lineno - 1, node.end_lineno or node.lineno
            has_own_line = not lines[first][: node.col_offset].strip()  # not so in `def f(): "text"`
            if has_own_line:
                lines[first:last] = [""] * (last - first)
    return "\n".join(line.rstrip() for line in lines if line.strip())
