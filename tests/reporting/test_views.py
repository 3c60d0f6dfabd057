"""Each view of a table is a line in `VIEWS` and a module, and has the options that it declares, and no others."""

from __future__ import annotations

import csv
import io
import shutil
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from unlearnbench import UserError, table
from unlearnbench.cli.main import main
from unlearnbench.reporting import ranking
from unlearnbench.reporting.formats import escape_latex
from unlearnbench.reporting.grid import Column, Data, Grid
from unlearnbench.reporting.needs import NEEDS
from unlearnbench.reporting.rendering import render
from unlearnbench.reporting.views import STANDARD, VIEWS, View
from unlearnbench.storage.records import read_record, write_record


@pytest.mark.parametrize("view", [STANDARD, *VIEWS], ids=lambda view: view.name)
def test_a_view_is_a_function_in_a_module_of_its_name_and_its_needs_can_be_loaded(view: View) -> None:
    assert callable(import_module(f"unlearnbench.reporting.{view.name}").view)
    assert set(view.needs) <= set(NEEDS)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_has_a_flag_with_its_help(view: View) -> None:
    words = " ".join(CliRunner().invoke(main, ["table", "--help"]).stdout.split())
    assert f"--{view.name} {view.help}" in words


def test_two_views_or_an_option_that_a_view_does_not_have_are_errors(tiny: Path, tiny_run: Path) -> None:
    done = CliRunner().invoke(main, ["table", "1", "--cost", "--paired"])
    assert (done.exit_code, "--cost and --paired do not go together" in done.stderr) == (2, True)
    with pytest.raises(UserError, match="--paired and --protocol do not go together"):
        table(1, str(tiny), tiny_run, view="paired", protocol="released")
    with pytest.raises(UserError, match="--compare and --attack do not go together"):
        table(1, str(tiny), tiny_run, view="compare", attack="loss")
    with pytest.raises(UserError, match="unknown view 'costs': did you mean 'cost'"):
        table(1, str(tiny), tiny_run, view="costs")


def test_a_grid_is_shown_as_its_columns_say_and_its_csv_has_raw_values() -> None:
    columns = [Column("Name"), Column("Share", "{:.1f}".format)]
    grid = Grid("A title_1", columns, [("a*", 1 / 3), ("b", float("nan"))], ["A note."])
    assert render(grid, "markdown").splitlines() == [
        "A title_1",
        "",
        "| Name   | Share   |",
        "|:-------|:--------|",
        r"| a\*    | 0.3     |",
        "| b      | nan     |",
        "",
        "- A note.",
    ]
    assert render(grid, "csv") == f"Name,Share\na*,{1 / 3}\nb,\n"
    tidy = Grid("", columns, grid.rows, [], Data(["name"], [("a",)]))
    assert render(tidy, "csv") == "name\na\n"
    with pytest.raises(UserError, match="format must be one of markdown"):
        render(grid, "html")


def test_a_ranking_in_csv_has_unrounded_ranks(tiny: Path, tiny_run: Path) -> None:
    ranked = ranking.rank(str(tiny), tiny_run)
    rows = list(csv.DictReader(io.StringIO(render(ranking.view(ranked), "csv"))))
    assert [row["method"] for row in rows] == list(ranked.methods)
    assert [float(row["rank"]) for row in rows] == ranked.ranks.tolist()


def test_the_latex_table_of_a_task_that_is_not_the_papers_has_a_caption(
    tiny: Path, tiny_run: Path, tmp_path: Path
) -> None:
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    for path in results.rglob("records/*/*/class-removal/retrain/0.json"):
        record = read_record(path) or {}
        cell = {**record["cell"], "task": "mine", "task_title": "My removal"}
        write_record(path.parents[2] / "mine" / "retrain" / "0.json", {**record, "cell": cell})
    assert r"\caption{My removal, preset tiny}" in table("mine", str(tiny), results, "latex")
    assert r"\caption{Class removal, preset tiny}" in table(2, str(tiny), results, "latex")


def test_only_the_standard_table_also_shows_other_options_of_a_task(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    for path in results.rglob("records/*/*/class-removal/*/0.json"):
        record = read_record(path) or {}
        cell = {**record["cell"], "task": "class-removal+classes=3", "task_title": "Class removal (classes=3)"}
        place = path.parents[2] / "class-removal+classes=3" / path.parent.name / "0.json"
        write_record(place, {**record, "cell": cell})
    assert table(2, str(tiny), results).count("**Table 2: ") == 2
    assert table(2, str(tiny), results, view="cost").count("Table 2: ") == 1
    assert "classes=3" in table("class-removal+classes=3", str(tiny), results, view="cost")


def test_latex_prints_every_character_of_a_text_as_it_is() -> None:
    text = escape_latex(r"50 % of {a_b} & |x| < ~1 ± `c`, \d^2 > $3 #4")
    assert text == (
        r"50 \% of \{a\_b\} \& \textbar{}x\textbar{} \textless{} \textasciitilde{}1 $\pm$ \textasciigrave{}c"
        r"\textasciigrave{}, \textbackslash{}d\^{}2 \textgreater{} \$3 \#4"
    )
