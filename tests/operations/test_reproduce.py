"""`reproduce` computes a recorded cell from nothing and compares it with the record, number by number."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from unlearnbench import run
from unlearnbench.cli.main import main
from unlearnbench.operations.reproduce import drawn, selection_of
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.storage.records import read_record, write_record

pytestmark = pytest.mark.usefixtures("in_this_process")

CELL = ("digits-8x8", "class-removal", "laf-r", "0")


@pytest.fixture
def finished(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be changed."""
    return Path(shutil.copytree(tiny_run, tmp_path / "results"))


def reproduce(tiny: Path, results: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["reproduce", *words, "--preset", str(tiny), "--results", str(results), "-j", "1"])


def record_of(results: Path, method: str = "laf-r") -> Path:
    return next(results.glob(f"*/records/*/*/class-removal/{method}/0.json"))


def test_a_cell_is_reproduced_from_an_empty_cache_and_its_record_stays(
    tiny: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(tmp_path / "unused"))
    before = record_of(finished).read_bytes()
    done = reproduce(tiny, finished, *CELL)
    assert done.exit_code == 0, done.output
    assert "reproduced: all" in done.stdout
    for name in ("outputs train", "outputs test", "clean train_f", "clean asr", "released asr", "attacks shadow auc"):
        assert f"{name} " in done.stdout
    assert "DIFFERS" not in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if ".json" not in line)
    assert record_of(finished).read_bytes() == before
    assert not list((tmp_path / "unused").glob("*/*.safetensors"))


def test_every_number_that_differs_is_named_with_the_verdict(tiny: Path, finished: Path) -> None:
    path = record_of(finished)
    record = read_record(path) or {}
    record["metrics"]["clean"]["test_r"] += 1e-9
    record["outputs"]["test"] = "0" * 64
    record["cell"]["access"] = "nothing"
    write_record(path, record)
    done = reproduce(tiny, finished, *CELL, "--json")
    assert done.exit_code == 1
    (result,) = json.loads(done.stdout)
    unequal = [one["name"] for one in result["comparisons"] if one["recorded"] != one["computed"]]
    assert unequal == ["description", "outputs test", "clean test_r"]
    assert result["verdict"].startswith("not reproduced: 3 of")
    assert "no reason is known: the record, this machine or a library is at fault" in result["verdict"]


def test_numbers_that_differ_are_printed_with_all_digits_and_curves_are_compared(tiny: Path, finished: Path) -> None:
    path = record_of(finished)
    record = read_record(path) or {}
    recorded = record["metrics"]["clean"]["test_r"]
    record["metrics"]["clean"]["test_r"] = recorded + 1e-9
    name = next(iter(record["roc"]))
    record["roc"][name] = [1.0, *record["roc"][name][1:]] if isinstance(record["roc"][name], list) else {}
    write_record(path, record)
    text = reproduce(tiny, finished, *CELL).stdout
    assert repr(recorded) in text
    assert repr(recorded + 1e-9) in text
    assert "not reproduced: 2 of" in text
    assert any(line.startswith(f"roc {name}") and "DIFFERS" in line for line in text.splitlines())


def test_equal_numbers_of_code_that_has_changed_are_no_secret(tiny: Path, finished: Path) -> None:
    path = record_of(finished, "neggrad")
    record = read_record(path) or {}
    record["key"]["outputs"]["method"]["code"] = "version 0"
    write_record(path, record)
    text = " ".join(reproduce(tiny, finished, "digits-8x8", "class-removal", "neggrad", "0").stdout.split())
    assert "are equal to the last bit, although something has changed since: outputs.method.code: version 0" in text


@pytest.mark.filterwarnings("default:the record .* is damaged:UserWarning")
def test_a_record_that_was_changed_by_hand_is_named(tiny: Path, finished: Path) -> None:
    path = record_of(finished)
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 00', 1).replace('"status": "ok"', '"status": "ok "'))
    for command in ("reproduce", "show"):
        done = CliRunner().invoke(main, [command, *CELL, "--preset", str(tiny), "--results", str(finished)])
        assert done.exit_code == 2
        message = " ".join(done.stderr.split())
        assert f"{path} is damaged or was changed after it was written: it is not valid JSON" in message


def test_the_verdict_names_what_has_changed_since_the_record(tiny: Path, finished: Path) -> None:
    path = record_of(finished, "neggrad")
    record = read_record(path) or {}
    record["key"]["outputs"]["method"]["code"] = "version 0"
    record["metrics"]["clean"]["test"] = 0.5
    write_record(path, record)
    done = reproduce(tiny, finished, "digits-8x8", "class-removal", "neggrad", "0")
    assert done.exit_code == 1
    assert "outputs.method.code: version 0 -> version" in " ".join(done.stdout.split())


def test_the_verdict_names_libraries_that_have_changed(tiny: Path, finished: Path) -> None:
    path = record_of(finished, "neggrad")
    record = read_record(path) or {}
    record["observed"]["libraries"]["numpy"] = "0.1.2"
    record["metrics"]["clean"]["asr"] += 1e-9
    write_record(path, record)
    done = reproduce(tiny, finished, "digits-8x8", "class-removal", "neggrad", "0")
    assert done.exit_code == 1
    assert "something has changed since: numpy: 0.1.2 -> " in " ".join(done.stdout.split())


def test_a_failed_cell_has_nothing_to_reproduce(tiny: Path, finished: Path) -> None:
    path = record_of(finished)
    record = read_record(path) or {}
    write_record(path, {**record, "status": "failed", "reason": "ValueError: no"})
    done = reproduce(tiny, finished, *CELL)
    assert done.exit_code == 1
    assert "not computed: the record has no numbers: ValueError: no" in done.stdout


def test_cells_are_drawn_at_random(tiny: Path, finished: Path) -> None:
    done = reproduce(tiny, finished, "--random", "1")
    assert done.exit_code == 0, done.output
    assert "1 of 1 cell reproduced to the last bit" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name one cell, DATASET TASK METHOD SEED, or use --random N"),
        (["digits-8x8", "class-removal", "laf"], "name one cell, DATASET TASK METHOD SEED"),
        ([*CELL, "--random", "2"], "name one cell, DATASET TASK METHOD SEED"),
        (["--random", "-1"], "--random must be a number of cells, not -1"),
        (["digits-8x8", "class-removal", "laf", "x"], "SEED must be a whole number, not 'x'"),
        (["digits-8x8", "class-removal", "lav", "0"], "did you mean 'laf'"),
    ],
)
def test_bad_input_gets_one_clear_message(words: list[str], message: str, tiny: Path, finished: Path) -> None:
    done = reproduce(tiny, finished, *words)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_what_the_command_line_changed_is_reproduced_in_parents_too(tiny: Path, cache: Path, tmp_path: Path) -> None:
    overrides = {"laf": {"epochs": 2}, "class-removal": {"classes": [3, 4]}}
    where = {"results": tmp_path / "results", "cache": cache, "jobs": 1}
    run(tiny, tasks="class-removal", methods="laf-r", overrides=overrides, **where)
    done = reproduce(tiny, tmp_path / "results", "digits-8x8", "class-removal+classes=3_4", "laf-r+laf.epochs=2", "0")
    assert done.exit_code == 0, done.output
    assert "reproduced: all" in done.stdout


FILES = {
    "base.py": """
from unlearnbench import Access, method

@method(title="Base", access=Access())
def base(problem):
    "Returns the original."
    return problem.network()
""",
    "child.py": """
from unlearnbench import Access, method

@method(title="Child", access=Access(), start="base.base")
def child(problem):
    "Returns what it starts from."
    return problem.network()
""",
}


def test_a_method_in_a_file_that_starts_from_one_in_another_file_is_reproduced(
    tiny: Path, cache: Path, tmp_path: Path
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    places = [f"{tmp_path}/base.py:base", f"{tmp_path}/child.py:child"]
    run(tiny, tasks="class-removal", methods=places, results=tmp_path / "results", cache=cache, jobs=1)
    record = read_record(record_of(tmp_path / "results", "child.child")) or {}
    assert record["observed"]["files"].keys() == {"base.base", "child.child"}
    selection = selection_of(record, Selection.of(tiny))
    assert list(selection.methods) == ["child.child", "base.base"]
    done = reproduce(tiny, tmp_path / "results", "digits-8x8", "class-removal", "child.child", "0")
    assert done.exit_code == 0, done.output


def test_device_and_arithmetic_are_those_of_the_record(tiny: Path, finished: Path) -> None:
    path = record_of(finished)
    record = read_record(path) or {}
    record["key"]["outputs"]["original"]["on"]["device"] = "cuda"
    write_record(path, record)
    done = reproduce(tiny, finished, *CELL)
    assert done.exit_code == 2
    assert "there is no CUDA device here" in " ".join(done.stderr.split())


def test_only_cells_with_numbers_are_drawn(tiny: Path, finished: Path) -> None:
    for path in finished.rglob("records/**/*.json"):
        record = read_record(path) or {}
        if path != record_of(finished):
            write_record(path, {**record, "status": "failed", "reason": "no"})
    selection, workspace = Selection.of(tiny), Workspace.of(finished)
    assert drawn(selection, workspace, 9) == [record_of(finished)]
