"""Chooses hyperparameters that nobody published: by one rule, with the same budget for every method.

The rule: in a world of its own (training images only, some of them held out, its own original and its own Retrain), the
point of a grid of at most four that comes closest to Retrain. The test set is not loaded, and no network of that world
enters a table.
"""

from __future__ import annotations

import itertools
import math
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import statistics
from unlearnbench.artefacts.scenario import Scenario, content_of, split_of
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import UserError, unknown
from unlearnbench.evaluation import metrics
from unlearnbench.operations.work import check_jobs, work, workers_on
from unlearnbench.planning import presets
from unlearnbench.planning.cells import build
from unlearnbench.planning.plan import Cell, Plan, unmade
from unlearnbench.planning.presets import NOTHING, REFERENCE, Preset
from unlearnbench.planning.selection import choose_device
from unlearnbench.plugins import registry
from unlearnbench.plugins.files import named, place_of
from unlearnbench.plugins.method import Method
from unlearnbench.runtime.arithmetic import environment, resolved
from unlearnbench.runtime.threads import one_thread
from unlearnbench.storage import folders
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.store import Store

SEED = 1000
"""Of the tuning world; the tables have smaller ones."""
MOST_POINTS = 4
SUFFIX = "-tuning"
GRIDS = Path(__file__).with_name("grids.toml")
Point = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """A network of the tuning world.

    Attributes:
        name: What it is.
        point: The hyperparameters that were tried; empty for Retrain and the original.
        measures: In percent: accuracies on retained, forgotten and held-out items, and the AUC of an attack by loss;
            empty if it failed.
        distance: Mean absolute difference of these to Retrain's, in percentage points; nan if it failed.
        reason: Why it failed.
    """

    name: str
    point: Point
    measures: Mapping[str, float]
    distance: float = float("nan")
    reason: str = ""


@dataclass(frozen=True)
class Tuning:
    """What a tuning found.

    Attributes:
        trials: Retrain, the original, and the points of the grid.
        best: The point that comes closest to Retrain.
        log: Where it is written down.
    """

    trials: Sequence[Trial]
    best: Trial
    log: Path


def tune(
    method: str,
    *,
    dataset: str,
    task: str,
    preset: str | Path = "demo",
    grid: Mapping[str, Sequence[Any]] | None = None,
    jobs: int | None = None,
    device: str = "auto",
    arithmetic: str = "auto",
    results: str | Path = "results",
    cache: str | Path | None = None,
    data: str | Path | None = None,
    say: Callable[[str], object] = print,
) -> Tuning:
    """Tries a grid of hyperparameters, and writes down what came out.

    Args:
        method: Name of the method, or FILE.py:FUNCTION.
        dataset: Name of the data set; its tuning world is the data set of that name with "-tuning" behind it.
        task: Name of the task.
        preset: Recipe, network and the hyperparameters that are not in the grid.
        grid: Values to try, by name; the suite's own grid for this method if None.
        jobs: Workers; None: one for each core, or one on a GPU.
        device: "auto", "cpu" or "cuda".
        arithmetic: As in `run`.
        results: The log goes to `tuning/` in this folder.
        cache: Folder of artefacts.
        data: Folder with the data sets' files.
        say: Is told how it goes.

    Raises:
        UserError: If a name or value is wrong, or if every point failed.
    """
    check_jobs(jobs)
    (method,) = named([method])
    points = points_of(method, grid)
    store, chosen = Store(folders.cache(cache)), presets.read(str(preset))
    folders.check_writable(store.root)
    log = Path(results) / "tuning" / chosen.name / dataset / task / f"{method}.md"
    folders.check_writable(log.parent)
    where = choose_device(device)
    world = world_of(chosen, dataset)
    computed = resolved(arithmetic, where)
    plan = partial(
        build, world, store, log.parent, tasks=[task], root=folders.data(data), device=where, arithmetic=computed
    )
    fixed = by_method(plan(methods=[NOTHING]))
    tried: list[tuple[Cell, Point]] = [(fixed[REFERENCE], {}), (fixed[NOTHING], {})]
    tried += [(by_method(plan(methods=[method], overrides={method: point}))[method], point) for point in points]
    passes = sum({job.digest: job.ep for cell, _ in tried for job in unmade(cell.outputs, store)}.values())
    say(f"{len(points)} points of {method} on {dataset}{SUFFIX}, {task}: {passes:.0f} passes over its training set")
    workers = workers_on(where, jobs)
    calls = [(cell, store) for cell, _ in tried]
    found = in_parallel(attempt, calls, min(workers, len(tried)), None, environment(computed))
    ended: dict[int, tuple[dict[str, float], str]] = {}
    trials: list[Trial] = []
    for done in found:
        ended[done.index] = done.result or ({}, done.reason)
        while len(trials) in ended:  # in order: all are compared with the first
            cell, point = tried[len(trials)]
            reference = trials[0].measures if trials else {}
            trials.append(trial(cell, point, *ended[len(trials)], reference))
            say(f"[{len(trials)}/{len(tried)}] {sentence(trials[-1])}")
    best = min(trials[2:], key=lambda t: (math.isnan(t.distance), round(t.distance, 2)))  # of equals the first
    if math.isnan(best.distance):
        raise UserError(f"every point of {method} failed, the last with {trials[-1].reason}: give others with --grid")
    command = shlex.join(
        [
            "unlearnbench",
            "tune",
            place_of(method),
            "-d",
            dataset,
            "-t",
            task,
            "--preset",
            str(preset),
            *grid_options(grid or {}),
        ]
    )
    write_atomically(
        log, logged(trials, best, f"{method} on {dataset}, {task}, preset {chosen.name}", command).encode()
    )
    return Tuning(trials, best, log)


def grid_options(grid: Mapping[str, Sequence[Any]]) -> list[str]:
    """A grid as options of the command line."""
    return [word for key, values in grid.items() for word in ("--grid", f"{key}={','.join(map(str, values))}")]


def by_method(plan: Plan) -> dict[str, Cell]:
    """The cells of a plan for one scenario."""
    return {cell.method: cell for cell in plan.cells}


def points_of(method: str, grid: Mapping[str, Sequence[Any]] | None) -> list[Point]:
    """Every combination of a grid's values.

    Raises:
        UserError: If there is no grid, or it has too many points.
    """
    registry.get(Method, method)
    if grid is None:
        grids = tomllib.loads(GRIDS.read_text(encoding="utf-8"))
        if method not in grids:
            raise UserError(f"there is no grid for {method}: say what to try, e.g. --grid lr=1e-4,1e-3")
        grid = grids[method]
    points: list[Point] = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if not 0 < len(points) <= MOST_POINTS:
        raise UserError(f"every method gets at most {MOST_POINTS} points, and this grid has {len(points)}")
    return points


def world_of(preset: Preset, dataset: str) -> Preset:
    """The preset of a tuning world: the same but for the data, the seed, and the shadows, which nobody trains."""
    if dataset not in preset.datasets:
        raise unknown(f"data set in preset {preset.name}:", dataset, preset.datasets)
    name = f"{dataset}{SUFFIX}"
    known = registry.entries("datasets")
    if name not in known:
        worlds = [entry.removesuffix(SUFFIX) for entry in known if entry.endswith(SUFFIX)]
        raise UserError(f"{dataset} has no tuning world; {', '.join(worlds)} have one, as a data set NAME{SUFFIX}")
    return replace(preset, seeds=(SEED,), datasets={name: preset.datasets[dataset]}, shadows=2)


def attempt(cell: Cell, store: Store) -> tuple[dict[str, float], str]:
    """What a worker does: makes the outputs of a cell and measures them; or says why that failed."""
    outcome = work(cell.outputs, store, False)
    found = store.load(cell.outputs.key)
    if found is None:
        return {}, outcome.reason
    with one_thread():
        return measured(cell.scenario, found[0], store), ""


def trial(
    cell: Cell, point: Point, measures: Mapping[str, float], reason: str, reference: Mapping[str, float]
) -> Trial:
    """A network of the tuning world; `reference` has the measures of Retrain, and is empty for Retrain itself."""
    title = registry.get(Method, cell.method).title
    if not measures:
        return Trial(title, point, {}, reason=reason)
    distance = sum(abs(measures[name] - value) for name, value in reference.items()) / max(1, len(reference))
    return Trial(title, point, measures, distance)


def measured(scenario: Scenario, outputs: Mapping[str, Tensor], store: Store) -> dict[str, float]:
    """What the rule compares, in percent: three accuracies, and the AUC of an attack by loss, which is balanced."""
    content = content_of(scenario, store)
    split = split_of(scenario, store)
    accuracies = metrics.accuracies(outputs["train"], outputs["test"], content, split)
    labels, heldout = split.labels(content), split.labels_of_heldout(content)
    sides = [(outputs["train"][split.forget], labels[split.forget]), (outputs["test"][split.heldout], heldout)]
    scores = [-cross_entropy(logits.double(), side, reduction="none").numpy() for logits, side in sides]
    found = {name: accuracies[name] for name in ("train_r", "train_f", "test")}
    found["auc"] = statistics.auc(scores[0], scores[1]).value
    return {name: 100 * value for name, value in found.items()}


def sentence(found: Trial) -> str:
    """A trial in a line."""
    name = " ".join([found.name, *(f"{key}={value}" for key, value in found.point.items())])
    if found.reason:
        return f"{name}: {found.reason}"
    return (
        f"{name}: " + ", ".join(f"{k} {v:.2f}" for k, v in found.measures.items()) + f", distance {found.distance:.2f}"
    )


def logged(trials: Sequence[Trial], best: Trial, what: str, command: str) -> str:
    """The log: what was tried, what came out, what was chosen and how."""
    from tabulate import tabulate

    names = list(trials[0].measures)
    lines = []
    for one in trials:
        point = ", ".join(f"{key} = {value}" for key, value in one.point.items())
        numbers = [f"{one.measures[name]:.2f}" if one.measures else "-" for name in names]
        distance = one.reason or f"{one.distance:.2f}" if one is not trials[0] else ""
        lines.append([one.name, point, *numbers, distance])
    headers = ["Network", "Tried", "Train_r", "Train_f", "Held out", "AUC (loss)", "Distance"]
    chosen = ", ".join(f"{key} = {value}" for key, value in best.point.items())
    idle = " No point is closer than the original, to which nothing was done."
    return (
        f"# {what}\n\n{tabulate(lines, headers, tablefmt='pipe', disable_numparse=True)}\n\n"
        f"Chosen: {chosen}. The rule: least mean absolute difference to Retrain over these four, in percentage points, "
        f"and of equals the first; with seed {SEED} in a world of training images, some of them held out; the test set "
        f"is not used.{idle if trials[1].distance <= best.distance else ''}\n\n"
        f"    {command}\n"
    )
