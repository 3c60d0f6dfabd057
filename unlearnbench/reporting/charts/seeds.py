"""Differences to Retrain in each metric: seeds, means and intervals."""

from __future__ import annotations

from unlearnbench.reporting.block import Block, column_title
from unlearnbench.reporting.charts.axes import Panel, signed
from unlearnbench.reporting.charts.drawing import Dots, Drawing, Line, Marker, Text, text_width

WIDTH, ROW, GAP = 1060.0, 18.0, 22.0


def chart(block: Block) -> Drawing:
    """The chart of a block."""
    columns = list(block.cells.columns)
    methods = [series for series in block.methods if series.method in block.paired]
    names = max((text_width(series.title) for series in methods), default=0.0) + 12
    drawing = Drawing(
        WIDTH,
        ROW * len(methods) + 72,
        f"{block.title}: differences to Retrain",
        "For each metric, the difference to Retrain with the same seed, in points: small dots are seeds, large marks "
        "means, lines 95 % intervals. The band is the noise floor.",
    )
    width = (WIDTH - names - GAP * (len(columns) - 1) - 10) / len(columns)
    bottom = 24 + ROW * len(methods)
    for number, column in enumerate(columns):
        left = names + number * (width + GAP)
        seeds = {series.method: block.seeds(series.method, column) for series in methods}
        ends = [end for s in methods if (d := block.paired[s.method][column]) and d.spread for end in (d.low, d.high)]
        values = [value for found in seeds.values() for value in found.values()]
        panel = Panel(drawing, left, 24, left + width, bottom, signed([*values, *ends]))
        draw_column(panel, block, column, seeds)
        drawing.add(Text((left + width / 2, 14), column_title(column), "middle", "heading"))
    for row, series in enumerate(methods):
        drawing.add(Text((names - 8, 24 + ROW * (row + 0.5) + 4), series.title, "end", f"label {series.name}"))
    drawing.add(Text((WIDTH / 2, bottom + 34), "difference to Retrain, in points", "middle", "note"))
    return drawing


def draw_column(panel: Panel, block: Block, column: str, seeds: dict[str, dict[int, float]]) -> None:
    """Draws one metric.

    Args:
        panel: Where.
        block: The numbers.
        column: The metric.
        seeds: Differences of single seeds, by method.
    """
    drawing = panel.drawing
    if floor := block.noise_floor(column):
        ends = panel.across(-floor), panel.across(floor)
        drawing.box(ends[0], panel.top, ends[1], panel.bottom, "band", f"noise floor {floor:.2f}")
    panel.frame()
    drawing.add(Line([(panel.across(0), panel.top), (panel.across(0), panel.bottom)], "zero", title="Retrain"))
    for row, (method, found) in enumerate(seeds.items()):
        series, y = block.series[method], panel.top + ROW * (row + 0.5)
        difference = block.paired[method][column]
        if difference is None:
            continue
        if difference.spread:
            interval = [(panel.across(end), y) for end in (difference.low, difference.high)]
            drawing.add(Line(interval, f"{series.name} interval"))
        drawing.add(Dots([(panel.across(value), y) for value in found.values()], f"{series.name} dot"))
        title = f"{series.title}, {column_title(column)}: {difference}"
        drawing.add(Marker((panel.across(difference.mean), y), series.shape, f"{series.name} mark", title, 4.5))
