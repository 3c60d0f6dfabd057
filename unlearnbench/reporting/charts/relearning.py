"""How many steps each method needs to know the forget set again, beside Retrain."""

from __future__ import annotations

from unlearnbench.reporting.block import Block, retrain_of
from unlearnbench.reporting.charts.axes import Panel, linear
from unlearnbench.reporting.charts.drawing import Drawing, Line, Marker, Text, text_width

WIDTH, ROW = 520.0, 20.0


def chart(block: Block) -> Drawing | None:
    """The chart of a block; None if nothing was measured."""
    methods = [series for series in block.methods if series.title in block.relearning]
    if not methods:
        return None
    names = max(text_width(series.title) for series in methods) + 12
    drawing = Drawing(
        WIDTH,
        ROW * len(methods) + 52,
        f"{block.title}: relearning",
        "Training steps until the forget set is known again, means over seeds. Far fewer than Retrain needs means that "
        "the method only hid it.",
    )
    rows = {series.method: block.relearning[series.title] for series in methods}
    scale = linear([0.0, *(row.steps for row in rows.values())])
    panel = Panel(drawing, names, 6, WIDTH - 64, 6 + ROW * len(methods), scale)
    panel.frame("steps until the forget set is known again")
    if (retrain := retrain_of(block)) and retrain.method in rows:
        x = panel.across(rows[retrain.method].steps)
        drawing.add(Line([(x, panel.top), (x, panel.bottom)], "zero", title="Retrain"))
    for row, series in enumerate(methods):
        y, steps = panel.top + ROW * (row + 0.5), rows[series.method].steps
        drawing.add(Text((panel.left - 8, y + 4), series.title, "end", f"label {series.name}"))
        drawing.add(Line([(panel.left, y), (panel.across(steps), y)], f"{series.name} thick"))
        title = f"{series.title}: {steps:.1f} steps"
        drawing.add(Marker((panel.across(steps), y), series.shape, f"{series.name} mark", title))
        drawing.add(Text((WIDTH - 2, y + 4), f"{steps:.1f}", "end", f"label {series.name}"))
    return drawing
