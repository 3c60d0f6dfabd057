"""Networks, split into an extractor and a head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from unlearnbench.plugin import Plugin


class Network(nn.Module):
    """A classifier that takes pixels in [0, 1] and knows where its extractor ends.

    Args:
        features: The extractor: float32 [B, C, H, W] -> embeddings [B, D]. Any normalisation of pixels is inside.
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
    """How to build a network: a function of image shape (C, H, W) and number of classes."""

    kind = "model"

    def build(self, shape: tuple[int, int, int], num_classes: int, **options: Any) -> Network:
        """Builds a network; its initial weights are drawn from torch's global generator."""
        network: Network = self.function(shape, num_classes, **options)
        return network


def model(*, title: str, reference: str = "") -> Callable[[Callable[..., Network]], Model]:
    """Makes a function `(shape, num_classes, **options) -> Network` a model of the suite."""
    return lambda function: Model(function, title=title, reference=reference)
