"""The convolutional network that the LAF paper uses for MNIST and Fashion-MNIST."""

from __future__ import annotations

from torch import nn

from unlearnbench.plugins.model import Network, model


@model(title="CNN", reference="Shen et al., Label-Agnostic Forgetting, ICLR 2024 (released code, Model.py)")
def cnn(shape: tuple[int, int, int], num_classes: int) -> Network:
    """Two 5 x 5 convolutions, a 256-wide linear embedding, and a head that is linear in it.

    The published order is ReLU before pooling. The maximum commutes with ReLU, so pooling first gives the same function
    and the same gradients with a quarter of the ReLUs.
    """
    channels, height, width = shape
    features = nn.Sequential(
        nn.Conv2d(channels, 16, kernel_size=5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (height // 4) * (width // 4), 256),
    )
    head = nn.Sequential(nn.Linear(256, 128), nn.Linear(128, num_classes))
    return Network(features, head, last_layer="head.1")
