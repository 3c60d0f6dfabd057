"""A data set."""

from pathlib import Path

import torch

from unlearnbench import Dataset, dataset


@dataset(title="HALVES", reference="Nobody, Halving, Nowhere 2000")
def halves(root: Path) -> Dataset:
    """The brighter half of an image of noise is its class."""
    labels = torch.arange(320) // 2 % 2
    images = torch.randint(0, 128, (320, 1, 28, 28), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[labels == 0, :, :14] += 64
    images[labels == 1, :, 14:] += 64
    return Dataset(images[:240], labels[:240], images[240:], labels[240:], num_classes=2)
