"""Folders of images and .npz files are data sets without a plugin."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import NOWHERE
from PIL import Image

from unlearnbench import Dataset, UserError
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.data.images import ImageSet, Place
from unlearnbench.plugins.dataset import check_dataset
from unlearnbench.storage.store import Store

RANDOM = np.random.default_rng(0)


def read(path: Path, store: Store, name: str = "mine", **place: Any) -> Dataset:
    """Reads images as a run does."""
    data, _ = Datasets(store).load(ImageSet(name, Place(path, **place)), NOWHERE)
    check_dataset(name, data)
    return data


def drawn(count: int, *shape: int) -> Any:
    return RANDOM.integers(0, 256, (count, *shape), dtype=np.uint8)


def folder(path: Path, count: int = 5, shape: tuple[int, ...] = (8, 6), classes: str = "ab") -> Path:
    """A folder with a folder of pictures for each class."""
    for name in classes:
        (path / name).mkdir(parents=True)
        for number, pixels in enumerate(drawn(count, *shape)):
            Image.fromarray(pixels).save(path / name / f"{number}.png")
    return path


@pytest.mark.parametrize(("shape", "expected"), [((8, 6), (1, 8, 6)), ((8, 6, 3), (3, 8, 6))], ids=["grey", "colour"])
@pytest.mark.parametrize("test", ["test", "val"])
def test_a_folder_with_training_and_test_images(
    shape: tuple[int, ...], expected: tuple[int, ...], test: str, store: Store, tmp_path: Path
) -> None:
    folder(tmp_path / "all" / "train", 5, shape)
    folder(tmp_path / "all" / test, 3, shape)
    (tmp_path / "all" / "train" / "a" / "notes.txt").write_text("no image")
    data = read(tmp_path / "all", store)
    assert data.shape == expected
    assert data.train_labels.tolist() == [0] * 5 + [1] * 5
    assert data.test_labels.tolist() == [0] * 3 + [1] * 3
    with Image.open(tmp_path / "all" / "train" / "b" / "2.png") as image:
        pixels = torch.from_numpy(np.asarray(image).copy())
    assert torch.equal(data.train_images[7], pixels.permute(2, 0, 1) if len(shape) == 3 else pixels[None])


def test_without_test_images_a_fifth_of_each_class_is_held_out_always_the_same(store: Store, tmp_path: Path) -> None:
    first, again = (read(folder(tmp_path / "x", 10), store), read(tmp_path / "x", Store(tmp_path / "other")))
    assert first.train_labels.bincount().tolist() == [8, 8]
    assert first.test_labels.bincount().tolist() == [2, 2]
    assert torch.equal(first.test_images, again.test_images)


def test_where_a_network_has_seen_all_images_no_test_set_is_drawn(store: Store, tmp_path: Path) -> None:
    folder(tmp_path / "x")
    with pytest.raises(UserError, match=r"may have seen all images .* test = .* below \[datasets.mine\]"):
        read(tmp_path / "x", store, divisible=False)
    data = read(tmp_path / "x", store, divisible=False, test=folder(tmp_path / "y", 2))
    assert (len(data.train_labels), len(data.test_labels)) == (10, 4)


def test_images_of_several_sizes_are_resized_if_the_preset_says_so(store: Store, tmp_path: Path) -> None:
    folder(tmp_path / "x", 10)
    Image.fromarray(drawn(1, 9, 9)[0]).save(tmp_path / "x" / "b" / "large.png")
    with pytest.raises(UserError, match=r"0.png has 6 x 8 pixels and .*large.png 9 x 9: .* size = 32"):
        read(tmp_path / "x", store)
    assert read(tmp_path / "x", store, size=5).shape == (1, 5, 5)


def npz(path: Path, images: Any, count: int = 40, **more: Any) -> Path:
    labels = np.arange(count) % 4
    names = {"x_train": images[: count // 2], "y_train": labels[: count // 2], "x_test": images[count // 2 :]}
    np.savez(path, **{**names, "y_test": labels[count // 2 :], **more})
    return path


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (3, 8, 8), (8, 8, 3), (8, 8, 1)], ids=str)
def test_an_npz_may_have_its_channels_at_any_end(shape: tuple[int, ...], store: Store, tmp_path: Path) -> None:
    images = drawn(40, *shape)
    data = read(npz(tmp_path / "x.npz", images), store)
    assert data.shape == (3 if 3 in shape else 1, 8, 8)
    own = torch.from_numpy(images[:20])
    pixels = own[:, None] if own.ndim == 3 else own.permute(0, 3, 1, 2) if shape[-1] in (1, 3) else own
    assert torch.equal(data.train_images, pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_labels_of_any_integers_are_converted(dtype: type, store: Store, tmp_path: Path) -> None:
    labels = (np.arange(20) % 4).astype(dtype)
    data = read(npz(tmp_path / "x.npz", drawn(40, 8, 8), y_train=labels), store)
    assert data.train_labels.dtype == torch.int64
    assert data.train_labels.tolist() == labels.tolist()


def test_labels_may_be_a_column(store: Store, tmp_path: Path) -> None:
    labels = (np.arange(20) % 4).astype(np.uint8)
    data = read(npz(tmp_path / "x.npz", drawn(40, 8, 8), y_train=labels[:, None]), store)
    assert data.train_labels.tolist() == labels.tolist()


def test_pixels_that_were_divided_by_255_are_multiplied_again(store: Store, tmp_path: Path) -> None:
    images = drawn(40, 8, 8)
    data = read(npz(tmp_path / "x.npz", images.astype(np.float32) / 255), store)
    assert torch.equal(data.train_images[:, 0], torch.from_numpy(images[:20]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": RANDOM.normal(size=(20, 8, 8))}, "images in float64 that are not pixels: they must be uint8"),
        ({"y_train": np.linspace(0, 1, 20)}, r"train labels must be whole numbers \[20\], not float64 \[20\]"),
        ({"y_train": np.arange(19)}, r"train labels must be whole numbers \[20\], not int64 \[19\]"),
    ],
)
def test_arrays_that_are_no_images_or_labels_are_named(
    change: dict[str, Any], message: str, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        read(npz(tmp_path / "x.npz", drawn(40, 8, 8), **change), store)


def test_what_is_missing_is_named(store: Store, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", pictures=drawn(4, 8, 8))
    with pytest.raises(UserError, match="has no train images: it has pictures, and needs train_images or x_train"):
        read(tmp_path / "x.npz", store)
    with pytest.raises(UserError, match="there is no file or folder"):
        read(tmp_path / "nowhere", store)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="must have a folder of images for each class"):
        read(tmp_path / "empty", store)
    folder(tmp_path / "two" / "train")
    folder(tmp_path / "two" / "test", classes="ac")
    with pytest.raises(UserError, match="must have a folder for each class, and of the same names: not b, c"):
        read(tmp_path / "two", store)
    (tmp_path / "text.npz").write_text("none")
    with pytest.raises(UserError, match=r"text.npz is no .npz file"):
        read(tmp_path / "text.npz", store)


def test_images_are_decoded_once_and_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unlearnbench.data import decoding

    calls, decode = [], decoding.decoded
    monkeypatch.setattr(decoding, "decoded", lambda *place: calls.append(place) or decode(*place))
    store, path = Store(tmp_path / "cache"), folder(tmp_path / "x", 10)
    first = read(path, store)
    moved = path.rename(tmp_path / "y")
    assert torch.equal(read(moved, store).train_images, first.train_images)
    assert len(calls) == 1
    Image.fromarray(drawn(1, 8, 6)[0]).save(moved / "a" / "0.png")
    assert not torch.equal(read(moved, store).pool.train_images, first.pool.train_images)
    assert len(calls) == 2
    read(moved, store, size=5)
    assert len(calls) == 3


def test_a_worker_knows_the_data_set_by_its_name_alone(tmp_path: Path) -> None:
    name = ImageSet("mine", Place(tmp_path, size=3))
    again = pickle.loads(pickle.dumps(name))
    assert again == "mine"
    assert again.place == name.place


def test_the_name_of_an_installed_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="digits-8x8 is the name of an installed data set"):
        ImageSet("digits-8x8", Place(tmp_path))
