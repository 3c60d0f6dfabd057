"""Images that lie on the device as one tensor, with the labels only where they may be seen, and batches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from unlearnbench.errors import AccessError
from unlearnbench.training.augmentation import Pipeline


def visible(labels: Tensor | None, of: str) -> Tensor:
    """The labels, int64 [n], that the original network was trained on.

    Raises:
        AccessError: If they are not there, because the method did not declare that it reads them.
    """
    if labels is None:
        raise AccessError(f"the labels of {of} are not accessible: the method declared images only")
    return labels


@dataclass(frozen=True)
class Batch:
    """Some rows of a `Samples`.

    Attributes:
        images: float32 [B, C, H, W] in [0, 1]; resized, and augmented in training, as the recipe says.
        index: int64 [B], positions in the training set.
        rows: int64 [B], positions in the samples that the batch was drawn from.
        source: int64 [B], which of the concatenated samples each row came from (0 without `concat`).
        samples: Where the batch was drawn from.
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


class Samples:
    """A part of the training set as a method may see it.

    Args:
        stored: uint8 [N, C, H, W] on the device: the training set. All parts share it, and batches are gathered from
            it, so that several workers can map one copy from disk.
        index: int64 [n], positions in the training set.
        labels: int64 [n], or None where the method may not see them.
        generator: What shuffling draws from.
        name: What messages call it, e.g. "the forget set".
        pipeline: How they become images for a network.
        source: int64 [n]; which of the concatenated samples a row came from.
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
        """Whether `labels` may be read."""
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
        """The rows where `mask` (bool [n]) is true, or those at the given positions (int64)."""
        labels = None if self._labels is None else self._labels[mask]
        parts = self._stored, self.index[mask], labels
        return Samples(*parts, self._generator, self.name, self.pipeline, self.source[mask])

    def shuffled_by(self, generator: torch.Generator) -> Samples:
        """The same samples, whose order and `sample` are drawn from another generator."""
        return Samples(self._stored, self.index, self._labels, generator, self.name, self.pipeline, self.source)

    def sample(self, n: int) -> Samples:
        """`n` rows drawn without replacement; all of them where there are fewer."""
        return self.subset(self._permutation()[:n])

    def batches(self, size: int, epochs: int = 1) -> Iterator[Batch]:
        """Goes over the samples in batches, shuffled anew for every epoch; the last, short batch is kept.

        Images are augmented if the recipe says so.
        """
        for _ in range(epochs):
            for rows in self._permutation().split(size):
                yield self._batch(rows)

    def _batch(self, rows: Tensor) -> Batch:
        index = self.index[rows]
        images = self.pipeline.augmented(self._stored[index], self._generator)
        labels = None if self._labels is None else self._labels[rows]
        return Batch(images, index, rows, self.source[rows], self, labels)

    def _permutation(self) -> Tensor:
        return torch.randperm(len(self), generator=self._generator).to(self.index.device)


def concat(*parts: Samples) -> Samples:
    """Puts samples one after the other; `source` of a batch says which part (0, 1, ...) each row came from.

    The result has labels only if all parts have.

    Raises:
        ValueError: If the parts are of different training sets.
    """
    if any(part._stored is not parts[0]._stored for part in parts):
        raise ValueError("only samples of one training set can be put together")
    labels = torch.cat([p.labels for p in parts]) if all(p.has_labels for p in parts) else None
    source = torch.cat([torch.full_like(p.index, i) for i, p in enumerate(parts)])
    index = torch.cat([p.index for p in parts])
    name = " with ".join(p.name for p in parts)
    return Samples(parts[0]._stored, index, labels, parts[0]._generator, name, parts[0].pipeline, source)


def side_by_side(parts: Sequence[Samples], size: int, epochs: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Goes over several samples of one length at once, each in the order and with the changes of its own `batches`.

    Yields:
        Images, float32 [K, B, C, H, W], and labels, int64 [K, B], of K samples.

    Raises:
        AccessError: If some have no labels.
        ValueError: If they are of different training sets or lengths.
    """
    first = parts[0]
    if any(part._stored is not first._stored or len(part) != len(first) for part in parts):
        raise ValueError("only samples of one training set and one length can be gone over at once")
    index, labels = torch.stack([part.index for part in parts]), torch.stack([part.labels for part in parts])
    for _ in range(epochs):
        for rows in torch.stack([part._permutation() for part in parts]).split(size, dim=1):
            pixels = first._stored[index.gather(1, rows).flatten()]  # all at once: each operation costs a GPU some time
            images = first.pipeline.plain(pixels).unflatten(0, rows.shape)
            changed = [part.pipeline.changed(own, part._generator) for part, own in zip(parts, images, strict=True)]
            yield torch.stack(changed).contiguous(), labels.gather(1, rows)


class TrainingSet:
    """The training set as the runner holds it. No method ever gets it.

    Args:
        pixels: uint8 [N, C, H, W] on the device.
        labels: int64 [N], the labels that the original was trained on.
        pipeline: How pixels become images for a network.
    """

    def __init__(self, pixels: Tensor, labels: Tensor, pipeline: Pipeline | None = None) -> None:
        self.pixels = pixels
        self.labels = labels
        self.pipeline = pipeline or Pipeline()

    def samples(self, index: Tensor, level: str | None, generator: torch.Generator, name: str) -> Samples | None:
        """The items at `index` with what `level` ("images", "labels", ...) lets one see; None for None."""
        if level is None:
            return None
        index = index.to(self.pixels.device)
        labels = self.labels[index] if level == "labels" else None
        return Samples(self.pixels, index, labels, generator, name, self.pipeline)

    def everything(self, generator: torch.Generator, level: str | None = "labels") -> Samples | None:
        """The whole set."""
        return self.samples(torch.arange(len(self.labels)), level, generator, "the training set")
