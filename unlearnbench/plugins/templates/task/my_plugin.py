"""A task: a function that says which training items must be forgotten, and what to compare them with."""

from __future__ import annotations

import torch

from unlearnbench import Dataset, Split, choose, of_classes, task

contract = 2  # of unlearnbench's plugins, for which this was written


@task(
    title="My plugin",  # the name in tables
    columns=("train_r", "train_f", "test", "asr"),  # test_r and test_f need Split(test_forget=...)
    reference="Your paper, or where the idea comes from",
)
def my_plugin(data: Dataset, generator: torch.Generator, *, fraction: float = 0.1) -> Split:
    """Forgets a random `fraction` of the training items of every class.

    Options are keyword arguments with defaults; presets and `-p my-plugin.fraction=0.2` change them.
    """
    classes = range(data.num_classes)
    return Split(
        forget=choose(data.train_labels, classes, fraction, generator),  # draws from the generator that it is handed
        heldout=of_classes(data.test_labels, classes),  # items of the same classes that no network was trained on
    )
