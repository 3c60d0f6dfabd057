"""Artefacts and records on disk: content-addressed, written whole or not at all, and never able to run code."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

SCHEMA = 1
"""Version of the records. A newer one is refused, so a change of meaning must raise it."""

Key = Mapping[str, Any]
"""Everything that went into an artefact, as JSON values."""
Made = tuple[dict[str, "Tensor"], dict[str, Any]]
"""An artefact: tensors by name, and facts about its making as JSON values."""


def canonical(value: object) -> str:
    """JSON text that is the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(key: Key) -> str:
    """The name of an artefact: the first 32 hexadecimal digits of the SHA-256 of its key."""
    return hashlib.sha256(canonical(key).encode()).hexdigest()[:32]


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """The places in which two keys differ, in words, e.g. `["recipe.epochs: 16 -> 20"]`."""
    if canonical(old) == canonical(new):
        return []
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = sorted({*old, *new})
        return [d for n in names for d in differences(old.get(n), new.get(n), f"{path}.{n}" if path else n)]
    if path.endswith("code"):
        return [f"{path} changed"]
    return [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that a reader finds all of it or the old one, even if the machine stops half-way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if os.name == "nt":  # where a folder cannot be opened
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@dataclass(frozen=True)
class Store:
    """A folder of artefacts.

    Args:
        root: The folder; made when something is first written.
    """

    root: Path

    def path(self, key: Key) -> Path:
        """Where the artefact of this key lies or would lie."""
        return self.root / str(key["kind"]) / f"{digest(key)}.safetensors"

    def has(self, key: Key) -> bool:
        """Whether the artefact is there."""
        return self.path(key).exists()

    def load(self, key: Key) -> Made | None:
        """Reads an artefact, its tensors mapped from the file; None if it is not there, damaged, or of another key."""
        from safetensors import SafetensorError, safe_open

        if not self.has(key):
            return None
        try:
            with safe_open(self.path(key), framework="pt") as file:
                facts = json.loads(file.metadata()["facts"])
                if facts["key"] != json.loads(canonical(key)):
                    return None
                return {name: file.get_tensor(name) for name in file.keys()}, facts["info"]  # noqa: SIM118
        except (SafetensorError, ValueError, KeyError, TypeError):
            return None

    def save(self, key: Key, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
        """Writes an artefact."""
        from safetensors.torch import save

        facts = canonical({"key": key, "info": info})
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        write_atomically(self.path(key), save(whole, metadata={"facts": facts}))

    def remove(self, key: Key) -> None:
        """Forgets an artefact, if it is there."""
        self.path(key).unlink(missing_ok=True)

    def get_or_make(self, key: Key, make: Callable[[], Made]) -> Made:
        """Reads an artefact, or makes and keeps it. Of several processes that want it at once, one makes it."""
        found = self.load(key)
        if found is not None:
            return found
        from filelock import FileLock

        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            found = self.load(key)
            if found is None:
                tensors, info = make()
                self.save(key, tensors, info)
                found = self.load(key)
        assert found is not None
        return found


def read_record(path: Path) -> dict[str, Any] | None:
    """Reads the record of a cell; None if there is none, or, with a warning, if it cannot be understood.

    Raises:
        UserError: If the record was written by a newer version, or the folder cannot be read.
    """
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        record = None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the folder's permissions") from error
    if not isinstance(record, dict) or type(record.get("schema")) is not int:
        record = {"schema": 0}
    if record["schema"] > SCHEMA:
        raise UserError(f"{path} was written by a newer unlearnbench: run pip install -U unlearnbench")
    parts = {"status": str, "key": dict, "cell": dict, "observed": dict}
    if all(isinstance(record.get(name), kind) for name, kind in parts.items()):
        return record
    warnings.warn(f"the record {path} is damaged and is not used", stacklevel=2)
    return None


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes the record of a cell."""
    write_atomically(path, (json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n").encode())
