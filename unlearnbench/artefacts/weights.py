"""Weights in files that users supply: read without running code, and named as in the suite's network."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearnbench.errors import UserError
from unlearnbench.plugins.model import Network

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The types of weights in files; the network computes in float32."""
PICKLES = (b"PK", b"\x80")
"""How files of `torch.save` begin; any other file must be safetensors."""
WHOLE = ("state_dict", "model_state_dict", "model", "network", "net")
"""Where checkpoints with more than weights have these."""


@dataclass(frozen=True)
class Weights:
    """The weights in a file.

    Attributes:
        path: The file.
        tensors: By name.
        sha256: Of the file, in hexadecimal.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Weights:
        """Reads a file of safetensors or of `torch.save`; the latter with `weights_only=True`, so that no code runs.

        Raises:
            UserError: If the file cannot be read, or has no weights.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        tensors = unpickled(path, content) if content.startswith(PICKLES) else plain(path, content)
        return cls(path, tensors, hashlib.sha256(content).hexdigest())

    def named_as_in(self, network: Network, what: str) -> dict[str, Tensor]:
        """The weights by their names in a network of the suite.

        The file may use the names in the module that the network was made of, and a prefix before all names.

        Args:
            network: Has names, shapes and dtypes; no values are read.
            what: What messages call the network, e.g. "cnn for digits-8x8".

        Raises:
            UserError: If these are not the weights of the network.
        """
        in_module, present = network.names(), self.tensors.keys()
        for prefix in prefixes(present):
            for names in ({name: name for name in in_module}, in_module):
                if {prefix + name for name in names.values()} == present:
                    if prefix:
                        warnings.warn(f"{self.path}: all names begin with {prefix!r}, which is left out", stacklevel=2)
                    return self.checked({name: prefix + other for name, other in names.items()}, network, what)
        raise UserError(f"{self.path} does not have the weights of {what}: {self.first_difference(network)}")

    def checked(self, names: Mapping[str, str], network: Network, what: str) -> dict[str, Tensor]:
        """The weights by name; raises `UserError` if a shape, a type or a value is wrong.

        Args:
            names: The names in the file by those in the network.
            network: As of `named_as_in`, likewise the next.
            what: What messages call the network.
        """
        for name, wanted in network.state_dict().items():
            given = self.tensors[names[name]]
            if given.shape != wanted.shape:
                raise UserError(
                    f"{self.path} does not have the weights of {what}: {names[name]} has shape {tuple(given.shape)}, "
                    f"but {tuple(wanted.shape)} in that network"
                )
            if given.dtype not in (FLOATS if wanted.is_floating_point() else [wanted.dtype]):
                raise UserError(
                    f"{self.path} has {names[name]} in {given.dtype}, and the network has {wanted.dtype}: dequantise "
                    "weights that are quantised, and save them as floats"
                )
            if not given.isfinite().all():
                raise UserError(f"{self.path} has numbers in {names[name]} that are not finite")
        return {name: self.tensors[other] for name, other in names.items()}

    def first_difference(self, network: Network) -> str:
        """How the names in the file differ from those in a network, in words."""
        in_module = network.names()
        wanted = min(in_module.values(), in_module, key=lambda names: len(set(names) ^ self.tensors.keys()))
        shared = common_prefix(self.tensors)
        begin = f"all names in the file begin with {shared!r}; " if shared else ""
        name = min(set(wanted) ^ self.tensors.keys())
        where = "is not in that network" if name in self.tensors else "is not in the file"
        return (
            f"{begin}{name} {where}. The file has names such as {some(self.tensors)}, the network {some(wanted)}; a "
            "prefix before all names is no problem"
        )


def plain(path: Path, content: bytes) -> dict[str, Tensor]:
    """The tensors in the content of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return load(content)
    except SafetensorError as error:
        raise UserError(f"{path} is neither a safetensors file nor one of torch.save: {error}") from error


def unpickled(path: Path, content: bytes) -> Mapping[str, Tensor]:
    """The weights in the content of a file of `torch.save`: a state_dict, or a checkpoint that has one."""
    try:
        with warnings.catch_warnings(action="ignore"):  # torch warns of pickles that it then refuses
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file makes torch raise
        raise UserError(
            f"{path} cannot be read without running code from it, so it is more than weights: save these alone, "
            "torch.save(network.state_dict(), FILE)"
        ) from error
    candidates: list[Any] = [loaded, *(loaded.get(name) for name in WHOLE)] if isinstance(loaded, Mapping) else []
    for candidate in candidates:
        if is_state_dict(candidate):
            return dict(candidate)
    has = f"a dict of {some(map(str, loaded))}" if isinstance(loaded, Mapping) else type(loaded).__name__
    raise UserError(f"{path} has no weights by name, but {has}: torch.save(network.state_dict(), FILE)")


def is_state_dict(value: Any) -> bool:
    """True for a dict of tensors by name."""
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items())
    )


def prefixes(names: Collection[str]) -> Iterator[str]:
    """The prefixes that all names share, the empty one first: "", "module.", "module.net.", ..."""
    shared = common_prefix(names)
    yield ""
    for place, letter in enumerate(shared, start=1):
        if letter == ".":
            yield shared[:place]


def common_prefix(names: Collection[str]) -> str:
    """The longest prefix that ends in a dot and that all names share."""
    levels = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return "".join(f"{level[0]}." for level in takewhile(lambda level: len(set(level)) == 1, levels))


def some(names: Iterable[str]) -> str:
    """The first names, for messages."""
    listed = list(names)
    return ", ".join(listed[:3]) + (", ..." if len(listed) > 3 else "")
