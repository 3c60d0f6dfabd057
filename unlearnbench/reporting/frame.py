"""Records as rows of a table, and whether the code and the preset that made them are the present ones.

Nothing here needs torch, a plugin or an artefact.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.artefacts.versions import outdated
from unlearnbench.errors import UserError
from unlearnbench.planning.presets import Preset
from unlearnbench.planning.protocols import CLEAN, PROTOCOLS
from unlearnbench.storage.folders import folder_name
from unlearnbench.storage.keys import canonical
from unlearnbench.storage.records import read_record

if TYPE_CHECKING:
    import pandas as pd

Known = Mapping[Path, Mapping[str, Any]]
"""Records by path that a plan has read, and found to be what it would make."""
NOTHING_KNOWN: Known = {}


def load(results: str | Path = "results", preset: str | None = None) -> pd.DataFrame:
    """Reads records into a table with one row for each cell.

    Args:
        results: The folder that runs wrote to.
        preset: Only this preset's (its name or its file); all if None.

    Returns:
        Names and titles (`dataset`, `model`, `task`, `method`, `role`, `seed`, ...), `status`, and the metrics of
        protocol `clean` as fractions in [0, 1] (`train_r`, `train_f`, `test`, `test_r`, `test_f`, `asr`), those of
        protocol `released` as `released.train_r` and so on; those of attacks as e.g. `shadow.auc`, `shadow.auc_low`,
        `shadow.auc_high`; how many items an accuracy is the mean over as `items.train_r` and so on; what it cost in
        `seconds_prepare` and `seconds_unlearn` (measured) and in `ep_prepare` and `ep_unlearn` (passes over the
        training set, as the method declares).

    Raises:
        UserError: If the folder does not exist or cannot be read.
    """
    import pandas as pd

    return pd.DataFrame([flat(record) for record in records(Path(results), preset)])


def records(results: Path, preset: str | None = None) -> Iterator[Mapping[str, Any]]:
    """All readable records below a results folder, by path; one at a time, for there may be many."""
    return (record for path in record_paths(results, preset) if (record := read_record(path)) is not None)


def record_paths(results: Path, preset: str | None = None, task: str = "") -> list[Path]:
    """The files of all records below a results folder, or of a preset's, or of tasks whose names begin like this.

    Raises:
        UserError: If there can be none.
    """
    if not results.is_dir():
        raise UserError(f"there is no results folder {results}: run `unlearnbench run`, or name another with --results")
    if not os.access(results, os.R_OK | os.X_OK):
        raise UserError(f"cannot read the results folder {results}: check its permissions")
    preset = Path(preset).stem if preset and preset.endswith(".toml") else preset
    if preset and not (results / preset).is_dir():
        raise UserError(
            f"there are no results of preset {preset} in {results}: run `unlearnbench run --preset {preset}`"
        )
    of_task = escape(folder_name(task)) if task else ""
    return sorted(results.glob(f"{escape(preset) if preset else '*'}/records/*/*/{of_task}*/*/*.json"))


def flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as one row."""
    row = {**record["cell"], "status": record["status"], "reason": record.get("reason", "")}
    row["shadows"] = record["key"]["shadows"]["count"]
    row["attacks"] = {name: attack["options"] for name, attack in record["key"].get("attacks", {}).items()}
    row["world"], row["date"] = world(record["key"]), record["observed"].get("date", "")
    metrics = record.get("metrics", {})
    for protocol in PROTOCOLS:
        row |= {column_of(name, protocol): value for name, value in metrics.get(protocol, {}).items()}
    more = record.get("more", {})
    row["more"] = {name: canonical(entry["key"]) for name, entry in more.items()}
    for attack, found in {**metrics.get("attacks", {}), **{name: e["found"] for name, e in more.items()}}.items():
        for name, value in found.items():
            column = f"{attack}.{name}"
            if isinstance(value, list):
                row[column], row[f"{column}_low"], row[f"{column}_high"] = value
            else:
                row[column] = value
    row |= {f"items.{name}": number for name, number in metrics.get("items", {}).items()}
    row |= {f"ep_{phase}": ep for phase, ep in metrics.get("cost", {}).items()}
    return row | {f"seconds_{phase}": s for phase, s in record["observed"]["seconds"].items()}


def column_of(metric: str, protocol: str) -> str:
    """What a metric of a protocol is called in `load`: the suite's own protocol goes without saying."""
    return metric if protocol == CLEAN.name else f"{protocol}.{metric}"


def world(key: Mapping[str, Any]) -> list[Any]:
    """What all cells of a table must have in common: data, network, recipe, and how it is trained and measured."""
    original, like = key.get("outputs", {}).get("original", {}), key.get("shadows", {}).get("like", {})
    own = {k: v for k, v in original.items() if k not in ("labels", "seed") and v != like.get(k)}  # not all of it twice
    return [own, *(key.get(name) for name in ("shadows", "attacks", "code"))]


def rows_of(paths: Iterable[Path], preset: Preset, accept_stale: bool, known: Known) -> Iterator[dict[str, Any]]:
    """The records in these files as rows; those that are known were compared with what there is when they were read."""
    for path in paths:
        record = known.get(path) or read_record(path)
        if record is not None:
            yield aged(record, "" if path in known else changes(record, preset), accept_stale)


def aged(record: Mapping[str, Any], changed: str, accept_stale: bool) -> dict[str, Any]:
    """A record as one row, marked if what made it has changed since; what `measure` added is then left out."""
    files = record["observed"].get("files", {})
    row = flat(record)
    row["accepted"], row["gone"] = "", ", ".join(Path(f).name for f in files.values() if not Path(f).is_file())
    if changed and row["status"] == "ok":
        if accept_stale:
            row["accepted"] = changed
        else:
            row["status"] = "stale"
            row["reason"] = f"changed since: {changed}; run again, or accept it with --accept-stale"
    for name, entry in record.get("more", {}).items():
        if not accept_stale and name != "relearning" and outdated({"attacks": {name: entry["key"]}}):
            row = {column: None if column.startswith(f"{name}.") else value for column, value in row.items()}
    return row


def changes(record: Mapping[str, Any], preset: Preset) -> str:
    """What is no longer as it was when a record was made: code, and what the preset says; "" if nothing is known."""
    return ", ".join([*outdated(record["key"], record["observed"].get("files", {})), *reset(record, preset)])


def reset(record: Mapping[str, Any], preset: Preset) -> Iterator[str]:
    """What a preset says otherwise than when a record was made."""
    cell, recipe = record["cell"], record["key"].get("outputs", {}).get("original", {}).get("recipe")
    training = preset.datasets.get(cell["dataset"])
    if recipe and training:
        wanted = training.recipe.values()
        if training.recipe.precision == "auto":  # what that means is for the machine to say
            del wanted["precision"]
        if recipe != wanted:
            yield from (f"recipe.{n}" for n in wanted if n in recipe and differ(recipe[n], wanted[n]))
    made: Any = {} if "+" in cell["method"] else record["key"].get("outputs")  # those were told otherwise with -p
    while made:
        method, chosen = made.get("method", {}).get("name", ""), made.get("method", {}).get("options", {})
        layers = preset.hyperparameters(method, cell["task"].partition("+")[0], cell["model"])
        told = {name: value for layer in layers for name, value in layer.items()}
        yield from (f"{method}.{n}" for n in told if n in chosen and differ(chosen[n], told[n]))
        made = made.get("parent")


def differ(old: Any, new: Any) -> bool:
    """Whether two values are different in JSON, which has no tuples."""
    return bool(old != new) and canonical(old) != canonical(new)
