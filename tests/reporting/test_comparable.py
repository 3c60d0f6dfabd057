"""Tables call stale what a run would compute again after a change of the preset."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import plan_in

from unlearnbench.artefacts import plugin_keys
from unlearnbench.planning import presets
from unlearnbench.planning.staleness import State
from unlearnbench.planning.tuned import Choice, path_for, write
from unlearnbench.reporting.comparable import reset
from unlearnbench.reporting.record import Record
from unlearnbench.storage.records import read_record
from unlearnbench.storage.store import Store

CHANGES = {
    "recipe": ("epochs = 1\n[data", "epochs = 2\n[data"),
    "the number of shadow models": ("shadows = 2", "shadows = 4"),
    "a task's option": ("[recipe]", "[tasks.class-removal]\nclasses = [3]\n[recipe]"),
    "a method's option": ("vae_epochs = 1", "vae_epochs = 1\ntau = 9.0"),
    "an option that is removed": ("vae_epochs = 1", ""),
    "an attack's option": ("[recipe]", '[attacks.released]\nclassifier = "xgboost"\n[recipe]'),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_the_preset_makes_the_same_records_stale_for_tables_and_for_runs(
    what: str, tiny: Path, tiny_run: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = CHANGES[what]
    text = tiny.read_text()
    assert before in text
    changed = tmp_path / "tiny.toml"
    changed.write_text(text.replace(before, after, 1))
    releases = {"xgboost": "1.0"}  # which need not be installed
    monkeypatch.setattr(plugin_keys, "release", lambda library: releases.get(library) or version(library))
    plan = plan_in(store, tiny_run, changed, tasks="class-removal")
    preset = presets.read(str(changed))
    for cell, status in zip(plan.cells, plan.statuses, strict=True):
        record = Record.from_json(read_record(cell.path) or {})
        assert bool(list(reset(record, preset))) == (status.state == State.STALE), (str(cell), status)


@pytest.mark.parametrize(("of_preset", "tuned", "stale"), [(1, 2, True), (2, 1, False), (2, 2, True)])
def test_a_tuned_value_wins_over_the_presets_for_tables_and_for_runs(
    of_preset: int, tuned: int, stale: bool, tiny: Path, tiny_run: Path, store: Store, tmp_path: Path
) -> None:
    """The records were made with one epoch."""
    changed = tmp_path / "tiny.toml"
    changed.write_text(tiny.read_text().replace("vae_epochs = 1", f"vae_epochs = {of_preset}"))
    choice = Choice("laf", "class-removal", "cnn", {"vae_epochs": tuned}, "laf.csv", "0" * 64, 1.0)
    write(path_for(changed), [choice])
    plan = plan_in(store, tiny_run, changed, tasks="class-removal", methods="laf")
    preset = presets.read(str(changed))
    states = {cell.method: status.state for cell, status in zip(plan.cells, plan.statuses, strict=True)}
    assert states["laf"] == (State.STALE if stale else State.CACHED)
    for cell, status in zip(plan.cells, plan.statuses, strict=True):
        record = Record.from_json(read_record(cell.path) or {})
        assert bool(list(reset(record, preset))) == (status.state == State.STALE), (str(cell), status)
