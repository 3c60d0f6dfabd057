"""The report: every number is one of `table`, it is the same for the same records, and texts of others stay texts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from made_up import Page, markdown_rows, path_of, record, write_all

from unlearnbench import UserError, table
from unlearnbench.operations.report import report
from unlearnbench.reporting import ranking
from unlearnbench.reporting.rendering import render
from unlearnbench.storage.records import read_record, write_record

METHODS = {"laf": ("LAF", 0.05), "neggrad": ("NegGrad", 0.2), "scrub": ("SCRUB", 0.03)}
HOSTILE = '</script><img src=x onerror=alert(1)>&amp;" onclick="x\' {{ 7*7 }} $x$\u202e'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with records of three tasks, not to be changed."""
    folder = tmp_path_factory.mktemp("made")
    write_all(folder, METHODS)
    return folder


@pytest.fixture(scope="module")
def html(made: Path) -> str:
    return report(str(made / "mine.toml"), made / "results", out=made / "report.html").read_text()


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def shown(page: Page, name: str, columns: int = 1) -> list[list[str]]:
    """The rows of a table of the page, without its headings, the first columns cut off."""
    return [row[columns - 1 :] for row in page.tables[name] if len(row) > 1]


@pytest.mark.parametrize(("number", "task"), [(1, "data-removal"), (2, "class-removal"), (3, "noisy-label-removal")])
@pytest.mark.parametrize("protocol", ["clean", "released"])
def test_every_number_of_a_table_is_that_of_the_command(
    made: Path, page: Page, number: int, task: str, protocol: str
) -> None:
    text = table(task, str(made / "mine.toml"), made / "results", protocol=protocol)
    expected = [[row[0], *row[2:]] for row in markdown_rows(text) if any(row[2:])]
    assert len(expected) == 7
    if protocol == "clean":
        distances = table(task, str(made / "mine.toml"), made / "results", view="distance", cache=made / "cache")
        gaps = {row[1]: row[2] for row in markdown_rows(distances)} | {"Method": "Gap", "Retrain": "-"}
        expected = [[*row, gaps[row[0]]] for row in expected]
    assert shown(page, f"s-t{number}-1-{protocol}") == expected


def test_variants_that_are_closer_than_the_closest_method_are_named_beside_it(made: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(made / "results", tmp_path / "results"))
    for path in results.rglob("records/*/*/*/scrub/*.json"):
        content = read_record(path) or {}
        write_record(path, {**content, "cell": {**content["cell"], "role": "variant"}})
    page = report(str(made / "mine.toml"), results, out=tmp_path / "report.html").read_text()
    sentence = r"<strong>LAF</strong> is closest.*\. Closer, but variants do not compete: SCRUB \(\d"
    assert len(re.findall(sentence, page)) == 3


def test_every_number_of_further_tables_is_that_of_the_command(made: Path, page: Page, tmp_path: Path) -> None:
    places = str(made / "mine.toml"), made / "results"
    for view, place, width in (("paired", 1, None), ("distance", 2, 5), ("cost", 3, None)):
        text = table("class-removal", *places, view=view, **({"cache": tmp_path} if view == "distance" else {}))
        expected = [row[:width] for row in markdown_rows(text)]
        assert len(expected) > 5, view
        assert page.tables[f"s-t2-{place}"] == expected
    text = render(ranking.view(ranking.rank(*places)), "markdown")
    assert page.tables["s-ranks"] == list(markdown_rows(text))


def test_the_answers_are_those_of_rank_and_distance(made: Path, page: Page) -> None:
    places = str(made / "mine.toml"), made / "results"
    ranked = ranking.rank(*places, choice=ranking.Choice.of(tasks="noisy-label-removal"))
    text = table("noisy-label-removal", *places, view="distance", cache=made / "cache")
    gaps = {row[1]: row[2] for row in markdown_rows(text)}
    rows = {row[0]: row for row in page.tables["table 0"]}
    answer = rows["Noisy-label removalDIGITS-8X8"]
    assert answer[1] == ranked.methods[0] == "SCRUB"
    assert answer[2] == f"stable: first in {100 * ranked.first[0]:.0f} % of all 27 ways to draw the 3 seeds again"
    assert answer[3:] == [gaps["SCRUB"], f"LAF, {gaps['LAF'].partition('±')[0]}", gaps["Retrain again"]]


def test_a_number_leads_to_its_records_and_these_to_their_files(made: Path, page: Page, html: str) -> None:
    names = page.values("div", "id")
    targets = [link.removeprefix("#") for link in page.values("a", "href") if link.startswith("#")]
    assert len(targets) > 60
    everywhere = [value for _, key, value in page.attributes if key == "id"]
    assert set(targets) <= set(everywhere)
    assert len(everywhere) == len(set(everywhere))
    assert [name for name in names if re.fullmatch(r"r\d+", name)] == [f"r{n}" for n in range(1, 19)]
    files = [link for link in page.values("a", "href") if link.endswith(".json")]
    assert len(set(files)) == 54
    assert all((made / link).is_file() for link in files)
    cell = re.search(r"<a href=#(r\d+)><b>", html)
    assert cell
    group = html[html.index(f"<div id={cell[1]} ") :]
    assert "unlearnbench run -m " in group[: group.index("</details>")]


def test_the_same_records_give_the_same_bytes(made: Path, html: str, tmp_path: Path) -> None:
    call = f"report({str(made / 'mine.toml')!r}, {str(made / 'results')!r}, out={str(made / 'again.html')!r})"
    code = f"from unlearnbench.operations.report import report; {call}"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (made / "again.html").read_text() == html


def test_the_page_needs_nothing_and_its_policy_allows_only_its_own_script(page: Page, html: str) -> None:
    assert not [value for _, key, value in page.attributes if key in ("src", "action", "style") or key.startswith("on")]
    assert not [link for link in page.values("a", "href") if ":" in link]
    assert "@import" not in html
    assert "url(" not in html
    (policy,) = [value for value in page.values("meta", "content") if "default-src" in value]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'" in policy
    assert len(re.findall(r"<script>(.*?)</script>", html, re.DOTALL)[0]) < 5800


def test_texts_of_plugins_stay_texts(tmp_path: Path) -> None:
    results = write_all(tmp_path, {"evil": (HOSTILE, 0.05), "laf": ("LAF", 0.1)}, seeds=2, tasks=["data-removal"])
    before = Page(report(str(tmp_path / "mine.toml"), results).read_text())
    bad = record("data-removal", "evil", HOSTILE, "method", 0, 0.1, status="failed", reason=HOSTILE, traceback=HOSTILE)
    bad["cell"]["hyperparameters"] = {HOSTILE: HOSTILE}
    bad["observed"]["command"] = HOSTILE
    write_record(path_of(results, bad), {name: value for name, value in bad.items() if name not in ("metrics", "roc")})
    page = Page(report(str(tmp_path / "mine.toml"), results, embed=True).read_text())
    assert page.tags == before.tags
    assert "img" not in page.tags
    assert not [value for _, key, value in page.attributes if key.startswith("on")]
    assert page.text.count("<img src=x onerror=alert(1)>") > 10
    assert "49" not in page.text.partition("How to read")[0].partition("{{ 7*7 }}")[0][-40:]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    results = write_all(tmp_path, METHODS, tasks=["data-removal"])
    failed = record(
        "data-removal", "laf", "LAF", "method", 1, 0.1, status="failed", reason="ValueError: no", traceback="T1"
    )
    del failed["metrics"]
    write_record(path_of(results, failed), failed)
    path_of(results, record("data-removal", "scrub", "SCRUB", "method", 2, 0.1)).unlink()
    preset = tmp_path / "mine.toml"
    preset.write_text(
        preset.read_text().replace("select.tasks", 'select.methods = ["laf", "scrub", "sisa"]\nselect.tasks')
    )
    text = " ".join(Page(report(str(preset), results).read_text()).text.split())
    assert "Missing: LAF on DIGITS-8X8, seed 1: failed, ValueError: no" in text
    assert "Not run on DIGITS-8X8, seed 2: SCRUB." in text
    assert "The preset's methods without a record: sisa." in text
    assert "16 ok, 1 failed of 17 cells with a record" in text
    assert "TracebackT1" in text


def test_old_records_have_no_curve_and_one_seed_no_certainty(tmp_path: Path) -> None:
    results = write_all(tmp_path, METHODS, seeds=1, tasks=["data-removal"])
    for path in results.rglob("*.json"):
        made = read_record(path)
        assert made is not None
        del made["roc"]
        write_record(path, made)
    text = Page(report(str(tmp_path / "mine.toml"), results).read_text()).text
    assert "ROC curves: n/a, because these records are of an older version" in text
    assert "unknown: one seed cannot show it" in text


def test_records_can_be_in_the_file(made: Path, tmp_path: Path) -> None:
    out = report(str(made / "mine.toml"), made / "results", out=tmp_path / "one.html", embed=True)
    text = Page(out.read_text()).text
    path = next(made.rglob("class-removal/laf/2.json"))
    assert path.read_text() in text
    assert json.loads(path.read_text())["observed"]["sha256"][:12] in text


def test_a_choice_of_cells_and_errors(made: Path, tmp_path: Path) -> None:
    preset, results = str(made / "mine.toml"), made / "results"
    choice = ranking.Choice.of(tasks="class-removal", methods="laf")
    text = report(preset, results, out=tmp_path / "part.html", choice=choice).read_text()
    assert "NegGrad" not in text
    assert "Data removal" not in Page(text).text
    with pytest.raises(UserError, match="there is no results folder"):
        report(preset, tmp_path / "nowhere")
    with pytest.raises(UserError, match="unknown preset 'demos'"):
        report("demos", results)


def test_tables_are_in_the_page_as_text_and_a_command_repeats_all_seeds(made: Path, page: Page, html: str) -> None:
    (packed,) = re.findall(r"<template id=texts>(.*?)</template>", html)
    texts = json.loads(gzip.decompress(base64.b64decode(packed)))
    for form in ("markdown", "latex", "csv"):
        assert table("class-removal", str(made / "mine.toml"), made / "results", form) in texts
    assert len(texts) == len(page.values("pre", "data-text"))
    assert len(texts) == html.count("<details class=sources") * 3
    assert "--seeds 0-2" in page.text
    assert "--seeds 1 " not in page.text


def test_large_reports_stay_small(tmp_path: Path) -> None:
    """A tenth of 5,000 cells, which must stay below 8 MB; commands are as long as real ones."""
    methods = {f"method-{number}": (f"Method {number}", 0.01 * number) for number in range(1, 31)}
    results = write_all(tmp_path, methods, seeds=5)
    for path in results.rglob("*.json"):
        made = read_record(path)
        assert made is not None
        made["observed"]["command"] = "unlearnbench run --preset paper " + 150 * "x"
        write_record(path, made)
    path = report(str(tmp_path / "mine.toml"), results)
    assert len(list(results.rglob("*.json"))) == 495
    assert path.stat().st_size < 8e6 / 10


def test_it_does_not_import_torch(made: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from unlearnbench.cli.main import main\n"
        f"try: main(['report', '--preset', {str(made / 'mine.toml')!r}, '--results', {str(made / 'results')!r}, "
        f"'--out', {str(tmp_path / 'r.html')!r}])\n"
        "except SystemExit as end: print(end.code)\n"
        "print({'torch', 'sklearn', 'joblib', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(tmp_path / "r.html"), "0", "set()"]
