"""The contract of models: functions that build networks, which are split into an extractor and a head."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unlearnbench.plugins.plugin import Plugin
from unlearnbench.runtime import seeds


class Network(nn.Module):
    """A classifier of images, split into an extractor and a head.

    Args:
        features: The extractor: float32 [B, C, H, W] in [0, 1] -> embeddings [B, D]. It normalises pixels itself.
        head: The classifier: embeddings [B, D] -> logits [B, classes].
        last_layer: The name of the last linear layer, as in `named_modules`.
    """

    def __init__(self, features: nn.Module, head: nn.Module, last_layer: str) -> None:
        super().__init__()
        self.features = features
        self.head = head
        self.last_layer = last_layer

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, C, H, W]."""
        logits: Tensor = self.head(self.features(images))
        return logits


class Model(Plugin):
    """A function of image shape (C, H, W) and number of classes that builds a network."""

    kind = "model"

    def build(self, shape: tuple[int, int, int], num_classes: int, **options: Any) -> Network:
        """Builds a network; its initial weights are drawn from torch's global generator."""
        network: Network = self.function(shape, num_classes, **options)
        return network


def model(*, title: str, reference: str = "") -> Callable[[Callable[..., Network]], Model]:
    """Makes a function `(shape, num_classes, **options) -> Network` a model of the suite."""
    return lambda function: Model(function, title=title, reference=reference)


@dataclass(frozen=True)
class Builder:
    """Builds networks of one shape.

    Attributes:
        model: The plugin.
        options: Its options.
        shape: Channels, height and width of the images.
        num_classes: Number of logits.
        device: The device of the networks.
    """

    model: Model
    options: Mapping[str, Any]
    shape: tuple[int, int, int]
    num_classes: int
    device: torch.device

    def fresh(self, *stream: str | int) -> Network:
        """A network with new random weights; the same for the same stream."""
        with seeds.pinned(*stream, "weights"):
            return self.placed(self.model.build(self.shape, self.num_classes, **self.options))

    def trained(self, weights: Mapping[str, Tensor]) -> Network:
        """A network with the given weights and buffers."""
        network = self.fresh()
        network.load_state_dict(weights)
        return network

    def placed(self, network: Network) -> Network:
        """The network on the device, in the memory layout in which convolutions are fastest."""
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
