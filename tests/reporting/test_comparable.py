"""Tables call stale what a run would compute again after a change of the preset."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import plan_in

from unlearnbench.artefacts import plugin_keys
from unlearnbench.planning import presets
from unlearnbench.planning.staleness import State
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
