"""Any module is a network: it is split at the linear layer that gives the logits, or used whole."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unlearnbench import UserError
from unlearnbench.plugins.contract import BrokenContractError
from unlearnbench.plugins.model import Builder, Model, Network, NotSplitError, check_network, model, wrapped

SHAPE = (1, 8, 8)
IMAGES = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    """A network whose layers are not defined in the order in which they are used."""

    def __init__(self) -> None:
        super().__init__()
        self.top = nn.ModuleDict({"classifier": nn.Linear(16, 10)})
        self.hidden = nn.Linear(64, 16)
        self.norm = nn.BatchNorm1d(16)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.top["classifier"](self.norm(self.hidden(images.flatten(1))).relu())
        return logits


class Twice(Plain):
    """Uses its last layer twice."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images + super().forward(images).mean())


class Scaled(Plain):
    """Does something with the outputs of its last layer."""

    def forward(self, images: Tensor) -> Tensor:
        return 2 * super().forward(images)


def test_the_last_linear_layer_is_found_and_outputs_stay_as_they_are() -> None:
    plain = Plain().eval()
    expected, weights = plain(IMAGES), copy.deepcopy(plain.state_dict())
    network = wrapped(plain, SHAPE).eval()
    assert type(network) is Network
    assert network.is_split
    assert torch.equal(network(IMAGES), expected)
    assert network.features(IMAGES).shape == (5, 16)
    assert torch.equal(network.get_submodule(network.last_layer)(network.features(IMAGES)), expected)
    names = network.names()
    assert names.keys() == network.state_dict().keys()
    assert all(torch.equal(network.state_dict()[name], weights[own]) for name, own in names.items())


def test_looking_for_it_changes_nothing() -> None:
    plain = Plain()
    before = copy.deepcopy(plain.state_dict())
    state = torch.random.get_rng_state()
    network = wrapped(plain, SHAPE)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(network.state_dict()[name], before[own]) for name, own in network.names().items())
    assert all(module.training for module in network.modules())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    "module",
    [
        nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        Twice(),
        Scaled(),
    ],
    ids=["convolution", "twice", "scaled"],
)
def test_without_such_a_layer_the_module_is_used_whole_and_says_what_it_lacks(module: nn.Module) -> None:
    expected = module.eval()(IMAGES)
    network = wrapped(module, SHAPE).eval()
    assert not network.is_split
    assert torch.equal(network(IMAGES), expected)
    assert torch.equal(copy.deepcopy(network)(IMAGES), expected)
    for part in ("features", "head", "last_layer"):
        with pytest.raises(NotSplitError, match=f"this network has no {part}"):
            getattr(network, part)
    assert not hasattr(network, "features")
    with pytest.raises(AttributeError, match="no attribute 'feature'"):
        _ = network.feature


@pytest.mark.parametrize("build", [Plain, Scaled])
def test_such_networks_keep_the_contract_and_are_rebuilt_from_their_weights(build: Any) -> None:
    @model(title="Plain")
    def plain(shape: tuple[int, int, int], num_classes: int) -> nn.Module:
        return build()  # type: ignore[no-any-return]

    builder = Builder(plain, {}, SHAPE, 10, torch.device("cpu"))
    check_network(builder, "test")
    network = builder.fresh("one").eval()
    assert torch.equal(builder.trained(network.state_dict()).eval()(IMAGES), network(IMAGES))
    with torch.device("meta"):
        planned = plain.build(SHAPE, 10)
    assert planned.names() == network.names()


def test_anything_but_a_module_is_refused() -> None:
    class Other(Network):
        pass

    for wrong in (Plain().forward, Other(nn.Flatten(), nn.Linear(64, 10), "head")):
        with pytest.raises(BrokenContractError, match=r"return an nn.Module, or Network\(features, head, last_layer\)"):
            Model(lambda shape, num_classes, wrong=wrong: wrong, title="Wrong").build(SHAPE, 10)
    assert issubclass(NotSplitError, UserError)
