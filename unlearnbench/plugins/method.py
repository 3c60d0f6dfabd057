"""What a method is: a function of a `Problem`, and a declaration of what it may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from unlearnbench.plugins.plugin import Plugin, options_of

if TYPE_CHECKING:
    from unlearnbench.plugins.problem import Problem

LEVELS = {
    "prepare": (None, "images", "labels"),
    "forget": (None, "images", "labels"),
    "retain": (None, "images", "labels", "sample-labels"),
    "validation": (None, "images", "labels"),
}
ROLES = ("method", "variant", "ablation", "control")


@dataclass(frozen=True)
class Access:
    """What a method may see of the training set; the suite enforces it.

    Attributes:
        prepare: Of the whole training set, before anybody asks to be forgotten: None, "images" or "labels".
        forget: Of the items to be forgotten: None, "images" or "labels".
        retain: Of the others: None, "images", "labels", or "sample-labels": images of all, and labels of a random
            sample as large as the forget set.
        validation: Of items like the forgotten ones that no network was trained on: None, "images" or "labels". There
            are some only where the recipe holds a part of the training images out.
    """

    prepare: str | None = None
    forget: str | None = None
    retain: str | None = None
    validation: str | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value not in LEVELS[name]:
                raise ValueError(f"Access({name}={value!r}): must be one of {LEVELS[name]}")

    def __str__(self) -> str:
        return ", ".join(f"{name}: {value}" for name, value in vars(self).items() if value) or "nothing"


class Method(Plugin):
    """A way to forget.

    Args:
        function: `(problem, **hyperparameters) -> network`, where the network may be anything that maps a batch of
            images (float32 [B, C, H, W] in [0, 1]) to logits [B, classes].
        title: The name in tables.
        access: What it may see.
        reference: The paper.
        role: "method", "variant" (of a method), "ablation", or "control" (no method at all).
        start: The name of the method whose result this one begins from; "" for the original.
        like: The name of a method whose hyperparameters in presets hold for this one, too, as far as it has them.
        cost: `(forget, recipe, **hyperparameters) -> ep`: passes over the training set, forward and backward (forward
            alone is a third), if the share `forget` of it is to be forgotten. A method that does not say counts like
            Retrain.
        prepare_cost: `(recipe, **hyperparameters) -> ep` of the first phase; training once for who does not say.
    """

    kind = "method"

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        title: str,
        access: Access,
        reference: str = "",
        role: str = "method",
        start: str = "",
        like: str = "",
        cost: Callable[..., float] | None = None,
        prepare_cost: Callable[..., float] | None = None,
    ) -> None:
        super().__init__(function, title=title, reference=reference)
        if not isinstance(access, Access):
            raise TypeError(f"{title}: access must be Access(...), not {access!r}")
        if role not in ROLES:
            raise ValueError(f"role {role!r} must be one of {ROLES}")
        self.access = access
        self.role = role
        self.start = start
        self.like = like
        self.cost = cost or (lambda forget, recipe, **_: recipe.epochs * (1 - forget))
        self.prepare_cost = prepare_cost or (lambda recipe, **_: recipe.epochs)
        self.preparation: Callable[..., dict[str, Tensor]] | None = None

    def prepare(self, function: Callable[..., dict[str, Tensor]]) -> Callable[..., dict[str, Tensor]]:
        """Registers the work that can be done before anyone asks to be forgotten (a decorator).

        The function `(problem, **hyperparameters) -> dict of tensors` sees `problem.train` and the original; what it
        returns is `problem.prepared` later. Its options join the method's; where both have one, the defaults agree.
        """
        if self.access.prepare is None:
            raise ValueError(f"{self.title}: declare Access(prepare=...) for the preparing phase")
        options = options_of(function)
        for name in options.keys() & self.defaults.keys():
            if options[name] != self.defaults[name]:
                raise ValueError(f"{self.title}: {name!r} has two defaults, {options[name]} and {self.defaults[name]}")
        self.defaults |= options
        self.preparation = function
        return function

    def preparing(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """Those hyperparameters that the first phase takes."""
        names = options_of(self.preparation) if self.preparation else {}
        return {name: value for name, value in hyperparameters.items() if name in names}

    def unlearn(self, problem: Problem, hyperparameters: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
        """Runs the second phase and returns the network that has forgotten."""
        names = options_of(self.function)
        chosen = {name: value for name, value in hyperparameters.items() if name in names}
        network: Callable[[Tensor], Tensor] = self.function(problem, **chosen)
        return network


def method(
    *,
    title: str,
    access: Access,
    reference: str = "",
    role: str = "method",
    start: str = "",
    like: str = "",
    cost: Callable[..., float] | None = None,
    prepare_cost: Callable[..., float] | None = None,
) -> Callable[[Callable[..., Any]], Method]:
    """Makes a function `(problem, **hyperparameters) -> network` a method of the suite; see `Method`."""
    return lambda function: Method(
        function,
        title=title,
        access=access,
        reference=reference,
        role=role,
        start=start,
        like=like,
        cost=cost,
        prepare_cost=prepare_cost,
    )
