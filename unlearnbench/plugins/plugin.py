"""The common part of all plugins: a function, its title and reference, and its options."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar

from unlearnbench.errors import UserError, unknown
from unlearnbench.plugins.contract import fail, naming, require
from unlearnbench.plugins.fingerprint import CORE
from unlearnbench.plugins.ranges import Allowed, allowed_values, check_allowed
from unlearnbench.storage.keys import canonical

ARGUMENTS = {"method": 1, "task": 2, "dataset": 1, "model": 2, "attack": 1}
"""The number of arguments of a plugin's function beside its options."""


class Plugin:
    """A function together with its description.

    Args:
        function: The code. Its keyword-only arguments are the plugin's options and must have defaults of a type that
            JSON knows (numbers, strings, booleans, None, tuples of these). Type hints may say which values are allowed;
            see `ranges`.
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
        self._has_right_options = False
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]

    @property
    def notes(self) -> str:
        """The rest of the docstring in one line: choices, and differences from the reference."""
        return " ".join((inspect.getdoc(self.function) or "").partition("\n")[2].split())

    @property
    def home(self) -> str:
        """The package of its code; for a built-in plugin its module."""
        package = self.__module__.partition(".")[0]
        return self.__module__ if package == CORE else package

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """All functions that take its options."""
        return [self.function]

    @cached_property
    def allowed(self) -> dict[str, Allowed]:
        """The values that options may have, by name, as far as type hints say them."""
        return {name: values for function in self.functions for name, values in allowed_values(function).items()}

    @property
    def registered(self) -> dict[str, Callable[..., Any]]:
        """The functions that were registered with it, by the name of the decorator that does so."""
        return {}

    def check_options(self, name: str) -> None:
        """Raises `BrokenContractError` unless the options are keywords, of types that records can keep.

        Args:
            name: The plugin's name on the command line, for messages.
        """
        if not self._has_right_options:
            with naming(f"{self.kind} {name}"):
                require_keywords(self)
                require_plain_options(self)
        self._has_right_options = True

    def resolve(self, name: str, *layers: Mapping[str, Any]) -> dict[str, Any]:
        """The values of all options: the defaults, overridden by each layer in turn.

        Args:
            name: The plugin's name on the command line, for messages.
            *layers: Values by option name; later ones win.

        Returns:
            A value for every option; sequences are tuples.

        Raises:
            UserError: If an option is unknown, its value has another type than the default or is not allowed, or if
                the plugin's options break the contract.
        """
        self.check_options(name)
        values, allowed = dict(self.defaults), self.allowed if any(layers) else {}
        for layer in layers:
            for key, value in layer.items():
                if key not in self.defaults:
                    raise unknown(f"option of {self.kind} {name!r}:", key, self.defaults)
                values[key] = like(self.defaults[key], value, f"{name}.{key}")
                check_allowed(f"{name}.{key}", values[key], allowed.get(key))
        return values


def require_keywords(plugin: Plugin) -> None:
    """Raises unless options are keyword-only arguments."""
    for function in plugin.functions:
        parameters = list(inspect.signature(function).parameters.values())[ARGUMENTS[plugin.kind] :]
        loose = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        require(not loose, f"put a star before {', '.join(loose)}, `*, {', '.join(loose)}`: options are keyword-only")


def require_plain_options(plugin: Plugin) -> None:
    """Raises unless the options are numbers, strings, true or false, None, or flat tuples of these, and allowed."""
    for name, value in plugin.defaults.items():
        require(
            survives_json(value) and not isinstance(value, dict),
            f"option {name} is {value!r}, which JSON does not keep: use a number, a string, true or false, None or a "
            "flat tuple of these",
        )
        try:
            check_allowed(f"the default of option {name}", value, plugin.allowed.get(name))
        except UserError as error:
            fail(str(error))


def survives_json(value: object) -> bool:
    """True if an option has the same value after it was written as JSON and read again."""
    try:
        read = like(value, json.loads(canonical(value)), "option")
    except (TypeError, ValueError, UserError):
        return False
    return bool(read == value)


def options_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only arguments of a function with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    options = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    for name, default in options.items():
        if default is inspect.Parameter.empty:
            raise TypeError(f"option {name!r} of {function.__module__}.{function.__qualname__} needs a default value")
    return options


def like(default: object, value: Any, label: str) -> Any:
    """The value in the type of the default; a default of None accepts any type.

    Args:
        default: A value of the right type.
        value: What was given.
        label: What messages call the option.

    Raises:
        UserError: If the value has another type, or is not finite.
    """
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{label} must be a finite number, not {value}")
    if default is None or value is None:
        return value
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, tuple):
        elements = value if isinstance(value, tuple) else (value,)
        types = {type(element) for element in default}
        return tuple(like(default[0], element, label) for element in elements) if len(types) == 1 else elements
    if type(value) is not type(default):
        raise UserError(f"{label} must be {type_in_words(default)} such as {default!r}, not {value!r}")
    return value


def type_in_words(value: object) -> str:
    """The type of a value in plain words."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", tuple: "a list"}
    return names.get(type(value), type(value).__name__)
