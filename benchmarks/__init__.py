"""Side by side: `python -m benchmarks.training`, `.suite`, `.scaling`. Times are never tested, only compared.

Everything that is compared runs alternately, in one process tree, on one machine, and every result names the machine.
"""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def machine() -> str:
    """The machine that a measurement was made on, in a line."""
    return f"{processor()}, {len_cores()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def processor() -> str:
    """The name of the processor, with what decides how fast it multiplies."""
    capability = torch.backends.cpu.get_cpu_capability()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()} ({capability})"


def len_cores() -> int:
    """How many cores this process may use."""
    import joblib

    return int(joblib.cpu_count())
