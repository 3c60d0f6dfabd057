"""torchvision can be imported wherever it is installed, with or without its native operators."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from unlearnbench.runtime.vision import OPERATORS, torchvision


def test_parts_of_torchvision_can_be_used() -> None:
    resize = torchvision("transforms.v2.functional").resize
    assert resize(torch.zeros(1, 8, 8), [4, 4]).shape == (1, 4, 4)
    assert torchvision("datasets").MNIST
    assert torchvision("models").resnet18(num_classes=3).fc.out_features == 3


def test_missing_operators_are_declared() -> None:
    torchvision()
    assert all(hasattr(torch.ops.torchvision, operator) for operator in OPERATORS)


def test_no_other_module_imports_torchvision() -> None:
    root = Path(__file__).parents[2]
    for path in [*root.glob("unlearnbench/**/*.py"), *root.glob("methods/*.py"), *root.glob("tasks/*.py")]:
        if path.name != "vision.py":
            assert not re.search(r"^\s*(import|from) torchvision", path.read_text(), re.MULTILINE), path
