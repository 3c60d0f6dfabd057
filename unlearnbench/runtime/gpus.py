"""The GPUs of this process, and which of them a worker process sees."""

from __future__ import annotations

import os
from collections.abc import Mapping

VARIABLE = "CUDA_VISIBLE_DEVICES"
"""The environment variable by which CUDA is told which GPUs it may use."""


def visible() -> list[str]:
    """The names by which CUDA knows the GPUs that this process sees: numbers, or what `VARIABLE` calls them."""
    import torch

    count = torch.cuda.device_count()
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    return (named or [str(number) for number in range(count)])[:count]


def environment(device: str) -> Mapping[str, str]:
    """The variable that names the GPUs for worker processes; empty for a CPU."""
    return {VARIABLE: ",".join(visible())} if device == "cuda" else {}


def shared_out(variables: Mapping[str, str], workers: int) -> list[dict[str, str]]:
    """The environment variables of each worker: each sees one of the GPUs that the common variables name, in turn."""
    names = [name for name in variables.get(VARIABLE, "").split(",") if name]
    common = {name: value for name, value in variables.items() if name != VARIABLE}
    if not names:
        return [dict(common) for _ in range(workers)]
    return [{**common, VARIABLE: names[worker % len(names)]} for worker in range(workers)]
