"""Evaluates networks that were made outside of the suite."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unlearnbench.artefacts.given import Given, outputs_of
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.errors import UserError
from unlearnbench.operations.run import Summary, carry_out
from unlearnbench.operations.work import Effort, Progress
from unlearnbench.planning.cells import parameters, planned, record_path
from unlearnbench.planning.plan import Cell, Rerun
from unlearnbench.planning.presets import ELSEWHERE, ORIGINAL, REFERENCE
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import registry
from unlearnbench.plugins.method import Method
from unlearnbench.storage.folders import expanded
from unlearnbench.storage.records import read_record

MAX_NAME_LENGTH = 100


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
    """Evaluates weights as a cell beside Retrain, with a record and a row in the tables.

    Args:
        weights: A file with the weights of the preset's network: safetensors, or `torch.save` of a state_dict.
        selection: One data set, task and seed: those of the original and of the forget set.
        workspace: The folders, device and arithmetic.
        name: The name of the network in records and tables; None: the name of the file.
        effort: Workers and limits.
        dry_run: Plan, but compute nothing.
        progress: Receives progress events.

    Returns:
        As `run`; the plan has two cells, Retrain and the network.

    Raises:
        UserError: If the weights are not those of the preset's network, or another argument is wrong.
    """
    path = expanded(weights)
    name = path.stem if name is None else name
    check_name(name)
    plan = planned(replace(selection, methods=[ORIGINAL]), workspace)
    cells = {cell.method: cell for cell in plan.cells}
    reference, original = cells[REFERENCE], cells[ORIGINAL]
    given = Given.of(path, LoadedScenario.of(original.scenario, workspace.datasets))
    cell = cell_of_weights(
        original, given, name, score_command(path, original, selection, "--name", name), plan.results
    )
    existing = read_record(cell.path)
    if existing is not None and existing["cell"]["role"] != ELSEWHERE:
        raise UserError(f"{cell.path} is the record of a method: choose another --name")
    again = replace(plan, cells=[reference, cell], rerun=Rerun(retry_failed=True))  # whoever scores again wants that
    return carry_out(again, selection, effort, dry_run=dry_run, progress=progress)


def check_name(name: str) -> None:
    """Raises `UserError` for the name or the title of a method, and for names that cannot be file names."""
    titles = {registry.get(Method, method).title.lower() for method in registry.usable("methods")}
    if name.lower() in {*registry.entries("methods"), *titles}:
        raise UserError(f"{name} is the name of a method: choose another name with --name")
    if not name.strip(". ") or "+" in name or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise UserError(
            f"--name must have 1 to {MAX_NAME_LENGTH} characters, no plus sign, no control characters such as "
            f"line breaks, and not only dots, not {name!r}"
        )


def score_command(weights: Path | str, cell: Cell, selection: Selection, *more: str) -> str:
    """The command that evaluates weights in the scenario of a cell."""
    scenario = cell.scenario
    words: Sequence[str] = [
        *("unlearnbench", "score", str(weights), "-d", scenario.dataset, "-t", scenario.task),
        *("--seed", str(scenario.seed), "--preset", selection.preset_name, "--device", scenario.device),
        *("--arithmetic", scenario.arithmetic, *more),
        *parameters(selection.overrides, (scenario.task, *cell.attacks)),
    ]
    return shlex.join(words)


def cell_of_weights(original: Cell, given: Given, name: str, command: str, results: Path) -> Cell:
    """The cell of given weights, derived from the cell of the original."""
    outputs = outputs_of(given, original.outputs)
    info = replace(original.info, method=name, method_title=name, role=ELSEWHERE, access="not enforced")
    return replace(
        original,
        outputs=outputs,
        key={**original.key, "outputs": outputs.key},
        path=record_path(results, info),
        info=info,
        command=command,
    )
