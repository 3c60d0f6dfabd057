"""Accuracies are computed on the right samples with the right labels, and the comparison is fair to Retrain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from unlearnbench import Scores, Split, statistics
from unlearnbench.evaluation import membership, metrics
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.model import Builder
from unlearnbench.runtime import seeds
from unlearnbench.training import loop
from unlearnbench.training.augmentation import Pipeline
from unlearnbench.training.recipe import Recipe
from unlearnbench.training.samples import TrainingSet


def logits_of(labels: torch.Tensor, wrong: torch.Tensor) -> torch.Tensor:
    """Logits that predict these labels, except in the rows of `wrong`."""
    chosen = labels.clone()
    chosen[wrong] = (chosen[wrong] + 1) % 10
    return torch.nn.functional.one_hot(chosen, 10).float()


def test_each_sample_counts_for_its_own_accuracy(digits: Dataset, split: Callable[..., Split]) -> None:
    task_split = split("class-removal")
    assert task_split.test_forget is not None
    retain = torch.tensor(sorted(set(range(599)) - set(task_split.forget.tolist())))
    train = logits_of(digits.train_labels, torch.cat([task_split.forget[:7], retain[:5]]))
    test = logits_of(digits.test_labels, task_split.test_forget[:3])
    forgotten, test_forgotten = len(task_split.forget), len(task_split.test_forget)
    assert metrics.accuracies(train, test, digits, task_split) == pytest.approx(
        {
            "train_r": 1 - 5 / (599 - forgotten),
            "train_f": 1 - 7 / forgotten,
            "test": 1 - 3 / 1198,
            "test_r": 1.0,
            "test_f": 1 - 3 / test_forgotten,
        }
    )


def test_noisy_samples_are_compared_with_their_wrong_labels(digits: Dataset, split: Callable[..., Split]) -> None:
    task_split = split("noisy-label-removal")
    nothing = torch.tensor([], dtype=torch.int64)
    truthful = logits_of(digits.train_labels, nothing)
    test = logits_of(digits.test_labels, nothing)
    assert metrics.accuracies(truthful, test, digits, task_split) == {"train_r": 1.0, "train_f": 0.0, "test": 1.0}


def test_rates_that_too_few_held_out_samples_support_are_not_reported() -> None:
    rng = np.random.default_rng(0)
    numbers = membership.success(Scores(rng.normal(1, 1, 50), rng.normal(-1, 1, 36)))
    assert numbers["tpr@1%"] is None
    assert numbers["balanced_accuracy"][1] < numbers["balanced_accuracy"][0] < numbers["balanced_accuracy"][2]
    assert (numbers["forgotten"], numbers["heldout"]) == (50, 36)


def test_with_wrong_labels_on_held_out_samples_retrain_has_an_auc_of_one_half(
    digits: Dataset, split: Callable[..., Split], builder: Builder
) -> None:
    task_split = split("noisy-label-removal")
    assert task_split.train_labels is not None
    assert task_split.heldout_labels is not None
    retain = torch.tensor(sorted(set(range(599)) - set(task_split.forget.tolist())))
    retrained = builder.fresh("retrain")
    samples = TrainingSet(digits.train_images, digits.train_labels).samples(retain, "labels", seeds.generator("o"), "r")
    assert samples is not None
    loop.fit(retrained, samples, Recipe(lr=2e-3, epochs=5))

    def log_probability(pixels: torch.Tensor, labels: torch.Tensor) -> statistics.Floats:
        scores = loop.predict(retrained, pixels, Pipeline().plain).double().log_softmax(1)
        return scores[torch.arange(len(labels)), labels].numpy()

    forgotten = log_probability(digits.train_images[task_split.forget], task_split.train_labels[task_split.forget])
    fair = log_probability(digits.test_images[task_split.heldout], task_split.heldout_labels)
    unfair = log_probability(digits.test_images[task_split.heldout], digits.test_labels[task_split.heldout])
    interval = statistics.auc(forgotten, fair, level=0.999)
    assert interval.low < 0.5 < interval.high
    assert statistics.auc(forgotten, unfair, level=0.999).high < 0.2


def test_the_counts_behind_accuracies_are_those_of_the_split(digits: Dataset, split: Callable[..., Split]) -> None:
    task_split = split("class-removal")
    assert task_split.test_forget is not None
    forgotten, heldout = len(task_split.forget), len(task_split.heldout)
    assert heldout < forgotten
    assert metrics.sample_counts(digits, task_split) == {
        "train_r": 599 - forgotten,
        "train_f": forgotten,
        "test": 1198,
        "test_r": 1198 - len(task_split.test_forget),
        "test_f": len(task_split.test_forget),
        "asr": forgotten,
    }
