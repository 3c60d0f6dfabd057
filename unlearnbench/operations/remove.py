"""Removes records, such as those of experiments that failed, so that they are no rows of tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from unlearnbench.errors import UserError, unknown
from unlearnbench.planning.cell_info import CellInfo, CellStatus
from unlearnbench.planning.presets import PresetLike, several
from unlearnbench.planning.selection import Selection
from unlearnbench.plugins import objects
from unlearnbench.plugins.files import placed
from unlearnbench.plugins.plugin import Plugin
from unlearnbench.reporting import tables
from unlearnbench.reporting.frame import record_paths
from unlearnbench.storage.folders import expanded
from unlearnbench.storage.records import read_record


@dataclass(frozen=True)
class Removed:
    """The result of `remove`.

    Attributes:
        cells: The names of the cells whose records were removed, or would be.
        left: Number of records that are left.
    """

    cells: Sequence[str]
    left: int


def remove(
    preset: PresetLike = "demo",
    results: str | Path = "results",
    *,
    methods: str | Plugin | Sequence[str | Plugin] = (),
    tasks: str | Sequence[str] = (),
    datasets: str | Sequence[str] = (),
    seeds: str | int | Sequence[int] | None = None,
    failed: bool = False,
    dry_run: bool = False,
) -> Removed:
    """Removes records of a preset, and writes its tables anew. Artefacts stay in the cache.

    Args:
        preset: Whose records, as in `run`.
        results: The folder of the records.
        methods: Labels of methods as in records, such as "laf+tau=5.0", patterns such as "laf+*", FILE.py:FUNCTION, or
            methods themselves; empty: all, which needs `failed`.
        tasks: Labels of tasks, or patterns; empty: all, likewise for the next two.
        datasets: Names of data sets, or patterns.
        seeds: Such as "0-4", 3 or [0, 2].
        failed: Only records without numbers.
        dry_run: Remove nothing.

    Raises:
        UserError: If no method is named and not only failed records go, or no record fits.
    """
    labels = [objects.name_of(method) for method in objects.several(methods)]
    labels = [placed(label) if ":" in label else label for label in labels]
    if not labels and not failed:
        raise UserError("say whose records are removed: name methods with -m, or only those that failed with --failed")
    selection = Selection.of(preset, seeds=seeds)
    folder = expanded(results)
    paths = record_paths(folder, selection.preset_name)
    patterns = {"dataset": several(datasets), "task": several(tasks), "method": labels}
    known: dict[str, set[str]] = {name: set() for name in patterns}
    chosen: dict[Path, str] = {}
    for path, record in ((path, read_record(path)) for path in paths):
        if record is None:
            continue
        info = CellInfo.from_json(record["cell"])
        for name in patterns:
            known[name].add(getattr(info, name))
        fits = all(matches(getattr(info, name), wanted) for name, wanted in patterns.items())
        fits = fits and (not selection.seeds or info.seed in selection.seeds)
        if fits and not (failed and record["status"] == CellStatus.OK):
            chosen[path] = f"{info.dataset} {info.task} {info.method} {info.seed}"
    for name, wanted in patterns.items():
        for pattern in wanted:
            if not any(matches(value, [pattern]) for value in known[name]):
                raise unknown(f"{name} in these records:", pattern, known[name])
    if not chosen:
        raise UserError(f"no record{' without numbers' if failed else ''} in {folder / selection.preset.name} fits")
    if not dry_run:
        for path in chosen:
            path.unlink(missing_ok=True)
        tables.write(folder, selection.preset)
    return Removed([*chosen.values()], len(paths) - len(chosen))


def matches(value: str, patterns: Sequence[str]) -> bool:
    """Whether a value fits one of these patterns; true if there are none."""
    return not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)
