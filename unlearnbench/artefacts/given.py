"""Given weights: a network that was made elsewhere, which a cell starts from or evaluates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from unlearnbench.artefacts.artefact import Artefact, Context
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.unlearned import Outputs
from unlearnbench.artefacts.weights import Weights
from unlearnbench.errors import UserError
from unlearnbench.storage.keys import digest
from unlearnbench.storage.store import Content


@dataclass(frozen=True)
class Given(Artefact):
    """The weights in a user's file, as an artefact in the cache."""

    kind: ClassVar[str] = "given"

    @classmethod
    def of(cls, path: Path, loaded: LoadedScenario) -> Given:
        """Reads a file of weights, checks it and puts it into the cache.

        Args:
            path: The file: safetensors, or `torch.save` of a state_dict.
            loaded: The scenario; its network must have these weights.

        Raises:
            UserError: If the file cannot be read, or has other weights.
        """
        weights = Weights.read(path)
        tensors = loaded.named(weights)
        names = {} if tensors.keys() == weights.tensors.keys() else {"names": digest(dict.fromkeys(tensors, 0))}
        key = {"kind": cls.kind, "sha256": weights.sha256, **names}
        loaded.datasets.store.get_or_make(key, lambda: (tensors, {"seconds": {}}))
        return cls(key, loaded.scenario, 0, 0)

    def make(self, context: Context) -> Content:
        """Raises `UserError`: only the user's file has the weights."""
        raise UserError("the given weights are no longer in the cache: run the same command again")


def outputs_of(given: Given, original: Outputs) -> Outputs:
    """The outputs of a given network.

    Args:
        given: The network.
        original: The outputs of the original in the same scenario: those of the method that changes nothing.
    """
    key, needs = {**original.key, "parent": given.key}, {**original.needs, "parent": given}
    return replace(original, key=key, needs=needs, network=None)


def is_given(outputs: Outputs) -> bool:
    """Whether these are the outputs of a given network, whose cost and access to data are unknown."""
    return isinstance(outputs.needs.get("parent"), Given)
