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
def fingerprint(*modules: str) -> str:
    """The hash of these modules and of everything they import from their own distribution.

    The suite's core is not followed: which core modules can change an artefact is listed in artefacts.py.

    Args:
        *modules: Dotted names of importable modules.

    Returns:
        32 hexadecimal digits, the same on every machine and for every version of Python.
    """
    seen: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = source_of(name)
        if name in seen or path is None:
            continue
        source = path.read_text(encoding="utf-8")
        seen[name] = normalised(source)
        waiting += [other for other in imported(source, name, path) if followed(name, other, path)]
    text = "\n".join(f"# {name}\n{code}" for name, code in sorted(seen.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def source_of(module: str) -> Path | None:
    """The source file of a module; None if it has none or does not exist."""
    if module.split(".")[0] == CORE:  # `find_spec` would import the packages that a module is in
        place = Path(__file__).parent.joinpath(*module.split(".")[1:])
        return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.exists()), None)
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def followed(importer: str, imported: str, path: Path) -> bool:
    """Whether a change of `imported` is a change of `importer`, whose source is at `path`.

    It is if both are of one package, or lie in one folder that is not the folder of everything that is installed.
    """
    if imported.split(".")[0] == importer.split(".")[0]:
        return not imported.startswith(CORE) or imported.startswith(PLUGINS)
    if "." in importer or path.parent.name in ("site-packages", "dist-packages"):
        return False
    other = source_of(imported)
    return other is not None and path.parent in (other.parent, other.parent.parent)


@cache
def imported(source: str, module: str, path: Path) -> set[str]:
    """The dotted names that a module's source imports; `from a import b` gives both a and a.b."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


@cache
def normalised(source: str) -> str:
    """Source text without comments, docstrings, blank lines and trailing spaces."""
    lines = source.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            first, last = node.lineno - 1, node.end_lineno or node.lineno
            alone = not lines[first][: node.col_offset].strip()  # not in `def f(): "text"`, where code stands before
            lines[first:last] = [""] * (last - first) if alone else lines[first:last]
    return "\n".join(line.rstrip() for line in lines if line.strip())
