"""Decides whether a finished cell is still valid: its record has the key that the cell has now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from unlearnbench.planning.cell_info import FINISHED, CellStatus
from unlearnbench.storage.keys import differences
from unlearnbench.storage.records import read_record


class State(StrEnum):
    """The state of a cell before a run."""

    CACHED = "cached"
    TO_RUN = "to run"
    STALE = "stale"
    ACCEPTED = "accepted"
    """Stale, and reused because the user accepts it."""
    FAILED = "failed"
    """In an earlier run; tried again only with --retry-failed."""


@dataclass(frozen=True)
class Status:
    """The state of a cell, and why.

    Attributes:
        state: The state.
        why: The reason, where the state is stale, accepted or failed.
        record: The record of a cached cell.
        failure: The status in the record of a failed cell.
    """

    state: State
    why: str = ""
    record: Mapping[str, Any] | None = field(default=None, repr=False)
    failure: str = ""


def status_of(path: Path, key: Mapping[str, Any], accept_stale: bool) -> Status:
    """Compares the record of a cell, if there is one, with the cell's key.

    Args:
        path: The file of the record.
        key: Everything that would go into the record now.
        accept_stale: Whether a stale record with numbers is reused.
    """
    record = read_record(path)
    if record is None:
        return Status(State.TO_RUN)
    reasons = differences(record["key"], key)
    if reasons:
        accepted = accept_stale and record["status"] == CellStatus.OK
        why = "; ".join(dict.fromkeys(short(reason) for reason in reasons))
        return Status(State.ACCEPTED if accepted else State.STALE, why)
    if record["status"] not in FINISHED:
        return Status(State.FAILED, record.get("reason", "no reason is given"), failure=record["status"])
    return Status(State.CACHED, record={**record, "key": key})  # equal, and in memory already: keys are large


def short(reason: str) -> str:
    """A difference of two keys without the path that leads to it, e.g. "recipe.epochs: 16 -> 20"."""
    path, colon, values = reason.partition(": ")
    return ".".join(path.split(".")[-2:]) + colon + values
