"""What stands for code in keys: the version of each artefact kind and each built-in plugin.

A version says what numbers code gives, and its source is only how. versions.toml has, beside each version, the
fingerprint of the source that it was last confirmed for; `unlearnbench confirm` writes it, after it has seen that the
golden plan still gives the same bits. Code whose source is not the confirmed one (somebody is working on it), and the
code of third parties, stands in keys with its fingerprint.
"""

from __future__ import annotations

import tomllib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.files import ORIGIN
from unlearnbench.plugins.fingerprint import CORE, current_fingerprint, fingerprint, functions_of

DATA = (
    "artefacts.datasets",
    "artefacts.scenario",
    "artefacts.splits",
    "artefacts.tuning_split",
    "plugins.dataset",
    "plugins.task",
    "plugins.taxonomy",
    "runtime.seeds",
)
TRAINING = (
    *DATA,
    "artefacts.context",
    "artefacts.loaded",
    "artefacts.sizes",
    "artefacts.training",
    "artefacts.weights",
    "plugins.model",
    "plugins.trainer",
    "runtime.arithmetic",
    "runtime.elementwise",
    "runtime.global_state",
    "runtime.threads",
    "training.augmentation",
    "training.loop",
    "training.samples",
    "training.steps",
)
METHOD = (*TRAINING, "artefacts.prepared", "plugins.access", "plugins.checkpoints", "plugins.method", "plugins.problem")
CODE = {
    "original": (*TRAINING, "artefacts.original"),
    "shadow": (*TRAINING, "artefacts.shadow"),
    "prepared": METHOD,
    "outputs": (*METHOD, "artefacts.unlearned"),
    "relearning": (*METHOD, "artefacts.unlearned", "artefacts.relearning", "artefacts.relearning_rule"),
    "features": (
        *METHOD,
        "artefacts.unlearned",
        "artefacts.features",
        "artefacts.features_rule",
        "evaluation.representation",
    ),
    "record": (
        *DATA,
        "artefacts.given",
        "evaluation.membership",
        "evaluation.metrics",
        "evaluation.record",
        "operations.measure",
        "planning.protocols",
        "plugins.attack",
        "plugins.method",
        "runtime.arithmetic",
        "runtime.global_state",
        "runtime.threads",
        "statistics",
        "training.recipe",
    ),
}
"""The core modules that can change each kind of artefact; plugins and what they import come on top."""
FILE = Path(__file__).with_name("versions.toml")
KINDS = "kinds"
"""The group of the versions of artefact kinds; those of plugins have the names of registry.GROUPS."""
PLUGINS = ("method", "task", "model", "attack")
TRAIN = "train"
"""The part of a key that stands for the user's training function."""
VALUES = ("options", "recipe", "on", "dataset", "with")
"""Parts of a key in which there is no code."""


@dataclass(frozen=True)
class Version:
    """A version, and the source that it was confirmed for.

    Attributes:
        number: From 1 on; raised when numbers change.
        source: The fingerprint.
    """

    number: int
    source: str

    def __str__(self) -> str:
        return f"version {self.number}"


@cache
def confirmed() -> Mapping[tuple[str, str], Version]:
    """The versions of versions.toml by group and name."""
    groups = tomllib.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    return {
        (group, name): Version(entry["version"], entry["source"])
        for group, entries in groups.items()
        for name, entry in entries.items()
    }


def in_key(group: str, name: str, source: str) -> str:
    """What stands in keys for built-in code with this fingerprint: its version if confirmed, else the fingerprint."""
    version = confirmed().get((group, name))
    return str(version) if version and version.source == source else source


def core(kind: str) -> str:
    """What stands in keys for the core code that can change an artefact of this kind."""
    return in_key(KINDS, kind, source_of_kind(kind))


def check_code(key: Mapping[str, Any]) -> None:
    """Checks that the suite's own code is still that which a key was made of; a worker may have started after an edit.

    Raises:
        RuntimeError: If it was edited since.
    """
    kind = key["kind"] if key["kind"] in CODE else "outputs"  # the code of outputs makes networks, too
    if key.get("code") not in (None, core(kind)):
        raise RuntimeError(f"the suite's own code ({kind}) was edited since this command began: run it again")


def source_of_kind(kind: str) -> str:
    """The fingerprint of the core code that can change an artefact of this kind."""
    return fingerprint(*_modules(kind))


@cache
def _modules(kind: str) -> tuple[str, ...]:
    return tuple(f"{CORE}.{module}" for module in CODE[kind])


def of_plugin(group: str, name: str, source: str) -> str:
    """What stands in keys for the code of a plugin with this fingerprint; only the suite's own have versions."""
    return in_key(group, name, source) if registry.entry(group, name).origin == CORE else source


def sources() -> dict[tuple[str, str], str]:
    """The present fingerprints of everything that has a version, by group and name."""
    plugins = {
        (group, name): fingerprint(entry.point.module)
        for group in (f"{kind}s" for kind in PLUGINS)
        for name, entry in registry.entries(group).items()
        if entry.origin == CORE
    }
    return {**{(KINDS, kind): source_of_kind(kind) for kind in CODE}, **plugins}


def unconfirmed() -> list[str]:
    """What has no version for its present source, as GROUP.NAME."""
    known = confirmed()
    return [
        f"{group}.{name}"
        for (group, name), source in sources().items()
        if (group, name) not in known or known[group, name].source != source
    ]


def write(versions: Mapping[tuple[str, str], Version]) -> None:
    """Writes versions.toml."""
    lines = ["# Written by `unlearnbench confirm`; see docs/development/versions.md. Never edited by hand."]
    for group in dict.fromkeys(group for group, _ in versions):
        lines += ["", f"[{group}]"]
        for (of, name), version in versions.items():
            if of == group:
                lines += [f'{name} = {{ version = {version.number}, source = "{version.source}" }}']
    FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    confirmed.cache_clear()


def outdated(key: Mapping[str, Any], files: Mapping[str, str] | None = None) -> list[str]:
    """The code that has changed since a record was made, in words. It imports nothing that is heavy.

    Args:
        key: The key of the record.
        files: The files of its plugins that are not installed, by name. The code of a file that is gone counts as
            unchanged.
    """
    changed: dict[str, None] = {}
    for name, part in parts_of(key):
        code, kind = part.get("code"), part.get("kind")
        if code and kind in CODE and code != core(kind):
            changed[f"the suite's own code ({kind})"] = None
        if code and name == "attack" and "core" in part and part["core"] != core("record"):
            changed["the suite's own code (record)"] = None
        if code and name in (*PLUGINS, TRAIN) and "name" in part and code != now(f"{name}s", part, files or {}):
            changed[f"{name} {part['name']}"] = None
    return list(changed)


def parts_of(key: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The parts of a key that may have code, with their names, breadth first; for many records this takes seconds."""
    waiting: deque[tuple[str, Mapping[str, Any]]] = deque([("", key)])
    while waiting:
        name, part = waiting.popleft()
        yield name, part
        for child, value in part.items():
            if not isinstance(value, dict):  # most are none, so this comes first
                continue
            if child == "attacks":
                waiting.extend(("attack", attack) for attack in value.values())
            elif child not in VALUES:
                waiting.append((child, value))


def now(group: str, part: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """What stands in keys for the present code of a plugin; for a file that is gone, what was recorded."""
    if not part.get("from", "").startswith(f"{ORIGIN} "):
        return present(group, part["name"])
    path = Path(files.get(part["name"], ""))
    if not path.is_file():
        return str(part["code"])
    try:
        return current_fingerprint(path.stem, folder=path.parent)
    except (SyntaxError, OSError, UnicodeError):
        return ""


@cache
def present(group: str, name: str) -> str:
    """What stands in keys for a plugin's present code; "" if it is no longer installed or cannot be imported."""
    entry = registry.entries(group).get(name)
    if entry is None:
        return ""
    module = entry.point.module
    if entry.origin == CORE or entry.point.attr in functions_of(module):  # mostly, and then nothing is imported
        return of_plugin(group, name, fingerprint(module))
    try:
        return fingerprint(entry.load().__module__)
    except UserError:
        return ""
