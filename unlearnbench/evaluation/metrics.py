"""Metrics of an unlearned network, computed from its outputs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.task import Split


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


def as_mask(positions: Tensor, n: int) -> NDArray[np.bool_]:
    """Positions (int64) as a mask of length n."""
    mask = np.zeros(n, dtype=bool)
    mask[positions.numpy()] = True
    return mask


def mean(hits: NDArray[np.bool_]) -> float:
    """The fraction of hits."""
    return float(hits.mean())
