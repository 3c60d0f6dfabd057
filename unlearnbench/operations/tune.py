"""Tunes hyperparameters without published values, by the same rule and with the same budget for every method.

The rule: of at most four points of a grid, choose the one that is closest to Retrain on a tuning set. This has training
images only, some of them held out, with an original and a Retrain of its own. The test set is not loaded, and no
network that is trained on the tuning set enters a table.
"""

from __future__ import annotations

import itertools
import math
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import statistics
from unlearnbench.artefacts.artefact import unmade
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import UserError, unknown
from unlearnbench.evaluation import metrics
from unlearnbench.operations.work import Effort, evaluator_of, work
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Cell
from unlearnbench.planning.presets import ORIGINAL, REFERENCE
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import registry
from unlearnbench.plugins.files import named, place_of
from unlearnbench.plugins.method import Method
from unlearnbench.runtime.threads import one_thread
from unlearnbench.storage import folders
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.store import Store

SEED = 1000
"""The seed on tuning sets, which no table uses."""
MAX_POINTS = 4
SUFFIX = "-tuning"
GRIDS = Path(__file__).with_name("grids.toml")
Point = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """A network that was evaluated on the tuning set.

    Attributes:
        name: Title of its method.
        point: Its hyperparameters in the grid; empty for Retrain and the original.
        measures: In percent: accuracies on the retain set, forget set and held-out set, and the AUC of a loss attack;
            empty if it failed.
        distance: Mean absolute difference to the measures of Retrain, in percentage points; nan if it failed.
        reason: Why it failed.
    """

    name: str
    point: Point
    measures: Mapping[str, float]
    distance: float = float("nan")
    reason: str = ""


@dataclass(frozen=True)
class Tuning:
    """The result of `tune`.

    Attributes:
        trials: Retrain, the original, and the points of the grid.
        best: The point that is closest to Retrain.
        log: The path of the log.
    """

    trials: Sequence[Trial]
    best: Trial
    log: Path


def tune(
    method: str,
    selection: Selection,
    workspace: Workspace,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    effort: Effort = Effort(),
    say: Callable[[str], object] = print,
) -> Tuning:
    """Evaluates the points of a grid of hyperparameters, and writes a log.

    Args:
        method: Name of the method, or FILE.py:FUNCTION.
        selection: One data set and one task; the tuning set is the data set of that name followed by "-tuning". The
            preset has the recipe, the model and the hyperparameters that are not in the grid.
        workspace: The folders, device and arithmetic; the log goes to `tuning/` in the results folder.
        grid: Values by name; None: the suite's own grid for this method.
        effort: Workers.
        say: Receives progress lines.

    Raises:
        UserError: If a name or value is wrong, or every point failed.
    """
    (method,) = named([method])
    (dataset,), (task,) = selection.datasets, selection.tasks
    points = points_of(method, grid)
    log = workspace.results / "tuning" / selection.preset.name / dataset / task / f"{method}.md"
    folders.check_writable(log.parent)
    cells = cells_of(method, points, on_tuning_set(selection), workspace)
    missing = {one.digest: one for cell, _ in cells for one in unmade(cell.outputs, workspace.store)}
    ep = sum(artefact.ep for artefact in missing.values())
    say(f"{len(points)} points of {method} on {dataset}{SUFFIX}, {task}: {ep:.0f} passes over its training set")
    trials: list[Trial] = []
    for trial in trials_of(cells, workspace, effort):
        trials.append(trial)
        say(f"[{len(trials)}/{len(cells)}] {as_line(trial)}")
    best = min(trials[2:], key=lambda trial: (math.isnan(trial.distance), round(trial.distance, 2)))
    if math.isnan(best.distance):
        raise UserError(
            f"every point of {method} failed, the last with {trials[-1].reason}: choose other points with --grid"
        )
    words = ["unlearnbench", "tune", place_of(method), "-d", dataset, "-t", task, "--preset", selection.preset_name]
    title = f"{method} on {dataset}, {task}, preset {selection.preset.name}"
    text = log_of(trials, best, title, shlex.join([*words, *grid_options(grid or {})]))
    write_atomically(log, text.encode())
    return Tuning(trials, best, log)


def cells_of(
    method: str, points: Sequence[Point], selection: Selection, workspace: Workspace
) -> list[tuple[Cell, Point]]:
    """The cells to compare: Retrain, the original, and the method at each point."""

    def cell(name: str, overrides: Mapping[str, Point]) -> Cell:
        cells = planned(replace(selection, methods=[name], overrides=overrides), workspace).cells
        return next(cell for cell in cells if cell.method == name)

    fixed: list[tuple[Cell, Point]] = [(cell(REFERENCE, {}), {}), (cell(ORIGINAL, {}), {})]
    return fixed + [(cell(method, {method: point}), point) for point in points]


def trials_of(cells: Sequence[tuple[Cell, Point]], workspace: Workspace, effort: Effort) -> Iterator[Trial]:
    """Makes and measures cells; yields their trials in order, because each is compared with the first, Retrain."""
    workers = effort.workers(workspace.device, len(cells))
    calls = [(cell, workspace.store) for cell, _ in cells]
    results: dict[int, tuple[dict[str, float], str]] = {}
    count = 0
    reference: dict[str, float] = {}
    for done in in_parallel(attempt, calls, workers, None, workspace.environment):
        results[done.index] = done.result or ({}, done.reason)
        while count in results:
            yield trial_of(*cells[count], *results[count], reference)
            reference = reference or results[0][0]
            count += 1


def grid_options(grid: Mapping[str, Sequence[Any]]) -> list[str]:
    """The command-line options for a grid."""
    return [word for key, values in grid.items() for word in ("--grid", f"{key}={','.join(map(str, values))}")]


def points_of(method: str, grid: Mapping[str, Sequence[Any]] | None) -> list[Point]:
    """All combinations of a grid's values.

    Raises:
        UserError: If there is no grid, or it has too many points.
    """
    registry.get(Method, method)
    if grid is None:
        grids = tomllib.loads(GRIDS.read_text(encoding="utf-8"))
        if method not in grids:
            raise UserError(f"there is no grid for {method}: give one, e.g. --grid lr=1e-4,1e-3")
        grid = grids[method]
    points: list[Point] = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if not 0 < len(points) <= MAX_POINTS:
        raise UserError(f"a grid may have at most {MAX_POINTS} points, and this grid has {len(points)}")
    return points


def on_tuning_set(selection: Selection) -> Selection:
    """The selection with the tuning set as data set, the tuning seed, and the fewest possible shadow models.

    Raises:
        UserError: If there is no tuning set.
    """
    (dataset,), preset = selection.datasets, selection.preset
    if dataset not in preset.datasets:
        raise unknown(f"data set in preset {preset.name}:", dataset, preset.datasets)
    name = f"{dataset}{SUFFIX}"
    known = registry.entries("datasets")
    if name not in known:
        tunable = [entry.removesuffix(SUFFIX) for entry in known if entry.endswith(SUFFIX)]
        raise UserError(f"{dataset} has no tuning set; {', '.join(tunable)} have one, i.e. a data set NAME{SUFFIX}")
    preset = replace(preset, seeds=(SEED,), datasets={name: preset.datasets[dataset]}, shadows=2)
    return replace(selection, preset=preset, datasets=[name], seeds=())


def attempt(cell: Cell, store: Store) -> tuple[dict[str, float], str]:
    """In a worker: makes the outputs of a cell; returns their measures, and the reason of a failure."""
    outcome = work(cell.outputs, store, False)
    outputs = store.load(cell.outputs.key)
    if outputs is None:
        return {}, outcome.reason
    with one_thread():
        return measures_of(evaluator_of(store).context.load(cell.scenario), outputs[0]), ""


def trial_of(
    cell: Cell, point: Point, measures: Mapping[str, float], reason: str, reference: Mapping[str, float]
) -> Trial:
    """The trial of a cell. `reference` holds the measures of Retrain; it is empty for Retrain itself."""
    title = registry.get(Method, cell.method).title
    if not measures:
        return Trial(title, point, {}, reason=reason)
    distance = sum(abs(measures[name] - value) for name, value in reference.items()) / max(1, len(reference))
    return Trial(title, point, measures, distance)


def measures_of(loaded: LoadedScenario, outputs: Mapping[str, Tensor]) -> dict[str, float]:
    """The measures that the rule compares, in percent: three accuracies, and the AUC of a loss attack."""
    content, split = loaded.content, loaded.split
    accuracies = metrics.accuracies(outputs["train"], outputs["test"], content, split)
    labels, heldout = split.labels(content), split.labels_of_heldout(content)
    sides = [(outputs["train"][split.forget], labels[split.forget]), (outputs["test"][split.heldout], heldout)]
    scores = [-cross_entropy(logits.double(), side, reduction="none").numpy() for logits, side in sides]
    measures = {name: accuracies[name] for name in ("train_r", "train_f", "test")}
    measures["auc"] = statistics.auc(scores[0], scores[1]).value
    return {name: 100 * value for name, value in measures.items()}


def as_line(trial: Trial) -> str:
    """A trial as a progress line."""
    name = " ".join([trial.name, *(f"{key}={value}" for key, value in trial.point.items())])
    if trial.reason:
        return f"{name}: {trial.reason}"
    measures = ", ".join(f"{measure} {value:.2f}" for measure, value in trial.measures.items())
    return f"{name}: {measures}, distance {trial.distance:.2f}"


def log_of(trials: Sequence[Trial], best: Trial, title: str, command: str) -> str:
    """The text of the log: all points, their measures, the chosen point and the rule."""
    from tabulate import tabulate

    names = list(trials[0].measures)
    lines = []
    for trial in trials:
        point = ", ".join(f"{key} = {value}" for key, value in trial.point.items())
        numbers = [f"{trial.measures[name]:.2f}" if trial.measures else "-" for name in names]
        distance = trial.reason or f"{trial.distance:.2f}" if trial is not trials[0] else ""
        lines.append([trial.name, point, *numbers, distance])
    headers = ["Network", "Point", "Train_r", "Train_f", "Held out", "AUC (loss)", "Distance"]
    chosen = ", ".join(f"{key} = {value}" for key, value in best.point.items())
    no_gain = " No point is closer than the original." if trials[1].distance <= best.distance else ""
    return (
        f"# {title}\n\n{tabulate(lines, headers, tablefmt='pipe', disable_numparse=True)}\n\n"
        f"Chosen: {chosen}. The rule: the least mean absolute difference to Retrain over these four measures, in "
        f"percentage points; the first point of equals. With seed {SEED} on the tuning set, which has training images "
        f"only, some of them held out; the test set is not used.{no_gain}\n\n"
        f"    {command}\n"
    )
