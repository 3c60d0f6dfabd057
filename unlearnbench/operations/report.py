"""Writes the report of a preset: one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unlearnbench.errors import UserError
from unlearnbench.planning import presets
from unlearnbench.planning.presets import Preset, PresetLike
from unlearnbench.reporting.absent import stale_message
from unlearnbench.reporting.cells import Cells, cells_of_preset
from unlearnbench.reporting.choice import EVERYTHING, Choice
from unlearnbench.reporting.html.page import Page, render_page
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.folders import expanded

NAME = "report.html"


def report(
    preset: PresetLike = "demo",
    results: str | Path = "results",
    *,
    out: str | Path | None = None,
    choice: Choice = EVERYTHING,
    accept_stale: bool = False,
    embed: bool = False,
) -> Path:
    """Writes a report.

    Args:
        preset: Whose results, as in `run`.
        results: The folder of the records.
        out: The file; None: `report.html` in the folder of the preset's results.
        choice: Which cells.
        accept_stale: Show stale records, with a note.
        embed: Put the records into the file, for those who do not have the folder.

    Returns:
        The file.

    Raises:
        UserError: If there are no records, all are stale, or a name is wrong.
    """
    chosen, folder = presets.read(preset), expanded(results)
    tables = list(cells_of_preset(folder, chosen, accept_stale, choice=choice))
    if not tables:
        command = f"unlearnbench run --preset {chosen.source}"
        raise UserError(f"there are no records in {folder / chosen.name}: run `{command}`")
    if message := stale_message([record for cells in tables for record in cells.records]):
        raise UserError(message)
    return write(tables, chosen, folder, out=expanded(out) if out is not None else None, embed=embed)


def write(
    tables: Sequence[Cells], preset: Preset, results: Path, *, out: Path | None = None, embed: bool = False
) -> Path:
    """Writes the report of some tables; arguments as of `report`."""
    path = out or results / preset.name / NAME
    page = Page(preset, tables, results, path.parent, embed)
    write_atomically(path, render_page(page).encode())
    return path
