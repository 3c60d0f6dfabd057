"""The recipe for training a network, as plain values; loop.py applies it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from unlearnbench.errors import UserError, unknown

OPTIMIZERS = ("adam", "sgd")
PRECISIONS = ("fp32", "bf16", "auto")
LEAST = {"weight_decay": 0, "momentum": 0, "batch": 1, "epochs": 0, "resize": 0}
"""The smallest values of what may not be smaller."""


@dataclass(frozen=True)
class Recipe:
    """Cross-entropy at a constant learning rate; the defaults are the LAF paper's.

    Attributes:
        optimizer: "adam" or "sgd".
        lr: Learning rate.
        weight_decay: The optimiser's `weight_decay`, an L2 penalty.
        momentum: For "sgd".
        batch: Images per step.
        epochs: Passes over the training set; 0 if the recipe trains nothing, because networks are supplied.
        resize: Height and width to which images are resized, in training and evaluation; 0: not resized.
        augment: Random changes of training images, by name; see `unlearnbench.training.augmentation`.
        precision: "fp32", "bf16", or "auto": bf16 where it was measured to be as good and is fast; see precision.py.
        held_out: Share of the training images, in [0, 1), that no network is trained on: validation samples for methods
            that select one of several networks. They are the same in every cell of a data set.

    Raises:
        UserError: If a value is out of range.
    """

    optimizer: str = "adam"
    lr: float = 1e-4
    weight_decay: float = 1e-4
    momentum: float = 0.0
    batch: int = 32
    epochs: int = 20
    resize: int = 0
    augment: tuple[str, ...] = ()
    precision: str = "fp32"
    held_out: float = 0.0

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if not 0 < self.lr < math.inf:
            raise UserError(f"recipe.lr must be above 0, not {self.lr}")
        for name, least in LEAST.items():
            if not least <= getattr(self, name) < math.inf:
                raise UserError(f"recipe.{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.held_out < 1:
            raise UserError(f"recipe.held_out must lie in [0, 1), not {self.held_out}")

    def frozen_cost(self, passes: float, once: float = 1.0) -> float:
        """The ep of forward passes of a frozen network, whose embeddings `problem.features` keeps if it can.

        Args:
            passes: All passes over the training set; they count if images are augmented, so that none repeats.
            once: The passes over different images; only they count if images are not augmented.
        """
        return (passes if self.augment else once) / 3

    def values(self) -> dict[str, Any]:
        """The recipe as JSON values."""
        return {**vars(self), "augment": list(self.augment)}
