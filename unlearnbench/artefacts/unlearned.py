"""Unlearning: the outputs of an unlearned network, and its weights where another method starts from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from unlearnbench.artefacts.artefact import Artefact, Context, check_finite
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.original import Original
from unlearnbench.artefacts.prepared import MethodArtefact, Prepared, method_key
from unlearnbench.artefacts.training import wait_for
from unlearnbench.artefacts.versions import core
from unlearnbench.errors import NotApplicableError, StorageError, UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.access import SUPERVISION
from unlearnbench.plugins.contract import BrokenContractError, naming
from unlearnbench.plugins.method import Method, require_outputs
from unlearnbench.plugins.model import Network, require_each_alone
from unlearnbench.plugins.problem import retained
from unlearnbench.runtime import seeds
from unlearnbench.runtime.time_limit import limited
from unlearnbench.storage.store import Content
from unlearnbench.training import loop

Function = Callable[[Tensor], Tensor]
"""What a method returns: images (float32 [B, C, H, W] in [0, 1]) to logits [B, classes]."""


FEW = 8
"""How many images an unlearned network is also applied to one by one."""
IDENTIFIED = "identified"
"""The part of outputs that has the positions of samples that a method took for hidden ones."""


class ParentFailedError(Exception):
    """The method that a cell starts from has no result."""


class Unlearned(NamedTuple):
    """The result of a method.

    Attributes:
        network: The unlearned network.
        hidden: int64, positions in the training set of the samples that the method took for hidden ones; None if it
            reported none.
        info: "seconds" by phase, those of the methods that it starts from included.
    """

    network: Function
    hidden: Tensor | None
    info: dict[str, Any]


@dataclass(frozen=True)
class Unlearning(MethodArtefact):
    """An artefact for which a method must unlearn."""

    def unlearn(self, context: Context) -> Unlearned:
        """Runs the method."""
        method, scenario, loaded = self.method_as_planned(), self.scenario, context.load(self.scenario)
        stream = (*scenario.origin, scenario.task, scenario.seed, self.stream)
        start = parent_weights(self.needs["parent"], context) if "parent" in self.needs else None
        problem = self.assembly(context).to_forget(
            method.access,
            stream,
            loaded.split.forget,
            labelled=labelled_part(loaded, self.options.get(SUPERVISION)),
            hidden=loaded.split.hidden,
            validation=loaded.validation_set() if method.access.validation else None,
            prepared=context.get(self.needs["prepared"])[0] if "prepared" in self.needs else None,
            start=loaded.builder.trained(start) if start else None,
        )
        seconds = {"prepare": 0.0, "unlearn": 0.0}
        for role in self.needs.keys() & {"prepared", "parent"}:
            for phase, spent in context.get(self.needs[role])[1]["seconds"].items():
                seconds[phase] += spent
        began = time.perf_counter()
        computing = loop.computing(scenario.recipe, loaded.device)
        with seeds.pinned(*stream, "global"), computing, limited(), self.explaining():
            network = method.unlearn(problem, self.options)
        if not callable(network):
            raise BrokenContractError(f"method {self.method} returned {type(network).__name__}, not a network")
        wait_for(loaded.device)
        seconds["unlearn"] += time.perf_counter() - began
        return Unlearned(network, problem.reported, {"seconds": seconds})


@dataclass(frozen=True)
class UnlearnedNetwork(Unlearning):
    """The weights of an unlearned network from which other methods start."""

    kind: ClassVar[str] = "network"

    def make(self, context: Context) -> Content:
        """Unlearns."""
        network, _, info = self.unlearn(context)
        weights = weights_of(network)
        if weights is None:
            raise TypeError(f"{self.method} gives no network of the suite, so no other method can start from it")
        return weights, info


@dataclass(frozen=True)
class Outputs(Unlearning):
    """The logits of an unlearned network on all training and test images.

    If the recipe augments, also on training images that are augmented as in training, for protocol `released`. If the
    method reported samples that it takes for hidden ones, also their positions in the training set.

    Attributes:
        network: The network, if others start from it: it is kept as a by-product.
    """

    kind: ClassVar[str] = "outputs"

    network: UnlearnedNetwork | None = None

    @classmethod
    def of(
        cls,
        loaded: LoadedScenario,
        name: str,
        options: Mapping[str, Any],
        parent: Outputs | None = None,
        is_parent: bool = False,
    ) -> Outputs:
        """The outputs of a method.

        Args:
            loaded: The scenario.
            name: Name of the method.
            options: Its hyperparameters, resolved.
            parent: The outputs of the method that it starts from; None if that is the original.
            is_parent: Whether other methods start from this one.
        """
        method, original = registry.get(Method, name), Original.of(loaded)
        needs: dict[str, Artefact] = {"original": original}
        if method.preparation:
            needs["prepared"] = Prepared.of(loaded, name, method.preparing(options))
        if parent:
            needs["parent"] = parent.weights
        key = {
            "kind": cls.kind,
            "original": original.key,
            "parent": needs["parent"].key if parent else None,
            "task": loaded.task_key,
            "method": method_key(name, options),
            "seed": loaded.scenario.seed,
            "code": core(cls.kind),
        }
        with naming(f"method {name}"):
            check_names(method)
            knows = method.access.hidden == "status"
            share = loaded.forgotten_with_hidden if knows else loaded.forgotten
            ep = method.ep_to_unlearn(share, loaded.scenario.recipe, options)
        network = None
        if is_parent:
            key_of_network = {**key, "kind": UnlearnedNetwork.kind}
            size = loaded.weights_size
            network = UnlearnedNetwork(key_of_network, loaded.scenario, ep, size, needs, name, options)
        return cls(key, loaded.scenario, ep, loaded.logits_size, needs, name, options, network)

    @property
    def weights(self) -> Artefact:
        """The artefact with the weights of its network, if other methods start from it; the user may supply them."""
        return self.network or self.needs["parent"]

    def make(self, context: Context) -> Content:
        """Unlearns, keeps the network if others start from it, and applies it to all images."""
        network, hidden, info = self.unlearn(context)
        outputs = self.predict(network, context) | ({} if hidden is None else {IDENTIFIED: hidden})
        weights = weights_of(network)
        if self.network and weights is not None:
            context.store.save(self.network.key, weights, info)
        return outputs, info

    def predict(self, network: Function, context: Context) -> dict[str, Tensor]:
        """The logits of a network, by part.

        Raises:
            BrokenContractError: If they are no floats, or those for an image depend on the others of its batch.
            ValueError: If their shape is wrong.
            FloatingPointError: If they are not finite.
        """
        scenario, loaded = self.scenario, context.load(self.scenario)
        pipeline = scenario.pipeline
        train = loaded.content.train_images.to(loaded.device)
        test = loaded.content.test_images.to(loaded.device)
        stream = (*scenario.origin, scenario.task, scenario.seed, self.stream, "outputs")

        def checked(images: Tensor) -> Tensor:
            outputs = network(images)
            with naming(f"method {self.method}"):
                require_outputs(outputs, images)
            return outputs

        with (
            seeds.pinned(*stream),
            limited(),
            loop.in_eval_mode(network),
        ):  # a method may return something that is random, or that never ends
            logits = {
                "train": loop.predict(checked, train, pipeline.plain),
                "test": loop.predict(checked, test, pipeline.plain),
            }
            if pipeline.augment:
                generator = seeds.generator(*scenario.origin, scenario.seed, "augmented outputs")
                augmented = partial(pipeline.augmented, generator=generator)
                logits["train_augmented"] = loop.predict(checked, train, augmented)
        for part, values in logits.items():
            shape = (len(test) if part == "test" else len(train), loaded.num_classes)
            if values.shape != shape:
                raise ValueError(f"{self.method} gives outputs of shape {tuple(values.shape)} instead of {shape}")
            check_finite(values, self.method)
        with naming(f"method {self.method}"), limited(), loop.in_eval_mode(network):
            require_each_alone(network, pipeline.plain(train[:FEW]))
        return logits


def labelled_part(loaded: LoadedScenario, share: float | None) -> Tensor | None:
    """int64: the positions of the retained samples that have labels, ascending; None if no share is given.

    They are the same for all methods of a scenario, and those of a smaller share are among those of a larger one.
    """
    if share is None:
        return None
    scenario, retain = loaded.scenario, retained(len(loaded.content.train_labels), loaded.split.forget)
    generator = seeds.generator(*scenario.origin, scenario.task, scenario.seed, SUPERVISION)
    count = max(1, round(share * len(retain)))
    return retain[torch.randperm(len(retain), generator=generator)[:count]].sort().values


def check_names(method: Method) -> None:
    """Raises `BrokenContractError` unless the method that another one is like is installed."""
    if method.like:
        try:
            registry.get(Method, method.like)
        except UserError as error:
            raise BrokenContractError(f"like={method.like!r}: {error}") from error


def parent_weights(parent: Artefact, context: Context) -> dict[str, Tensor]:
    """The weights of the network that a method starts from.

    Raises:
        ParentFailedError: If they cannot be made.
        NotApplicableError: If that method cannot serve the task.
    """
    try:
        return context.get(parent)[0]
    except (StorageError, NotApplicableError):
        raise
    except (Exception, SystemExit) as error:  # whatever the parent's code raised
        name = parent.method if isinstance(parent, MethodArtefact) else parent
        raise ParentFailedError(f"{name} failed: {type(error).__name__}: {error}") from error


def weights_of(network: object) -> dict[str, Tensor] | None:
    """The weights of a network of the suite; None of anything else, which cannot be rebuilt from weights."""
    return network.state_dict() if type(network) is Network else None
