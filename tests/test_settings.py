"""Whatever a block does to what a process has only once, it is as before when the block is over."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from unlearnbench import seeds
from unlearnbench.settings import SETTINGS, kept


def test_everything_that_a_process_has_once_is_put_back(tmp_path: Path) -> None:
    def values() -> dict[str, object]:
        return {name: read() for name, (read, _) in SETTINGS.items()}

    before, changed = values(), []
    with seeds.pinned("x"), kept(changed.append):
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_deterministic_debug_mode("warn")
        torch.autograd.set_detect_anomaly(True)
        np.seterr(all="raise")
        os.chdir(tmp_path)
        assert all(now != old for now, old in zip(values().values(), before.values(), strict=True))
    assert values() == before
    assert changed == list(SETTINGS)
