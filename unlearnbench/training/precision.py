"""The precision of a recipe that says "auto"."""

from __future__ import annotations

import torch

from unlearnbench.errors import UserError
from unlearnbench.runtime.arithmetic import PORTABLE

MEASURED: frozenset[tuple[str, str]] = frozenset()
"""The data sets and models for which the effect of bf16 is smaller than that of the seed, by
`python -m benchmarks.precision`, whose output belongs in results/benchmarks/. For the digits it is not, so "auto" is
fp32 so far."""
CPUS = ("avx512_bf16", "amx_tile")
"""The instructions that multiply bf16, by torch's names."""


def resolved(precision: str, dataset: str, model: str, device: str, arithmetic: str) -> str:
    """The precision to use: "auto" is bf16 where that is as good and the device supports it, else fp32.

    Raises:
        UserError: For bf16 with portable arithmetic: processors differ in how they multiply bf16.
    """
    if arithmetic == PORTABLE and precision == "bf16":
        raise UserError("precision bf16 is not the same on all processors: use --arithmetic native with it")
    if precision != "auto" or arithmetic == PORTABLE:
        return "fp32" if precision == "auto" else precision
    return "bf16" if (dataset, model) in MEASURED and made_for_bf16(device) else "fp32"


def made_for_bf16(device: str) -> bool:
    """True if a device ("cpu" or "cuda") has bf16 instructions; others emulate bf16, slower than fp32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return any(
        getattr(torch.cpu, f"_is_{kind}_supported", bool)() for kind in CPUS
    )  # older torch has none of these: False
