"""Networks that are made elsewhere: what their makers need, and a verdict on what they bring back."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearnbench import data, folders, metrics, presets, registry
from unlearnbench.artefacts import Job, shapes_of
from unlearnbench.errors import UserError
from unlearnbench.making import Workshop
from unlearnbench.plan import Cell, Plan
from unlearnbench.planner import parameters, record_path
from unlearnbench.presets import ELSEWHERE, NOTHING, REFERENCE
from unlearnbench.run import Progress, Summary, carried_out, planned, work
from unlearnbench.setting import Setting, content_of, positions_of, shape_of, split_of
from unlearnbench.store import Store, read_record, write_atomically
from unlearnbench.workers import in_parallel

LONGEST_NAME = 100


def score(
    weights: str | Path,
    *,
    dataset: str,
    task: str,
    seed: int = 0,
    name: str | None = None,
    preset: str | Path = "demo",
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    jobs: int | None = None,
    device: str = "auto",
    arithmetic: str = "auto",
    results: str | Path = "results",
    cache: str | Path | None = None,
    data: str | Path | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Evaluates given weights as a cell, beside Retrain; it gets a record, and a row of its own in the tables.

    Args:
        weights: A safetensors file with the weights of the preset's network for this data set.
        dataset: Name of the data set.
        task: Name of the task.
        seed: The seed of the original and of the forget set.
        name: What records and tables call it; None: the name of the file.
        preset: As in `run`, likewise the others.
        overrides: Options by name of a task or attack.
        jobs: Workers.
        device: "auto", "cpu" or "cuda".
        arithmetic: As in `run`.
        results: Folder of records and tables.
        cache: Folder of artefacts.
        data: Folder with the data sets' files.
        dry_run: Only plan.
        progress: Is told how it goes.

    Returns:
        As `run`; the plan's cells are Retrain's and the given network's.

    Raises:
        UserError: If the weights are not those of the preset's network, or another argument is wrong.
    """
    path = Path(weights)
    called = path.stem if name is None else name
    check_name(called)
    where = {
        "overrides": overrides,
        "device": device,
        "arithmetic": arithmetic,
        "results": results,
        "cache": cache,
        "data": data,
    }
    plan = plan_of(dataset, task, seed, preset, **where)
    reference, untouched = (next(c for c in plan.cells if c.method == m) for m in (REFERENCE, NOTHING))
    given = brought(path, untouched.setting, plan.store)
    text = command(path, untouched, preset, overrides, "--name", called)
    cell = judged(untouched, given, called, text, plan.results)
    there = read_record(cell.path)
    if there is not None and there["cell"]["role"] != ELSEWHERE:
        raise UserError(f"{cell.path} is the record of a method: choose another --name")
    return carried_out(replace(plan, cells=[reference, cell]), preset, jobs=jobs, dry_run=dry_run, progress=progress)


def plan_of(dataset: str, task: str, seed: int, preset: str | Path, **where: Any) -> Plan:
    """The plan of the network to which nothing was done, and of Retrain; other arguments as of `planned`."""
    seeds = presets.parse_seeds(seed)
    return planned(preset, datasets=[dataset], tasks=[task], methods=[NOTHING], seeds=seeds, **where)


def check_name(name: str) -> None:
    """Raises `UserError` for a name that methods or their variants have, or that would make no file."""
    if name in registry.entries("methods"):
        raise UserError(f"{name} is the name of a method: give the network another one with --name")
    if not name.strip(". ") or "+" in name or len(name) > LONGEST_NAME:
        raise UserError(f"a --name has up to {LONGEST_NAME} characters, no plus sign, and not only dots: not {name!r}")


def command(
    weights: Path | str,
    cell: Cell,
    preset: str | Path,
    overrides: Mapping[str, Mapping[str, Any]] | None,
    *more: str,
) -> str:
    """The command line that judges weights as a cell of this setting."""
    setting = cell.setting
    words = ["unlearnbench", "score", str(weights), "-d", setting.dataset, "-t", setting.task]
    words += ["--seed", str(setting.seed), "--preset", str(preset), "--device", setting.device]
    words += ["--arithmetic", setting.arithmetic, *more]
    return shlex.join(words + parameters(overrides or {}, (setting.task, *cell.attacks)))


def brought(path: Path, setting: Setting, store: Store) -> Job:
    """Puts given weights among the artefacts, where a cell can start from them."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = path.read_bytes()
        tensors = load(content)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except SafetensorError as error:
        raise UserError(f"{path} is no safetensors file: {error}") from error
    check_fit(path, tensors, setting, store)
    key = {"kind": "given", "sha256": hashlib.sha256(content).hexdigest()}
    store.get_or_make(key, lambda: (tensors, {"seconds": {}}))
    return Job("network", key, setting, 0, 0)  # which other cells' networks are, too: something to start from


def check_fit(path: Path, tensors: Mapping[str, Tensor], setting: Setting, store: Store) -> None:
    """Raises `UserError` unless these are the weights of a setting's network."""
    content = content_of(setting, store)
    options = tuple(setting.model_options.items())
    wanted = shapes_of(setting.model, options, shape_of(setting, content), content.num_classes)
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            shapes = [f"has shape {shapes[name]}" if name in shapes else "is not there" for shapes in (found, wanted)]
            raise UserError(
                f"{path} does not have the weights of {setting.model} for {setting.dataset}: {name} {shapes[0]} "
                f"but {shapes[1]} in that network; `unlearnbench export` writes a file that fits"
            )
        if not tensors[name].isfinite().all():
            raise UserError(f"{path} has numbers in {name} that are not finite")


def judged(untouched: Cell, given: Job, name: str, command: str, results: Path) -> Cell:
    """The cell of given weights, made of that of the network to which nothing was done."""
    outputs = replace(
        untouched.outputs,
        key={**untouched.outputs.key, "parent": given.key},
        needs={**untouched.outputs.needs, "parent": given},
        keep=None,
    )
    about = {
        **untouched.about,
        "method": name,
        "method_title": name,
        "role": ELSEWHERE,
        "access": "not enforced",
    }
    return replace(
        untouched,
        outputs=outputs,
        key={**untouched.key, "outputs": outputs.key},
        path=record_path(results, about),
        about=about,
        command=command,
    )


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

    `original.safetensors` has the weights; `forget.npy` and `remain.npy` (int64) positions in the training set, in the
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
    for name, tensor in arrays(cell.setting, plan.store).items():
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


def arrays(setting: Setting, store: Store) -> dict[str, Tensor]:
    """What to forget, what remains, and the labels that the original was trained on."""
    content = content_of(setting, store)
    split = split_of(setting, store)
    labels = split.labels(content)
    remain = torch.from_numpy(~metrics.positions(split.forget, len(labels))).nonzero()[:, 0]
    place = positions_of(setting, store)
    every = data.load(setting.dataset, setting.root, store)[0].train_labels.clone()
    every[place] = labels
    return {"forget": place[split.forget], "remain": place[remain], "train_labels": every}


def as_npy(tensor: Tensor) -> bytes:
    """A tensor as NumPy's file format."""
    import io

    import numpy as np

    file = io.BytesIO()
    np.save(file, tensor.numpy(), allow_pickle=False)
    return file.getvalue()


def described(cell: Cell, store: Store) -> dict[str, Any]:
    """Everything about a cell that is not in the arrays."""
    setting = cell.setting
    content, checksum = data.load(setting.dataset, setting.root, store)
    channels, height, width = shape_of(setting, content)
    how = "pixels divided by 255"
    if setting.recipe.resize:
        stored = " x ".join(map(str, content.shape[1:]))
        how = f"{how} and resized from {stored} (bilinear, antialiased)"
    return {
        "unlearnbench": version("unlearnbench"),
        "dataset": {"name": setting.dataset, "sha256": checksum, "classes": content.num_classes},
        "task": {"name": setting.task, "options": dict(setting.task_options)},
        "seed": setting.seed,
        "network": {
            "model": setting.model,
            "options": dict(setting.model_options),
            "input": f"float32 [n, {channels}, {height}, {width}], {how}; any normalisation is in the network",
        },
        "recipe": setting.recipe.values(),
        "files": {"original.safetensors": "the weights, by name as in PyTorch's state_dict"},
    }
