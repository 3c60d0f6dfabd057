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
from unlearnbench.checks.requirements import no_need, outcome, require
from unlearnbench.checks.watching import Watch, watched
from unlearnbench.plugins.dataset import Dataset, Source
from unlearnbench.runtime import seeds
from unlearnbench.storage import folders

SPREAD = 16
"""How far apart the darkest and the brightest pixel must be, of 255."""
TWICE = 0.1
"""The share of test images that may be training images, too: real data sets have some."""


@dataclass
class Bench:
    """A data set, and what it reads."""

    name: str
    plugin: Source
    data: str | Path | None = None
    watch: Watch = field(default_factory=Watch)

    @cached_property
    def root(self) -> Path:
        """The folder with its files."""
        return folders.data(self.data)

    def read(self, chance: int = 0) -> Dataset:
        """Decodes it; `chance` seeds the global generators, which it must not use."""
        with seeds.pinned("check", chance), watched(self.watch):
            return self.plugin.read(self.name, self.root)

    @cached_property
    def found(self) -> Dataset | Exception:
        """What it reads, or what was raised instead."""
        states = self.plugin.state(self.root).values()
        if states and set(states) == {"missing"}:
            no_need(f"its files are not in {self.root}: see `unlearnbench data fetch`, and --data")
        try:
            return self.read()
        except Exception as error:  # whatever a plugin raises
            return error

    @property
    def good(self) -> Dataset:
        """What it reads, if nothing was raised."""
        if not isinstance(self.found, Dataset):
            no_need(f"it cannot be read: {self.found}")
        assert isinstance(self.found, Dataset)
        return self.found

    @property
    def parts(self) -> list[tuple[str, Tensor, Tensor]]:
        """Training and test part: name, images, labels."""
        data = self.good
        return [("training", data.train_images, data.train_labels), ("test", data.test_images, data.test_labels)]


def can_be_read(bench: Bench) -> None:
    """It reads its files and gives a `Dataset`."""
    found = bench.found
    require(isinstance(found, Dataset), f"it {outcome(found)}; it must give a Dataset")


def gives_images_as_bytes(bench: Bench) -> None:
    """Images are uint8 [n, C, H, W], at least one in both parts, and all of one size."""
    for part, images, _ in bench.parts:
        require(
            images.dtype == torch.uint8 and images.ndim == 4 and images.numel() > 0,
            f"{part} images must be uint8 [n, C, H, W], not {images.dtype} {list(images.shape)}",
        )
    sizes = {tuple(images.shape[1:]) for _, images, _ in bench.parts}
    require(len(sizes) == 1, f"training and test images must be of one size, not {sorted(sizes)}")


def gives_labels_in_range(bench: Bench) -> None:
    """Labels are int64 [n], one for each image, from 0 to `num_classes` - 1."""
    top = bench.good.num_classes
    for part, images, labels in bench.parts:
        right = labels.dtype == torch.int64 and labels.shape == images.shape[:1]
        require(right, f"{part} labels must be int64, one for each image, not {labels.dtype} {list(labels.shape)}")
        require(bool(((labels >= 0) & (labels < top)).all()), f"{part} labels must be from 0 to {top - 1}")


def has_every_class(bench: Bench) -> None:
    """Every class occurs in both parts."""
    for part, _, labels in bench.parts:
        missing = sorted(set(range(bench.good.num_classes)) - set(labels.tolist()))
        require(not missing, f"no {part} image is of class {missing}: number the classes from 0 without gaps")


def uses_the_range_of_pixels(bench: Bench) -> None:
    """Pixels go from 0 to 255, not from 0 to 1."""
    for part, images, _ in bench.parts:
        low, high = int(images.min()), int(images.max())
        require(
            high - low >= SPREAD, f"{part} pixels are all from {low} to {high}: scale them to 0 to 255 before `.byte()`"
        )


def keeps_test_images_apart(bench: Bench) -> None:
    """Hardly any test image is a training image, too."""
    train, test = ({bytes(image.numpy().tobytes()) for image in images} for _, images, _ in bench.parts)
    share = len(train & test) / max(1, len(test))
    require(share <= TWICE, f"{share:.0%} of the test images are training images: nothing can be held out like that")


def is_reproducible(bench: Bench) -> None:
    """Reading it again gives the same, bit by bit."""
    before = checksum(bench.good)
    require(checksum(bench.read(chance=1)) == before, "reading it twice differs: seed whatever it draws")


def says_what_its_files_are(bench: Bench) -> None:
    """Its files are named below the folder of data sets, with their MD5, so that a damaged one is noticed."""
    for name, md5 in bench.plugin.files.items():
        path = PurePosixPath(name)
        require(
            not path.is_absolute() and ".." not in path.parts, f"name file {name} relative to the folder of data sets"
        )
        require(
            bool(re.fullmatch("[0-9a-f]{32}", md5)), f"files={{{name!r}: ...}} wants the MD5 in 32 hexadecimal digits"
        )
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
