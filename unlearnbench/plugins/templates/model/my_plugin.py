"""A model: a function that builds a network for a shape of images and a number of classes."""

from __future__ import annotations

from torch import nn

from unlearnbench import Network, model

contract = 2  # the version of unlearnbench's contract that this was written for


@model(title="My plugin", reference="Your paper, or where the network comes from")
def my_plugin(shape: tuple[int, int, int], num_classes: int, *, width: int = 64) -> Network:
    """A convolution, an embedding of `width` numbers, and a linear head.

    A network takes pixels in [0, 1], normalises them itself if necessary, and returns logits, without a softmax. It is
    split into `features` (images to embeddings [B, D]) and `head` (embeddings to logits [B, classes]).
    """
    channels, height, width_of_image = shape
    features = nn.Sequential(
        nn.Conv2d(channels, 16, kernel_size=5, stride=2, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.Flatten(),
        nn.Linear(16 * -(-height // 4) * -(-width_of_image // 4), width),
        nn.ReLU(),
    )
    return Network(features, nn.Linear(width, num_classes), last_layer="head")  # the name of the last linear layer
