"""What all plugins have in common: a function, its title and reference, and options that are its keyword arguments."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from unlearnbench.errors import UserError, unknown


class Plugin:
    """A function together with what the suite must know about it.

    Args:
        function: The code. Its keyword-only arguments are the plugin's options and must have defaults of a type that
            JSON knows (numbers, strings, booleans, None, tuples of these).
        title: The name in tables.
        reference: The paper or place that defines it.

    Raises:
        TypeError: If an option has no default.
    """

    kind: ClassVar[str]

    def __init__(self, function: Callable[..., Any], *, title: str, reference: str = "") -> None:
        self.function = function
        self.title = title
        self.reference = reference
        self.defaults = options_of(function)
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def notes(self) -> str:
        """The rest of the docstring in one line: what its author chose, and where it departs from its source."""
        return " ".join((inspect.getdoc(self.function) or "").partition("\n")[2].split())

    def resolve(self, name: str, *layers: Mapping[str, Any]) -> dict[str, Any]:
        """Lays settings over the defaults, the last layer winning.

        Args:
            name: What the plugin is called on the command line, for messages.
            *layers: Values by option name.

        Returns:
            A value for every option, tuples for sequences.

        Raises:
            UserError: If an option is unknown or its value has another type than the default.
        """
        values = dict(self.defaults)
        for layer in layers:
            for key, value in layer.items():
                if key not in self.defaults:
                    raise unknown(f"option of {self.kind} {name!r}:", key, self.defaults)
                values[key] = like(self.defaults[key], value, f"{name}.{key}")
        return values


def options_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only arguments of a function with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    for name, default in options.items():
        if default is inspect.Parameter.empty:
            raise TypeError(f"option {name!r} of {function.__module__}.{function.__qualname__} needs a default value")
    return options


def like(default: object, value: Any, where: str) -> Any:
    """Returns `value` in the type of `default`, or raises `UserError`; a default of None takes anything."""
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{where} must be a finite number, not {value}")
    if default is None or value is None:
        return value
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, tuple):
        items = value if isinstance(value, tuple) else (value,)
        kinds = {type(item) for item in default}
        return tuple(like(default[0], item, where) for item in items) if len(kinds) == 1 else items
    if type(value) is not type(default):
        raise UserError(f"{where} must be {a_name_for(default)} such as {default!r}, not {value!r}")
    return value


def a_name_for(value: object) -> str:
    """The type of a value in plain words."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", tuple: "a list"}
    return names.get(type(value), type(value).__name__)
