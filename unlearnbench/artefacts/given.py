"""Given weights: a network that was made elsewhere, which a cell starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from unlearnbench.artefacts.artefact import Artefact, Context
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.sizes import weights_of
from unlearnbench.errors import UserError
from unlearnbench.storage.store import Content

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The types of weights in files; the network computes in float32."""
PICKLES = (b"PK", b"\x80")
"""How files of `torch.save` begin: a zip archive, or in old versions a pickle."""
WRAPPERS = {"module.": "as nn.DataParallel adds it", "_orig_mod.": "as torch.compile adds it"}
"""Where well-known prefixes of names come from."""


@dataclass(frozen=True)
class Given(Artefact):
    """The weights in a user's file, as an artefact in the cache."""

    kind: ClassVar[str] = "given"

    @classmethod
    def of(cls, path: Path, loaded: LoadedScenario) -> Given:
        """Reads a safetensors file, checks it and puts it into the cache.

        Args:
            path: The file.
            loaded: The scenario; its network must have these weights.

        Raises:
            UserError: If the file cannot be read, or has other weights.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            content = path.read_bytes()
            tensors = load(content)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        except SafetensorError as error:
            raise UserError(f"{path} is no safetensors file: {how_to_convert(content, path) or error}") from error
        check_fit(path, tensors, loaded)
        key = {"kind": cls.kind, "sha256": hashlib.sha256(content).hexdigest()}
        loaded.datasets.store.get_or_make(key, lambda: (tensors, {"seconds": {}}))
        return cls(key, loaded.scenario, 0, 0)

    def make(self, context: Context) -> Content:
        """Raises `UserError`: only the user's file has the weights."""
        raise UserError("the given weights are no longer in the cache: run `unlearnbench score` with their file again")


def how_to_convert(content: bytes, path: Path) -> str:
    """What to do with a file of `torch.save`; "" for any other. The suite reads none, because they can run code."""
    if not content.startswith(PICKLES):
        return ""
    return (
        "it was written by torch.save, in a format that can run code. Convert it in Python: "
        f'safetensors.torch.save_file(torch.load("{path.name}", weights_only=True), "{path.stem}.safetensors"), where '
        "the file has a state_dict"
    )


def alien_prefix(given: Collection[str], expected: Collection[str]) -> str:
    """What the names of given weights have in front of the expected names, such as "module."; "" if nothing."""
    fronts = {name.removesuffix(ending) for name in given for ending in expected if name.endswith(f".{ending}")}
    right = [front for front in fronts if {name.removeprefix(front) for name in given} == set(expected)]
    return right[0] if right else ""


def check_fit(path: Path, tensors: Mapping[str, Tensor], loaded: LoadedScenario) -> None:
    """Raises `UserError` unless these are the weights of a scenario's network."""
    network, scenario = weights_of(*loaded.network), loaded.scenario
    expected, given = ({name: tuple(t.shape) for name, t in weights.items()} for weights in (network, tensors))
    if prefix := alien_prefix(given, expected):
        why = WRAPPERS.get(prefix, "as the network is part of another module")
        raise UserError(
            f'{path} has all names with "{prefix}" in front, {why}: save the weights of the network inside, or rename '
            f'them, {{name.removeprefix("{prefix}"): w for name, w in weights.items()}}'
        )
    for name in sorted(expected.keys() | given.keys()):
        if expected.get(name) != given.get(name):
            shapes = [f"has shape {shapes[name]}" if name in shapes else "is not there" for shapes in (given, expected)]
            raise UserError(
                f"{path} does not have the weights of {scenario.model} for {scenario.dataset}: {name} {shapes[0]} "
                f"but {shapes[1]} in that network; `unlearnbench export` writes a file that fits"
            )
        wanted, dtype = network[name].dtype, tensors[name].dtype
        if dtype not in (FLOATS if wanted.is_floating_point else [wanted]):
            raise UserError(
                f"{path} has {name} in {dtype}, and the network has {wanted}: dequantise weights that are quantised, "
                "and save them as floats"
            )
        if not tensors[name].isfinite().all():
            raise UserError(f"{path} has numbers in {name} that are not finite")
