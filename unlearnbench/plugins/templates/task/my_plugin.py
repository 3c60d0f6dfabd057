"""A task: a function that chooses the forget set, and the held-out set that attacks compare it with."""

from __future__ import annotations

import torch

from unlearnbench import Dataset, Split, choose, of_classes, task

contract = 2  # the version of unlearnbench's contract that this was written for


@task(
    title="My plugin",  # the name in tables
    columns=("train_r", "train_f", "test", "asr"),  # test_r and test_f need Split(test_forget=...)
    reference="Your paper, or where the idea comes from",
)
def my_plugin(data: Dataset, generator: torch.Generator, *, fraction: float = 0.1) -> Split:
    """Forgets a random `fraction` of the training samples of every class.

    Options are keyword arguments with defaults; presets and `-p my-plugin.fraction=0.2` change them.
    """
    classes = range(data.num_classes)
    return Split(
        forget=choose(data.train_labels, classes, fraction, generator),  # draw from this generator only
        heldout=of_classes(data.test_labels, classes),  # of the same classes; no network is trained on them
    )
