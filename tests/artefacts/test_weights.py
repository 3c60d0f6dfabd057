"""Weights in users' files are read without running code, and their names are those of the user's module."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from unlearnbench import UserError
from unlearnbench.artefacts.weights import Weights, common_prefix, prefixes
from unlearnbench.plugins.model import Network, wrapped

WHAT = "small for marks"


def plain() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 3))


@pytest.fixture
def own() -> nn.Module:
    """The network of a user."""
    return plain()


@pytest.fixture
def network() -> Network:
    """The same network, with other weights, in the suite."""
    return wrapped(plain(), (1, 8, 8))


def saved(path: Path, content: Any) -> Weights:
    torch.save(content, path)
    return Weights.read(path)


def same(weights: Weights, own: nn.Module, network: Network) -> None:
    tensors, names = weights.named_as_in(network, WHAT), network.names()
    assert tensors.keys() == network.state_dict().keys()
    assert all(torch.equal(tensors[name], own.state_dict()[names[name]]) for name in tensors)


def test_safetensors_and_pickles_of_a_state_dict_are_read(own: nn.Module, network: Network, tmp_path: Path) -> None:
    save_file(own.state_dict(), tmp_path / "w.safetensors")
    same(Weights.read(tmp_path / "w.safetensors"), own, network)
    same(saved(tmp_path / "w.pt", own.state_dict()), own, network)
    torch.save(own.state_dict(), tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    same(Weights.read(tmp_path / "old.bin"), own, network)


@pytest.mark.parametrize("name", ["state_dict", "model_state_dict", "model"])
def test_a_checkpoint_may_have_more_than_weights(name: str, own: nn.Module, network: Network, tmp_path: Path) -> None:
    same(saved(tmp_path / "w.ckpt", {name: own.state_dict(), "epoch": 3}), own, network)


def test_weights_with_the_suites_own_names_are_read(network: Network, tmp_path: Path) -> None:
    weights = saved(tmp_path / "w.pt", network.state_dict())
    assert weights.named_as_in(network, WHAT).keys() == network.state_dict().keys()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.net."])
def test_a_prefix_before_all_names_is_left_out_and_named(
    prefix: str, own: nn.Module, network: Network, tmp_path: Path
) -> None:
    weights = saved(tmp_path / "w.pt", {prefix + name: tensor for name, tensor in own.state_dict().items()})
    with pytest.warns(UserWarning, match=f"w.pt: all names begin with '{prefix}', which is left out"):
        same(weights, own, network)


def test_the_same_weights_have_one_checksum_wherever_they_are(own: nn.Module, tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    for path in (first, second):
        save_file(own.state_dict(), path)
    assert Weights.read(first).sha256 == Weights.read(second).sha256
    own.get_submodule("4").bias.data.add_(1)  # type: ignore[operator, union-attr]
    save_file(own.state_dict(), second)
    assert Weights.read(first).sha256 != Weights.read(second).sha256


Change = Callable[[dict[str, Tensor]], Any]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("4.bias"), "does not have the weights of small for marks: 4.bias is not in the file"),
        (lambda w: w.update(extra=torch.zeros(1)), "extra is not in that network. The file has names such as 1.weight"),
        (lambda w: w.update({"4.bias": torch.zeros(7)}), r"4.bias has shape \(7,\), but \(3,\) in that network"),
        (lambda w: w.update({"4.bias": w["4.bias"].to(torch.int8)}), "has 4.bias in torch.int8, and the network has"),
        (lambda w: w["4.bias"].fill_(torch.inf), "has numbers in 4.bias that are not finite"),
    ],
)
def test_weights_of_another_network_are_refused(
    change: Change, message: str, own: nn.Module, network: Network, tmp_path: Path
) -> None:
    tensors = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    change(tensors)
    with pytest.raises(UserError, match=message):
        saved(tmp_path / "w.pt", tensors).named_as_in(network, WHAT)


def test_the_message_names_a_prefix_of_other_names(network: Network, tmp_path: Path) -> None:
    other = {f"backbone.{name}": tensor for name, tensor in nn.Linear(3, 3).state_dict().items()}
    with pytest.raises(UserError, match=r"all names in the file begin with 'backbone\.'.*the network 1\.weight"):
        saved(tmp_path / "w.pt", other).named_as_in(network, WHAT)


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


def test_no_code_in_a_file_runs(own: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    for path, content in (("evil.pt", None), ("whole.pt", own)):
        if content is not None:
            torch.save(content, path)
        with pytest.raises(UserError, match=r"it is more than weights: .*torch.save\(network.state_dict\(\), FILE\)"):
            Weights.read(tmp_path / path)
    assert not (tmp_path / "ran").exists()


def test_files_without_weights_get_a_clear_message(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(UserError, match=r"text.pt is neither a safetensors file nor one of torch.save"):
        Weights.read(tmp_path / "text.pt")
    with pytest.raises(UserError, match=r"nowhere.pt: No such file"):
        Weights.read(tmp_path / "nowhere.pt")
    with pytest.raises(UserError, match=r"has no weights by name, but a dict of epoch, loss"):
        saved(tmp_path / "w.pt", {"epoch": 1, "loss": 0.5})
    with pytest.raises(UserError, match=r"has no weights by name, but Tensor"):
        saved(tmp_path / "w.pt", torch.zeros(3))


def test_prefixes_end_in_dots() -> None:
    assert common_prefix(["module.net.a.w", "module.net.ab.w"]) == "module.net."
    assert common_prefix(["a", "ab"]) == common_prefix([]) == ""
    assert list(prefixes(["module.net.a", "module.net.b"])) == ["", "module.", "module.net."]
