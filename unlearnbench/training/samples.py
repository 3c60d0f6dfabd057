"""Parts of the training set, with labels only if the method may see them, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unlearnbench.errors import AccessError
from unlearnbench.training.augmentation import Pipeline


def visible(labels: Tensor | None, name: str) -> Tensor:
    """The labels, int64 [n], that the original network was trained on.

    Raises:
        AccessError: If they are None, because the method did not declare that it reads them.
    """
    if labels is None:
        raise AccessError(f"the labels of {name} are not accessible: the method declared images only")
    return labels


@dataclass(frozen=True)
class Batch:
    """Some rows of a `Samples`.

    Attributes:
        images: float32 [B, C, H, W] in [0, 1]; resized, and augmented in training, as the recipe says.
        index: int64 [B], positions in the training set.
        rows: int64 [B], positions in the samples that the batch was drawn from.
        source: int64 [B], the number of the part that each row came from, if samples were concatenated; else 0.
        samples: The samples that the batch was drawn from.
    """

    images: Tensor
    index: Tensor
    rows: Tensor
    source: Tensor
    samples: Samples
    _labels: Tensor | None = field(default=None, repr=False)

    @property
    def labels(self) -> Tensor:
        """The labels, int64 [B], that the original network was trained on.

        Raises:
            AccessError: If the method did not declare that it reads them.
        """
        return visible(self._labels, self.samples.name)

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[Tensor]:
        """Unpacks as `images, labels = batch`; raises as `labels`."""
        return iter((self.images, self.labels))


class Samples:
    """A part of the training set as a method may see it.

    Args:
        stored: uint8 [N, C, H, W] on the device: the training set. All parts share it, and batches are gathered from
            it, so that several workers can map one copy from disk.
        index: int64 [n], positions in the training set.
        labels: int64 [n], or None if the method may not see them.
        generator: For the order of the samples, and for augmentation.
        name: Its name in messages, e.g. "the forget set".
        pipeline: Makes network inputs from pixels.
        source: int64 [n], the number of the part that each row came from, if samples were concatenated.
    """

    def __init__(
        self,
        stored: Tensor,
        index: Tensor,
        labels: Tensor | None,
        generator: torch.Generator,
        name: str,
        pipeline: Pipeline,
        source: Tensor | None = None,
    ) -> None:
        self.index = index
        self.name = name
        self.pipeline = pipeline
        self.source = torch.zeros_like(index) if source is None else source
        self._stored = stored
        self._labels = labels
        self._generator = generator

    def __len__(self) -> int:
        return len(self.index)

    @property
    def has_labels(self) -> bool:
        """True if `labels` may be read."""
        return self._labels is not None

    @property
    def labels(self) -> Tensor:
        """The labels, int64 [n], that the original network was trained on.

        Raises:
            AccessError: If the method did not declare that it reads them.
        """
        return visible(self._labels, self.name)

    @property
    def pixels(self) -> Tensor:
        """uint8 [n, C, H, W], a copy."""
        return self._stored[self.index]

    @property
    def images(self) -> Tensor:
        """All images as float32 [n, C, H, W] in [0, 1], without augmentation."""
        return self.pipeline.plain(self.pixels)

    def subset(self, mask: Tensor) -> Samples:
        """The rows where `mask` (bool [n]) is true, or at the positions `mask` (int64)."""
        labels = None if self._labels is None else self._labels[mask]
        parts = self._stored, self.index[mask], labels
        return Samples(*parts, self._generator, self.name, self.pipeline, self.source[mask])

    def shuffled_by(self, generator: torch.Generator) -> Samples:
        """The same samples with another generator."""
        return Samples(self._stored, self.index, self._labels, generator, self.name, self.pipeline, self.source)

    def sample(self, n: int) -> Samples:
        """`n` rows drawn without replacement; all rows if there are fewer."""
        return self.subset(self._permutation()[:n])

    def batches(self, size: int, epochs: int = 1) -> Iterator[Batch]:
        """Iterates over the samples in batches, shuffled for every epoch; the last, short batch is kept.

        Images are augmented if the recipe says so. If the network cannot be trained on a single image, because it has
        batch normalisation, an image that would be alone joins the batch before.
        """
        for _ in range(epochs):
            for rows in self._permutation().split(sizes(len(self), size, self.pipeline.least)):
                yield self._batch(rows)

    def _batch(self, rows: Tensor) -> Batch:
        index = self.index[rows]
        images = self.pipeline.augmented(self._stored[index], self._generator)
        labels = None if self._labels is None else self._labels[rows]
        return Batch(images, index, rows, self.source[rows], self, labels)

    def _permutation(self) -> Tensor:
        return torch.randperm(len(self), generator=self._generator).to(self.index.device)


def concat(*parts: Samples) -> Samples:
    """Concatenates samples; `source` of a batch is the number of the part (0, 1, ...) that each row came from.

    The result has labels only if all parts have.

    Raises:
        ValueError: If the parts are of different training sets.
    """
    if any(part._stored is not parts[0]._stored for part in parts):
        raise ValueError("only samples of one training set can be concatenated")
    labels = torch.cat([p.labels for p in parts]) if all(p.has_labels for p in parts) else None
    source = torch.cat([torch.full_like(p.index, i) for i, p in enumerate(parts)])
    index = torch.cat([p.index for p in parts])
    name = " with ".join(p.name for p in parts)
    return Samples(parts[0]._stored, index, labels, parts[0]._generator, name, parts[0].pipeline, source)


def side_by_side(parts: Sequence[Samples], size: int, epochs: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterates over several samples of one length at once, each in the order and with the changes of its `batches`.

    Yields:
        Images, float32 [K, B, C, H, W], and labels, int64 [K, B], of K samples.

    Raises:
        AccessError: If some have no labels.
        ValueError: If they are of different training sets or lengths.
    """
    first = parts[0]
    if any(part._stored is not first._stored or len(part) != len(first) for part in parts):
        raise ValueError("only samples of one training set and one length can be batched together")
    index, labels = torch.stack([part.index for part in parts]), torch.stack([part.labels for part in parts])
    batches = sizes(len(first), size, first.pipeline.least)
    for _ in range(epochs):
        for rows in torch.stack([part._permutation() for part in parts]).split(batches, dim=1):
            pixels = first._stored[index.gather(1, rows).flatten()]  # in one operation, for the sake of GPUs
            images = first.pipeline.plain(pixels).unflatten(0, rows.shape)
            changed = [part.pipeline.changed(own, part._generator) for part, own in zip(parts, images, strict=True)]
            yield torch.stack(changed).contiguous(), labels.gather(1, rows)


def sizes(total: int, size: int, least: int = 1) -> list[int]:
    """The sizes of the batches of `total` samples: `size`, and a short one at the end.

    A short one of fewer than `least` samples joins the batch before; if there is none, it stays alone.
    """
    full, rest = divmod(total, size)
    if full and 0 < rest < least:
        return [size] * (full - 1) + [size + rest]
    return [size] * full + ([rest] if rest or not total else [])


class TrainingSet:
    """The whole training set with all labels; methods only get parts of it.

    Args:
        pixels: uint8 [N, C, H, W] on the device.
        labels: int64 [N], the labels that the original was trained on.
        pipeline: Makes network inputs from pixels.
    """

    def __init__(self, pixels: Tensor, labels: Tensor, pipeline: Pipeline | None = None) -> None:
        self.pixels = pixels
        self.labels = labels
        self.pipeline = pipeline or Pipeline()

    def samples(self, index: Tensor, level: str | None, generator: torch.Generator, name: str) -> Samples | None:
        """The samples at `index`, with labels if `level` is "labels"; None if it is None."""
        if level is None:
            return None
        index = index.to(self.pixels.device)
        labels = self.labels[index] if level == "labels" else None
        return Samples(self.pixels, index, labels, generator, name, self.pipeline)

    def everything(self, generator: torch.Generator, level: str | None = "labels") -> Samples | None:
        """All samples, as `samples`."""
        return self.samples(torch.arange(len(self.labels)), level, generator, "the training set")
