"""Real digits whose classes are divided by the weight of their strokes, so that siblings look alike."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from unlearnbench.data.digits import NAMES, digits_8x8
from unlearnbench.plugins.dataset import Dataset, dataset
from unlearnbench.plugins.taxonomy import Taxonomy

STROKES = ("light", "heavy")
DIGITS = Taxonomy.of(
    {name: [2 * digit, 2 * digit + 1] for digit, name in enumerate(NAMES)},
    [f"{name}, {stroke}" for name in NAMES for stroke in STROKES],
)


@dataset(title="DIGITS strokes", reference=digits_8x8.reference, files={})
def digits_strokes(root: Path) -> Dataset:
    """The images of digits-8x8 in 20 classes: class 2d has the lighter half of the digits d, 2d + 1 the heavier half.

    The weight of a digit is the sum of its pixels. Of each digit, the half with the smaller weights is light; of equal
    weights, those that come first. The superclasses are the ten digits.
    """
    whole: Dataset = digits_8x8.function(root)
    train = len(whole.train_labels)
    labels = 2 * whole.pool.train_labels + heavy(whole.pool.train_images, whole.pool.train_labels)
    return Dataset(
        whole.train_images, labels[:train], whole.test_images, labels[train:], 2 * len(NAMES), {"digits": DIGITS}
    )


def heavy(images: Tensor, labels: Tensor) -> Tensor:
    """1 for the heavier half of the images (uint8 [n, C, H, W]) of each label (int64 [n]), 0 for the others."""
    ink, result = images.long().flatten(1).sum(1), torch.zeros_like(labels)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        order = ink[members].argsort(stable=True)
        result[members[order[len(members) // 2 :]]] = 1
    return result
