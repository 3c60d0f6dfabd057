"""Writes what a method that runs elsewhere needs: the original, and what it must forget."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearnbench.artefacts import data
from unlearnbench.artefacts.making import Workshop
from unlearnbench.artefacts.scenario import Scenario, content_of, positions_of, shape_of, split_of
from unlearnbench.engines.processes import in_parallel
from unlearnbench.errors import UserError
from unlearnbench.evaluation import metrics
from unlearnbench.operations.score import command, plan_of
from unlearnbench.operations.work import work
from unlearnbench.planning.plan import Cell, Plan
from unlearnbench.planning.presets import NOTHING
from unlearnbench.storage import folders
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.store import Store


def export(
    folder: str | Path,
    *,
    dataset: str,
    task: str,
    seed: int = 0,
    preset: str | Path = "demo",
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "auto",
    arithmetic: str = "auto",
    cache: str | Path | None = None,
    data: str | Path | None = None,
    say: Callable[[str], object] = print,
) -> str:
    """Writes what a method that runs elsewhere needs: the original's weights, and what remains and must go.

    `original.safetensors` has the weights; `forget.npy` and `retain.npy` (int64) positions in the training set, in the
    order in which the suite reads it (torchvision's, for its data sets); `train_labels.npy` (int64) the labels that
    the original was trained on; `about.json` the rest.

    Args:
        folder: Where to write; made if it is not there.
        dataset: Name of the data set.
        task: Name of the task.
        seed: The seed of the original and of the forget set.
        preset: As in `run`, likewise the others.
        overrides: Options by name of a task.
        device: "auto", "cpu" or "cuda".
        arithmetic: As in `run`.
        cache: Folder of artefacts.
        data: Folder with the data sets' files.
        say: Is told before something takes time.

    Returns:
        What was written and what to do with it, in a sentence.

    Raises:
        UserError: If an argument is wrong or the folder cannot be written to.
    """
    folder = Path(folder)
    where = {
        "overrides": overrides,
        "device": device,
        "arithmetic": arithmetic,
        "results": "results",
        "cache": cache,
        "data": data,
    }
    plan = plan_of(dataset, task, seed, preset, **where)
    cell = next(cell for cell in plan.cells if cell.method == NOTHING)
    folders.check_writable(folder)
    write_atomically(folder / "original.safetensors", original(plan, cell, say))
    about = described(cell, plan.store)
    about["score"] = command("WEIGHTS.safetensors", cell, preset, overrides)
    for name, tensor in arrays(cell.scenario, plan.store).items():
        write_atomically(folder / f"{name}.npy", as_npy(tensor))
        about["files"][f"{name}.npy"] = f"int64, {len(tensor)} values"
    write_atomically(folder / "about.json", json.dumps(about, indent=1).encode())
    return f"{folder} has the original and what it must forget; judge what you make of it with\n{about['score']}"


def original(plan: Plan, cell: Cell, say: Callable[[str], object]) -> bytes:
    """The weights of the network that must forget, as a safetensors file."""
    from safetensors.torch import save

    job = cell.outputs.needs["original"]
    if not plan.store.has(job.key):
        say(f"training the original first: {job.ep:.0f} passes over the training set")
    (done,) = in_parallel(work, [(job, plan.store, False)], 1, None, plan.environment)
    if reason := done.result.reason if done.result else done.reason:
        raise UserError(f"the original cannot be trained: {reason}")
    tensors, _ = Workshop(plan.store).get(job)
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def arrays(scenario: Scenario, store: Store) -> dict[str, Tensor]:
    """What to forget, what remains, and the labels that the original was trained on."""
    content = content_of(scenario, store)
    split = split_of(scenario, store)
    labels = split.labels(content)
    retain = torch.from_numpy(~metrics.positions(split.forget, len(labels))).nonzero()[:, 0]
    place = positions_of(scenario, store)
    every = data.load(scenario.dataset, scenario.root, store)[0].train_labels.clone()
    every[place] = labels
    return {"forget": place[split.forget], "retain": place[retain], "train_labels": every}


def as_npy(tensor: Tensor) -> bytes:
    """A tensor as NumPy's file format."""
    import io

    import numpy as np

    file = io.BytesIO()
    np.save(file, tensor.numpy(), allow_pickle=False)
    return file.getvalue()


def described(cell: Cell, store: Store) -> dict[str, Any]:
    """Everything about a cell that is not in the arrays."""
    scenario = cell.scenario
    content, checksum = data.load(scenario.dataset, scenario.root, store)
    channels, height, width = shape_of(scenario, content)
    how = "pixels divided by 255"
    if scenario.recipe.resize:
        stored = " x ".join(map(str, content.shape[1:]))
        how = f"{how} and resized from {stored} (bilinear, antialiased)"
    return {
        "unlearnbench": version("unlearnbench"),
        "dataset": {"name": scenario.dataset, "sha256": checksum, "classes": content.num_classes},
        "task": {"name": scenario.task, "options": dict(scenario.task_options)},
        "seed": scenario.seed,
        "network": {
            "model": scenario.model,
            "options": dict(scenario.model_options),
            "input": f"float32 [n, {channels}, {height}, {width}], {how}; any normalisation is in the network",
        },
        "recipe": scenario.recipe.values(),
        "files": {"original.safetensors": "the weights, by name as in PyTorch's state_dict"},
    }
