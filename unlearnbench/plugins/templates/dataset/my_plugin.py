"""A data set: a function that reads images and labels from a folder."""

from __future__ import annotations

from pathlib import Path

import torch

from unlearnbench import Dataset, dataset

contract = 2  # the version of unlearnbench's contract that this was written for
TRAIN, TEST, CLASSES, SIZE = 600, 200, 4, 28


# This one reads no files. If yours does, name them, relative to the folder of data sets. Then they are decoded only
# once, and damage is noticed: files={"my-plugin/images.npy": "the MD5 in 32 hexadecimal digits"}
@dataset(title="My plugin", reference="Where the images come from", files={})
def my_plugin(root: Path) -> Dataset:
    """Bright bars on noise; the position of the bar is the class.

    Images are uint8 [n, channels, height, width] from 0 to 255, labels int64 from 0.
    """
    generator = torch.Generator().manual_seed(0)  # reading it again must give the same data
    labels = torch.arange(TRAIN + TEST) % CLASSES
    images = torch.randint(0, 128, (TRAIN + TEST, 1, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    for label in range(CLASSES):
        row = label * SIZE // CLASSES
        images[labels == label, :, row : row + 3] += 96
    return Dataset(images[:TRAIN], labels[:TRAIN], images[TRAIN:], labels[TRAIN:], num_classes=CLASSES)
