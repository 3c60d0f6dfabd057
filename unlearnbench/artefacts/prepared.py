"""A method's preparation: its work before anyone asks to be forgotten, such as the training of SISA's shards."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from unlearnbench.artefacts.artefact import Artefact, Context
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.original import Original
from unlearnbench.artefacts.plugin_keys import plugin_key
from unlearnbench.artefacts.sizes import SINGLE
from unlearnbench.artefacts.training import room_for, wait_for
from unlearnbench.artefacts.versions import core, of_plugin
from unlearnbench.errors import UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.contract import naming
from unlearnbench.plugins.fingerprint import CORE, current_fingerprint
from unlearnbench.plugins.method import Method, require_prepared
from unlearnbench.plugins.problem import Assembly
from unlearnbench.runtime import seeds
from unlearnbench.runtime.time_limit import limited
from unlearnbench.storage.store import Content
from unlearnbench.training import loop


def stream_of(name: str) -> str:
    """A method in the names of streams of random numbers.

    A built-in method has its own name. Any other has that of its function, so that it draws the same numbers whether
    its file or an installed package is used, whatever this calls it.
    """
    if registry.entry("methods", name).origin == CORE:
        return name
    function = registry.get(Method, name).function
    return str(getattr(function, "__name__", name)).replace("_", "-")


def method_key(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a key that stands for a method, and for the random numbers that it draws."""
    stream = stream_of(name)
    return {**plugin_key(Method, name, options), **({} if stream == name else {"stream": stream})}


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

    @property
    def stream(self) -> str:
        """Its method in the names of streams of random numbers."""
        return stream_of(self.method)

    def method_as_planned(self) -> Method:
        """The method; its code must still be the code that the key was made of.

        Raises:
            RuntimeError: If the code was edited in the meantime: the result would be kept under a wrong key.
        """
        method = registry.get(Method, self.method)
        present = current_fingerprint(method.__module__)
        if of_plugin("methods", self.method, present) != self.key["method"]["code"]:
            raise RuntimeError(f"the code of {self.method} was edited while it ran: run the same command again")
        return method

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Raises `UserError`, in a block, where batch normalisation gets a single value."""
        try:
            yield
        except ValueError as error:
            if SINGLE not in str(error):
                raise
            raise UserError(
                f"{self.method} trains {self.scenario.model} on a batch of one sample, which its batch normalisation "
                "cannot normalise: make the forget set larger than one sample, and batches too, or keep the network in "
                "eval mode"
            ) from error

    def assembly(self, context: Context) -> Assembly:
        """Assembles the problems of the scenario."""
        loaded = context.load(self.scenario)
        weights, _ = context.get(self.needs["original"])
        return Assembly(
            training_set=loaded.training_set(loaded.content, loaded.split),
            original=loaded.builder.trained(weights),
            recipe=self.scenario.recipe,
            builder=loaded.builder,
            room=room_for(loaded),
            trainer=self.scenario.supplied.trainer,
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
            "method": method_key(name, options),
            "seed": loaded.scenario.seed,
            "code": core(cls.kind),
        }
        with naming(f"method {name}"):
            ep = method.ep_to_prepare(loaded.scenario.recipe, options)
        return cls(key, loaded.scenario, ep, 0, {"original": original}, name, options)

    def make(self, context: Context) -> Content:
        """Runs the method's preparation."""
        method, scenario = self.method_as_planned(), self.scenario
        assert method.preparation is not None
        device = context.load(scenario).device
        stream = (*scenario.origin, scenario.seed, self.stream, "prepare")
        problem = self.assembly(context).to_prepare(method.access, stream)
        start = time.perf_counter()
        with seeds.pinned(*stream, "global"), loop.computing(scenario.recipe, device), limited(), self.explaining():
            tensors = method.preparation(problem, **self.options)
        wait_for(device)
        with naming(f"method {self.method}"):
            require_prepared(tensors)
        return tensors, {"seconds": {"prepare": time.perf_counter() - start}}
