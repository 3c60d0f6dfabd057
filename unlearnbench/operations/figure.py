"""Draws figures for papers from records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unlearnbench.errors import UserError, unknown
from unlearnbench.planning import presets
from unlearnbench.planning.presets import PresetLike
from unlearnbench.reporting import figures
from unlearnbench.reporting.cells import cells_of_preset
from unlearnbench.reporting.charts import pdf, svg
from unlearnbench.reporting.charts.drawing import Drawing
from unlearnbench.reporting.charts.styles import Series
from unlearnbench.reporting.choice import EVERYTHING, Choice
from unlearnbench.reporting.figures import FIGURES, Source
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.folders import expanded, folder_name

ENDINGS = (".svg", ".pdf")


def figure(
    name: str,
    preset: PresetLike = "demo",
    results: str | Path = "results",
    *,
    choice: Choice = EVERYTHING,
    seed: int = 0,
    out: str | Path | None = None,
    accept_stale: bool = False,
) -> list[Path]:
    """Draws a figure.

    Args:
        name: "representation": maps of the original, of methods and of Retrain; "tradeoff": forgetting against utility;
            "roc": ROC curves; "ranks": the critical-difference diagram; "sensitivity": gaps against hyperparameters.
        preset: Whose results, as in `run`.
        results: The folder of the records.
        choice: Which cells.
        seed: The seed of maps.
        out: A file that ends in .svg or .pdf; None: SVG files in the folder `figures` beside the records.
        accept_stale: Draw stale records, too.

    Returns:
        The files.

    Raises:
        UserError: If a name is wrong, the records lack what the figure shows, or one file is too few for it.
    """
    if name not in FIGURES:
        raise unknown("figure", name, FIGURES)
    target = expanded(out) if out is not None else None
    if target and target.suffix not in ENDINGS:
        raise UserError(f"--out must end in .svg or .pdf, not {target.name!r}")
    chosen, folder = presets.read(preset), expanded(results)
    tables = list(cells_of_preset(folder, chosen, accept_stale, choice=choice))
    source = Source(tables, chosen, folder, seed)
    drawings = figures.drawings(name, source)
    if target and len(drawings) > 1:
        titles = "; ".join(drawing.title for _, drawing in drawings)
        raise UserError(f"{len(drawings)} figures do not fit into one file; choose one with -d, -t or -m: {titles}")
    series, paths = list(source.series.values()), []
    for place, drawing in drawings:
        path = target or folder / chosen.name / "figures" / f"{folder_name(name + place)}.svg"
        write_atomically(path, content_of(path, drawing, series))
        paths.append(path)
    return paths


def content_of(path: Path, drawing: Drawing, series: Sequence[Series]) -> bytes:
    """The content of a file with a drawing, in the format of its ending."""
    return pdf.file_bytes(drawing, series) if path.suffix == ".pdf" else svg.file_text(drawing, series).encode()
