"""Benchmarks: `python -m benchmarks.NAME`: training, suite, scaling, cluster and together of speed; precision; setting.

All compared runs alternate on one machine, and every result names the machine. No test depends on times.
"""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def machine() -> str:
    """The machine of a measurement, in one line."""
    return f"{processor()}, {core_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"


def processor() -> str:
    """The name of the processor, and the instruction set that torch uses."""
    capability = torch.backends.cpu.get_cpu_capability()
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or platform.machine()} ({capability})"


def core_count() -> int:
    """The number of cores that this process may use."""
    import joblib

    return int(joblib.cpu_count())
