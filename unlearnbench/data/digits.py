"""Real digits without a download: the optical recognition set that is part of scikit-learn."""

from __future__ import annotations

from pathlib import Path

import torch

from unlearnbench.plugins.dataset import Dataset, dataset
from unlearnbench.plugins.taxonomy import Taxonomy

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PAIRS = Taxonomy.of(
    {"0 and 9": [0, 9], "1 and 8": [1, 8], "2 and 3": [2, 3], "4 and 6": [4, 6], "5 and 7": [5, 7]}, NAMES
)
"""Superclasses of two digits whose mean images are near each other; ours."""

SHARE = 1 / 3
"""The share of the images that networks are trained on; see the page on the demo for why it is so small."""


@dataset(
    title="DIGITS-8x8", reference="Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI 1998", files={}
)
def digits_8x8(root: Path) -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels, a third for training; the split is stratified and always the same."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    labels = torch.tensor(digits.target, dtype=torch.int64)
    images = torch.tensor(digits.images / 16 * 255).round().to(torch.uint8).unsqueeze(1)
    train, test = train_test_split(range(len(labels)), train_size=SHARE, stratify=digits.target, random_state=0)
    return Dataset(images[train], labels[train], images[test], labels[test], 10, {"pairs": PAIRS})
