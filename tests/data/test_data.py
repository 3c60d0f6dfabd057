"""The bundled digits are real and have no new grey values; their split never changes; they are decoded once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import unlearnbench
from unlearnbench import UserError
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.artefacts.datasets import Datasets, checksum
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset, Source
from unlearnbench.storage.store import Store

NOWHERE = Path("no", "files")


def test_the_split_is_stratified_and_never_changes(store: Store, digits: Dataset) -> None:
    assert (len(digits.train_labels), len(digits.test_labels)) == (599, 1198)
    share = digits.train_labels.bincount() / torch.cat([digits.train_labels, digits.test_labels]).bincount()
    assert (share - 1 / 3).abs().max() < 0.005
    _, sha = Datasets(store).load("digits-8x8", NOWHERE)
    assert sha == "eaae1e31ad0c36a9a9653b425c318a04cb167d87840e036b926a8604e4fc109f"


def test_every_image_is_one_of_scikit_learns(digits: Dataset) -> None:
    images = digits.pool.train_images
    assert images.shape == (1797, 1, 8, 8)
    grey = torch.tensor(load_digits().images / 16 * 255).round().to(torch.uint8)
    assert sorted(map(bytes, images.flatten(1).numpy())) == sorted(map(bytes, grey.flatten(1).numpy()))


def test_data_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    first, _ = Datasets(store).load("digits-8x8", NOWHERE)
    monkeypatch.setattr(Source, "read", lambda *_: pytest.fail("decoded again"))
    second, _ = Datasets(store).load("digits-8x8", NOWHERE)
    assert torch.equal(first.train_images, second.train_images)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of mappings")
def test_files_that_are_not_declared_are_read_again_by_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_folder(root: Path) -> Dataset:
        images, labels = torch.from_numpy(np.load(root / "images.npy")), torch.arange(8) % 2
        return Dataset(images[:4], labels[:4], images[4:], labels[4:], 2)

    monkeypatch.setattr(registry, "get", lambda *_: Source(of_folder, title="Mine"))
    checksums = set()
    for value in (0, 1):
        np.save(tmp_path / "images.npy", 7 * np.arange(32, dtype=np.uint8).reshape(8, 1, 2, 2) + value)
        checksums.add(Datasets(Store(tmp_path / "cache")).load("mine", tmp_path)[1])  # as in another process
    assert len(checksums) == 2
    assert not (tmp_path / "cache").exists()


def test_data_of_files_that_were_changed_are_not_used(tiny: Path, store: Store, tmp_path: Path) -> None:
    plan = unlearnbench.run(tiny, methods="original", cache=tmp_path, results=tmp_path, dry_run=True).plan
    original = next(artefact for artefact in plan.shared if artefact.kind == "original")
    other = {**original.key, "dataset": {**original.key["dataset"], "checksum": "of other files"}}
    with pytest.raises(RuntimeError, match="the files of digits-8x8 were changed: run the same command again"):
        WorkerContext(store).make(dataclasses.replace(original, key=other))


def test_the_images_are_mapped_from_the_cache_file(store: Store, digits: Dataset) -> None:
    address = digits.test_images.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
        if first <= address < last:
            assert str(store.root / "dataset") in line
            return
    pytest.fail("the images are in no mapping")


def test_the_pool_shares_the_memory_of_the_data_set(digits: Dataset) -> None:
    pool = digits.pool
    assert pool.train_images.data_ptr() == digits.train_images.data_ptr()
    assert torch.equal(pool.train_images, torch.cat([digits.train_images, digits.test_images]))
    assert torch.equal(pool.train_labels, torch.cat([digits.train_labels, digits.test_labels]))
    assert len(pool.test_labels) == 0


def test_a_checksum_depends_on_every_pixel_and_label(digits: Dataset) -> None:
    images, labels = digits.train_images.clone(), digits.test_labels.clone()
    images[700, 0, 14, 14] ^= 1
    labels[0] = (labels[0] + 1) % 10
    changed = [
        Dataset(images, digits.train_labels, digits.test_images, digits.test_labels, 10),
        Dataset(digits.train_images, digits.train_labels, digits.test_images, labels, 10),
    ]
    assert len({checksum(d) for d in [digits, *changed]}) == 3


def test_an_unknown_name_gets_a_hint(store: Store) -> None:
    with pytest.raises(UserError, match="unknown dataset 'digits8x8': did you mean 'digits-8x8'"):
        Datasets(store).load("digits8x8", NOWHERE)
