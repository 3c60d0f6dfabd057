"""The instructions that worker processes compute with.

Libraries choose their code by the processor, and different code rounds differently: after a few epochs of training the
differences are visible. Under portable arithmetic all libraries are limited to the same code, so every x86-64 processor
with AVX2 gives the same bits.
"""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Mapping
from functools import cache

from unlearnbench.errors import UserError

PORTABLE, NATIVE = "portable", "native"
CHOICES = ("auto", PORTABLE, NATIVE)

VARIABLE = "UNLEARNBENCH_ARITHMETIC"
"""The environment variable that holds the arithmetic of a worker process."""

LIMITS = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "MKL_CBWR": "COMPATIBLE",  # torch's matrix products and functions: with AVX2, Intel and AMD round differently.
    # runtime/elementwise.py replaces the functions that it does not reach.
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of NumPy and SciPy
    "NPY_ENABLE_CPU_FEATURES": "",  # NumPy rejects both variables at once
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
}
"""Variables that limit each library to one code; each is read once, when the library is loaded. NumPy ignores the names
of features that its version does not know."""


THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""One thread in every library: sums depend on the number of threads, and workers share the cores."""


def environment(arithmetic: str) -> Mapping[str, str]:
    """The environment variables for worker processes of this arithmetic."""
    return {VARIABLE: arithmetic, **THREADS, **(LIMITS if arithmetic == PORTABLE else {})}


def current() -> str:
    """The arithmetic of this process: native, unless it is a worker that was started with another one."""
    return os.environ.get(VARIABLE, NATIVE)


def ensure(required: str) -> None:
    """Prepares torch for this arithmetic; call it before anything is computed.

    Raises:
        RuntimeError: If this process has another arithmetic than required: the key would be wrong.
    """
    if current() != required:
        raise RuntimeError(f"this process has {current()} arithmetic, but {required} arithmetic is required")
    if required == PORTABLE:
        from unlearnbench.runtime.elementwise import replace

        replace()


def available() -> bool:
    """True if this processor has portable arithmetic: x86-64 with AVX2."""
    import torch

    has_avx2 = getattr(torch.cpu, "_is_avx2_supported", lambda: "AVX" in torch.backends.cpu.get_cpu_capability())
    return platform.machine().lower() in ("x86_64", "amd64") and bool(has_avx2())


def resolved(choice: str, device: str) -> str:
    """The arithmetic for a choice; "auto" is portable on a CPU that has it, and native otherwise.

    Args:
        choice: One of `CHOICES`.
        device: "cpu" or "cuda".

    Returns:
        `PORTABLE` or `NATIVE`. Warns if "auto" is native because the CPU lacks AVX2.

    Raises:
        UserError: If the choice is none of `CHOICES`, or portable where that is not available.
    """
    if choice not in CHOICES:
        raise UserError(f"arithmetic must be {', '.join(CHOICES[:-1])} or {CHOICES[-1]}, not {choice!r}")
    if choice == "auto":
        return preferred(device)
    if choice == PORTABLE and not (device == "cpu" and available()):
        raise UserError("portable arithmetic needs an x86-64 processor with AVX2, and --device cpu: use auto or native")
    return choice


def preferred(device: str) -> str:
    """Portable arithmetic where it is available; otherwise native, with a warning on a CPU."""
    if device == "cpu" and available():
        return PORTABLE
    if device == "cpu":
        warnings.warn(
            "this processor has no AVX2, so arithmetic is native: numbers differ from those of other machines",
            stacklevel=2,
        )
    return NATIVE


@cache
def processor() -> str:
    """The name of this machine's processor, as the operating system reports it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - only the beginning is read
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
