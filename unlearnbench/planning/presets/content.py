"""The content of presets: read from files, extended by what they build on, with files of plugins found."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.errors import UserError, unknown
from unlearnbench.planning import tuned
from unlearnbench.planning.tuned import Choice
from unlearnbench.plugins import registry
from unlearnbench.plugins.files import Local, place_of, placed
from unlearnbench.storage.folders import expanded

if TYPE_CHECKING:
    from unlearnbench.plugins.task import Task

HERE = Path(__file__).parent
EXTENDS = "extends"
"""The key that names the preset that a preset builds on."""
TUNED = "tuned"
"""The key under which what tuning chose, which has a file of its own, joins the content."""
READERS: Mapping[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": json.loads}
"""How files of presets are read, by ending; `run` writes JSON for a preset that is a dict."""
GROUPS = ("datasets", "tasks", "methods", "published", "attacks", "sweep")
"""The tables whose keys are names of plugins."""
NESTED = ("tasks", "methods")
"""Those in which tables may have tables by name of another plugin."""
PATHS = ("images", "test", "original", "retrain")
"""The keys of a data set that are paths."""
Content = dict[str, Any]


def names() -> list[str]:
    """The names of the suite's own presets."""
    return sorted(path.stem for path in HERE.glob("*.toml") if not path.name.endswith(tuned.SUFFIX))


def is_file(name: str) -> bool:
    """True for a file of a preset, false for a name."""
    return name.endswith(tuple(READERS))


def path_of(name: str, folder: Path = Path()) -> Path:
    """The file of a preset.

    Args:
        name: One of `names()`, or a file.
        folder: The folder that the file is relative to.

    Raises:
        UserError: If there is no preset of that name.
    """
    if is_file(name):
        return folder / expanded(name)
    if name not in names():
        raise unknown("preset", name, [*names(), "FILE.toml"])
    return HERE / f"{name}.toml"


def content_of(path: Path, before: tuple[Path, ...] = ()) -> Content:
    """The content of a file, with what it extends.

    Args:
        path: The file.
        before: The files that extend it.

    Raises:
        UserError: If a file cannot be read, is invalid, or extends itself.
    """
    if path.resolve() in before:
        raise UserError(f"presets extend each other in a circle: {' -> '.join(p.name for p in (*before, path))}")
    try:
        content = READERS[path.suffix](path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read preset {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"preset {path} is not in UTF-8: save it so") from error
    except ValueError as error:
        raise UserError(f"preset {path} is not valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(content, dict) or TUNED in content:
        raise UserError(f"preset {path} must be a table, without {TUNED}")
    return extended({**content, TUNED: tuned.read(tuned.path_for(path))}, path.parent, (*before, path.resolve()))


def extended(content: Mapping[str, Any], folder: Path, before: tuple[Path, ...] = ()) -> Content:
    """The content of a preset, with what it extends.

    Args:
        content: What it says itself. Its tables are merged, key by key, with those of the preset that it extends; any
            other value replaces that one's. A hyperparameter that it sets wins over one that was tuned there.
        folder: The folder that files are relative to.
        before: The files that extend it.
    """
    own = with_files(content, folder)
    base = own.pop(EXTENDS, None)
    if base is None:
        return own
    if not isinstance(base, str):
        raise UserError(f"{EXTENDS} must be the name or the file of a preset, not {base!r}")
    path = path_of(base, folder)
    theirs, methods = with_lists(content_of(path, before), path.parent), own.get("methods", {})
    theirs[TUNED] = {place: without(choice, methods) for place, choice in theirs[TUNED].items()}
    if isinstance(theirs.get("published"), Mapping):  # what this preset sets itself was not published there
        theirs["published"] = {name: where for name, where in theirs["published"].items() if name not in methods}
    return merged(theirs, own)


def without(choice: Choice, methods: Mapping[str, Any]) -> Choice:
    """What tuning chose for a preset, without the values that one which extends it sets itself."""
    own = methods.get(choice.method, {})
    layers = layers_of(own, choice.task, choice.model) if isinstance(own, Mapping) else []
    return replace(choice, values={name: v for name, v in choice.values.items() if not any(name in o for o in layers)})


def layers_of(table: Mapping[str, Any], *steps: str) -> list[Content]:
    """A method's table of hyperparameters for a task, a model and a data set: a dict per level, the most specific last.

    Args:
        table: Hyperparameters, with nested tables by the first step, in these by the second, and so on.
        steps: The names of a task, a model and a data set; the last ones may be missing.
    """
    layers = []
    for step in (*steps, None):
        layers.append({key: value for key, value in table.items() if not isinstance(value, Mapping)})
        table = table.get(step, {}) if step else {}
    return layers


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> Content:
    """Two contents as one; values of the second win, and tables are merged."""
    both = {
        key: merged(base[key], value) if isinstance(value, Mapping) and isinstance(base.get(key), Mapping) else value
        for key, value in own.items()
    }
    return {**base, **both}


def with_files(content: Mapping[str, Any], folder: Path) -> Content:
    """A content in which files of plugins and data sets are found from its folder."""

    def found(name: Any) -> Any:
        return placed(name, folder) if isinstance(name, str) and (":" in name or isinstance(name, Local)) else name

    def of_dataset(entry: Any) -> Any:
        if not isinstance(entry, Mapping):
            return entry
        paths = {key: str(located(entry[key], folder)) for key in PATHS if is_path(entry.get(key))}
        file, _, function = str(entry.get("train", "")).rpartition(":")
        train = {"train": f"{located(file, folder)}:{function}"} if file.endswith(".py") else {}
        return {**entry, **paths, **train, **({"model": found(entry["model"])} if "model" in entry else {})}

    def of_table(table: Mapping[Any, Any], nested: bool) -> Content:
        return {
            found(name): of_table(value, nested) if nested and isinstance(value, Mapping) else value
            for name, value in table.items()
        }

    copy = dict(content)
    for group in GROUPS:
        if isinstance(copy.get(group), Mapping):
            copy[group] = of_table(copy[group], nested=group in NESTED)
    if isinstance(copy.get("datasets"), Mapping):
        copy["datasets"] = {name: of_dataset(entry) for name, entry in copy["datasets"].items()}
    if isinstance(copy.get("select"), Mapping):
        copy["select"] = {
            key: [found(name) for name in value] if isinstance(value, list) else value
            for key, value in copy["select"].items()
        }
    return copy


def with_lists(content: Content, folder: Path) -> Content:
    """A content in which the files that tasks read are found from its folder; needs the plugins of these tasks."""
    tasks = content.get("tasks")
    if not isinstance(tasks, Mapping):
        return content

    def of_task(name: str, options: Any) -> Any:
        if not isinstance(options, Mapping) or not any(is_path(v) or isinstance(v, Mapping) for v in options.values()):
            return options
        from unlearnbench.plugins.task import Task  # takes a second, and tables do without it

        is_known = isinstance(name, Local) or name in registry.entries("tasks")  # others are refused later
        return with_paths(registry.get(Task, name), options, folder) if is_known else options

    return {**content, "tasks": {name: of_task(name, options) for name, options in tasks.items()}}


def with_paths(task: Task, options: Mapping[str, Any], folder: Path) -> Content:
    """Options of a task in which the paths of files are absolute.

    Args:
        task: The task.
        options: Some of its options.
        folder: The folder that relative paths begin from.
    """

    def of(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):  # options for one data set
            return with_paths(task, value, folder)
        return str(located(value, folder)) if name in task.files and is_path(value) else value

    return {name: of(name, value) for name, value in options.items()}


def is_path(value: Any) -> bool:
    """Whether a value may be a path: a text that is not empty."""
    return isinstance(value, str) and value != ""


def located(path: str, folder: Path) -> Path:
    """A path as an absolute one; a relative one begins from the folder."""
    return folder.joinpath(expanded(path)).resolve()


def portable(content: Mapping[str, Any]) -> Content:
    """The content of a preset that is a dict, as that of a file in any folder: paths are absolute, JSON values."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {place_of(key): plain(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [plain(one) for one in value]
        return place_of(value) if isinstance(value, str) else value

    own = with_lists(with_files({key: value for key, value in content.items() if key != "name"}, Path()), Path())
    if isinstance(base := own.get(EXTENDS), str) and is_file(base):
        own[EXTENDS] = str(path_of(base).resolve())
    return {key: plain(value) for key, value in own.items()}
