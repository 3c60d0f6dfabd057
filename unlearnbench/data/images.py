"""Data sets that a preset describes, `[datasets.mine] images = "folder"`, without a plugin."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnbench.errors import UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.registry import Entry

if TYPE_CHECKING:
    from unlearnbench.data.decoding import ImageSource

GROUP = "datasets"
ORIGIN = "preset"
"""The origin of these data sets, in place of a distribution."""


@dataclass(frozen=True)
class Place:
    """Where images are.

    Attributes:
        images: A folder with a folder for each class, or with such folders below `train` and `test`; or an .npz file.
        test: Likewise, for the test images only; None: they are with the others.
        size: Height and width that images are resized to; 0: all have one size.
        divisible: Whether a fifth may be the test set where there is none; not if a supplied network has seen them all.
    """

    images: Path
    test: Path | None = None
    size: int = 0
    divisible: bool = True


class ImageSet(str):
    """The name of a data set that a preset describes.

    Making one, or unpickling it in a worker, makes the data set known by this name. Nothing is read before it is used.
    """

    place: Place

    def __new__(cls, name: str, place: Place) -> ImageSet:
        """Makes the name, and makes the data set known by it.

        Raises:
            UserError: If an installed data set has this name.
        """
        if name in registry.entries(GROUP):
            raise UserError(f"{name} is the name of an installed data set: choose another name for these images")
        known = super().__new__(cls, name)
        known.place = place
        point = EntryPoint(name, "unlearnbench.data.decoding:ImageSource", f"unlearnbench.{GROUP}")
        registry.offer(name, partial(ImageEntry, GROUP, name, ORIGIN, place.images.name, point, place=place))
        return known

    def __reduce__(self) -> tuple[type[ImageSet], tuple[str, Place]]:
        return ImageSet, (str(self), self.place)


@dataclass(frozen=True)
class ImageEntry(Entry):
    """The registry's entry of such a data set."""

    place: Place = field(default=Place(Path()), repr=False)

    def load(self) -> ImageSource:
        """The data set."""
        from unlearnbench.data.decoding import ImageSource

        return ImageSource(self.name, self.place)
