"""What a process has only once, and plugins may change: how to read it, and how to put it back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

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
    "NumPy's handling of errors": (np.geterr, lambda modes: np.seterr(**modes)),
    "the working directory": (Path.cwd, os.chdir),
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
