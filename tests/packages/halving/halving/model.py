"""A model."""

from torch import nn

from unlearnbench import Network, model


@model(title="Half linear", reference="Nobody, Halving, Nowhere 2000")
def half_linear(shape: tuple[int, int, int], num_classes: int, *, width: int = 32) -> Network:
    """An embedding of rectified projections, and a linear head."""
    channels, height, side = shape
    features = nn.Sequential(nn.Flatten(), nn.Linear(channels * height * side, width), nn.ReLU())
    return Network(features, nn.Linear(width, num_classes), last_layer="head")
