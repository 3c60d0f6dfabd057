"""Process-wide settings that plugins may change: how to read and how to restore them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as modules

DEVICES = ("cpu", "cuda")
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
    """Restores the mixed precision of each kind of device: whether it is enabled, and its dtype."""
    setters = [(restore, device) for _, restore in AUTOCAST for device in DEVICES]
    for (restore, device), value in zip(setters, values, strict=True):
        restore(device, value)


def restore_backends(values: list[Any]) -> None:
    """Restores the settings of torch's backends."""
    for (backend, name), value in zip(BACKENDS, values, strict=True):
        setattr(backend, name, value)


def restore_hooks(registered: list[dict[int, Any]]) -> None:
    """Restores the hooks that apply to all modules."""
    for name, before in zip(HOOKS, registered, strict=True):
        hooks = getattr(modules, name)
        hooks.clear()
        hooks.update(before)


def restore_environment(variables: dict[str, str]) -> None:
    """Restores the environment variables."""
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


def working_directory() -> Path | None:
    """The working directory; None if it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


def return_to(path: Path | None) -> None:
    """Changes back to a directory; None: does nothing."""
    if path:
        os.chdir(path)


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "torch's default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "torch's default device": (
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device.type == "cpu" else device),
    ),
    "whether torch computes gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "whether torch uses deterministic algorithms": (
        torch.get_deterministic_debug_mode,
        torch.set_deterministic_debug_mode,
    ),
    "whether torch detects anomalies": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "torch's number of threads": (torch.get_num_threads, torch.set_num_threads),
    "torch's precision of matrix products": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "torch's mixed precision": (lambda: [read(device) for read, _ in AUTOCAST for device in DEVICES], restore_autocast),
    "torch's backends": (lambda: [getattr(backend, name) for backend, name in BACKENDS], restore_backends),
    "hooks on all modules": (lambda: [dict(getattr(modules, name)) for name in HOOKS], restore_hooks),
    "NumPy's handling of errors": (np.geterr, lambda modes: np.seterr(**modes)),
    "environment variables": (lambda: dict(os.environ), restore_environment),
    "the working directory": (working_directory, return_to),
}


@contextmanager
def preserved(report: Callable[[str], object] = lambda name: None) -> Iterator[None]:
    """Restores the settings that a block changes; calls `report` with the name of each.

    Unchanged settings are not written, because some take seconds.
    """
    before = {name: read() for name, (read, _) in SETTINGS.items()}
    try:
        yield
    finally:
        for name, (read, restore) in SETTINGS.items():
            if read() != before[name]:
                report(name)
                restore(before[name])
