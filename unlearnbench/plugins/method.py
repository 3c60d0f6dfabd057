"""The contract of methods: a function of a `Problem`, and a declaration of the data that it may see."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Never, TypeVar

from torch import Tensor

from unlearnbench.plugins.access import Access
from unlearnbench.plugins.contract import check_keywords, require
from unlearnbench.plugins.plugin import Plugin, options_of

if TYPE_CHECKING:
    from unlearnbench.plugins.problem import Problem
    from unlearnbench.training.recipe import Recipe

Prepare = TypeVar("Prepare", bound=Callable[..., dict[str, Tensor]])
Cost = TypeVar("Cost", bound=Callable[..., float])
ROLES = ("method", "variant", "ablation", "control")


class Method(Plugin):
    """An unlearning method.

    Args:
        function: `(problem, **hyperparameters) -> network`, where the network may be anything that maps a batch of
            images (float32 [B, C, H, W] in [0, 1]) to logits [B, classes].
        title: The name in tables.
        access: What it may see.
        reference: The paper.
        role: "method", "variant" (of a method), "ablation", or "control" (not a method).
        start: The name of the method whose result this one begins from; "" for the original.
        like: The name of a method whose hyperparameters in presets apply to this one, too, as far as it has them.
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
        self.preparation: Callable[..., dict[str, Tensor]] | None = None
        self._cost: Callable[..., float] | None = None
        self._prepare_cost: Callable[..., float] | None = None

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """Its function, and that of its preparing phase if it has one."""
        return [self.function, *([self.preparation] if self.preparation else [])]

    def prepare(self, function: Prepare) -> Prepare:
        """Registers the preparing phase: work that does not depend on the forget set (a decorator).

        The function `(problem, **hyperparameters) -> dict of tensors` sees `problem.train` and the original; what it
        returns is `problem.prepared` later. Its options join the method's; options of both must have equal defaults.
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

    def cost(self, function: Cost) -> Cost:
        """Registers the cost of forgetting (a decorator); without it tables have no cost in ep.

        The function is `(forget, recipe, *, ...) -> ep`. `forget` is the share of the training set that is forgotten,
        and ep are passes over the training set, forward and backward; a forward pass alone is a third. Its keyword-only
        arguments, without defaults, are the hyperparameters that the cost depends on.
        """
        self._check_hyperparameters(function)
        self._cost = function
        return function

    def prepare_cost(self, function: Cost) -> Cost:
        """Registers the cost of the preparing phase (a decorator); without it tables have no cost in ep.

        The function is `(recipe, *, ...) -> ep`, see `cost`.
        """
        self._check_hyperparameters(function)
        self._prepare_cost = function
        return function

    @property
    def registered(self) -> dict[str, Callable[..., Any]]:
        """The functions that were registered with it, by the name of the decorator that does so."""
        functions = {"prepare": self.preparation, "cost": self._cost, "prepare_cost": self._prepare_cost}
        return {name: function for name, function in functions.items() if function}

    @property
    def undeclared(self) -> list[str]:
        """The costs that it does not declare: "cost", and "prepare_cost" if it has a preparing phase."""
        costs = ("cost", "prepare_cost") if self.preparation else ("cost",)
        return [name for name in costs if name not in self.registered]

    def _check_hyperparameters(self, function: Callable[..., float]) -> None:
        for name in keywords(function):
            if name not in self.defaults:
                raise ValueError(f"{self.title}: its cost depends on {name!r}, which is none of its hyperparameters")

    def ep_to_unlearn(self, forget: float, recipe: Recipe, hyperparameters: Mapping[str, Any]) -> float:
        """The cost in ep of forgetting a share of the training set; it needs values for all hyperparameters.

        A cost that is not declared is estimated as that of retraining, to forecast the time of a run.

        Raises:
            BrokenContractError: If it cannot be computed, or is no finite number from 0 on; likewise the next one.
        """
        function = self._cost or cost_of_retraining
        keywords = taken(function, hyperparameters)
        return passes("cost", "forget, recipe", lambda: function(forget, recipe, **keywords))

    def ep_to_prepare(self, recipe: Recipe, hyperparameters: Mapping[str, Any]) -> float:
        """The cost in ep of the preparing phase; that of training once if it is not declared."""
        function = self._prepare_cost or cost_of_training
        keywords = taken(function, hyperparameters)
        return passes("prepare_cost", "recipe", lambda: function(recipe, **keywords))

    def preparing(self, hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
        """The hyperparameters of the preparing phase."""
        return taken(self.preparation, hyperparameters) if self.preparation else {}

    def unlearn(self, problem: Problem, hyperparameters: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
        """Runs the method and returns the network that has forgotten."""
        network: Callable[[Tensor], Tensor] = self.function(problem, **taken(self.function, hyperparameters))
        return network


def passes(name: str, arguments: str, compute: Callable[[], float]) -> float:
    """The result of a function that was registered as a cost.

    Args:
        name: "cost" or "prepare_cost".
        arguments: Those of the function, for messages.
        compute: Calls it.

    Raises:
        BrokenContractError: If it is no finite number, at least 0.
    """
    try:
        ep = float(compute())
        result = f"returns {ep}"
    except Exception as error:  # anything that a plugin raises
        ep, result = math.nan, f"raises {type(error).__name__}: {error}"
    require(
        math.isfinite(ep) and ep >= 0,
        f"its {name} {result}: the function below @NAME.{name} must take ({arguments}, *, HYPERPARAMETERS) and "
        "return passes over the training set",
    )
    return ep


def require_prepared(prepared: object) -> None:
    """Raises unless a preparing phase has returned a dict of tensors by name, each with memory of its own."""
    require(
        isinstance(prepared, dict)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in prepared.items()),
        "its preparing phase must return a dict of tensors by name, for example a state_dict",
    )
    assert isinstance(prepared, dict)
    places = sorted((t.data_ptr(), t.data_ptr() + t.nbytes, name) for name, t in prepared.items() if t.numel())
    for (_, end, one), (start, _, other) in pairwise(places):
        require(end <= start, f"what it prepares cannot be stored: {one} and {other} share memory, clone one of them")


def require_outputs(logits: object, images: Tensor) -> None:
    """Raises unless a network has returned floats on the device of the images."""
    what, is_right = str(type(logits)), False
    if isinstance(logits, Tensor):
        what = f"{tuple(logits.shape)} {logits.dtype} on {logits.device}"
        is_right = logits.is_floating_point() and logits.device == images.device
    require(
        is_right,
        f"for {len(images)} images its network returns {what}: return floats [B, num_classes] on the device of the "
        "images",
    )


def cost_of_retraining(forget: float, recipe: Recipe) -> float:
    """The ep of training on the retain set."""
    return recipe.epochs * (1 - forget)


def cost_of_training(recipe: Recipe) -> float:
    """The ep of training once on everything."""
    return recipe.epochs


def keywords(function: Callable[..., Any]) -> list[str]:
    """The names of the keyword-only arguments of a function."""
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]


def taken(function: Callable[..., Any], hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters that are arguments of a function."""
    return {name: hyperparameters[name] for name in keywords(function) if name in hyperparameters}


def method(
    *,
    title: str,
    access: Access,
    reference: str = "",
    role: str = "method",
    start: str = "",
    like: str = "",
    **unknown: Never,
) -> Callable[[Callable[..., Any]], Method]:
    """Makes a function `(problem, **hyperparameters) -> network` a method of the suite; see `Method`."""
    check_keywords("@method", unknown)
    return lambda function: Method(
        function, title=title, access=access, reference=reference, role=role, start=start, like=like
    )
