"""The smallest residual network for images of 32 pixels, which a CPU trains in minutes."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import relu

from unlearnbench.models.resnet import Normalize
from unlearnbench.plugins.model import Network, model

WIDTHS = (16, 32, 64)
"""Channels of the three stages; each after the first halves height and width."""


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is a 1 x 1 convolution where the number of channels changes.

    Args:
        channels: Of the input.
        width: Of the output.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        stride = 1 if channels == width else 2
        self.first = convolution(channels, width, 3, stride)
        self.second = convolution(width, width, 3)
        self.shortcut = nn.Identity() if channels == width else convolution(channels, width, 1, stride)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [B, channels, H, W] to [B, width, H / stride, W / stride]."""
        return relu(self.second(relu(self.first(maps))) + self.shortcut(maps))


def convolution(channels: int, width: int, size: int, stride: int = 1) -> nn.Module:
    """A convolution and batch normalisation, with initial weights for ReLU (He et al., ICCV 2015)."""
    layer = nn.Conv2d(channels, width, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, nn.BatchNorm2d(width))


@model(
    title="ResNet-8",
    reference="He et al., CVPR 2016, section 4.2, with n = 1; Banbury et al., MLPerf Tiny Benchmark, NeurIPS 2021",
)
def resnet8(shape: tuple[int, int, int], num_classes: int) -> Network:
    """A convolution, three residual blocks of 16, 32 and 64 channels, and the mean of all positions; for 32 pixels."""
    normalize = Normalize(shape[0])
    features = nn.Sequential(
        normalize,
        convolution(normalize.channels, WIDTHS[0], 3),
        nn.ReLU(),
        *(Block(channels, width) for channels, width in zip((WIDTHS[0], *WIDTHS), WIDTHS, strict=False)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return Network(features, nn.Linear(WIDTHS[-1], num_classes), last_layer="head")
