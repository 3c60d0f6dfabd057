"""Tunes hyperparameters, by the same rule and with the same budget for every method.

In the first tuning split every method tries as many points of its space as the budget says; the best of them go on to
the next split. The test set is not used, and no network that is trained on a tuning split enters a table.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor
from torch.nn.functional import cross_entropy

from unlearnbench import statistics
from unlearnbench.artefacts.artefact import Artefact, unmade
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.tuning_split import TuningSplit
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import UserError, unknown
from unlearnbench.evaluation import metrics
from unlearnbench.operations.dependencies import earlier_needs
from unlearnbench.operations.fitness import examined
from unlearnbench.operations.work import EVALUATION, Effort, evaluator_of, work
from unlearnbench.planning import presets, tuned
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.planning.cells import parameters, planned
from unlearnbench.planning.names import pick, tasks_on, unique, with_parents
from unlearnbench.planning.plan import Cell, made_first
from unlearnbench.planning.presets import ORIGINAL, REFERENCE, Preset
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.planning.tuned import Choice
from unlearnbench.plugins import registry
from unlearnbench.plugins.files import place_of
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.task import Task
from unlearnbench.runtime.threads import one_thread
from unlearnbench.runtime.timing import Forecast
from unlearnbench.storage import folders
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.store import Store
from unlearnbench.tuning import rule, spaces, trials
from unlearnbench.tuning.page import page_of
from unlearnbench.tuning.spaces import Point, Space
from unlearnbench.tuning.trials import Trial

Say = Callable[[str], object]
EMPTY: Space = {}
NOT_APPLICABLE = f"{CellStatus.NOT_APPLICABLE}, "
"""What the reason of a trial begins with if the method cannot serve the task."""
Place = tuple[int, str]
"""A tuning split, and a network on it: "Retrain", "Original" or the number of a point."""


@dataclass
class Study:
    """The search for the hyperparameters of a method on a data set and a task.

    Attributes:
        method: Name of the method.
        dataset: Name of the data set.
        task: Name of the task.
        space: What is chosen.
        points: The points of the first split, by their number from 1 as text.
        log: The path of the log, a CSV file.
        trials: The trials so far that are up to date.
    """

    method: str
    dataset: str
    task: str
    space: Space
    points: Mapping[str, Point]
    log: Path
    trials: dict[Place, Trial] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.dataset} {self.task} {self.method}"

    @property
    def not_applicable(self) -> str:
        """Why the method cannot serve the task; "" if it can."""
        return next((trial.reason for trial in self.trials.values() if trial.reason.startswith(NOT_APPLICABLE)), "")

    def networks(self, split: int, budget: Sequence[int]) -> dict[str, Point]:
        """What is evaluated on a split: the references, and the points that are still in the running."""
        names = list(self.points)
        if split:
            before = [trial for (number, _), trial in self.trials.items() if number < split]
            names = [row.network for row in rule.ranked(rule.scored(before))] or names  # none before a dry run
        kept = names[: budget[split]]
        return {trials.RETRAIN: {}, trials.ORIGINAL: {}, **{name: self.points[name] for name in kept}}

    def add(self, trial: Trial) -> None:
        """Adds a trial, and writes the log."""
        self.trials[trial.split, trial.network] = trial
        trials.write(self.log, list(self.trials.values()))


@dataclass(frozen=True)
class Job:
    """A cell that is to be evaluated on a tuning split, for every study that needs it."""

    cell: Cell
    split: int
    network: str
    point: Point
    studies: Sequence[Study]

    def trial(self, measures: Mapping[str, float], reason: str) -> Trial:
        """The trial with these measures."""
        return Trial(self.split, self.network, self.cell.outputs.digest, self.point, measures, reason)


@dataclass(frozen=True)
class Tuning:
    """The result of a study.

    Attributes:
        choice: The chosen values; their log is a CSV file.
        page: The log for people, in markdown.
        rows: All points that were tried in every split, best first.
    """

    choice: Choice
    page: str
    rows: Sequence[rule.Scored]


def tune(
    methods: Sequence[str],
    selection: Selection,
    workspace: Workspace,
    *,
    space: Space = EMPTY,
    budget: Sequence[int] = (),
    effort: Effort = Effort(),
    dry_run: bool = False,
    write: bool = False,
    say: Say = print,
) -> list[Tuning]:
    """Evaluates points of the methods' spaces on tuning splits, writes logs, and chooses.

    Trials that the logs have already, with the same keys, are not computed again.

    Args:
        methods: Names of methods; empty: all of the preset that have a declared space.
        selection: Data sets and tasks; the preset's if empty. The preset has the recipe, the network and the
            hyperparameters that are not chosen.
        workspace: The folders, device and arithmetic; logs go to `tuning/` in the results folder.
        space: Instead of the declared one, for a single method; empty: the declared one.
        budget: The number of points on each split, in falling order; empty: the preset's.
        effort: Workers, and the time limit of a trial; an engine's other machines need the same cache.
        dry_run: Only say how much there is to compute.
        write: Write the choices into the file that belongs to the preset, so that tables use them.
        say: Receives progress lines.

    Raises:
        UserError: If a name or value is wrong; after everything is written, if every point of a method failed.
    """
    selection = replace(selection, preset=replace(selection.preset, tuned={}))  # the default is the method's own
    budget = tuple(budget) or selection.preset.tuning.points
    check_budget(budget)
    if write:
        check_models(datasets_of(selection), selection.preset)
    studies = studies_of(methods, selection, workspace, space, budget)
    for study in studies:
        folders.check_writable(study.log.parent)
    if dry_run:
        jobs = [job for split in range(len(budget)) for job in jobs_of(studies, split, budget, selection, workspace)]
        say(estimate(jobs, workspace.store))
        return []
    for split in range(len(budget)):
        jobs = jobs_of(studies, split, budget, selection, workspace)
        say(f"tuning split {split + 1} of {len(budget)}: {estimate(jobs, workspace.store)}")
        compute(jobs, workspace, effort, say)
    tunings, problems = [], []
    for study in studies:
        if study.not_applicable:
            say(f"{study}: {study.not_applicable}")
            continue
        try:
            tunings.append(chosen(study, selection, workspace, budget))
        except UserError as error:  # the other studies are finished all the same
            problems.append(str(error))
    if write and tunings:
        path = tuned.path_for(presets.file_of(selection.preset_name))
        choices = tuned.read(path) | {tuning.choice.place: tuning.choice for tuning in tunings}
        tuned.write(path, choices.values())
        say(f"wrote {path}")
    if problems:
        raise UserError("\n".join(problems))
    return tunings


def check_models(datasets: Sequence[str], preset: Preset) -> None:
    """Raises `UserError` if two data sets have the same network: a preset has one choice for each network."""
    names: dict[str, list[str]] = {}
    for dataset in datasets:
        names.setdefault(preset.datasets[dataset].model, []).append(dataset)
    for model, same in names.items():
        if len(same) > 1:
            raise UserError(
                f"{' and '.join(same)} have the same network, {model}, for which --write keeps one choice: name one of "
                "them with -d, or in the preset's [tuning] datasets"
            )


def check_budget(budget: Sequence[int]) -> None:
    """Raises `UserError` unless a budget is numbers of points that do not grow."""
    if any(points < 1 for points in budget) or list(budget) != sorted(budget, reverse=True):
        raise UserError(f"the points on each split are numbers from 1, in falling order, e.g. 8,3: not {budget}")


def studies_of(
    methods: Sequence[str], selection: Selection, workspace: Workspace, space: Space, budget: Sequence[int]
) -> list[Study]:
    """The studies of all methods, data sets and tasks, with the trials that their logs have."""
    preset = selection.preset
    if space and len(methods) != 1:
        raise UserError("--space belongs to one method: name it")
    if not methods:
        methods = [name for name in pick((), preset.methods, "methods") if name in spaces.declared()]
    tasks = {dataset: tasks_on(dataset, selection, workspace) for dataset in datasets_of(selection)}
    known = [*with_parents(methods), *unique(task for own in tasks.values() for task in own)]
    for name in selection.overrides:
        if name not in known:
            raise unknown("method or task to tune:", name, known)
    studies = []
    for dataset, of_dataset in tasks.items():
        for task in of_dataset:
            registry.get(Task, task)
            for method in methods:
                registry.get(Method, method)
                own = space or spaces.space_of(method)
                default = default_of(method, dataset, task, own, selection, workspace)
                points = spaces.points_of(own, default, budget[0])
                log = workspace.results / "tuning" / preset.name / dataset / task / f"{method}.csv"
                numbered = {str(number): point for number, point in enumerate(points, 1)}
                study = Study(method, dataset, task, own, numbered, log)
                study.trials = {(trial.split, trial.network): trial for trial in trials.read(log)}
                studies.append(study)
    return studies


def datasets_of(selection: Selection) -> Sequence[str]:
    """The data sets that are wanted, or else those that the preset tunes on, or else all of it."""
    preset = selection.preset
    names = selection.datasets or preset.tuning.datasets or list(preset.datasets)
    for name in names:
        if name not in preset.datasets:
            raise unknown(f"data set in preset {preset.name}:", name, preset.datasets)
    return names


def default_of(method: str, dataset: str, task: str, space: Space, selection: Selection, workspace: Workspace) -> Point:
    """The values that a method has without tuning.

    Raises:
        UserError: If it has no such hyperparameter.
    """
    registry.get(Method, method).resolve(method, {name: values.at(0.0) for name, values in space.items()})
    cell = cell_of(method, {}, TuningSplit(dataset, 0), task, selection, workspace)
    return {name: cell.info.hyperparameters[name] for name in space}


def cell_of(
    method: str, point: Point, split: TuningSplit, task: str, selection: Selection, workspace: Workspace
) -> Cell:
    """The cell of a method with these hyperparameters on a tuning split; its seed is the number of the split."""
    training = selection.preset.datasets[split.dataset]
    preset = replace(selection.preset, datasets={str(split): training}, shadows=2)  # attacks are not run
    relevant = (*with_parents([method]), task)  # others would be options of nothing
    overrides = {name: values for name, values in selection.overrides.items() if name in relevant}
    if point:
        overrides[method] = {**overrides.get(method, {}), **point}
    own = Selection(preset, selection.preset_name, [str(split)], [task], [method], [split.number], overrides)
    cells = planned(own, workspace).cells
    return next(cell for cell in cells if cell.method == method)


def jobs_of(
    studies: Iterable[Study], split: int, budget: Sequence[int], selection: Selection, workspace: Workspace
) -> list[Job]:
    """What must be computed on a split; what studies share is one job."""
    jobs: dict[str, Job] = {}
    references = {trials.RETRAIN: REFERENCE, trials.ORIGINAL: ORIGINAL}
    for study in studies:
        place = TuningSplit(study.dataset, split)
        wanted = study.networks(split, budget)
        for network, point in wanted.items():
            cell = cell_of(references.get(network, study.method), point, place, study.task, selection, workspace)
            known = study.trials.get((split, network))
            if known is None or not known.holds_for(cell.outputs.digest, point):
                job = jobs.setdefault(cell.outputs.digest, Job(cell, split, network, point, []))
                jobs[cell.outputs.digest] = replace(job, studies=[*job.studies, study])
        for number, network in list(study.trials):
            if number == split and network not in wanted:  # of a larger budget, or of another space
                del study.trials[number, network]
    return sorted(jobs.values(), key=lambda job: (job.cell.depth, -job.cell.outputs.ep))


def estimate(jobs: Sequence[Job], store: Store) -> str:
    """How much there is to compute, in words."""
    missing = {one.digest: one.ep for job in jobs for one in unmade(job.cell.outputs, store)}
    return f"{len(jobs)} trials to compute, {sum(missing.values()):.0f} passes over the training set"


def compute(jobs: Sequence[Job], workspace: Workspace, effort: Effort, say: Say) -> None:
    """Evaluates jobs in workers, those with the most work first, and adds their trials to the studies."""
    if not jobs:
        return
    missing = {one.digest: one for job in jobs for one in unmade(job.cell.outputs, workspace.store)}
    queue: list[Artefact | Cell] = [*made_first(missing.values()), *(job.cell for job in jobs)]
    first = len(queue) - len(jobs)
    work_of = [one.total_ep if isinstance(one, Artefact) else one.outputs.ep + EVALUATION for one in queue]
    calls = [(one, workspace.store) for one in queue]
    after = earlier_needs(queue, missing)
    workers = effort.workers(workspace.device, len(calls))
    forecast, count = Forecast(sum(work_of), workers), 0
    datasets = {job.cell.scenario.dataset for job in jobs}
    size = sum(artefact.size for artefact in missing.values())
    with (
        examined(effort.engine, workspace, datasets, size, say) as engine,
        closing(in_parallel(attempt, calls, workers, effort.timeout, workspace.environment, after, engine)) as results,
    ):
        for done in results:
            forecast.add(work_of[done.index], done.seconds)
            if done.index < first:
                continue
            job, count = jobs[done.index - first], count + 1
            trial = job.trial(*(done.result or ({}, done.reason)))
            for study in job.studies:
                study.add(trial)
            failure = f": {trial.reason}" if trial.reason else ""
            say(f"[{count}/{len(jobs)}] {job.cell.info.task} {job.cell.method} {trial.name}{failure}  ({forecast})")


def attempt(job: Artefact | Cell, store: Store) -> tuple[dict[str, float], str]:
    """In a worker: makes an artefact, or the outputs of a cell.

    Returns:
        The measures of a cell, empty if it failed, and the reason of the failure.
    """
    if isinstance(job, Artefact):
        return {}, work(job, store, False).reason
    outcome = work(job.outputs, store, False)
    outputs = store.load(job.outputs.key)
    if outputs is None:
        is_failure = outcome.status != CellStatus.NOT_APPLICABLE
        return {}, outcome.reason if is_failure else f"{NOT_APPLICABLE}{outcome.reason}"
    with one_thread():
        return measures_of(evaluator_of(store).context.load(job.scenario), outputs[0], job.info.columns), ""


def measures_of(loaded: LoadedScenario, outputs: Mapping[str, Tensor], columns: Sequence[str]) -> dict[str, float]:
    """What the rule compares, in percent: accuracies, and the AUC of a loss attack.

    The accuracies are Train_r, Train_f and those on test samples that the task's table has. Hidden samples count as
    forgotten, here and in the attack.
    """
    content, split = loaded.content, loaded.split
    accuracies = metrics.accuracies(outputs["train"], outputs["test"], content, split)
    labels, heldout = split.labels(content), split.labels_of_heldout(content)
    forgotten = split.forgotten
    sides = [(outputs["train"][forgotten], labels[forgotten]), (outputs["test"][split.heldout], heldout)]
    scores = [-cross_entropy(logits.double(), side, reduction="none").numpy() for logits, side in sides]
    names = dict.fromkeys(["train_r", "train_f", *(name for name in columns if name in accuracies)])
    measures = {name: accuracies[name] for name in names} | {"auc": statistics.auc(scores[0], scores[1]).value}
    return {name: 100 * value for name, value in measures.items()}


def chosen(study: Study, selection: Selection, workspace: Workspace, budget: Sequence[int]) -> Tuning:
    """Applies the rule to a study, and writes its page.

    Raises:
        UserError: If every point failed.
    """
    content = trials.write(study.log, [trial for trial in study.trials.values() if trial.split < len(budget)])
    entries = trials.read(study.log)  # so that the choice follows from the log, digit by digit
    for trial in entries:
        if not (trial.point or trial.measures):
            raise UserError(f"{trial.network} of {study} failed on tuning split {trial.split}: {trial.reason}")
    rows = rule.scored(entries)
    best = rule.ranked(rows)[0]
    if best.mean == float("inf"):
        last = next((trial.reason for trial in reversed(entries) if trial.reason), "no reason")
        raise UserError(f"every point of {study} failed, the last with {last}: choose other points with --space")
    choice = Choice(
        method=study.method,
        task=study.task,
        model=selection.preset.datasets[study.dataset].model,
        values=dict(best.point),
        log=str(study.log.relative_to(workspace.results)),
        sha256=hashlib.sha256(content).hexdigest(),
        gain=rule.gain(rows, best),
    )
    page = page_of(study.space, entries, choice, title_of(study, selection), command_of(study, selection, budget))
    write_atomically(study.log.with_suffix(".md"), page.encode())
    return Tuning(choice, page, rule.ranked(rows))


def title_of(study: Study, selection: Selection) -> str:
    """The title of a study's page."""
    return f"{study.method} on {study.dataset}, {study.task}, preset {selection.preset.name}"


def command_of(study: Study, selection: Selection, budget: Sequence[int]) -> str:
    """The command line of a study."""
    words = ["unlearnbench", "tune", place_of(study.method), "-d", study.dataset, "-t", study.task]
    words += ["--preset", selection.preset_name, "--points", ",".join(map(str, budget))]
    if study.space != spaces.declared().get(study.method):
        words += [word for name, values in study.space.items() for word in ("--space", f"{name}={values}")]
    return shlex.join([*words, *parameters(selection.overrides, (study.method, study.task))])
