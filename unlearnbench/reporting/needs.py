"""What views need beside the cells of a table, and how it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.errors import UserError
from unlearnbench.planning import protocols
from unlearnbench.planning.protocols import CLEAN, Protocol
from unlearnbench.reporting.cells import Cells
from unlearnbench.reporting.choice import EVERYTHING, Choice
from unlearnbench.reporting.published import Published
from unlearnbench.reporting.published import read as read_published
from unlearnbench.reporting.standard import success_of

if TYPE_CHECKING:
    from unlearnbench.reporting.outputs import Outputs


U_LIRA = "u-lira"
"""The attack that needs models of its own."""


@dataclass(frozen=True)
class Request:
    """A table to print; attributes as the arguments of `table`."""

    number: int | str
    preset: str = "demo"
    results: Path = Path("results")
    accept_stale: bool = False
    protocol: str = CLEAN.name
    attack: str | None = None
    metric: str | None = None
    cache: str | Path | None = None
    data: str | Path | None = None
    choice: Choice = EVERYTHING


def protocol(request: Request, tables: Sequence[Cells]) -> Protocol:
    """The protocol of a request.

    Raises:
        UserError: If there is no such protocol, attack or metric, or no record has the metric.
    """
    chosen = protocols.get(request.protocol, request.attack, request.metric)
    column = success_of(chosen)
    if column != "asr" and not any(column in cells.frame and cells.frame[column].notna().any() for cells in tables):
        raise UserError(f"no record has {column}: {why_not(tables, request.preset, chosen)}")
    return chosen


def why_not(tables: Sequence[Cells], preset: str, protocol: Protocol) -> str:
    """Why no record has the metric of an attack."""
    models = " --unlearned-shadows 16" if protocol.attack == U_LIRA else ""
    command = f"unlearnbench measure --preset {preset} --attack {protocol.attack}{models}"
    frames = [cells.frame for cells in tables]
    reasons = [
        reason for frame in frames if (name := f"{protocol.attack}.n/a") in frame for reason in frame[name].dropna()
    ]
    if reasons:
        return str(reasons[0])
    added = [record.more[protocol.attack] for c in tables for record in c.records if protocol.attack in record.more]
    if added and not any(one.numbers for one in added):
        return f"its numbers are stale: run `{command}` again; --accept-stale shows them"
    if any(f"{protocol.attack}.auc" in frame for frame in frames):
        few = "the held-out samples are too few for it"
        return few if protocol.metric.startswith("tpr") else "the attack has no threshold here"
    return f"run `{command}`"


def published(request: Request, tables: Sequence[Cells]) -> Published:
    """The published numbers of a table."""
    return read_published(tables[0].number)


def outputs(request: Request, tables: Sequence[Cells]) -> Outputs:
    """The outputs of a table's cells that are in the cache.

    Raises:
        UserError: If the preset's cells cannot be planned.
    """
    from unlearnbench.planning.selection import Workspace
    from unlearnbench.reporting.outputs import Outputs

    workspace = Workspace.of(request.results, request.cache, request.data)
    return Outputs.of(tables[0], workspace)


NEEDS: Mapping[str, Callable[[Request, Sequence[Cells]], Any]] = {
    "protocol": protocol,
    "published": published,
    "outputs": outputs,
}
"""How each need is loaded, from a request and the cells of its tables."""
