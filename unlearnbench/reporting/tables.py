"""Prints and writes tables: selects the cells of a table, shows them in a view, and renders that as text."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError, unknown
from unlearnbench.planning import presets
from unlearnbench.planning.cell_info import plugin_name
from unlearnbench.planning.presets import Preset, PresetLike
from unlearnbench.planning.protocols import CLEAN
from unlearnbench.reporting import absent, mismatch, mismatch_compare, rendering, standard
from unlearnbench.reporting.cells import Cells, cells_of_preset, cells_of_table
from unlearnbench.reporting.choice import Choice
from unlearnbench.reporting.formats import FILES, check_format
from unlearnbench.reporting.frame import NOTHING_KNOWN, Known
from unlearnbench.reporting.grid import Grid
from unlearnbench.reporting.needs import NEEDS, Request
from unlearnbench.reporting.numbering import MISMATCH, SCENARIOS, number_of, task_of
from unlearnbench.reporting.rendering import Table
from unlearnbench.reporting.views import STANDARD, VIEWS, View
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.folders import expanded, folder_name

MISMATCH_DEFAULTS = {"compare": {"preset": "tarf", "protocol": CLEAN.name}}
"""The defaults for Table 7, by view."""
OTHER_VIEW = {"preset": "tarf-demo"}
"""Those of other views."""
FOLDER = "tables"
"""The folder of a preset's tables, beside that of its records."""
CHOICES = ("datasets", "tasks", "methods", "seeds")
"""The options that choose cells; see `Choice`."""


def table(
    number: int | str | None = None,
    preset: PresetLike | None = None,
    results: str | Path = "results",
    format: str = "markdown",  # noqa: A002 - the command line calls it so
    view: str = STANDARD.name,
    accept_stale: bool = False,
    **options: Any,
) -> str:
    """A table as text, from the records.

    Args:
        number: 1 (data removal), 2 (class removal) or 3 (noisy-label removal); 4 to 6: the ablations on these; 7: the
            four scenarios of label mismatch; or the name of a task. None: the table of each of `tasks`.
        preset: Whose results, as in `run`; None: "demo", or "paper" for view "compare"; for Table 7 "tarf-demo" and
            "tarf".
        results: The folder of the records.
        format: "markdown", "latex", "csv" (without notes; warns of records without numbers) or "terminal".
        view: "standard"; "compare": beside the published numbers; "confusion": what wrong labels still confuse; "cost":
            ep and seconds; "distance": distances to Retrain; "features": what embeddings know; "paired": differences to
            Retrain with the same seed; "sensitivity": columns against the values of options that were varied;
            "relearning": how fast forgotten samples are relearned.
        accept_stale: Show stale cells too, with a footnote.
        options: `datasets`, `tasks`, `methods` and `seeds`: which cells, as in `run`; Retrain and the controls are
            always shown. `protocol` of views "standard" and "compare": "clean", or "released" as in the code behind
            the published tables. `attack` and `metric` of view "standard": replace the ASR by a metric ("auc",
            "balanced_accuracy", "tpr@1%" or "tpr@0.1%") of an attack. `cache` and `data` of views "confusion" and
            "distance": the folders of artefacts and of data sets.

    Raises:
        UserError: If a name is wrong, all records are stale, or they lack what the view shows.
    """
    check_format(format)
    chosen = view_named(view)
    choice = Choice.of(**{name: options.pop(name) for name in CHOICES if name in options})
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    for option in ("attack", "metric", "protocol"):
        if option in given and option not in chosen.options:
            raise UserError(f"--{view} and --{option} do not go together: print one after the other")
    if preset is not None:
        given["preset"] = preset
    if number is None and not choice.tasks:
        raise UserError("say which table: 1 to 7, or the name of a task")
    if number is not None:
        check_tasks(number, choice.tasks)
    defaults = {**chosen.defaults, **(MISMATCH_DEFAULTS.get(chosen.name, OTHER_VIEW) if number == MISMATCH else {})}
    common = {**defaults, **given, "results": expanded(results), "accept_stale": accept_stale}
    if number is None:
        requests = [Request(task, choice=replace(choice, tasks=[task]), **common) for task in choice.tasks]
    else:
        requests = [Request(number, choice=choice, **common)]
    shown = [one for request in requests for one in shown_of(request, chosen, warn=format == "csv")]
    return "\n".join(rendering.render(one, format) for one in shown)


def check_tasks(number: int | str, tasks: Iterable[str]) -> None:
    """Raises `UserError` if a table is not about a task that was chosen beside it."""
    about = SCENARIOS if number == MISMATCH else (plugin_name(task_of(number)),)
    for task in tasks:
        if plugin_name(task) not in about:
            table = f"table {number}" if isinstance(number, int) else "this table"
            own = number_of(plugin_name(task))
            hint = f"table {own} is" if isinstance(own, int) else f"`unlearnbench table {task}` shows it"
            raise UserError(f"{table} is about {', '.join(about)}, not about {task}: {hint}")


def shown_of(request: Request, view: View, warn: bool) -> list[Table | Grid]:
    """What a view shows of a request, as `views_of`; of Table 7 one table, or what it shows of each scenario."""
    if request.number != MISMATCH:
        return views_of(request, view, warn)
    scenarios = scenarios_of(request)
    if message := absent.stale_message([record for cells in scenarios for record in cells.records]):
        raise UserError(message)
    if view is STANDARD:
        return [mismatch.view(scenarios)]
    if view.name == "compare":
        return [mismatch_compare.view(mismatch.view(scenarios))]
    shown: list[Table | Grid] = []
    reasons = []
    for cells in scenarios:
        try:
            shown += views_of(replace(request, number=cells.number), view, warn)
        except UserError as reason:  # for example, no method reports hidden samples where there are none
            reasons.append(reason)
    if not shown:
        raise reasons[0]
    return shown


def scenarios_of(request: Request) -> list[Cells]:
    """The cells of each scenario of Table 7 that has records, with the preset's options.

    Raises:
        UserError: If none has.
    """
    preset = presets.read(request.preset)
    cells = cells_of_preset(request.results, preset, request.accept_stale, choice=request.choice)
    scenarios = {one.task: one for one in cells if one.task in SCENARIOS}
    if not scenarios:
        raise UserError(
            f"no records of {', '.join(SCENARIOS)} in {request.results / preset.name}: run `unlearnbench run --preset "
            f"{request.preset}`; presets tarf-demo, tarf-fashion and tarf have these tasks"
        )
    return [scenarios[name] for name in SCENARIOS if name in scenarios]


def view_named(name: str) -> View:
    """A view by name; raises `UserError` if there is none of that name."""
    views = {view.name: view for view in (STANDARD, *VIEWS)}
    if name not in views:
        raise unknown("view", name, views)
    return views[name]


def views_of(request: Request, view: View, warn: bool = False) -> list[Table | Grid]:
    """What a view shows of each table of a request, with notes about records that have no numbers.

    Args:
        request: Which tables.
        view: How they are shown.
        warn: Also warn of records that have no numbers, because the format has no notes.

    Raises:
        UserError: If all records are stale, or they lack what the view shows.
    """
    tables = cells_of_table(request.number, request.preset, request.results, request.accept_stale, request.choice)
    tables = tables if view.variants else tables[:1]
    if message := absent.stale_message(tables[0].records, f" of {tables[0].task}"):
        raise UserError(message)
    for note in (note for cells in tables if warn for note in absent.missing(cells.records)):
        warnings.warn(note, stacklevel=3)
    needs = {name: NEEDS[name](request, tables) for name in view.needs}
    show: Callable[..., Table | Grid] = import_module(f"{__package__}.{view.name}").view
    return [with_notes(show(cells, **needs), absent.notes(cells.records)) for cells in tables]


def with_notes(shown: Table | Grid, notes: Iterable[str]) -> Table | Grid:
    """A table with further notes, each once."""
    return replace(shown, notes=list(dict.fromkeys([*shown.notes, *notes])))


def write(results: Path, preset: Preset, accept_stale: bool = False, known: Known = NOTHING_KNOWN) -> dict[str, Table]:
    """Writes all tables for which a preset has records as markdown, LaTeX and csv.

    Args:
        results: The folder of the records.
        preset: Whose tables.
        accept_stale: Show stale cells too, with a footnote.
        known: Records that have been read already.

    Returns:
        The tables by name.
    """
    return write_cells(cells_of_preset(results, preset, accept_stale, known), results / preset.name)


def write_cells(tables_of_cells: Iterable[Cells], folder: Path) -> dict[str, Table]:
    """Writes the tables of some cells.

    Args:
        tables_of_cells: The cells of each table.
        folder: The folder of the preset's results.

    Returns:
        The tables by name.
    """
    tables = {table.name: table for table in made_of(tables_of_cells)}
    for name, content in files_of(tables).items():
        write_atomically(folder / FOLDER / name, content)
    return tables


def files_of(tables: Mapping[str, Table]) -> dict[str, bytes]:
    """The content of the files of tables, by the files' names."""
    return {
        f"{folder_name(name)}{ending}": rendering.render(shown, form).encode()
        for name, shown in tables.items()
        for form, ending in FILES.items()
    }


def tables_of(results: Path, preset: Preset, accept_stale: bool = False, known: Known = NOTHING_KNOWN) -> list[Table]:
    """The tables for which a preset has records; those with other options of a task after the one with the preset's."""
    return made_of(cells_of_preset(results, preset, accept_stale, known))


def made_of(tables_of_cells: Iterable[Cells]) -> list[Table]:
    """The tables of some cells; Table 7 stands for those of its scenarios."""
    found = list(tables_of_cells)
    scenarios = {cells.task: cells for cells in found if cells.task in SCENARIOS}
    tables = [standard.view(cells, CLEAN) for cells in found if cells.task not in SCENARIOS]
    own = [scenarios[name] for name in SCENARIOS if name in scenarios]
    return [*tables, *([mismatch.view(own)] if own else [])]
