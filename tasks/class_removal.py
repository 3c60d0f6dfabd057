"""Class removal: whole classes are forgotten (LAF paper, section 4.1, task 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unlearnbench import Dataset, Split, check_classes, of_classes, task


@task(
    title="Class removal",
    columns=("test_r", "test_f", "asr"),
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, Table 2",
)
def class_removal(data: Dataset, generator: torch.Generator, *, classes: Sequence[int] = (0,)) -> Split:
    """Forgets all training samples of `classes`; the test set is divided in the same way."""
    check_classes(data, classes)
    heldout = of_classes(data.test_labels, classes)
    return Split(forget=of_classes(data.train_labels, classes), heldout=heldout, test_forget=heldout)
