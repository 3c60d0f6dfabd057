"""Tuning splits have training images only, and every data set has them."""

from __future__ import annotations

from pathlib import Path

import torch

from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.tuning_split import TuningSplit, plugin_of
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.storage.store import Store


def rows_of(images: torch.Tensor) -> set[bytes]:
    return {bytes(image) for image in images.flatten(1).numpy()}


def split(store: Store, number: int) -> Dataset:
    return Datasets(store).load(str(TuningSplit("digits-8x8", number)), Path("no"))[0]


def test_a_split_divides_the_training_images_and_has_no_test_image(store: Store, digits: Dataset) -> None:
    divided = split(store, 0)
    assert rows_of(divided.pool.train_images) == rows_of(digits.train_images)
    assert len(divided.pool.train_labels) == len(digits.train_labels)
    assert not rows_of(divided.train_images) & rows_of(divided.test_images)


def test_a_sixth_of_every_class_is_held_out(store: Store) -> None:
    divided = split(store, 1)
    share = divided.test_labels.bincount() / divided.pool.train_labels.bincount()
    assert (share - 1 / 6).abs().max() < 0.02


def test_splits_differ_and_never_change(store: Store) -> None:
    assert rows_of(split(store, 0).test_images) == rows_of(split(store, 0).test_images)
    assert rows_of(split(store, 0).test_images) != rows_of(split(store, 1).test_images)


def test_the_name_of_a_split_leads_back_to_its_data_set() -> None:
    name = str(TuningSplit("mnist", 2))
    assert TuningSplit.parsed(name) == TuningSplit("mnist", 2)
    assert (plugin_of(name), plugin_of("mnist")) == ("mnist", "mnist")
    assert TuningSplit.parsed("mnist") is None
