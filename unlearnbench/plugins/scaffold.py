"""Writes the package of a new plugin, from the files in templates/, which work as they are."""

from __future__ import annotations

import re
from pathlib import Path

from unlearnbench.errors import UserError, unknown
from unlearnbench.plugins import registry
from unlearnbench.storage import folders

TEMPLATES = Path(__file__).with_name("templates")
KINDS = tuple(group[:-1] for group in registry.GROUPS)
SHARED = "package"
"""The folder of files that every kind gets; the others have the name of the kind."""
STEPS = "steps.txt"
"""What to do with a plugin of this kind: commands, and what each is for. It becomes a part of the README."""


def write(kind: str, name: str, into: str | Path = ".") -> tuple[Path, str]:
    """Writes a package, in a folder of its own.

    Args:
        kind: "method", "task", "dataset", "model" or "attack".
        name: What the plugin is called on the command line: lower-case words joined by hyphens.
        into: Where the folder goes.

    Returns:
        The folder, and what to do next.

    Raises:
        UserError: If the kind, the name or the folder is wrong; nothing has been written then.
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
    folder = Path(into) / name
    if folder.exists():
        raise UserError(f"{folder} is there already: choose another name, or another folder with --into")
    folders.check_writable(Path(into))
    folder.mkdir()
    for source in sorted(path for part in (SHARED, kind) for path in (TEMPLATES / part).iterdir() if path.is_file()):
        if source.name != STEPS:
            text = filled(source.read_text(encoding="utf-8"), kind, name).replace("STEPS", steps(kind, name, "."))
            (folder / filled(source.name, kind, name)).write_text(text, encoding="utf-8")
    return folder, steps(kind, name, str(folder))


def steps(kind: str, name: str, folder: str) -> str:
    """What to do with the plugin in a folder: indented lines of commands, and what each is for."""
    lines = filled((TEMPLATES / kind / STEPS).read_text(encoding="utf-8"), kind, name, folder).splitlines()
    pairs = [line.split("\t") for line in lines]
    width = max(len(command) for command, _ in pairs)
    return "\n".join(f"    {command:{width}}  # {purpose}" for command, purpose in pairs)


def filled(text: str, kind: str, name: str, folder: str = ".") -> str:
    """A text of a template, with the plugin's name in the place of "my-plugin", in all its spellings."""
    words = {
        "my-plugin": name,
        "my_plugin": name.replace("-", "_"),
        "My plugin": name.replace("-", " ").capitalize(),
        "KIND": kind,
        "FOLDER": folder,
    }
    return re.sub("|".join(words), lambda found: words[found[0]], text)


def importable(module: str) -> bool:
    """Whether a module of this name is there, or the name is a word of Python's."""
    from importlib.util import find_spec
    from keyword import iskeyword

    return iskeyword(module) or find_spec(module) is not None
