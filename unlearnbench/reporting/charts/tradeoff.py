"""Forgetting against utility: how far each method is from Retrain on the forget set and on the test set."""

from __future__ import annotations

import math
from itertools import pairwise

from unlearnbench.reporting.block import Block, column_title, retrain_of
from unlearnbench.reporting.charts.axes import Panel, signed
from unlearnbench.reporting.charts.drawing import Dots, Drawing, Line, Marker, Point, Text

WIDTH, HEIGHT = 520.0, 400.0


def chart(block: Block) -> Drawing:
    """The chart of a block."""
    utility, forgetting = block.utility, block.forgetting
    drawing = Drawing(
        WIDTH,
        HEIGHT,
        f"{block.title}: forgetting against utility",
        f"Difference to Retrain in {column_title(utility)} to the right and in {column_title(forgetting)} upwards. "
        "Retrain is at the centre. The band is the noise floor. Small dots are seeds, large marks means.",
    )
    seeds = {series.method: seeds_of(block, series.method) for series in block.methods if series.method in block.paired}
    points = [point for found in seeds.values() for point in found]
    panel = Panel(drawing, 52, 26, WIDTH - 14, HEIGHT - 40, signed(x for x, _ in points), signed(y for _, y in points))
    floors = [block.noise_floor(column) for column in (utility, forgetting)]
    if all(floors):
        across, up = (floor or 0.0 for floor in floors)
        corners = (*panel.at(-across, up), *panel.at(across, -up))
        drawing.box(*corners, "band", f"noise floor: {across:.2f} and {up:.2f} points")
    panel.frame(
        f"{column_title(utility)}: difference to Retrain, in points",
        f"{column_title(forgetting)}: difference to Retrain",
    )
    drawing.add(
        Line([panel.at(0, panel.y.low), panel.at(0, panel.y.high)] if panel.y else [], "axis"),
        Line([panel.at(panel.x.low, 0), panel.at(panel.x.high, 0)], "axis"),
        Text((panel.left, 14), "↑ still remembers", "start", "note"),
        Text((panel.right, panel.bottom + 30), "better →", "end", "note"),
        Text((panel.left, panel.bottom + 30), "← damaged", "start", "note"),
    )
    for series in block.methods:
        if found := seeds.get(series.method):
            drawing.add(Dots([panel.at(*point) for point in found], f"{series.name} dot"))
    means = {
        series.method: (x.mean, y.mean)
        for series in block.methods
        if series.method in seeds
        and (x := block.paired[series.method][utility])
        and (y := block.paired[series.method][forgetting])
    }
    front(panel, [means[s.method] for s in block.methods if s.method in means and not s.is_control])
    markers = []
    if retrain := retrain_of(block):
        markers.append((retrain, Marker(panel.at(0, 0), retrain.shape, f"{retrain.name} mark", "Retrain", 6)))
    for series in block.methods:
        if series.method in means:
            mean = means[series.method]
            about = f"{column_title(utility)} {mean[0]:+.2f}, {column_title(forgetting)} {mean[1]:+.2f} points"
            title = f"{series.title}: {about}"
            markers.append((series, Marker(panel.at(*mean), series.shape, f"{series.name} mark", title)))
    for _, marker in markers:
        panel.mark(marker)
    for series, marker in markers:
        panel.label(marker, series.title, f"tag {series.name}")
    return drawing


def seeds_of(block: Block, method: str) -> list[Point]:
    """The differences of single seeds in utility and in what is still known of the forget set."""
    across, up = (block.seeds(method, column) for column in (block.utility, block.forgetting))
    return [(across[seed], up[seed]) for seed in across if seed in up]


def front(panel: Panel, means: list[Point]) -> None:
    """Draws steps through the methods that no other one beats in both distances to Retrain.

    Args:
        panel: Where.
        means: Differences of the methods that compete.
    """
    best, steps = math.inf, []
    for x, y in sorted(means, key=lambda point: (abs(point[0]), abs(point[1]))):
        if abs(y) < best:
            best = abs(y)
            steps.append((x, y))
    if len(steps) > 1:
        corners = [panel.at(*steps[0])]
        for (_, before), (x, y) in pairwise(steps):
            corners += [panel.at(x, before), panel.at(x, y)]
        panel.drawing.add(Line(corners, "front", title="no other method is closer in both"))
