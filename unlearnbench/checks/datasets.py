"""What a data set must do."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from unlearnbench.artefacts.datasets import checksum
from unlearnbench.checks import requirements
from unlearnbench.checks.requirements import outcome, skip
from unlearnbench.checks.side_effects import SideEffects, recording
from unlearnbench.plugins.contract import BrokenContractError, require
from unlearnbench.plugins.dataset import (
    Dataset,
    Source,
    require_apart,
    require_bytes,
    require_every_class,
    require_files,
    require_labels,
    require_range_of_pixels,
)
from unlearnbench.runtime import seeds
from unlearnbench.storage import folders


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
        absent = f"its files are not in {self.root}: see `unlearnbench data fetch`, and --data"
        try:
            states = self.plugin.state(self.root).values()
        except BrokenContractError:
            skip("its files are not named rightly: see says-what-its-files-are")
        if states and set(states) == {"missing"}:
            skip(absent)
        try:
            return self.read()
        except FileNotFoundError as error:
            if not self.plugin.kept and Path(str(error.filename)).is_relative_to(self.root):
                skip(absent)
            return error
        except Exception as error:  # anything that a plugin raises
            return error

    def dataset(self) -> Dataset:
        """The data set; without one the check is skipped."""
        if not isinstance(self.result, Dataset):
            skip("it cannot be read: see can-be-read")
        return self.result


def can_be_read(bench: Bench) -> None:
    """It reads its files and returns a `Dataset`."""
    is_dataset = isinstance(bench.result, Dataset)
    require(is_dataset, f"it {outcome(bench, bench.result)}; it must return a Dataset")


def gives_images_as_bytes(bench: Bench) -> None:
    """Images are uint8 [n, C, H, W], at least one in both parts, and all of one size."""
    require_bytes(bench.dataset())


def gives_labels_in_range(bench: Bench) -> None:
    """Labels are int64 [n], one for each image, from 0 to `num_classes` - 1."""
    require_labels(bench.dataset())


def has_every_class(bench: Bench) -> None:
    """Every class occurs in both parts."""
    require_every_class(bench.dataset())


def uses_the_range_of_pixels(bench: Bench) -> None:
    """Pixels range from 0 to 255, not from 0 to 1."""
    require_range_of_pixels(bench.dataset())


def keeps_test_images_apart(bench: Bench) -> None:
    """Hardly any test image is also a training image."""
    require_apart(bench.dataset())


def is_reproducible(bench: Bench) -> None:
    """Reading it again gives the same, to the bit."""
    before = checksum(bench.dataset())
    require(checksum(bench.read(chance=1)) == before, "reading it twice differs: seed all random numbers")


def says_what_its_files_are(bench: Bench) -> None:
    """Its files are named relative to the folder of data sets, with their MD5, so that damage is noticed."""
    require_files(bench.plugin)


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
