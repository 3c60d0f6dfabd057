"""bf16 is a recipe of its own; "auto" takes it only where it is known to be as good, and fast."""

from __future__ import annotations

from pathlib import Path

import pytest

import unlearnbench
from unlearnbench import UserError, precision
from unlearnbench.recipe import Recipe


@pytest.mark.parametrize("fast", [True, False])
def test_auto_is_bf16_where_it_is_measured_and_fast(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "made_for_bf16", lambda device: fast)
    monkeypatch.setattr(precision, "MEASURED", {("somebody's", "measured")})
    assert precision.resolved("auto", "somebody's", "measured", "cpu") == ("bf16" if fast else "fp32")
    assert precision.resolved("auto", "nobody", "measured", "cpu") == "fp32"
    assert precision.resolved("bf16", "nobody", "measured", "cpu") == "bf16"  # who asks for it gets it


def test_it_is_in_the_keys(tiny: Path, tmp_path: Path) -> None:
    keys = {}
    for name in ("fp32", "bf16"):
        preset = tmp_path / f"{name}.toml"
        preset.write_text(tiny.read_text().replace("[recipe]", f'[recipe]\nprecision = "{name}"'))
        plan = unlearnbench.run(preset, dry_run=True, cache=tmp_path, results=tmp_path).plan
        keys[name] = {cell.outputs.digest for cell in plan.cells} | {job.digest for job in plan.shared}
    assert not keys["fp32"] & keys["bf16"]


def test_another_precision_is_refused() -> None:
    with pytest.raises(UserError, match="unknown precision 'fp16'"):
        Recipe(precision="fp16")
