"""Data sets as artefacts: decoded once, checked, kept in the cache and mapped from there by every worker."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset, Source, check_tensors
from unlearnbench.plugins.fingerprint import fingerprint
from unlearnbench.storage.store import Made, Store


@lru_cache(maxsize=4)
def load(name: str, root: Path, store: Store) -> tuple[Dataset, str]:
    """Reads a data set, mapped from the cache after the first time if its files are known.

    Args:
        name: Its name on the command line.
        root: The folder with its files.
        store: Where the decoded tensors are kept.

    Returns:
        The data set and the SHA-256 of its content.

    Raises:
        UserError: If the name is unknown, or files are missing or damaged.
    """
    source = registry.get(Source, name)
    if not source.kept:
        found = decoded(source, name, root)
        return found, checksum(found)
    key = {"kind": "dataset", "name": name, "files": source.files, "code": fingerprint(__name__, source.__module__)}

    def decode() -> Made:
        found = decoded(source, name, root)
        pool, train = found.pool, len(found.train_labels)
        facts = {"train": train, "num_classes": found.num_classes, "checksum": checksum(found)}
        return {"images": pool.train_images, "labels": pool.train_labels}, facts

    if not store.has(key):
        store.get_or_make(key, decode)
    tensors, info = store.get_or_make(key, decode)  # mapped from its file, so that processes share the memory
    return Dataset.of_pool(**tensors, train=info["train"], num_classes=info["num_classes"]), info["checksum"]


def decoded(source: Source, name: str, root: Path) -> Dataset:
    """What a source makes of its files; raises as `load`."""
    found = source.read(name, root)
    check_tensors(name, found)
    return found


def checksum(data: Dataset) -> str:
    """The SHA-256 of all pixels, labels, shapes and the number of classes, in hexadecimal."""
    digest = hashlib.sha256(str(data.num_classes).encode())
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        tensor = getattr(data, name)
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
