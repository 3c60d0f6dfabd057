"""A given forget set: the samples whose positions are in a file."""

from __future__ import annotations

import torch
from torch import Tensor

from unlearnbench import Dataset, Split, UserError, read_positions, task


@task(
    title="Given forget set",
    columns=("train_r", "train_f", "test", "asr"),
    reference="A list of samples that somebody wants gone",
    files=("forget", "heldout"),
)
def given(data: Dataset, generator: torch.Generator, *, forget: str = "", heldout: str = "") -> Split:
    """Forgets the training samples at the positions in the file `forget`: .npy, .txt or .csv.

    `heldout` is such a file with positions in the test set. Without it, test samples are drawn that have the classes of
    the forgotten ones, in the same proportions as far as there are enough of each class.
    """
    if not forget:
        raise UserError("task given needs a file of positions: forget = 'FILE' below [tasks.given] in the preset")
    positions = read_positions(forget, len(data.train_labels))
    if not len(data.test_labels):  # for shadow models, all images are training images
        return Split(forget=positions, heldout=torch.zeros(0, dtype=torch.int64))
    if heldout:
        return Split(forget=positions, heldout=read_positions(heldout, len(data.test_labels)))
    return Split(forget=positions, heldout=of_same_classes(data, positions, generator))


def of_same_classes(data: Dataset, forget: Tensor, generator: torch.Generator) -> Tensor:
    """Draws test samples with the classes of forgotten ones, as many as keep the proportions, at least one to one."""
    forgotten, tested = (
        torch.bincount(labels, minlength=data.num_classes) for labels in (data.train_labels[forget], data.test_labels)
    )
    classes = forgotten.nonzero()[:, 0]
    times = max(1, int((tested[classes] // forgotten[classes]).min()))
    drawn = []
    for label in classes.tolist():
        members = (data.test_labels == label).nonzero()[:, 0]
        order = torch.randperm(len(members), generator=generator)
        drawn.append(members[order[: times * int(forgotten[label])]])
    return torch.cat(drawn).sort().values
