"""`check-results` finds what is wrong with a folder of real records, and nothing in one that a run has made.

Each test breaks one thing in a copy.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import unlearnbench
from unlearnbench import UserError
from unlearnbench.cli.main import main
from unlearnbench.evaluation import consistency
from unlearnbench.evaluation.provenance import faults_of_provenance, private
from unlearnbench.evaluation.submission import Expected
from unlearnbench.operations.check_results import check_results
from unlearnbench.operations.measure import measure
from unlearnbench.operations.work import Effort
from unlearnbench.planning import tuned
from unlearnbench.planning.cells import planned
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


MISMATCH = """
shadows = 2
[select]
seeds = "0"
tasks = ["all-matched", "data-mismatch"]
methods = ["tarf"]
[recipe]
lr = 2e-3
epochs = 1
[datasets.digits-8x8]
model = "cnn"
[methods.tarf]
epochs = 2
batch = 32
k = 0.5
data-mismatch.identify = "samples"
"""


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `published`, of tasks of label mismatch; not to be changed."""
    folder = tmp_path_factory.mktemp("hidden")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("unlearnbench.evaluation.record.commit", lambda: COMMIT)
        Path("mismatch.toml").write_text(MISMATCH)
        unlearnbench.run("mismatch.toml", results="results", cache="cache", jobs=1)
        check_results(Selection.of("mismatch.toml"), Workspace.of("results", "cache"), write=True)
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
    why = "it is about no cell of the preset: a method, option, seed or task that it does not select"
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
            "its command is not the one that reproduces the cell",
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


def test_base64_is_no_path_and_a_cell_that_is_not_applicable_took_no_time(here: Path) -> None:
    assert list(private({"more": {"features": {"map": {"points": "/gMB1/aa/bb"}}}})) == []
    assert list(private({"more": {"features": {"map": {"note": "/gMB1/aa/bb"}}}})) != []
    record = read_record(NEGGRAD) or {}
    command = record["observed"]["command"]
    assert list(faults_of_provenance({**record["observed"], "seconds": {}}, command)) == []


@pytest.mark.parametrize(
    ("name", "value"), [("hyperparameters", {"lr": 0.5}), ("sources", {"lr": "tuned, log x"}), ("method_title", "Mine")]
)
def test_a_description_of_the_cell_that_is_not_the_presets_is_found(here: Path, name: str, value: Any) -> None:
    edited(NEGGRAD, "cell", name, to=value)
    assert the_problem().startswith(f"its description is not that of the preset's cell: {name}")


# Numbers -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def faults(here: Path) -> Callable[[Any], list[str]]:
    """A function that tells what is wrong with the record of one cell, without its file."""
    workspace = Workspace.of("results", "cache")
    cells = {cell.path: cell for cell in planned(Selection.of("small.toml"), workspace).cells}
    expected = Expected(Path("results/small"), cells, workspace.datasets)
    return lambda record: list(expected.faults(NEGGRAD, record))


def leaves(part: Any, *keys: str | int) -> Iterator[tuple[str | int, ...]]:
    """The places of all numbers in a tree of JSON values."""
    if isinstance(part, dict | list):
        entries = part.items() if isinstance(part, dict) else enumerate(part)
        for key, value in entries:
            yield from leaves(value, *keys, key)
    elif isinstance(part, int | float):
        yield keys


def changed(record: Any, place: Sequence[str | int], change: Callable[[Any], Any]) -> Any:
    """A copy of a record with another number at a place."""
    copied = copy.deepcopy(record)
    part = copied
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = change(part[place[-1]])
    return copied


def with_other_digit(value: float) -> float:
    """A count plus one; a rate with another third digit."""
    if isinstance(value, int):
        return value + 1
    return value - 0.003 if value >= 0.003 else value + 0.003


FREE = {"k", "references", "population", "steps"}
"""Counts of attacks and the steps of relearning, which no other number of a record depends on."""


def test_a_changed_digit_is_found_in_every_number_but_those_that_stand_alone(
    faults: Callable[[Any], list[str]],
) -> None:
    record = read_record(NEGGRAD)
    assert record is not None
    assert faults(record) == []
    places = [("metrics", *keys) for keys in leaves(record["metrics"])]
    places += [("more", n, "found", *keys) for n, entry in record["more"].items() for keys in leaves(entry["found"])]
    assert len(places) > 70
    unnoticed = [place for place in places if not faults(changed(record, place, with_other_digit))]
    assert [place for place in unnoticed if place[-1] not in FREE] == []


def test_numbers_of_label_mismatch_are_checked_too(hidden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(hidden)
    selection, workspace = Selection.of("mismatch.toml"), Workspace.of("results", "cache")
    assert list(check_results(selection, workspace).problems) == []
    assert {path.stem for path in Path("results/mismatch/tables").iterdir()} == {"table7"}
    cells = {cell.path: cell for cell in planned(selection, workspace).cells}
    expected = Expected(Path("results/mismatch"), cells, workspace.datasets)
    path = Path("results/mismatch/records/digits-8x8/cnn/data-mismatch/tarf/0.json")
    record: Any = read_record(path)
    places = [("metrics", *keys) for keys in leaves(record["metrics"])]
    for place in (
        *[("clean", name) for name in ("mia", "train_hidden", "test_given")],
        *[("items", name) for name in ("mia", "train_hidden", "test_given")],
        *[("identification", name) for name in ("found", "hidden", "precision", "recall")],
        ("attacks", "svc-released", "non-members"),
    ):
        assert ("metrics", *place) in places
    unnoticed = [place for place in places if not list(expected.faults(path, changed(record, place, with_other_digit)))]
    assert [place for place in unnoticed if place[-1] not in FREE] == []
    shifted = copy.deepcopy(record)  # rates of its samples, but not with the whole
    for protocol in ("clean", "released"):
        columns = shifted["metrics"][protocol]
        columns["train_hidden"] = 0.0 if columns["train_hidden"] else 1.0
    assert [text.split()[:2] for text in expected.faults(path, shifted)] == [
        ["clean", "train_f"],
        ["released", "train_f"],
    ]


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ({"found": 4, "hidden": 5, "precision": 0.5, "recall": 0.4}, ""),
        ({"found": 0, "hidden": 5, "precision": None, "recall": 0.0}, ""),
        ({"found": 3, "hidden": 0, "precision": 0.0, "recall": None}, ""),
        ({"found": 4, "hidden": 6, "precision": 0.5, "recall": 0.4}, "the task hides 5 samples"),
        ({"found": 4, "hidden": 5, "precision": 0.5, "recall": 0.6}, "not of one number of samples"),
        ({"found": 4, "hidden": 5, "precision": 1.25, "recall": 1.0}, "not of one number of samples"),
        ({"found": 0, "hidden": 5, "precision": None, "recall": 0.2}, "although no sample was found"),
        ({"found": 0, "hidden": 5, "precision": 0.0, "recall": 0.0}, "found is 0, with precision 0.0"),
        ({"found": 3, "hidden": 0, "precision": 0.0, "recall": 0.0}, "recall is 0.0, with 0 hidden samples"),
        ({"found": 3, "hidden": 0, "precision": 1.0, "recall": None}, "although no sample is hidden"),
    ],
)
def test_precision_and_recall_follow_from_counts(numbers: dict[str, Any], wrong: str) -> None:
    found = list(consistency.faults_of_identification(numbers, 5 if numbers["hidden"] else 0))
    assert len(found) == bool(wrong)
    assert wrong in "".join(found)


@pytest.mark.parametrize("name", ["clean train_r", "attacks shadow accuracy 0", "attacks released auc 1"])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.25, 1.5])
def test_impossible_numbers_are_found(faults: Callable[[Any], list[str]], name: str, wrong: float) -> None:
    place = [int(word) if word.isdecimal() else word for word in f"metrics {name}".split()]
    assert faults(changed(read_record(NEGGRAD), place, lambda _: wrong))


def test_the_last_bit_of_a_rate_is_checked(faults: Callable[[Any], list[str]]) -> None:
    for keys in (["clean", "train_r"], ["released", "test"], ["attacks", "shadow", "balanced_accuracy", 0]):
        record = changed(read_record(NEGGRAD), ["metrics", *keys], lambda value: math.nextafter(value, 0.5))
        assert faults(record), keys


def test_equal_numbers_of_both_protocols_may_not_differ(faults: Callable[[Any], list[str]]) -> None:
    record = read_record(NEGGRAD) or {}
    one = 1 / record["metrics"]["items"]["train_r"]
    count = round(record["metrics"]["clean"]["train_r"] / one)
    other = changed(record, ["metrics", "clean", "train_r"], lambda _: (count - 1) / round(1 / one))
    why = "train_r of protocols clean and released differ, although both evaluate the same outputs"
    assert faults(other) == [why]


def test_numbers_that_measure_added_must_be_of_present_code_and_in_all_records(here: Path) -> None:
    record = read_record(NEGGRAD) or {}
    del record["more"]["loss"]
    record["more"]["rmia"]["key"]["code"] = "of another version"
    record["more"]["relearning"]["key"]["code"] = "of another version"
    write_record(NEGGRAD, record)
    found = list(problems())
    assert "it lacks loss, which others have: run `unlearnbench measure`" in found
    assert any(what.startswith("rmia is stale: ") for what in found)
    assert any(what.startswith("relearning is stale: ") for what in found)
    assert len(found) == 3


# Tuning --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tuned_here(here: Path) -> Path:
    """The folder with a tuned hyperparameter, whose log is right; returns the log."""
    log = Path("results/tuning/small/neggrad.csv")
    shared = {"train_r": 90.0, "test_r": 80.0}
    entries = [
        Trial(0, RETRAIN, "k", measures=shared),
        Trial(0, ORIGINAL, "k", measures={**shared, "train_r": 95.0}),
        Trial(0, "1", "k", {"lr": 0.01}, {**shared, "train_r": 93.0}),
        Trial(0, "2", "k", {"lr": 0.1}, {**shared, "train_r": 91.0}),
    ]
    sha = hashlib.sha256(trials.write(log, entries)).hexdigest()
    choice = Choice("neggrad", "noisy-label-removal", "cnn", {"lr": 0.1}, "tuning/small/neggrad.csv", sha, 2.0)
    tuned.write(Path("small.tuned.toml"), [choice])
    return log


def changed_choice(**values: Any) -> None:
    """Edits the file with the tuned hyperparameters."""
    path = Path("small.tuned.toml")
    tuned.write(path, [replace(choice, **values) for choice in tuned.read(path).values()])


def test_tuned_hyperparameters_must_follow_from_their_logs(tuned_here: Path) -> None:
    place = ["tuning/small/neggrad.csv"]
    assert problems() == {}
    changed_choice(gain=9.0)
    assert problems() == {"the tuning log gives a gain of 2.0, but the preset has 9.0": place}
    changed_choice(gain=2.0, values={"lr": 0.01})
    assert problems() == {"the tuning log gives {'lr': 0.1}, but the preset has {'lr': 0.01}": place}
    changed_choice(values={"lr": 0.1})
    tuned_here.write_text(tuned_here.read_text().replace("91.0000", "90.9999"))
    (what,) = problems()
    assert what.startswith("the tuning log has the SHA-256 ")
    tuned_here.unlink()
    assert problems() == {"the tuning log cannot be read: No such file or directory": place}


def test_records_must_have_the_tuned_hyperparameters(tuned_here: Path) -> None:
    changed_choice(task="class-removal")
    found = problems()
    stale = next(where for what, where in found.items() if what.startswith("it is stale: ") and "lr: " in what)
    assert len(stale) == 2, "both seeds of NegGrad in class removal"
    assert any(what.startswith("its description is not that of the preset's cell: ") for what in found)


def test_the_page_says_what_the_folder_has_and_what_made_it(here: Path) -> None:
    shutil.rmtree(NEGGRAD.parent)
    check_results(Selection.of("small.toml"), Workspace.of("results", "cache"), write=True)
    page = Path("results/small/README.md").read_text()
    assert page.startswith("# Results of preset small\n")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    assert ["digits-8x8", "cnn", "0-1", str(CELLS), str(CELLS - 2), "0", "0", "2"] in rows
    record = read_record(OTHER) or {}
    for name, label in (("commit", "commit"), ("python", "Python"), ("processor", "processor"), ("torch", "torch")):
        assert [label, record["observed"][name], str(CELLS - 2)] in rows
    assert record["observed"]["date"][:10] in page
