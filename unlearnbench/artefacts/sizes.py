"""The size of a network and the work of training it, without making it."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from unlearnbench.errors import UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.contract import explaining
from unlearnbench.plugins.model import Model, Network
from unlearnbench.runtime import seeds
from unlearnbench.runtime.frames import at_line

Options = tuple[tuple[str, Any], ...]
Shape = tuple[int, int, int]
SINGLE = "more than 1 value per channel"
"""What torch says of batch normalisation in train mode for a single value."""


@cache
def weights_of(model: str, options: Options, shape: Shape, num_classes: int) -> dict[str, Tensor]:
    """A network's weights and buffers by name, with shapes and dtypes and without values.

    Args:
        model: Name of the network.
        options: Its options, resolved.
        shape: Channels, height and width of its input.
        num_classes: Number of classes.

    Raises:
        UserError: If it cannot be built, or nothing is left of such small images on their way through it.
    """
    weights = without_values(model, options, shape, num_classes).state_dict()
    if empty := [name for name, values in weights.items() if not values.numel()]:
        size = " x ".join(map(str, shape))
        raise UserError(f"images of {size} are too small for model {model}: its {empty[0]} would have no elements")
    return weights


@cache
def least_batch_of(model: str, options: Options, shape: Shape, num_classes: int) -> int:
    """The fewest images that a network can be trained on at once: 2 if batch normalisation fails on 1, else 1.

    Arguments as of `weights_of`. 1, too, for a network that branches on values.
    """
    network = without_values(model, options, shape, num_classes).train()
    if not any(isinstance(module, _BatchNorm) for module in network.modules()):
        return 1
    try:
        with seeds.pinned("sizes"), torch.device("meta"):
            network(torch.rand(1, *shape))
    except ValueError as error:
        return 2 if SINGLE in str(error) else 1
    except Exception:  # whatever a plugin's network raises where there are no values
        return 1
    return 1


def without_values(model: str, options: Options, shape: Shape, num_classes: int) -> Network:
    """A network on torch's device "meta"; arguments and errors as of `weights_of`."""
    network = registry.get(Model, model)
    quietly = warnings.catch_warnings(action="ignore")  # of weights without elements, which are an error here
    try:
        with quietly, explaining(f"model {model}", model, {}), seeds.pinned("sizes"), torch.device("meta"):
            return network.build(shape, num_classes, **dict(options))
    except UserError:
        raise
    except Exception as error:  # whatever a plugin raises
        size = " x ".join(map(str, shape))
        raise UserError(
            f"model {model} cannot be built for images of {size} and {num_classes} classes without reading values: "
            f"{type(error).__name__}: {error}{at_line(error, network.home)}"
        ) from error


@cache
def flop_of(model: str, options: Options, shape: Shape, num_classes: int) -> float:
    """Floating-point operations of training on one image, two for each multiplication with its addition.

    Those of convolutions and matrix products, forward and backward, as torch counts them; 0 if they cannot be counted
    without data, because the network branches on values. Arguments as of `weights_of`.
    """
    from torch.utils.flop_counter import FlopCounterMode

    try:
        with seeds.pinned("sizes"), torch.device("meta"), FlopCounterMode(display=False) as counter:
            network = registry.get(Model, model).build(shape, num_classes, **dict(options))
            network(torch.rand(2, *shape)).sum().backward()
    except Exception:  # whatever a plugin's network raises where there are no values
        return 0.0
    return float(counter.get_total_flops()) / 2
