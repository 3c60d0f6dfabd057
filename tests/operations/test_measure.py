"""`measure` adds attacks to the records of finished cells, from stored outputs and without training."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from conftest import one_by_one, plan_in

from unlearnbench import UserError, load, run, table
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.artefacts.original import Original
from unlearnbench.artefacts.prepared import Prepared
from unlearnbench.artefacts.shadow import Shadow
from unlearnbench.artefacts.splits import shadow_members
from unlearnbench.artefacts.unlearned import Outputs
from unlearnbench.cli.main import main
from unlearnbench.evaluation.record import Evaluator
from unlearnbench.operations.figure import figure
from unlearnbench.operations.measure import References, measure
from unlearnbench.operations.work import Effort
from unlearnbench.planning.cells import planned
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.storage.records import read_record, write_record
from unlearnbench.storage.store import Store

pytestmark = pytest.mark.usefixtures("in_this_process")

measuring: Any = import_module("unlearnbench.operations.measure")
QUICK = ("loss", "rmia", "lira")
TABLE = {"data-removal": 1, "noisy-label-removal": 3}


@pytest.fixture
def finished(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be changed."""
    return Path(shutil.copytree(tiny_run, tmp_path / "results"))


@pytest.fixture(scope="module")
def finished_tenth(tenth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few methods on a tenth of the data: a folder with its `results` and its `cache`."""
    folder = tmp_path_factory.mktemp("tenth")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("unlearnbench.operations.work"), "in_parallel", one_by_one)
        places = {"results": folder / "results", "cache": folder / "cache"}
        assert not run(tenth, tasks=list(TABLE), methods=["neggrad", "laf-r"], **places).failed
    return folder


def run_measure(
    preset: Path,
    finished: Path,
    cache: Path,
    attacks: tuple[str, ...] = QUICK,
    **options: Any,
) -> Any:
    chosen = {name: options.pop(name) for name in ("tasks", "methods", "overrides") if name in options}
    options = {"effort": Effort(jobs=1), "say": lambda _: None, **options}
    return measure(Selection.of(preset, **chosen), Workspace.of(finished, cache), attacks=attacks, **options)


def test_measured_attacks_are_added_to_records_and_the_rest_is_unchanged(
    tiny: Path, finished: Path, tiny_run: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("an artefact is made")

    for kind in (Original, Shadow, Prepared, Outputs):
        monkeypatch.setattr(kind, "make", fail)
    done = run_measure(tiny, finished, cache)
    assert (len(done.done), done.cells, done.failed, done.without) == (15, 15, {}, {})
    for path in finished.rglob("*.json"):
        record = json.loads(path.read_text())
        more = record.pop("more")
        before = json.loads((tiny_run / path.relative_to(finished)).read_text())
        for each in (record, before):
            del each["observed"]["sha256"]
        assert record == before
        assert more["loss"]["roc"]["fpr"] == record["roc"]["shadow"]["fpr"]
        noisy = record["cell"]["task"] == "noisy-label-removal"
        why = "the task replaces labels" if noisy else "too few networks"  # the tiny preset has two shadows
        assert more["lira"]["found"]["n/a"].startswith(why)
        assert more["loss"]["found"]["forgotten"] == record["metrics"]["attacks"]["shadow"]["forgotten"]
        low, value, high = (more["loss"]["found"]["auc"][i] for i in (1, 0, 2))
        assert low <= value <= high
    again = run_measure(tiny, finished, cache)
    assert again.done == []


def test_tables_show_measured_attacks_and_records_stay_valid(tiny: Path, finished: Path, cache: Path) -> None:
    run_measure(tiny, finished, cache, tasks="data-removal")
    text = table(1, str(tiny), finished, attack="loss", metric="tpr@1%")
    assert "loss.tpr@1%" in text
    with pytest.raises(UserError, match="measure --preset .* --attack u-lira --unlearned-shadows 16`"):
        table(1, str(tiny), finished, attack="u-lira")
    with pytest.raises(UserError, match="no record has svc.auc: run `unlearnbench measure"):
        table(1, str(tiny), finished, attack="svc")
    frame = load(None, finished).query("task == 'data-removal'").set_index("method")
    assert 0 <= frame.loc["laf", "loss.auc"] <= 1
    shown = table(1, str(tiny), finished, attack="loss", format="csv")
    assert f"{100 * frame.loc['laf', 'loss.auc']}"[:8] in shown
    done = CliRunner().invoke(
        main, ["run", "--preset", str(tiny), "--results", str(finished), "--cache", str(cache), "--dry-run"]
    )
    assert "0 of 15 cells to run" in done.stdout


def test_cells_that_cannot_be_measured_are_reported(tiny: Path, finished: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown attack 'los': did you mean 'loss'"):
        run_measure(tiny, finished, cache, ("los",))
    with pytest.raises(UserError, match="every run measures attack shadow, so its numbers"):
        run_measure(tiny, finished, cache, ("shadow",))
    with pytest.raises(UserError, match="no cell of preset .* can be measured: no valid record in"):
        run_measure(tiny, tmp_path / "nothing", cache)
    with pytest.raises(
        UserError, match="can be measured: its outputs, or those of shadow models, are not in the cache"
    ):
        run_measure(tiny, finished, tmp_path / "empty")
    next(finished.glob("*/records/*/*/class-removal/laf/0.json")).unlink()
    partly = run_measure(tiny, finished, cache, tasks="class-removal")
    assert (len(partly.done), partly.cells, partly.unfinished, partly.without) == (4, 4, 1, {})
    with pytest.raises(UserError, match="unknown metric 'acu': did you mean 'auc'"):
        table(1, str(tiny), finished, attack="loss", metric="acu")


def test_the_command_prints_the_number_of_measured_records(tiny: Path, finished: Path, cache: Path) -> None:
    places = ["--preset", str(tiny), "--results", str(finished), "--cache", str(cache), "-t", "class-removal", "-j1"]
    done = CliRunner().invoke(main, ["measure", "--attack", "entropy", *places])
    assert done.exit_code == 0
    assert "entropy: missing in 5 of 5 cells" in done.stderr
    assert "5 of 5 records got new numbers" in done.stdout
    text = CliRunner().invoke(
        main, ["show", "digits-8x8", "class-removal", "laf", "0", "--preset", str(tiny), "--results", str(finished)]
    )
    assert "attack entropy: " in text.stdout
    wrong = CliRunner().invoke(main, ["table", "1", "--cost", "--attack", "loss"])
    assert wrong.exit_code == 2
    assert "--cost and --attack do not go together" in wrong.stderr


def test_a_real_run_has_a_distance_table_and_a_ranking(tiny: Path, finished: Path, cache: Path, tmp_path: Path) -> None:
    places = ["--preset", str(tiny), "--results", str(finished)]
    done = CliRunner().invoke(main, ["table", "3", "--distance", *places, "--cache", str(cache)])
    assert done.exit_code == 0
    rows = [line for line in done.stdout.splitlines() if "DIGITS" in line]
    # The noise floor, for want of a second Retrain, and KLOM of three parts, for want of a second seed.
    assert [line.count("n/a") for line in rows] == [4] * 4
    assert all(float(line.split("|")[-2]) >= 0 for line in rows)  # Conf_t: the labels of this task were replaced
    assert "Original" in done.stdout
    ranked = CliRunner().invoke(main, ["rank", *places, "--svg", str(tmp_path / "cd.svg"), "--json"])
    assert ranked.exit_code == 0
    assert {row["method"] for row in json.loads(ranked.stdout)["methods"]} == {"NegGrad", "LAF", "LAF+R"}
    assert (tmp_path / "cd.svg").read_text().startswith("<svg")


def outputs_of(preset: Path, finished: Path, cache: Path, task: str, method: str, shadow: int) -> Outputs:
    """The outputs of a method's unlearned shadow model."""
    plan = plan_in(Store(cache), finished, preset, tasks=task, methods=method, shadow=shadow)
    return next(cell.outputs for cell in plan.cells if cell.method == method)


def numbers_of(finished: Path, task: str, attack: str) -> Mapping[str, Any]:
    """The numbers of an attack, or of relearning, in the records of a task, by method."""
    records = [json.loads(path.read_text()) for path in finished.glob(f"*/records/*/*/{task}/*/0.json")]
    return {r["cell"]["method"]: r["more"][attack]["found"] for r in records if attack in r.get("more", {})}


@pytest.mark.parametrize("task", TABLE)
def test_unlearned_shadow_models_are_made_once_and_used_for_every_compared_sample(
    task: str, tenth: Path, finished_tenth: Path, tmp_path: Path
) -> None:
    finished, cache = (Path(shutil.copytree(finished_tenth / n, tmp_path / n)) for n in ("results", "cache"))
    lines: list[str] = []
    options: dict[str, Any] = {"tasks": task, "methods": ["neggrad", "laf-r"], "unlearned_shadows": 4}
    planned = run_measure(tenth, finished, cache, ("loss",), dry_run=True, say=lines.append, **options)
    assert (planned.done, planned.failed) == ([], {})
    assert "artefacts to make first, about" in lines[1]
    assert numbers_of(finished, task, "u-lira") == {}
    done = run_measure(tenth, finished, cache, ("loss",), **options)
    assert (len(done.done), done.failed) == (3, {})
    record = json.loads(next(finished.glob(f"*/records/*/*/{task}/laf-r/0.json")).read_text())
    unlearned = [outputs_of(tenth, finished, cache, task, "laf-r", index) for index in range(4)]
    assert record["more"]["u-lira"]["of"]["fleet"] == [outputs.digest for outputs in unlearned]
    evaluator = Evaluator(WorkerContext(Store(cache)))
    for index, outputs in enumerate(unlearned):
        tensors, _ = evaluator.context.get(outputs)
        logits, member = evaluator.unlearned_shadow(outputs)
        assert torch.equal(member, shadow_members(outputs.scenario.dataset, 149 + 1198, index))
        assert torch.equal(logits[member], tensors["train"])
        assert torch.equal(logits[~member], tensors["test"])
    scores = numbers_of(finished, task, "u-lira")
    assert set(scores) == {"retrain", "neggrad", "laf-r"}
    for score in scores.values():
        assert score["fleet"] == 4
        assert 0 <= score["auc"][1] <= score["auc"][0] <= score["auc"][2] <= 1
    lines.clear()
    run_measure(tenth, finished, cache, ("loss",), dry_run=True, say=lines.append, **options)
    assert "missing in 0 of 3 cells" in lines[0]
    assert not any("to make" in line for line in lines)
    assert "u-lira.auc" in table(TABLE[task], str(tenth), finished, attack="u-lira")


def test_relearning_is_measured_for_a_method_and_for_retrain(
    tiny: Path, finished: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearnbench.artefacts.relearning.STEPS", 12)
    done = run_measure(tiny, finished, cache, ("loss",), tasks="class-removal", methods="laf", relearn=True)
    assert (len(done.done), done.failed) == (2, {})
    curves = numbers_of(finished, "class-removal", "relearning")
    frame = load(None, finished).query("task == 'class-removal'").set_index("method")
    for method, curve in curves.items():
        assert (curve["items"], curve["limit"]) == (20, 12)
        assert curve["items"] + curve["others"] == curve["items"] + min(1000, frame.loc[method, "items.train_f"] - 20)
        assert curve["before"] == pytest.approx(frame.loc[method, "train_f"], abs=0.1)
        assert curve["after"] >= curve["before"]
        assert 0 <= curve["retain"] <= 1
    assert curves["laf"]["original"] == curves["retrain"]["original"]  # both on the same samples
    places = ["--preset", str(tiny), "--results", str(finished)]
    shown = CliRunner().invoke(main, ["table", "2", "--relearning", *places])
    assert shown.exit_code == 0
    assert [line.split("|")[2].strip() for line in shown.stdout.splitlines() if "DIGITS" in line] == ["Retrain", "LAF"]
    text = CliRunner().invoke(main, ["show", "digits-8x8", "class-removal", "laf", "0", *places]).stdout
    assert "relearning 20 forgotten samples: " in text
    assert "; the retain set alone gives " in text
    nothing = CliRunner().invoke(main, ["table", "1", "--relearning", *places])
    assert nothing.exit_code == 2
    assert "run `unlearnbench measure --relearn" in nothing.stderr


def test_a_second_retrain_is_one_more_reference_model(tiny: Path, finished: Path, cache: Path) -> None:
    run(str(tiny), tasks="data-removal", methods="retrain-2", results=finished, cache=cache, jobs=1)
    run_measure(tiny, finished, cache, ("rmia",), tasks="data-removal", methods="laf")
    counts = {method: score["references"] for method, score in numbers_of(finished, "data-removal", "rmia").items()}
    assert counts == {"retrain": 3, "laf": 3}
    run_measure(tiny, finished, cache, ("rmia",), tasks="data-removal", methods="retrain-2")
    assert numbers_of(finished, "data-removal", "rmia")["retrain-2"]["references"] == 3  # the first Retrain is one
    text = (
        CliRunner().invoke(main, ["table", "1", "--paired", "--preset", str(tiny), "--results", str(finished)]).stdout
    )
    assert "Retrain again" in text
    assert "One seed has no interval" in text


def test_two_runs_of_measure_keep_each_others_numbers(
    tiny: Path, finished: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(request: Any, name: str, *rest: Any) -> dict[str, Any]:
        record = read_record(request.cell.path) or {}
        write_record(request.cell.path, {**record, "more": {**record.get("more", {}), "of another": {"found": 1}}})
        return numbers_of_attack(request, name, *rest)

    numbers_of_attack = measuring.numbers_of
    monkeypatch.setattr(measuring, "numbers_of", meanwhile)
    done = run_measure(tiny, finished, cache, ("loss",), tasks="class-removal", methods="laf")
    assert len(done.done) == 2
    record = read_record(next(finished.glob("*/records/*/*/class-removal/laf/0.json"))) or {}
    assert record["more"].keys() == {"loss", "of another"}


def test_numbers_are_not_added_to_a_record_that_was_replaced_meanwhile(
    tiny: Path, finished: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(request: Any, name: str, *rest: Any) -> dict[str, Any]:
        record = read_record(request.cell.path) or {}
        write_record(request.cell.path, {**record, "key": {**record["key"], "code": "of another version"}})
        return numbers_of_attack(request, name, *rest)

    numbers_of_attack = measuring.numbers_of
    monkeypatch.setattr(measuring, "numbers_of", meanwhile)
    done = run_measure(tiny, finished, cache, ("loss",), tasks="class-removal", methods="laf")
    assert list(done.done) == []
    assert set(done.failed.values()) == {"another run has replaced the record meanwhile: measure again"}
    for path in finished.glob("*/records/*/*/class-removal/laf/0.json"):
        assert "more" not in (read_record(path) or {})


def test_networks_that_come_with_outputs_are_not_made_by_themselves(
    tenth: Path, finished_tenth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LAF+R starts from the network of LAF, which is kept when LAF's outputs are made."""
    results = Path(shutil.copytree(finished_tenth / "results", tmp_path / "results"))
    own_cache = Path(shutil.copytree(finished_tenth / "cache", tmp_path / "cache"))
    kinds: list[str] = []
    make = measuring.work
    monkeypatch.setattr(measuring, "work", lambda job, *rest: kinds.append(job.kind) or make(job, *rest))
    chosen: dict[str, Any] = {"tasks": "data-removal", "methods": ["laf", "laf-r"], "unlearned_shadows": 4}
    assert not run_measure(tenth, results, own_cache, ("u-lira",), **chosen).failed
    assert kinds.count("outputs") == 3 * 4  # Retrain, LAF and LAF+R, on each shadow model
    assert "network" not in kinds


def test_tables_omit_relearning_of_former_code(
    tenth: Path, finished_tenth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearnbench.artefacts.relearning.STEPS", 5)
    results, own_cache = (Path(shutil.copytree(finished_tenth / n, tmp_path / n)) for n in ("results", "cache"))
    chosen: dict[str, Any] = {"tasks": "data-removal", "methods": "neggrad", "relearn": True}
    run_measure(tenth, results, own_cache, ("loss",), **chosen)
    assert "NegGrad" in table(1, str(tenth), results, "markdown", "relearning")
    for path in results.glob("*/records/*/*/data-removal/*/0.json"):
        record = read_record(path) or {}
        if "relearning" in record.get("more", {}):
            record["more"]["relearning"]["key"]["code"] = "of a former version"
            write_record(path, record)
    with pytest.raises(UserError, match="no record has relearning"):
        table(1, str(tenth), results, "markdown", "relearning")
    assert "NegGrad" in table(1, str(tenth), results, "markdown", "relearning", accept_stale=True)


def test_tables_omit_attacks_that_were_measured_with_other_code_than_those_of_retrain(
    tiny: Path, finished: Path, cache: Path
) -> None:
    run_measure(tiny, finished, cache, ("loss",), tasks="data-removal")
    path = next(finished.glob("*/records/*/*/data-removal/laf/0.json"))
    record = json.loads(path.read_text())
    record["more"]["loss"]["key"]["code"] = "of another version"
    write_record(path, record)
    rows = {
        line.split("|")[1].strip(): line
        for line in table(1, str(tiny), finished, attack="loss").splitlines()
        if "|" in line
    }
    assert rows["LAF"].rstrip("| ").endswith("-")
    assert not rows["LAF+R"].rstrip("| ").endswith("-")


def test_unlearned_shadow_models_come_in_pairs_and_only_on_request(tiny: Path, finished: Path, cache: Path) -> None:
    with pytest.raises(UserError, match="come in complementary pairs: --unlearned-shadows must be 4, 6, 8"):
        run_measure(tiny, finished, cache, ("loss",), unlearned_shadows=5)
    with pytest.raises(UserError, match="u-lira needs unlearned shadow models"):
        run_measure(tiny, finished, cache, ("u-lira",))


def test_a_failed_relearning_is_reported_once_per_cell(
    tiny: Path, finished: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise TypeError("no weights")

    monkeypatch.setattr("unlearnbench.artefacts.relearning.curves", broken)
    done = run_measure(tiny, finished, cache, ("loss",), tasks="data-removal", methods="neggrad", relearn=True)
    reasons = list(done.failed.values())
    assert len(reasons) == 2  # of Retrain, too
    assert all(reason.startswith("TypeError: no weights") for reason in reasons)
    assert numbers_of(finished, "data-removal", "relearning") == {}
    assert set(numbers_of(finished, "data-removal", "loss")) == {"retrain", "neggrad"}


def test_cells_with_overridden_options_are_selected_by_the_same_overrides(
    tiny: Path, finished: Path, cache: Path
) -> None:
    other = {"neggrad": {"epochs": 2}}
    run(str(tiny), tasks="data-removal", methods="neggrad", overrides=other, results=finished, cache=cache, jobs=1)
    done = run_measure(tiny, finished, cache, ("loss",), tasks="data-removal", methods="neggrad", overrides=other)
    assert len(done.done) == 2
    assert "neggrad+epochs=2" in numbers_of(finished, "data-removal", "loss")


NOT_A_NUMBER = """
import numpy as np
from unlearnbench import Scores, attack

@attack(title="Broken")
def broken(audit):
    "Gives no numbers."
    nothing = np.full(len(audit.forgotten.labels), np.nan)
    return Scores(nothing, np.zeros(len(audit.heldout.labels)), {"nan": float("nan")})
"""


def test_numbers_that_are_not_finite_fail_and_are_not_recorded(
    install: Callable[..., Path], tiny: Path, finished: Path, cache: Path
) -> None:
    install("broken_attack", NOT_A_NUMBER, "[unlearnbench.attacks]\nbroken = broken_attack:broken\n")
    done = run_measure(tiny, finished, cache, ("broken", "loss"), tasks="data-removal", methods="neggrad")
    assert len(done.failed) == 2
    assert all("some scores are infinite or not a number" in reason for reason in done.failed.values())
    assert set(numbers_of(finished, "data-removal", "loss")) == {"retrain", "neggrad"}
    assert numbers_of(finished, "data-removal", "broken") == {}


def test_added_numbers_survive_a_cell_that_is_made_again(tiny: Path, finished: Path, cache: Path) -> None:
    run_measure(tiny, finished, cache, ("loss",), tasks="class-removal", methods="neggrad")
    before = numbers_of(finished, "class-removal", "loss")["neggrad"]
    run(tiny, tasks="class-removal", methods="neggrad", results=finished, cache=cache, jobs=1, force=True)
    assert numbers_of(finished, "class-removal", "loss")["neggrad"] == before
    path = next(finished.glob("*/records/*/*/class-removal/neggrad/0.json"))
    record = json.loads(path.read_text())
    record["key"]["outputs"]["method"]["code"] = "version 0"  # so the numbers are those of other outputs
    write_record(path, record)
    run(tiny, tasks="class-removal", methods="neggrad", results=finished, cache=cache, jobs=1)
    assert "neggrad" not in numbers_of(finished, "class-removal", "loss")


def test_each_retrain_is_the_second_retrain_of_the_other_and_of_nobody_else(
    tiny: Path, cache: Path, tmp_path: Path
) -> None:
    run(str(tiny), tasks="data-removal", methods=["retrain-2", "neggrad"], results=tmp_path, cache=cache, jobs=1)
    selection = Selection.of(tiny, tasks="data-removal", methods=["retrain-2", "neggrad"])
    plan = planned(selection, Workspace.of(tmp_path, cache))
    references = References.of(plan, selection, 0)
    cells = {cell.method: cell for cell in plan.cells}
    second = {name: references.request(cell, {}, relearn=False).second_retrain for name, cell in cells.items()}
    digests = {name: outputs and outputs.digest for name, outputs in second.items()}
    assert digests == {
        "retrain": cells["retrain-2"].outputs.digest,
        "retrain-2": cells["retrain"].outputs.digest,
        "neggrad": cells["retrain-2"].outputs.digest,
    }


def test_features_are_measured_with_those_of_retrain_and_of_the_original(
    tiny: Path, finished: Path, cache: Path
) -> None:
    """Class removal has a place of its own for the class in the original; its record needs no selection."""
    wanted = {"tasks": "class-removal", "methods": "laf", "features": True}
    done = run_measure(tiny, finished, cache, ("loss",), **wanted)
    assert (len(done.done), done.failed, done.without) == (3, {}, {})
    found = numbers_of(finished, "class-removal", "features")
    assert set(found) == {"laf", "retrain", "original"}
    assert found["original"]["cka_original"] == pytest.approx(1.0)
    assert found["retrain"]["cka_retrain"] == pytest.approx(1.0)
    assert 0 < found["laf"]["cka_retrain"] < 1
    assert all(0 <= numbers["purity"] <= 1 and 0 <= numbers["probe"] <= 1 for numbers in found.values())
    assert run_measure(tiny, finished, cache, ("loss",), **wanted).done == []
    (path,) = figure("representation", str(tiny), finished)
    assert "LAF (after)" in path.read_text()
    done = CliRunner().invoke(
        main, ["show", "digits-8x8", "class-removal", "laf", "0", "--preset", str(tiny), "--results", str(finished)]
    )
    assert "nearest neighbours of forgotten samples are forgotten, CKA to Retrain" in done.stdout
    assert ", linear probe " in done.stdout
    lines = [line.split("|") for line in table(2, str(tiny), finished, view="features").splitlines()]
    shown = {line[2].strip(): line[3:-1] for line in lines if len(line) == 8}
    assert [float(text) for text in shown["Original"]][-1] == 100.0
    assert [float(text) for text in shown["LAF"]][1] == pytest.approx(100 * found["laf"]["purity"], abs=0.01)
    assert "Retrain" in shown
    with pytest.raises(UserError, match="no record has features: run `unlearnbench measure --features"):
        table(1, str(tiny), finished, view="features")


def test_old_records_get_their_curves_and_keep_their_numbers(tiny: Path, finished: Path, cache: Path) -> None:
    run_measure(tiny, finished, cache, ("loss",), tasks="class-removal", methods="neggrad")
    path = next(finished.glob("*/records/*/*/class-removal/neggrad/0.json"))
    new = json.loads(path.read_text())
    old = {name: value for name, value in new.items() if name != "roc"}
    old["more"] = {"loss": {name: value for name, value in new["more"]["loss"].items() if name != "roc"}}
    write_record(path, old)
    done = run_measure(tiny, finished, cache, ("loss",), tasks="class-removal", methods="neggrad")
    assert done.done == ["digits-8x8 class-removal neggrad 0"]
    again = json.loads(path.read_text())
    assert again["roc"] == new["roc"]
    assert again["more"] == new["more"]
    assert set(new["roc"]) == {"shadow", "released"}
