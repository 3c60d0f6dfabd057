"""Methods by their gap to Retrain, the closest first, with seeds and the gap of a second Retrain."""

from __future__ import annotations

from unlearnbench.planning.presets import SECOND_RETRAIN
from unlearnbench.reporting.block import Block
from unlearnbench.reporting.charts.axes import Panel, signed
from unlearnbench.reporting.charts.drawing import Dots, Drawing, Marker, Text, text_width

WIDTH, ROW = 520.0, 20.0


def chart(block: Block) -> Drawing:
    """The chart of a block."""
    methods = [series for series in block.methods if block.gaps.get(series.method)]
    methods.sort(key=lambda series: block.gaps[series.method].mean)
    names = max((text_width(series.title) for series in methods), default=0.0) + 12
    drawing = Drawing(
        WIDTH,
        ROW * len(methods) + 52,
        f"{block.title}: gap to Retrain",
        "Methods by mean gap to Retrain, the smallest on top. Small dots are seeds. The band ends at the gap of a "
        "second Retrain, which only chance causes.",
    )
    seeds = {series.method: list(block.seed_gaps(series.method).values()) for series in methods}
    scale = signed([gap for gaps in seeds.values() for gap in gaps], sign=False)
    panel = Panel(drawing, names, 6, WIDTH - 64, 6 + ROW * len(methods), scale)
    if SECOND_RETRAIN in block.gaps:
        noise = block.gaps[SECOND_RETRAIN].mean
        drawing.box(
            panel.left, panel.top, panel.across(noise), panel.bottom, "band", f"chance: up to {noise:.2f} points"
        )
    panel.frame("gap: mean difference to Retrain, in points; grey: chance")
    for row, series in enumerate(methods):
        y, gap = panel.top + ROW * (row + 0.5), block.gaps[series.method]
        drawing.add(Text((panel.left - 8, y + 4), series.title, "end", f"label {series.name}"))
        drawing.add(Dots([(panel.across(value), y) for value in seeds[series.method]], f"{series.name} dot", 5.0))
        title = f"{series.title}: gap {gap.text(gap.n)} points, {gap.n} seeds"
        drawing.add(Marker((panel.across(gap.mean), y), series.shape, f"{series.name} mark", title))
        drawing.add(Text((WIDTH - 2, y + 4), f"{gap.mean:.2f}", "end", f"label {series.name}"))
    return drawing
