"""The contract of datasets: functions that read images and labels from files."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from unlearnbench.errors import UserError, unknown
from unlearnbench.plugins.contract import explaining, naming, require
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.plugins.taxonomy import Taxonomy
from unlearnbench.runtime import audit
from unlearnbench.runtime.frames import INSTALLED

INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32)
"""The types that labels are converted from."""
CHANNELS = (1, 3, 4)
"""The usual numbers of channels of images."""


@dataclass(frozen=True)
class Dataset:
    """Images and labels, split into training and test.

    Attributes:
        train_images: uint8 [N, C, H, W], 0 to 255.
        train_labels: int64 [N], 0 to `num_classes` - 1; other integers are converted.
        test_images: uint8 [M, C, H, W].
        test_labels: int64 [M], likewise.
        num_classes: The number of classes.
        taxonomies: Superclasses of these classes, by name; the first is the default of tasks that need one.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    num_classes: int
    taxonomies: Mapping[str, Taxonomy] = field(default_factory=dict, repr=False)
    _pool: Dataset | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("train_labels", "test_labels"):
            labels = getattr(self, name)
            if isinstance(labels, Tensor) and labels.dtype in INTEGERS:
                object.__setattr__(self, name, labels.long())

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def pool(self) -> Dataset:
        """All images as training data, without a test part; the shadow models' training sets are drawn from it."""
        return self._pool or Dataset(
            torch.cat([self.train_images, self.test_images]),
            torch.cat([self.train_labels, self.test_labels]),
            self.test_images[:0],
            self.test_labels[:0],
            self.num_classes,
            self.taxonomies,
        )

    @classmethod
    def of_pool(
        cls, images: Tensor, labels: Tensor, train: int, num_classes: int, taxonomies: Mapping[str, Taxonomy]
    ) -> Dataset:
        """A data set of the first `train` images and the others; it and its pool share the arguments' memory."""
        pool = cls(images, labels, images[:0], labels[:0], num_classes, taxonomies)
        return cls(images[:train], labels[:train], images[train:], labels[train:], num_classes, taxonomies, pool)

    def taxonomy(self, name: str = "") -> Taxonomy:
        """A taxonomy by name; "" is the first.

        Raises:
            UserError: If there is none of that name, or none at all.
        """
        if not self.taxonomies:
            raise UserError(
                "this dataset has no superclasses, which a dataset plugin returns, Dataset(..., taxonomies={...}): see "
                "the page on label mismatch"
            )
        if name and name not in self.taxonomies:
            raise unknown("taxonomy", name, self.taxonomies)
        return self.taxonomies[name or next(iter(self.taxonomies))]


class Source(Plugin):
    """A function of the folder with the files of a data set that returns a `Dataset`.

    Args:
        function: `(folder) -> Dataset`.
        title: The name in tables.
        reference: The paper or place that the data come from.
        files: The MD5 (hexadecimal) of each file that it reads, by path below the folder; empty if it reads none. None:
            unknown, so every process decodes the data set again, and nothing is kept in the cache.
        fetch: `(folder) -> None` downloads these files.
    """

    kind = "dataset"

    def __init__(
        self,
        function: Callable[[Path], Dataset],
        *,
        title: str,
        reference: str = "",
        files: Mapping[str, str] | None = None,
        fetch: Callable[[Path], None] | None = None,
    ) -> None:
        super().__init__(function, title=title, reference=reference)
        self.files = dict(files or {})
        self.kept = files is not None
        self.fetch = fetch

    @property
    def content(self) -> dict[str, Any]:
        """What its images depend on, for the key of what is kept of it."""
        return {"files": self.files}

    def faults(self, root: Path) -> dict[str, str]:
        """What is wrong with each file that is not as it must be, in words, e.g. "is missing"; empty if all are right.

        Raises:
            BrokenContractError: If a name leads outside of the folder, or an MD5 is none.
        """
        require_files(self)
        faults = {name: fault(root / name, md5) for name, md5 in self.files.items()}
        return {name: text for name, text in faults.items() if text}

    def state(self, root: Path) -> dict[str, str]:
        """The state of each file by path: "ok", "missing" or "damaged"."""
        faults = self.faults(root)
        states = {"": "ok", MISSING: "missing"}
        return {name: states.get(faults.get(name, ""), "damaged") for name in self.files}

    def read(self, name: str, root: Path) -> Dataset:
        """Checks the files and decodes them, and no others.

        The function gets a folder with links to the files that were checked, and nothing else. A function whose files
        are unknown gets the folder itself, and nothing of it is kept.

        Raises:
            UserError: As `check`, or if the function reads a file that is not among `files`, wherever it is.
        """
        self.check(name, root)
        if not self.kept:
            with explaining(f"dataset {name}", name, {}):
                data: Dataset = self.function(root)
            return data
        with tempfile.TemporaryDirectory(prefix="unlearnbench-checked-") as folder:
            checked, others = Path(folder), list[Path]()
            targets = {file: (root / file).resolve() for file in self.files}
            for file, target in targets.items():
                (checked / file).parent.mkdir(parents=True, exist_ok=True)
                (checked / file).symlink_to(target)
            try:
                with explaining(f"dataset {name}", name, {}), collecting_reads(others, [checked, *targets.values()]):
                    data = self.function(checked)
            except FileNotFoundError as error:
                missing = Path(str(error.filename))
                file = str(missing.relative_to(checked)) if missing.is_relative_to(checked) else str(missing)
                raise UserError(f"dataset {name} reads {file}, whose MD5 is not among its files=: add it") from error
        if others:
            raise UserError(
                f"dataset {name} reads {others[0]}, which is not in the folder that it gets: name it in files= with "
                "its MD5, or leave out files=, so that nothing of this dataset is kept"
            )
        return data

    def check(self, name: str, root: Path) -> None:
        """Raises `UserError` if files are missing or damaged; the message names one, and says what to do."""
        for file, text in self.faults(root).items():
            command = f"`unlearnbench data fetch {name} --data {shlex.quote(str(root))}`"
            if text == MISSING:
                action = f"run {command}" if self.fetch else "put its files there"
                raise UserError(
                    f"{name} is not in {root} ({file} is missing): {action}, or name the folder that has it with --data"
                )
            action = f"delete it and run {command}" if self.fetch else "replace it"
            raise UserError(f"{root / file} is damaged (it {text}): {action}")


@contextmanager
def collecting_reads(others: list[Path], allowed: Sequence[Path]) -> Iterator[None]:
    """Adds to `others`, in a block, the data files that are read beside allowed files and those of allowed folders.

    What the block has written itself, such as an unpacked archive, the data of installed packages, and what is read
    while a module is imported, such as time zones, are left out. Libraries that open files without Python are not seen.
    """
    written: set[Path] = set()

    def collect(event: str, arguments: tuple[Any, ...]) -> None:
        file = audit.opened(event, arguments)
        if file is None or audit.is_importing():
            return
        path = Path(os.path.normpath(file[0].absolute()))
        if file[1]:
            written.add(path)
        elif path not in written and not any(map(path.is_relative_to, allowed)) and not is_of_installation(path):
            others.append(path)

    with audit.listening(collect):
        yield


def is_of_installation(path: Path) -> bool:
    """True for files of Python and of installed packages."""
    return bool(INSTALLED & set(path.parts)) or path.is_relative_to(sys.prefix) or path.is_relative_to(sys.base_prefix)


MISSING = "is missing"


def fault(path: Path, md5: str) -> str:
    """What is wrong with a file, in words; "" if its MD5 is as it must be."""
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    present = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if present == md5:
        return ""
    return f"has {len(content):,} bytes, whose MD5 is {present}, not {md5}" if content else "is empty"


def dataset(
    *,
    title: str,
    reference: str = "",
    files: Mapping[str, str] | None = None,
    fetch: Callable[[Path], None] | None = None,
) -> Callable[[Callable[[Path], Dataset]], Source]:
    """Makes a function `(folder) -> Dataset` a data set of the suite; see `Source`."""
    return lambda function: Source(function, title=title, reference=reference, files=files, fetch=fetch)


SPREAD = 16
"""The least difference of the darkest and the brightest pixel, of 255."""
TWICE = 0.1
"""The largest share of test images that may also be training images: real datasets have some."""


def check_dataset(name: str, data: object) -> None:
    """Raises `BrokenContractError` unless a result of a dataset's function is as `Dataset` documents."""
    with naming(f"dataset {name}"):
        require(isinstance(data, Dataset), f"it returns {type(data).__name__}; it must return a Dataset")
        assert isinstance(data, Dataset)
        for requirement in REQUIREMENTS:
            requirement(data)


def require_files(source: Source) -> None:
    """Raises unless files are named relative to the folder of datasets, each with its MD5."""
    for name, md5 in source.files.items():
        path = PurePosixPath(name)
        is_below = bool(path.parts) and not path.is_absolute() and ".." not in path.parts
        require(is_below, f"name file {name} relative to the folder of datasets")
        is_md5 = isinstance(md5, str) and bool(re.fullmatch("[0-9a-f]{32}", md5))
        require(is_md5, f"files={{{name!r}: ...}} must have the MD5 in 32 hexadecimal digits")
    require(not source.fetch or bool(source.files), "it can be fetched, so name its files with their MD5: files={...}")


def parts_of(data: Dataset) -> list[tuple[str, Tensor, Tensor]]:
    """Name, images and labels of the training and of the test part."""
    return [("training", data.train_images, data.train_labels), ("test", data.test_images, data.test_labels)]


def require_bytes(data: Dataset) -> None:
    """Raises unless images are uint8 [n, C, H, W], at least one in both parts, and all of one size."""
    for part, images, _ in parts_of(data):
        require(
            isinstance(images, Tensor) and images.dtype == torch.uint8 and images.ndim == 4 and images.numel() > 0,
            f"{part} images must be uint8 [n, C, H, W], not {described(images)}",
        )
        require(
            not has_channels_last(images),
            f"{part} images are {described(images)}, which is [n, H, W, C]: put the channels first, "
            "`images.permute(0, 3, 1, 2)`",
        )
    sizes = {tuple(images.shape[1:]) for _, images, _ in parts_of(data)}
    require(len(sizes) == 1, f"training and test images must be of one size, not {sorted(sizes)}")


def has_channels_last(images: Tensor) -> bool:
    """Whether four-dimensional images seem to have their channels in the last dimension and not in the second."""
    return images.shape[-1] in CHANNELS and images.shape[1] not in CHANNELS


def require_labels(data: Dataset) -> None:
    """Raises unless labels are int64 [n], one for each image, from 0 to `num_classes` - 1."""
    top = data.num_classes
    require(type(top) is int and top > 0, f"num_classes must be a whole number above 0, not {top!r}")
    for part, images, labels in parts_of(data):
        is_right = isinstance(labels, Tensor) and labels.dtype == torch.int64 and labels.shape == images.shape[:1]
        require(is_right, f"{part} labels must be int64, one for each image, not {described(labels)}")
        require(bool(((labels >= 0) & (labels < top)).all()), f"{part} labels must be from 0 to {top - 1}")


def require_every_class(data: Dataset) -> None:
    """Raises unless every class occurs in both parts."""
    for part, _, labels in parts_of(data):
        missing = sorted(set(range(data.num_classes)) - set(labels.unique().tolist()))
        require(not missing, f"no {part} image is of class {missing}: number the classes from 0 without gaps")


def require_range_of_pixels(data: Dataset) -> None:
    """Raises if pixels seem to be from 0 to 1 instead of 255."""
    for part, images, _ in parts_of(data):
        low, high = int(images.min()), int(images.max())
        scale = f"{part} pixels are all from {low} to {high}: scale them to 0 to 255 before `.byte()`"
        require(high - low >= SPREAD, scale)


def require_apart(data: Dataset) -> None:
    """Raises if more than a few of the test images are also training images."""
    train, test = ({hash(image.tobytes()) for image in images.numpy()} for _, images, _ in parts_of(data))
    share = len(train & test) / max(1, len(test))
    require(share <= TWICE, f"{share:.0%} of the test images are training images: then nothing is held out")


def require_taxonomies(data: Dataset) -> None:
    """Raises unless each taxonomy gives every class a superclass, numbered from 0 without gaps, and names for all."""
    for name, taxonomy in data.taxonomies.items():
        require(
            isinstance(taxonomy, Taxonomy)
            and len(taxonomy.parents) == len(taxonomy.classes) == data.num_classes
            and set(taxonomy.parents) == set(range(len(taxonomy.names))),
            f"taxonomy {name!r} must give each of {data.num_classes} classes a name and a superclass, and number "
            "superclasses from 0 without gaps: use Taxonomy.of",
        )


def described(value: object) -> str:
    """The type of a value, and for a tensor its dtype and shape."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


REQUIREMENTS = (
    require_bytes,
    require_labels,
    require_every_class,
    require_range_of_pixels,
    require_apart,
    require_taxonomies,
)
"""What a dataset must be, each a check of `unlearnbench check`, and all of them checked whenever files are decoded."""
