"""Writes the package of a new plugin from the files in templates/."""

from __future__ import annotations

import re
from pathlib import Path

from unlearnbench.errors import UserError, unknown
from unlearnbench.plugins import registry
from unlearnbench.storage import folders

TEMPLATES = Path(__file__).with_name("templates")
KINDS = tuple(group[:-1] for group in registry.GROUPS)
SHARED = "package"
"""The folder of files for all kinds; the other folders have the name of a kind."""
STEPS = "steps.txt"
"""A kind's file of commands with their purposes, which become a part of the README."""


def write(kind: str, name: str, into: str | Path = ".") -> tuple[Path, str]:
    """Writes a package into a new folder.

    Args:
        kind: "method", "task", "dataset", "model" or "attack".
        name: The plugin's name on the command line: lower-case words joined by hyphens.
        into: The parent of the new folder.

    Returns:
        The folder, and the next steps as text.

    Raises:
        UserError: If the kind, the name or the folder is wrong; then nothing is written.
    """
    if kind not in KINDS:
        raise unknown("kind of plugin", kind, KINDS)
    if not re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UserError(f"a name is lower-case words joined by hyphens, such as my-{kind}, not {name!r}")
    module = name.replace("-", "_")
    if taken := registry.entries(f"{kind}s").get(name):
        raise UserError(f"{name} is a {kind} of {taken.origin}: choose another name")
    if importable(module):
        raise UserError(f"Python has a module {module}, which {name} would hide: choose another name")
    folder = folders.expanded(into) / name
    if folder.exists():
        raise UserError(f"{folder} exists already: choose another name, or another folder with --into")
    folders.check_writable(folder.parent)
    folder.mkdir()
    for source in sorted(path for part in (SHARED, kind) for path in (TEMPLATES / part).iterdir() if path.is_file()):
        if source.name != STEPS:
            text = filled(source.read_text(encoding="utf-8"), kind, name).replace("STEPS", steps(kind, name, "."))
            (folder / filled(source.name, kind, name)).write_text(text, encoding="utf-8")
    return folder, steps(kind, name, str(folder))


def steps(kind: str, name: str, folder: str) -> str:
    """The next steps with the plugin in a folder: indented lines of commands with their purposes."""
    lines = filled((TEMPLATES / kind / STEPS).read_text(encoding="utf-8"), kind, name, folder).splitlines()
    pairs = [line.split("\t") for line in lines]
    width = max(len(command) for command, _ in pairs)
    return "\n".join(f"    {command:{width}}  # {purpose}" for command, purpose in pairs)


def filled(text: str, kind: str, name: str, folder: str = ".") -> str:
    """A template's text with the plugin's name in place of "my-plugin", in all spellings."""
    words = {
        "my-plugin": name,
        "my_plugin": name.replace("-", "_"),
        "My plugin": name.replace("-", " ").capitalize(),
        "KIND": kind,
        "FOLDER": folder,
    }
    return re.sub("|".join(words), lambda match: words[match[0]], text)


def importable(module: str) -> bool:
    """True if a module of this name exists, or the name is a keyword of Python."""
    from importlib.util import find_spec
    from keyword import iskeyword

    return iskeyword(module) or find_spec(module) is not None
