"""Records that a preset does not plan, of files and of changed options, are verified, measured and compared as well."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

import unlearnbench
from unlearnbench import UserError
from unlearnbench.operations.measure import measure
from unlearnbench.operations.recorded import unplanned
from unlearnbench.operations.remove import remove
from unlearnbench.operations.verify import verify
from unlearnbench.planning.cells import planned
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import files
from unlearnbench.reporting.frame import records

MINE = """
import torch
from unlearnbench import Access, method

@method(title="Mine", access=Access(forget="images"))
def fade(problem, *, by: float = 0.5):
    "Shrinks the weights by about as much."
    network = problem.network()
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(by + 0.1 * torch.rand(weights.shape, generator=problem.generator))
    return network
"""
ENTRY_POINTS = "[unlearnbench.methods]\nfading-away = fading:fade\n"
FILE, VARIANT, OTHER = "mine.fade", "mine.fade+by=0.25", "laf+epochs=2"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[str]:
    """FILE.py:FUNCTION of a researcher's method."""
    (tmp_path / "mine.py").write_text(MINE)
    yield f"{tmp_path / 'mine.py'}:fade"
    for folder in {path.parent for path, _ in files._imported.values()}:
        files.forget(folder)


@pytest.fixture
def results(place: str, tiny: Path, tiny_run: Path, cache: Path, tmp_path: Path, in_this_process: None) -> Path:
    """Cells of the preset, of a file, and of changed options."""
    folder = tmp_path / "r"
    common = {"tasks": "class-removal", "results": folder, "cache": cache}
    sweep = {"mine.fade": {"by": [0.25]}, "laf": {"epochs": [2]}}
    done = unlearnbench.run(str(tiny), methods=[place, "laf"], sweep=sweep, **common)  # type: ignore[arg-type]
    assert not done.failed
    assert {cell.info.method for cell in done.plan.cells} == {"retrain", "laf", FILE, VARIANT, OTHER}
    return folder


def test_all_of_them_are_planned_and_verified(results: Path, tiny: Path, cache: Path) -> None:
    selection, workspace = Selection.of(tiny), Workspace.of(results, cache)
    others = unplanned(selection, planned(selection, workspace))
    assert sorted(cell.info.method for part in others.parts for cell in part.cells) == [OTHER, FILE, VARIANT]
    assert not others.failures
    verified = verify(selection, workspace, say=lambda _: None)
    assert (verified.records, verified.measured, verified.problems, verified.unmeasured) == (5, 5, [], {})


def test_all_of_them_are_measured_and_their_numbers_verified(results: Path, tiny: Path, cache: Path) -> None:
    selection, workspace = Selection.of(tiny, tasks="class-removal"), Workspace.of(results, cache)
    measured = measure(selection, workspace, attacks="loss", say=lambda _: None)
    assert {f"digits-8x8 class-removal {name} 0" for name in (FILE, VARIANT, OTHER, "laf")} <= {*measured.done}
    assert not measured.failed
    for record in records(results):
        assert "auc" in record["more"]["loss"]["found"], record["cell"]["method"]
    assert verify(selection, workspace, say=lambda _: None).problems == []


def test_all_of_them_have_distances_of_outputs(results: Path, tiny: Path, cache: Path) -> None:
    table = unlearnbench.table(2, str(tiny), results, "csv", view="distance", cache=cache)
    rows = {row["Method"]: row for row in csv.DictReader(io.StringIO(table))}
    assert rows.keys() == {"LAF", "LAF (epochs=2)", "Mine (mine.py)", "Mine (mine.py, by=0.25)"}
    for row in rows.values():
        assert float(row["JSD_f mean"]) >= 0
        assert 0 <= float(row["Dis_t mean"]) <= 100


def test_a_record_whose_file_is_gone_is_named_by_verify(results: Path, place: str, tiny: Path, cache: Path) -> None:
    Path(place.partition(":")[0]).unlink()
    files.forget(Path(place).parent)
    verified = verify(Selection.of(tiny), Workspace.of(results, cache), say=lambda _: None)
    ((reason, count),) = verified.unmeasured.items()
    assert (count, "cannot be planned: there is no file" in reason) == (2, True)


def test_a_row_says_where_it_comes_from(results: Path, tiny: Path) -> None:
    table = unlearnbench.table(2, str(tiny), results)
    assert "| Mine (mine.py) " in table
    assert "| Mine (mine.py, by=0.25) " in table
    assert "Mine (mine.py) (forget: images; from file mine.py)" in table
    frame = unlearnbench.load(str(tiny), results).set_index("method")
    assert (frame.loc[FILE, "origin"], frame.loc["laf", "origin"]) == ("file mine.py", "")


def test_a_package_draws_the_same_random_numbers_as_a_file(
    results: Path, tiny: Path, cache: Path, install: object, tmp_path: Path
) -> None:
    install("fading", MINE, ENTRY_POINTS)  # type: ignore[operator]
    unlearnbench.run(str(tiny), methods="fading-away", tasks="class-removal", results=results, cache=cache)
    by_method = {record["cell"]["method"]: record for record in records(results)}
    file, package = by_method[FILE], by_method["fading-away"]
    assert package["outputs"] == file["outputs"]
    assert package["metrics"] == file["metrics"]
    assert package["key"]["outputs"]["method"]["from"] == "fading 1.0"
    assert package["key"]["outputs"]["method"]["stream"] == file["key"]["outputs"]["method"]["stream"] == "fade"
    assert "stream" not in by_method["laf"]["key"]["outputs"]["method"]


def test_a_method_without_a_declared_cost_has_none_in_tables(results: Path, tiny: Path) -> None:
    frame = unlearnbench.load(str(tiny), results).set_index("method")
    assert {*frame.index[frame["ep_unlearn"].isna()]} == {FILE, VARIANT}
    lines = unlearnbench.table(2, str(tiny), results, view="cost").splitlines()
    (row,) = (line for line in lines if "(mine.py) " in line)
    assert row.split("|")[3:6] == [" 0.00           ", " n/a            ", " n/a                   "]


def test_records_are_removed_by_label_or_pattern(results: Path, tiny: Path) -> None:
    table = results / "tiny" / "tables" / "table2.md"
    assert "Mine" in table.read_text()
    preview = remove(str(tiny), results, methods="mine.*", dry_run=True)
    assert {*preview.cells} == {f"digits-8x8 class-removal {name} 0" for name in (VARIANT, FILE)}
    assert len(list(records(results))) == 5
    assert len(remove(str(tiny), results, methods=[FILE, OTHER]).cells) == 2
    assert {record["cell"]["method"] for record in records(results)} == {"retrain", "laf", VARIANT}
    assert "by=0.25" in table.read_text()
    assert len(remove(str(tiny), results, methods="mine.*").cells) == 1
    assert "Mine" not in table.read_text()
    with pytest.raises(UserError, match="unknown method in these records: 'lav': did you mean 'laf'"):
        remove(str(tiny), results, methods="lav")
    with pytest.raises(UserError, match="no record without numbers in .*tiny fits"):
        remove(str(tiny), results, failed=True)
    with pytest.raises(UserError, match="say whose records are removed"):
        remove(str(tiny), results)
