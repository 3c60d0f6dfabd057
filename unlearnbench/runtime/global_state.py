"""What a process has only once, and plugins may change: how to read it, and how to put it back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as modules

KINDS = ("cpu", "cuda")
AUTOCAST = (
    (torch.is_autocast_enabled, torch.set_autocast_enabled),
    (torch.get_autocast_dtype, torch.set_autocast_dtype),
)
HOOKS = tuple(f"_global_{kind}_hooks" for kind in ("forward", "forward_pre", "backward", "backward_pre"))
BACKENDS = (
    *((torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")),
    (torch.backends.mkldnn, "enabled"),
    (torch.backends.cuda.matmul, "allow_tf32"),
)


def restore_autocast(values: list[Any]) -> None:
    """Puts back whether, and in what type, each kind of device computes in mixed precision."""
    places = [(put_back, kind) for _, put_back in AUTOCAST for kind in KINDS]
    for (put_back, kind), value in zip(places, values, strict=True):
        put_back(kind, value)


def restore_backends(values: list[Any]) -> None:
    """Puts back what torch's backends may do."""
    for (backend, name), value in zip(BACKENDS, values, strict=True):
        setattr(backend, name, value)


def restore_hooks(registered: list[dict[int, Any]]) -> None:
    """Puts back the hooks that all modules have in common."""
    for name, there in zip(HOOKS, registered, strict=True):
        hooks = getattr(modules, name)
        hooks.clear()
        hooks.update(there)


def restore_environment(variables: dict[str, str]) -> None:
    """Puts back the environment, variable by variable."""
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


def working_directory() -> Path | None:
    """Where the process is; None if that folder is gone."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def return_to(path: Path | None) -> None:
    """Goes to a folder again, if it was there."""
    if path:
        os.chdir(path)


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device.type == "cpu" else device),
    ),
    "whether torch computes gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "whether torch wants deterministic algorithms": (
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    "whether torch detects anomalies": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's precision of matrix products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "torch's mixed precision": (lambda: [read(kind) for read, _ in AUTOCAST for kind in KINDS], restore_autocast),
    "torch's backends": (lambda: [getattr(*place) for place in BACKENDS], restore_backends),
    "hooks on all modules": (lambda: [dict(getattr(modules, name)) for name in HOOKS], restore_hooks),
    "NumPy's handling of errors": (np.geterr, lambda modes: np.seterr(**modes)),
    "environment variables": (lambda: dict(os.environ), restore_environment),
    "the working directory": (working_directory, return_to),
}


@contextmanager
def kept(changed: Callable[[str], object] = lambda name: None) -> Iterator[None]:
    """Puts back whatever a block changes, and says what that was; to put back what is as it was can take seconds."""
    before = {name: read() for name, (read, _) in SETTINGS.items()}
    try:
        yield
    finally:
        for name, (read, put_back) in SETTINGS.items():
            if read() != before[name]:
                changed(name)
                put_back(before[name])
