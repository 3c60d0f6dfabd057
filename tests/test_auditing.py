"""More attacks on finished cells: added to their records, out of what is stored, without training anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from unlearnbench import UserError, load, table
from unlearnbench.auditing import measure
from unlearnbench.cli import main
from unlearnbench.making import Workshop

QUICK = ("loss", "rmia", "lira")


@pytest.fixture
def finished(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be changed."""
    return Path(shutil.copytree(tiny_run, tmp_path / "results"))


def measured(tiny: Path, finished: Path, cache: Path, attacks: tuple[str, ...] = QUICK, **options: Any) -> Any:
    return measure(attacks, preset=tiny, results=finished, cache=cache, jobs=1, say=lambda _: None, **options)


def test_records_get_what_attacks_find_and_keep_the_rest(
    tiny: Path, finished: Path, tiny_run: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("nothing is trained")

    for kind in ("original", "shadow", "prepared", "outputs"):
        monkeypatch.setattr(Workshop, kind, never)
    done = measured(tiny, finished, cache)
    assert (len(done.done), done.cells, done.failed, done.without) == (15, 15, {}, {})
    for path in finished.rglob("*.json"):
        record = json.loads(path.read_text())
        more = record.pop("more")
        assert record == json.loads((tiny_run / path.relative_to(finished)).read_text())
        noisy = record["cell"]["task"] == "noisy-label-removal"
        why = "the task replaces labels" if noisy else "too few networks"  # the tiny preset has two shadows
        assert more["lira"]["found"]["n/a"].startswith(why)
        assert more["loss"]["found"]["forgotten"] == record["metrics"]["attacks"]["shadow"]["forgotten"]
        low, value, high = (more["loss"]["found"]["auc"][i] for i in (1, 0, 2))
        assert low <= value <= high
    again = measured(tiny, finished, cache)
    assert again.done == []


def test_tables_show_them_and_a_run_keeps_the_records(tiny: Path, finished: Path, cache: Path) -> None:
    measured(tiny, finished, cache, tasks="data-removal")
    text = table(1, str(tiny), finished, attack="loss", metric="tpr@1%")
    assert "loss.tpr@1%" in text
    with pytest.raises(UserError, match="no record has svc.auc: run `unlearnbench measure"):
        table(1, str(tiny), finished, attack="svc")
    frame = load(finished).query("task == 'data-removal'").set_index("method")
    assert 0 <= frame.loc["laf", "loss.auc"] <= 1
    shown = table(1, str(tiny), finished, attack="loss", format="csv")
    assert f"{100 * frame.loc['laf', 'loss.auc']}"[:8] in shown
    done = CliRunner().invoke(
        main, ["run", "--preset", str(tiny), "--results", str(finished), "--cache", str(cache), "--dry-run"]
    )
    assert "0 of 15 cells to run" in done.stdout


def test_what_cannot_be_measured_is_said(tiny: Path, finished: Path, cache: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown attack 'los': did you mean 'loss'"):
        measured(tiny, finished, cache, ("los",))
    with pytest.raises(UserError, match="every run measures attack shadow anyway"):
        measured(tiny, finished, cache, ("shadow",))
    with pytest.raises(UserError, match="no cell of preset .* has a valid record"):
        measured(tiny, tmp_path / "nothing", cache)
    elsewhere = measured(tiny, finished, tmp_path / "empty")
    assert elsewhere.done == []
    assert len(elsewhere.without) == 15
    with pytest.raises(UserError, match="unknown metric 'acu': did you mean 'auc'"):
        table(1, str(tiny), finished, attack="loss", metric="acu")


def test_the_command_says_what_it_did(tiny: Path, finished: Path, cache: Path) -> None:
    places = [
        "--preset",
        str(tiny),
        "--results",
        str(finished),
        "--cache",
        str(cache),
        "-t",
        "class-removal",
        "-j",
        "1",
    ]
    done = CliRunner().invoke(main, ["measure", "--attack", "entropy", *places])
    assert done.exit_code == 0
    assert "1 attacks on 5 cells, from stored outputs: entropy" in done.stderr
    assert "5 of 5 records have something new" in done.stdout
    text = CliRunner().invoke(
        main, ["show", "digits-8x8", "class-removal", "laf", "0", "--preset", str(tiny), "--results", str(finished)]
    )
    assert "attack entropy: " in text.stdout
    wrong = CliRunner().invoke(main, ["table", "1", "--cost", "--attack", "loss"])
    assert wrong.exit_code == 2
    assert "--cost and --attack do not go together" in wrong.stderr


def test_distances_and_ranks_of_a_real_run(tiny: Path, finished: Path, cache: Path, tmp_path: Path) -> None:
    places = ["--preset", str(tiny), "--results", str(finished)]
    done = CliRunner().invoke(main, ["table", "3", "--distance", *places, "--cache", str(cache)])
    assert done.exit_code == 0
    assert "n/a" not in done.stdout
    assert "Original" in done.stdout
    ranked = CliRunner().invoke(main, ["rank", *places, "--svg", str(tmp_path / "cd.svg"), "--json"])
    assert ranked.exit_code == 0
    assert {row["method"] for row in json.loads(ranked.stdout)["methods"]} == {"NegGrad", "LAF", "LAF+R"}
    assert (tmp_path / "cd.svg").read_text().startswith("<svg")
