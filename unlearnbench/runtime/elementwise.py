"""Functions of torch that round differently on Intel's and AMD's processors, computed by NumPy instead.

torch computes them with MKL, whose code starts from the processor's own estimate of a reciprocal or a root (the
instructions RCPPS and RSQRTPS). The two makers define these estimates differently, and `MKL_CBWR` does not avoid them.
NumPy's code has no such instruction, and its square root is correctly rounded. The logarithm of float64 depends on the
processor, too, but that of float32, which training uses, does not; it stays as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

FUNCTIONS: dict[str, np.ufunc] = {
    "sqrt": np.sqrt,
    "log2": np.log2,
    "log10": np.log10,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
}
"""torch's name of each function, and NumPy's function. Those that MKL computes without estimates are not replaced."""


KEPT: list[Any] = []
"""Keeps the library alive: torch takes the replacements back when it is deleted."""


@cache
def replace() -> None:
    """Replaces the functions on the CPU, for the rest of this process. Autograd works as before."""
    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that a function is replaced
        for name, function in FUNCTIONS.items():
            compute = on_tensors(function)
            for overload, kernel in ("", compute), (".out", written(compute)), ("_", in_place(compute)):
                library.impl(name + overload, kernel, "CPU", allow_override=True)
    KEPT.append(library)


def on_tensors(function: np.ufunc) -> Callable[[torch.Tensor], torch.Tensor]:
    """The function of NumPy as one of tensors of any shape, with torch's rules for dtypes."""

    def compute(values: torch.Tensor) -> torch.Tensor:
        dtype = values.dtype if values.is_floating_point() or values.is_complex() else torch.get_default_dtype()
        computed = torch.float32 if dtype is torch.bfloat16 else dtype  # NumPy has no bfloat16
        array = values.detach().to(computed).resolve_conj().resolve_neg().numpy()
        with np.errstate(all="ignore"):
            return torch.from_numpy(np.asarray(function(array))).to(dtype)

    return compute


def written(compute: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The form with `out=`."""

    def kernel(values: torch.Tensor, *, out: torch.Tensor) -> torch.Tensor:
        return out.resize_(values.shape).copy_(compute(values))

    return kernel


def in_place(compute: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """The form that changes its argument."""
    return lambda values: values.copy_(compute(values))
