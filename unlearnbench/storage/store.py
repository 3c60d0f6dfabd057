"""Artefacts on disk: content-addressed, written whole or not at all, in a format that cannot run code."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.storage import folders
from unlearnbench.storage.files import write_atomically, write_error
from unlearnbench.storage.keys import Key, canonical, digest
from unlearnbench.storage.upstream import Upstream

if TYPE_CHECKING:
    from torch import Tensor


Content = tuple[dict[str, "Tensor"], dict[str, Any]]
"""The content of an artefact: tensors by name, and info about its making as JSON values."""


@dataclass(frozen=True)
class Store:
    """A folder of artefacts.

    Args:
        root: The folder; created with the first artefact.
        upstream: Where artefacts are shared with other machines; None: nowhere.
    """

    root: Path
    upstream: Upstream | None = None

    @classmethod
    def of(cls, given: str | Path | None = None) -> Store:
        """The cache that a person names: a folder, or a URL, which is then upstream of a folder of this machine."""
        url = folders.url(given)
        return cls(folders.cache(given), Upstream(url) if url else None)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """On another machine, a store with an upstream has a folder of that machine."""
        return (Store.of, (self.upstream.url,)) if self.upstream else (Store, (self.root,))

    def listed(self) -> Store:
        """The same store for a planner, who asks for very many artefacts.

        Raises:
            UserError: If the upstream cannot be read and written.
        """
        return replace(self, upstream=self.upstream.listed()) if self.upstream else self

    def path(self, key: Key) -> Path:
        """The path for the artefact of this key, whether it exists or not."""
        return self.root / name_of(key)

    def has(self, key: Key) -> bool:
        """True if the artefact exists, here or upstream."""
        return self.path(key).exists() or (self.upstream is not None and self.upstream.has(name_of(key)))

    def load(self, key: Key) -> Content | None:
        """Reads an artefact, its tensors mapped from the file; None if there is none.

        Warns and returns None if it is damaged or has another key.
        """
        artefact = read_artefact(self.path(key), key)
        return self._fetched(key) if artefact is None and self.upstream else artefact

    def save(self, key: Key, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> Content:
        """Writes an artefact, here and upstream; returns it as `load` would."""
        artefact = write_artefact(self.path(key), key, tensors, info)
        if self.upstream:
            self.upstream.push(self.path(key), name_of(key))
        return artefact

    def remove(self, key: Key) -> None:
        """Deletes an artefact, here and upstream, if it exists."""
        self.path(key).unlink(missing_ok=True)
        if self.upstream:
            self.upstream.remove(name_of(key))

    def get_or_make(self, key: Key, make: Callable[[], Content]) -> Content:
        """Reads an artefact as `load` does, or makes and saves it; a lock lets only one process make it."""
        path = self.path(key)
        artefact = read_artefact(path, key)
        if artefact is not None:
            return artefact
        with lock(path):
            artefact = self.load(key)
            if artefact is None:
                self.set_aside(path)
                artefact = self.save(key, *make())
        return artefact

    def _fetched(self, key: Key) -> Content | None:
        """Downloads an artefact, and keeps and reads it if it is sound."""
        assert self.upstream is not None
        path = self.path(key)
        downloaded = self.upstream.fetch(name_of(key), path.parent)
        if downloaded is None:
            return None
        try:
            if why := problem_of(downloaded, key):
                warnings.warn(f"the artefact {self.upstream.url}/{name_of(key)} is not used: {why}", stacklevel=4)
                return None
            downloaded.replace(path)
        finally:
            downloaded.unlink(missing_ok=True)
        return read_artefact(path, key)

    def set_aside(self, path: Path) -> None:
        """Moves an unusable artefact to the folder of damaged files; the caller must hold its lock."""
        if path.exists():
            aside = self.root / "damaged" / f"{path.parent.name}-{path.name}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            path.replace(aside)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Holds the lock for making an artefact; the system releases it when the process dies.

    Some network file systems have no locks. Then two processes may make the same, which costs time and changes no bit.

    Raises:
        StorageError: If its file cannot be written.
    """
    from filelock import FileLock

    lock_path = path.with_suffix(".lock")
    try:
        lock_path.parent.mkdir(parents=True, exist_ok=True)
        lock_path.touch()
    except OSError as error:
        raise write_error(lock_path, error) from error
    held = FileLock(lock_path)
    try:
        held.acquire()
    except (NotImplementedError, OSError) as error:
        warnings.warn(f"{path.parent} is on a disk without locks, so work may be done twice: {error}", stacklevel=3)
    try:
        yield
    finally:
        held.release()


def name_of(key: Key) -> str:
    """The path of an artefact in any cache."""
    return f"{key['kind']}/{digest(key)}.safetensors"


def read_artefact(path: Path, key: Key) -> Content | None:
    """Reads an artefact from this file, as `Store.load`."""
    if not path.exists():
        return None
    try:
        return opened(path, key)
    except DamagedError as error:
        warnings.warn(f"the artefact {path} is damaged and is not used: {error}", stacklevel=3)
        return None


def opened(path: Path, key: Key) -> Content:
    """Reads an artefact from a file.

    Raises:
        DamagedError: If the file is damaged in any way, or has another key.
    """
    tensors, facts = read_checked(path)
    if canonical(facts["key"]) != canonical(key):
        raise DamagedError("its key is another one than its name says")
    return tensors, facts["info"]


def problem_of(path: Path, key: Key) -> str:
    """Why a file is not the artefact of this key; "" if it is."""
    try:
        opened(path, key)
    except DamagedError as error:
        return str(error)
    return ""


def write_artefact(path: Path, key: Key, tensors: Mapping[str, Tensor], info: Mapping[str, Any]) -> Content:
    """Writes an artefact to this file; returns a copy of it in memory, equal to what `read_artefact` would return."""
    from safetensors.torch import load, save

    facts = canonical({"key": key, "info": info})
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"facts": facts, "sha256": checksum(facts, contiguous)}
    content = save(contiguous, metadata=metadata)
    write_atomically(path, content, durable=False)  # a missing or damaged artefact is made again
    return load(content), json.loads(facts)["info"]


class DamagedError(Exception):
    """A file was changed or truncated after it was written; the message says how."""


def read_checked(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads an artefact and checks its checksum: its tensors, mapped from the file, and its facts ("key" and "info").

    Raises:
        DamagedError: If the file is damaged in any way.
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


def read_facts(path: Path) -> dict[str, Any]:
    """Reads the facts of an artefact ("key" and "info"), without its tensors.

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
    """SHA-256 of an artefact's facts, and of the name, dtype, shape and bytes of each tensor."""
    import torch

    sha = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
