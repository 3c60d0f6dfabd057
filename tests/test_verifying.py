"""`verify` finds numbers that outputs do not give, and files that are not as they were written; `cache` and `merge`."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import unlearnbench
from unlearnbench import UserError, housekeeping
from unlearnbench.auditing import measure
from unlearnbench.cli import main
from unlearnbench.merging import merge
from unlearnbench.store import Store, read_record, write_record
from unlearnbench.verifying import verify


@pytest.fixture
def finished(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be damaged."""
    return Path(shutil.copytree(tiny_run, tmp_path / "results"))


@pytest.fixture
def own_cache(tiny_run: Path, cache: Path, tmp_path: Path) -> Path:
    """A copy of its artefacts."""
    return Path(shutil.copytree(cache, tmp_path / "cache", ignore=shutil.ignore_patterns("*.lock")))


def record_of(finished: Path, task: str = "class-removal", method: str = "laf") -> Path:
    return next(finished.glob(f"*/records/*/*/{task}/{method}/0.json"))


def checked(tiny: Path, finished: Path, cache: Path, **options: Any) -> Any:
    return verify(finished, preset=tiny, cache=cache, say=lambda _: None, **options)


def test_a_finished_run_is_found_whole_and_comes_out_the_same_again(
    tiny: Path, finished: Path, own_cache: Path
) -> None:
    found = checked(tiny, finished, own_cache, rerun=2)
    assert (found.records, found.measured, list(found.problems), found.unmeasured) == (15, 15, [], {})
    assert len(set(found.rerun)) == 2
    assert found.artefacts == len(list(own_cache.glob("*/*.safetensors")))


def test_all_problems_are_reported_at_once(tiny: Path, finished: Path, own_cache: Path) -> None:
    changed = record_of(finished)
    record = read_record(changed)
    assert record is not None
    record["metrics"]["clean"]["test_r"] += 0.001
    write_record(changed, record)  # whole, but not what its outputs say
    broken = record_of(finished, method="retrain")
    broken.write_bytes(broken.read_bytes().replace(b'"ok"', b'"no"'))
    artefact = next(own_cache.glob("prepared/*.safetensors"))
    content = bytearray(artefact.read_bytes())
    content[-5] ^= 1
    artefact.write_bytes(content)
    network = next(own_cache.glob("network/*.safetensors"))
    network.rename(network.with_name(f"{'0' * 32}.safetensors"))
    places = ["--preset", str(tiny), "--results", str(finished), "--cache", str(own_cache)]
    done = CliRunner().invoke(main, ["verify", *places])
    problems = [line for line in done.stdout.splitlines() if line.startswith("problem: ")]
    assert done.exit_code == 1, done.output
    assert any("laf 0 clean test_r: the record says" in line for line in problems)
    assert any(str(broken) in line and "its checksum is wrong" in line for line in problems)
    assert any(str(artefact) in line and "its checksum is wrong" in line for line in problems)
    assert any(f"{'0' * 32}.safetensors: it was made of something else" in line for line in problems)


def test_numbers_that_measure_added_are_checked_and_merged_too(
    tiny: Path, finished: Path, own_cache: Path, tmp_path: Path
) -> None:
    before = Path(shutil.copytree(finished, tmp_path / "before"))
    measure("loss", preset=tiny, results=finished, cache=own_cache, jobs=1, say=lambda _: None)
    assert list(checked(tiny, finished, own_cache).problems) == []
    assert merge([finished], before).more == 15
    path = record_of(finished)
    record = read_record(path)
    assert record is not None
    record["more"]["loss"]["found"]["auc"][0] += 0.01
    write_record(path, record)
    problems = checked(tiny, finished, own_cache).problems
    assert len(problems) == 1
    assert "laf 0 loss auc: the record says" in problems[0]
    with pytest.raises(UserError, match="loss was measured differently"):
        merge([finished], before)


def test_outputs_that_the_method_does_not_give_are_found_by_running_it_again(
    tiny: Path, finished: Path, own_cache: Path
) -> None:
    plan = unlearnbench.run(str(tiny), results=finished, cache=own_cache, dry_run=True).plan
    for cell in plan.cells:
        tensors, info = plan.store.load(cell.outputs.key) or ({}, {})
        plan.store.save(cell.outputs.key, {name: tensor + 1e-3 for name, tensor in tensors.items()}, info)
    problems = checked(tiny, finished, own_cache, rerun=1).problems
    assert any("run again, it gives other outputs on train items" in problem for problem in problems)


def test_what_cannot_be_measured_again_is_said(tiny: Path, finished: Path, own_cache: Path) -> None:
    for path in own_cache.glob("outputs/*.safetensors"):
        path.unlink()
    found = checked(tiny, finished, own_cache)
    assert (found.measured, found.unmeasured, list(found.problems)) == (0, {"outputs no longer in the cache": 15}, [])
    with pytest.raises(UserError, match="there are no records in"):
        checked(tiny, finished / "nowhere", own_cache)


def test_the_cache_keeps_what_records_were_made_of(tiny: Path, tmp_path: Path) -> None:
    finished, own_cache = tmp_path / "results", tmp_path / "cache"
    unlearnbench.run(str(tiny), tasks="class-removal", results=finished, cache=own_cache, jobs=2)
    store = Store(own_cache)
    store.save({"kind": "outputs", "of": "nobody"}, {}, {})
    (own_cache / "outputs" / ".half.safetensors.x").write_bytes(b"left over")
    old = time.time() - 2 * housekeeping.YOUNG
    for path in own_cache.rglob("*"):
        os.utime(path, (old, old))
    store.save({"kind": "outputs", "of": "a run that is going on"}, {}, {})
    before = set(own_cache.glob("*/*.safetensors"))
    places = ["--results", str(finished), "--cache", str(own_cache)]
    shown = json.loads(CliRunner().invoke(main, ["cache", *places, "--json"]).stdout)
    assert {entry["kind"]: entry["unneeded"] for entry in shown if entry["unneeded"]} == {"outputs": 1, "left over": 1}
    done = CliRunner().invoke(main, ["cache", *places, "--prune"])
    assert done.exit_code == 0
    gone = before - set(own_cache.glob("*/*.safetensors"))
    assert gone == {store.path({"kind": "outputs", "of": "nobody"})}
    summary = unlearnbench.run(
        str(tiny), results=finished, cache=own_cache, force=True, dry_run=True, tasks="class-removal"
    )
    assert {job.kind for job in summary.plan.missing} <= {"outputs", "network"}  # nothing else has to be made again
    for wrong, why in (
        (finished / "nowhere", "there is no results folder"),
        (finished / "tiny", "there are no records"),
    ):
        with pytest.raises(UserError, match=why):
            housekeeping.holdings(wrong, own_cache)


def test_what_is_not_the_suites_is_not_touched(tiny: Path, tiny_run: Path, own_cache: Path) -> None:
    thesis = own_cache / "project" / "thesis.txt"
    data = own_cache / "dataset" / "train.gz"
    for path in (thesis, data):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        os.utime(path, (0, 0))
    CliRunner().invoke(main, ["cache", "--results", str(tiny_run), "--cache", str(own_cache), "--prune"])
    assert thesis.read_text() == data.read_text() == "mine"


def test_folders_of_several_machines_become_one(finished: Path, tmp_path: Path) -> None:
    halves = [Path(shutil.copytree(finished, tmp_path / f"half{n}")) for n in (0, 1)]
    for number, half in enumerate(halves):
        for path in sorted(half.rglob("records/**/*.json"))[number::2]:
            path.unlink()
    failed = record_of(finished)
    record = read_record(record_of(finished)) or {}
    broken = next((h for h in halves if (h / failed.relative_to(finished)).exists()), halves[0])
    other = halves[1 - halves.index(broken)]
    write_record(other / failed.relative_to(finished), {**record, "status": "failed", "reason": "no luck"})
    done = merge([other, broken], tmp_path / "whole")
    assert (done.new, done.better) == (15, 0) or (done.new, done.better) == (14, 1)
    whole = {p.relative_to(tmp_path / "whole"): read_record(p) for p in (tmp_path / "whole").rglob("*.json")}
    for place, merged in whole.items():
        wanted = read_record(finished / place)
        assert merged is not None
        assert wanted is not None
        assert {**merged, "observed": 0} == {**wanted, "observed": 0}
    assert len(whole) == 15
    again = merge([finished], tmp_path / "whole")
    assert (again.new, again.same) == (0, 15)


@pytest.mark.filterwarnings("ignore:the record")
def test_contradictions_are_refused_and_nothing_is_merged(finished: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(finished, tmp_path / "other"))
    path = record_of(other)
    record = read_record(path)
    assert record is not None
    record["metrics"]["clean"]["test_r"] = 0.5
    write_record(path, record)
    damaged = record_of(other, method="neggrad")
    damaged.write_bytes(damaged.read_bytes()[:-20])
    done = CliRunner().invoke(main, ["merge", str(finished), str(other), "--results", str(tmp_path / "whole")])
    assert done.exit_code == 2
    assert "nothing was merged" in done.stderr
    assert f"{path} contradicts what is there: the same cell has other numbers" in done.stderr
    assert f"{damaged} is damaged" in done.stderr
    assert not (tmp_path / "whole").exists()


def test_a_disk_that_is_full_is_said_and_the_next_run_goes_on(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    """No file may be larger than 200 kB: networks do not fit, as on a disk with that much room."""
    words = [sys.executable, "-m", "unlearnbench", "run", "--preset", str(tiny), "-t", "data-removal", "-m", "neggrad"]
    words += ["--results", str(tmp_path / "r"), "--cache", str(tmp_path / "c"), "-j", "2"]

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    full = subprocess.run(words, capture_output=True, text=True, preexec_fn=little_room, check=False)
    assert full.returncode == 2
    assert "cannot write" in full.stderr
    assert "What is finished is kept: make room" in full.stderr
    assert "Traceback" not in full.stderr
    assert not list((tmp_path / "c").rglob(".*"))  # nothing half-written is left behind
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0
    for path in (tmp_path / "r").rglob("records/**/*.json"):
        record, wanted = read_record(path), read_record(tiny_run / path.relative_to(tmp_path / "r"))
        assert {**(record or {}), "observed": 0} == {**(wanted or {}), "observed": 0}
