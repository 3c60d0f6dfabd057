"""Evaluates networks that were made elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unlearnbench.artefacts.given import Given
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.errors import UserError
from unlearnbench.operations.run import Summary, carry_out
from unlearnbench.operations.work import Effort, Progress
from unlearnbench.planning.cells import parameters, planned, record_path
from unlearnbench.planning.plan import Cell
from unlearnbench.planning.presets import ELSEWHERE, NOTHING, REFERENCE
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import registry
from unlearnbench.storage.records import read_record

LONGEST_NAME = 100


def score(
    weights: str | Path,
    selection: Selection,
    workspace: Workspace,
    *,
    name: str | None = None,
    effort: Effort = Effort(),
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Evaluates given weights as a cell beside Retrain; it gets a record, and a row of its own in the tables.

    Args:
        weights: A safetensors file with the weights of the preset's network.
        selection: One data set, one task and one seed: those of the original and of the forget set.
        workspace: Where to compute.
        name: Its name in records and tables; None: the name of the file.
        effort: Workers and limits.
        dry_run: Only plan.
        progress: Receives progress events.

    Returns:
        As `run`; the plan's cells are Retrain's and the given network's.

    Raises:
        UserError: If the weights are not those of the preset's network, or another argument is wrong.
    """
    path = Path(weights)
    name = path.stem if name is None else name
    check_name(name)
    plan = planned(replace(selection, methods=[NOTHING]), workspace)
    reference, untouched = (next(c for c in plan.cells if c.method == m) for m in (REFERENCE, NOTHING))
    given = Given.of(path, LoadedScenario.of(untouched.scenario, workspace.datasets))
    cell = scored(untouched, given, name, score_command(path, untouched, selection, "--name", name), plan.results)
    existing = read_record(cell.path)
    if existing is not None and existing["cell"]["role"] != ELSEWHERE:
        raise UserError(f"{cell.path} is the record of a method: choose another --name")
    return carry_out(replace(plan, cells=[reference, cell]), selection, effort, dry_run=dry_run, progress=progress)


def check_name(name: str) -> None:
    """Raises `UserError` for a name that methods or their variants have, or that would make no file."""
    if name in registry.entries("methods"):
        raise UserError(f"{name} is the name of a method: give the network another one with --name")
    if not name.strip(". ") or "+" in name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UserError(
            f"a --name has up to {LONGEST_NAME} characters, no plus sign, no control characters such as line breaks, "
            f"and not only dots: not {name!r}"
        )


def score_command(weights: Path | str, cell: Cell, selection: Selection, *more: str) -> str:
    """The command line that evaluates weights as a cell of this scenario."""
    scenario = cell.scenario
    words: Sequence[str] = [
        *("unlearnbench", "score", str(weights), "-d", scenario.dataset, "-t", scenario.task),
        *("--seed", str(scenario.seed), "--preset", selection.preset_name, "--device", scenario.device),
        *("--arithmetic", scenario.arithmetic, *more),
        *parameters(selection.overrides, (scenario.task, *cell.attacks)),
    ]
    return shlex.join(words)


def scored(untouched: Cell, given: Given, name: str, command: str, results: Path) -> Cell:
    """The cell of given weights, derived from the cell of the original."""
    outputs = replace(
        untouched.outputs,
        key={**untouched.outputs.key, "parent": given.key},
        needs={**untouched.outputs.needs, "parent": given},
        network=None,
    )
    info = replace(untouched.info, method=name, method_title=name, role=ELSEWHERE, access="not enforced")
    return replace(
        untouched,
        outputs=outputs,
        key={**untouched.key, "outputs": outputs.key},
        path=record_path(results, info),
        info=info,
        command=command,
    )
