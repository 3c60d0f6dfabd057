"""A method in a file that is not installed runs like any other, in every process, and its records name the file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import unlearnbench
from unlearnbench import UserError
from unlearnbench.cli.main import main
from unlearnbench.operations import listing
from unlearnbench.operations.measure import measure
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import files, registry
from unlearnbench.plugins.files import Local, named
from unlearnbench.plugins.method import Method
from unlearnbench.reporting.frame import records

HELPER = "RATE = 0.5\n"
MINE = """
import torch

from mine_helper import RATE
from unlearnbench import Access, method


@method(title="Mine", access=Access(forget="images"))
def fade(problem, *, by: float = RATE):
    "Shrinks the weights."
    from mine_helper import RATE as late

    assert late
    network = problem.network()
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(by)
    return network


@fade.cost
def free(forget, recipe):
    return 0.0


def no_method(problem):
    return problem.network()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A researcher's folder with a method and a helper."""
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "mine_helper.py").write_text(HELPER)
    yield tmp_path
    for known in {where for where, _ in files._imported.values()}:
        files.forget(known.parent)


def run(place: str, tiny: Path, cache: Path, results: Path, **more: Any) -> dict[str, tuple[str, str]]:
    """Statuses and reasons of the cells that were made."""
    arguments = {"tasks": "class-removal", "jobs": 1, "cache": cache, "results": results, **more}
    summary = unlearnbench.run(str(tiny), methods=place, **arguments)
    return {o.name.removeprefix("digits-8x8 class-removal "): (o.status, o.reason) for o in summary.outcomes}


def call(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.stdout, done.stderr


def test_it_runs_in_workers_that_were_started_before(
    folder: Path, tiny: Path, cache: Path, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    run("neggrad", tiny, cache, tmp_path / "warm")  # starts the worker
    results = tmp_path / "r"
    done = run("mine.py:fade", tiny, cache, results, tasks=["class-removal", "data-removal"])
    assert done["mine.fade 0"] == done["digits-8x8 data-removal mine.fade 0"] == ("ok", "")
    record = next(r for r in records(results) if r["cell"]["method"] == "mine.fade")
    assert record["observed"]["files"] == {"mine.fade": str(folder / "mine.py")}
    assert str(folder) not in json.dumps({part: record[part] for part in ("cell", "key", "metrics")})
    assert f"-m {folder / 'mine.py'}:fade" in record["observed"]["command"]
    again = run("mine.py:fade", tiny, cache, results, tasks=["class-removal", "data-removal"])
    assert again == {}


@pytest.mark.usefixtures("in_this_process")
def test_records_are_shown_as_any_others(folder: Path, tiny: Path, cache: Path, tmp_path: Path) -> None:
    results, where = tmp_path / "r", ["--preset", tiny, "--results", tmp_path / "r"]
    code, printed, _ = call(
        "run",
        "-m",
        f"{folder}/mine.py:fade",
        "-t",
        "class-removal",
        "-p",
        "mine.fade.by=0.25",
        "--cache",
        cache,
        *where,
    )
    assert code == 0
    assert "Mine (mine.py, by=0.25)" in printed
    assert "Mine (mine.py, by=0.25)" in call("table", 2, *where)[1]
    assert "by=0.25" in call("show", "digits-8x8", "class-removal", "mine.fade+by=0.25", 0, *where)[1]
    assert call("verify", *where, "--cache", cache)[0] == 0
    assert "there are no records to rank" in call("rank", *where)[2]  # a variant takes part only if -m names it
    assert "mine.fade" not in {row["name"] for row in listing.listing("methods")}
    overrides = {"mine.fade": {"by": 0.25}}
    selection = Selection.of(tiny, tasks="class-removal", methods=f"{folder}/mine.py:fade", overrides=overrides)
    measured = measure(selection, Workspace.of(results, cache), attacks="loss", say=lambda _: None)
    assert "digits-8x8 class-removal mine.fade+by=0.25 0" in measured.done


@pytest.mark.parametrize("edited", ["mine.py", "mine_helper.py"])
def test_an_edit_makes_its_cells_stale_and_only_these(
    edited: str, folder: Path, tiny: Path, cache: Path, tmp_path: Path
) -> None:
    place, results = f"{folder}/mine.py:fade", tmp_path / "r"
    run(place, tiny, cache, results)
    first = registry.get(Method, "mine.fade").defaults["by"]
    file = folder / edited
    file.write_text(file.read_text().replace("0.5", "0.4").replace("mul_(by)", "mul_(by * 0.9)"))
    assert "changed since: method mine.fade" in unlearnbench.table(2, str(tiny), results)
    plan = unlearnbench.run(
        str(tiny), methods=place, tasks="class-removal", cache=cache, results=results, dry_run=True
    ).plan
    assert {cell.method: plan.status(cell).state for cell in plan.cells} == {"retrain": "cached", "mine.fade": "stale"}
    assert run(place, tiny, cache, results) == {"mine.fade 0": ("ok", "")}  # by the worker that had the old one
    now = next(r for r in records(results) if r["cell"]["method"] == "mine.fade")["cell"]["hyperparameters"]["by"]
    assert (first, now) == (0.5, 0.4 if edited == "mine_helper.py" else 0.5)


@pytest.mark.usefixtures("in_this_process")
def test_a_record_whose_file_is_gone_is_shown_with_a_note(
    folder: Path, tiny: Path, cache: Path, tmp_path: Path
) -> None:
    results = tmp_path / "r"
    run(f"{folder}/mine.py:fade", tiny, cache, results)
    there = call("table", 2, "--preset", tiny, "--results", results)[1]
    assert "| Mine" in there
    assert "Not checked for changes" not in there
    (folder / "mine.py").unlink()
    gone = call("table", 2, "--preset", tiny, "--results", results)[1]
    assert "Not checked for changes, because mine.py no longer exists: Mine (mine.py)." in gone
    assert "Missing" not in gone


@pytest.mark.usefixtures("in_this_process")
def test_one_method_in_a_file_may_start_from_another(folder: Path, tiny: Path, cache: Path, tmp_path: Path) -> None:
    more = MINE[MINE.index("@method") : MINE.index("def no_method")].replace("def fade", "def fade_more")
    more = more.replace('title="Mine"', 'title="More", start="mine.fade"')
    (folder / "mine.py").write_text(MINE + more)
    names = [f"{folder}/mine.py:{name}" for name in ("fade_more", "fade")]
    done = run(names, tiny, cache, tmp_path / "r")  # type: ignore[arg-type]
    assert done["mine.fade 0"] == done["mine.fade_more 0"] == ("ok", "")


def test_it_can_be_tuned(folder: Path, tiny: Path, tmp_path: Path) -> None:
    preset = tmp_path / "small.toml"
    preset.write_text(tiny.read_text())
    words = [
        "tune",
        f"{folder}/mine.py:fade",
        "-d",
        "digits-8x8",
        "-t",
        "class-removal",
        "--space",
        "by=0.9,1.0",
        "--points",
        "2,2",
        "-j",
        2,
    ]
    code, printed, said = call(*words, "--preset", preset, "--cache", tmp_path / "c", "--results", tmp_path / "r")
    assert code == 0, said
    assert "by = 1.0" in printed
    assert (tmp_path / "r/tuning/small/digits-8x8/class-removal/mine.fade.md").exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("{}/nowhere.py:fade", "there is no file {}/nowhere.py"),
        ("mine.fade", "mine.fade is not installed; if it is in a file, say where: mine.py:fade"),
        ("{}/mine.py", "say which function of {}/mine.py is the plugin"),
        ("{}/mine.py:fad", "unknown function of {}/mine.py: 'fad': did you mean 'fade'?"),
        ("{}/mine.py:no_method", "mine.py:no_method is no plugin: it lacks a decorator"),
        ("{}/my-file.py:fade", "Python cannot import {}/my-file.py: name the file with letters"),
        ("{}/raises.py:fade", "{}/raises.py cannot be imported: RuntimeError: on purpose"),
        ("{}/syntax.py:fade", "{}/syntax.py cannot be imported: SyntaxError"),
        ("{}/leaves.py:fade", "{}/leaves.py cannot be imported: SystemExit"),
        ("{}/json.py:fade", "{}/json.py has the name of another module"),
        ("{}/uses_tabulate.py:fade", "{}/tabulate.py has the name of another module"),
        ("{}/borrows.py:neggrad", "is only imported there, from unlearnbench.methods.neggrad"),
        ("{}/future.py:fade", "{}/future.py was written for contract 99"),
        ("{}/task.py:data_removal", "unknown method 'task.data_removal'"),
    ],
)
def test_a_wrong_file_gets_a_message_and_no_traceback(
    place: str, message: str, folder: Path, tiny: Path, cache: Path, tmp_path: Path
) -> None:
    source = (Path(unlearnbench.__file__).with_name("tasks") / "data_removal.py").read_text()
    for name, text in {
        "raises": "raise RuntimeError('on purpose')",
        "syntax": "def fade(:",
        "leaves": "raise SystemExit(3)",
        "my-file": MINE,
        "json": MINE,
        "tabulate": "",
        "uses_tabulate": f"import tabulate\n{MINE}",
        "borrows": "from unlearnbench.methods.neggrad import neggrad",
        "future": f"contract = 99\n{MINE}",
        "task": source,
    }.items():
        (folder / f"{name}.py").write_text(text)
    code, _, said = call("run", "-m", place.format(folder), "--preset", tiny, "--cache", cache, "--results", tmp_path)
    assert code == 2
    assert message.format(folder) in said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("start", "encoding"), [(b"\xef\xbb\xbf", "utf-8"), (b"# -*- coding: latin-1 -*-\n", "latin-1")]
)
@pytest.mark.parametrize("name", ["mine", "mine_helper"])
def test_a_file_is_read_in_the_encoding_that_python_reads_it_in(
    start: bytes, encoding: str, name: str, folder: Path
) -> None:
    path = folder / f"{name}.py"
    path.write_bytes(start + f"NAME = '\u00e9'\n{path.read_text()}".encode(encoding))
    (place,) = named([f"{folder}/mine.py:fade"])
    assert registry.get(Method, place).title == "Mine"
    assert sys.modules[name].NAME == "\u00e9"


def test_two_files_that_would_be_one_name_or_one_module_are_refused(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "mine.py").write_text(MINE)
    (other / "mine_helper.py").write_text(HELPER.replace("0.5", "0.6"))
    (other / "yours.py").write_text(MINE)
    with pytest.raises(UserError, match="would both be called mine.fade"):
        named([f"{folder}/mine.py:fade", f"{other}/mine.py:fade"])
    with pytest.raises(UserError, match="cannot be used together: their folders have files of one name"):
        named([f"{folder}/mine.py:fade", f"{other}/yours.py:fade"])
    named([f"{other}/yours.py:fade"])
    assert registry.get(Method, "yours.fade").defaults == {"by": 0.6}
    named([f"{folder}/mine.py:fade"])
    assert registry.get(Method, "mine.fade").defaults == {"by": 0.5}


def test_files_of_two_folders_go_together_where_no_names_clash(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "yours.py").write_text(MINE.replace("mine_helper", "your_helper"))
    (other / "your_helper.py").write_text("RATE = 0.7")
    names = named([f"{folder}/mine.py:fade", f"{other}/yours.py:fade", "laf"])
    assert names == ["mine.fade", "yours.fade", "laf"]
    assert [registry.get(Method, name).defaults.get("by") for name in names] == [0.5, 0.7, None]


def test_a_name_is_a_string_with_a_path(folder: Path) -> None:
    (name,) = named([f"{folder}/mine.py:fade"])
    assert isinstance(name, Local)
    assert json.dumps({"method": name}) == '{"method": "mine.fade"}'
    assert named([name]) == [name]


def test_a_file_must_not_have_the_name_of_a_module_that_is_installed_for_development(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python finds packages that pip installed with --editable after the search path."""
    other = tmp_path / "elsewhere" / "mine.py"
    other.parent.mkdir()
    other.write_text(MINE)

    class Editable:
        @staticmethod
        def find_spec(name: str, *_: object) -> ModuleSpec | None:
            return spec_from_file_location(name, other) if name == "mine" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Editable])
    with pytest.raises(UserError, match=r"mine.py has the name of another module, .*elsewhere.mine.py: rename"):
        named([f"{folder / 'mine.py'}:fade"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("./mine:fade", r"./mine is no Python file: did you mean ./mine.py:fade\?"),
        ("../mine", "../mine is no plugin; if it is in a file, say where: ../mine.py:FUNCTION"),
    ],
)
def test_a_misspelt_file_gets_a_hint(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        named([name])
