"""The values that an option may have: its type hint says them, and they are checked before anything is computed.

def forget(problem, *, lr: Positive = 1e-4, epochs: Count = 3, votes: Literal["soft", "hard"] = "soft"): ...
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from unlearnbench.errors import UserError, unknown


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, in an `Annotated` type hint.

    Attributes:
        low: The least number.
        high: The greatest number.
        above: True if `low` itself does not belong to them.
    """

    low: float
    high: float = math.inf
    above: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return False
        return (self.low < value if self.above else self.low <= value) and value <= self.high

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"more than {self.low:g}" if self.above else f"at least {self.low:g}"
        return f"more than {self.low:g}, at most {self.high:g}" if self.above else f"from {self.low:g} to {self.high:g}"


Count = Annotated[int, Range(0)]
"""A whole number, at least 0, such as a number of epochs."""
Size = Annotated[int, Range(1)]
"""A whole number, at least 1, such as the size of a batch."""
Positive = Annotated[float, Range(0, above=True)]
"""A number above 0, such as a learning rate or a temperature."""
NonNegative = Annotated[float, Range(0)]
"""A number, at least 0, such as a weight in a loss."""
Share = Annotated[float, Range(0, 1)]
"""A number from 0 to 1."""
Allowed = Range | tuple[Any, ...]
"""The values of an option: a range of numbers, or a list."""


def allowed_values(function: Callable[..., Any]) -> dict[str, Allowed]:
    """The values that the options of a function may have, by name; options whose hints say nothing are left out."""
    parameters = inspect.signature(function).parameters.values()
    options = {p.name: allowed_by(hint_of(p.annotation, function)) for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {name: values for name, values in options.items() if values is not None}


def hint_of(annotation: Any, function: Callable[..., Any]) -> Any:
    """A type hint as an object; None if it means nothing at run time."""

    def alone() -> None:
        """Has this type hint only: another one of the function may mean nothing at run time."""

    alone.__annotations__ = {"option": annotation}
    try:
        return get_type_hints(alone, getattr(function, "__globals__", {}), include_extras=True)["option"]
    except Exception:  # a name that is imported for type checkers only
        return None


def allowed_by(hint: Any) -> Allowed | None:
    """The values that a type hint allows; None if it does not say."""
    if get_origin(hint) is Annotated:
        return next((part for part in hint.__metadata__ if isinstance(part, Range)), None)
    if get_origin(hint) is Literal:
        return get_args(hint)
    of_parts = map(allowed_by, get_args(hint))  # of `Positive | None`
    return next((values for values in of_parts if values is not None), None)


def check_allowed(label: str, value: Any, allowed: Allowed | None) -> None:
    """Raises `UserError` unless a value is one of those that its option may have; None always is.

    Args:
        label: What messages call the option.
        value: The value, in the option's type; of a sequence, each part is checked.
        allowed: The values; None: any.
    """
    if allowed is None or value is None:
        return
    for part in value if isinstance(value, tuple) else (value,):
        if part in allowed:
            continue
        if isinstance(allowed, Range):
            raise UserError(f"{label} must be {allowed}, not {part}")
        raise unknown(f"value of {label}:", str(part), map(str, allowed))
