"""The task `given` forgets the samples of a list, and compares them with test samples of the same classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unlearnbench import Split, UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.task import Task, check_split
from unlearnbench.runtime import seeds


@pytest.fixture
def data() -> Dataset:
    """Labels of ten classes, a hundred training samples and 36 test samples of each, with images of a single pixel."""
    train, test = torch.arange(10).repeat(100), torch.arange(10).repeat(36)
    pixels = torch.zeros(1000, 1, 1, 1, dtype=torch.uint8)
    return Dataset(pixels, train, pixels[:360], test, 10)


def apply(data: Dataset, seed: int = 0, **files: Path) -> Split:
    task = registry.get(Task, "given")
    split = task.split(data, seeds.generator("test", seed), **{name: str(path) for name, path in files.items()})
    if len(data.test_labels):
        check_split(task, split, data)
    return split


def listed(path: Path, *parts: torch.Tensor) -> Path:
    np.save(path, torch.cat(parts).numpy())
    return path


def of_class(labels: torch.Tensor, label: int, count: int) -> torch.Tensor:
    return (labels == label).nonzero()[:count, 0]


def test_the_samples_of_the_list_are_forgotten(data: Dataset, tmp_path: Path) -> None:
    forget = listed(tmp_path / "gone.npy", torch.tensor([30, 4, 17]))
    assert apply(data, forget=forget).forget.tolist() == [4, 17, 30]


def test_held_out_samples_have_the_classes_of_the_forgotten_ones_in_the_same_proportions(
    data: Dataset, tmp_path: Path
) -> None:
    forget = listed(tmp_path / "f.npy", of_class(data.train_labels, 3, 10), of_class(data.train_labels, 8, 5))
    split = apply(data, forget=forget)
    assert data.test_labels[split.heldout].bincount(minlength=10).tolist() == [0, 0, 0, 30, 0, 0, 0, 0, 15, 0]
    other = apply(data, seed=1, forget=forget)
    assert torch.equal(split.forget, other.forget)
    assert not torch.equal(split.heldout, other.heldout)


def test_where_a_class_has_fewer_test_samples_all_of_them_are_held_out(data: Dataset, tmp_path: Path) -> None:
    forget = listed(tmp_path / "f.npy", of_class(data.train_labels, 3, 100), of_class(data.train_labels, 8, 5))
    counts = data.test_labels[apply(data, forget=forget).heldout].bincount(minlength=10)
    assert counts[3] == 36
    assert counts[8] == 5


def test_held_out_samples_may_be_listed_too(data: Dataset, tmp_path: Path) -> None:
    forget = listed(tmp_path / "f.npy", of_class(data.train_labels, 3, 4))
    heldout = listed(tmp_path / "h.npy", of_class(data.test_labels, 3, 6))
    split = apply(data, forget=forget, heldout=heldout)
    assert torch.equal(split.heldout, of_class(data.test_labels, 3, 6))


def test_shadow_models_are_compared_on_the_same_samples(data: Dataset, tmp_path: Path) -> None:
    forget = listed(tmp_path / "f.npy", torch.tensor([3, 5, 9]))
    split = apply(data.pool, forget=forget, heldout=tmp_path / "of the test set.npy")
    assert split.forget.tolist() == [3, 5, 9]
    assert len(split.heldout) == 0


def test_without_a_list_the_message_says_what_to_add(data: Dataset) -> None:
    with pytest.raises(UserError, match=r"forget = 'FILE' below \[tasks.given\] in the preset"):
        apply(data)
