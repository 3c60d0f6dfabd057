"""`check-results` finds whatever is wrong with a folder of real records, and nothing in one that a run has made.

Each test breaks one thing in a copy.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import unlearnbench
from unlearnbench import UserError
from unlearnbench.cli.main import main
from unlearnbench.operations.check_results import check_results
from unlearnbench.operations.measure import measure
from unlearnbench.operations.work import Effort
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.planning.tuned import Choice
from unlearnbench.storage.records import read_record, write_record
from unlearnbench.tuning import trials
from unlearnbench.tuning.trials import ORIGINAL, RETRAIN, Trial

pytestmark = pytest.mark.usefixtures("in_this_process")
PRESET = """
shadows = 4
[select]
seeds = "0-1"
tasks = ["class-removal", "data-removal"]
methods = ["original", "retrain-2", "neggrad"]
[recipe]
lr = 2e-3
epochs = 1
[datasets.digits-8x8]
model = "cnn"
"""
CELLS = 2 * 2 * 4
"""Two seeds, two tasks, and four methods with Retrain."""
COMMIT = "0123456789" * 4


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a preset, its results with further attacks, its cache, tables and page; not to be changed."""
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("unlearnbench.evaluation.record.commit", lambda: COMMIT)
        Path("small.toml").write_text(PRESET)
        unlearnbench.run("small.toml", results="results", cache="cache", jobs=1)
        workspace = Workspace.of("results", "cache")
        chosen: dict[str, Any] = {"attacks": ["loss", "rmia"], "relearn": True, "effort": Effort(jobs=1)}
        assert not measure(Selection.of("small.toml"), workspace, say=lambda _: None, **chosen).failed
        check_results(Selection.of("small.toml"), workspace, write=True)
    return folder


@pytest.fixture
def here(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy to be damaged, which is the current folder; it has no artefacts but data sets."""
    copy = shutil.copytree(published, tmp_path / "copy", ignore=shutil.ignore_patterns("*.lock"))
    for folder in (copy / "cache").iterdir():
        if folder.name != "dataset":
            shutil.rmtree(folder)
    monkeypatch.chdir(copy)
    return copy


def problems(selection: Selection | None = None, **options: Any) -> dict[str, list[str]]:
    """What is wrong with the folder, each with its places, apart from tables and page."""
    done = check_results(selection or Selection.of("small.toml", **options), Workspace.of("results", "cache"))
    by_place: dict[str, list[str]] = {}
    for problem in done.problems:
        if not problem.where.startswith(("small/tables", "small/README")) and problem.where != "small":
            by_place.setdefault(problem.what, []).append(problem.where)
    return by_place


NEGGRAD = Path("results/small/records/digits-8x8/cnn/class-removal/neggrad/0.json")
OTHER = Path("results/small/records/digits-8x8/cnn/data-removal/neggrad/1.json")


def edited(path: Path, *keys: str | int, to: Any) -> None:
    """Replaces one entry of a record; a function is applied to its value, and the checksum is right again."""
    record = read_record(path)
    assert record is not None
    part: Any = record
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = to(part[keys[-1]]) if callable(to) else to
    write_record(path, record)


def the_problem(**options: Any) -> str:
    """The only problem, which is that of one record."""
    ((what, where),) = problems(**options).items()
    assert where == ["small/" + NEGGRAD.as_posix().partition("small/")[2]]
    return what


def test_a_finished_run_with_its_tables_and_page_has_no_problems(here: Path) -> None:
    done = check_results(Selection.of("small.toml"), Workspace.of("results", "cache"))
    assert (done.records, done.missing, list(done.problems)) == (CELLS, 0, [])


def test_all_problems_are_printed_at_once_with_exit_code_1(here: Path) -> None:
    NEGGRAD.unlink()
    edited(OTHER, "observed", "processor", to="")
    Path("results/small/notes.txt").write_text("todo")
    words = ["check-results", "--preset", "small.toml", "--results", "results", "--cache", "cache"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1, done.output
    assert "problem: there is no record of neggrad: seed 0\n  in digits-8x8 class-removal\n" in done.stdout
    assert "problem: observed lacks processor\n  in small/records/digits-8x8/cnn/data-removal/n" in done.stdout
    assert "problem: it is no record, table or page of a preset: delete it\n  in small/notes.txt\n" in done.stdout
    assert f"{CELLS - 1} records, 1 missing cells: " in done.stdout
    shown = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert {"what": "observed lacks processor", "where": "small/" + str(OTHER.relative_to("results/small"))} in shown[
        "problems"
    ]
    Path("results/small/notes.txt").unlink()
    edited(OTHER, "observed", "processor", to="one")
    done = CliRunner().invoke(main, [*words, "--write", "-t", "data-removal"])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{CELLS - 1} records, 0 missing cells: no problems\n"


def test_a_folder_without_records_is_refused(here: Path) -> None:
    with pytest.raises(UserError, match="there are no records in nowhere/small"):
        check_results(Selection.of("small.toml"), Workspace.of("nowhere", "cache"))


def test_a_damaged_record_is_found(here: Path) -> None:
    NEGGRAD.write_bytes(NEGGRAD.read_bytes().replace(b'"ok"', b'"no"'))
    assert the_problem() == "it cannot be used: its checksum is wrong"


@pytest.mark.parametrize(("schema", "why"), [(99, "was written by a newer unlearnbench"), ("2", "it lacks a field")])
def test_a_record_of_another_schema_is_found(here: Path, schema: object, why: str) -> None:
    edited(NEGGRAD, "schema", to=schema)
    assert why in the_problem()


def test_a_record_of_another_form_is_found(here: Path) -> None:
    edited(NEGGRAD, "metrics", "attacks", "shadow", "auc", to=0.5)
    assert the_problem().startswith("shadow auc is no value within its interval")
    edited(NEGGRAD, "metrics", "attacks", to=None)
    found = problems()
    assert any(what.startswith("its form is not that of a record: TypeError") for what in found)


@pytest.mark.parametrize(
    ("keys", "value", "why"),
    [
        (("outputs", "original", "dataset", "checksum"), "0" * 64, "dataset.checksum: "),
        (("outputs", "method", "code"), "of another version", "method.code"),
        (("code",), "version 99", "code: version 99 -> "),
        (("outputs", "original", "recipe", "epochs"), 2, "recipe.epochs: 2 -> 1"),
        (("outputs", "original", "on", "torch"), "1.0", 'on.torch: "1.0" -> '),
        (("shadows", "count"), 2, "shadows.count: 2 -> 4"),
    ],
)
def test_a_key_that_is_not_the_present_one_is_found(here: Path, keys: tuple[str, ...], value: Any, why: str) -> None:
    edited(NEGGRAD, "key", *keys, to=value)
    what = the_problem()
    assert what.startswith("it is stale: ")
    assert why in what or (keys == ("code",) and "code changed" in what)


def test_missing_seeds_and_a_missing_retrain_are_found_and_the_selection_says_what_must_be_there(here: Path) -> None:
    retrain = NEGGRAD.parent.parent / "retrain"
    shutil.rmtree(retrain)
    OTHER.unlink()
    assert problems() == {
        "there is no record of retrain, which all methods are compared with: seeds 0-1": ["digits-8x8 class-removal"],
        "there is no record of neggrad: seed 1": ["digits-8x8 data-removal"],
    }
    assert problems(tasks="data-removal", seeds=0) == {}
    assert problems(tasks="data-removal", methods="original") == {}
    assert len(problems(methods="original")) == 1, "Retrain is always needed"


def test_a_failure_must_be_run_again_but_a_divergence_is_a_result(here: Path) -> None:
    record = read_record(NEGGRAD) or {}
    kept = {name: record[name] for name in ("schema", "cell", "key", "observed")}
    write_record(NEGGRAD, {**kept, "status": "crashed", "reason": "its process died"})
    assert the_problem() == "it has no numbers (crashed: its process died): run again with --retry-failed"
    write_record(NEGGRAD, {**kept, "status": "diverged", "reason": "its outputs are not finite"})
    assert problems() == {}


def test_two_records_of_one_cell_are_found(here: Path) -> None:
    shutil.copy(NEGGRAD, NEGGRAD.with_name("0-copy.json"))
    found = problems()
    assert (
        "it is a second record of the cell of 0.json" in found
        or "it is a second record of the cell of 0-copy.json" in found
    )
    assert "it is about another cell, whose place is records/digits-8x8/cnn/class-removal/neggrad/0.json" in found
    assert len(found) == 2


def test_a_cell_that_the_preset_does_not_have_is_found(here: Path) -> None:
    record = read_record(NEGGRAD) or {}
    NEGGRAD.unlink()
    record["cell"]["method"] = "neggrad+lr=0.1"
    path = NEGGRAD.parent.with_name("neggrad+lr=0.1") / "0.json"
    write_record(path, record)
    why = "it is about no cell of the preset: other options, or something that is not installed"
    assert problems() == {
        why: ["small/" + str(path.relative_to("results/small"))],
        "there is no record of neggrad: seed 0": ["digits-8x8 class-removal"],
    }


@pytest.mark.parametrize("name", ["records/digits-8x8/cnn/class-removal/neggrad/0.damaged", ".DS_Store", "cell.json"])
def test_unknown_files_are_found(here: Path, name: str) -> None:
    Path("results/small", name).write_text("x")
    assert problems() == {"it is no record, table or page of a preset: delete it": [f"small/{name}"]}


def test_tables_and_the_page_must_follow_from_the_records(here: Path) -> None:
    table, page = Path("results/small/tables/table2.md"), Path("results/small/README.md")
    table.write_text(table.read_text().replace("0", "1", 1))
    page.unlink()
    Path("results/small/tables/table7.md").write_text("mine")
    places = Selection.of("small.toml"), Workspace.of("results", "cache")
    write = "run `unlearnbench check-results --write`"
    assert {(problem.where, problem.what) for problem in check_results(*places).problems} == {
        ("small/tables/table2.md", f"it is not what the records give: {write}"),
        ("small/README.md", f"it is missing: {write}"),
        ("small/tables/table7.md", "it is no record, table or page of a preset: delete it"),
    }
    Path("results/small/tables/table7.md").unlink()
    assert not check_results(*places, write=True).problems


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        *(
            (name, None, f"observed lacks {name}")
            for name in ("command", "commit", "date", "python", "seconds", "torch")
        ),
        ("commit", "main", "commit is main, which is no commit"),
        ("date", "yesterday", "date is yesterday, not a time with its zone in ISO 8601"),
        ("date", "2026-11-26T10:00:00", "not a time with its zone"),
        (
            "command",
            "unlearnbench run --all",
            "the command is `unlearnbench run --all`, but `unlearnbench run --preset",
        ),
        ("seconds", {"unlearn": -1.0}, "seconds are {'unlearn': -1.0}"),
        ("host", "alices-laptop", "observed host names a machine: alices-laptop"),
        ("files", {"mine": "/home/alice/mine.py"}, "observed files mine has an absolute path: /home/alice/mine.py"),
        ("files", {"mine": "~/mine.py"}, "observed files mine has an absolute path: ~/mine.py"),
        ("files", {"mine": "C:\\mine.py"}, "observed files mine has an absolute path: C:\\mine"),
    ],
)
def test_provenance_must_be_there_and_must_not_name_machines_or_folders(
    here: Path, name: str, value: Any, why: str
) -> None:
    record = read_record(NEGGRAD) or {}
    record["observed"][name] = value
    write_record(NEGGRAD, record)
    assert why in the_problem()


@pytest.mark.parametrize(
    ("name", "value"), [("hyperparameters", {"lr": 0.5}), ("sources", {"lr": "tuned, log x"}), ("method_title", "Mine")]
)
def test_a_description_of_the_cell_that_is_not_the_presets_is_found(here: Path, name: str, value: Any) -> None:
    edited(NEGGRAD, "cell", name, to=value)
    assert the_problem().startswith(f"cell.{name}")


# Numbers -------------------------------------------------------------------------------------------------------------


def leaves(part: Any, *keys: str | int) -> Iterator[tuple[str | int, ...]]:
    """The places of all numbers in a tree of JSON values."""
    if isinstance(part, dict | list):
        entries = part.items() if isinstance(part, dict) else enumerate(part)
        for key, value in entries:
            yield from leaves(value, *keys, key)
    elif isinstance(part, int | float):
        yield keys


FREE = {("attacks", "released", "k"), ("more", "rmia", "references"), ("more", "rmia", "population")}
"""Counts that only outputs, or other models, determine."""


def test_a_changed_digit_is_found_in_every_number(here: Path) -> None:
    """The third significant digit of each number of a record, one after the other."""
    original = read_record(NEGGRAD)
    assert original is not None
    of_more = {name: entry["found"] for name, entry in original["more"].items()}
    places = [("metrics", *keys) for keys in leaves(original["metrics"])]
    places += [("more", keys[0], "found", *keys[1:]) for keys in leaves(of_more)]
    assert len(places) > 70
    unnoticed = []
    for place in places:
        write_record(NEGGRAD, original)
        edited(NEGGRAD, *place, to=with_other_digit)
        if not problems():
            unnoticed.append(place)
    assert unnoticed == []


def with_other_digit(value: float) -> float:
    """A number whose third significant digit, or the only one, is another; in [0, 1] if it was."""
    if isinstance(value, int):
        return value + 1
    step = 0.001 if value == 0 else 10.0 ** (-3 if value >= 0.1 else -5)
    return value - step if value >= step else value + step


def test_the_last_digit_of_a_rate_is_checked(here: Path) -> None:
    for keys in (("clean", "train_r"), ("released", "test"), ("attacks", "shadow", "balanced_accuracy", 0)):
        original = read_record(NEGGRAD) or {}
        edited(NEGGRAD, "metrics", *keys, to=lambda value: value * (1 + 3e-16) if value else 5e-324)
        if read_record(NEGGRAD) != original:
            assert problems(), keys
        write_record(NEGGRAD, original)
