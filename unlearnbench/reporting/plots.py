"""Plots for notebooks, as matplotlib axes: forgetting against utility, and columns against the values of an option."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from unlearnbench.errors import UserError
from unlearnbench.planning.cell_info import CellStatus, changed_options, plugin_name
from unlearnbench.planning.presets import REFERENCE, SECOND_RETRAIN
from unlearnbench.planning.protocols import COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

COLORS = {"control": "#737b84", "method": "#4184e4", "reference": "#c9901a"}
"""Readable on white and on black."""


def plot_tradeoff(frame: pd.DataFrame, x: str = "test", y: str = "train_f", axes: Axes | None = None) -> Axes:
    """Plots what each network still knows of the forget set against its utility.

    Small dots are seeds, large ones their means. The star is Retrain: close to it is good. The box around it is the
    noise floor, the root mean square of the difference between two Retrains, if `retrain-2` is in the frame.

    Args:
        frame: Rows of `load`, of one task and data set.
        x: The column of the horizontal axis.
        y: The column of the vertical axis.
        axes: Where to draw; None: new axes.

    Returns:
        The axes, in percent.

    Raises:
        UserError: If matplotlib is missing, or the frame has rows of several tasks or data sets, or not these columns.
    """
    frame = of_one_scenario(frame)
    percent = frame.assign(**{column: 100 * column_of(frame, column) for column in (x, y)})
    axes = axes or new_axes(1)[0]
    means = percent.groupby("method")[[x, y]].mean()
    if {REFERENCE, SECOND_RETRAIN} <= {*means.index}:
        box(axes, percent, x, y)
    for method, rows in percent.groupby("method"):
        kind = "reference" if method == REFERENCE else "control" if (rows["role"] == "control").all() else "method"
        mean, color = means.loc[method], COLORS[kind]
        for _, row in rows.iterrows():
            axes.plot([mean[x], row[x]], [mean[y], row[y]], ".-", color=color, alpha=0.4, linewidth=0.8)
        star = method == REFERENCE
        axes.scatter(mean[x], mean[y], 220 if star else 45, color, marker="*" if star else "o", zorder=3)
        title, place = rows["method_title"].iloc[0], (mean[x], mean[y])
        axes.annotate(title, place, (6, 4), textcoords="offset points", color=color, size="small")
    axes.set_xlabel(f"{COLUMNS.get(x, x)}, in percent")
    axes.set_ylabel(f"{COLUMNS.get(y, y)}, in percent")
    axes.set_title(title_of(frame))
    return axes


def plot_sensitivity(
    frame: pd.DataFrame, option: str, columns: str | Sequence[str] | None = None, axes: Sequence[Axes] | None = None
) -> list[Axes]:
    """Plots columns against the values of an option, with a line for each method that has several.

    Small dots are seeds, lines means. The dashed line is Retrain's mean, and the band around it its seeds.

    Args:
        frame: Rows of `load`, of one task and data set.
        option: Such as "laf.tau", a column of the frame.
        columns: Names of columns; None: all accuracies, and the ASR.
        axes: Where to draw, one for each column; None: new axes side by side.

    Returns:
        The axes, in percent.

    Raises:
        UserError: As `plot_tradeoff`, or if no method has several values.
    """
    frame = of_one_scenario(frame)
    shown = [column for column in COLUMNS if column in frame and frame[column].notna().any()]
    names = [columns] if isinstance(columns, str) else columns or shown
    changes = frame["method"].map(changed_options)
    varied = frame[changes.map(lambda options: options in ([], [option])) & column_of(frame, option).notna()]
    varied = varied.assign(name=varied["method"].map(plugin_name))
    lines = {str(name): rows for name, rows in varied.groupby("name") if rows[option].nunique() > 1}
    if not lines:
        raise UserError(f"no method has several values of {option}: run e.g. `unlearnbench run --sweep {option}=V1,V2`")
    axes = list(axes) if axes is not None else new_axes(len(names))
    retrain = frame[frame["method"] == REFERENCE]
    for one, column in zip(axes, names, strict=True):
        for name, rows in lines.items():
            draw_line(one, name, rows[option], 100 * column_of(rows, column))
        if len(retrain):
            values = 100 * column_of(retrain, column)
            one.axhline(values.mean(), color=COLORS["reference"], linestyle="--", label="Retrain")
            one.axhspan(values.min(), values.max(), color=COLORS["reference"], alpha=0.15, linewidth=0)
        one.set_xlabel(option)
        one.set_title(f"{COLUMNS.get(column, column)}, in percent")
    axes[0].legend(fontsize="small")
    return axes


def draw_line(axes: Axes, name: str, values: pd.Series[Any], numbers: pd.Series[Any]) -> None:
    """Draws the seeds and the mean of a method for each value; the axis is logarithmic if values differ much."""
    is_number = all(isinstance(value, int | float) for value in values)
    values = values.astype(float) if is_number else values.astype(str)
    means = numbers.groupby(values).mean()
    (line,) = axes.plot(means.index, means, "o-", label=name)
    axes.plot(values, numbers, ".", color=line.get_color(), alpha=0.4)
    if is_number and 0 < 10 * float(values.min()) <= float(values.max()):
        axes.set_xscale("log")


def box(axes: Axes, percent: pd.DataFrame, x: str, y: str) -> None:
    """Draws the noise floor around Retrain."""
    from matplotlib.patches import Rectangle

    by_seed = percent.set_index("seed")
    first, second = (by_seed[by_seed["method"] == name][[x, y]] for name in (REFERENCE, SECOND_RETRAIN))
    floor = ((second - first) ** 2).mean() ** 0.5
    corner, size = first.mean() - floor, 2 * floor
    color = COLORS["reference"]
    axes.add_patch(Rectangle((corner[x], corner[y]), size[x], size[y], color=color, alpha=0.25, linewidth=0))


def of_one_scenario(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with numbers, which must be of one task and data set."""
    frame = frame[frame["status"] == CellStatus.OK]
    for name in ("dataset", "task"):
        values = sorted(frame[name].unique())
        if len(values) > 1:
            raise UserError(f"the rows are of several {name}s, {', '.join(values)}: load({name}=...) selects one")
    if frame.empty:
        raise UserError("no row has numbers")
    return frame


def column_of(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    """A column; raises `UserError` if the frame does not have it."""
    if name not in frame:
        raise UserError(f"the frame has no column {name}")
    return frame[name]


def title_of(frame: pd.DataFrame) -> str:
    """The task and the data set of a frame."""
    first = frame.iloc[0]
    return f"{first['task_title']}, {first['dataset_title']}"


def new_axes(count: int) -> list[Axes]:
    """New axes side by side; raises `UserError` if matplotlib is not installed."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise UserError("plots need matplotlib: run `pip install 'unlearnbench[plots]'`") from error
    _, axes = pyplot.subplots(1, count, figsize=(4.2 * count, 3.8), squeeze=False, layout="constrained")
    return list(axes[0])
