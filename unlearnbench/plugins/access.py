"""The declaration of the data that a method may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from unlearnbench.plugins.contract import check_keywords

LEVELS = {
    "prepare": (None, "images", "labels"),
    "forget": (None, "classes", "images", "labels"),
    "retain": (None, "images", "labels", "sample-labels"),
    "validation": (None, "images", "labels"),
    "hidden": (None, "size", "status"),
}
"""The levels of access to each part of the data; "labels" includes the images."""


SUPERVISION = "supervision"
"""The hyperparameter that says for which share of the retain set a method gets labels; None: its `Access` says it."""


@dataclass(frozen=True)
class Access:
    """What a method may see of the training set; the suite enforces it.

    A method whose keyword arguments include `supervision` can be given fewer labels: a value in (0, 1] is the share of
    the retain set that has labels, drawn at random and the same for all methods. "sample-labels" then has the labels of
    this share, and "labels" has only this share of the retain set.

    Attributes:
        prepare: The whole training set, in the preparing phase, when the forget set is not known: None, "images" or
            "labels" (with images).
        forget: The forget set: None, "images", "labels", or "classes": only which classes must be forgotten. Where the
            forget set is not all samples of some classes, a method that declares this is not applicable.
        retain: The retain set: None, "images", "labels", or "sample-labels": all images, and the labels of a random
            sample as large as the forget set.
        validation: Samples like the forgotten ones that no network was trained on: None, "images" or "labels". They
            exist only if the recipe holds out a part of the training images.
        hidden: Knowledge about samples of the retain set that must be forgotten although nobody pointed at them: None,
            "size" (how many samples and classes there are) or "status" (which they are). Only Retrain knows the status.
    """

    prepare: str | None = None
    forget: str | None = None
    retain: str | None = None
    validation: str | None = None
    hidden: str | None = None

    def __new__(cls, *levels: object, **named: object) -> Self:
        """Refuses names of an earlier contract with a message that says the new ones."""
        check_keywords("Access", named.keys() - LEVELS.keys())
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value not in LEVELS[name]:
                raise ValueError(f"Access({name}={value!r}): must be one of {LEVELS[name]}")

    def __str__(self) -> str:
        return ", ".join(f"{name}: {value}" for name, value in vars(self).items() if value) or "nothing"
