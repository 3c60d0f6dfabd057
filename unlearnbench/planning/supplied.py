"""What a preset supplies in place of what the suite trains or draws: files of weights, a training function, lists."""

from __future__ import annotations

import filecmp
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unlearnbench.artefacts.given import Given, outputs_of
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.scenario import Scenario, Supplied
from unlearnbench.artefacts.tuning_split import TuningSplit
from unlearnbench.artefacts.unlearned import Outputs
from unlearnbench.errors import UserError
from unlearnbench.planning.cell_info import CellInfo
from unlearnbench.planning.presets import ORIGINAL, REFERENCE, SECOND_RETRAIN, Preset, Training
from unlearnbench.planning.presets.content import located
from unlearnbench.plugins.task import Task
from unlearnbench.plugins.trainer import Trainer


def supplied_by(preset: Preset, training: Training, task: str, seed: int, weights: bool) -> Supplied:
    """What a preset supplies for a scenario.

    Args:
        preset: The preset.
        training: Its entry for the data set.
        task: Name of the task, in place of `{task}` in paths.
        seed: The seed, in place of `{seed}`.
        weights: Whether the files of weights are for this scenario: not if it has a part of the training set only.
    """
    trainer = Trainer.of(training.train, preset.folder) if training.train else None
    if not weights:
        return Supplied(trainer=trainer, dataset=training.name)
    paths = [template.replace("{seed}", str(seed)).replace("{task}", task) for template in training.weights]
    original, retrain = (located(path, preset.folder) if path else None for path in paths)
    for path in filter(None, (original, retrain)):
        if not path.is_file():
            raise UserError(f"there is no file {path}, the weights for seed {seed}: supply it, or leave out that seed")
    if original and retrain and filecmp.cmp(original, retrain, shallow=False):
        raise UserError(f"{retrain} and {original} are the same weights: Retrain never saw the forget set")
    return Supplied(original, retrain, trainer, training.name)


def check_trainable(preset: Preset, dataset: str, training: Training) -> None:
    """Raises `UserError` if a preset trains nothing and does not supply all networks that must be trained.

    Args:
        preset: The preset.
        dataset: Name of the data set.
        training: Its entry for the data set.
    """
    if can_train(training):
        return
    nothing = f"preset {preset.name} has epochs = 0 and no training function"
    if TuningSplit.parsed(dataset):
        raise UserError(f"{nothing}, so nothing can be tuned, which needs networks of its own: set epochs, or train")
    for what, path in zip(("original", "retrain"), training.weights, strict=True):
        if not path:
            action = f"add {what} = 'FILE' below [datasets.{dataset}], or train = 'FILE.py:FUNCTION', or set epochs"
            raise UserError(f"{nothing}, so it trains no {what}: {action}")
    if preset.shadows:
        raise UserError(
            f"{nothing}, so it trains no shadow models: set shadows = 0, and success rates of attacks that need them "
            f"are n/a; or add train = 'FILE.py:FUNCTION' below [datasets.{dataset}], or set epochs"
        )


def can_train(training: Training) -> bool:
    """Whether there is a recipe, or a function, by which networks of a data set are trained."""
    return bool(training.recipe.epochs or training.train)


def needs_training(method: str) -> bool:
    """Whether a method is a training, and so left out where nothing can be trained."""
    return method == SECOND_RETRAIN


def check_positions(task: Task, scenario: Scenario) -> None:
    """Raises `UserError` if a task reads positions from files, and these are not those of the training images."""
    if task.is_configured({}):
        return
    needs = f"task {scenario.task} reads positions in the whole training set from a file"
    if TuningSplit.parsed(scenario.dataset):
        raise UserError(f"{needs}, so methods cannot be tuned on it: tune on data-removal instead")
    if scenario.recipe.held_out:
        held_out = f"held_out = {scenario.recipe.held_out} in the recipe"
        raise UserError(f"{needs}, and {held_out} leaves out a part of it: remove held_out")


def check_labels(loaded: LoadedScenario, training: Training) -> None:
    """Raises `UserError` if a task replaces labels that a supplied original was trained on.

    Args:
        loaded: The scenario.
        training: The preset's entry for its data set; with `{task}` in its path, the original belongs to the task.
    """
    path, scenario = training.weights[0], loaded.scenario
    if scenario.supplied.original and "{task}" not in path and loaded.split.train_labels is not None:
        raise UserError(
            f"task {scenario.task} replaces labels, and the supplied original of {scenario.dataset} was not trained on "
            "these: select other tasks, or supply an original for each task, with {task} in its path"
        )


def with_names(task: Task, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a task in which the paths of files are their names, for records."""
    return {name: Path(value).name if name in task.files and value else value for name, value in options.items()}


def options_of_task(info: CellInfo, outputs: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """The options of the task of a record that its preset may not give.

    Args:
        info: The cell.
        outputs: The key of its outputs.
        files: The files that it was given on the command line; the files of a preset are in the preset.
    """
    names = {option: f"{info.task_name}.{option}" for option in info.task_options if f"{option}=" in info.task}
    lists = {option: files[name] for option, name in names.items() if name in files}
    return {**outputs.get("task", {}).get("options", {}), **lists}


def outputs_in(loaded: LoadedScenario, name: str, outputs: Outputs) -> Outputs:
    """The outputs of a method, or of the given weights if the method is Retrain and its weights are supplied.

    Args:
        loaded: The scenario.
        name: Name of the method.
        outputs: Its outputs.
    """
    path = loaded.scenario.supplied.retrain
    if name != REFERENCE or path is None:
        return outputs
    return outputs_of(Given.of(path, loaded), Outputs.of(loaded, ORIGINAL, {}))
