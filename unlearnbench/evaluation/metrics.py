"""Metrics of an unlearned network, computed from its outputs."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.task import Split


def accuracies(train_logits: Tensor, test_logits: Tensor, data: Dataset, split: Split) -> dict[str, float]:
    """Train_r, Train_f and Test, Test_r and Test_f if the task divides the test set, and those of groups apart.

    Fractions in [0, 1]. Hidden samples count as forgotten.

    Training samples are compared with the labels that they were trained on, test samples with their true labels.

    Args:
        train_logits: float32 [N, classes].
        test_logits: float32 [M, classes].
        data: The data set, with the labels.
        split: The forget set.
    """
    train = (train_logits.argmax(1) == split.labels(data)).numpy()
    test = (test_logits.argmax(1) == split.test_labels(data)).numpy()
    forgotten = as_mask(split.forgotten, len(train))
    values = {"train_r": mean(train[~forgotten]), "train_f": mean(train[forgotten]), "test": mean(test)}
    if split.test_forget is not None:
        test_forgotten = as_mask(split.test_forget, len(test))
        values |= {"test_r": mean(test[~test_forgotten]), "test_f": mean(test[test_forgotten])}
    for name, group in groups(split).items():
        values[name] = mean((test if name.startswith("test_") else train)[group.numpy()])
    return values


def groups(split: Split) -> dict[str, Tensor]:
    """The positions (int64) of the groups that are reported apart, as "train_NAME" and "test_NAME"."""
    return {
        f"{part}_{name}": positions
        for name, group in split.apart.items()
        for part, positions in zip(("train", "test"), group, strict=True)
        if len(positions)
    }


def identification(found: Tensor, split: Split) -> dict[str, float | int | None]:
    """How right a method is about the samples that it takes for hidden ones.

    Args:
        found: int64, positions in the training set, each once.
        split: Of the task.

    Returns:
        "found" and "hidden": numbers of samples; "precision", the share of the found ones that are hidden, and
        "recall", the share of the hidden ones that are found: fractions in [0, 1], None where there are none to divide
        by.
    """
    hidden = found[:0] if split.hidden is None else split.hidden
    right = int(torch.isin(found, hidden).sum())
    return {
        "found": len(found),
        "hidden": len(hidden),
        "precision": right / len(found) if len(found) else None,
        "recall": right / len(hidden) if len(hidden) else None,
    }


def sample_counts(data: Dataset, split: Split) -> dict[str, int]:
    """The number of samples that each accuracy is a mean over; for "asr" that of the larger side."""
    forgotten, test = len(split.forgotten), len(data.test_labels)
    counts = {"train_r": len(data.train_labels) - forgotten, "train_f": forgotten, "test": test}
    if split.test_forget is not None:
        counts |= {"test_r": test - len(split.test_forget), "test_f": len(split.test_forget)}
    counts |= {name: len(group) for name, group in groups(split).items()}
    return {**counts, "asr": max(forgotten, len(split.heldout))}


def as_mask(positions: Tensor, n: int) -> NDArray[np.bool_]:
    """Positions (int64) as a mask of length n."""
    mask = np.zeros(n, dtype=bool)
    mask[positions.numpy()] = True
    return mask


def mean(hits: NDArray[np.bool_]) -> float:
    """The fraction of hits."""
    return float(hits.mean())
