"""Accuracies are counted on the right items against the right labels, and a comparison is fair to Retrain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from unlearnbench import Scores, Split, statistics
from unlearnbench.evaluation import metrics
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.model import Builder
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import TrainingSet


def answers(labels: torch.Tensor, wrong: torch.Tensor) -> torch.Tensor:
    """Logits of a network that is right but for the rows in `wrong`."""
    chosen = labels.clone()
    chosen[wrong] = (chosen[wrong] + 1) % 10
    return torch.nn.functional.one_hot(chosen, 10).float()


def test_accuracies_count_each_item_on_its_side(digits: Dataset, split: Callable[..., Split]) -> None:
    made = split("class-removal")
    assert made.test_forget is not None
    retain = torch.tensor(sorted(set(range(1437)) - set(made.forget.tolist())))
    train = answers(digits.train_labels, torch.cat([made.forget[:7], retain[:5]]))
    test = answers(digits.test_labels, made.test_forget[:3])
    forgotten, test_forgotten = len(made.forget), len(made.test_forget)
    assert metrics.accuracies(train, test, digits, made) == pytest.approx(
        {
            "train_r": 1 - 5 / (1437 - forgotten),
            "train_f": 1 - 7 / forgotten,
            "test": 1 - 3 / 360,
            "test_r": 1.0,
            "test_f": 1 - 3 / test_forgotten,
        }
    )


def test_noisy_items_are_compared_with_their_wrong_labels(digits: Dataset, split: Callable[..., Split]) -> None:
    made = split("noisy-label-removal")
    nothing = torch.tensor([], dtype=torch.int64)
    truthful = answers(digits.train_labels, nothing)
    test = answers(digits.test_labels, nothing)
    assert metrics.accuracies(truthful, test, digits, made) == {"train_r": 1.0, "train_f": 0.0, "test": 1.0}


def test_membership_reports_what_the_held_out_items_support() -> None:
    rng = np.random.default_rng(0)
    found = metrics.membership(Scores(rng.normal(1, 1, 50), rng.normal(-1, 1, 36)))
    assert found["tpr@1%"] is None
    assert found["balanced_accuracy"][1] < found["balanced_accuracy"][0] < found["balanced_accuracy"][2]
    assert (found["forgotten"], found["heldout"]) == (50, 36)


def test_wrong_labels_of_held_out_items_do_not_let_retrain_be_told_apart(
    digits: Dataset, split: Callable[..., Split], builder: Builder
) -> None:
    made = split("noisy-label-removal")
    assert made.train_labels is not None
    assert made.heldout_labels is not None
    retain = torch.tensor(sorted(set(range(1437)) - set(made.forget.tolist())))
    retrained = builder.fresh("retrain")
    samples = TrainingSet(digits.train_images, digits.train_labels).samples(retain, "labels", seeds.generator("o"), "r")
    assert samples is not None
    loop.fit(retrained, samples, Recipe(lr=2e-3, epochs=5))

    def log_probability(pixels: torch.Tensor, labels: torch.Tensor) -> statistics.Floats:
        scores = loop.predict(retrained, pixels, Pipeline().plain).double().log_softmax(1)
        return scores[torch.arange(len(labels)), labels].numpy()

    forgotten = log_probability(digits.train_images[made.forget], made.train_labels[made.forget])
    fair = log_probability(digits.test_images[made.heldout], made.heldout_labels)
    unfair = log_probability(digits.test_images[made.heldout], digits.test_labels[made.heldout])
    found = statistics.auc(forgotten, fair, level=0.999)
    assert found.low < 0.5 < found.high
    assert statistics.auc(forgotten, unfair, level=0.999).high < 0.2
