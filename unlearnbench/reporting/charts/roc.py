"""ROC curves of an attack, log-log, because low false-positive rates matter in audits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from unlearnbench.planning.presets import REFERENCE
from unlearnbench.planning.protocols import CLEAN
from unlearnbench.reporting.block import Block
from unlearnbench.reporting.charts.axes import Panel, Scale, logarithmic
from unlearnbench.reporting.charts.drawing import Drawing, Line, Marker, Point, Text, text_width
from unlearnbench.reporting.record import Curve

WIDTH, HEIGHT = 520.0, 400.0
LINE = 14.0
"""The height of a line of the legend."""
SEEDS = 8
"""Seeds are drawn where there are at most this many methods."""


def chart(block: Block, attack: str = CLEAN.attack) -> Drawing | None:
    """The chart of a block; None if no record has curves of the attack."""
    curves = block.curves(attack)
    means = {method: mean for method, by_seed in curves.items() if (mean := mean_curve(by_seed))}
    if not means:
        return None
    drawing = Drawing(
        WIDTH,
        HEIGHT,
        f"{block.title}: ROC of attack {attack}",
        "True-positive rate against false-positive rate, both logarithmic, means over seeds. Dashed: chance. "
        "Retrain is the thick line: a method far above or below it leaks what was forgotten.",
    )
    lowest = min(x for curve in means.values() for x, _ in curve)
    floor = min([lowest, *(y for curve in means.values() for _, y in curve if y > 0)])
    scale, up = until_one(lowest), until_one(floor)
    panel = Panel(drawing, 52, 10, WIDTH - 14, HEIGHT - 40, scale, up)
    panel.frame("false-positive rate", "true-positive rate")
    start = max(scale.low, up.low)
    drawing.add(Line([panel.at(start, start), panel.at(1, 1)], "diagonal", title="chance"))
    ordered = sorted(means, key=lambda method: method == REFERENCE)  # Retrain in front
    for method in ordered if len(ordered) <= SEEDS else ():
        for curve in curves[method].values():
            drawn = [panel.at(x, y) for x, y in points_of(curve)]
            drawing.add(Line(drawn, f"{block.series[method].name} seed"))
    for method in ordered:
        series = block.series[method]
        style = f"{series.name} {'thick' if method == REFERENCE else 'curve'}"
        drawing.add(Line([panel.at(*point) for point in means[method]], style, title=series.title))
    legend(panel, list(means), block)
    return drawing


def until_one(low: float) -> Scale:
    """A logarithmic scale of rates from a low one to 1."""
    scale = logarithmic([low, 1.0])
    low = min(low, 0.1)
    return Scale(low, 1.0, [tick for tick in scale.ticks if low <= tick <= 1] or [1.0], scale.forward)


def points_of(curve: Curve) -> list[Point]:
    """A curve as pairs of rates."""
    return list(zip(curve["fpr"], curve["tpr"], strict=True))


def mean_curve(by_seed: Mapping[int, Curve]) -> list[Point]:
    """The mean over seeds at the false-positive rates that all of them have."""
    curves = [dict(points_of(curve)) for curve in by_seed.values()]
    shared = [fpr for fpr in curves[0] if all(fpr in curve for curve in curves)]
    return [(fpr, sum(curve[fpr] for curve in curves) / len(curves)) for fpr in shared]


def legend(panel: Panel, methods: Sequence[str], block: Block) -> None:
    """Names the lines below the panel, in columns, and makes the drawing as high as it needs."""
    drawing, left = panel.drawing, panel.left
    columns = columns_within(panel.right - left, [block.series[method].title for method in methods])
    drawing.height += LINE * len(columns[0]) + 8
    by_title = {block.series[method].title: method for method in methods}
    for column in columns:
        for row, title in enumerate(column):
            method, y = by_title[title], panel.bottom + 52 + LINE * row
            series, style = block.series[method], "thick" if method == REFERENCE else "curve"
            drawing.add(Line([(left, y - 4), (left + 22, y - 4)], f"{series.name} {style}"))
            drawing.add(Text((left + 27, y), title, "start", f"note {series.name}"))
            if series.is_control and method != REFERENCE:
                drawing.add(Marker((left + 11, y - 4), series.shape, f"{series.name} mark", size=3))
        left += entry_width(column)


def columns_within(width: float, titles: Sequence[str]) -> list[Sequence[str]]:
    """Splits titles into as many columns of a legend as have room side by side."""
    columns = [titles]
    for rows in range(len(titles), 0, -1):
        tried = [titles[first : first + rows] for first in range(0, len(titles), rows)]
        if sum(map(entry_width, tried)) <= width:
            columns = tried
    return columns


def entry_width(column: Sequence[str]) -> float:
    """The width of a column of a legend in pixels: lines, titles, which are smaller than other texts, and a gap."""
    return 40 + 0.85 * max(map(text_width, column))
