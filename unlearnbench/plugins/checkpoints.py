"""Checkpoints of training as flat dicts of tensors, which a preparing phase can return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unlearnbench.plugins.model import Network
from unlearnbench.plugins.problem import Problem
from unlearnbench.training.loop import optimizer_of

Checkpoint = tuple[Network, dict[str, Any]]
"""A network and the state of its optimiser, as `problem.fit` returns them."""


def packed(name: str, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Copies of a checkpoint's tensors, by names that begin with `name`; `unpacked` is the inverse."""
    network, state = checkpoint
    tensors = {f"{name}.weights.{key}": tensor.clone() for key, tensor in network.state_dict().items()}
    for number, values in state["state"].items():
        tensors |= {f"{name}.optimizer.{number}.{key}": tensor.clone() for key, tensor in values.items()}
    return tensors


def unpacked(name: str, tensors: Mapping[str, Tensor], problem: Problem) -> Checkpoint:
    """The checkpoint that was packed under `name`: a new network and a state for `problem.fit` to continue from.

    Raises:
        RuntimeError: If there is no checkpoint of that name.
    """
    own = {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}
    network, prefix = problem.fresh_network(), "weights."
    network.load_state_dict({key.removeprefix(prefix): t for key, t in own.items() if key.startswith(prefix)})
    state = optimizer_of(problem.recipe, network.parameters()).state_dict()
    for key in (key for key in own if not key.startswith(prefix)):
        _, number, value = key.split(".")
        state["state"].setdefault(int(number), {})[value] = own[key].clone()
    return network, state
