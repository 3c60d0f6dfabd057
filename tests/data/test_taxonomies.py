"""Superclasses of the datasets, and CIFAR-100 out of small files in both of its official formats."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import NOWHERE

from unlearnbench import Dataset, Taxonomy, UserError
from unlearnbench.artefacts.datasets import Datasets, checksum
from unlearnbench.data.cifar100 import PARENTS
from unlearnbench.plugins import registry
from unlearnbench.plugins.contract import BrokenContractError
from unlearnbench.plugins.dataset import Source, check_dataset
from unlearnbench.storage.store import Store

RNG = np.random.default_rng(0)
FINE = {"train": RNG.permutation(np.repeat(np.arange(100), 2)), "test": RNG.permutation(100)}
IMAGES = {part: RNG.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8) for part, labels in FINE.items()}
NAMES = {"fine": [f"kind_{n}" for n in range(100)], "coarse": [f"group_{n}" for n in range(20)]}


def coarse(part: str) -> np.ndarray:
    return np.array(PARENTS)[FINE[part]]


def python_version(root: Path, wrong: int = 0) -> None:
    """Writes the pickled format; the superclasses of the first `wrong` training samples are wrong."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for part in FINE:
        superclasses = coarse(part)
        superclasses[: wrong if part == "train" else 0] += 1
        content = {"data": IMAGES[part].reshape(-1, 3072), "fine_labels": FINE[part].tolist()}
        content |= {"coarse_labels": (superclasses % 20).tolist(), "batch_label": part, "filenames": []}
        (folder / part).write_bytes(pickle.dumps(content, protocol=2))
    names = {f"{level}_label_names": values for level, values in NAMES.items()}
    (folder / "meta").write_bytes(pickle.dumps(names, protocol=2))


def binary_version(root: Path) -> None:
    folder = root / "cifar-100-binary"
    folder.mkdir(parents=True)
    for part in FINE:
        records = [
            bytes([parent, label]) + image.tobytes()
            for parent, label, image in zip(coarse(part).tolist(), FINE[part].tolist(), IMAGES[part], strict=True)
        ]
        (folder / f"{part}.bin").write_bytes(b"".join(records))
    for level, values in NAMES.items():
        (folder / f"{level}_label_names.txt").write_text("\n".join(values) + "\n")


def with_checksums(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = registry.get(Source, "cifar100")
    sums = {file: hashlib.md5((root / file).read_bytes(), usedforsecurity=False).hexdigest() for file in source.files}
    monkeypatch.setattr(source, "files", sums)


def test_both_formats_of_cifar100_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python_version(tmp_path)
    binary_version(tmp_path)
    with_checksums(tmp_path, monkeypatch)
    datasets = Datasets(Store(tmp_path / "cache"))
    for name in ("cifar100", "cifar100-binary"):
        data, _ = datasets.load(name, tmp_path)
        for part, images, labels in (
            ("train", data.train_images, data.train_labels),
            ("test", data.test_images, data.test_labels),
        ):
            assert np.array_equal(images.numpy(), IMAGES[part])
            assert labels.tolist() == FINE[part].tolist()
        assert data.num_classes == 100
        assert data.taxonomy() == Taxonomy(PARENTS, tuple(NAMES["coarse"]), tuple(NAMES["fine"]))
        assert data.taxonomy("superclasses").superclasses(data.train_labels).tolist() == coarse("train").tolist()


class Code:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("it-ran"),)


def test_a_pickled_file_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python_version(tmp_path)
    (tmp_path / "cifar-100-python" / "train").write_bytes(pickle.dumps(Code()))
    with_checksums(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="which is not part of an array"):
        Datasets(Store(tmp_path / "cache")).load("cifar100", tmp_path)
    assert not Path("it-ran").exists()


def test_people_are_what_tarf_forgets() -> None:
    assert [PARENTS.count(parent) for parent in range(20)] == [5] * 20
    assert [label for label, parent in enumerate(PARENTS) if parent == 14] == [2, 11, 35, 46, 98]


def test_other_superclasses_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python_version(tmp_path, wrong=1)
    with_checksums(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"superclass \d+ of class \d+ is not the official one"):
        Datasets(Store(tmp_path / "cache")).load("cifar100", tmp_path)


def test_a_truncated_binary_file_is_refused(tmp_path: Path) -> None:
    binary_version(tmp_path)
    path = tmp_path / "cifar-100-binary" / "train.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="train.bin is damaged: its size, 614799, is no multiple of 3074"):
        Datasets(Store(tmp_path / "cache")).load("cifar100-binary", tmp_path)


def test_strokes_divide_each_digit_into_halves_by_ink() -> None:
    """Independently of the loader: the ink of all light digits is at most that of all heavy ones of the same digit."""
    digits, strokes = (registry.get(Source, name).function(NOWHERE) for name in ("digits-8x8", "digits-strokes"))
    assert torch.equal(strokes.train_images, digits.train_images)
    assert torch.equal(strokes.test_images, digits.test_images)
    taxonomy = strokes.taxonomy("digits")
    for part in ("train", "test"):
        labels = getattr(strokes, f"{part}_labels")
        assert torch.equal(taxonomy.superclasses(labels), getattr(digits, f"{part}_labels"))
    images, labels = strokes.pool.train_images.numpy(), strokes.pool.train_labels.numpy()
    ink = images.reshape(len(images), -1).astype(np.int64).sum(1)
    for digit in range(10):
        light, heavy = ink[labels == 2 * digit], ink[labels == 2 * digit + 1]
        assert 0 <= len(heavy) - len(light) <= 1
        assert light.max() <= heavy.min()
    assert taxonomy.named([7]) == "7 (three, heavy)"


@pytest.mark.parametrize("name", ["digits-8x8", "digits-strokes"])
def test_superclasses_come_out_of_the_cache_as_they_went_in(name: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole = registry.get(Source, name).function(NOWHERE)
    for _ in range(2):
        data, sha = Datasets(store).load(name, NOWHERE)
        assert data.taxonomies == whole.taxonomies
        assert data.pool.taxonomies == whole.taxonomies
        assert sha == checksum(whole)
    assert Datasets(store).load(f"{name}, tuning split 0", NOWHERE)[0].taxonomies == whole.taxonomies
    for part in Datasets(store).divided(name, NOWHERE, 0.5):
        assert part.taxonomies == whole.taxonomies


def test_the_order_of_taxonomies_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = registry.get(Source, "digits-8x8")
    one = Taxonomy.of({"all": range(10)}, [str(n) for n in range(10)])
    two = Taxonomy.of({"low": range(5), "high": range(5, 10)}, [str(n) for n in range(10)])
    whole = source.function(NOWHERE)

    def both(root: Path) -> Dataset:
        return Dataset(*(getattr(whole, f"{p}_{w}") for p in ("train", "test") for w in ("images", "labels")), 10,
                       {"z": two, "a": one})  # fmt: skip

    monkeypatch.setattr(source, "function", both)
    for _ in range(2):
        assert Datasets(Store(tmp_path)).load("digits-8x8", NOWHERE)[0].taxonomy() == two


def test_a_taxonomy_with_gaps_is_refused() -> None:
    whole = registry.get(Source, "digits-8x8").function(NOWHERE)
    gaps = Taxonomy((0, 2, *[0] * 8), ("a", "b", "c"), tuple("0123456789"))
    data = Dataset(whole.train_images, whole.train_labels, whole.test_images, whole.test_labels, 10, {"gaps": gaps})
    with pytest.raises(BrokenContractError, match="taxonomy 'gaps' must give each of 10 classes a name"):
        check_dataset("mine", data)


@pytest.mark.parametrize(
    ("name", "given", "family"),
    [("cifar10", 1, (1, 9)), ("fashion-mnist", 7, (5, 7, 9)), ("digits-8x8", 0, (0, 9))],
)
def test_the_superclasses_of_tarfs_forget_sets(name: str, given: int, family: tuple[int, ...]) -> None:
    from unlearnbench.data.digits import PAIRS
    from unlearnbench.data.torchvision_sets import CIFAR10_PAIRS, KINDS

    taxonomy = {"cifar10": CIFAR10_PAIRS, "fashion-mnist": KINDS, "digits-8x8": PAIRS}[name]
    assert taxonomy.family([given]) == family
