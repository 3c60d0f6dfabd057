"""Stale records are named wherever their numbers are missing, with the cause and the option that shows them."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from unlearnbench import UserError, load, table
from unlearnbench.cli.main import main
from unlearnbench.planning import presets
from unlearnbench.planning.cell_info import CellStatus
from unlearnbench.reporting import absent, frame, ranking
from unlearnbench.reporting.rendering import render
from unlearnbench.reporting.show import find_record
from unlearnbench.reporting.tables import tables_of
from unlearnbench.reporting.views import VIEWS
from unlearnbench.storage.records import read_record, write_record

STALE = "all stale because of changes in method laf: run again; --accept-stale shows them"


def changed(results: Path, pattern: str = "*/*") -> int:
    """Makes records stale as an edit of LAF's code would; returns how many."""
    paths = sorted(results.rglob(f"records/*/*/{pattern}/0.json"))
    for path in paths:
        record = read_record(path) or {}
        record["key"]["outputs"]["method"] = {"name": "laf", "code": "of an older version"}
        write_record(path, record)
    return len(paths)


@pytest.fixture
def stale(tiny: Path, tiny_run: Path, tmp_path: Path) -> tuple[str, Path]:
    """A preset, and results that are all stale."""
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    assert changed(results) == 15
    return str(tiny), results


@pytest.fixture
def ablated(stale: tuple[str, Path]) -> Path:
    """One more stale record, of an ablation, so that two tables have those of the original and of Retrain."""
    path = next(stale[1].rglob("records/*/*/data-removal/laf/0.json"))
    record = read_record(path) or {}
    cell = {**record["cell"], "method": "laf-none-l1", "role": "ablation", "like": "laf"}
    other = path.parents[1] / "laf-none-l1" / "0.json"
    write_record(other, {**record, "cell": cell})
    return other


@pytest.fixture
def partly(tiny: Path, tiny_run: Path, tmp_path: Path) -> tuple[str, Path]:
    """A preset, and results of which LAF's are stale."""
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    assert changed(results, "*/laf") == 3
    return str(tiny), results


@pytest.mark.parametrize("view", ["", *(f"--{view.name}" for view in VIEWS)])
def test_every_view_of_stale_records_says_so_instead_of_being_empty(view: str, stale: tuple[str, Path]) -> None:
    words = ["table", "1", *filter(None, [view]), "--preset", stale[0], "--results", str(stale[1])]
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"5 records of data-removal, {STALE}" in " ".join(done.stderr.split())


@pytest.mark.parametrize("words", [["report"], ["rank"], ["figure", "tradeoff"], ["figure", "roc"]])
def test_what_is_made_of_several_tables_counts_each_stale_record_once(
    words: list[str], stale: tuple[str, Path], ablated: Path
) -> None:
    done = CliRunner().invoke(main, [*words, "--preset", stale[0], "--results", str(stale[1])])
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{16 if words != ['rank'] else 15} records, {STALE}" in " ".join(done.stderr.split())


def test_the_file_of_a_table_of_stale_records_has_one_note_about_them(stale: tuple[str, Path]) -> None:
    notes = next(table.notes for table in tables_of(stale[1], presets.read(stale[0])) if table.number == 1)
    assert [note for note in notes if "Missing" in note] == [f"Missing: 5 records, {STALE}."]


@pytest.mark.parametrize("view", ["standard", "cost", "paired", "distance"])
def test_every_view_names_the_stale_records_that_it_lacks(view: str, partly: tuple[str, Path], cache: Path) -> None:
    options: dict[str, Any] = {"cache": cache} if view == "distance" else {}
    text = table(1, *partly, view=view, **options)
    note = "- Missing: LAF on DIGITS-8x8, seed 0: stale, changed since: method laf; run again, or accept it with"
    assert text.count(note) == 1
    accepted = table(1, *partly, view=view, accept_stale=True, **options)
    assert accepted.count("- Stale, shown because of --accept-stale: LAF. Changed since: method laf.") == 1
    assert "Missing" not in accepted


def test_what_has_no_notes_warns(partly: tuple[str, Path]) -> None:
    with pytest.warns(UserWarning, match="Missing: LAF on DIGITS-8x8, seed 0: stale, changed since: method laf"):
        table(1, *partly, format="csv")
    places = ["--preset", partly[0], "--results", str(partly[1])]
    for words in (["--json"], ["--format", "csv"]):
        done = CliRunner().invoke(main, ["rank", *words, *places])
        assert "warning: Left out: 3 of 15 records, stale because of changes in method laf" in done.stderr


def test_failed_cells_are_named_in_every_view(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    (path,) = results.rglob("records/*/*/data-removal/laf/0.json")
    record = {**(read_record(path) or {}), "status": "failed", "reason": "ValueError: no"}
    del record["metrics"]
    write_record(path, record)
    for view in ("standard", "cost", "paired"):
        assert "- Missing: LAF on DIGITS-8x8, seed 0: failed, ValueError: no" in table(1, str(tiny), results, view=view)


def test_a_ranking_of_stale_records_says_so(stale: tuple[str, Path]) -> None:
    with pytest.raises(UserError, match="15 records, all stale because of changes in method laf: run again; --accept"):
        ranking.rank(*stale)
    assert len(ranking.rank(*stale, accept_stale=True).methods) > 1


def test_a_ranking_names_the_stale_records_that_it_lacks(partly: tuple[str, Path]) -> None:
    text = render(ranking.view(ranking.rank(*partly)), "markdown")
    assert "| LAF  " not in text
    note = "- Left out: 3 of 15 records, stale because of changes in method laf: LAF. Run again; --accept-stale shows"
    assert note in text
    text = render(ranking.view(ranking.rank(*partly, accept_stale=True)), "markdown")
    assert "| LAF  " in text
    assert "- Stale, shown because of --accept-stale: 3 of 15 records. Changed since: method laf." in text


def test_load_warns_of_stale_records_and_says_which(partly: tuple[str, Path]) -> None:
    with pytest.warns(UserWarning, match="3 of 15 records are stale because of changes in method laf"):
        loaded = load(None, partly[1])
    assert set(loaded.loc[loaded["stale"] != "", "method"]) == {"laf"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load(None, partly[1], accept_stale=True)) == 15


def test_load_does_not_warn_of_records_that_are_not_stale(tiny: Path, tiny_run: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert set(load(str(tiny), tiny_run)["stale"]) == {""}


def test_seeds_are_written_as_ranges() -> None:
    assert absent.seeds_text([3]) == "seed 3"
    assert absent.seeds_text([2, 0, 1, 5]) == "seeds 0-2, 5"


def test_the_most_frequent_causes_are_named_and_the_others_counted(tiny: Path, tiny_run: Path) -> None:
    (record,) = frame.marked_records(
        tiny_run.rglob("records/*/*/data-removal/laf/0.json"), presets.read(str(tiny)), False, frame.NOTHING_KNOWN
    )
    cells = [replace(record, cell=replace(record.cell, seed=seed)) for seed in range(4)]
    changes = ("a, b", "b, c", "b, d, e")
    stale = [replace(one, changed=changed, stale="changed") for one, changed in zip(cells, changes, strict=False)]
    assert absent.causes(stale) == "b, a, c and 2 more"
    assert list(absent.missing(stale)) == [
        "Missing: 3 records, all stale because of changes in b, a, c and 2 more: run again; --accept-stale shows them."
    ]
    failed = replace(cells[3], status=CellStatus.FAILED, reason="ValueError: no")
    first, second = absent.missing([*stale, failed])
    assert first.startswith("Missing: 4 records, 1 without a result and the others stale because of changes in b")
    assert second == "Missing: LAF on DIGITS-8x8, seed 3: failed, ValueError: no"


@pytest.mark.filterwarnings("ignore:the record .* is damaged:UserWarning")
@pytest.mark.parametrize("view", ["standard", "cost", "paired"])
def test_damaged_records_are_named_where_their_numbers_are_missing(
    view: str, tiny: Path, tiny_run: Path, tmp_path: Path
) -> None:
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    for path in results.rglob("records/*/*/data-removal/laf/*.json"):  # no other record there says what its title is
        path.write_text(path.read_text().replace('"ok"', '"no"'))
    note = "- Missing: laf on DIGITS-8x8, seed 0: damaged, its file is no readable record: restore it, or run again"
    assert note in table(1, str(tiny), results, view=view)
    assert "Left out: 1 of 15 records without a result: LAF." in render(
        ranking.view(ranking.rank(str(tiny), results)), "markdown"
    )


@pytest.mark.parametrize(
    ("part", "value", "why"),
    [
        ("clean", {"test_r": "0.9"}, "TypeError: a rate is no number"),
        ("clean", None, "AttributeError"),
        ("attacks", [], "TypeError"),
        ("released", "none", "AttributeError"),
    ],
)
def test_a_record_of_another_form_is_damaged_for_every_reader(
    part: str, value: Any, why: str, tiny: Path, tiny_run: Path, tmp_path: Path
) -> None:
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    (path,) = results.rglob("records/*/*/data-removal/laf/0.json")
    record = read_record(path) or {}
    write_record(path, {**record, "metrics": {**record["metrics"], part: value}})  # with a right checksum
    message = f"the record .* is damaged and is not used: its form is not that of a record: {why}"
    with pytest.warns(UserWarning, match=message):
        assert len(load(str(tiny), results)) == 14
    with pytest.warns(UserWarning, match=message):
        assert "damaged, its file is no readable record" in table(1, str(tiny), results)
    with pytest.warns(UserWarning, match=message), pytest.raises(UserError, match="its form is not that of a record"):
        find_record(results, str(tiny), "digits-8x8", "data-removal", "laf", 0)
