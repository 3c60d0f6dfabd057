"""Reads records from a results folder, typed or as a pandas frame. Needs neither torch nor plugins' code."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.artefacts.versions import outdated
from unlearnbench.errors import UserError, counted
from unlearnbench.planning import presets
from unlearnbench.planning.presets import Preset, PresetLike
from unlearnbench.planning.presets.content import is_file
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.reporting.absent import causes
from unlearnbench.reporting.choice import Choice
from unlearnbench.reporting.comparable import changes, marked
from unlearnbench.reporting.record import STALE, Record
from unlearnbench.storage.folders import expanded, folder_name
from unlearnbench.storage.records import read_record
from unlearnbench.storage.store import DamagedError

if TYPE_CHECKING:
    import pandas as pd

Known = Mapping[Path, Mapping[str, Any]]
"""Records by path that a plan has read and that are not stale."""
NESTED = ("columns", "task_options", "hyperparameters", "sources")
"""The columns of `load` whose values are lists or dicts."""
NOTHING_KNOWN: Known = {}


def load(
    preset: PresetLike | None = "demo",
    results: str | Path = "results",
    *,
    task: str | Sequence[str] = (),
    method: str | Plugin | Sequence[str | Plugin] = (),
    dataset: str | Sequence[str] = (),
    seed: str | int | Sequence[int] | None = None,
    accept_stale: bool = False,
    nested: bool = False,
) -> pd.DataFrame:
    """Reads records into a frame with one row for each cell.

    Args:
        preset: Whose results, as in `run`; None: those of all presets.
        results: The folder of the records.
        task: Only these tasks: one name or label, or several; likewise the next two. Unlike in tables, Retrain and the
            controls are left out, too, if they are not named.
        method: Only these methods.
        dataset: Only these data sets.
        seed: Only these seeds, such as "0-4", 3 or [0, 2].
        accept_stale: Do not warn of stale records.
        nested: Also the columns `columns`, `task_options`, `hyperparameters` and `sources`, whose values are lists and
            dicts.

    Returns:
        Names and titles (`dataset`, `model`, `task`, `method`, `role`, `seed`, ...), `origin` (the file or package of a
        method that is not built in), `status`, `stale` (what has changed since: code or, if a preset is named, what it
        says; "" for nothing), and the metrics of protocol `clean` as fractions in [0, 1] (`train_r`, `train_f`, `test`,
        `test_r`, `test_f`, `asr`), those of protocol `released` as `released.train_r` and so on; those of attacks as
        e.g. `shadow.auc`, `shadow.auc_low`, `shadow.auc_high`; the number of samples behind an accuracy as
        `items.train_r` and so on; the cost in `seconds_prepare` and `seconds_unlearn` (measured) and in `ep_prepare`
        and `ep_unlearn` (passes over the training set, as the method declares; nan if it does not); hyperparameters as
        e.g. `laf.tau`, also those of the methods that a method starts from.

    Raises:
        UserError: If the folder does not exist or cannot be read, or a name is in no record.
    """
    import pandas as pd

    chosen, folder = compared_with(preset)
    if folder and not chosen:
        check_is_name(folder, expanded(results))
    choice = Choice.of(dataset, task, method, seed)
    read = [Record.from_json(record) for record in records(expanded(results), folder)]
    choice.check(record.cell for record in read)
    read = [record for record in read if choice.has_scenario(record.cell) and choice.has_method(record.cell)]
    changed = [changes(r, chosen) if chosen else ", ".join(outdated(r.key, r.files)) for r in read]
    stale = [marked(record, text, accept_stale=False) for record, text in zip(read, changed, strict=True)]
    if (number := sum(record.state == STALE for record in stale)) and not accept_stale:
        warnings.warn(
            f"{number} of {counted(len(read), 'record')} {'is' if number == 1 else 'are'} stale because of changes in "
            f"{causes(stale)}: run again, or see column `stale`; accept_stale=True silences this",
            stacklevel=2,
        )
    rows = [{**replace(r, changed=text).row(), **flat(r.options)} for r, text in zip(read, changed, strict=True)]
    hidden = () if nested else NESTED
    return pd.DataFrame([{name: value for name, value in row.items() if name not in hidden} for row in rows])


def flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options in which lists are text, such as "1_2"."""
    return {
        name: "_".join(map(str, value)) if isinstance(value, list | tuple) else value for name, value in options.items()
    }


def check_is_name(preset: str, results: Path) -> None:
    """Raises `UserError` if somebody has given a folder where the name of a preset is expected."""
    folder = expanded(preset)
    if folder.is_dir() and not (results / preset).is_dir():
        of_one = (folder / "records").is_dir()
        instead = f"{folder.name!r}, results={str(folder.parent)!r}" if of_one else f"results={str(folder)!r}"
        raise UserError(f"{preset} is a folder, and the first argument names a preset: load({instead})")


def compared_with(preset: PresetLike | None) -> tuple[Preset | None, str | None]:
    """The preset that records are compared with, and the name of its results."""
    if preset is None:
        return None, None
    if isinstance(preset, str | Path) and not is_file(str(preset)) and preset not in presets.names():
        return None, str(preset)
    chosen = presets.read(preset)
    return chosen, chosen.source


def records(results: Path, preset: str | None = None) -> Iterator[Mapping[str, Any]]:
    """All readable records of a results folder as JSON values, in the order of their paths, one at a time."""
    paths = record_paths(results, preset)
    return (record for path in paths if (record := read_record(path)) is not None and readable(record, path))


def record_paths(results: Path, preset: str | None = None, task: str = "") -> list[Path]:
    """The files of records, sorted.

    Args:
        results: The folder of the records.
        preset: Only those of this preset (its name or file).
        task: Only those of tasks whose names begin like this.

    Raises:
        UserError: If the folder does not exist or cannot be read, or has no results of the preset.
    """
    if not results.is_dir():
        raise UserError(f"there is no results folder {results}: run `unlearnbench run`, or name another with --results")
    if not os.access(results, os.R_OK | os.X_OK):
        raise UserError(f"cannot read the results folder {results}: check its permissions")
    name = Path(preset).stem if preset and is_file(preset) else preset
    if name and not (results / name).is_dir():
        raise UserError(f"there are no results of preset {name} in {results}: run `unlearnbench run --preset {preset}`")
    of_task = escape(folder_name(task)) if task else ""
    return sorted(results.glob(f"{escape(name) if name else '*'}/records/*/*/{of_task}*/*/*.json"))


def marked_records(paths: Iterable[Path], preset: Preset, accept_stale: bool, known: Known) -> Iterator[Record]:
    """The records in these files, marked if they are stale; known ones are not read again.

    Args:
        paths: Files; those without a readable record are left out.
        preset: What they are compared with.
        accept_stale: Whether the numbers of stale records are shown.
        known: Records that are not stale.
    """
    for path in paths:
        content = known.get(path) or read_record(path)
        if content is not None and (record := readable(content, path)):
            yield marked(record, "" if path in known else changes(record, preset), accept_stale)


def readable(content: Mapping[str, Any], path: Path) -> Record | None:
    """A record, or None, with a warning, if tables cannot show what is in its file."""
    try:
        return Record.checked(content, path)
    except DamagedError as error:
        warnings.warn(f"the record {path} is damaged and is not used: {error}", stacklevel=2)
        return None
