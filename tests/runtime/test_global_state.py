"""Whatever a block does to global settings, they are restored after it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch

from unlearnbench.runtime import seeds
from unlearnbench.runtime.global_state import SETTINGS, preserved


def test_a_block_may_delete_its_working_directory(tmp_path: Path) -> None:
    before = Path.cwd()
    with seeds.pinned("x"):
        gone = tmp_path / "gone"
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()
    assert Path.cwd() == before


def test_all_global_settings_are_restored(tmp_path: Path) -> None:
    def values() -> dict[str, object]:
        return {name: read() for name, (read, _) in SETTINGS.items()}

    before, changed = values(), []
    with preserved(changed.append):
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        torch.set_deterministic_debug_mode("warn")
        torch.autograd.set_detect_anomaly(True)
        torch.set_float32_matmul_precision("medium")
        torch.set_autocast_enabled("cpu", True)
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
        np.seterr(all="raise")
        os.environ["NEW_VARIABLE"] = "1"
        os.chdir(tmp_path)
        assert all(now != old for now, old in zip(values().values(), before.values(), strict=True))
    assert values() == before
    assert changed == list(SETTINGS)


def test_pinned_seeds_restore_the_settings_too() -> None:
    with seeds.pinned("x"):
        torch.set_default_dtype(torch.float64)
    assert torch.get_default_dtype() == torch.float32
