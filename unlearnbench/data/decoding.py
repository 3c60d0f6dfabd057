"""Reads folders of images, a folder for each class, and .npz files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unlearnbench.data.images import Place
from unlearnbench.errors import UserError
from unlearnbench.plugins.dataset import Dataset, Source, has_channels_last
from unlearnbench.plugins.task import choose
from unlearnbench.runtime import seeds
from unlearnbench.runtime.vision import torchvision

TRAIN, TEST = ("train",), ("test", "val", "valid", "validation")
"""The names of folders with training images, and with test images."""
ARRAYS = {
    "train_images": ("train_images", "x_train", "images", "x", "X"),
    "train_labels": ("train_labels", "y_train", "labels", "y"),
    "test_images": ("test_images", "x_test"),
    "test_labels": ("test_labels", "y_test"),
}
"""The names that arrays may have in an .npz file."""
HELD_OUT = 0.2
"""The share of images that are the test set where there is none."""
Part = tuple[Tensor, Tensor]
"""Images, uint8 [n, C, H, W], and labels, int64 [n]."""


class ImageSource(Source):
    """A data set of images in a folder or an .npz file.

    Args:
        name: Its name.
        place: Where the images are.
    """

    def __init__(self, name: str, place: Place) -> None:
        def read(root: Path) -> Dataset:
            """Images in a folder or a file that a preset names."""
            del root  # a preset says where they are
            return decoded(name, place)

        super().__init__(read, title=name, reference="A preset")
        self.place = place
        self.kept = True

    @property
    def content(self) -> dict[str, Any]:
        """What its images depend on: the MD5 of each file, and the size."""
        paths = [path for path in (self.place.images, self.place.test) if path]
        files = {f"{number} {name}": md5 for number, path in enumerate(paths) for name, md5 in md5s(path).items()}
        return {"files": files, "size": self.place.size}

    def read(self, name: str, root: Path) -> Dataset:
        """Decodes the images; `root` does not matter."""
        data: Dataset = self.function(root)
        return data


def md5s(path: Path) -> dict[str, str]:
    """The MD5 of a file, or of all files in a folder by their paths below it."""
    if not path.exists():
        raise UserError(f"there is no file or folder {path}: images = ... in the preset names it")
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    digests = {}
    for file in files:
        name = file.name if path.is_file() else file.relative_to(path).as_posix()
        with file.open("rb") as content:
            digests[name] = hashlib.file_digest(content, fast_md5).hexdigest()
    return digests


def fast_md5() -> Any:
    """MD5, as a checksum and not for security."""
    return hashlib.md5(usedforsecurity=False)


def decoded(name: str, place: Place) -> Dataset:
    """Reads the images at a place.

    Raises:
        UserError: If there are none, or they cannot be a data set; the message says what to change.
    """
    train, test = parts_of(place.images, place.size)
    if place.test:
        if test:
            raise UserError(f"{place.images} has test images of its own: leave out test = ...")
        test = parts_of(place.test, place.size)[0]
    if not test and not place.divisible:
        raise UserError(
            f"{place.images} has no test images, and the supplied original may have seen all images that are there: "
            f"name others with test = 'FOLDER' or 'FILE.npz' below [datasets.{name}]"
        )
    train, test = (train, test) if test else divided(name, *train)
    return Dataset(*train, *test, num_classes=1 + int(train[1].max()))


def divided(name: str, images: Tensor, labels: Tensor) -> tuple[Part, Part]:
    """A fifth of each class for the test, always the same; the others for training."""
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    classes = range(1 + int(labels.max()))
    held_out[choose(labels, classes, HELD_OUT, seeds.generator(name, "test images"))] = True
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


def parts_of(path: Path, size: int) -> tuple[Part, Part | None]:
    """The training images at a path, and the test images if there are any."""
    if path.is_file():
        return arrays_of(path, size)
    folders = {name: path / name for name in (*TRAIN, *TEST) if (path / name).is_dir()}
    train, test = (next((folders[name] for name in names if name in folders), None) for names in (TRAIN, TEST))
    if not train or not test:
        return folder_of_classes(path, size)[0], None
    (train_part, classes), (test_part, test_classes) = (folder_of_classes(folder, size) for folder in (train, test))
    if classes != test_classes:
        different = ", ".join(sorted(set(classes) ^ set(test_classes)))
        raise UserError(f"{train} and {test} must have a folder for each class, and of the same names: not {different}")
    return train_part, test_part


def folder_of_classes(path: Path, size: int) -> tuple[Part, Sequence[str]]:
    """The images in a folder with a folder for each class, and the names of the classes in alphabetical order."""
    try:
        listed = torchvision("datasets").ImageFolder(str(path))
    except (FileNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} must have a folder of images for each class: {reason}") from error
    images = pixels([Path(file) for file, _ in listed.samples], size)
    return (images, torch.tensor([label for _, label in listed.samples], dtype=torch.int64)), listed.classes


def pixels(files: Sequence[Path], size: int) -> Tensor:
    """The pixels of image files, uint8 [n, C, H, W]: grey if all are grey, else red, green and blue.

    Args:
        files: The files.
        size: Height and width that they are resized to; 0: all have one size.
    """
    from PIL import Image, UnidentifiedImageError

    images: list[Any] = []
    for file in files:
        try:
            with Image.open(file) as opened:
                image = opened.convert("L" if opened.mode in ("1", "L") else "RGB")
        except (OSError, UnidentifiedImageError) as error:
            raise UserError(f"{file} cannot be read as an image: {error}") from error
        images.append(image.resize((size, size), Image.Resampling.BILINEAR) if size else image)
        if images[-1].size != images[0].size:
            raise UserError(
                f"{files[0]} has {in_pixels(images[0])} pixels and {file} {in_pixels(images[-1])}: all images must "
                "have one size, e.g. size = 32 below images = ... resizes them"
            )
    is_grey = all(image.mode == "L" for image in images)
    arrays = np.stack([np.asarray(image if is_grey else image.convert("RGB")) for image in images])
    return channels_first(torch.from_numpy(arrays))


def in_pixels(image: Any) -> str:
    """The size of an image in words."""
    return " x ".join(map(str, image.size))


def arrays_of(path: Path, size: int) -> tuple[Part, Part | None]:
    """The training images in an .npz file, and the test images if it has any."""
    if size:
        raise UserError(f"size = {size} is for folders of images: the recipe's resize = {size} resizes those of {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            if not hasattr(file, "files"):
                raise ValueError("it has a single array")
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is no .npz file with images and labels: {error}") from error
    train, test = part_of(path, arrays, "train"), None
    if any(name in arrays for name in ARRAYS["test_images"]):
        test = part_of(path, arrays, "test")
    return train, test


def part_of(path: Path, arrays: Mapping[str, Any], part: str) -> Part:
    """The training or the test images among arrays by name."""
    found = []
    for what in ("images", "labels"):
        names = ARRAYS[f"{part}_{what}"]
        name = next((name for name in names if name in arrays), None)
        if name is None:
            raise UserError(f"{path} has no {part} {what}: it has {', '.join(arrays)}, and needs {' or '.join(names)}")
        found.append(arrays[name])
    images, labels = found
    if labels.shape == (len(images), 1):  # as in MedMNIST
        labels = labels[:, 0]
    if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1 or len(labels) != len(images):
        raise UserError(
            f"{path}: {part} labels must be whole numbers [{len(images)}], not {labels.dtype} {list(labels.shape)}"
        )
    return channels_first(torch.from_numpy(as_bytes(path, images))), torch.from_numpy(labels.astype(np.int64))


def as_bytes(path: Path, images: Any) -> Any:
    """Images as uint8: they are, or they are floats of whole numbers of 255ths from 0 to 1."""
    if images.dtype == np.uint8:
        return images
    scaled = images * 255.0 if images.dtype.kind == "f" else images
    rounded = np.rint(scaled)
    if images.dtype.kind not in "fiu" or np.abs(scaled - rounded).max(initial=0) > 1e-2 or not in_range(rounded):
        raise UserError(
            f"{path} has images in {images.dtype} that are not pixels: they must be uint8 from 0 to 255, or such "
            "divided by 255; networks normalise images themselves"
        )
    return rounded.astype(np.uint8)


def in_range(values: Any) -> bool:
    """True for numbers from 0 to 255."""
    return bool(values.min(initial=0) >= 0 and values.max(initial=0) <= 255)


def channels_first(images: Tensor) -> Tensor:
    """Images [n, H, W], [n, H, W, C] or [n, C, H, W] as [n, C, H, W]."""
    if images.ndim == 3:
        return images.unsqueeze(1)
    if images.ndim == 4 and has_channels_last(images):
        return images.permute(0, 3, 1, 2).contiguous()
    return images
