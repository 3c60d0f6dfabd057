"""Drawings as PDF, by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.reporting.charts.drawing import Dots, Drawing, Item, Line, Marker, corners
from unlearnbench.reporting.charts.styles import Series, resolved
from unlearnbench.reporting.formats import printable

POINTS = 0.75
"""Points in a pixel."""


def file_bytes(drawing: Drawing, series: Sequence[Series]) -> bytes:
    """A drawing as the content of a PDF file, the same for the same drawing.

    Raises:
        UserError: If matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("PDF needs matplotlib: pip install 'unlearnbench[plots]', or write .svg") from error
    inches = drawing.width * POINTS / 72, drawing.height * POINTS / 72
    figure = Figure(figsize=inches)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, drawing.width), ylim=(drawing.height, 0))
    for depth, item in enumerate(drawing.items):
        draw(item, axes, series, depth)
    content = io.BytesIO()
    about = {"Title": printable(drawing.title), "CreationDate": None, "Producer": None, "Creator": None}
    figure.savefig(content, format="pdf", metadata=about)
    return content.getvalue()


def draw(item: Item, axes: Any, series: Sequence[Series], depth: int) -> None:
    """Draws an item into axes of pixels."""
    style = resolved(item.style, series)
    colour = (style.stroke or style.fill or ("black", ""))[0]
    look: dict[str, Any] = {"color": colour, "alpha": style.opacity, "zorder": depth, "clip_on": False}
    if isinstance(item, Dots):
        x, y = zip(*item.points, strict=True)
        axes.scatter(x, y, s=(item.size * POINTS) ** 2, linewidths=0, **look)
    elif isinstance(item, Marker) and not corners(item):
        axes.scatter(*item.at, s=(2 * item.size * POINTS) ** 2, linewidths=0, **look)
    elif isinstance(item, Marker):
        axes.fill(*zip(*corners(item), strict=True), linewidth=0, **look)
    elif isinstance(item, Line) and style.fill:
        axes.fill(*zip(*item.points, strict=True), linewidth=0, **look)
    elif isinstance(item, Line):
        points = [*item.points, *item.points[:1]] if item.closed else item.points
        dashes = {"dashes": [float(part) / max(style.width, 1) for part in style.dash.split()]} if style.dash else {}
        axes.plot(*zip(*points, strict=True), linewidth=style.width * POINTS, **dashes, **look)
    else:
        axes.text(
            *item.at,
            printable(item.text).replace("$", r"\$"),
            horizontalalignment={"start": "left", "middle": "center", "end": "right"}[item.anchor],
            verticalalignment="baseline",
            rotation=90 if item.upwards else 0,
            rotation_mode="anchor",
            fontsize=style.size * POINTS,
            fontweight="bold" if style.bold else "normal",
            **look,
        )
