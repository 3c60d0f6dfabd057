"""One folder of results out of several, made on different machines."""

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
    """What `merge` did.

    Attributes:
        new: How many records came in.
        same: How many were there already, with the same numbers.
        better: How many failures were replaced by a result.
        more: How many got what `measure` has found elsewhere.
    """

    new: int
    same: int
    better: int
    more: int


def merge(sources: Sequence[str | Path], results: str | Path = "results") -> Merged:
    """Brings the records of several results folders into one. All or nothing: first everything is compared.

    Args:
        sources: Folders as `--results` names them.
        results: Where the records shall be.

    Raises:
        UserError: If a folder has no records, a record is damaged, or two of one cell differ in more than times and
            places; the message names all of them.
    """
    target = Path(results)
    chosen: dict[Path, dict[str, Any]] = {}
    conflicts: list[str] = []
    same = better = more = 0
    for source in map(Path, sources):
        paths = sorted(source.glob("*/records/*/*/*/*/*.json"))
        if not paths:
            raise UserError(
                f"there are no records in {source}: name a folder that holds presets' folders, as --results"
            )
        for path in paths:
            place = path.relative_to(source)
            record = read_record(path)
            known = chosen.get(place) or read_record(target / place)
            if record is None:
                conflicts.append(f"{path} is damaged")
            elif known is None:
                chosen[place] = record
            elif why := conflict(known, record):
                conflicts.append(f"{path} contradicts what is there: {why}")
            elif known["status"] != CellStatus.OK and record["status"] == CellStatus.OK:
                chosen[place], better = record, better + 1
            elif record.get("more", {}).keys() - known.get("more", {}).keys():
                chosen[place] = {**known, "more": {**record["more"], **known.get("more", {})}}
                more += 1
            else:
                same += 1
    if conflicts:
        raise UserError("nothing was merged:\n" + "\n".join(conflicts))
    for place, record in chosen.items():
        write_record(target / place, record)
    return Merged(len(chosen) - better - more, same, better, more)


def conflict(one: dict[str, Any], other: dict[str, Any]) -> str:
    """How two records of one cell contradict each other; "" if they do not."""
    reasons = differences(one["key"], other["key"])
    if reasons:
        return f"they were made of different things: {'; '.join(reasons[:3])}"
    if one["status"] == other["status"] == CellStatus.OK and canonical(one["metrics"]) != canonical(other["metrics"]):
        return "the same cell has other numbers, so one of the two machines computes differently"
    for name in one.get("more", {}).keys() & other.get("more", {}).keys():
        if canonical(one["more"][name]) != canonical(other["more"][name]):
            return f"{name} was measured differently: run `unlearnbench measure` again on one side"
    return ""
