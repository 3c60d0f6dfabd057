"""Tuning splits: training images only, some of them held out in place of the test set.

Hyperparameters are chosen on them, so that no choice has seen a test image. Any data set has them, under names of
their own, such as "mnist, tuning split 0".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

import torch

from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.task import choose
from unlearnbench.runtime import seeds

HELD_OUT = 1 / 6
"""The share of each class that is held out: of MNIST's 60,000 images as many as its test set has."""
NAME = re.compile(r"(?P<dataset>.+), tuning split (?P<number>\d+)")


@dataclass(frozen=True)
class TuningSplit:
    """A division of a data set's training images.

    Attributes:
        dataset: Name of the data set.
        number: Which division, from 0.
    """

    dataset: str
    number: int

    def __str__(self) -> str:
        return f"{self.dataset}, tuning split {self.number}"

    @classmethod
    def parsed(cls, name: str) -> Self | None:
        """The tuning split of this name; None if it is the name of a data set."""
        match = NAME.fullmatch(name)
        return cls(match["dataset"], int(match["number"])) if match else None

    def of(self, whole: Dataset) -> Dataset:
        """The training images of a data set, divided into training and test part."""
        images, labels = whole.train_images, whole.train_labels
        held_out = torch.zeros(len(labels), dtype=torch.bool)
        generator = seeds.generator(self.dataset, "tuning split", self.number)
        held_out[choose(labels, range(whole.num_classes), HELD_OUT, generator)] = True
        kept, rest = (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])
        return Dataset(*kept, *rest, whole.num_classes, whole.taxonomies)


def plugin_of(name: str) -> str:
    """The name of the data set plugin that a data set's name stands for."""
    split = TuningSplit.parsed(name)
    return split.dataset if split else name
