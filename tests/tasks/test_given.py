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


def test_the_samples_of_the_list_are_forgotten(digits: Dataset, tmp_path: Path) -> None:
    forget = listed(tmp_path / "gone.npy", torch.tensor([30, 4, 17]))
    assert apply(digits, forget=forget).forget.tolist() == [4, 17, 30]


def test_held_out_samples_have_the_classes_of_the_forgotten_ones_in_the_same_proportions(
    digits: Dataset, tmp_path: Path
) -> None:
    forget = listed(tmp_path / "f.npy", of_class(digits.train_labels, 3, 10), of_class(digits.train_labels, 8, 5))
    split = apply(digits, forget=forget)
    assert digits.test_labels[split.heldout].bincount(minlength=10).tolist() == [0, 0, 0, 30, 0, 0, 0, 0, 15, 0]
    other = apply(digits, seed=1, forget=forget)
    assert torch.equal(split.forget, other.forget)
    assert not torch.equal(split.heldout, other.heldout)


def test_where_a_class_has_fewer_test_samples_all_of_them_are_held_out(digits: Dataset, tmp_path: Path) -> None:
    forget = listed(tmp_path / "f.npy", of_class(digits.train_labels, 3, 100), of_class(digits.train_labels, 8, 5))
    counts = digits.test_labels[apply(digits, forget=forget).heldout].bincount(minlength=10)
    assert counts[3] == (digits.test_labels == 3).sum() < 100
    assert counts[8] == 5


def test_held_out_samples_may_be_listed_too(digits: Dataset, tmp_path: Path) -> None:
    forget = listed(tmp_path / "f.npy", of_class(digits.train_labels, 3, 4))
    heldout = listed(tmp_path / "h.npy", of_class(digits.test_labels, 3, 6))
    split = apply(digits, forget=forget, heldout=heldout)
    assert torch.equal(split.heldout, of_class(digits.test_labels, 3, 6))


def test_shadow_models_are_compared_on_the_same_samples(digits: Dataset, tmp_path: Path) -> None:
    forget = listed(tmp_path / "f.npy", torch.tensor([3, 5, 9]))
    split = apply(digits.pool, forget=forget, heldout=tmp_path / "of the test set.npy")
    assert split.forget.tolist() == [3, 5, 9]
    assert len(split.heldout) == 0


def test_without_a_list_the_message_says_what_to_add(digits: Dataset) -> None:
    with pytest.raises(UserError, match=r"forget = 'FILE' below \[tasks.given\] in the preset"):
        apply(digits)
