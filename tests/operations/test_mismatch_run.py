"""Label mismatch from end to end: networks of two levels share nothing, hidden samples reach Retrain only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import plan_in

import unlearnbench
from unlearnbench import table
from unlearnbench.artefacts.scenario import split_of
from unlearnbench.planning.plan import Plan
from unlearnbench.storage.records import read_record
from unlearnbench.storage.store import Store

PRESET = """
shadows = 2
[select]
seeds = "0"
methods = ["original", "ft", "tarf"]
[recipe]
lr = 2e-3
epochs = 1
held_out = 0.7
[datasets.digits-8x8]
model = "cnn"
[methods.ft]
epochs = 1
[methods.tarf]
epochs = 2
target-mismatch = { identify = "classes" }
data-mismatch = { identify = "samples" }
"""
TASKS = ["all-matched", "model-mismatch", "target-mismatch", "data-mismatch"]


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("presets") / "mismatch.toml"
    path.write_text(PRESET)
    return path


@pytest.fixture
def plan(preset: Path, store: Store, tmp_path: Path) -> Plan:
    return plan_in(store, tmp_path, preset, tasks=[*TASKS, "class-removal"])


def keys(plan: Plan, kind: str) -> dict[str, set[str]]:
    """The digests of the originals or shadow models of each task."""
    digests: dict[str, set[str]] = {}
    for cell in plan.cells:
        own = [cell.outputs.needs["original"]] if kind == "original" else list(cell.shadows)
        digests.setdefault(cell.scenario.task, set()).update(artefact.digest for artefact in own)
    return digests


@pytest.mark.parametrize("kind", ["original", "shadow"])
def test_networks_of_one_level_are_shared_and_those_of_two_are_not(kind: str, plan: Plan) -> None:
    by_task = keys(plan, kind)
    fine, coarse = by_task["class-removal"], by_task["model-mismatch"]
    assert by_task["all-matched"] == by_task["target-mismatch"] == fine
    assert by_task["data-mismatch"] == coarse
    assert not fine & coarse


def test_new_parts_of_keys_are_those_of_new_tasks_only(plan: Plan) -> None:
    for cell in plan.cells:
        new = cell.scenario.task != "class-removal"
        assert ("split" in cell.outputs.key["task"]) == new
        assert ("svc-released" in cell.key["attacks"]) == new
        coarse = cell.scenario.task in ("model-mismatch", "data-mismatch")
        assert ("domain" in cell.outputs.needs["original"].key) == coarse
        assert cell.info.access.count("hidden") == (
            cell.scenario.task in ("target-mismatch", "data-mismatch") and cell.method in ("tarf", "retrain")
        )


def test_another_taxonomy_gives_another_key(preset: Path, store: Store, tmp_path: Path) -> None:
    """The same task with the same options, but with another split, is another task."""
    plans = [
        plan_in(store, tmp_path, preset, tasks=["target-mismatch"], overrides={"target-mismatch": {"concept": concept}})
        for concept in ((0, 9), (0, 1))
    ]
    one, other = (plan.cells[0].outputs.key["task"]["split"] for plan in plans)
    assert one != other


def test_retrain_costs_less_where_samples_are_hidden(plan: Plan) -> None:
    cost = {(cell.scenario.task, cell.method): cell.outputs.ep for cell in plan.cells}
    assert cost["target-mismatch", "retrain"] < cost["all-matched", "retrain"]
    assert cost["target-mismatch", "ft"] == cost["all-matched", "ft"]


@pytest.mark.usefixtures("in_this_process")
def test_a_run_has_every_number_of_table_7(preset: Path, cache: Path, tmp_path: Path) -> None:
    summary = unlearnbench.run(str(preset), tasks=TASKS, results=tmp_path, cache=cache, jobs=1)
    assert [outcome.reason for outcome in summary.failed] == []
    cells = {(cell.scenario.task, cell.method): cell for cell in summary.plan.cells}
    text = table(7, str(preset), tmp_path)
    assert text.count("| TARF") == 4
    for (task, method), cell in cells.items():
        record: Any = read_record(cell.path)
        clean, attack = record["metrics"]["clean"], record["metrics"]["attacks"]["svc-released"]
        assert clean["mia"] == attack["non-members"] / attack["forgotten"]
        outputs, _ = summary.plan.store.load(cell.outputs.key) or ({}, {})
        assert outputs["train"].shape[1] == (10 if task in ("all-matched", "target-mismatch") else 5)
        split = split_of(cell.scenario, summary.plan.workspace.datasets)
        reports = method == "tarf" and task in ("target-mismatch", "data-mismatch")
        assert ("identification" in record["metrics"]) == ("identified" in outputs) == reports
        if reports:
            assert split.hidden is not None
            found = record["metrics"]["identification"]
            right = torch.isin(outputs["identified"], split.hidden).sum().item()
            assert found["precision"] == right / found["found"]
            assert found["recall"] == right / len(split.hidden)


SLY = '''
from unlearnbench import Access, method

@method(title="Sly", access=Access(forget="labels", retain="labels"{declared}))
def sly(problem, *, epochs: int = 1):
    """Reads which samples are hidden."""
    problem.report_hidden(problem.hidden)
    return problem.network()
'''


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("declared", ["", ', hidden="size"', ', hidden="status"'])
def test_a_method_that_reads_the_status_of_hidden_samples_without_declaring_it_fails(
    declared: str, install: Callable[..., Path], preset: Path, cache: Path, tmp_path: Path
) -> None:
    name = f"sly{len(declared)}"
    install(name, SLY.format(declared=declared), f"[unlearnbench.methods]\n{name} = {name}:sly\n")
    summary = unlearnbench.run(
        str(preset), tasks=["target-mismatch"], methods=[name], results=tmp_path, cache=cache, jobs=1
    )
    (cell,) = (cell for cell in summary.plan.cells if cell.method == name)
    record: Any = read_record(cell.path)
    if "status" in declared:
        assert record["metrics"]["identification"]["recall"] == 1.0
    else:
        assert record["status"] == "failed"
        assert "AccessError: problem.hidden is not accessible" in record["reason"]


def test_datasets_without_superclasses_are_left_out_unless_they_are_asked_for(
    preset: Path, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unlearnbench import UserError
    from unlearnbench.plugins import registry
    from unlearnbench.plugins.dataset import Dataset, Source

    source = registry.get(Source, "digits-8x8")
    whole = source.function(tmp_path)
    parts = whole.train_images, whole.train_labels, whole.test_images, whole.test_labels, 10
    monkeypatch.setattr(source, "function", lambda root: Dataset(*parts))
    store = Store(tmp_path / "cache")
    tasks = {cell.scenario.task for cell in plan_in(store, tmp_path, preset).cells}
    assert tasks == {"data-removal", "class-removal", "noisy-label-removal"}
    with pytest.raises(UserError, match="this dataset has no superclasses"):
        plan_in(store, tmp_path, preset, tasks=["all-matched"])


def test_a_preset_may_select_what_others_have_installed(
    install: Callable[..., Path], store: Store, tmp_path: Path
) -> None:
    install("theirs", SLY.format(declared=""), "[unlearnbench.methods]\ntheirs = theirs:sly\n")
    path = tmp_path / "mine.toml"
    for listed, expected in (('"ft"', {"retrain", "ft"}), ('"ft", "third-party"', {"retrain", "ft", "theirs"})):
        path.write_text(PRESET.replace('"original", "ft", "tarf"', listed))
        assert {cell.method for cell in plan_in(store, tmp_path, path, tasks=["data-removal"]).cells} == expected


def test_options_of_a_task_may_be_those_of_a_data_set(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(PRESET + "[tasks.all-matched]\nclasses = [3]\ndigits-8x8 = { classes = [1, 8] }\n")
    (task,) = {cell.info.task for cell in plan_in(store, tmp_path, path, tasks=["all-matched"]).cells}
    assert task == "all-matched"
    assert plan_in(store, tmp_path, path, tasks=["all-matched"]).cells[0].scenario.task_options["classes"] == (1, 8)
