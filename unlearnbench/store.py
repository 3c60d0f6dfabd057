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

from unlearnbench.errors import StorageError, UserError

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from torch import Tensor

SCHEMA = 2
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
    if old == new or canonical(old) == canonical(new):  # the first is fast, but a tuple is no list
        return []
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        names = sorted({*old, *new})
        return [d for n in names for d in differences(old.get(n), new.get(n), f"{path}.{n}" if path else n)]
    if path.endswith("code"):
        versions = all(str(value).startswith("version ") for value in (old, new))
        return [f"{path}: {old} -> {new}" if versions else f"{path} changed"]
    return [f"{path}: {json.dumps(old)} -> {json.dumps(new)}"]


def write_atomically(path: Path, content: bytes, lasting: bool = True) -> None:
    """Writes a file so that a reader finds all of it or the old one, whenever this process is killed.

    Args:
        path: The file.
        content: All of it.
        lasting: Whether all of the new one must be there even if the machine stops right afterwards. To wait for the
            disk takes longer than all else here; what has a checksum and can be made again need not wait.

    Raises:
        StorageError: If it cannot be written.
    """
    try:
        replace_whole(path, content, lasting)
        if lasting:
            keep_name(path)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> StorageError:
    """What to say when a file cannot be written."""
    return StorageError(
        f"cannot write {path}: {error.strerror}. What is finished is kept: "
        "make room, or choose another folder, and run the same command again"
    )


def replace_whole(path: Path, content: bytes, lasting: bool) -> None:
    """A temporary file, fsync if it must last, rename; nothing is left behind if that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def keep_name(path: Path) -> None:
    """Has the disk keep the name of a new file, by fsync of its folder."""
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


def read_record(path: Path) -> dict[str, Any] | None:
    """Reads the record of a cell; None if there is none, or, with a warning, if it is not as it was written.

    Raises:
        UserError: If the record was written by a newer version, or the folder cannot be read.
    """
    try:
        return parsed(path)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        warnings.warn(f"the record {path} is damaged and is not used: {error}", stacklevel=2)
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check the folder's permissions") from error


def parsed(path: Path) -> dict[str, Any]:
    """The record in a file.

    Raises:
        DamagedError: If it is not as it was written.
        UserError: If it was written by a newer version.
    """
    content = path.read_bytes()
    try:
        record = json.loads(content)
    except ValueError as error:
        raise DamagedError("it is no JSON") from error
    signed = checksum_of(record)
    if signed and signed != sha_of(content.replace(str(signed).encode(), UNSIGNED.encode())):
        raise DamagedError("its checksum is wrong")
    if isinstance(record, dict) and type(record.get("schema")) is int and record["schema"] > SCHEMA:
        raise UserError(f"{path} was written by a newer unlearnbench: run pip install -U unlearnbench")
    parts = {"schema": int, "status": str, "key": dict, "cell": dict, "observed": dict}
    if not isinstance(record, dict) or not all(isinstance(record.get(name), kind) for name, kind in parts.items()):
        raise DamagedError("something is missing")
    if record["schema"] > 1 and not signed:
        raise DamagedError("it has no checksum")
    return record


def record_problem(path: Path) -> str:
    """What is wrong with the record in a file; "" if nothing is."""
    try:
        parsed(path)
    except (DamagedError, UserError, OSError) as error:
        return str(error)
    return ""


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Writes the record of a cell, with a checksum; a damaged one that lies there is set aside."""
    if path.exists() and record_problem(path):
        path.replace(path.with_suffix(".damaged"))
    whole = {**record, "observed": {**record["observed"], "sha256": UNSIGNED}}  # with what two runs may differ in
    content = (json.dumps(whole, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
    write_atomically(path, content.replace(UNSIGNED.encode(), sha_of(content).encode()))


UNSIGNED = "0" * 64
"""What stands for the checksum of a record while that is computed, of every byte of its file."""


def sha_of(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def checksum_of(record: object) -> object:
    """The checksum that a record has; None if it has none."""
    observed = record.get("observed") if isinstance(record, dict) else None
    return observed.get("sha256") if isinstance(observed, dict) else None
