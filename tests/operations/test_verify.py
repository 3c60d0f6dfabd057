"""`verify` detects wrong numbers and damaged files; `cache` deletes only unneeded artefacts; `merge` merges folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import unlearnbench
from unlearnbench import UserError
from unlearnbench.artefacts import relearning
from unlearnbench.cli.main import main
from unlearnbench.operations.measure import measure
from unlearnbench.operations.merge import merge
from unlearnbench.operations.prune import MINIMUM_AGE, cache_usage
from unlearnbench.operations.verify import verify
from unlearnbench.operations.work import Effort
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.storage.keys import digest
from unlearnbench.storage.records import read_record, write_record
from unlearnbench.storage.store import Store

CELLS = 5
"""The number of cells of the finished run."""
pytestmark = pytest.mark.usefixtures("in_this_process")  # test_chaos.py verifies in workers


@pytest.fixture
def finished(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run of class removal, to be damaged."""
    others = shutil.ignore_patterns("data-removal", "noisy-label-removal")
    return Path(shutil.copytree(tiny_run, tmp_path / "results", ignore=others))


@pytest.fixture
def own_cache(tiny_made: Path, tmp_path: Path) -> Path:
    """A copy of the artefacts of that run only."""
    return shutil.copytree(tiny_made / "cache", tmp_path / "cache", ignore=shutil.ignore_patterns("*.lock"))


UNAVAILABLE = "its outputs, or those of shadow models, are damaged or not in the cache"


def record_of(finished: Path, task: str = "class-removal", method: str = "laf") -> Path:
    return next(finished.glob(f"*/records/*/*/{task}/{method}/0.json"))


def run_verify(tiny: Path, finished: Path, cache: Path, **options: Any) -> Any:
    return verify(Selection.of(tiny), Workspace.of(finished, cache), say=lambda _: None, **options)


def run_measure(preset: Path, results: Path, cache: Path, attacks: Sequence[str] = ("loss",), **options: Any) -> Any:
    chosen = {name: options.pop(name) for name in ("tasks", "methods") if name in options}
    selection, workspace = Selection.of(preset, **chosen), Workspace.of(results, cache)
    return measure(selection, workspace, attacks=attacks, effort=Effort(jobs=1), say=lambda _: None, **options)


def test_a_finished_run_has_no_problems_and_gives_the_same_bits_again(
    tiny: Path, finished: Path, own_cache: Path
) -> None:
    result = run_verify(tiny, finished, own_cache, rerun=2)
    assert (result.records, result.measured, list(result.problems), result.unmeasured) == (CELLS, CELLS, [], {})
    assert len(set(result.rerun)) == 2
    assert result.artefacts == len(list(own_cache.glob("*/*.safetensors")))


def test_all_problems_are_reported_at_once(tiny: Path, finished: Path, own_cache: Path) -> None:
    changed = record_of(finished)
    record = read_record(changed)
    assert record is not None
    record["metrics"]["clean"]["test_r"] += 0.001
    write_record(changed, record)  # valid, but not what its outputs give
    described = record_of(finished, method="neggrad")
    record = read_record(described) or {}
    record["cell"]["access"] = "nothing"
    write_record(described, record)
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
    assert any("laf 0 clean test_r: the record has" in line for line in problems)
    assert any("neggrad 0: it is described otherwise: access:" in line for line in problems)
    assert any(str(broken) in line and "its checksum is wrong" in line for line in problems)
    assert any(str(artefact) in line and "its checksum is wrong" in line for line in problems)
    assert any(f"{'0' * 32}.safetensors: its name does not match its key" in line for line in problems)


def test_numbers_that_measure_added_are_merged_too(tiny: Path, finished: Path, own_cache: Path, tmp_path: Path) -> None:
    before = Path(shutil.copytree(finished, tmp_path / "before"))
    run_measure(tiny, finished, own_cache)
    assert merge([finished], before).more == CELLS
    path = record_of(finished)
    record = read_record(path) or {}
    record["more"]["loss"]["found"]["auc"][0] += 0.01
    write_record(path, record)
    with pytest.raises(UserError, match="loss was measured differently"):
        merge([finished], before)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relearning takes a tenth of its steps."""
    monkeypatch.setattr(relearning, "STEPS", 5)


@pytest.mark.usefixtures("few_steps")
def test_every_number_that_measure_added_is_recomputed(tenth: Path, tmp_path: Path) -> None:
    preset, cache = tmp_path / "four.toml", tmp_path / "cache"
    preset.write_text(tenth.read_text().replace("shadows = 2", "shadows = 4"))  # fewer are too few for some attacks
    chosen: dict[str, Any] = {"tasks": "data-removal", "methods": "neggrad"}
    unlearnbench.run(preset, jobs=1, results=tmp_path, cache=cache, **chosen)
    more = {"unlearned_shadows": 4, "relearn": True, "features": True}
    assert not run_measure(preset, tmp_path, cache, (), **more, **chosen).failed
    result = run_verify(preset, tmp_path, cache)
    assert (list(result.problems), result.unmeasured) == ([], {})
    path = record_of(tmp_path, "data-removal", "neggrad")
    record = read_record(path) or {}
    assert {"loss", "svc", "rmia", "lira", "lira-offline", "u-lira", "relearning", "features"} < set(record["more"])
    other = {"relearning": "after", "features": "purity"}
    for name, entry in record["more"].items():
        if name in other:
            entry["found"][other[name]] += 0.01
        else:
            entry["found"]["auc"][0] += 0.01
    write_record(path, record)
    problems = run_verify(preset, tmp_path, cache).problems
    expected = [f"neggrad 0 {name} {other.get(name, 'auc')}: the record has" for name in record["more"]]
    assert len(problems) == len(expected)
    assert all(any(text in problem for problem in problems) for text in expected)


def test_numbers_that_a_second_retrain_is_a_reference_of_are_recomputed_with_it(tenth: Path, tmp_path: Path) -> None:
    preset, cache = tmp_path / "again.toml", tmp_path / "cache"
    preset.write_text(tenth.read_text().replace('methods = ["original", ', 'methods = ["retrain-2", '))
    chosen: dict[str, Any] = {"tasks": "data-removal", "methods": ["neggrad", "retrain-2"]}
    unlearnbench.run(preset, jobs=1, results=tmp_path, cache=cache, **chosen)
    assert not run_measure(preset, tmp_path, cache, ["rmia"], **chosen).failed
    result = run_verify(preset, tmp_path, cache)
    assert (list(result.problems), result.unmeasured) == ([], {})
    record = read_record(record_of(tmp_path, "data-removal", "retrain-2")) or {}
    outputs = Store(cache).path(record["key"]["outputs"])
    content = outputs.read_bytes()
    outputs.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    damaged = run_verify(preset, tmp_path, cache)
    assert [problem.partition(":")[0] for problem in damaged.problems] == [str(outputs)]
    needs = "rmia: an artefact that it needs is damaged or not in the cache"
    assert damaged.unmeasured == {UNAVAILABLE: 1, needs: 2}  # of NegGrad, and of Retrain


def test_libraries_are_recorded_and_named_where_numbers_differ(
    tiny: Path, finished: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = record_of(finished)
    record = read_record(path) or {}
    assert record["observed"]["libraries"] == {name: version(name) for name in ("numpy", "scipy", "scikit-learn")}
    record["observed"]["libraries"]["scipy"] = "0.1.2"
    write_record(path, record)
    assert not run_verify(tiny, finished, own_cache).problems  # the numbers are the same
    record["metrics"]["clean"]["test_r"] += 0.001
    write_record(path, record)
    (problem,) = run_verify(tiny, finished, own_cache).problems
    assert problem.endswith(f"(since then scipy: 0.1.2 -> {version('scipy')})")


@pytest.mark.usefixtures("few_steps")
def test_added_numbers_that_cannot_be_recomputed_are_reported(tiny: Path, finished: Path, own_cache: Path) -> None:
    chosen: dict[str, Any] = {"tasks": "class-removal", "methods": "neggrad", "relearn": True}
    done = run_measure(tiny, finished, own_cache, ["loss", "rmia", "svc"], **chosen)
    assert not done.failed
    curves = next(own_cache.glob("relearning/*.safetensors"))
    curves.write_bytes(curves.read_bytes()[:-1])
    path = record_of(finished, method="neggrad")
    record = read_record(path) or {}
    record["more"]["loss"]["key"]["code"] = "of a former version"
    record["more"]["uninstalled"] = record["more"]["rmia"]
    record["more"]["svc"]["key"]["options"] = {"of a former version": 1}
    write_record(path, record)
    result = run_verify(tiny, finished, own_cache)
    assert [problem.partition(":")[0] for problem in result.problems] == [str(curves)]
    outdated = "made by other code, or with other reference models"
    assert result.unmeasured == {
        f"loss: {outdated}": 1,
        f"uninstalled: {outdated}": 1,
        f"svc: {outdated}": 1,
        "relearning: an artefact that it needs is damaged or not in the cache": 1,
    }


def test_a_failing_attack_is_reported_as_a_problem_of_each_cell(
    tiny: Path, finished: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> dict[str, Any]:
        raise ZeroDivisionError("no")

    run_measure(tiny, finished, own_cache)
    monkeypatch.setattr("unlearnbench.operations.verify.numbers_of", failing)
    problems = run_verify(tiny, finished, own_cache).problems
    assert len(problems) == CELLS
    assert all("loss: recomputing it fails: ZeroDivisionError: no" in problem for problem in problems)


def with_other_outputs(results: Path) -> None:
    """Replaces the digests of the outputs in every record."""
    for path in results.rglob("records/**/*.json"):
        record = read_record(path)
        assert record is not None
        write_record(path, {**record, "outputs": dict.fromkeys(record["outputs"], "0" * 64)})


def test_cached_outputs_that_differ_from_the_record_are_detected(tiny: Path, finished: Path, own_cache: Path) -> None:
    with_other_outputs(finished)
    problems = run_verify(tiny, finished, own_cache).problems
    assert len(problems) == 2 * CELLS  # on training and on test images
    assert all("the cache has other outputs" in problem for problem in problems)


def test_outputs_that_the_method_does_not_give_are_detected_by_running_it_again(
    tiny: Path, finished: Path, own_cache: Path
) -> None:
    with_other_outputs(finished)
    problems = run_verify(tiny, finished, own_cache, rerun=1).problems
    assert any("run again, it gives other outputs on train samples" in problem for problem in problems)


def test_a_record_of_another_machine_is_run_again_with_an_empty_cache(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    result = run_verify(tiny, finished, tmp_path / "empty", rerun=2)
    assert len(result.rerun) == 2
    assert not result.problems


def test_records_that_cannot_be_recomputed_are_counted_by_reason(tiny: Path, finished: Path, own_cache: Path) -> None:
    for path in own_cache.glob("outputs/*.safetensors"):
        path.unlink()
    result = run_verify(tiny, finished, own_cache)
    assert (result.measured, result.unmeasured, list(result.problems)) == (0, {UNAVAILABLE: CELLS}, [])
    with pytest.raises(UserError, match="there are no records in"):
        run_verify(tiny, finished / "nowhere", own_cache)


def test_prune_keeps_the_artefacts_that_records_need(tenth: Path, tmp_path: Path) -> None:
    finished, own_cache = tmp_path / "results", tmp_path / "cache"
    unlearnbench.run(str(tenth), tasks="class-removal", results=finished, cache=own_cache)
    store = Store(own_cache)
    store.save({"kind": "outputs", "of": "no record"}, {}, {})
    store.save({"kind": "outputs", "of": "another results folder"}, {}, {})
    needed = read_record(record_of(finished)) or {}
    unused = {"kind": "prepared", "original": needed["key"]["outputs"]["original"], "of": "a method without a record"}
    lost = {"kind": "prepared", "original": {"kind": "original", "of": "no record"}}
    for key in (unused, lost):
        store.save(key, {}, {})
    (own_cache / "outputs" / ".half.safetensors.x").write_bytes(b"left over")
    old = time.time() - 2 * MINIMUM_AGE
    for path in own_cache.rglob("*"):
        os.utime(path, (old, old))
    store.save({"kind": "outputs", "of": "a run in progress"}, {}, {})
    before = set(own_cache.glob("*/*.safetensors"))
    other = Path(shutil.copytree(finished, tmp_path / "other"))
    path = record_of(other)
    record = read_record(path) or {}
    of = {"again": digest({"kind": "outputs", "of": "another results folder"})}
    write_record(path, {**record, "more": {"rmia": {"key": {}, "of": of, "found": {}}}})
    places = ["--results", str(finished), "--results", str(other), "--cache", str(own_cache)]
    shown = json.loads(CliRunner().invoke(main, ["cache", *places, "--json"]).stdout)
    assert {entry["kind"]: entry["unneeded"] for entry in shown if entry["unneeded"]} == {
        "outputs": 1,
        "prepared": 1,
        "left over": 1,
    }
    done = CliRunner().invoke(main, ["cache", *places, "--prune"])
    assert done.exit_code == 0
    deleted = before - set(own_cache.glob("*/*.safetensors"))
    assert deleted == {store.path({"kind": "outputs", "of": "no record"}), store.path(lost)}
    summary = unlearnbench.run(
        str(tenth), results=finished, cache=own_cache, force=True, dry_run=True, tasks="class-removal"
    )
    assert {job.kind for job in summary.plan.missing} <= {"outputs", "network"}  # all others are kept
    for wrong, why in (
        (finished / "nowhere", "there is no results folder"),
        (finished / "tenth", "there are no records"),
    ):
        with pytest.raises(UserError, match=why):
            cache_usage(wrong, own_cache)


def test_prune_deletes_no_foreign_files(tiny: Path, tiny_run: Path, own_cache: Path) -> None:
    thesis = own_cache / "project" / "thesis.txt"
    data = own_cache / "dataset" / "train.gz"
    for path in (thesis, data):
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        os.utime(path, (0, 0))
    CliRunner().invoke(main, ["cache", "--results", str(tiny_run), "--cache", str(own_cache), "--prune"])
    assert thesis.read_text() == data.read_text() == "mine"


def test_results_folders_of_several_machines_are_merged(finished: Path, tmp_path: Path) -> None:
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
    assert (done.new, done.better) == (CELLS, 0) or (done.new, done.better) == (CELLS - 1, 1)
    whole = {p.relative_to(tmp_path / "whole"): read_record(p) for p in (tmp_path / "whole").rglob("*.json")}
    for relative, merged in whole.items():
        expected = read_record(finished / relative)
        assert merged is not None
        assert expected is not None
        assert {**merged, "observed": 0} == {**expected, "observed": 0}
    assert len(whole) == CELLS
    again = merge([finished], tmp_path / "whole")
    assert (again.new, again.same) == (0, CELLS)


def test_artefacts_of_the_merged_records_are_copied_on_request(
    tiny: Path, finished: Path, own_cache: Path, tmp_path: Path
) -> None:
    """Where they are missing, it is said what will not work; with them, attacks and distances have all cells."""
    original = json.loads(record_of(finished).read_text())["key"]["outputs"]["original"]
    damaged, unneeded = Store(own_cache).path(original), next(own_cache.glob("shadow/*.safetensors"))
    damaged.write_bytes(damaged.read_bytes()[:-20])
    stranger = unneeded.with_name(f"{'0' * 32}.safetensors")
    shutil.copy(unneeded, stranger)
    whole, cache = tmp_path / "whole", tmp_path / "their cache"
    words = ["merge", str(finished), "--results", str(whole), "--into-cache", str(cache)]
    done = CliRunner().invoke(main, words)
    assert f"{CELLS} of these records lack outputs in {cache}: `measure`, `verify` and `table --dis" in done.stderr
    with pytest.warns(UserWarning, match=f"{damaged} is damaged and was not copied"):
        merged = merge([finished], whole, caches=[own_cache], cache=cache)
    assert (merged.new, merged.same, merged.incomplete) == (0, CELLS, 0)
    copies = {path.relative_to(cache) for path in cache.rglob("*.safetensors")}
    assert len(copies) == merged.artefacts
    assert all((cache / path).read_bytes() == (own_cache / path).read_bytes() for path in copies)
    assert not {path.relative_to(own_cache) for path in (stranger, damaged)} & copies
    assert len(run_measure(tiny, whole, cache, tasks="class-removal").done) == CELLS
    nothing_new = CliRunner().invoke(main, [*words, "--cache", str(cache)])
    assert f"{cache}: 0 artefacts copied" in nothing_new.stdout
    assert not nothing_new.stderr


def test_a_cache_without_artefacts_is_refused_before_anything_is_merged(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"there are no artefacts in {tmp_path}"):
        merge([finished], tmp_path / "whole", caches=[tmp_path])
    assert not (tmp_path / "whole").exists()


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
    assert f"{path} contradicts another record of the cell: the same cell has other numbers" in done.stderr
    assert f"{damaged} is damaged" in done.stderr
    assert not (tmp_path / "whole").exists()


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("cell", {"hyperparameters": {"lr": 9.0}}, "they differ in cell: hyperparameters"),
        ("cell", {"access": "nothing"}, "they differ in cell: access"),
        ("outputs", {"train": "0" * 64}, "they differ in outputs: train"),
        ("roc", {"shadow": {"fpr": [0.0], "tpr": [0.0]}}, "they differ in roc: shadow"),
    ],
)
def test_records_that_differ_in_more_than_times_and_places_are_not_merged(
    part: str, value: dict[str, Any], message: str, finished: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(finished, tmp_path / "other"))
    path = record_of(other)
    record = read_record(path) or {}
    write_record(path, {**record, part: {**record[part], **value}})
    with pytest.raises(UserError, match=message):
        merge([other], finished)
    times = {**record, "observed": {**record["observed"], "date": "2000-01-01T00:00:00", "processor": "another"}}
    write_record(path, times)
    assert (merge([other], finished).same, merge([other], finished).new) == (CELLS, 0)


FULL_DISK = """
cd "$FOLDER"; {little_room}
"$@" 2> stderr.txt; echo $? > code
ulimit -S -f unlimited; cp -r disk room
"""
"""Runs a command on a small disk, and copies all files to a disk with more room."""


@pytest.mark.usefixtures("in_this_process")  # of the second run; the first has a process of its own
def test_a_full_disk_is_reported_and_the_next_run_continues(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    """On a file system of 500 kB; where none may be mounted, no file may be larger than 50 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words, little_room = [], "ulimit -S -f 100"
    mount = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") and not subprocess.run([*mount, "mount", "-t", "tmpfs", "none", str(disk)]).returncode:
        words, little_room = mount, "mount -t tmpfs -o size=500k none disk"
    words += ["sh", "-c", FULL_DISK.format(little_room=little_room), "sh"]
    words += [sys.executable, "-m", "unlearnbench", "run", "-j", "1", "--arithmetic", "native"]
    words += ["--preset", str(tiny), "-t", "data-removal", "-m", "neggrad", "--results", "disk/r", "--cache", "disk/c"]
    subprocess.run(words, env={**os.environ, "FOLDER": str(tmp_path)}, stdout=subprocess.DEVNULL, check=True)
    stderr = (tmp_path / "stderr.txt").read_text()
    assert (tmp_path / "code").read_text() == "2\n"
    assert "cannot write" in stderr
    assert "Finished work is kept: make room" in stderr
    assert "Traceback" not in stderr
    room = tmp_path / "room"
    assert not list(room.rglob(".*"))  # no file is incomplete
    chosen: dict[str, Any] = {"tasks": "data-removal", "methods": "neggrad", "arithmetic": "native"}
    assert not unlearnbench.run(tiny, results=room / "r", cache=room / "c", **chosen).failed
    paths = sorted(room.rglob("records/**/*.json"))
    assert len(paths) == 2
    for path in paths:
        record, expected = read_record(path), read_record(tiny_run / path.relative_to(room / "r"))
        assert {**(record or {}), "observed": 0} == {**(expected or {}), "observed": 0}
