"""Keys: everything that an artefact or a record depends on, as JSON values, and its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

Key = Mapping[str, Any]
"""Everything that an artefact depends on, as JSON values."""


def canonical(value: object) -> str:
    """JSON text that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(key: Key) -> str:
    """The name of an artefact: the first 32 hexadecimal digits of the SHA-256 of its key."""
    return hashlib.sha256(canonical(key).encode()).hexdigest()[:32]


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """The differences between two keys as text, e.g. `["recipe.epochs: 16 -> 20"]`."""
    if old == new or canonical(old) == canonical(new):  # == is fast, but distinguishes tuples from lists
        return []
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = sorted({*old, *new})
        paths = {name: f"{path}.{name}" if path else name for name in names}
        return [text for name in names for text in differences(old.get(name), new.get(name), paths[name])]
    if path.endswith("code"):
        versions = all(str(value).startswith("version ") for value in (old, new))
        return [f"{path}: {old} -> {new}" if versions else f"{path} changed"]
    return [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]


def sha_of(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
