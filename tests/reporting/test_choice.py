"""`table` and `rank` show a part of the cells, with Retrain and the controls; variants take part if they are named."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from unlearnbench import UserError, table
from unlearnbench.cli.main import main
from unlearnbench.reporting import ranking
from unlearnbench.reporting.choice import Choice
from unlearnbench.storage.records import read_record, write_record


@pytest.fixture
def results(tiny: Path, tiny_run: Path, tmp_path: Path) -> tuple[str, Path]:
    """The tiny run with seed 1 of all, and NegGrad as a variant."""
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    for path in sorted(results.rglob("records/*/*/*/*/0.json")):
        record = read_record(path) or {}
        if record["cell"]["method"] == "neggrad":
            record["cell"]["role"] = "variant"
        write_record(path, record)
        write_record(path.with_name("1.json"), {**record, "cell": {**record["cell"], "seed": 1}})
    return str(tiny), results


def titles(text: str) -> list[str]:
    return list(dict.fromkeys(row["method"] for row in csv.DictReader(io.StringIO(text))))


def test_a_table_of_some_methods_has_retrain_and_the_controls(results: tuple[str, Path]) -> None:
    assert titles(table(1, *results, "csv", methods="laf")) == ["Retrain", "LAF", "Original"]
    for view in ("cost", "paired"):
        text = table(1, *results, view=view, methods=["laf"])
        assert "| LAF " in text
        assert "| LAF+R " not in text


def test_a_table_of_some_seeds_has_their_mean(results: tuple[str, Path]) -> None:
    text = table(1, *results, "csv", seeds="1")
    assert {row["n"] for row in csv.DictReader(io.StringIO(text))} == {"1"}


def test_a_table_of_tasks_needs_no_number(results: tuple[str, Path]) -> None:
    text = table(None, *results, tasks=["class-removal", "data-removal"])
    assert [line for line in text.splitlines() if line.startswith("**Table")] == [
        "**Table 2: Class removal, preset tiny**",
        "**Table 1: Data removal, preset tiny**",
    ]
    with pytest.raises(UserError, match="say which table: 1 to 7, or the name of a task"):
        table(None, *results)


def test_a_variant_is_ranked_in_tables_and_rankings_if_it_is_named(results: tuple[str, Path]) -> None:
    row = next(line for line in table(1, *results).splitlines() if line.startswith("| NegGrad"))
    assert not any(mark in row for mark in ("**", "<u>"))
    assert "NegGrad" not in ranking.rank(*results).methods
    row = next(line for line in table(1, *results, methods="neggrad").splitlines() if line.startswith("| NegGrad"))
    assert "**" in row
    assert "NegGrad" in ranking.rank(*results, choice=Choice.of(methods=["neggrad", "laf"])).methods


def test_the_commands_have_the_options(results: tuple[str, Path]) -> None:
    common = ["--preset", results[0], "--results", str(results[1]), "--format", "csv"]
    chosen = ["-d", "digits-8x8", "-t", "data-removal", "-m", "laf", "-m", "laf-r", "--seeds", "0"]
    shown = CliRunner().invoke(main, ["table", *chosen, *common])
    assert titles(shown.stdout) == ["Retrain", "LAF+R", "LAF", "Original"]
    ranked = CliRunner().invoke(main, ["rank", *chosen, *common])
    assert sorted(titles(ranked.stdout)) == ["LAF", "LAF+R"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": "lav"}, "unknown method in these records: 'lav': did you mean 'laf'"),
        ({"datasets": "mnist"}, "unknown dataset in these records: 'mnist': available: digits-8x8"),
        ({"seeds": "7"}, "unknown seed in these records: '7': available: 0, 1"),
        ({"tasks": "data-removal+fraction=0.3"}, "unknown task in these records: 'data-removal.fraction=0.3'"),
    ],
)
def test_a_name_that_no_record_has_is_an_error(
    options: dict[str, str], message: str, results: tuple[str, Path]
) -> None:
    with pytest.raises(UserError, match=message):
        table(1, *results, **options)


@pytest.mark.parametrize(
    ("number", "task", "message"),
    [
        (1, "class-removal", "table 1 is about data-removal, not about class-removal: table 2 is"),
        (7, "data-removal", "table 7 is about all-matched, .*, not about data-removal: table 1 is"),
        ("data-removal", "given", "is about data-removal, not about given: `unlearnbench table given` shows it"),
    ],
)
def test_a_table_of_one_task_is_not_asked_for_another(number: int | str, task: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        table(number, tasks=[task])


def test_a_method_in_a_file_has_the_name_of_its_records() -> None:
    assert Choice.of(methods="some/mine.py:forget").methods == ["mine.forget"]
