"""Data sets as tensors: decoded once, checked, kept in the cache and mapped from there by every worker."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from unlearnbench import registry
from unlearnbench.fingerprint import fingerprint
from unlearnbench.plugin import Plugin
from unlearnbench.store import Store


@dataclass(frozen=True)
class Dataset:
    """Images and labels, split into training and test.

    Attributes:
        train_images: uint8 [N, C, H, W], 0 to 255.
        train_labels: int64 [N], 0 to `num_classes` - 1.
        test_images: uint8 [M, C, H, W].
        test_labels: int64 [M].
        num_classes: How many classes there are.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    num_classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def pool(self) -> Dataset:
        """Everything as training data, nothing held out: what an auditor draws shadow training sets from."""
        return Dataset(
            torch.cat([self.train_images, self.test_images]),
            torch.cat([self.train_labels, self.test_labels]),
            self.test_images[:0],
            self.test_labels[:0],
            self.num_classes,
        )

    def tensors(self) -> dict[str, Tensor]:
        """The four tensors by name."""
        return {
            "train_images": self.train_images,
            "train_labels": self.train_labels,
            "test_images": self.test_images,
            "test_labels": self.test_labels,
        }


class Source(Plugin):
    """Where a data set comes from: a function of the folder with its files (or None) that returns a `Dataset`."""

    kind = "dataset"

    def read(self, root: Path | None) -> Dataset:
        """Decodes the data set.

        Raises:
            UserError: If its files are missing or damaged.
        """
        found: Dataset = self.function(root)
        return found


def dataset(*, title: str, reference: str = "") -> Callable[[Callable[[Path | None], Dataset]], Source]:
    """Makes a function `(root) -> Dataset` a data set of the suite."""
    return lambda function: Source(function, title=title, reference=reference)


@lru_cache(maxsize=4)
def load(name: str, root: Path | None, store: Store) -> tuple[Dataset, str]:
    """Reads a data set, from the cache after the first time.

    Args:
        name: Its name on the command line.
        root: The folder with its files; None for the default place.
        store: Where the decoded tensors are kept.

    Returns:
        The data set and the SHA-256 of its content.

    Raises:
        UserError: If the name is unknown, or files are missing or damaged.
    """
    source = registry.get(Source, name)
    key = {"kind": "dataset", "name": name, "root": str(root), "code": fingerprint(source.__module__)}

    def decode() -> tuple[dict[str, Tensor], dict[str, object]]:
        decoded = source.read(root)
        return decoded.tensors(), {"num_classes": decoded.num_classes, "checksum": checksum(decoded)}

    tensors, info = store.get_or_make(key, decode)
    return Dataset(**tensors, num_classes=info["num_classes"]), info["checksum"]


def checksum(data: Dataset) -> str:
    """The SHA-256 of all pixels, labels, shapes and the number of classes, in hexadecimal."""
    digest = hashlib.sha256(str(data.num_classes).encode())
    for name, tensor in data.tensors().items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
