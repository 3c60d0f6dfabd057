"""Data removal: some samples of some classes are forgotten (LAF paper, section 4.1, task 1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unlearnbench import Dataset, Split, check_classes, choose, of_classes, task


@task(
    title="Data removal",
    columns=("train_r", "train_f", "test", "asr"),
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, Table 1",
)
def data_removal(
    data: Dataset, generator: torch.Generator, *, classes: Sequence[int] = (5, 6, 7, 8, 9), fraction: float = 0.4
) -> Split:
    """Forgets a random `fraction` of the training samples of each of `classes`."""
    check_classes(data, classes)
    return Split(
        forget=choose(data.train_labels, classes, fraction, generator),
        heldout=of_classes(data.test_labels, classes),
    )
