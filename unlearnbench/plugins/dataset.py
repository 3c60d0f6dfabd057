"""The contract of data sets: functions that read images and labels from files."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from unlearnbench.errors import UserError
from unlearnbench.plugins.plugin import Plugin


@dataclass(frozen=True)
class Dataset:
    """Images and labels, split into training and test.

    Attributes:
        train_images: uint8 [N, C, H, W], 0 to 255.
        train_labels: int64 [N], 0 to `num_classes` - 1.
        test_images: uint8 [M, C, H, W].
        test_labels: int64 [M].
        num_classes: The number of classes.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    num_classes: int
    _pool: Dataset | None = field(default=None, repr=False)

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
        )

    @classmethod
    def of_pool(cls, images: Tensor, labels: Tensor, train: int, num_classes: int) -> Dataset:
        """A data set of the first `train` images and the others; it and its pool share the arguments' memory."""
        pool = cls(images, labels, images[:0], labels[:0], num_classes)
        return cls(images[:train], labels[:train], images[train:], labels[train:], num_classes, pool)


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

    def state(self, root: Path) -> dict[str, str]:
        """The state of each file by path: "ok", "missing" or "damaged"."""
        states = {}
        for name, md5 in self.files.items():
            path = root / name
            is_ok = path.is_file() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5
            states[name] = "ok" if is_ok else "damaged" if path.exists() else "missing"
        return states

    def read(self, name: str, root: Path) -> Dataset:
        """Checks the files and decodes them, and no others.

        Raises:
            UserError: As `check`, or if the function reads a file that is not among `files`.
        """
        self.check(name, root)
        if not self.files:
            data: Dataset = self.function(root)
            return data
        with tempfile.TemporaryDirectory(prefix="unlearnbench-checked-") as folder:
            checked = Path(folder)
            for file in self.files:
                (checked / file).parent.mkdir(parents=True, exist_ok=True)
                (checked / file).symlink_to((root / file).resolve())
            try:
                data = self.function(checked)
            except FileNotFoundError as error:
                missing = Path(str(error.filename))
                file = str(missing.relative_to(checked)) if missing.is_relative_to(checked) else str(missing)
                raise UserError(f"dataset {name} reads {file}, whose MD5 is not among its files=: add it") from error
            return data

    def check(self, name: str, root: Path) -> None:
        """Raises `UserError` if files are missing or damaged."""
        for file, state in self.state(root).items():
            if state == "missing":
                raise UserError(
                    f"{name} is not in {root} ({file} is missing): run `unlearnbench data fetch {name} --data {root}`, "
                    "or name the folder that has it with --data"
                )
            if state == "damaged":
                raise UserError(
                    f"{root / file} is damaged (its MD5 is not {self.files[file]}): "
                    f"delete it and run `unlearnbench data fetch {name} --data {root}`"
                )


def dataset(
    *,
    title: str,
    reference: str = "",
    files: Mapping[str, str] | None = None,
    fetch: Callable[[Path], None] | None = None,
) -> Callable[[Callable[[Path], Dataset]], Source]:
    """Makes a function `(folder) -> Dataset` a data set of the suite; see `Source`."""
    return lambda function: Source(function, title=title, reference=reference, files=files, fetch=fetch)


def check_tensors(name: str, data: Dataset) -> None:
    """Raises `UserError` unless shapes, types and labels are as `Dataset` documents."""
    for part, images, labels in (
        ("training", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        if images.dtype != torch.uint8 or images.ndim != 4 or labels.dtype != torch.int64:
            raise UserError(f"data set {name}: {part} images must be uint8 [n, C, H, W] and labels int64 [n]")
        if labels.shape != images.shape[:1] or not ((labels >= 0) & (labels < data.num_classes)).all():
            raise UserError(f"data set {name}: every {part} image needs a label from 0 to {data.num_classes - 1}")
