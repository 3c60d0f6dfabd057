"""How a method's gap to Retrain depends on a hyperparameter, from a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearnbench.planning.presets import SECOND_RETRAIN
from unlearnbench.reporting.block import Block
from unlearnbench.reporting.charts.axes import Panel, Scale, linear, logarithmic, signed
from unlearnbench.reporting.charts.drawing import Dots, Drawing, Line, Marker

WIDTH, HEIGHT = 520.0, 340.0


def swept(block: Block, method: str) -> dict[str, dict[float, str]]:
    """The hyperparameters of a method that have several values in the records while all others are as usual.

    Args:
        block: The task and the data set.
        method: The name of the method.

    Returns:
        Labels by value, by hyperparameter.
    """
    options = {
        record.cell.method: record.cell.hyperparameters
        for record in block.cells.records
        if record.ok and record.cell.method_name == method
    }
    usual = options.get(method, {})
    found: dict[str, dict[float, str]] = {}
    for label, values in options.items():
        differing = [name for name, value in values.items() if usual and value != usual[name]]
        for name in differing if len(differing) == 1 else list(values) if label == method else ():
            if is_number(values[name]):
                found.setdefault(name, {})[float(values[name])] = label
    return {name: dict(sorted(labels.items())) for name, labels in found.items() if len(labels) > 1}


def is_number(value: Any) -> bool:
    """Whether a value can be drawn on an axis."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def chart(block: Block, method: str, name: str, labels: Mapping[float, str]) -> Drawing:
    """The chart of a hyperparameter.

    Args:
        block: The task and the data set.
        method: The name of the method.
        name: The hyperparameter.
        labels: Labels of the method by its values; at least two.
    """
    title = f"{block.title}: {method}.{name}"
    drawing = Drawing(
        WIDTH,
        HEIGHT,
        title,
        f"Gap to Retrain against {name}; small dots are seeds, large marks means. The band ends at the gap of a second "
        "Retrain.",
    )
    seeds = {value: list(block.seed_gaps(label).values()) for value, label in labels.items()}
    gaps = [gap for found in seeds.values() for gap in found]
    panel = Panel(drawing, 52, 26, WIDTH - 20, HEIGHT - 40, scale_of(list(labels)), signed(gaps, sign=False))
    if SECOND_RETRAIN in block.gaps:
        drawing.box(panel.left, panel.down(block.gaps[SECOND_RETRAIN].mean), panel.right, panel.bottom, "band")
    panel.frame(f"{method}.{name}", "gap to Retrain, in points")
    means = {value: block.gaps[label] for value, label in labels.items() if label in block.gaps}
    own = block.series[next(iter(labels.values()))]
    drawing.add(Line([panel.at(value, gap.mean) for value, gap in means.items()], f"{own.name} curve"))
    for value, gap in means.items():
        drawing.add(Dots([panel.at(value, seed) for seed in seeds[value]], f"{own.name} dot"))
        about = f"{name} = {value:g}: gap {gap.text(gap.n)} points"
        drawing.add(Marker(panel.at(value, gap.mean), own.shape, f"{own.name} mark", about))
    return drawing


def scale_of(values: list[float]) -> Scale:
    """A logarithmic scale if the values are positive and span a decade, otherwise a linear one."""
    return logarithmic(values) if min(values) > 0 and max(values) >= 10 * min(values) else linear(values)
