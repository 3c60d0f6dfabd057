"""Presets: TOML files that select data sets, tasks, methods and seeds, and configure the training."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from unlearnbench.data.images import ImageSet, Place
from unlearnbench.errors import UserError, unknown
from unlearnbench.planning.presets.content import HERE as HERE
from unlearnbench.planning.presets.content import TUNED, content_of, extended, layers_of, located, path_of
from unlearnbench.planning.presets.content import names as names
from unlearnbench.planning.tuned import Choice
from unlearnbench.plugins.files import placed
from unlearnbench.plugins.plugin import like
from unlearnbench.training.recipe import Recipe

REFERENCE = "retrain"
"""The method that all others are compared with."""
SECOND_RETRAIN = "retrain-2"
"""A second reference, with other random numbers."""
ORIGINAL = "original"
"""The method that returns the original unchanged."""
ELSEWHERE = "elsewhere"
"""The role of networks that were made outside of the suite; their cost and their access to data are unknown."""
THIRD_PARTY = "third-party"
"""Stands, among the tasks or methods that a preset selects, for all that other packages have installed."""
MAX_SEEDS = 10_000
"""The largest allowed range of seeds; larger ones are probably typing errors."""
UNNAMED = "notebook"
"""The name of a preset that is a dict without a name."""
RECIPE = vars(Recipe())
KEYS = (
    *("title", "shadows", "select", "recipe", "datasets", "tasks", "methods", "published", "attacks"),
    *("tuning", "sweep", "combinations"),
)
"""Of a preset's file."""
SUPPLIED = ("original", "retrain", "train")
"""The keys of a data set for what a user supplies."""
IMAGES = {"images": "", "test": "", "size": 0}
"""The keys of a data set without a plugin, with their defaults."""
PresetLike = str | Path | Mapping[str, Any]
"""A preset as people write it: a name, a file, or the content of a file."""


@dataclass(frozen=True)
class Training:
    """How models of a data set are trained.

    Attributes:
        model: The name of the model.
        options: The model's options.
        recipe: The training recipe.
        weights: The files of the original's and of Retrain's weights, as in the preset, if the user supplies them; ""
            otherwise. `{seed}` and `{task}` stand for a seed and the name of a task.
        train: The user's training function, FILE.py:FUNCTION; "" if the recipe trains.
        name: The name of the data set, by which other processes learn where it is if it is not installed.
    """

    model: str
    options: Mapping[str, Any]
    recipe: Recipe
    weights: tuple[str, str] = ("", "")
    train: str = ""
    name: str = ""


@dataclass(frozen=True)
class Budget:
    """How much `tune` may try, the same for every method.

    Attributes:
        points: The number of points on each tuning split, in falling order: the best ones go on to the next split.
        datasets: The data sets that it tunes on; empty: all. What it chooses holds for all data sets of the model.
    """

    points: tuple[int, ...] = (12, 12, 12)
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preset:
    """The content of a preset, with checked keys.

    Attributes:
        name: Its title in tables, and the name of the folder that holds its results.
        title: Its purpose, in one line.
        seeds: The seeds to run.
        shadows: The number of shadow models; even, or 0.
        datasets: The model and recipe by name of the data set.
        tasks: Names of tasks; None: all installed ones. `THIRD_PARTY` stands for those of other packages.
        methods: Names of methods, likewise.
        task_options: Options by name of the task, with nested tables by data set.
        method_options: Hyperparameters by name of the method, nested by task, then model, then data set.
        attack_options: Options by name of the attack.
        published: Where the hyperparameters of methods were published, by name of the method.
        sweep: Values to try, by name of a method or task and option.
        combinations: Whether all combinations of these values are tried, instead of one change at a time.
        tuning: How much `tune` may try.
        tuned: The hyperparameters that tuning chose, by method, task and model.
        source: The name or the file by which `--preset` reads it.
        folder: The folder that relative paths in it begin from.
    """

    name: str
    title: str
    seeds: tuple[int, ...]
    shadows: int
    datasets: Mapping[str, Training]
    tasks: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    task_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    method_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    attack_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)
    sweep: Mapping[str, Mapping[str, Sequence[Any]]] = field(default_factory=dict)
    combinations: bool = False
    tuning: Budget = Budget()
    tuned: Mapping[tuple[str, str, str], Choice] = field(default_factory=dict)
    source: str = ""
    folder: Path = Path()

    def options_of_task(self, task: str, dataset: str) -> dict[str, Any]:
        """The options of a task: for all data sets, overridden by those for one."""
        table = self.task_options.get(task, {})
        own = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
        return {**own, **table.get(dataset, {})}

    def hyperparameters(self, method: str, task: str, model: str, dataset: str = "") -> list[dict[str, Any]]:
        """Hyperparameters for a method on a task, a model and a data set: a dict per level, the most specific last."""
        steps = (task, model, *([dataset] if dataset else []))
        return layers_of(self.method_options.get(method, {}), *steps)

    def choice(self, method: str, like: str, task: str, model: str) -> Choice | None:
        """What tuning chose for a method, or else for the one whose hyperparameters it shares (`like`, or "")."""
        return self.tuned.get((method, task, model)) or self.tuned.get((like, task, model))


def file_of(name: str) -> Path:
    """The file of a preset: that of one of `names()`, or the path of a TOML file."""
    return path_of(name)


def read(preset: PresetLike) -> Preset:
    """Reads a preset, and what tuning chose for it.

    Args:
        preset: One of `names()`, the path of a TOML file, or the content of such a file as a dict; its key `name` says
            what the preset is called.

    Raises:
        UserError: If there is no such preset, or its content is invalid; the message names the line or key.
    """
    if isinstance(preset, Mapping):
        name, content = preset.get("name", UNNAMED), {key: value for key, value in preset.items() if key != "name"}
        if not isinstance(name, str) or not name or "/" in name or name in names():
            raise UserError(f"the name of a preset of your own is a word that no other preset has, not {name!r}")
        return checked(name, name, Path(), lambda: extended(content, Path()))
    path = path_of(str(preset))
    return checked(path.stem, str(preset), path.parent, lambda: content_of(path))


def checked(name: str, source: str, folder: Path, content: Callable[[], Mapping[str, Any]]) -> Preset:
    """Builds a preset from its content, whose relative paths begin from the folder; messages name it."""
    if not name.isprintable():
        raise UserError(f"the name of a preset has no control characters such as line breaks: not {name!r}")
    whole = dict(content())
    choices = whole.pop(TUNED, {})
    try:
        return replace(parsed(name, whole, folder.absolute()), tuned=choices, source=source)
    except UserError as error:
        raise UserError(f"preset {source}: {error}") from error


def parsed(name: str, content: Mapping[str, Any], folder: Path = Path()) -> Preset:
    """Builds a preset from the content of its file; relative paths in it begin from the folder."""
    check_keys("", content, KEYS)
    select = table(content, "select")
    check_keys("select.", select, ("seeds", "tasks", "methods"))
    recipe = recipe_of("recipe", table(content, "recipe"))
    entries = {dataset: table(content["datasets"], dataset) for dataset in table(content, "datasets")}
    if not entries:
        raise UserError("needs at least one data set, e.g. [datasets.digits-8x8] with model = 'cnn'")
    shadows = like(8, content.get("shadows", 8), "shadows")
    if shadows < 0 or shadows % 2:
        raise UserError(f"shadow models come in complementary pairs: shadows must be 0, 2, 4, 6, ..., not {shadows}")
    trainings = [training_of(dataset, entry, recipe, folder) for dataset, entry in entries.items()]
    tasks, task_options = selection(select, "tasks"), table(content, "tasks")
    names = dict(zip(entries, (training.name for training in trainings), strict=True))
    return Preset(
        name=name,
        title=printable(like("", content.get("title", ""), "title")),
        seeds=parse_seeds(select.get("seeds", "0-4")),
        shadows=shadows,
        datasets={training.name: training for training in trainings},
        tasks=tasks and tuple(placed(task, folder) for task in tasks),
        methods=selection(select, "methods"),
        task_options={placed(task, folder): renamed(table(task_options, task), names) for task in task_options},
        method_options={method: table(content["methods"], method) for method in table(content, "methods")},
        published={method: place(method, where) for method, where in table(content, "published").items()},
        tuning=budget_of(table(content, "tuning")),
        attack_options={attack: table(content["attacks"], attack) for attack in table(content, "attacks")},
        sweep=sweep_of({name: table(content["sweep"], name) for name in table(content, "sweep")}),
        combinations=like(False, content.get("combinations", False), "combinations"),
        folder=folder,
    )


def renamed(options: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Options of a task in which the tables for data sets have the names by which these are known."""
    return {names.get(key, key) if isinstance(value, Mapping) else key: value for key, value in options.items()}


def place(method: str, where: Any) -> str:
    """Where the hyperparameters of a method were published, checked."""
    if not isinstance(where, str) or not where.strip():
        raise UserError(f'published.{method} must say where, e.g. {method} = "Table 7 of their paper", not {where!r}')
    return where


def training_of(dataset: str, entry: Mapping[str, Any], recipe: Mapping[str, Any], folder: Path) -> Training:
    """How models of a data set are trained, from its table in a preset and the recipe for all data sets."""
    where = f"datasets.{dataset}"
    check_keys(f"{where}.", entry, ("model", "options", "recipe", *SUPPLIED, *IMAGES))
    if not isinstance(entry.get("model"), str):
        raise UserError(f"{where} needs a model, e.g. model = 'cnn'")
    own = recipe_of(f"{where}.recipe", table(entry, "recipe"))
    original, retrain, train = (like("", entry.get(name, ""), f"{where}.{name}") for name in SUPPLIED)
    return Training(
        model=placed(entry["model"], folder),
        options=table(entry, "options"),
        recipe=Recipe(**{**recipe, **own}),
        weights=(original, retrain),
        train=train,
        name=image_set(dataset, entry, folder),
    )


def image_set(dataset: str, entry: Mapping[str, Any], folder: Path) -> str:
    """The name of a data set, by which its images are known if its table in a preset says where they are."""
    where = f"datasets.{dataset}"
    values = {name: like(default, entry.get(name, default), f"{where}.{name}") for name, default in IMAGES.items()}
    if not values["images"]:
        for name in ("test", "size"):
            if values[name]:
                raise UserError(f"{where}.{name} needs images = 'FOLDER' or 'FILE.npz' beside it")
        return placed(dataset, folder)
    images = located(values["images"], folder)
    test = located(values["test"], folder) if values["test"] else None
    return ImageSet(dataset, Place(images, test, values["size"], not entry.get("original")))


def sweep_of(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Sequence[Any]]]:
    """The values to try, by name of a method or task and option.

    Raises:
        UserError: If they are no lists.
    """
    for name, options in tables.items():
        for option, values in options.items():
            if isinstance(values, str | Mapping) or not isinstance(values, Iterable) or not list(values):
                raise UserError(f"sweep.{name}.{option} must be a list of values, not {values!r}")
    return {name: {option: tuple(values) for option, values in options.items()} for name, options in tables.items()}


def budget_of(content: Mapping[str, Any]) -> Budget:
    """The table `tuning`, checked."""
    check_keys("tuning.", content, ("points", "datasets"))
    points = content.get("points", list(Budget.points))
    if not (isinstance(points, list) and points and all(type(number) is int and number > 0 for number in points)):
        raise UserError(f"tuning.points must be numbers of points, one for each split, e.g. [8, 3], not {points!r}")
    return Budget(tuple(points), selection(content, "datasets", "tuning") or ())


def several(names: str | Sequence[str]) -> Sequence[str]:
    """A sequence of names; a single name may stand alone."""
    return (names,) if isinstance(names, str) else names


def parse_seeds(text: str | int | Iterable[int]) -> tuple[int, ...]:
    """Parses seeds: "0-4", "0,2,5", "0-2,7", a number, or a sequence of numbers.

    Raises:
        UserError: If they are not valid.
    """
    if not isinstance(text, str):
        number = whole_number(text)
        text = ",".join(map(whole_number, text)) if isinstance(text, Iterable) and not number.isdecimal() else number
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match:
            raise UserError(f"seeds must be numbers such as 0-4 or 0,2,5, not {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"seeds {part!r} are in reverse order: use {last}-{first}")
        if last - first >= MAX_SEEDS:
            raise UserError(f"seeds {part!r} are more than {MAX_SEEDS}: use several runs")
        seeds += range(first, last + 1)
    return tuple(dict.fromkeys(seeds))


def whole_number(value: object) -> str:
    """A whole number of any library as text; any other value as it is printed."""
    try:
        return str(value) if isinstance(value, bool) else str(operator.index(value))  # type: ignore[arg-type]
    except TypeError:
        return str(value)


def check_keys(where: str, content: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises `UserError` for an unknown key."""
    for key in content:
        if key not in known:
            raise unknown("key", f"{where}{key}", [f"{where}{k}" for k in known])


def table(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table of a TOML file; empty if it is missing."""
    value = content.get(key, {})
    if not isinstance(value, Mapping):
        raise UserError(f"{key} must be a table, [{key}], not {value!r}")
    return value


def selection(content: Mapping[str, Any], key: str, where: str = "select") -> tuple[str, ...] | None:
    """A list of names in the table `where`; None if it is missing."""
    value = content.get(key)
    if value is not None and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
        raise UserError(f"{where}.{key} must be a list of names, not {value!r}")
    return None if value is None else tuple(value)


def recipe_of(where: str, content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of a recipe, with checked keys and types."""
    check_keys(f"{where}.", content, list(RECIPE))
    return {key: like(RECIPE[key], value, f"{where}.{key}") for key, value in content.items()}


def printable(title: str) -> str:
    """A title of one line without control characters, as tables need it; raises `UserError` for any other."""
    if not title.isprintable():
        raise UserError(f"title has line breaks or control characters, {title!r}: write it in one line")
    return title
