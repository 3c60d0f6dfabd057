"""Superclasses: a coarser level of a dataset's labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Taxonomy:
    """Superclasses of a dataset's classes.

    Attributes:
        parents: For each class the number of its superclass, from 0 on and without gaps.
        names: The name of each superclass.
        classes: The name of each class.
    """

    parents: tuple[int, ...]
    names: tuple[str, ...]
    classes: tuple[str, ...]

    @classmethod
    def of(cls, groups: Mapping[str, Sequence[int]], classes: Sequence[str]) -> Self:
        """The taxonomy of some groups.

        Args:
            groups: The classes of each superclass, by its name. A class must be in exactly one.
            classes: The name of each class.

        Raises:
            ValueError: If a class is in none or in several.
        """
        members = sorted(label for group in groups.values() for label in group)
        if members != list(range(len(classes))):
            raise ValueError(f"each of the {len(classes)} classes must be in one superclass, not {members}")
        parents = {label: number for number, group in enumerate(groups.values()) for label in group}
        return cls(tuple(parents[label] for label in range(len(classes))), tuple(groups), tuple(classes))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Reads what `as_json` gives."""
        return cls(**{name: tuple(value) for name, value in values.items()})

    def as_json(self) -> dict[str, Any]:
        """Its attributes as JSON values."""
        return {name: list(value) for name, value in vars(self).items()}

    def superclasses(self, labels: Tensor) -> Tensor:
        """int64 [n]: the superclass of each of these classes (int64 [n])."""
        return torch.tensor(self.parents)[labels]

    def family(self, classes: Iterable[int]) -> tuple[int, ...]:
        """All classes of the superclasses of some classes, ascending."""
        parents = {self.parents[label] for label in classes}
        return tuple(label for label, parent in enumerate(self.parents) if parent in parents)

    def named(self, classes: Iterable[int]) -> str:
        """Classes in words, e.g. "0 (zero), 9 (nine)"."""
        return ", ".join(f"{label} ({self.classes[label]})" for label in classes)
