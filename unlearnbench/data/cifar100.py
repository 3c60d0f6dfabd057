"""CIFAR-100 with its 20 superclasses, out of either of its official formats."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unlearnbench.data.torchvision_sets import fetcher
from unlearnbench.errors import UserError
from unlearnbench.plugins.dataset import Dataset, dataset
from unlearnbench.plugins.taxonomy import Taxonomy

REFERENCE = "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009"
PARENTS = (
    *(4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7),
    *(6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10),
    *(16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16),
    *(12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
)
"""The superclass of each class, which the files must have, too."""
PIXELS = 3 * 32 * 32
ARRAYS = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}
"""What pickled arrays are made of."""


class Part(NamedTuple):
    """The training or the test part: images (uint8 [n, 3, 32, 32]), and classes and superclasses (int64 [n])."""

    images: Tensor
    fine: Tensor
    coarse: Tensor


@dataset(
    title="CIFAR100",
    reference=REFERENCE,
    files={
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    },
    fetch=fetcher("CIFAR100"),
)
def cifar100(root: Path) -> Dataset:
    """50,000 + 10,000 photographs of 100 kinds of things in 20 superclasses, 32 x 32 colour (the Python version)."""
    train, test, names = (unpickled(root / "cifar-100-python" / name) for name in ("train", "test", "meta"))
    return assembled(decoded(train), decoded(test), names["fine_label_names"], names["coarse_label_names"])


@dataset(title="CIFAR100", reference=REFERENCE)
def cifar100_binary(root: Path) -> Dataset:
    """The same images as cifar100, in the order of the binary version; its checksums are not known."""
    folder = root / "cifar-100-binary"
    fine, coarse = (
        (folder / f"{level}_label_names.txt").read_text(encoding="utf-8").split() for level in ("fine", "coarse")
    )
    return assembled(records(folder / "train.bin"), records(folder / "test.bin"), fine, coarse)


class ArraysOnly(pickle.Unpickler):
    """Reads pickled values and arrays, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        """Finds what arrays are made of.

        Raises:
            UserError: If anything else is asked for.
        """
        if (module, name) not in ARRAYS:
            raise UserError(f"a file of CIFAR-100 asks for {module}.{name}, which is not part of an array")
        return super().find_class(module, name)


def unpickled(path: Path) -> dict[str, Any]:
    """The content of a pickled file of values and arrays."""
    with path.open("rb") as file:
        content: dict[str, Any] = ArraysOnly(file, encoding="latin1").load()
    return content


def decoded(content: dict[str, Any]) -> Part:
    """A part of the Python version."""
    fine, coarse = (torch.tensor(content[name], dtype=torch.int64) for name in ("fine_labels", "coarse_labels"))
    return Part(torch.tensor(content["data"], dtype=torch.uint8).reshape(-1, 3, 32, 32), fine, coarse)


def records(path: Path) -> Part:
    """A part of the binary version: records of a superclass, a class and the pixels.

    Raises:
        UserError: If the file is no sequence of such records.
    """
    content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    if len(content) % (PIXELS + 2):
        raise UserError(f"{path} is damaged: its size, {len(content)}, is no multiple of {PIXELS + 2}")
    table = content.reshape(-1, PIXELS + 2)
    return Part(table[:, 2:].reshape(-1, 3, 32, 32), table[:, 1].long(), table[:, 0].long())


def assembled(train: Part, test: Part, classes: Sequence[str], names: Sequence[str]) -> Dataset:
    """The data set of two parts.

    Args:
        train: The training part.
        test: The test part.
        classes: The names of the classes.
        names: The names of the superclasses.

    Raises:
        UserError: If the superclasses in the files are not the official ones.
    """
    for part in (train, test):
        wrong = (torch.tensor(PARENTS)[part.fine] != part.coarse).nonzero()[:, 0]
        if len(wrong):
            label = int(part.fine[wrong[0]])
            raise UserError(
                f"superclass {int(part.coarse[wrong[0]])} of class {label} is not the official one, {PARENTS[label]}: "
                "the files are not those of CIFAR-100"
            )
    superclasses = Taxonomy(PARENTS, tuple(names), tuple(classes))
    return Dataset(train.images, train.fine, test.images, test.fine, len(PARENTS), {"superclasses": superclasses})
