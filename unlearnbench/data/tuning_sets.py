"""Data sets for choosing hyperparameters: training images only, a fifth of them held out in place of a test set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from unlearnbench.data.digits import digits_8x8
from unlearnbench.data.torchvision_sets import fetcher, idx_files
from unlearnbench.plugins.dataset import Dataset, dataset
from unlearnbench.plugins.task import choose
from unlearnbench.runtime import seeds
from unlearnbench.runtime.vision import torchvision

HELD_OUT = 0.2


@dataset(title="DIGITS-8x8, tuning", reference=digits_8x8.reference, files={})
def digits_8x8_tuning(root: Path) -> Dataset:
    """The training images of digits-8x8, a fifth of them held out."""
    whole: Dataset = digits_8x8.function(root)
    return replace(divided(whole.train_images, whole.train_labels), taxonomies=whole.taxonomies)


@dataset(
    title="MNIST, tuning",
    reference="LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998",
    files={name: md5 for name, md5 in idx_files("MNIST").items() if "train" in name},
    fetch=fetcher("MNIST"),
)
def mnist_tuning(root: Path) -> Dataset:
    """A fifth of the training images of mnist, of which a fifth is held out."""
    mnist, raw = torchvision("datasets.mnist"), root / "MNIST" / "raw"
    images = mnist.read_image_file(str(raw / "train-images-idx3-ubyte"))
    labels = mnist.read_label_file(str(raw / "train-labels-idx1-ubyte"))
    fifth = choose(labels, range(10), 0.2, seeds.generator("tuning", "share"))
    return divided(images[fifth].unsqueeze(1), labels[fifth])


def divided(images: Tensor, labels: Tensor) -> Dataset:
    """A data set whose test part is a stratified fifth of these images, always the same."""
    classes = int(labels.max()) + 1
    held = torch.zeros(len(labels), dtype=torch.bool)
    held[choose(labels, range(classes), HELD_OUT, seeds.generator("tuning", "held out"))] = True
    return Dataset(images[~held], labels[~held], images[held], labels[held], classes)
