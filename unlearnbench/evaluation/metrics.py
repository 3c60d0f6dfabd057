"""From the outputs of an unlearned network to the numbers of a record. Nothing here sees a network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unlearnbench import statistics
from unlearnbench.plugins.attack import Scores
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.task import Split

FPRS = {"tpr@1%": 0.01, "tpr@0.1%": 0.001}
"""The false-positive rates at which an attack's true-positive rate is reported."""


def accuracies(train_logits: Tensor, test_logits: Tensor, data: Dataset, split: Split) -> dict[str, float]:
    """Train_r, Train_f and Test, and Test_r and Test_f where the task divides the test set; fractions in [0, 1].

    Training items are compared with the labels that they were trained on, test items with their true ones.

    Args:
        train_logits: float32 [N, classes].
        test_logits: float32 [M, classes].
        data: Where the labels come from.
        split: What was forgotten.
    """
    labels = split.labels(data)
    train = (train_logits.argmax(1) == labels).numpy()
    test = (test_logits.argmax(1) == data.test_labels).numpy()
    forgotten = positions(split.forget, len(train))
    found = {"train_r": mean(train[~forgotten]), "train_f": mean(train[forgotten]), "test": mean(test)}
    if split.test_forget is not None:
        test_forgotten = positions(split.test_forget, len(test))
        found |= {"test_r": mean(test[~test_forgotten]), "test_f": mean(test[test_forgotten])}
    return found


def items(data: Dataset, split: Split) -> dict[str, int]:
    """How many items each of these accuracies is the mean over; for "asr" the larger of its two sides."""
    forgotten, test = len(split.forget), len(data.test_labels)
    found = {"train_r": len(data.train_labels) - forgotten, "train_f": forgotten, "test": test}
    if split.test_forget is not None:
        found |= {"test_r": test - len(split.test_forget), "test_f": len(split.test_forget)}
    return {**found, "asr": max(forgotten, len(split.heldout))}


def membership(scores: Scores) -> dict[str, Any]:
    """How well an attack tells forgotten items from held-out ones.

    Returns:
        `accuracy`, `balanced_accuracy`, `auc`, `tpr@1%` and `tpr@0.1%` as [value, low, high] (95 % intervals over
        items; None for the first two if the attack has no threshold, and for the last two if the held-out items are too
        few for so small a false-positive rate), the accuracy of one who always answers "not a member" (`constant`), the
        numbers of `forgotten` and `heldout` items, and the facts of the attack.
    """
    sides = scores.forgotten, scores.heldout
    right = int((scores.forgotten > 0).sum() + (scores.heldout <= 0).sum())
    samples = len(scores.forgotten) + len(scores.heldout)
    rates = {name: statistics.tpr_at_fpr(*sides, fpr) for name, fpr in FPRS.items()}
    return {
        "accuracy": list(statistics.proportion(right, samples)) if scores.thresholded else None,
        "constant": len(scores.heldout) / samples,
        "balanced_accuracy": list(statistics.balanced_accuracy(*sides)) if scores.thresholded else None,
        "auc": list(statistics.auc(*sides)),
        **{name: list(rate) if rate else None for name, rate in rates.items()},
        "forgotten": len(scores.forgotten),
        "heldout": len(scores.heldout),
        **scores.facts,
    }


def positions(index: Tensor, n: int) -> NDArray[np.bool_]:
    """Positions as a mask of length n."""
    mask = np.zeros(n, dtype=bool)
    mask[index.numpy()] = True
    return mask


def mean(hits: NDArray[np.bool_]) -> float:
    """The share of hits."""
    return float(hits.mean())
