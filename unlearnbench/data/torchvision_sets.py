"""The paper's four data sets, in torchvision's file layout and read by torchvision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from unlearnbench.plugins.dataset import Dataset, dataset
from unlearnbench.plugins.taxonomy import Taxonomy
from unlearnbench.runtime.vision import torchvision

IDX_MD5 = {
    "MNIST": {
        "train-images": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels": "a25bea736e30d166cdddb491f175f624",
        "t10k-images": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels": "27ae3e4e09519cfbb04c329615203637",
    },
    "FashionMNIST": {
        "train-images": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}


KINDS = Taxonomy.of(
    {"upper body": [0, 2, 4, 6], "trouser": [1], "dress": [3], "footwear": [5, 7, 9], "bag": [8]},
    ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
"""Superclasses of Fashion-MNIST; ours."""
CIFAR10_PAIRS = Taxonomy.of(
    {"road": [1, 9], "sea and air": [0, 8], "pets": [3, 5], "hoofed": [4, 7], "small": [2, 6]},
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
"""Five pairs of classes of CIFAR-10. TARF's authors grouped them by hand; that these are their pairs is a guess."""


def idx_files(name: str) -> dict[str, str]:
    """The unpacked files of MNIST or Fashion-MNIST with their MD5."""
    dimensions = {"images": 3, "labels": 1}
    return {f"{name}/raw/{part}-idx{dimensions[part.split('-')[1]]}-ubyte": md5 for part, md5 in IDX_MD5[name].items()}


def parts(name: str, root: Path, download: bool = False) -> tuple[Any, Any]:
    """The training and the test part of a data set as torchvision returns them."""
    make = getattr(torchvision("datasets"), name)
    if name == "SVHN":
        return make(root, split="train", download=download), make(root, split="test", download=download)
    return make(root, train=True, download=download), make(root, train=False, download=download)


def fetcher(name: str) -> Callable[[Path], None]:
    """A function that downloads a data set into a folder, through torchvision."""

    def fetch(root: Path) -> None:
        parts(name, root, download=True)

    return fetch


@dataset(
    title="MNIST",
    reference="LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998",
    files=idx_files("MNIST"),
    fetch=fetcher("MNIST"),
)
def mnist(root: Path) -> Dataset:
    """60,000 + 10,000 handwritten digits, 28 x 28 grey."""
    return grey(*parts("MNIST", root))


@dataset(
    title="FASHION",
    reference="Xiao et al., Fashion-MNIST, 2017",
    files=idx_files("FashionMNIST"),
    fetch=fetcher("FashionMNIST"),
)
def fashion_mnist(root: Path) -> Dataset:
    """60,000 + 10,000 articles of clothing, 28 x 28 grey."""
    return replace(grey(*parts("FashionMNIST", root)), taxonomies={"kinds": KINDS})


def grey(train: Any, test: Any) -> Dataset:
    """A data set of grey images, with a channel dimension that torchvision omits."""
    return Dataset(train.data.unsqueeze(1), train.targets, test.data.unsqueeze(1), test.targets, num_classes=10)


@dataset(
    title="CIFAR10",
    reference="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    files={
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
    fetch=fetcher("CIFAR10"),
)
def cifar10(root: Path) -> Dataset:
    """50,000 + 10,000 photographs of ten kinds of things, 32 x 32 colour."""
    train, test = parts("CIFAR10", root)
    images, labels = partial(torch.tensor, dtype=torch.uint8), partial(torch.tensor, dtype=torch.int64)
    return Dataset(
        images(train.data.transpose(0, 3, 1, 2)),
        labels(train.targets),
        images(test.data.transpose(0, 3, 1, 2)),
        labels(test.targets),
        num_classes=10,
        taxonomies={"pairs": CIFAR10_PAIRS},
    )


@dataset(
    title="SVHN",
    reference="Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011",
    files={
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    },
    fetch=fetcher("SVHN"),
)
def svhn(root: Path) -> Dataset:
    """73,257 + 26,032 house numbers, 32 x 32 colour; the extra images are left out, as in the paper."""
    train, test = parts("SVHN", root)
    images, labels = partial(torch.tensor, dtype=torch.uint8), partial(torch.tensor, dtype=torch.int64)
    return Dataset(images(train.data), labels(train.labels), images(test.data), labels(test.labels), num_classes=10)
