"""The hyperparameters that tuning chose for a preset: PRESET.tuned.toml, beside the preset's own file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError
from unlearnbench.storage.files import write_atomically

SUFFIX = ".tuned.toml"
HEAD = "# Written by `unlearnbench tune`. Do not edit: the logs say how each value was chosen."


@dataclass(frozen=True)
class Choice:
    """What tuning chose for a method on a task and a model.

    Attributes:
        method: Name of the method.
        task: Name of the task.
        model: Name of the model.
        values: The chosen hyperparameters by name.
        log: The log, relative to the folder of results.
        sha256: Of the log, in hexadecimal.
        gain: How much closer to Retrain the chosen point is than the original, in percentage points; at most 0 if no
            point is better than doing nothing.
    """

    method: str
    task: str
    model: str
    values: Mapping[str, Any]
    log: str
    sha256: str
    gain: float

    @property
    def place(self) -> tuple[str, str, str]:
        """What it was chosen for: method, task and model."""
        return self.method, self.task, self.model

    @property
    def source(self) -> str:
        """Where the values come from, in words."""
        return f"tuned, log {self.log} ({self.sha256[:12]})"


NAMES = [field.name for field in fields(Choice)]


def path_for(preset: Path) -> Path:
    """The file with the tuned hyperparameters of a preset's file."""
    return preset.with_name(preset.stem + SUFFIX)


def read(path: Path) -> dict[tuple[str, str, str], Choice]:
    """Reads choices by method, task and model; empty if there is no such file.

    Raises:
        UserError: If it is not as `write` wrote it.
    """
    if not path.exists():
        return {}
    try:
        choices = [Choice(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["tuned"]]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}): restore it, or delete it and run `unlearnbench tune`") from error
    return {choice.place: choice for choice in choices}


def write(path: Path, choices: Iterable[Choice]) -> None:
    """Writes choices, sorted, in place of those that the file had."""
    blocks = [
        "[[tuned]]\n" + "".join(f"{name} = {as_toml(value)}\n" for name, value in asdict(choice).items())
        for choice in sorted(choices, key=lambda choice: choice.place)
    ]
    write_atomically(path, "\n".join([f"{HEAD}\n", *blocks]).encode())


def as_toml(value: Any) -> str:
    """A value in TOML: a text, a number, or a table of these."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{name} = {as_toml(entry)}" for name, entry in value.items()) + " }"
    return json.dumps(value)
