"""What a data set must do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from unlearnbench.artefacts.datasets import checksum
from unlearnbench.checks import requirements
from unlearnbench.checks.requirements import outcome, require, skip
from unlearnbench.checks.side_effects import SideEffects, recording
from unlearnbench.plugins.dataset import Dataset, Source
from unlearnbench.runtime import seeds
from unlearnbench.storage import folders

SPREAD = 16
"""The least difference of the darkest and the brightest pixel, of 255."""
TWICE = 0.1
"""The largest share of test images that may also be training images: real data sets have some."""


@dataclass
class Bench:
    """A data set under test."""

    name: str
    plugin: Source
    data: str | Path | None = None
    effects: SideEffects = field(default_factory=SideEffects)

    @cached_property
    def root(self) -> Path:
        """The folder with its files."""
        return folders.data(self.data)

    def read(self, chance: int = 0) -> Dataset:
        """Decodes it; `chance` seeds the global generators, which it must not use."""
        with seeds.pinned("check", chance), recording(self.effects):
            return self.plugin.read(self.name, self.root)

    @cached_property
    def result(self) -> Dataset | Exception:
        """What it returns, or the exception that it raises; without its files the check is skipped."""
        states = self.plugin.state(self.root).values()
        if states and set(states) == {"missing"}:
            skip(f"its files are not in {self.root}: see `unlearnbench data fetch`, and --data")
        try:
            return self.read()
        except Exception as error:  # anything that a plugin raises
            return error

    def dataset(self) -> Dataset:
        """The data set; without one the check is skipped."""
        if not isinstance(self.result, Dataset):
            skip(f"it cannot be read: {self.result}")
        return self.result

    def parts(self) -> list[tuple[str, Tensor, Tensor]]:
        """Name, images and labels of the training and of the test part."""
        data = self.dataset()
        return [("training", data.train_images, data.train_labels), ("test", data.test_images, data.test_labels)]


def can_be_read(bench: Bench) -> None:
    """It reads its files and returns a `Dataset`."""
    is_dataset = isinstance(bench.result, Dataset)
    require(is_dataset, f"it {outcome(bench.result)}; it must return a Dataset")


def gives_images_as_bytes(bench: Bench) -> None:
    """Images are uint8 [n, C, H, W], at least one in both parts, and all of one size."""
    for part, images, _ in bench.parts():
        require(
            images.dtype == torch.uint8 and images.ndim == 4 and images.numel() > 0,
            f"{part} images must be uint8 [n, C, H, W], not {images.dtype} {list(images.shape)}",
        )
    sizes = {tuple(images.shape[1:]) for _, images, _ in bench.parts()}
    require(len(sizes) == 1, f"training and test images must be of one size, not {sorted(sizes)}")


def gives_labels_in_range(bench: Bench) -> None:
    """Labels are int64 [n], one for each image, from 0 to `num_classes` - 1."""
    top = bench.dataset().num_classes
    for part, images, labels in bench.parts():
        is_right = labels.dtype == torch.int64 and labels.shape == images.shape[:1]
        require(is_right, f"{part} labels must be int64, one for each image, not {labels.dtype} {list(labels.shape)}")
        require(bool(((labels >= 0) & (labels < top)).all()), f"{part} labels must be from 0 to {top - 1}")


def has_every_class(bench: Bench) -> None:
    """Every class occurs in both parts."""
    for part, _, labels in bench.parts():
        missing = sorted(set(range(bench.dataset().num_classes)) - set(labels.tolist()))
        require(not missing, f"no {part} image is of class {missing}: number the classes from 0 without gaps")


def uses_the_range_of_pixels(bench: Bench) -> None:
    """Pixels range from 0 to 255, not from 0 to 1."""
    for part, images, _ in bench.parts():
        low, high = int(images.min()), int(images.max())
        require(
            high - low >= SPREAD, f"{part} pixels are all from {low} to {high}: scale them to 0 to 255 before `.byte()`"
        )


def keeps_test_images_apart(bench: Bench) -> None:
    """Hardly any test image is also a training image."""
    train, test = ({bytes(image.numpy().tobytes()) for image in images} for _, images, _ in bench.parts())
    share = len(train & test) / max(1, len(test))
    require(share <= TWICE, f"{share:.0%} of the test images are training images: then nothing is held out")


def is_reproducible(bench: Bench) -> None:
    """Reading it again gives the same, to the bit."""
    before = checksum(bench.dataset())
    require(checksum(bench.read(chance=1)) == before, "reading it twice differs: seed all random numbers")


def says_what_its_files_are(bench: Bench) -> None:
    """Its files are named relative to the folder of data sets, with their MD5, so that damage is noticed."""
    for name, md5 in bench.plugin.files.items():
        path = PurePosixPath(name)
        is_relative = not path.is_absolute() and ".." not in path.parts
        require(is_relative, f"name file {name} relative to the folder of data sets")
        is_md5 = bool(re.fullmatch("[0-9a-f]{32}", md5))
        require(is_md5, f"files={{{name!r}: ...}} must have the MD5 in 32 hexadecimal digits")
    if bench.plugin.fetch:
        require(bool(bench.plugin.files), "it can be fetched, so name its files with their MD5: files={...}")


CHECKS = (
    requirements.is_documented,
    requirements.takes_options_as_keywords,
    requirements.has_options_that_records_can_keep,
    says_what_its_files_are,
    can_be_read,
    gives_images_as_bytes,
    gives_labels_in_range,
    has_every_class,
    uses_the_range_of_pixels,
    keeps_test_images_apart,
    is_reproducible,
    requirements.restores_global_settings,
)
