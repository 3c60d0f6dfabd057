"""Artefacts and records on disk: content-addressed, written whole or not at all, and never able to run code."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.storage.files import unwritable, write_atomically
from unlearnbench.storage.keys import Key, canonical, digest

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from torch import Tensor


Made = tuple[dict[str, "Tensor"], dict[str, Any]]
"""An artefact: tensors by name, and facts about its making as JSON values."""


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
        """Reads an artefact, its tensors mapped from the file; None if it is not there.

        One that is damaged, or of another key, is warned of, and is not there either.
        """
        return read_artefact(self.path(key), key)

    def save(self, key: Key, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> None:
        """Writes an artefact."""
        write_artefact(self.path(key), key, tensors, info)

    def remove(self, key: Key) -> None:
        """Forgets an artefact, if it is there."""
        self.path(key).unlink(missing_ok=True)

    def get_or_make(self, key: Key, make: Callable[[], Made]) -> Made:
        """Reads an artefact as `load`, or makes and keeps it; of several processes that want it, one makes it."""
        path = self.path(key)
        found = read_artefact(path, key)
        if found is not None:
            return found
        with lock(path):
            found = read_artefact(path, key)
            if found is None:
                self.set_aside(path)
                found = write_artefact(path, key, *make())
        return found

    def set_aside(self, path: Path) -> None:
        """Moves the file of an artefact away if it cannot be used; the caller holds its lock."""
        if path.exists():
            aside = self.root / "damaged" / f"{path.parent.name}-{path.name}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            path.replace(aside)


def lock(path: Path) -> BaseFileLock:
    """What one process at a time holds to make an artefact; the system lets go of it when the process dies.

    Raises:
        StorageError: If there can be none.
    """
    from filelock import FileLock

    beside = path.with_suffix(".lock")
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
    except OSError as error:
        raise unwritable(beside, error) from error
    return FileLock(beside)


def read_artefact(path: Path, key: Key) -> Made | None:
    """As `Store.load`, from this file."""
    if not path.exists():
        return None
    try:
        tensors, facts = opened(path)
        if canonical(facts["key"]) == canonical(key):
            return tensors, facts["info"]
        why = "it was made of something else than its name says"
    except DamagedError as error:
        why = str(error)
    warnings.warn(f"the artefact {path} is damaged and is not used: {why}", stacklevel=3)
    return None


def write_artefact(path: Path, key: Key, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> Made:
    """As `Store.save`, into this file; returns what `read_artefact` would find there, in memory of its own."""
    from safetensors.torch import load, save

    facts = canonical({"key": key, "info": info})
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"facts": facts, "sha256": checksum(facts, whole)}
    content = save(whole, metadata=metadata)
    write_atomically(path, content, lasting=False)  # a run makes what is not there, or not whole
    return load(content), json.loads(facts)["info"]


class DamagedError(Exception):
    """A file of the store that is not as it was written; the message says how."""


def opened(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of an artefact, mapped from its file, and its facts ("key" and "info").

    Raises:
        DamagedError: If anything in the file is not as it was written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        text = metadata["facts"]
        if metadata.get("sha256") != checksum(text, tensors):
            raise DamagedError("its checksum is wrong")
        facts: dict[str, Any] = json.loads(text)
        return tensors, facts
    except (SafetensorError, ValueError, KeyError, TypeError, OSError, RuntimeError) as error:
        raise DamagedError(f"it cannot be read ({type(error).__name__}: {error})") from error


def facts_of(path: Path) -> dict[str, Any]:
    """The facts of an artefact, without looking at its tensors.

    Raises:
        DamagedError: If the file cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts: dict[str, Any] = json.loads((file.metadata() or {})["facts"])
            return facts
    except (SafetensorError, ValueError, KeyError, TypeError, OSError, RuntimeError) as error:
        raise DamagedError(f"it cannot be read ({type(error).__name__}: {error})") from error


def checksum(facts: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of everything in an artefact: its facts, and name, type, shape and bytes of each tensor."""
    import torch

    sha = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
