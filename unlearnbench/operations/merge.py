"""Merges results folders of several machines into one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.storage.keys import canonical, differences
from unlearnbench.storage.records import read_record, write_record


@dataclass(frozen=True)
class Merged:
    """The result of `merge`.

    Attributes:
        new: Number of records that were added.
        same: Number of records that existed already, with the same numbers.
        better: Number of failures that were replaced by results.
        more: Number of records that got further measures, made by `measure` on another machine.
    """

    new: int
    same: int
    better: int
    more: int


def merge(sources: Sequence[str | Path], results: str | Path = "results") -> Merged:
    """Merges the records of several results folders into one, after checking all of them.

    Args:
        sources: The folders to read, as given to `--results` of runs.
        results: The folder to write to.

    Raises:
        UserError: If a folder has no records, a record is damaged, or two records of one cell contradict each other;
            the message names all of them, and nothing is written.
    """
    target = Path(results)
    chosen: dict[Path, dict[str, Any]] = {}
    conflicts: list[str] = []
    same = better = more = 0
    for source in map(Path, sources):
        paths = sorted(source.glob("*/records/*/*/*/*/*.json"))
        if not paths:
            raise UserError(
                f"there are no records in {source}: give the --results folder of a run, which holds a folder per preset"
            )
        for path in paths:
            relative = path.relative_to(source)
            record = read_record(path)
            known = chosen.get(relative) or read_record(target / relative)
            if record is None:
                conflicts.append(f"{path} is damaged")
            elif known is None:
                chosen[relative] = record
            elif why := conflict(known, record):
                conflicts.append(f"{path} contradicts another record of the cell: {why}")
            elif known["status"] != CellStatus.OK and record["status"] == CellStatus.OK:
                chosen[relative], better = record, better + 1
            elif record.get("more", {}).keys() - known.get("more", {}).keys():
                chosen[relative] = {**known, "more": {**record["more"], **known.get("more", {})}}
                more += 1
            else:
                same += 1
    if conflicts:
        raise UserError("nothing was merged:\n" + "\n".join(conflicts))
    for relative, record in chosen.items():
        write_record(target / relative, record)
    return Merged(len(chosen) - better - more, same, better, more)


def conflict(one: dict[str, Any], other: dict[str, Any]) -> str:
    """How two records of one cell contradict each other, apart from `observed`; "" if they do not."""
    reasons = differences(one["key"], other["key"])
    if reasons:
        return f"their keys differ in {'; '.join(reasons[:3])}"
    if one["status"] == other["status"] == CellStatus.OK and canonical(one["metrics"]) != canonical(other["metrics"]):
        return "the same cell has other numbers, so the two machines compute differently"
    for name in one.get("more", {}).keys() & other.get("more", {}).keys():
        if canonical(one["more"][name]) != canonical(other["more"][name]):
            return f"{name} was measured differently: run `unlearnbench measure` again on one of the machines"
    return ""
