"""A drawing: shapes and texts with styles by name, without a format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Point = tuple[float, float]
"""x to the right and y downwards, in pixels."""
SIZE = 12.0
"""The height of texts in pixels."""


@dataclass(frozen=True)
class Line:
    """A line through points.

    Attributes:
        points: At least two.
        style: Names of styles, separated by spaces; see `styles`.
        closed: Whether it is the edge of an area.
        title: What a pointer on it shows.
    """

    points: Sequence[Point]
    style: str
    closed: bool = False
    title: str = ""


@dataclass(frozen=True)
class Dots:
    """Small round dots that belong together, such as seeds.

    Attributes:
        points: Their centres.
        style: Names of styles.
        size: Their diameter.
    """

    points: Sequence[Point]
    style: str
    size: float = 4.0


@dataclass(frozen=True)
class Marker:
    """A mark of a given shape.

    Attributes:
        at: Its centre.
        shape: A key of `SHAPES`.
        style: Names of styles.
        title: What a pointer on it shows.
        size: Half its width.
    """

    at: Point
    shape: str
    style: str
    title: str = ""
    size: float = 5.0


@dataclass(frozen=True)
class Text:
    """A line of text.

    Attributes:
        at: Where its baseline is.
        text: The text.
        anchor: "start", "middle" or "end": which part of it is there.
        style: Names of styles.
        upwards: Whether it reads from bottom to top.
    """

    at: Point
    text: str
    anchor: str = "start"
    style: str = ""
    upwards: bool = False


Item = Line | Dots | Marker | Text


@dataclass
class Drawing:
    """A drawing.

    Attributes:
        width: In pixels.
        height: In pixels.
        title: What it shows.
        about: How to read it, for those who cannot see it.
        items: What is drawn, from back to front.
    """

    width: float
    height: float
    title: str
    about: str = ""
    items: list[Item] = field(default_factory=list)

    def add(self, *items: Item) -> None:
        """Draws on top."""
        self.items += items

    def box(self, left: float, top: float, right: float, bottom: float, style: str, title: str = "") -> None:
        """Draws a rectangle."""
        self.add(Line([(left, top), (right, top), (right, bottom), (left, bottom)], style, closed=True, title=title))


SHAPES = {
    "circle": (),
    "square": ((-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)),
    "triangle": ((0, -1.05), (1.05, 0.8), (-1.05, 0.8)),
    "diamond": ((0, -1.2), (1.1, 0), (0, 1.2), (-1.1, 0)),
    "wedge": ((0, 1.05), (1.05, -0.8), (-1.05, -0.8)),
    "cross": (
        *((-0.4, -1.1), (0.4, -1.1), (0.4, -0.4), (1.1, -0.4), (1.1, 0.4), (0.4, 0.4)),
        *((0.4, 1.1), (-0.4, 1.1), (-0.4, 0.4), (-1.1, 0.4), (-1.1, -0.4), (-0.4, -0.4)),
    ),
    "star": (
        *((0, -1.5), (0.38, -0.5), (1.43, -0.46), (0.6, 0.2), (0.9, 1.2)),
        *((0, 0.62), (-0.9, 1.2), (-0.6, 0.2), (-1.43, -0.46), (-0.38, -0.5)),
    ),
}
"""Corners of marks of half width 1; a circle has none."""


def corners(marker: Marker) -> list[Point]:
    """The corners of a mark in pixels; none of a circle."""
    (x, y), size = marker.at, marker.size
    return [(x + size * dx, y + size * dy) for dx, dy in SHAPES[marker.shape]]


def text_width(text: str) -> float:
    """The width of a text in pixels, roughly."""
    return 0.56 * SIZE * len(text)
