"""Seeds come from names, and the global generators are given back as they were."""

from __future__ import annotations

import random

import numpy as np
import torch

from unlearnbench import seeds


def test_a_seed_belongs_to_its_names_for_ever() -> None:
    assert seeds.derive("mnist", "data-removal", 0, "retrain") == 5791004514562993423
    assert len({seeds.derive("a", i) for i in range(1000)} | {seeds.derive("ai")}) == 1001


def test_pinned_gives_the_same_numbers_and_leaves_no_trace() -> None:
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


def test_global_settings_are_given_back() -> None:
    def settings() -> tuple[object, ...]:
        where = torch.get_default_device(), torch.get_default_dtype()
        return (*where, torch.get_num_threads(), torch.is_grad_enabled(), torch.get_deterministic_debug_mode())

    before = settings()
    with seeds.pinned("x"):
        torch.set_num_threads(before[2] + 1)  # type: ignore[operator]
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_deterministic_debug_mode("warn")
        assert all(now != old for now, old in zip(settings(), before, strict=True))
    assert settings() == before
