"""From a selection to the cells of a plan."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.plugin_keys import attack_key
from unlearnbench.artefacts.scenario import Scenario
from unlearnbench.artefacts.shadow import Shadow
from unlearnbench.artefacts.splits import listed
from unlearnbench.artefacts.tuning_split import plugin_of
from unlearnbench.artefacts.unlearned import Outputs
from unlearnbench.artefacts.versions import core
from unlearnbench.errors import UserError, unknown
from unlearnbench.planning.cell_info import CellInfo
from unlearnbench.planning.plan import Cell, Plan, Rerun
from unlearnbench.planning.presets import REFERENCE, SECOND_RETRAIN, Preset
from unlearnbench.planning.protocols import PROTOCOLS
from unlearnbench.planning.selection import Overrides, Selection, Workspace
from unlearnbench.planning.supplied import (
    can_train,
    check_labels,
    check_positions,
    check_trainable,
    needs_training,
    outputs_in,
    supplied_by,
    with_names,
    with_paths,
)
from unlearnbench.planning.tuned import Choice
from unlearnbench.plugins import registry
from unlearnbench.plugins.attack import Attack
from unlearnbench.plugins.dataset import Source
from unlearnbench.plugins.files import Local, known_here, place_of
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Model
from unlearnbench.plugins.task import Task
from unlearnbench.storage.folders import folder_name
from unlearnbench.training.augmentation import check_augmentations
from unlearnbench.training.precision import resolved


def planned(selection: Selection, workspace: Workspace, rerun: Rerun = Rerun(), shadow: int | None = None) -> Plan:
    """Resolves a selection into cells and the artefacts that they need.

    Args:
        selection: The cells that are wanted; methods that others start from, and Retrain, are added.
        workspace: Where they are computed.
        rerun: Which finished cells are computed again.
        shadow: The index of the unlearned shadow model for which the cells are planned; None for the cells themselves.

    Raises:
        UserError: If a name, an option or a combination is wrong.
    """
    preset = selection.preset
    datasets = selection.datasets or list(preset.datasets)
    methods = pick(selection.methods, preset.methods, "methods")
    if not selection.methods and preset.methods is None:
        methods = [name for name in methods if possible(name, preset, datasets)]
    planner = _Planner(selection, workspace, shadow)
    cells = planner.cells(datasets, tasks_of(selection), methods, selection.seeds or preset.seeds)
    cells.sort(key=lambda cell: (cell.depth, -cell.outputs.ep))
    return Plan(cells, planner.results, workspace, rerun, frozenset(methods) if rerun.force else ())


@dataclass(frozen=True)
class _Planner:
    """The common part of all cells of a plan, and how one cell is put together."""

    selection: Selection
    workspace: Workspace
    shadow: int | None

    @property
    def preset(self) -> Preset:
        """The preset."""
        return self.selection.preset

    @property
    def overrides(self) -> Overrides:
        """The options that win over the preset's."""
        return self.selection.overrides

    @property
    def results(self) -> Path:
        """The folder of the preset's results."""
        return self.workspace.results / self.preset.name

    def cells(
        self, datasets: Sequence[str], tasks: Sequence[str], methods: Sequence[str], seeds: Sequence[int]
    ) -> list[Cell]:
        """All combinations, as cells."""
        check_names(self.preset)
        methods = with_parents([REFERENCE, *methods])
        for name in self.overrides:
            if name not in (*methods, *tasks, *self.attacks):
                raise unknown("method, task or attack of this run:", name, (*methods, *tasks, *self.attacks))
        scenarios = [self.scenario(d, t, s) for d in unique(datasets) for t in unique(tasks) for s in seeds]
        return [cell for scenario in scenarios for cell in self.cells_of(scenario, methods)]

    @cached_property
    def attacks(self) -> dict[str, dict[str, Any]]:
        """The attacks of the protocols with their options."""
        layers = self.preset.attack_options, self.overrides
        return {
            name: registry.get(Attack, name).resolve(name, *(layer.get(name, {}) for layer in layers))
            for name in (protocol.attack for protocol in PROTOCOLS.values())
        }

    @cached_property
    def attack_keys(self) -> dict[str, dict[str, Any]]:
        """What goes into the numbers of these attacks."""
        return {name: attack_key(name, options) for name, options in self.attacks.items()}

    def scenario(self, dataset: str, task: str, seed: int) -> Scenario:
        """Resolves the names and options of a scenario."""
        registry.get(Source, plugin_of(dataset))
        training, workspace = self.preset.datasets.get(dataset), self.workspace
        if training is None:
            name = f'"{dataset.place}"' if isinstance(dataset, Local) else dataset
            source = self.preset.source
            raise UserError(f"preset {source} does not say how to train {dataset}: add [datasets.{name}]")
        check_trainable(self.preset, dataset, training)
        model, recipe = training.model, training.recipe
        precision = resolved(recipe.precision, dataset, model, workspace.device, workspace.arithmetic)
        check_augmentations(recipe.augment)
        has_all = self.shadow is None and plugin_of(dataset) == dataset
        scenario = Scenario(
            dataset=dataset,
            root=workspace.root,
            model=model,
            model_options=registry.get(Model, model).resolve(model, training.options),
            recipe=replace(recipe, precision=precision),
            task=task,
            task_options=self.task_options(task),
            seed=seed,
            device=workspace.device,
            arithmetic=workspace.arithmetic,
            shadow=self.shadow,
            supplied=supplied_by(self.preset, training, task, seed, has_all),
        )
        check_positions(registry.get(Task, task), scenario)
        return scenario

    def task_options(self, name: str, *, overridden: bool = True) -> dict[str, Any]:
        """The options of a task: those of the preset, overridden by the command line unless that is not wanted."""
        task, own = registry.get(Task, name), self.overrides.get(name, {}) if overridden else {}
        preset = with_paths(task, self.preset.task_options.get(name, {}), self.preset.folder)
        return task.resolve(name, preset, with_paths(task, own, Path()))

    def cells_of(self, scenario: Scenario, methods: Sequence[str]) -> list[Cell]:
        """The cells of a scenario, one for each method, parents before their children."""
        loaded = LoadedScenario.of(scenario, self.workspace.datasets)
        check_labels(loaded, self.preset.datasets[scenario.dataset])
        parents = {registry.get(Method, name).start for name in methods}
        shadows = [Shadow.of(loaded, index) for index in range(self.preset.shadows)]
        cells: dict[str, Cell] = {}
        for name in methods:
            method = registry.get(Method, name)
            self.check_access(name, loaded)
            parent, options = cells.get(method.start), self.hyperparameters(name, scenario)
            outputs = Outputs.of(loaded, name, options, parent.outputs if parent else None, name in parents)
            outputs = outputs_in(loaded, name, outputs)
            info = self.info(name, scenario, options)
            cells[name] = Cell(
                scenario=scenario,
                method=name,
                depth=parent.depth + 1 if parent else 0,
                outputs=outputs,
                shadows=shadows,
                attacks=self.attacks,
                key=record_key(outputs, shadows, self.attack_keys),
                path=record_path(self.results, info),
                info=info,
                command=self.command(name, scenario),
            )
        return list(cells.values())

    def check_access(self, name: str, loaded: LoadedScenario) -> None:
        """Raises `UserError` if a scenario does not have the data that a method declares."""
        access, scenario = registry.get(Method, name).access, loaded.scenario
        if access.retain == "sample-labels" and loaded.forgotten > 0.5:
            raise UserError(
                f"{name} needs labels of as many retained samples as are forgotten, but {scenario.task} forgets "
                f"{loaded.forgotten:.0%}: leave {name} out with -m, or forget less"
            )
        if access.validation and not scenario.recipe.held_out:
            raise UserError(
                f"{name} needs training images that no network is trained on, and preset {self.preset.source} holds "
                f"none out for {scenario.dataset}: leave {name} out, or use a preset with e.g. held_out = 0.1 in its "
                "[recipe]"
            )

    def hyperparameters(self, method: str, scenario: Scenario) -> dict[str, Any]:
        """A method's hyperparameters: all layers, resolved."""
        layers = self.layers(method, scenario)
        return registry.get(Method, method).resolve(method, *(values for _, values in layers))

    def sources(self, method: str, scenario: Scenario) -> dict[str, str]:
        """Where each hyperparameter comes from: the last layer that has it, in words.

        Returns:
            The sources by name of the hyperparameter; those of the method that it starts from as METHOD.NAME.
        """
        chosen = registry.get(Method, method)
        sources = dict.fromkeys(chosen.defaults, "default of the method")
        for name, values in self.layers(method, scenario):
            sources |= dict.fromkeys(values, name)
        parents = self.sources(chosen.start, scenario) if chosen.start else {}
        return sources | {f"{chosen.start}.{name}": source for name, source in parents.items()}

    def layers(self, method: str, scenario: Scenario) -> list[tuple[str, Mapping[str, Any]]]:
        """The layers of a method's hyperparameters over its defaults, with their names, the last one winning."""
        chosen, task, model = registry.get(Method, method), scenario.task, scenario.model
        scopes = "", f" for {task}", f" for {task} and {model}"

        def of(name: str) -> list[tuple[str, dict[str, Any]]]:
            where = f", published in {self.preset.published[name]}" if name in self.preset.published else ""
            names = [f"preset {self.preset.name}{scope}{where}" for scope in scopes]
            return list(zip(names, self.preset.hyperparameters(name, task, model), strict=True))

        layers = of(method)
        if chosen.like:
            shared = of(chosen.like)
            of_like = [
                (f"{name}, as of {chosen.like}", {k: v for k, v in values.items() if k in chosen.defaults})
                for name, values in shared
            ]
            layers = of_like + layers
        if choice := self.choice(method, scenario):
            layers.append((choice.source, {k: v for k, v in choice.values.items() if k in chosen.defaults}))
        return [*layers, ("command line", self.overrides.get(method, {}))]

    def choice(self, method: str, scenario: Scenario) -> Choice | None:
        """What tuning chose for a method, or for the one whose hyperparameters it shares."""
        names = method, registry.get(Method, method).like
        found = (self.preset.tuned.get((name, scenario.task, scenario.model)) for name in names)
        return next((choice for choice in found if choice), None)

    def changed(self, method: str, scenario: Scenario) -> dict[str, Any]:
        """The hyperparameters of a method, and of those it starts from, that the command line changed."""
        if not self.overrides:
            return {}
        usual = replace(self, selection=replace(self.selection, overrides={})).hyperparameters(method, scenario)
        own = {k: v for k, v in self.hyperparameters(method, scenario).items() if v != usual[k]}
        start = registry.get(Method, method).start
        return own | ({f"{start}.{k}": v for k, v in self.changed(start, scenario).items()} if start else {})

    def info(self, name: str, scenario: Scenario, options: Mapping[str, Any]) -> CellInfo:
        """The part `cell` of a record.

        Args:
            name: Name of the method.
            scenario: The scenario.
            options: The method's hyperparameters, resolved.
        """
        task, method = registry.get(Task, scenario.task), registry.get(Method, name)
        usual, named = self.task_options(scenario.task, overridden=False), with_names(task, scenario.task_options)
        of_task = listed({k: v for k, v in named.items() if scenario.task_options[k] != usual[k]})
        of_method = listed(self.changed(name, scenario))
        return CellInfo(
            preset=self.preset.name,
            dataset=scenario.dataset,
            dataset_title=registry.get(Source, plugin_of(scenario.dataset)).title,
            model=scenario.model,
            task=f"{scenario.task}+{of_task}" if of_task else scenario.task,
            task_title=f"{task.title} ({of_task})" if of_task else task.title,
            task_options=named,
            columns=list(task.columns),
            seed=scenario.seed,
            method=f"{name}+{of_method}" if of_method else name,
            method_title=f"{method.title} ({of_method})" if of_method else method.title,
            role="variant" if of_method and method.role == "method" else method.role,
            access="not enforced" if name == REFERENCE and scenario.supplied.retrain else str(method.access),
            start=method.start,
            like=method.like,
            hyperparameters=dict(options),
            sources=self.sources(name, scenario),
            gain=choice.gain if (choice := self.choice(name, scenario)) and not of_method else None,
        )

    def command(self, name: str, scenario: Scenario) -> str:
        """The command line that reproduces a cell."""
        words = ["unlearnbench", "run", "--preset", self.selection.preset_name]
        words += ["-d", place_of(scenario.dataset), "-t", place_of(scenario.task), "-m", place_of(name)]
        words += ["--seeds", str(scenario.seed)]
        words += ["--device", scenario.device, "--arithmetic", scenario.arithmetic]
        if self.overrides:
            words += parameters(self.overrides, (scenario.task, *with_parents([name]), *self.attacks))
        return " ".join(map(quoted, words))


def record_key(outputs: Outputs, shadows: Sequence[Shadow], attacks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The key of a record.

    Args:
        outputs: The outputs of its cell.
        shadows: The shadow models that its attacks use.
        attacks: The key of each attack.
    """
    return {
        "kind": "record",
        "outputs": outputs.key,
        "shadows": {"count": len(shadows), **({"like": {**shadows[0].key, "index": None}} if shadows else {})},
        "attacks": dict(attacks),
        "code": core("record"),
    }


def record_path(results: Path, info: CellInfo) -> Path:
    """The file of a cell's record in the folder of its preset's results."""
    return record_folder(results, info.dataset, info.model, info.task, info.method) / f"{info.seed}.json"


@cache
def record_folder(results: Path, *names: str) -> Path:
    """The folder of the records of all seeds; cached, because joining paths takes as long as planning a cell."""
    return results.joinpath("records", *map(folder_name, names))


quoted = cache(shlex.quote)
"""A word of a command line; the same few words are in every command."""


def parameters(overrides: Mapping[str, Mapping[str, Any]], plugins: Iterable[str]) -> list[str]:
    """The options of these plugins that were given, as words of the command line."""
    found = [(name, key, value) for name in plugins for key, value in overrides.get(name, {}).items()]
    return [word for name, key, value in found for word in ("-p", f"{name}.{key}={json.dumps(value)}")]


def pick(given: Sequence[str], selected: Sequence[str] | None, group: str) -> Sequence[str]:
    """The names that the user gave, or else that the preset selects, or else all that are installed."""
    return given or (list(registry.usable(group)) if selected is None else selected)


def tasks_of(selection: Selection) -> Sequence[str]:
    """The tasks of a selection; of all that are installed, those that need no file, or have one."""
    preset = selection.preset
    tasks = pick(selection.tasks, preset.tasks, "tasks")
    if selection.tasks or preset.tasks is not None:
        return tasks
    options = {**preset.task_options, **selection.overrides}
    return [name for name in tasks if registry.get(Task, name).is_configured(options.get(name, {}))]


def possible(method: str, preset: Preset, datasets: Sequence[str]) -> bool:
    """Whether a preset trains what a method trains, and holds out training images if a method needs any."""
    trainings = [preset.datasets[name] for name in datasets if name in preset.datasets]
    if needs_training(method) and not any(map(can_train, trainings)):
        return False
    recipes = [training.recipe for training in trainings]
    return not registry.get(Method, method).access.validation or any(recipe.held_out for recipe in recipes)


def check_names(preset: Preset) -> None:
    """Raises `UserError` for a name in a preset's tables of options that nobody has."""

    def check(what: str, names: Iterable[str]) -> None:
        known = registry.entries(f"{what}s")
        for name in names:
            if name not in known and not isinstance(name, Local):
                raise unknown(f"{what} in preset {preset.source}:", name, known)

    def tables(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        return {name: value for name, value in options.items() if isinstance(value, Mapping)}

    for name in preset.attack_options:
        if name not in (known := [protocol.attack for protocol in PROTOCOLS.values()]):
            raise unknown(f"attack in preset {preset.source}:", name, known)
    check("task", preset.task_options)
    check("method", preset.method_options)
    for name in preset.published:
        if name not in preset.method_options:
            raise unknown(f"method of table published in preset {preset.source}:", name, preset.method_options)
    for by_task in map(tables, preset.method_options.values()):
        check("task", by_task)
        for by_model in map(tables, by_task.values()):
            check("model", by_model)


def with_parents(methods: Iterable[str]) -> list[str]:
    """These methods, each after those that it starts from, without repetition."""
    found: dict[str, None] = {}
    for name in methods:
        line = [name]
        while start := known_here(registry.get(Method, line[-1]).start):
            if start in line:
                raise UserError(f"methods start from each other in a circle: {' <- '.join([*line, start])}")
            line.append(start)
        check_start(name, registry.get(Method, name).role, line[1:])
        found |= dict.fromkeys(reversed(line))
    return list(found)


def check_start(name: str, role: str, starts: Sequence[str]) -> None:
    """Raises `UserError` if a method that is no control starts from Retrain, which it is compared with.

    Args:
        name: Name of the method.
        role: Its role.
        starts: The methods that it starts from, directly or through others.
    """
    if role != "control" and (known := [start for start in starts if start in (REFERENCE, SECOND_RETRAIN)]):
        raise UserError(
            f"{name} starts from {known[0]}, which it is compared with: start from another method, or declare "
            'role="control", which is not ranked'
        )


def unique(names: Sequence[str]) -> list[str]:
    """Names without repetition, in order."""
    return list(dict.fromkeys(names))
