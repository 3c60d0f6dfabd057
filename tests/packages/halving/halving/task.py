"""A task."""

import torch

from unlearnbench import Dataset, Split, task


@task(title="Every second", columns=("train_r", "train_f", "test", "asr"), reference="Nobody, Halving, Nowhere 2000")
def every_second(data: Dataset, generator: torch.Generator) -> Split:
    """Forgets every second training item."""
    return Split(torch.arange(0, len(data.train_labels), 2), torch.arange(len(data.test_labels)))
