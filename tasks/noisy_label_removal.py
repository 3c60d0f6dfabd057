"""Noisy-label removal: samples with wrong labels are forgotten (LAF paper, section 4.1, task 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from unlearnbench import Dataset, Split, check_classes, choose, task


@task(
    title="Noisy-label removal",
    columns=("train_r", "train_f", "test", "asr"),
    reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024, Table 3",
)
def noisy_label_removal(
    data: Dataset,
    generator: torch.Generator,
    *,
    classes: Sequence[int] = (0, 1, 2, 3, 4),
    fraction: float = 0.6,
    wrong_labels: Literal["uniform", "released"] = "uniform",
) -> Split:
    """Gives a random `fraction` of the samples of each of `classes` a wrong label, and forgets them.

    Train_f is the accuracy against the wrong labels, which Retrain predicts only by mistake. The held-out set gets
    wrong labels in the same way: otherwise a wrong label alone would reveal a member to an attack.

    `wrong_labels` is "uniform" (over all other classes) or "released": the paper's released code never draws the last
    class.
    """
    check_classes(data, classes)
    candidates = data.num_classes - 1 if wrong_labels == "released" else data.num_classes
    forget = choose(data.train_labels, classes, fraction, generator)
    train_labels = data.train_labels.clone()
    train_labels[forget] = another_label(train_labels[forget], candidates, generator)
    heldout = choose(data.test_labels, classes, fraction, generator)
    return Split(
        forget=forget,
        heldout=heldout,
        train_labels=train_labels,
        heldout_labels=another_label(data.test_labels[heldout], candidates, generator),
    )


def another_label(labels: Tensor, candidates: int, generator: torch.Generator) -> Tensor:
    """For each label (int64 [n]), another one, drawn uniformly from 0 .. candidates - 1."""
    others = candidates - (labels < candidates).long()
    drawn = (torch.rand(len(labels), generator=generator, dtype=torch.float64) * others).long()
    return drawn + (drawn >= labels).long()
