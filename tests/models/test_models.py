"""The networks are the paper's, layer by layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from unlearnbench.models.resnet8 import Block
from unlearnbench.plugins import registry
from unlearnbench.plugins.model import Builder, Model
from unlearnbench.runtime.vision import torchvision


@pytest.fixture
def builder() -> Builder:
    """Builds the paper's CNN for the paper's images."""
    return Builder(registry.get(Model, "cnn"), {}, (1, 28, 28), 10, torch.device("cpu"))


def published() -> nn.Sequential:
    """The network of the released code: ReLU before pooling."""
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


def test_the_stream_determines_the_weights(builder: Builder) -> None:
    weights = [builder.fresh(*stream).head[1].weight for stream in (("a", 0), ("a", 0), ("a", 1))]  # type: ignore[index]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(("name", "size", "grid"), [("resnet18", 224, 7), ("resnet18-32", 32, 4)])
def test_the_residual_networks_have_torchvisions_trunk_and_the_papers_head(name: str, size: int, grid: int) -> None:
    network = Builder(registry.get(Model, name), {}, (3, size, size), 10, torch.device("cpu")).fresh("x")
    stem = {"resnet18": 7 * 7, "resnet18-32": 3 * 3}[name] * 3 * 64
    trunk = 11_176_512 - 7 * 7 * 3 * 64 + stem  # torchvision's ResNet-18 without its last layer
    assert sum(p.numel() for p in network.parameters()) == trunk + (512 * 256 + 256) + (256 * 10 + 10)
    seen = []
    layer: nn.Module = network.features[1].layer4  # type: ignore
    layer.register_forward_hook(lambda *call: seen.append(call[2].shape))
    assert network.eval()(torch.rand(2, 3, size, size)).shape == (2, 10)
    assert seen == [(2, 512, grid, grid)]
    assert isinstance(dict(network.named_modules())[network.last_layer], nn.Linear)


def test_the_residual_network_normalises_inside() -> None:
    network = Builder(registry.get(Model, "resnet18"), {}, (3, 64, 64), 10, torch.device("cpu")).fresh("x").eval()
    images = torch.rand(2, 3, 64, 64)
    normalized = torchvision("transforms.v2.functional").normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    trunk: nn.Module = network.features[1]  # type: ignore
    assert torch.allclose(network.features(images), trunk(normalized), atol=1e-5)


@pytest.mark.parametrize("name", ["cnn", "resnet18", "resnet18-32", "resnet8"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_the_networks_take_any_number_of_channels(name: str, channels: int) -> None:
    network = Builder(registry.get(Model, name), {}, (channels, 32, 32), 10, torch.device("cpu")).fresh("x").eval()
    images = torch.rand(2, channels, 32, 32)
    logits = network(images)
    assert logits.shape == (2, 10)
    for channel in range(channels):
        changed = images.clone()
        changed[:, channel] = 1 - changed[:, channel]
        assert not torch.equal(network(changed), logits), "every channel counts"


def test_a_grey_image_is_the_grey_image_in_three_channels_for_the_residual_networks() -> None:
    for name in ("resnet18", "resnet18-32", "resnet8"):
        grey, colour = (
            Builder(registry.get(Model, name), {}, (channels, 32, 32), 10, torch.device("cpu")).fresh("x").eval()
            for channels in (1, 3)
        )
        images = torch.rand(2, 1, 32, 32)
        assert torch.equal(grey(images), colour(images.expand(2, 3, 32, 32)))


def test_resnet8_has_the_layers_of_the_paper_for_n_1() -> None:
    """Three stages of 16, 32 and 64 channels on 32, 16 and 8 positions, and the mean of all positions as embedding."""
    network = Builder(registry.get(Model, "resnet8"), {}, (3, 32, 32), 10, torch.device("cpu")).fresh("x")
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    three = [(c.in_channels, c.out_channels, c.stride[0]) for c in convolutions if c.kernel_size == (3, 3)]
    one = [(c.in_channels, c.out_channels, c.stride[0]) for c in convolutions if c.kernel_size == (1, 1)]
    stages = [(16, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)]
    assert three == [(3, 16, 1), *stages]
    assert one == [(16, 32, 2), (32, 64, 2)]
    weights = sum(c.in_channels * c.out_channels * c.kernel_size[0] ** 2 for c in convolutions)
    normalized = sum(2 * c.out_channels for c in convolutions)
    assert sum(p.numel() for p in network.parameters()) == weights + normalized + 64 * 10 + 10 == 78_042
    seen: list[torch.Size] = []
    for module in network.modules():
        if isinstance(module, Block):
            module.register_forward_hook(lambda *call: seen.append(call[2].shape))
    embeddings = network.eval().features(torch.rand(2, 3, 32, 32))
    assert seen == [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8)]
    assert embeddings.shape == (2, 64)


def test_a_block_of_resnet8_adds_its_input_to_what_it_computes() -> None:
    block = Block(16, 16).eval()
    for parameter in block.second.parameters():
        nn.init.zeros_(parameter)
    maps = torch.randn(2, 16, 8, 8)
    assert torch.equal(block(maps), maps.relu())
