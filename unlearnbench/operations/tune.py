"""Tunes hyperparameters that nobody published: by one rule, with the same budget for every method.

The rule: on a tuning set (training images only, some of them held out, with an original and a Retrain of its own), the
point of a grid of at most four that is closest to Retrain. The test set is not loaded, and no network that is trained
on the tuning set enters a table.
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
from unlearnbench.planning.presets import NOTHING, REFERENCE
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import registry
from unlearnbench.plugins.files import named, place_of
from unlearnbench.plugins.method import Method
from unlearnbench.runtime.threads import one_thread
from unlearnbench.storage import folders
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.store import Store

SEED = 1000
"""The seed on tuning sets; the tables have smaller ones."""
MOST_POINTS = 4
SUFFIX = "-tuning"
GRIDS = Path(__file__).with_name("grids.toml")
Point = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """A network on the tuning set.

    Attributes:
        name: Title of its method.
        point: The hyperparameters that were tried; empty for Retrain and the original.
        measures: In percent: accuracies on retained, forgotten and held-out samples, and the AUC of a loss attack;
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
    """The result of `tune`.

    Attributes:
        trials: Retrain, the original, and the points of the grid.
        best: The point that is closest to Retrain.
        log: The file with all of it.
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
    """Tries a grid of hyperparameters, and writes a log.

    Args:
        method: Name of the method, or FILE.py:FUNCTION.
        selection: One data set and one task; the tuning set is the data set of that name followed by "-tuning". Its
            preset has the recipe, the network and the hyperparameters that are not in the grid.
        workspace: Where to compute; the log goes to `tuning/` in the results folder.
        grid: Values to try, by name; the suite's own grid for this method if None.
        effort: Workers.
        say: Receives progress lines.

    Raises:
        UserError: If a name or value is wrong, or if every point failed.
    """
    (method,) = named([method])
    (dataset,), (task,) = selection.datasets, selection.tasks
    points = points_of(method, grid)
    log = workspace.results / "tuning" / selection.preset.name / dataset / task / f"{method}.md"
    folders.check_writable(log.parent)
    tried = cells_of(method, points, on_tuning_set(selection), workspace)
    ep = sum({one.digest: one.ep for cell, _ in tried for one in unmade(cell.outputs, workspace.store)}.values())
    say(f"{len(points)} points of {method} on {dataset}{SUFFIX}, {task}: {ep:.0f} passes over its training set")
    trials: list[Trial] = []
    for trial in trials_of(tried, workspace, effort):
        trials.append(trial)
        say(f"[{len(trials)}/{len(tried)}] {sentence(trial)}")
    best = min(trials[2:], key=lambda t: (math.isnan(t.distance), round(t.distance, 2)))  # of equals the first
    if math.isnan(best.distance):
        raise UserError(f"every point of {method} failed, the last with {trials[-1].reason}: give others with --grid")
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

    fixed: list[tuple[Cell, Point]] = [(cell(REFERENCE, {}), {}), (cell(NOTHING, {}), {})]
    return fixed + [(cell(method, {method: point}), point) for point in points]


def trials_of(tried: Sequence[tuple[Cell, Point]], workspace: Workspace, effort: Effort) -> Iterator[Trial]:
    """Makes and measures cells; yields their trials in order, because all are compared with the first, Retrain."""
    workers = effort.workers(workspace.device, len(tried))
    calls = [(cell, workspace.store) for cell, _ in tried]
    ended: dict[int, tuple[dict[str, float], str]] = {}
    count = 0
    reference: dict[str, float] = {}
    for done in in_parallel(attempt, calls, workers, None, workspace.environment):
        ended[done.index] = done.result or ({}, done.reason)
        while count in ended:
            yield trial_of(*tried[count], *ended[count], reference)
            reference = reference or ended[0][0]
            count += 1


def grid_options(grid: Mapping[str, Sequence[Any]]) -> list[str]:
    """A grid as options of the command line."""
    return [word for key, values in grid.items() for word in ("--grid", f"{key}={','.join(map(str, values))}")]


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


def on_tuning_set(selection: Selection) -> Selection:
    """The selection with the tuning set in place of its data set, the tuning seed, and as few shadow models as can be.

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
        raise UserError(
            f"{dataset} has no tuning set; {', '.join(tunable)} have one, as a data set of the name NAME{SUFFIX}"
        )
    preset = replace(preset, seeds=(SEED,), datasets={name: preset.datasets[dataset]}, shadows=2)
    return replace(selection, preset=preset, datasets=[name], seeds=())


def attempt(cell: Cell, store: Store) -> tuple[dict[str, float], str]:
    """In a worker: makes the outputs of a cell and measures them; returns the measures, or the reason of a failure."""
    outcome = work(cell.outputs, store, False)
    made = store.load(cell.outputs.key)
    if made is None:
        return {}, outcome.reason
    with one_thread():
        return measures_of(evaluator_of(store).context.load(cell.scenario), made[0]), ""


def trial_of(
    cell: Cell, point: Point, measures: Mapping[str, float], reason: str, reference: Mapping[str, float]
) -> Trial:
    """The trial of a cell; `reference` has the measures of Retrain, and is empty for Retrain itself."""
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


def sentence(trial: Trial) -> str:
    """A trial in a line."""
    name = " ".join([trial.name, *(f"{key}={value}" for key, value in trial.point.items())])
    if trial.reason:
        return f"{name}: {trial.reason}"
    return (
        f"{name}: " + ", ".join(f"{k} {v:.2f}" for k, v in trial.measures.items()) + f", distance {trial.distance:.2f}"
    )


def log_of(trials: Sequence[Trial], best: Trial, title: str, command: str) -> str:
    """The log: the points that were tried, their measures, and which was chosen by which rule."""
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
        f"# {title}\n\n{tabulate(lines, headers, tablefmt='pipe', disable_numparse=True)}\n\n"
        f"Chosen: {chosen}. The rule: least mean absolute difference to Retrain over these four, in percentage points, "
        f"and of equals the first; with seed {SEED} on the tuning set: training images, some of them held out; the "
        f"test set is not used.{idle if trials[1].distance <= best.distance else ''}\n\n"
        f"    {command}\n"
    )
