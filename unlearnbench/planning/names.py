"""Which tasks and methods a selection stands for, and whether a preset knows all names that it uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from unlearnbench.artefacts.tuning_split import plugin_of
from unlearnbench.errors import UserError, unknown
from unlearnbench.planning.presets import REFERENCE, SECOND_RETRAIN, THIRD_PARTY, Preset
from unlearnbench.planning.protocols import PROTOCOLS
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.planning.supplied import can_train, needs_training
from unlearnbench.plugins import registry
from unlearnbench.plugins.files import Local, known_here
from unlearnbench.plugins.fingerprint import CORE
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.task import Task


def pick(given: Sequence[str], selected: Sequence[str] | None, group: str) -> Sequence[str]:
    """The names that the user gave, or else that the preset selects, or else all that are installed."""
    if given or (selected is not None and THIRD_PARTY not in selected):
        return given or selected or ()
    usable = list(registry.usable(group))
    if selected is None:
        return usable
    others = [name for name in usable if registry.entry(group, name).origin != CORE]
    return [name for one in selected for name in (others if one == THIRD_PARTY else [one])]


def tasks_on(dataset: str, selection: Selection, workspace: Workspace) -> list[str]:
    """The tasks that are wanted on a data set: those that are named, and installed ones that have what they need."""
    named = selection.tasks or selection.preset.tasks or ()
    tasks = unique(pick(selection.tasks, selection.preset.tasks, "tasks"))
    return [task for task in tasks if task in named or applies(task, dataset, selection, workspace)]


def applies(task: str, dataset: str, selection: Selection, workspace: Workspace) -> bool:
    """Whether a task has the file that it needs, and the data set the superclasses, if the task needs such."""
    plugin, own = registry.get(Task, task), selection.overrides.get(task, {})
    if not plugin.is_configured({**selection.preset.options_of_task(task, plugin_of(dataset)), **own}):
        return False
    return not plugin.superclasses or bool(workspace.datasets.load(dataset, workspace.root)[0].taxonomies)


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
            if name not in known and name not in preset.datasets and not isinstance(name, Local):
                raise unknown(f"{what} in preset {preset.source}:", name, known)

    def tables(options: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        return {name: value for name, value in options.items() if isinstance(value, Mapping)}

    for name in preset.attack_options:
        if name not in (known := [protocol.attack for protocol in PROTOCOLS.values()]):
            raise unknown(f"attack in preset {preset.source}:", name, known)
    check("task", preset.task_options)
    for by_dataset in map(tables, preset.task_options.values()):
        check("dataset", by_dataset)
    check("method", preset.method_options)
    for name in preset.published:
        if name not in preset.method_options:
            raise unknown(f"method of table published in preset {preset.source}:", name, preset.method_options)
    for by_task in map(tables, preset.method_options.values()):
        check("task", by_task)
        for by_model in map(tables, by_task.values()):
            check("model", by_model)
            for by_dataset in map(tables, by_model.values()):
                check("dataset", by_dataset)


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


def unique(names: Iterable[str]) -> list[str]:
    """Names without repetition, in order."""
    return list(dict.fromkeys(names))
