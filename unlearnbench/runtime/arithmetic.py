"""Which instructions worker processes compute with.

Libraries choose their code by the processor that they find, and different code rounds differently: trainings that are
equal up to a step differ visibly after a few epochs. Under portable arithmetic every x86-64 processor with AVX2 gives
the same bits, because all libraries are told to use the same code.
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

MARK = "UNLEARNBENCH_ARITHMETIC"
"""The environment variable by which a worker process knows what it was started with."""

LIMITS = {
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own kernels
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "MKL_CBWR": "COMPATIBLE",  # torch's matrix products and functions: with AVX2, Intel and AMD round differently
    "OPENBLAS_CORETYPE": "Haswell",  # matrix products of NumPy and SciPy
    "NPY_ENABLE_CPU_FEATURES": "",  # NumPy refuses to be told both
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
}
"""What limits each library to one code; it reads its variable once, when it is loaded. NumPy ignores the names of
features that it does not know, because they are an older or a newer NumPy's."""


THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""One thread in every library: sums depend on how many there are, and workers share the cores."""


def environment(arithmetic: str) -> Mapping[str, str]:
    """The environment variables that a worker process of this arithmetic is started with."""
    return {MARK: arithmetic, **THREADS, **(LIMITS if arithmetic == PORTABLE else {})}


def current() -> str:
    """The arithmetic of this process: native unless it is a worker that was started with another one."""
    return os.environ.get(MARK, NATIVE)


def check_current(wanted: str) -> None:
    """Raises `RuntimeError` if this process computes otherwise than wanted: the result would get a wrong key."""
    if current() != wanted:
        raise RuntimeError(f"this process has {current()} arithmetic, and {wanted} arithmetic is wanted here")


def available() -> bool:
    """Whether this processor can compute portably: x86-64 with AVX2."""
    import torch

    has_avx2 = getattr(torch.cpu, "_is_avx2_supported", lambda: "AVX" in torch.backends.cpu.get_cpu_capability())
    return platform.machine().lower() in ("x86_64", "amd64") and bool(has_avx2())


def resolved(wanted: str, device: str) -> str:
    """The arithmetic that is meant by "auto": portable on a CPU that has it, else native.

    Args:
        wanted: One of `CHOICES`.
        device: "cpu" or "cuda".

    Returns:
        `PORTABLE` or `NATIVE`; with a warning, if that is native because this processor has no other.

    Raises:
        UserError: If it is not one of `CHOICES`, or portable where that cannot be had.
    """
    if wanted not in CHOICES:
        raise UserError(f"arithmetic must be {', '.join(CHOICES[:-1])} or {CHOICES[-1]}, not {wanted!r}")
    if wanted == "auto":
        return preferred(device)
    if wanted == PORTABLE and not (device == "cpu" and available()):
        raise UserError("portable arithmetic needs an x86-64 processor with AVX2, and --device cpu: use auto or native")
    return wanted


def preferred(device: str) -> str:
    """Portable arithmetic where it can be had; otherwise native, and with a warning on a CPU."""
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
    """The name of this machine's processor, as far as the operating system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - only its beginning is read
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
