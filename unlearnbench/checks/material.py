"""Small real data for the checks: some of the bundled digits, and networks that learn them in a moment."""

from __future__ import annotations

import copy
from functools import cache

import torch

from unlearnbench.data.digits import PAIRS
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.model import Builder, Model, Network
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import TrainingSet

TRAIN, TEST = 160, 80
CLASSES = 10
SHAPE = (1, 8, 8)
RECIPE = Recipe(lr=2e-3, epochs=1)
CPU = torch.device("cpu")


@cache
def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images / 16 * 255).round().to(torch.uint8).unsqueeze(1)
    labels = torch.tensor(digits.target, dtype=torch.int64)
    test = slice(TRAIN, TRAIN + TEST)
    return Dataset(images[:TRAIN], labels[:TRAIN], images[test], labels[test], CLASSES, {"pairs": PAIRS})


def digits() -> Dataset:
    """A copy of 160 + 80 handwritten digits of 8 x 8 pixels."""
    return copy.deepcopy(_digits())


def builder() -> Builder:
    """Builds the paper's CNN for these digits."""
    return Builder(registry.get(Model, "cnn"), {}, SHAPE, CLASSES, CPU)


@cache
def _trained(seed: int) -> Network:
    network, content = builder().fresh("check", seed), _digits()
    training_set = TrainingSet(content.train_images, content.train_labels)
    samples = training_set.everything(seeds.generator("check", seed, "order"))
    assert samples is not None
    loop.fit(network, samples, RECIPE, epochs=4)
    return network.requires_grad_(False).eval()


def trained(seed: int) -> Network:
    """A copy of a frozen network that was trained on the training part."""
    return copy.deepcopy(_trained(seed))
