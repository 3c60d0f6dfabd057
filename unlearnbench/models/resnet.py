"""The residual network that the LAF paper uses for CIFAR-10 and SVHN, and a variant for images of 32 pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unlearnbench.plugins.model import Network, model
from unlearnbench.runtime.vision import torchvision

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, red, green and blue; the released code normalises with them."""
GREY = 1
COLOUR = 3


class Normalize(nn.Module):
    """Subtracts a mean from each channel and divides by a standard deviation.

    A grey image becomes three channels. Where there are other channels than three, each has the average of ImageNet's.

    Args:
        channels: Of the images.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = COLOUR if channels == GREY else channels
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            of_each = values if self.channels == COLOUR else [sum(values) / COLOUR] * self.channels
            self.register_buffer(name, torch.tensor(of_each).reshape(1, self.channels, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Normalises pixels [B, C, H, W] in [0, 1]."""
        normalized: Tensor = (images - self.mean) / self.deviation
        return normalized


def trunk(channels: int, embedding: int = 256) -> nn.Module:
    """Torchvision's ResNet-18 with random weights, for images of that many channels, returning an embedding."""
    network: nn.Module = torchvision("models").resnet18(weights=None, num_classes=embedding)
    if channels != COLOUR:
        network.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return network


@model(
    title="ResNet-18",
    reference="He et al., CVPR 2016; Shen et al., Label-Agnostic Forgetting, ICLR 2024 (released code, Model.py)",
)
def resnet18(shape: tuple[int, int, int], num_classes: int) -> Network:
    """Torchvision's ResNet-18 from random weights, then 512 -> 256 (the embedding) -> classes; for 224 pixels."""
    normalize = Normalize(shape[0])
    return Network(nn.Sequential(normalize, trunk(normalize.channels)), nn.Linear(256, num_classes), last_layer="head")


@model(
    title="ResNet-18 (32 px)",
    reference="He et al., CVPR 2016, section 4.2; the usual stem for CIFAR",
)
def resnet18_32(shape: tuple[int, int, int], num_classes: int) -> Network:
    """As ResNet-18, but with a first 3 x 3 convolution without stride or pooling; for 32 pixels."""
    normalize = Normalize(shape[0])
    network = trunk(COLOUR)
    network.conv1 = nn.Conv2d(normalize.channels, 64, kernel_size=3, padding=1, bias=False)
    network.maxpool = nn.Identity()
    return Network(nn.Sequential(normalize, network), nn.Linear(256, num_classes), last_layer="head")
