"""A training function of the user's, FILE.py:FUNCTION, which trains networks in place of the suite's own loop."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from unlearnbench.errors import UserError
from unlearnbench.plugins.files import ORIGIN, attribute
from unlearnbench.plugins.fingerprint import fingerprint
from unlearnbench.plugins.model import Network, made_of
from unlearnbench.runtime import seeds
from unlearnbench.storage.folders import expanded
from unlearnbench.training.samples import Samples

ARGUMENTS = "network", "images", "labels", "seed"


@dataclass(frozen=True)
class Trainer:
    """A function `(network, images, labels, seed)` that trains a new network in place.

    It gets what the function of the model returns, the user's own module or a `Network`, with random weights; all
    images (float32 [n, C, H, W] in [0, 1], on the network's device), labels (int64 [n]) and a seed, in [0, 2**32),
    which also seeds the global generators.

    Attributes:
        path: The file.
        function: The name of the function.
    """

    path: Path
    function: str

    @classmethod
    def of(cls, place: str, folder: Path | None = None) -> Trainer:
        """The training function at FILE.py:FUNCTION.

        Args:
            place: The place.
            folder: The folder that FILE.py is relative to; None: the working directory.

        Raises:
            UserError: If this is no such place.
        """
        path, _, function = place.rpartition(":")
        if not path.endswith(".py") or not function:
            raise UserError(f"train must be FILE.py:FUNCTION, with a function ({', '.join(ARGUMENTS)}), not {place!r}")
        return cls((folder or Path()).joinpath(expanded(path)).resolve(), function)

    def __str__(self) -> str:
        return f"{self.path.stem}.{self.function}"

    @property
    def key(self) -> dict[str, str]:
        """The part of a key that stands for it; raises as `imported`."""
        self.imported()
        return {"name": str(self), "code": fingerprint(self.path.stem), "from": f"{ORIGIN} {self.path.name}"}

    def imported(self) -> Callable[..., object]:
        """The function.

        Raises:
            UserError: If the file cannot be imported, or has no such function.
        """
        function = attribute(self.path, self.function)
        try:
            if callable(function):
                inspect.signature(function).bind(*ARGUMENTS)
                return function
        except TypeError:  # other arguments
            pass
        raise UserError(
            f"{self.path}:{self.function} must be a function ({', '.join(ARGUMENTS)}), to train a network in place; "
            "others of its arguments need defaults"
        )

    def fit(self, network: Network, samples: Samples, *stream: str | int) -> None:
        """Trains a network in place; leaves it in the mode in which the function leaves it.

        Args:
            network: A new network.
            samples: Images and labels.
            *stream: Names the random numbers.

        Raises:
            UserError: If the function returns anything but the network or nothing, or changes no weight.
        """
        before = [weights.detach().clone() for weights in network.parameters()]
        with seeds.pinned(*stream, "training"), made_of(network) as module:
            images, seed = samples.images, seeds.derive(*stream, "training") % 2**32
            result = self.imported()(module, images, samples.labels, seed)
        if result is not None and result is not module:
            what = "another network" if isinstance(result, nn.Module) else type(result).__name__
            raise UserError(f"{self} returns {what}: train the network that it gets, and return nothing")
        if all(map(torch.equal, before, network.parameters())):
            raise UserError(f"{self} has changed no weight of the network that it gets: train it in place")
