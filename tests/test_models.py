"""The CNN is the paper's, layer by layer."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unlearnbench.models import Builder


def published() -> nn.Sequential:
    """The network as the released code has it: ReLU before pooling."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1568, 256),
        nn.Linear(256, 128),
        nn.Linear(128, 10),
    )


def test_same_logits_and_gradients_as_the_published_order_of_layers(builder: Builder) -> None:
    ours, theirs = builder.fresh("x").double(), published().double()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        other.data.copy_(mine.data)
    images = torch.rand(16, 1, 28, 28, dtype=torch.float64)
    labels = torch.arange(16) % 10
    for network in (ours, theirs):
        cross_entropy(network(images), labels).backward()
    assert torch.allclose(ours(images), theirs(images), atol=1e-12)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine.grad, other.grad, atol=1e-12)  # type: ignore[arg-type]


def test_the_embedding_is_linear_and_256_wide_and_so_is_the_head(builder: Builder) -> None:
    network = builder.fresh("x")
    assert sum(p.numel() for p in network.parameters()) == 449_098
    embeddings = network.features(torch.rand(5, 1, 28, 28))
    assert embeddings.shape == (5, 256)
    assert (embeddings < 0).any()
    doubled = network.head(2 * embeddings) - network.head(torch.zeros_like(embeddings))
    halves = network.head(embeddings) - network.head(torch.zeros_like(embeddings))
    assert torch.allclose(doubled, 2 * halves, atol=1e-5)


def test_the_last_linear_layer_is_named(builder: Builder) -> None:
    network = builder.fresh("x")
    last = dict(network.named_modules())[network.last_layer]
    assert isinstance(last, nn.Linear)
    assert last.out_features == 10


def test_a_stream_decides_the_weights(builder: Builder) -> None:
    weights = [builder.fresh(*stream).head[1].weight for stream in (("a", 0), ("a", 0), ("a", 1))]  # type: ignore[index]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
