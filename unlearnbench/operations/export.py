"""Writes the original and its forget set, for methods that run outside of the suite."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.scenario import positions_of
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import UserError, counted
from unlearnbench.evaluation import metrics
from unlearnbench.operations.score import score_command
from unlearnbench.operations.work import work
from unlearnbench.planning.cells import planned
from unlearnbench.planning.plan import Cell, Plan
from unlearnbench.planning.presets import ORIGINAL
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.storage import folders
from unlearnbench.storage.files import write_atomically


def export(
    folder: str | Path, selection: Selection, workspace: Workspace, *, say: Callable[[str], object] = print
) -> str:
    """Writes the original's weights, the forget set and the retain set.

    `original.safetensors` has the weights; `forget.npy` and `retain.npy` (int64) positions in the training set, in the
    order in which the suite reads it (torchvision's, for its data sets); `train_labels.npy` (int64) the labels that
    the original was trained on; `about.json` all other facts.

    Args:
        folder: The folder to write to; created if needed.
        selection: One data set, task and seed.
        workspace: The cache with the original, which is trained if it is missing.
        say: Receives progress lines.

    Returns:
        A message: what was written, and the command that evaluates an unlearned network.

    Raises:
        UserError: If an argument is wrong or the folder cannot be written to.
    """
    folder = folders.expanded(folder)
    plan = planned(replace(selection, methods=[ORIGINAL]), workspace)
    cell = next(cell for cell in plan.cells if cell.method == ORIGINAL)
    loaded = LoadedScenario.of(cell.scenario, workspace.datasets)
    folders.check_writable(folder)
    write_atomically(folder / "original.safetensors", original_weights(plan, cell, say))
    about = facts_of(cell, loaded)
    about["score"] = score_command("WEIGHTS.safetensors", cell, selection)
    for name, tensor in arrays_of(loaded).items():
        write_atomically(folder / f"{name}.npy", as_npy(tensor))
        about["files"][f"{name}.npy"] = f"int64, {len(tensor)} values"
    write_atomically(folder / "about.json", json.dumps(about, indent=1).encode())
    return f"wrote the original and its forget set to {folder}; to evaluate an unlearned network:\n{about['score']}"


def original_weights(plan: Plan, cell: Cell, say: Callable[[str], object]) -> bytes:
    """The weights of the original, as the content of a safetensors file."""
    from safetensors.torch import save

    artefact = cell.outputs.needs["original"]
    if not plan.store.has(artefact.key):
        say(f"training the original first: {counted(round(artefact.ep), 'pass')} over the training set")
    (done,) = in_parallel(work, [(artefact, plan.store, False)], 1, None, plan.environment)
    if reason := done.result.reason if done.result else done.reason:
        raise UserError(f"the original cannot be trained: {reason}")
    tensors, _ = WorkerContext(plan.store).get(artefact)
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def arrays_of(loaded: LoadedScenario) -> dict[str, Tensor]:
    """The forget set, the retain set, and the labels that the original was trained on."""
    scenario, split = loaded.scenario, loaded.split
    labels = split.labels(loaded.content)
    retain = torch.from_numpy(~metrics.as_mask(split.forget, len(labels))).nonzero()[:, 0]
    positions = positions_of(scenario, loaded.datasets)
    dataset, _ = loaded.datasets.load(scenario.dataset, scenario.root)
    all_labels = dataset.train_labels.clone()
    all_labels[positions] = labels
    return {"forget": positions[split.forget], "retain": positions[retain], "train_labels": all_labels}


def as_npy(tensor: Tensor) -> bytes:
    """A tensor in NumPy's file format."""
    import io

    import numpy as np

    file = io.BytesIO()
    np.save(file, tensor.numpy(), allow_pickle=False)
    return file.getvalue()


def facts_of(cell: Cell, loaded: LoadedScenario) -> dict[str, Any]:
    """All facts about a cell that are not in the arrays, for `about.json`."""
    scenario = cell.scenario
    content, checksum = loaded.datasets.load(scenario.dataset, scenario.root)
    channels, height, width = scenario.shape(content)
    scaling = "pixels divided by 255"
    if scenario.recipe.resize:
        stored_size = " x ".join(map(str, content.shape[1:]))
        scaling = f"{scaling} and resized from {stored_size} (bilinear, antialiased)"
    return {
        "unlearnbench": version("unlearnbench"),
        "dataset": {"name": scenario.dataset, "sha256": checksum, "classes": loaded.num_classes},
        "task": {"name": scenario.task, "options": dict(scenario.task_options)},
        "seed": scenario.seed,
        "network": {
            "model": scenario.model,
            "options": dict(scenario.model_options),
            "input": f"float32 [n, {channels}, {height}, {width}], {scaling}; the network normalises them itself",
        },
        "recipe": scenario.recipe.values(),
        "files": {"original.safetensors": "the weights, with the names of PyTorch's state_dict"},
    }
