"""The size of a network and the work of training it, without making it."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from unlearnbench.plugins import registry
from unlearnbench.plugins.model import Model

Options = tuple[tuple[str, Any], ...]
Shape = tuple[int, int, int]


@cache
def shapes_of(model: str, options: Options, shape: Shape, num_classes: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's weights and buffers by name.

    Args:
        model: Name of the network.
        options: Its options, resolved.
        shape: Channels, height and width of its input.
        num_classes: Number of classes.
    """
    with torch.device("meta"):
        network = registry.get(Model, model).build(shape, num_classes, **dict(options))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


@cache
def flop_of(model: str, options: Options, shape: Shape, num_classes: int) -> float:
    """Floating-point operations of training on one image, two for each multiplication with its addition.

    Those of convolutions and matrix products, forward and backward, as torch counts them; 0 if they cannot be counted
    without data, because the network branches on values. Arguments as of `shapes_of`.
    """
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            network = registry.get(Model, model).build(shape, num_classes, **dict(options))
            network(torch.rand(2, *shape)).sum().backward()
    except Exception:  # whatever a plugin's network raises where there are no values
        return 0.0
    return float(counter.get_total_flops()) / 2
