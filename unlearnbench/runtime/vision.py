"""The one place that imports torchvision.

Some torchvision builds come without their native operators (e.g. a CUDA build beside a CPU-only torch). They then
fail on import, because the schemas of `nms` and `qnms` are looked up. Declaring these two is enough for data sets,
models and transforms, which never call them.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("nms", "qnms")


def torchvision(part: str = "") -> ModuleType:
    """Imports torchvision, or a part of it such as "datasets" or "transforms.v2.functional".

    Raises:
        ImportError: If torchvision is not installed or fails for another reason than missing operators.
    """
    name = f"torchvision.{part}" if part else "torchvision"
    try:
        return import_module(name)
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    declare_missing_operators()
    return import_module(name)


def declare_missing_operators() -> None:
    """Declares the schemas of the operators that this build of torchvision lacks."""
    for operator in OPERATORS:
        if not hasattr(torch.ops.torchvision, operator):
            torch.library.define(f"torchvision::{operator}", SCHEMA)
