"""The residual network that the LAF paper uses for CIFAR-10 and SVHN, and a variant for images of 32 pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unlearnbench.plugins.model import Network, model
from unlearnbench.runtime.vision import torchvision

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels; the released code normalises with them."""


class Normalize(nn.Module):
    """Subtracts a mean from each channel and divides by a standard deviation."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION).reshape(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Normalises pixels [B, 3, H, W] in [0, 1]."""
        normalized: Tensor = (images - self.mean) / self.deviation
        return normalized


def trunk(embedding: int = 256) -> nn.Module:
    """Torchvision's ResNet-18 with random weights, whose last layer returns an embedding."""
    network: nn.Module = torchvision("models").resnet18(weights=None, num_classes=embedding)
    return network


@model(
    title="ResNet-18",
    reference="He et al., CVPR 2016; Shen et al., Label-Agnostic Forgetting, ICLR 2024 (released code, Model.py)",
)
def resnet18(shape: tuple[int, int, int], num_classes: int) -> Network:
    """Torchvision's ResNet-18 from random weights, then 512 -> 256 (the embedding) -> classes; for 224 pixels."""
    return Network(nn.Sequential(Normalize(), trunk()), nn.Linear(256, num_classes), last_layer="head")


@model(
    title="ResNet-18 (32 px)",
    reference="He et al., CVPR 2016, section 4.2; the usual stem for CIFAR",
)
def resnet18_32(shape: tuple[int, int, int], num_classes: int) -> Network:
    """As ResNet-18, but with a first 3 x 3 convolution without stride or pooling; for 32 pixels."""
    network = trunk()
    network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return Network(nn.Sequential(Normalize(), network), nn.Linear(256, num_classes), last_layer="head")
