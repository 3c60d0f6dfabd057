"""The steps that the training loop and the methods share do what their definitions say."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import softmax

from unlearnbench import descend, divergence


def test_a_step_follows_the_gradient_of_its_own_loss_only() -> None:
    layer = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer.weight.sum().backward()  # a gradient from before
    before = layer.weight.detach().clone()
    descend(optimizer, (layer.weight * 2).sum())
    assert torch.allclose(layer.weight, before - 0.1 * 2)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_divergence_is_that_of_its_definition(temperature: float) -> None:
    teacher, student = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p, q = softmax(teacher / temperature, dim=1), softmax(student / temperature, dim=1)
    expected = sum(float((a * (a / b).log()).sum()) for a, b in zip(p, q, strict=True)) / 5
    assert divergence(teacher, student, temperature).item() == pytest.approx(expected, abs=1e-12)
