"""What all artefacts have in common: a key, their needs, their cost, and how they are made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

from torch import Tensor

from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.scenario import Scenario
from unlearnbench.storage.keys import digest
from unlearnbench.storage.store import Content, Store


class Context(Protocol):
    """Gives an artefact access to other artefacts and to data, while it is made."""

    store: Store
    datasets: Datasets

    def get(self, artefact: Artefact) -> Content:
        """Reads an artefact, or makes it and everything that it needs."""

    def load(self, scenario: Scenario) -> LoadedScenario:
        """Loads the data of a scenario."""


@dataclass(frozen=True)
class Artefact(ABC):
    """Something that is computed and kept in the cache. A kind of artefact is a subclass in a file of its own.

    Attributes:
        kind: Name of the kind, in keys and messages.
        work: The kind of work that its seconds are booked under; one of `timing.KINDS`.
        key: Everything that goes in.
        scenario: That of the first cell that needs it.
        ep: Its cost, in passes over the training set.
        size: Bytes on disk, roughly.
        needs: The artefacts that it is made of, by role.
    """

    kind: ClassVar[str]
    work: ClassVar[str] = "unlearning"

    key: Mapping[str, Any]
    scenario: Scenario
    ep: float
    size: int
    needs: Mapping[str, Artefact] = field(default_factory=dict)

    @abstractmethod
    def make(self, context: Context) -> Content:
        """Computes the artefact, whether it is in the cache or not.

        Args:
            context: Gives access to other artefacts and to data.

        Returns:
            Tensors by name, and facts about the making as JSON values.
        """

    @property
    def label(self) -> str:
        """Which of its kind it is, for messages."""
        return f"seed {self.scenario.seed}"

    @property
    def total_ep(self) -> float:
        """Its cost, and that of the artefacts made in the same computation."""
        return self.ep

    @cached_property
    def digest(self) -> str:
        """The name of its file."""
        return digest(self.key)

    @property
    def dataset_checksum(self) -> str:
        """The checksum of the data that its key was made of."""
        key = self.key if "dataset" in self.key else self.key["original"]
        checksum: str = key["dataset"]["checksum"]
        return checksum

    def __str__(self) -> str:
        return f"{self.kind} {self.scenario.dataset} {self.scenario.task} {self.label}"


def unmade(artefact: Artefact, store: Store, again: bool = False) -> Iterator[Artefact]:
    """The artefacts that the cache lacks for one, each after its needs, the artefact itself last.

    Args:
        artefact: The artefact.
        store: The cache.
        again: Make this one even if it is there.
    """
    if again or not store.has(artefact.key):
        for needed in artefact.needs.values():
            yield from unmade(needed, store)
        yield artefact


def check_finite(logits: Tensor, name: str) -> None:
    """Raises `FloatingPointError` unless all logits are finite."""
    if not logits.isfinite().all():
        raise FloatingPointError(f"{name} gives outputs that are not finite: it diverged")
