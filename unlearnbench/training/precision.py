"""What "auto" means for the precision of a recipe."""

from __future__ import annotations

import torch

from unlearnbench.errors import UserError
from unlearnbench.runtime.arithmetic import PORTABLE

MEASURED: frozenset[tuple[str, str]] = frozenset()
"""The data sets and networks for which bf16 is within what seeds do, as `python -m benchmarks.precision` says; its
output belongs into results/benchmarks/. Of the digits it says that they are not, so "auto" is fp32 so far."""

CPUS = ("avx512_bf16", "amx_tile")
"""The instructions that multiply bf16, as torch calls them."""


def resolved(wanted: str, dataset: str, model: str, device: str, arithmetic: str) -> str:
    """The precision that is meant: "auto" is bf16 where that is as good and the device is made for it, else fp32.

    Raises:
        UserError: If it is bf16, and arithmetic is portable: processors differ in how they multiply bf16.
    """
    if arithmetic == PORTABLE and wanted == "bf16":
        raise UserError("precision bf16 is not the same on all processors: use --arithmetic native with it")
    if wanted != "auto" or arithmetic == PORTABLE:
        return "fp32" if wanted == "auto" else wanted
    return "bf16" if (dataset, model) in MEASURED and made_for_bf16(device) else "fp32"


def made_for_bf16(device: str) -> bool:
    """Whether a device ("cpu" or "cuda") multiplies bf16 itself; others emulate it, and are slower than in fp32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return any(getattr(torch.cpu, f"_is_{kind}_supported", bool)() for kind in CPUS)  # older torch cannot say: False
