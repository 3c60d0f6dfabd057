"""Tables and notes fit into 80 columns, and each format prints every name as it is."""

from __future__ import annotations

import csv
import io
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from unlearnbench import table
from unlearnbench.cli.main import main
from unlearnbench.reporting.formats import escape_latex, escape_markdown, markdown_note
from unlearnbench.reporting.grid import DATA, METHOD, Column, Grid
from unlearnbench.reporting.rendering import Number, Row, Table, render
from unlearnbench.reporting.terminal import STYLE_CODES
from unlearnbench.reporting.views import VIEWS

NAMES = ["ft|lr=1e-3 *v2*", "a_b_ <u>c</u> & d", r"50 % #1 \cite{x} $y$ `z` ~1", "two\nlines", "\x1b[31mred", "[a](b)"]
METRICS = ["train_r", "train_f", "test", "asr"]


def row(title: str, numbers: list[Number], datasets: tuple[str, ...] = ("d",)) -> Row:
    return Row(title, title, "method", {(d, m): n for d in datasets for m, n in zip(METRICS, numbers, strict=True)})


def made(*rows: Row, datasets: dict[str, str] | None = None, notes: tuple[str, ...] = ()) -> Table:
    return Table(1, "t", "Table 1: Data removal", datasets or {"d": "DIGITS-8x8"}, METRICS, rows, 3, notes)


def lines_of(text: str) -> list[str]:
    return STYLE_CODES.sub("", text).splitlines()


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_the_standard_table_of_long_names_and_wide_numbers_fits() -> None:
    numbers = [Number(100.0, 10.25, 3, rank) for rank in (0, 1, 2, 0)]
    shown = made(row("Unlearning (forget first)", numbers), notes=("A note of many words. " * 20,))
    assert max(map(len, lines_of(render(shown, "terminal")))) <= 80
    assert "\033[1m100.00±10.25\033[0m" in render(shown, "terminal")


def test_the_data_sets_of_a_wide_table_stand_below_each_other() -> None:
    numbers, datasets = [Number(100.0, 10.25, 3)] * 4, {"d": "DIGITS-8x8", "e": "FASHION"}
    lines = lines_of(render(made(row("Retrain", numbers, ("d", "e")), datasets=datasets), "terminal"))
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line in datasets.values()] == ["DIGITS-8x8", "FASHION"]
    assert sum(line.startswith("Retrain") for line in lines) == 2


def test_a_wide_grid_breaks_between_columns_and_repeats_the_methods() -> None:
    values = [Column(f"A wide column {i}") for i in range(9)]
    rows = [("DIGITS-8x8", name, *(f"{name}{i}" for i in range(9))) for name in ("LAF", "SCRUB")]
    lines = lines_of(render(Grid("Title", [DATA, METHOD, *values], rows, ["Words " * 40]), "terminal"))
    assert max(map(len, lines)) <= 80
    assert lines.count("DIGITS-8x8") == 1
    for name in ("LAF", "SCRUB"):
        parts = [line.split() for line in lines if line.startswith(f"{name} ")]
        assert [cell for part in parts for cell in part[1:]] == [f"{name}{i}" for i in range(9)]
        assert len(parts) > 1


OTHERS = ("compare", "confusion", "features", "relearning", "sensitivity", "apart", "identification")
"""The views that need other records than a plain run's, and have tests of their own."""


@pytest.mark.parametrize("view", ["standard", *(view.name for view in VIEWS if view.name not in OTHERS)])
def test_every_view_fits_into_a_terminal(view: str, tiny: Path, tiny_run: Path, cache: Path) -> None:
    options = {"cache": cache} if view == "distance" else {}
    text = table(1, str(tiny), tiny_run, "terminal", view, **options)
    assert max(map(len, lines_of(text))) <= 80
    assert max(map(len, lines_of(table(1, str(tiny), tiny_run, "markdown", view, **options)))) > 80, (
        "files do not break"
    )


def test_without_colours_a_terminal_gets_no_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = render(made(row("LAF", [Number(99.0, 1.0, 3, rank) for rank in (0, 1, 2, 0)])), "terminal")
    assert "\033" not in text
    assert "**99.00±1.00**" in text


def test_n_is_said_once_for_a_row_and_in_cells_only_where_they_differ() -> None:
    two, three, none = Number(50.0, 1.0, 2), Number(50.0, 1.0, 3), Number()
    text = render(
        made(row("A", [three] * 4), row("B", [two, two, two, none]), row("C", [two, two, three, three])), "csv"
    )
    assert [line["n"] for line in csv.DictReader(io.StringIO(text))] == list("333322202233")
    for form in ("markdown", "latex", "terminal"):
        lines = {name: line for line in render(made(
            row("A", [three] * 4), row("B", [two, two, two, none]), row("C", [two, two, three, three])
        ), form).splitlines() for name in "ABC" if re.match(rf"(\| )?{name} ", line)}  # fmt: skip
        assert [lines[name].count("(n=2)") for name in "ABC"] == [0, 1, 2]
        assert "B (n=2)" in lines["B"]


def test_where_all_have_the_same_fewer_seeds_the_first_note_says_so(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    more = tmp_path / "tiny.toml"
    more.write_text(tiny.read_text().replace('seeds = "0"', 'seeds = "0-2"'))
    text = table(1, str(more), tiny_run)
    assert "- One seed of 3, in percent" in text
    assert "(n=1)" not in text
    assert "- One seed, in percent" in table(1, str(more), tiny_run, seeds=0), "it was asked for"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_in_its_cell_in_every_format(name: str) -> None:
    shown = made(row(name, [Number(50.0, 1.0, 3)] * 4), notes=(f"Missing: {name}",))
    grid = Grid(name, [METHOD, Column("Value")], [(name, "1")], [name])
    printed = "".join(" " if character in "\n\x1b" else character for character in name)
    for one, count in ((shown, 6), (grid, 2)):
        line = render(one, "markdown").splitlines()[4]  # below title, an empty line, headers and a rule
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        assert len(cells) == count
        assert unescape(re.sub(r"\\([\W_])", r"\1", cells[0])).strip() == printed.strip()
        latex = render(one, "latex")
        assert f"\n{escape_latex(name)} & " in latex
        assert not re.search(r"[<>|]", latex)
        assert "\x1b[31m" not in render(one, "terminal")


def test_markdown_prints_every_character_of_a_text_as_it_is() -> None:
    assert escape_markdown("a|b *c* _d_ e_f `g` <h> ~i~ $j$ [k](l) &amp; \\m") == (
        r"a\|b \*c\* \_d\_ e_f \`g\` &lt;h> \~i\~ \$j\$ [k\](l) &amp;amp; \\m"
    )
    assert escape_markdown("# x") == r"\# x"
    assert escape_markdown("-0.50 [-1.00, +2.00] (0.4)") == "-0.50 [-1.00, +2.00] (0.4)"
    assert markdown_note("see `a_*b` and *c*") == r"see `a_*b` and \*c\*"


def test_the_options_in_latex_notes_keep_their_hyphens() -> None:
    assert escape_latex("--accept-stale") == "-{}-accept-stale"


def test_a_name_that_is_too_long_goes_on_in_the_next_line() -> None:
    name = "My method with all its options " * 3 + "x" * 50
    for shown in (
        made(row(name, [Number(100.0, 10.25, 3)] * 4)),
        Grid("Title", [DATA, METHOD, Column("Value")], [("D", name, "1")], []),
    ):
        lines = lines_of(render(shown, "terminal"))
        assert max(map(len, lines)) <= 80
        assert sum(line.startswith("My method") for line in lines) == (2 if isinstance(shown, Table) else 1)


def test_a_narrow_terminal_breaks_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    lines = lines_of(render(made(row("A long name", [Number(100.0, 10.25, 3)] * 4)), "terminal"))
    assert sum("100.00±10.25" in line for line in lines) == 4


def test_the_commands_print_what_fits_into_a_terminal(
    tiny: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearnbench.cli.results.default_format", lambda: "terminal")
    words: list[Any] = ["--preset", tiny, "--results", tiny_run]
    for command in (["table", "1"], ["table", "2", "--cost"], ["rank"]):
        done = CliRunner().invoke(main, [*command, *map(str, words)])
        assert done.exit_code == 0
        assert max(map(len, lines_of(done.stdout))) <= 80
