"""Scales of axes, and panels: parts of a drawing with axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from unlearnbench.reporting.charts.drawing import SIZE, Drawing, Line, Marker, Point, Text, text_width

NEAR = 1.0
"""Where a signed scale changes from linear to logarithmic."""
SIGNED = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Ticks of a signed scale, on either side of zero."""


@dataclass(frozen=True)
class Scale:
    """A scale: values to places between 0 and 1.

    Attributes:
        low: The value at the start.
        high: The value at the end; above `low`.
        ticks: Values with a label.
        forward: Straightens the scale.
        show: The label of a tick.
    """

    low: float
    high: float
    ticks: Sequence[float]
    forward: Callable[[float], float] = float
    show: Callable[[float], str] = "{:g}".format

    def place(self, value: float) -> float:
        """The place of a value; values beyond an end are at that end."""
        start, end = self.forward(self.low), self.forward(self.high)
        return min(1.0, max(0.0, (self.forward(min(max(value, self.low), self.high)) - start) / (end - start)))


def linear(values: Iterable[float], at_most: int = 5) -> Scale:
    """A linear scale around values."""
    values = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(values), max(values)
    span = (high - low) or max(abs(high), 1.0)
    step = 10 ** math.floor(math.log10(span / at_most))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (factor * step) <= at_most)
    first, last = math.floor(low / step), math.ceil(high / step)
    return Scale(first * step, max(last, first + 1) * step, [step * i for i in range(first, max(last, first + 1) + 1)])


def logarithmic(values: Iterable[float]) -> Scale:
    """A logarithmic scale around positive values."""
    values = [value for value in values if value > 0 and math.isfinite(value)] or [1.0]
    low, high = min(values), max(values)
    if high <= low * 3:
        low, high = low / 2, high * 2
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if len(decades) > 3 else (1, 3)
    ticks = [m * 10.0**d for d in decades for m in steps if low * 0.999 <= m * 10.0**d <= high * 1.001]
    return Scale(low * 0.9, high * 1.1, ticks or [low], math.log10)


def straightened(value: float) -> float:
    """Linear near zero, logarithmic beyond, with the sign of the value."""
    return math.copysign(math.log10(1 + abs(value) / NEAR), value)


def signed(values: Iterable[float], sign: bool = True) -> Scale:
    """A scale for differences, with zero on it: linear near zero, logarithmic beyond.

    Args:
        values: What it must reach.
        sign: Whether ticks have a sign.
    """
    values = [value for value in values if math.isfinite(value)] + [0.0]
    low, high = min(values), max(values)
    low, high = (1.3 * low - 0.2 if low < 0 else 0.0), max(1.3 * high + 0.2, 1.0)
    ticks = [tick for tick in (*(-tick for tick in reversed(SIGNED)), 0.0, *SIGNED) if low <= tick <= high]
    return Scale(low, high, ticks, straightened, signed_text if sign else "{:g}".format)


def signed_text(value: float) -> str:
    """A tick with its sign, and a minus that is as wide as a plus."""
    return f"{value:+g}".replace("-", "−") if value else "0"


@dataclass
class Panel:
    """A part of a drawing with axes.

    Attributes:
        drawing: The drawing.
        left: Where its area starts, in pixels; likewise the next three.
        top: From above.
        right: Where it ends.
        bottom: Likewise.
        x: The scale of the axis below.
        y: The scale of the axis at the left; None: there is none.
    """

    drawing: Drawing
    left: float
    top: float
    right: float
    bottom: float
    x: Scale
    y: Scale | None = None
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def at(self, x: float, y: float) -> Point:
        """Where values are drawn."""
        return self.across(x), self.down(y)

    def across(self, x: float) -> float:
        """The place of a value on the axis below."""
        return self.left + self.x.place(x) * (self.right - self.left)

    def down(self, y: float) -> float:
        """The place of a value on the axis at the left."""
        assert self.y is not None
        return self.bottom - self.y.place(y) * (self.bottom - self.top)

    @cached_property
    def centre(self) -> float:
        """The middle of the axis below."""
        return (self.left + self.right) / 2

    @property
    def labelled(self) -> list[float]:
        """The ticks of the axis below whose labels do not touch those of ticks nearer to zero."""
        ends: dict[float, tuple[float, float]] = {}
        for tick in sorted(self.x.ticks, key=abs):
            half = text_width(self.x.show(tick)) / 2 + 1
            start, end = self.across(tick) - half, self.across(tick) + half
            if all(end < left or start > right for left, right in ends.values()):
                ends[tick] = (start, end)
        return list(ends)

    def frame(self, below: str = "", beside: str = "") -> None:
        """Draws grid, ticks and labels of axes."""
        add, low = self.drawing.add, self.bottom
        for tick in self.x.ticks:
            add(Line([(self.across(tick), self.top), (self.across(tick), low)], "grid"))
        for tick in self.labelled:
            add(Text((self.across(tick), low + 14), self.x.show(tick), "middle", "note"))
        for tick in self.y.ticks if self.y else ():
            y = self.down(tick)
            assert self.y is not None
            add(Line([(self.left, y), (self.right, y)], "grid"))
            add(Text((self.left - 5, y + 4), self.y.show(tick), "end", "note"))
        add(Line([(self.left, low), (self.right, low)], "axis"))
        if below:
            add(Text((self.centre, low + 31), below, "middle", "label"))
        if beside:
            add(Text((14, (self.top + low) / 2), beside, "middle", "label", upwards=True))

    def mark(self, marker: Marker) -> None:
        """Draws a mark, and keeps labels away from it."""
        (x, y), r = marker.at, marker.size + 1
        self.taken.append((x - r, y - r, x + r, y + r))
        self.drawing.add(marker)

    def label(self, marker: Marker, text: str, style: str) -> None:
        """Writes a label beside a mark where there is room for it; leaves it out where there is none."""
        (x, y), width = marker.at, text_width(text)
        gap = marker.size + 4
        offsets = [0.0, *(sign * step * 7.0 for step in range(1, 5) for sign in (-1, 1))]
        for dy in offsets:
            for anchor, start in (("start", x + gap), ("end", x - gap - width)):
                box = (start, y + dy - 0.45 * SIZE, start + width, y + dy + 0.45 * SIZE)
                inside = box[0] >= self.left and box[2] <= self.drawing.width - 2 and self.top <= box[1] + 4
                if inside and box[3] <= self.bottom and not any(overlap(box, other) for other in self.taken):
                    self.taken.append(box)
                    near = start if anchor == "start" else start + width
                    if abs(dy) > 10:
                        edge = near - 2 if anchor == "start" else near + 2
                        self.drawing.add(Line([(x, y), (edge, y + dy)], "leader"))
                    self.drawing.add(Text((near, y + dy + 4), text, anchor, style))
                    return


Box = tuple[float, float, float, float]


def overlap(one: Box, other: Box) -> bool:
    """Whether two rectangles (left, top, right, bottom) share a point."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
