"""The golden plan: every artefact kind, method, task, model and attack on a few real digits, with its outputs.

outputs.json has the outputs under portable arithmetic. An installation that computes the same outputs computes the
published numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearnbench.artefacts.versions import CODE, KINDS, PLUGINS
from unlearnbench.storage.keys import canonical

if TYPE_CHECKING:
    from torch import Tensor

HERE = Path(__file__).parent
FILE = HERE / "outputs.json"
SAMPLE = 6
"""The number of values of each tensor that are kept, for machines that cannot compute the same bits."""
ALONE = "mismatch"
"""The preset whose methods and tasks no other preset runs: all of them together would take minutes."""
UPSTREAM = ("original", "parent", "outputs", "shadows")
"""Parts of keys that are keys of other artefacts, from which an artefact is made."""


@dataclass(frozen=True)
class Output:
    """The output of one step of the golden plan.

    Attributes:
        sha256: Of all bytes.
        sample: Some of the values; empty for metrics.
        made_by: The code that made it, as (group, name) of its version.
        made_of: The code that made the artefacts that it was made from, likewise.
    """

    sha256: str
    sample: tuple[float, ...] = ()
    made_by: frozenset[tuple[str, str]] = frozenset()
    made_of: frozenset[tuple[str, str]] = frozenset()


def of_tensors(tensors: Mapping[str, Tensor], key: Mapping[str, Any], task: str) -> Output:
    """The output for an artefact of a scenario with this task."""
    sha, sample = hashlib.sha256(), []
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.contiguous().numpy().tobytes())
        values = tensor.double().flatten()
        sample += values[:: max(1, len(values) // SAMPLE)][:SAMPLE].tolist()
    return Output(sha.hexdigest(), tuple(round(value, 6) for value in sample), *versions_in(key, task))


def of_numbers(numbers: Mapping[str, Any], key: Mapping[str, Any], task: str) -> Output:
    """The output for numbers of a record of a scenario with this task."""
    return Output(hashlib.sha256(canonical(numbers).encode()).hexdigest(), (), *versions_in(key, task))


def versions_in(key: Mapping[str, Any], task: str) -> tuple[frozenset[tuple[str, str]], frozenset[tuple[str, str]]]:
    """The versions in a key: of the code that made the artefact, and of the code that made its inputs.

    The task counts as code that made it: every artefact and every record uses the task's split or labels, even where
    these stand in the key by their values.
    """
    own = frozenset([*walked(key, "", deep=False), ("tasks", task)])
    return own, frozenset(walked(key, "", deep=True)) - own


def walked(part: Mapping[str, Any], name: str, deep: bool) -> Iterator[tuple[str, str]]:
    """The versions in the part of a key that has this name; with `deep` also those of upstream artefacts."""
    if part.get("kind") in CODE and "code" in part:
        yield KINDS, part["kind"]
    if "core" in part:  # the key of an attack that was added to a record
        yield KINDS, "record"
    if name in PLUGINS and "code" in part:
        yield f"{name}s", part["name"]
    for child, value in part.items():
        if isinstance(value, Mapping) and (deep or child not in UPSTREAM):
            if child == "attacks":
                for attack in value.values():
                    yield from walked(attack, "attack", deep)
            elif child == "noise":
                yield from walked(value, "task", deep)
            else:
                yield from walked(value, child, deep)


@dataclass(frozen=True)
class Golden:
    """The content of outputs.json.

    Attributes:
        libraries: The versions of the libraries with which it was computed.
        presets: The SHA-256 of each preset's file, by its name.
        outputs: By name, "PRESET: ...".
    """

    libraries: Mapping[str, str]
    presets: Mapping[str, str]
    outputs: Mapping[str, Output]


def presets() -> dict[str, str]:
    """The SHA-256 of each preset of the golden plan, by its name: outputs of different presets cannot be compared."""
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(HERE.glob("*.toml"))}


def stored() -> Golden:
    """Reads outputs.json."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    outputs = {name: Output(entry["sha256"], tuple(entry["sample"])) for name, entry in content["outputs"].items()}
    return Golden(content["libraries"], content["presets"], outputs)


def write(golden: Golden) -> None:
    """Writes outputs.json, one line for each output."""
    lines = [
        f"  {json.dumps(name)}: {json.dumps({'sha256': output.sha256, 'sample': output.sample})}"
        for name, output in sorted(golden.outputs.items())
    ]
    head = f'"libraries": {json.dumps(golden.libraries)},\n "presets": {json.dumps(golden.presets)}'
    FILE.write_text(f'{{{head},\n "outputs": {{\n' + ",\n".join(lines) + "\n}}\n", encoding="utf-8")
