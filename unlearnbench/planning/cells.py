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
from unlearnbench.planning.cell_info import DEFAULT, CellInfo
from unlearnbench.planning.names import check_names, pick, possible, tasks_on, unique, with_parents
from unlearnbench.planning.plan import Cell, Plan, Rerun
from unlearnbench.planning.presets import REFERENCE, Preset, Training
from unlearnbench.planning.presets.content import with_paths
from unlearnbench.planning.protocols import MIA, PROTOCOLS
from unlearnbench.planning.selection import Overrides, Selection, Workspace
from unlearnbench.planning.supplied import (
    check_labels,
    check_positions,
    check_trainable,
    outputs_in,
    supplied_by,
    with_names,
)
from unlearnbench.plugins import registry
from unlearnbench.plugins.access import SUPERVISION
from unlearnbench.plugins.attack import Attack
from unlearnbench.plugins.dataset import Source
from unlearnbench.plugins.files import Local, named, place_of
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.model import Model
from unlearnbench.plugins.task import Split, Task
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
    wanted = named(selection.methods or preset.methods or ())
    methods = pick(selection.methods, preset.methods and wanted, "methods")
    methods = [name for name in methods if name in wanted or possible(name, preset, datasets)]
    planner = _Planner(selection, workspace, shadow)
    cells = planner.cells(unique(datasets), methods, selection.seeds or preset.seeds)
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

    def cells(self, datasets: Sequence[str], methods: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
        """All combinations with the tasks of each data set, as cells."""
        check_names(self.preset)
        for dataset in datasets:
            self.training(dataset)
        methods = with_parents([REFERENCE, *methods])
        tasks = {dataset: tasks_on(dataset, self.selection, self.workspace) for dataset in datasets}
        of_this_run = [*methods, *unique(task for of_dataset in tasks.values() for task in of_dataset), *self.attacks]
        for name in self.overrides:
            if name not in of_this_run:
                raise unknown("method, task or attack of this run:", name, of_this_run)
        scenarios = [self.scenario(name, task, seed) for name, own in tasks.items() for task in own for seed in seeds]
        return [cell for scenario in scenarios for cell in self.cells_of(scenario, methods)]

    def training(self, dataset: str) -> Training:
        """How models of a data set are trained; raises `UserError` if the preset does not say it."""
        registry.get(Source, plugin_of(dataset))
        training = self.preset.datasets.get(dataset)
        if training is None:
            name = f'"{dataset.place}"' if isinstance(dataset, Local) else dataset
            source = self.preset.source
            raise UserError(f"preset {source} does not say how to train {dataset}: add [datasets.{name}]")
        return training

    @cached_property
    def attacks(self) -> dict[str, dict[str, Any]]:
        """The attacks of the protocols, and the one behind metric mia, with their options."""
        layers = self.preset.attack_options, self.overrides
        return {
            name: registry.get(Attack, name).resolve(name, *(layer.get(name, {}) for layer in layers))
            for name in (*(protocol.attack for protocol in PROTOCOLS.values()), MIA)
        }

    @cached_property
    def attack_keys(self) -> dict[str, dict[str, Any]]:
        """What goes into the numbers of these attacks."""
        return {name: attack_key(name, options) for name, options in self.attacks.items()}

    def attacks_of(self, task: str) -> list[str]:
        """The names of the attacks that the records of a task have."""
        return [name for name in self.attacks if name != MIA or "mia" in registry.get(Task, task).columns]

    def scenario(self, dataset: str, task: str, seed: int) -> Scenario:
        """Resolves the names and options of a scenario."""
        training, workspace = self.training(dataset), self.workspace
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
            task_options=self.task_options(task, dataset),
            seed=seed,
            device=workspace.device,
            arithmetic=workspace.arithmetic,
            shadow=self.shadow,
            supplied=supplied_by(self.preset, training, task, seed, has_all),
        )
        check_positions(registry.get(Task, task), scenario)
        return scenario

    def task_options(self, name: str, dataset: str, *, overridden: bool = True) -> dict[str, Any]:
        """A task's options on a data set: the preset's, overridden by the command line unless that is not wanted."""
        task, own = registry.get(Task, name), self.overrides.get(name, {}) if overridden else {}
        preset = with_paths(task, self.preset.options_of_task(name, plugin_of(dataset)), self.preset.folder)
        return task.resolve(name, preset, with_paths(task, own, Path()))

    def cells_of(self, scenario: Scenario, methods: Sequence[str]) -> list[Cell]:
        """The cells of a scenario, one for each method, parents before their children."""
        loaded = LoadedScenario.of(scenario, self.workspace.datasets)
        check_labels(loaded, self.preset.datasets[scenario.dataset])
        parents = {registry.get(Method, name).start for name in methods}
        shadows = [Shadow.of(loaded, index) for index in range(self.preset.shadows)]
        attacks, cells = self.attacks_of(scenario.task), dict[str, Cell]()
        for name in methods:
            method = registry.get(Method, name)
            parent, options = cells.get(method.start), self.hyperparameters(name, scenario)
            self.check_access(name, options.get(SUPERVISION), loaded)
            outputs = Outputs.of(loaded, name, options, parent.outputs if parent else None, name in parents)
            outputs = outputs_in(loaded, name, outputs)
            info = self.info(name, scenario, options, loaded.split)
            cells[name] = Cell(
                scenario=scenario,
                method=name,
                depth=parent.depth + 1 if parent else 0,
                outputs=outputs,
                shadows=shadows,
                attacks={attack: self.attacks[attack] for attack in attacks},
                key=record_key(outputs, shadows, {attack: self.attack_keys[attack] for attack in attacks}),
                path=record_path(self.results, info),
                info=info,
                command=self.command(name, scenario),
            )
        return list(cells.values())

    def check_access(self, name: str, supervision: float | None, loaded: LoadedScenario) -> None:
        """Raises `UserError` if a scenario does not have the data that a method declares.

        Args:
            name: The method.
            supervision: The share of the retain set that has labels, if it says one.
            loaded: The scenario.
        """
        access, scenario = registry.get(Method, name).access, loaded.scenario
        if supervision is not None and not (isinstance(supervision, int | float) and 0 < supervision <= 1):
            raise UserError(f"{name}.{SUPERVISION} is a share of the retain set, in (0, 1], not {supervision!r}")
        if access.retain == "sample-labels" and supervision is None and loaded.forgotten > 0.5:
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
        sources = dict.fromkeys(chosen.defaults, DEFAULT)
        for name, values in self.layers(method, scenario):
            sources |= dict.fromkeys(values, name)
        parents = self.sources(chosen.start, scenario) if chosen.start else {}
        return sources | {f"{chosen.start}.{name}": source for name, source in parents.items()}

    def layers(self, method: str, scenario: Scenario) -> list[tuple[str, Mapping[str, Any]]]:
        """The layers of a method's hyperparameters over its defaults, with their names, the last one winning."""
        chosen, task, model = registry.get(Method, method), scenario.task, scenario.model
        place = task, model, plugin_of(scenario.dataset)
        scopes = "", f" for {task}", f" for {task} and {model}", f" for {task} and {model} on {place[2]}"

        def of(name: str) -> list[tuple[str, dict[str, Any]]]:
            where = f", published in {self.preset.published[name]}" if name in self.preset.published else ""
            names = [f"preset {self.preset.name}{scope}{where}" for scope in scopes]
            return list(zip(names, self.preset.hyperparameters(name, *place), strict=True))

        layers = of(method)
        if chosen.like:
            shared = of(chosen.like)
            of_like = [
                (f"{name}, as of {chosen.like}", {k: v for k, v in values.items() if k in chosen.defaults})
                for name, values in shared
            ]
            layers = of_like + layers
        if choice := self.preset.choice(method, chosen.like, task, model):
            layers.append((choice.source, {k: v for k, v in choice.values.items() if k in chosen.defaults}))
        return [*layers, ("command line", self.overrides.get(method, {}))]

    def changed(self, method: str, scenario: Scenario) -> dict[str, Any]:
        """The hyperparameters of a method, and of those it starts from, that the command line changed."""
        if not self.overrides:
            return {}
        usual = replace(self, selection=replace(self.selection, overrides={})).hyperparameters(method, scenario)
        own = {k: v for k, v in self.hyperparameters(method, scenario).items() if v != usual[k]}
        start = registry.get(Method, method).start
        return own | ({f"{start}.{k}": v for k, v in self.changed(start, scenario).items()} if start else {})

    def info(self, name: str, scenario: Scenario, options: Mapping[str, Any], split: Split) -> CellInfo:
        """The part `cell` of a record.

        Args:
            name: Name of the method.
            scenario: The scenario.
            options: The method's hyperparameters, resolved.
            split: The split of the scenario's task.
        """
        task, method = registry.get(Task, scenario.task), registry.get(Method, name)
        usual = self.task_options(scenario.task, scenario.dataset, overridden=False)
        named = with_names(task, scenario.task_options)
        of_task = listed({k: v for k, v in named.items() if scenario.task_options[k] != usual[k]})
        of_method = listed(self.changed(name, scenario))
        file = name.path.name if isinstance(name, Local) else ""
        remarks = ", ".join(filter(None, (file, of_method)))
        access = method.access if split.hidden is not None else replace(method.access, hidden=None)
        choice = self.preset.choice(name, method.like, scenario.task, scenario.model)
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
            method_title=f"{method.title} ({remarks})" if remarks else method.title,
            role="variant" if of_method and method.role == "method" else method.role,
            access="not enforced" if name == REFERENCE and scenario.supplied.retrain else str(access),
            start=method.start,
            like=method.like,
            hyperparameters=dict(options),
            sources=self.sources(name, scenario),
            gain=choice.gain if choice and not of_method else None,
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
