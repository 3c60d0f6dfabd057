"""Seeds come from names, and the state of global generators is restored."""

from __future__ import annotations

import random

import numpy as np
import torch

from unlearnbench.runtime import seeds


def test_the_seed_of_names_never_changes() -> None:
    assert seeds.derive("mnist", "data-removal", 0, "retrain") == 5791004514562993423
    assert len({seeds.derive("a", i) for i in range(1000)} | {seeds.derive("ai")}) == 1001


def test_pinned_gives_the_same_numbers_and_restores_the_generators() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with seeds.pinned("x"):
        first = draw()
    with seeds.pinned("x"):
        assert draw() == first
    with seeds.pinned("y"):
        assert draw() != first
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
