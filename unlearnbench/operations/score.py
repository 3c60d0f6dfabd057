"""Networks that are made elsewhere: what their makers need, and a verdict on what they bring back."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from unlearnbench.artefacts.jobs import Job, shapes_of
from unlearnbench.artefacts.scenario import Scenario, content_of, shape_of
from unlearnbench.errors import UserError
from unlearnbench.operations.run import Summary, carried_out
from unlearnbench.operations.work import Progress
from unlearnbench.planning import presets
from unlearnbench.planning.cells import parameters, record_path
from unlearnbench.planning.plan import Cell, Plan
from unlearnbench.planning.presets import ELSEWHERE, NOTHING, REFERENCE
from unlearnbench.planning.selection import planned
from unlearnbench.plugins import registry
from unlearnbench.storage.records import read_record
from unlearnbench.storage.store import Store

LONGEST_NAME = 100


def score(
    weights: str | Path,
    *,
    dataset: str,
    task: str,
    seed: int = 0,
    name: str | None = None,
    preset: str | Path = "demo",
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    jobs: int | None = None,
    device: str = "auto",
    arithmetic: str = "auto",
    results: str | Path = "results",
    cache: str | Path | None = None,
    data: str | Path | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Evaluates given weights as a cell, beside Retrain; it gets a record, and a row of its own in the tables.

    Args:
        weights: A safetensors file with the weights of the preset's network for this data set.
        dataset: Name of the data set.
        task: Name of the task.
        seed: The seed of the original and of the forget set.
        name: What records and tables call it; None: the name of the file.
        preset: As in `run`, likewise the others.
        overrides: Options by name of a task or attack.
        jobs: Workers.
        device: "auto", "cpu" or "cuda".
        arithmetic: As in `run`.
        results: Folder of records and tables.
        cache: Folder of artefacts.
        data: Folder with the data sets' files.
        dry_run: Only plan.
        progress: Is told how it goes.

    Returns:
        As `run`; the plan's cells are Retrain's and the given network's.

    Raises:
        UserError: If the weights are not those of the preset's network, or another argument is wrong.
    """
    path = Path(weights)
    called = path.stem if name is None else name
    check_name(called)
    where = {
        "overrides": overrides,
        "device": device,
        "arithmetic": arithmetic,
        "results": results,
        "cache": cache,
        "data": data,
    }
    plan = plan_of(dataset, task, seed, preset, **where)
    reference, untouched = (next(c for c in plan.cells if c.method == m) for m in (REFERENCE, NOTHING))
    given = brought(path, untouched.scenario, plan.store)
    text = command(path, untouched, preset, overrides, "--name", called)
    cell = judged(untouched, given, called, text, plan.results)
    there = read_record(cell.path)
    if there is not None and there["cell"]["role"] != ELSEWHERE:
        raise UserError(f"{cell.path} is the record of a method: choose another --name")
    return carried_out(replace(plan, cells=[reference, cell]), preset, jobs=jobs, dry_run=dry_run, progress=progress)


def plan_of(dataset: str, task: str, seed: int, preset: str | Path, **where: Any) -> Plan:
    """The plan of the network to which nothing was done, and of Retrain; other arguments as of `planned`."""
    seeds = presets.parse_seeds(seed)
    return planned(preset, datasets=[dataset], tasks=[task], methods=[NOTHING], seeds=seeds, **where)


def check_name(name: str) -> None:
    """Raises `UserError` for a name that methods or their variants have, or that would make no file."""
    if name in registry.entries("methods"):
        raise UserError(f"{name} is the name of a method: give the network another one with --name")
    if not name.strip(". ") or "+" in name or len(name) > LONGEST_NAME:
        raise UserError(f"a --name has up to {LONGEST_NAME} characters, no plus sign, and not only dots: not {name!r}")


def command(
    weights: Path | str,
    cell: Cell,
    preset: str | Path,
    overrides: Mapping[str, Mapping[str, Any]] | None,
    *more: str,
) -> str:
    """The command line that judges weights as a cell of this scenario."""
    scenario = cell.scenario
    words = ["unlearnbench", "score", str(weights), "-d", scenario.dataset, "-t", scenario.task]
    words += ["--seed", str(scenario.seed), "--preset", str(preset), "--device", scenario.device]
    words += ["--arithmetic", scenario.arithmetic, *more]
    return shlex.join(words + parameters(overrides or {}, (scenario.task, *cell.attacks)))


def brought(path: Path, scenario: Scenario, store: Store) -> Job:
    """Puts given weights among the artefacts, where a cell can start from them."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        tensors = load(content)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise UserError(f"{path} is no safetensors file: {error}") from error
    check_fit(path, tensors, scenario, store)
    key = {"kind": "given", "sha256": hashlib.sha256(content).hexdigest()}
    store.get_or_make(key, lambda: (tensors, {"seconds": {}}))
    return Job("network", key, scenario, 0, 0)  # which other cells' networks are, too: something to start from


def check_fit(path: Path, tensors: Mapping[str, Tensor], scenario: Scenario, store: Store) -> None:
    """Raises `UserError` unless these are the weights of a scenario's network."""
    content = content_of(scenario, store)
    options = tuple(scenario.model_options.items())
    wanted = shapes_of(scenario.model, options, shape_of(scenario, content), content.num_classes)
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            shapes = [f"has shape {shapes[name]}" if name in shapes else "is not there" for shapes in (found, wanted)]
            raise UserError(
                f"{path} does not have the weights of {scenario.model} for {scenario.dataset}: {name} {shapes[0]} "
                f"but {shapes[1]} in that network; `unlearnbench export` writes a file that fits"
            )
        if not tensors[name].isfinite().all():
            raise UserError(f"{path} has numbers in {name} that are not finite")


def judged(untouched: Cell, given: Job, name: str, command: str, results: Path) -> Cell:
    """The cell of given weights, made of that of the network to which nothing was done."""
    outputs = replace(
        untouched.outputs,
        key={**untouched.outputs.key, "parent": given.key},
        needs={**untouched.outputs.needs, "parent": given},
        keep=None,
    )
    about = {
        **untouched.about,
        "method": name,
        "method_title": name,
        "role": ELSEWHERE,
        "access": "not enforced",
    }
    return replace(
        untouched,
        outputs=outputs,
        key={**untouched.key, "outputs": outputs.key},
        path=record_path(results, about),
        about=about,
        command=command,
    )
