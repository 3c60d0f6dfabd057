"""The four scenarios of label mismatch: which samples are given, hidden and kept, and which labels the network has."""

from __future__ import annotations

import pytest
import torch

from unlearnbench import Dataset, Split, Taxonomy, UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.contract import BrokenContractError
from unlearnbench.plugins.task import Task, check_split
from unlearnbench.runtime import seeds

FRUIT = Taxonomy.of({"citrus": [0, 3], "berries": [1, 4], "melon": [2]}, ("lemon", "fig", "melon", "lime", "plum"))
"""Five classes in three superclasses."""
TRAIN, TEST = [0, 1, 2, 3, 4, 0, 3, 3, 1, 4], [3, 0, 1, 2, 4, 3, 0]


@pytest.fixture
def fruit() -> Dataset:
    pixels = torch.zeros(10, 1, 1, 1, dtype=torch.uint8)
    return Dataset(pixels, torch.tensor(TRAIN), pixels[:7], torch.tensor(TEST), 5, {"fruit": FRUIT})


def apply(task: str, data: Dataset, **options: object) -> Split:
    plugin = registry.get(Task, task)
    split = plugin.split(data, seeds.generator("test"), **plugin.resolve(task, options))
    check_split(plugin, split, data)
    return split


def positions(split: Split) -> dict[str, list[int]]:
    """The positions of its parts, as lists."""
    return {name: tensor.tolist() for name, tensor in split.tensors().items()}


def test_all_matched_forgets_what_it_is_given(fruit: Dataset) -> None:
    assert positions(apply("all-matched", fruit)) == {
        "forget": [0, 5],
        "heldout": [1, 6],
        "test_forget": [1, 6],
        "given train": [0, 5],
        "given test": [1, 6],
        "siblings train": [3, 6, 7],
        "siblings test": [0, 5],
    }


def test_target_mismatch_hides_the_other_classes_of_the_superclass(fruit: Dataset) -> None:
    split = apply("target-mismatch", fruit)
    assert positions(split) == {
        "forget": [0, 5],
        "hidden": [3, 6, 7],
        "heldout": [0, 1, 5, 6],
        "hidden_heldout": [0, 5],
        "test_forget": [0, 1, 5, 6],
        "given train": [0, 5],
        "given test": [1, 6],
        "hidden train": [3, 6, 7],
        "hidden test": [0, 5],
    }
    assert split.forgotten.tolist() == [0, 3, 5, 6, 7]
    assert split.num_classes(fruit) == 5


def test_model_mismatch_gives_the_network_superclasses_and_keeps_siblings(fruit: Dataset) -> None:
    split = apply("model-mismatch", fruit)
    assert split.hidden is None
    assert split.num_classes(fruit) == 3
    assert split.labels(fruit).tolist() == [0, 1, 2, 0, 1, 0, 0, 0, 1, 1]
    assert split.test_labels(fruit).tolist() == [0, 0, 1, 2, 1, 0, 0]
    assert split.labels_of_heldout(fruit).tolist() == [0, 0]
    assert positions(split)["siblings train"] == [3, 6, 7]


def test_data_mismatch_forgets_a_superclass_of_which_a_part_is_given(fruit: Dataset) -> None:
    split = apply("data-mismatch", fruit, classes=(4,))
    assert split.forget.tolist() == [4, 9]
    assert positions(split)["hidden"] == [1, 8]
    assert split.labels(fruit)[split.forgotten].tolist() == [1, 1, 1, 1]
    assert split.num_classes(fruit) == 3


def test_a_concept_may_be_named(fruit: Dataset) -> None:
    split = apply("target-mismatch", fruit, classes=(0,), concept=(0, 2))
    assert positions(split)["hidden"] == [2]
    assert positions(split)["siblings train"] == [3, 6, 7]


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        ("model-mismatch", {"classes": (2,)}, r"needs siblings to keep, and 2 \(melon\) are all classes"),
        ("data-mismatch", {"concept": (0, 1)}, r"whole superclasses, and 0 \(lemon\), 1 \(fig\) are only a part"),
        ("target-mismatch", {"classes": (1,), "concept": (0, 3)}, r"1 \(fig\), must be in 0 \(lemon\), 3 \(lime\)"),
        ("all-matched", {"classes": (5,)}, "classes must be different numbers from 0 to 4"),
        ("all-matched", {"taxonomy": "fruits"}, "unknown taxonomy 'fruits': did you mean 'fruit'"),
    ],
)
def test_classes_that_do_not_fit_are_refused(
    task: str, options: dict[str, object], message: str, fruit: Dataset
) -> None:
    with pytest.raises(UserError, match=message):
        apply(task, fruit, **options)


def test_a_dataset_without_superclasses_is_refused(fruit: Dataset) -> None:
    without = Dataset(fruit.train_images, fruit.train_labels, fruit.test_images, fruit.test_labels, 5)
    with pytest.raises(UserError, match="this dataset has no superclasses"):
        apply("all-matched", without)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": torch.tensor([0, 3])}, "hidden samples must not be in the forget set"),
        ({"hidden": torch.tensor([6, 3])}, "hidden must be ascending"),
        ({"hidden": torch.tensor([30])}, "hidden must be int64 positions from 0 to 9"),
        ({"hidden_heldout": torch.tensor([2])}, "hidden_heldout must be a part of heldout"),
        ({"hidden_heldout": None}, "return hidden and hidden_heldout, or neither"),
        ({"apart": {"given": (torch.tensor([0]), torch.tensor([9]))}}, "must be int64 positions from 0 to 6"),
    ],
)
def test_a_wrong_split_is_refused(changes: dict[str, object], message: str, fruit: Dataset) -> None:
    split = apply("target-mismatch", fruit)
    wrong = Split(**{**vars(split), **changes})  # type: ignore[arg-type]
    with pytest.raises(BrokenContractError, match=message):
        check_split(registry.get(Task, "target-mismatch"), wrong, fruit)


def test_labels_of_another_domain_must_be_its_classes(fruit: Dataset) -> None:
    split = apply("model-mismatch", fruit)
    assert split.domain is not None
    domain = type(split.domain)(split.domain.train_labels, split.domain.test_labels, 2)
    with pytest.raises(BrokenContractError, match=r"domain.train_labels must be int64 \[10\], from 0 to 1"):
        check_split(registry.get(Task, "model-mismatch"), Split(**{**vars(split), "domain": domain}), fruit)


def test_a_taxonomy_has_each_class_once() -> None:
    with pytest.raises(ValueError, match="each of the 3 classes must be in one superclass"):
        Taxonomy.of({"one": [0, 1], "two": [1, 2]}, ("a", "b", "c"))
