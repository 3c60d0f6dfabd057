"""From what people ask for to a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from unlearnbench.errors import UserError
from unlearnbench.planning import presets
from unlearnbench.planning.cells import build
from unlearnbench.planning.plan import Plan
from unlearnbench.runtime.arithmetic import resolved
from unlearnbench.storage import folders
from unlearnbench.storage.store import Store


def planned(
    preset: str | Path,
    *,
    datasets: Sequence[str] = (),
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: Sequence[int] = (),
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    device: str = "auto",
    arithmetic: str = "auto",
    results: str | Path = "results",
    cache: str | Path | None = None,
    data: str | Path | None = None,
    force: bool = False,
    retry: bool = False,
    accept_stale: bool = False,
    fleet: int | None = None,
) -> Plan:
    """The plan of a selection; arguments as in `run`, and the index of a fleet's world in which all happens."""
    chosen, where = presets.read(str(preset)), choose_device(device)
    store = Store(folders.cache(cache))
    folders.check_writable(store.root)
    return build(
        chosen,
        store,
        Path(results) / chosen.name,
        datasets=datasets,
        tasks=tasks,
        methods=methods,
        seed_list=seeds,
        overrides=overrides,
        root=folders.data(data),
        device=where,
        arithmetic=resolved(arithmetic, where),
        force=force,
        retry=retry,
        accept_stale=accept_stale,
        preset_name=str(preset),
        fleet=fleet,
    )


def choose_device(name: str) -> str:
    """Resolves "auto"."""
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"device must be auto, cpu or cuda, not {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("there is no CUDA device here: use --device cpu")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name
