"""UA, RA, TA and MIA of label mismatch by hand: over the concept, without its test samples, in the network's labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unlearnbench import Audit, Dataset, Observed, Split, Taxonomy
from unlearnbench.evaluation import metrics
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack
from unlearnbench.plugins.task import Task
from unlearnbench.runtime import seeds

FRUIT = Taxonomy.of({"citrus": [0, 3], "berries": [1, 4], "melon": [2]}, ("lemon", "fig", "melon", "lime", "plum"))


@pytest.fixture
def fruit() -> Dataset:
    pixels = torch.zeros(10, 1, 1, 1, dtype=torch.uint8)
    train, test = torch.tensor([0, 1, 2, 3, 4, 0, 3, 3, 1, 4]), torch.tensor([3, 0, 1, 2, 4, 3, 0])
    return Dataset(pixels, train, pixels[:7], test, 5, {"fruit": FRUIT})


def split_of(task: str, data: Dataset) -> Split:
    plugin = registry.get(Task, task)
    return plugin.split(data, seeds.generator("test"), **plugin.defaults)


def predicting(*classes: int, of: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), of).float()


def test_in_target_mismatch_hidden_samples_are_forgotten_ones(fruit: Dataset) -> None:
    """Classes 0 (given) and 3 (hidden) are the concept: training samples 0, 5 and 3, 6, 7; test samples 0, 1, 5, 6."""
    train = predicting(0, 1, 2, 3, 1, 1, 0, 0, 1, 4, of=5)  # right: 0 of the given, 3 of the hidden, all others but 4
    test = predicting(3, 1, 1, 2, 4, 0, 1, of=5)  # right: 0 of the hidden, none of the given, all others
    assert metrics.accuracies(train, test, fruit, split_of("target-mismatch", fruit)) == pytest.approx(
        {
            "train_f": 2 / 5,
            "train_r": 4 / 5,
            "test": 4 / 7,
            "test_r": 3 / 3,
            "test_f": 1 / 4,
            "train_given": 1 / 2,
            "train_hidden": 1 / 3,
            "test_given": 0 / 2,
            "test_hidden": 1 / 2,
        }
    )


def test_in_model_mismatch_a_sibling_may_save_the_forgotten_samples(fruit: Dataset) -> None:
    """The labels are superclasses: 0 for classes 0 and 3, 1 for 1 and 4, 2 for 2."""
    train = predicting(0, 1, 2, 0, 1, 2, 0, 1, 1, 1, of=3)
    test = predicting(0, 0, 1, 2, 0, 0, 1, of=3)
    assert metrics.accuracies(train, test, fruit, split_of("model-mismatch", fruit)) == pytest.approx(
        {
            "train_f": 1 / 2,
            "train_r": 7 / 8,
            "test": 5 / 7,
            "test_r": 4 / 5,
            "test_f": 1 / 2,
            "train_given": 1 / 2,
            "train_siblings": 2 / 3,
            "test_given": 1 / 2,
            "test_siblings": 2 / 2,
        }
    )


def test_counts_are_those_of_the_concept(fruit: Dataset) -> None:
    assert metrics.sample_counts(fruit, split_of("data-mismatch", fruit)) == {
        "train_r": 5,
        "train_f": 5,
        "test": 7,
        "test_r": 3,
        "test_f": 4,
        "train_given": 2,
        "train_hidden": 3,
        "test_given": 2,
        "test_hidden": 2,
        "asr": 5,
    }


def test_identification_has_precision_and_recall(fruit: Dataset) -> None:
    split = split_of("target-mismatch", fruit)
    assert metrics.identification(torch.tensor([3, 6, 8, 9]), split) == {
        "found": 4,
        "hidden": 3,
        "precision": 0.5,
        "recall": pytest.approx(2 / 3),
    }


def test_precision_and_recall_are_missing_where_there_is_nothing_to_divide_by(fruit: Dataset) -> None:
    nothing = torch.tensor([], dtype=torch.int64)
    assert metrics.identification(nothing, split_of("target-mismatch", fruit))["precision"] is None
    assert metrics.identification(nothing, split_of("all-matched", fruit)) == {
        "found": 0,
        "hidden": 0,
        "precision": None,
        "recall": None,
    }


def observed(confidences: list[float]) -> Observed:
    """Two classes, of which the label has these probabilities."""
    p = np.array(confidences)
    return Observed(np.log(np.stack([p, 1 - p], axis=1)), np.zeros(len(p), dtype=np.int64))


@pytest.mark.parametrize(("more", "fewer"), [([0.11, 0.12], []), ([], [0.97, 0.98])])
def test_mia_is_the_share_of_the_concept_that_looks_like_test_samples_of_other_classes(
    more: list[float], fewer: list[float]
) -> None:
    """Members are confident, non-members are not; test samples of the concept, rows 0 and 1, must not be learned.

    Of the larger side, only the first samples are learned: not those that would mislead here.
    """
    attack = registry.get(Attack, "svc-released")
    retained, others = [0.97, 0.98, 0.99, 0.96], [0.1, 0.2, 0.15, 0.12]
    audit = Audit(
        forgotten=observed([0.98, 0.11, 0.14, 0.97, 0.13]),
        heldout=observed([0.98, 0.97]),
        retained=observed([*retained, *more]),
        test=observed([0.98, 0.97, *others, *fewer]),
        shadow_members=(),
        shadow_nonmembers=(),
        seed=0,
        heldout_rows=np.array([0, 1]),
    )
    scores = attack.score(audit)
    assert scores.facts == {"non-members": 3}
    assert (scores.heldout > 0).tolist() == [True, True]
