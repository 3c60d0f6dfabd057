"""Spaces of hyperparameters, and the points of them that are tried: the default, then a scrambled Sobol sequence."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from unlearnbench.errors import UserError

FILE = Path(__file__).with_name("spaces.toml")
SEED = 0
"""Of the scrambling, the same for every method."""
DIGITS = 2
"""The significant digits of drawn values: people copy them."""
EXHAUSTED = 256
"""The length of the sequence after which a small space has no further points."""

Point = Mapping[str, Any]


@dataclass(frozen=True)
class Range:
    """A range from which values are drawn log-uniformly.

    Attributes:
        low: The lowest value, above 0.
        high: The highest value, above `low`.
    """

    low: float
    high: float

    def at(self, share: float) -> float:
        """The value at a share in [0, 1) of the range, rounded to `DIGITS` significant digits."""
        value = math.exp(math.log(self.low) + share * math.log(self.high / self.low))
        return float(f"{value:.{DIGITS - 1}e}")


@dataclass(frozen=True)
class Choices:
    """Values of which each is as likely as the others."""

    values: Sequence[Any]

    def at(self, share: float) -> Any:
        """The value at a share in [0, 1) of the list."""
        return self.values[int(share * len(self.values))]


Space = Mapping[str, Range | Choices]
"""A range or choices by name of the hyperparameter."""


@cache
def declared() -> dict[str, Space]:
    """The spaces of the suite's own methods, by name of the method."""
    content = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {
        method: {name: parsed(name, value) for name, value in entry.items() if name != "source"}
        for method, entry in content.items()
    }


def space_of(method: str) -> Space:
    """The declared space of a method.

    Raises:
        UserError: If it has none.
    """
    if method not in declared():
        raise UserError(f"no space is declared for {method}: give one, e.g. --space lr=1e-5:1e-2 --space epochs=1,3")
    return declared()[method]


def parsed(name: str, value: object) -> Range | Choices:
    """A range `{low, high}` or a list of choices.

    Raises:
        UserError: If it is neither.
    """
    match value:
        case {"low": float() | int() as low, "high": float() | int() as high, **rest} if 0 < low < high and not rest:
            return Range(float(low), float(high))
        case [_, *_]:
            return Choices(list(value))
    raise UserError(f"{name} needs a range LOW:HIGH with 0 < LOW < HIGH, or values V1,V2,..., not {value!r}")


def points_of(space: Space, default: Point, count: int) -> list[Point]:
    """The points that are tried: the default, then the first ones of a scrambled Sobol sequence that differ.

    Args:
        space: What is drawn.
        default: The values that the method has without tuning.
        count: How many; fewer if the space has fewer.
    """
    from scipy.stats import qmc

    points: list[Point] = [{name: default[name] for name in space}]
    shares = qmc.Sobol(len(space), scramble=True, seed=SEED).random(EXHAUSTED)
    for row in shares:
        if len(points) == count:
            break
        point = {name: values.at(float(share)) for (name, values), share in zip(space.items(), row, strict=True)}
        if point not in points:
            points.append(point)
    return points[:count]


def at_edge(space: Space, best: Point, tried: Sequence[Point]) -> list[str]:
    """The hyperparameters drawn from a range whose chosen value is the lowest or the highest that was tried."""
    ranges = [name for name, values in space.items() if isinstance(values, Range)]
    limits = {name: [point[name] for point in tried] for name in ranges}
    return [name for name, values in limits.items() if best[name] in (min(values), max(values))]
