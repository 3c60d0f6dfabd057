"""Metrics of an unlearned network, computed from its outputs."""

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
    """Train_r, Train_f and Test, and Test_r and Test_f if the task divides the test set; fractions in [0, 1].

    Training samples are compared with the labels that they were trained on, test samples with their true labels.

    Args:
        train_logits: float32 [N, classes].
        test_logits: float32 [M, classes].
        data: The data set, with the labels.
        split: The forget set.
    """
    labels = split.labels(data)
    train = (train_logits.argmax(1) == labels).numpy()
    test = (test_logits.argmax(1) == data.test_labels).numpy()
    forgotten = as_mask(split.forget, len(train))
    values = {"train_r": mean(train[~forgotten]), "train_f": mean(train[forgotten]), "test": mean(test)}
    if split.test_forget is not None:
        test_forgotten = as_mask(split.test_forget, len(test))
        values |= {"test_r": mean(test[~test_forgotten]), "test_f": mean(test[test_forgotten])}
    return values


def sample_counts(data: Dataset, split: Split) -> dict[str, int]:
    """The number of samples that each accuracy is a mean over; for "asr" that of the larger side."""
    forgotten, test = len(split.forget), len(data.test_labels)
    counts = {"train_r": len(data.train_labels) - forgotten, "train_f": forgotten, "test": test}
    if split.test_forget is not None:
        counts |= {"test_r": test - len(split.test_forget), "test_f": len(split.test_forget)}
    return {**counts, "asr": max(forgotten, len(split.heldout))}


def membership(scores: Scores) -> dict[str, Any]:
    """How well an attack separates forgotten from held-out samples.

    Returns:
        `accuracy`, `balanced_accuracy`, `auc`, `tpr@1%` and `tpr@0.1%` as [value, low, high], with 95 % intervals over
        samples; the first two are None if the attack has no threshold, the last two if there are too few held-out
        samples for so small a false-positive rate. Also the accuracy of the constant prediction "not a member"
        (`constant`), the numbers of `forgotten` and `heldout` samples, and the facts of the attack.
    """
    sides = scores.forgotten, scores.heldout
    correct = int((scores.forgotten > 0).sum() + (scores.heldout <= 0).sum())
    samples = len(scores.forgotten) + len(scores.heldout)
    rates = {name: statistics.tpr_at_fpr(*sides, fpr) for name, fpr in FPRS.items()}
    return {
        "accuracy": list(statistics.proportion(correct, samples)) if scores.thresholded else None,
        "constant": len(scores.heldout) / samples,
        "balanced_accuracy": list(statistics.balanced_accuracy(*sides)) if scores.thresholded else None,
        "auc": list(statistics.auc(*sides)),
        **{name: list(rate) if rate else None for name, rate in rates.items()},
        "forgotten": len(scores.forgotten),
        "heldout": len(scores.heldout),
        **scores.facts,
    }


def as_mask(positions: Tensor, n: int) -> NDArray[np.bool_]:
    """Positions (int64) as a mask of length n."""
    mask = np.zeros(n, dtype=bool)
    mask[positions.numpy()] = True
    return mask


def mean(hits: NDArray[np.bool_]) -> float:
    """The fraction of hits."""
    return float(hits.mean())
