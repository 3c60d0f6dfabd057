"""Which core code can change what, and whether the code that made a record is still the present one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from unlearnbench import registry
from unlearnbench.errors import UserError
from unlearnbench.fingerprint import CORE, fingerprint, functions_of
from unlearnbench.local import ORIGIN

TRAINING = (
    "making",
    "setting",
    "training",
    "samples",
    "seeds",
    "settings",
    "models",
    "data",
    "data.augmentation",
    "task",
)
UNLEARNING = (*TRAINING, "problem", "method", "checkpoints")
CODE = {
    "original": TRAINING,
    "shadow": TRAINING,
    "prepared": UNLEARNING,
    "outputs": UNLEARNING,
    "relearning": (*UNLEARNING, "relearning"),
    "record": ("measuring", "protocols", "setting", "metrics", "stats", "attacks", "seeds", "data", "task"),
}
"""The core modules that can change each kind of artefact; plugins and what they import come on top."""
PLUGINS = ("method", "task", "model", "attack")
VALUES = ("options", "recipe", "on", "dataset", "with")
"""Parts of a key in which there is no code."""


def core(kind: str) -> str:
    """The core code that can change an artefact of this kind."""
    return fingerprint(*_modules(kind))


@cache
def _modules(kind: str) -> tuple[str, ...]:
    return tuple(f"{CORE}.{module}" for module in CODE[kind])


def outdated(key: Mapping[str, Any], files: Mapping[str, str] | None = None) -> list[str]:
    """Whose code has changed since a record was made, in words; nothing that is heavy is imported for that.

    Args:
        key: Of the record.
        files: Where the code of plugins was that are not installed. If it is no longer there, nobody can know.
    """
    found: dict[str, None] = {}
    parts = [("", key)]
    for name, part in parts:  # which become more on the way; for thousands of records this takes seconds
        code, kind = part.get("code"), part.get("kind")
        if code and kind in CODE and code != core(kind):
            found[f"the suite's own code ({kind})"] = None
        if code and name == "attack" and "core" in part and part["core"] != core("record"):
            found["the suite's own code (record)"] = None
        if code and name in PLUGINS and "name" in part and code != now(f"{name}s", part, files or {}):
            found[f"{name} {part['name']}"] = None
        for child, value in part.items():
            if not isinstance(value, dict):  # most are none: this comes first
                continue
            if child == "attacks":
                parts += [("attack", attack) for attack in value.values()]
            elif child not in VALUES:
                parts.append((child, value))
    return list(found)


def now(group: str, part: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """The fingerprint of the present code of a plugin in a key; of a file that is gone, that which was recorded."""
    if not part.get("from", "").startswith(f"{ORIGIN} "):
        return present(group, part["name"])
    path = Path(files.get(part["name"], ""))
    if not path.is_file():
        return str(part["code"])
    try:
        return fingerprint.__wrapped__(path.stem, folder=path.parent)  # as it is at this very moment
    except (SyntaxError, OSError, UnicodeError):
        return ""


@cache
def present(group: str, name: str) -> str:
    """The fingerprint of a plugin's present code; "" if it is no longer installed or cannot be imported."""
    entry = registry.entries(group).get(name)
    if entry is None:
        return ""
    module = entry.point.module
    if entry.origin == CORE or entry.point.attr in functions_of(module):  # mostly, and then nothing is imported
        return fingerprint(module)
    try:
        return fingerprint(entry.load().__module__)
    except UserError:
        return ""
