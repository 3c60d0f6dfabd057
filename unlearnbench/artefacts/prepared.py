"""A method's preparation: its work before anyone asks to be forgotten, such as the training of SISA's shards."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.original import Original
from unlearnbench.artefacts.plugin_keys import plugin_key
from unlearnbench.artefacts.training import room_for, wait_for
from unlearnbench.artefacts.versions import core, of_plugin
from unlearnbench.plugins import registry
from unlearnbench.plugins.fingerprint import fingerprint
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.problem import Problem, View, view_to_prepare
from unlearnbench.runtime import seeds
from unlearnbench.runtime.time_limit import limited
from unlearnbench.storage.store import Made
from unlearnbench.training import loop

if TYPE_CHECKING:
    from unlearnbench.artefacts.context import WorkerContext


@dataclass(frozen=True)
class MethodArtefact(Artefact):
    """An artefact that a method makes.

    Attributes:
        method: Name of the method.
        options: The hyperparameters that it is called with, resolved.
    """

    method: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Which of its kind it is, for messages."""
        return f"{self.method} seed {self.scenario.seed}"

    def method_as_planned(self) -> Method:
        """The method; its code must still be the code that the key was made of.

        Raises:
            RuntimeError: If the code was edited in the meantime: the result would be kept under a wrong key.
        """
        method = registry.get(Method, self.method)
        present = fingerprint.__wrapped__(method.__module__)
        if of_plugin("methods", self.method, present) != self.key["method"]["code"]:
            raise RuntimeError(f"the code of {self.method} was edited while it ran: run the same command again")
        return method

    def problem(
        self,
        context: WorkerContext,
        view: View,
        generator: torch.Generator,
        stream: Sequence[str | int],
        start: Mapping[str, torch.Tensor] | None = None,
    ) -> Problem:
        """The input of the method.

        Args:
            context: Gives access to the original and to the preparation.
            view: The data that the method may see.
            generator: For its random draws.
            stream: The name of its random numbers.
            start: The weights of the network that it starts from, if that is not the original.
        """
        loaded = context.load(self.scenario)
        weights, _ = context.get(self.needs["original"])
        prepared = context.get(self.needs["prepared"])[0] if "prepared" in self.needs else {}
        return Problem(
            original=loaded.builder.trained(weights).requires_grad_(False).eval(),
            recipe=self.scenario.recipe,
            num_classes=loaded.content.num_classes,
            device=loaded.device,
            generator=generator,
            prepared={name: tensor.to(loaded.device) for name, tensor in prepared.items()},
            _builder=loaded.builder,
            _view=view,
            _stream=stream,
            _start=loaded.builder.trained(start) if start else None,
            _room=room_for(loaded),
        )


@dataclass(frozen=True)
class Prepared(MethodArtefact):
    """The tensors that a method's preparation returns."""

    kind: ClassVar[str] = "prepared"

    @classmethod
    def of(cls, loaded: LoadedScenario, name: str, options: Mapping[str, Any]) -> Prepared:
        """The preparation of a method; a method that prepares like another one shares that one's.

        Args:
            loaded: The scenario.
            name: Name of the method.
            options: The hyperparameters of its preparation, resolved.
        """
        method, original = registry.get(Method, name), Original.of(loaded)
        if method.like and registry.get(Method, method.like).preparation is method.preparation:
            return cls.of(loaded, method.like, options)
        key = {
            "kind": cls.kind,
            "original": original.key,
            "method": plugin_key(Method, name, options),
            "seed": loaded.scenario.seed,
            "code": core(cls.kind),
        }
        ep = method.prepare_cost(loaded.scenario.recipe, **options)
        return cls(key, loaded.scenario, ep, 0, {"original": original}, name, options)

    def make(self, context: WorkerContext) -> Made:
        """Runs the method's preparation."""
        method, scenario = self.method_as_planned(), self.scenario
        assert method.preparation is not None
        loaded = context.load(scenario)
        stream = (*scenario.origin, scenario.seed, self.method, "prepare")
        generator = seeds.generator(*stream)
        view = view_to_prepare(loaded.training_set(loaded.content, loaded.split), method.access, generator)
        problem = self.problem(context, view, generator, stream)
        start = time.perf_counter()
        with seeds.pinned(*stream, "global"), loop.computing(scenario.recipe, loaded.device), limited():
            tensors = method.preparation(problem, **self.options)
        wait_for(loaded.device)
        return tensors, {"seconds": {"prepare": time.perf_counter() - start}}
