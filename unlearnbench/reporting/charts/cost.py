"""Cost against gap: how much cheaper than Retrain each method is, and how far from it."""

from __future__ import annotations

import math

from unlearnbench.planning.presets import SECOND_RETRAIN
from unlearnbench.reporting.block import Block
from unlearnbench.reporting.charts.axes import Panel, logarithmic, signed
from unlearnbench.reporting.charts.drawing import Drawing, Line, Marker, Text

WIDTH, HEIGHT = 520.0, 400.0


def chart(block: Block) -> Drawing | None:
    """The chart of a block; None if no method has both numbers."""
    costs = {
        series.method: cost
        for series in block.methods
        if not series.is_control
        and series.method in block.gaps
        and math.isfinite(cost := block.costs.get(series.method, math.nan))
        and cost > 0
    }
    if not costs:
        return None
    drawing = Drawing(
        WIDTH,
        HEIGHT,
        f"{block.title}: cost against gap",
        "Cost in passes over the training set as a multiple of Retrain's, to the right and logarithmic, against the "
        "gap to Retrain, upwards. The lower left is best. The band ends at the gap of a second Retrain.",
    )
    gaps = [block.gaps[method].mean for method in costs]
    panel = Panel(
        drawing, 52, 10, WIDTH - 14, HEIGHT - 40, logarithmic([*costs.values(), 1.0]), signed(gaps, sign=False)
    )
    if SECOND_RETRAIN in block.gaps:
        noise = block.gaps[SECOND_RETRAIN].mean
        drawing.box(
            panel.left, panel.down(noise), panel.right, panel.bottom, "band", f"chance: up to {noise:.2f} points"
        )
    panel.frame("cost as a multiple of Retrain's, in ep", "gap to Retrain, in points")
    drawing.add(
        Line([(panel.across(1), panel.top), (panel.across(1), panel.bottom)], "diagonal", title="Retrain's cost")
    )
    drawing.add(Text((panel.across(1) - 4, panel.top + 12), "as Retrain", "end", "note"))
    markers = []
    for method, cost in costs.items():
        series, gap = block.series[method], block.gaps[method]
        title = f"{series.title}: {cost:.2f} times Retrain's cost, gap {gap.mean:.2f} points"
        markers.append((series, Marker(panel.at(cost, gap.mean), series.shape, f"{series.name} mark", title)))
    for _, marker in markers:
        panel.mark(marker)
    for series, marker in markers:
        panel.label(marker, series.title, f"tag {series.name}")
    return drawing
