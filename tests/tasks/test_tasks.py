"""The tasks are the paper's: sizes, classes, wrong labels, and a held-out set chosen by the same process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from scipy.stats import chisquare

from unlearnbench import Split, UserError
from unlearnbench.artefacts.splits import split_by
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.task import Task
from unlearnbench.runtime import seeds

MNIST = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
"""Training images of each class of MNIST."""


@pytest.fixture
def mnist_labels() -> Dataset:
    """The labels of MNIST, with images of a single pixel."""
    labels = torch.repeat_interleave(torch.arange(10), torch.tensor(MNIST))
    pixels = torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8)
    return Dataset(pixels, labels, pixels[::6], labels[::6], 10)


def apply(task: str, dataset: Dataset, seed: int = 0, **options: object) -> Split:
    return registry.get(Task, task).split(dataset, seeds.generator("test", seed), **options)


@pytest.mark.parametrize(
    ("task", "size"), [("data-removal", 11_760), ("class-removal", 5_923), ("noisy-label-removal", 18_355)]
)
def test_as_many_samples_of_mnist_are_forgotten_as_in_the_paper(task: str, size: int, mnist_labels: Dataset) -> None:
    split = apply(task, mnist_labels)
    assert len(split.forget) == len(split.forget.unique()) == size
    assert torch.equal(split.forget, split.forget.sort().values)


def test_data_removal_takes_two_fifths_of_the_upper_classes(mnist_labels: Dataset) -> None:
    split = apply("data-removal", mnist_labels)
    taken = mnist_labels.train_labels[split.forget].bincount(minlength=10)
    assert taken.tolist() == [0] * 5 + [int(0.4 * n) for n in MNIST[5:]]
    assert set(mnist_labels.test_labels[split.heldout].tolist()) == {5, 6, 7, 8, 9}
    assert split.train_labels is split.heldout_labels is split.test_forget is None


def test_class_removal_takes_a_class_and_divides_the_test_set(mnist_labels: Dataset) -> None:
    split = apply("class-removal", mnist_labels, classes=(3, 4))
    for labels, index in ((mnist_labels.train_labels, split.forget), (mnist_labels.test_labels, split.test_forget)):
        assert index is not None
        assert torch.equal(index, ((labels == 3) | (labels == 4)).nonzero()[:, 0])


def test_noisy_labels_are_wrong_for_forgotten_and_held_out_samples_only(mnist_labels: Dataset) -> None:
    split = apply("noisy-label-removal", mnist_labels)
    assert split.train_labels is not None
    assert split.heldout_labels is not None
    wrong = split.train_labels != mnist_labels.train_labels
    assert torch.equal(wrong.nonzero()[:, 0], split.forget)
    assert (split.heldout_labels != mnist_labels.test_labels[split.heldout]).all()
    assert set(mnist_labels.test_labels[split.heldout].tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(("wrong_labels", "candidates"), [("uniform", 10), ("released", 9)])
def test_wrong_labels_are_uniform_over_the_other_classes(
    wrong_labels: str, candidates: int, mnist_labels: Dataset
) -> None:
    split = apply("noisy-label-removal", mnist_labels, wrong_labels=wrong_labels)
    assert split.train_labels is not None
    for label in range(5):
        chosen = split.forget[mnist_labels.train_labels[split.forget] == label]
        counts = split.train_labels[chosen].bincount(minlength=10)
        assert counts[label] == counts[candidates:].sum() == 0
        others = [int(n) for i, n in enumerate(counts[:candidates]) if i != label]
        assert chisquare(others).pvalue > 1e-4


def test_the_seed_determines_the_split(split: Callable[..., Split]) -> None:
    forgets = [split("data-removal", seed).forget for seed in (0, 0, 1)]
    assert torch.equal(forgets[0], forgets[1])
    assert not torch.equal(forgets[0], forgets[2])


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("class-removal", {"classes": (10,)}, "classes must be different numbers from 0 to 9"),
        ("data-removal", {"classes": (1, 1)}, "classes must be different numbers"),
        ("data-removal", {"classes": ()}, "classes must be different numbers"),
        ("class-removal", {"classes": (True,)}, "classes must be different numbers"),
        ("data-removal", {"classes": (5,), "fraction": 0.02}, "leaves too few samples: 1 forgotten and 121 held-out"),
        ("data-removal", {"fraction": 1.5}, r"a fraction must lie in \(0, 1\]"),
        ("class-removal", {"classes": tuple(range(10))}, "would forget 599 of 599 samples"),
    ],
)
def test_wrong_options_are_refused(
    split: Callable[..., Split], task: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        split(task, **options)


def test_an_error_names_the_task_and_the_options_to_change(digits: Dataset) -> None:
    options = {"classes": (1, 2), "fraction": 2.0}
    with pytest.raises(UserError) as failure:
        split_by(registry.get(Task, "data-removal"), "data-removal", options, "digits-8x8", digits, "test")
    assert str(failure.value) == (
        "task data-removal: a fraction must lie in (0, 1], not 2.0; change its options (classes=(1, 2), fraction=2.0) "
        "in the preset or with -p data-removal.OPTION=VALUE"
    )


def test_an_error_about_a_file_names_the_file_alone(digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("1 9999")
    options = {"forget": str(tmp_path / "list.txt"), "heldout": ""}
    with pytest.raises(
        UserError, match="^task given: .*list.txt has position 9999, and positions are from 0 to [0-9]+$"
    ):
        split_by(registry.get(Task, "given"), "given", options, "digits-8x8", digits, "test")
