"""Tables agree with their records byte for byte; missing numbers are shown as missing."""

from __future__ import annotations

import math
import shutil
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from unlearnbench import UserError, load, table
from unlearnbench.planning import presets
from unlearnbench.reporting import standard, tables
from unlearnbench.reporting.cells import cells_of_table
from unlearnbench.reporting.rendering import Number, render
from unlearnbench.storage.records import read_record, write_record

VALUES = {
    "retrain": [(0.99, 0.0, 0.5), (0.98, 0.0, 0.52)],
    "neggrad": [(0.95, 0.80, 0.61), (0.93, 0.90, 0.63)],
    "laf-r": [(0.984, 0.002, 0.5), (0.982, 0.001, 0.51)],
    "laf": [(0.97, 0.01, 0.53), (0.95, 0.03, 0.55)],
    "mine": [(0.96, 0.04, 0.53), (0.96, 0.04, 0.55)],
    "original": [(0.99, 0.99, 0.7), (0.99, 0.97, 0.72)],
}
TITLES = {
    "retrain": "Retrain",
    "neggrad": "NegGrad",
    "laf-r": "LAF+R",
    "laf": "LAF",
    "mine": "My_method & co",
    "original": "Original",
}


def record(method: str, seed: int, metrics: dict[str, float] | None, dataset: str = "digits-8x8") -> dict[str, Any]:
    return {
        "schema": 1,
        "status": "ok" if metrics else "failed",
        "reason": "" if metrics else "ValueError: 100 % * wrong",
        "cell": {
            "dataset": dataset,
            "dataset_title": "DIGITS-8x8" if dataset == "digits-8x8" else "FASHION",
            "model": "cnn",
            "task": "class-removal",
            "task_title": "Class removal",
            "columns": ["test_r", "test_f", "asr"],
            "method": method,
            "method_title": TITLES[method],
            "role": "control" if method == "original" else "method",
            "access": "nothing",
            "start": "laf" if method == "laf-r" else "",
            "seed": seed,
        },
        "key": {"shadows": {"count": 8}},
        "metrics": {"clean": metrics, "attacks": {"shadow": {"auc": [0.5, 0.4, 0.6], "tpr@1%": None}}}
        if metrics
        else None,
        "observed": {"seconds": {"prepare": 0.0, "unlearn": 1.0}},
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for method, seeds in VALUES.items():
        for seed, (test_r, test_f, asr) in enumerate(seeds):
            metrics = {"test_r": test_r, "test_f": test_f, "asr": asr}
            made = record(method, seed, None if (method, seed) == ("mine", 1) else metrics)
            if not made["metrics"]:
                del made["metrics"]
            write_record(tmp_path / f"two/records/digits-8x8/cnn/class-removal/{method}/{seed}.json", made)
    return tmp_path


@pytest.fixture
def preset(tmp_path: Path) -> presets.Preset:
    path = tmp_path / "two.toml"
    path.write_text('select.seeds = "0-1"\ndatasets.digits-8x8.model = "cnn"\n')
    return presets.read(str(path))


def test_markdown(results: Path, preset: presets.Preset) -> None:
    (made,) = tables.tables_of(results, preset)
    lines = render(made, "markdown").splitlines()
    assert lines[:11] == [
        "**Table 2: Class removal, preset two**",
        "",
        "| Method               | Data       | Test_r            | Test_f           | ASR            |",
        "|:---------------------|:-----------|:------------------|:-----------------|:---------------|",
        "| Retrain              | DIGITS-8x8 | 98.50±0.71        | 0.00±0.00        | 51.00±1.41     |",
        "| NegGrad              |            | 94.00±1.41        | 85.00±7.07       | 62.00±1.41     |",
        "| LAF+R                |            | **98.30±0.14**    | **0.15±0.07**    | **50.50±0.71** |",
        "| LAF                  |            | <u>96.00±1.41</u> | <u>2.00±1.41</u> | 54.00±1.41     |",
        "| My_method & co (n=1) |            | <u>96.00</u>      | 4.00             | <u>53.00</u>   |",
        "| *Controls*           |            |                   |                  |                |",
        "| Original             |            | 99.00±0.00        | 98.00±1.41       | 71.00±1.41     |",
    ]
    assert lines[-1] == r"- Missing: My_method & co on DIGITS-8x8, seed 1: failed, ValueError: 100 % \* wrong"


def test_latex(results: Path, preset: presets.Preset) -> None:
    (made,) = tables.tables_of(results, preset)
    lines = render(made, "latex").splitlines()
    assert lines[0] == r"% needs \usepackage{booktabs}"
    lines = lines[1:]
    assert lines[:17] == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Class removal, preset two}",
        r"\begin{tabular}{llrrr}",
        r"\toprule",
        r"Method & Data & Test$_{r}$ & Test$_{f}$ & ASR \\",
        r"\midrule",
        r"Retrain & DIGITS-8x8 & 98.50$\pm$0.71 & 0.00$\pm$0.00 & 51.00$\pm$1.41 \\",
        r"NegGrad &  & 94.00$\pm$1.41 & 85.00$\pm$7.07 & 62.00$\pm$1.41 \\",
        r"LAF+R &  & \textbf{98.30$\pm$0.14} & \textbf{0.15$\pm$0.07} & \textbf{50.50$\pm$0.71} \\",
        r"LAF &  & \underline{96.00$\pm$1.41} & \underline{2.00$\pm$1.41} & 54.00$\pm$1.41 \\",
        r"My\_method \& co (n=1) &  & \underline{96.00} & 4.00 & \underline{53.00} \\",
        r"\midrule",
        r"Original &  & 99.00$\pm$0.00 & 98.00$\pm$1.41 & 71.00$\pm$1.41 \\",
        r"\bottomrule",
        r"\end{tabular}",
        lines[16],
    ]
    assert r"100 \% * wrong" in lines[-2]
    assert lines[-1] == r"\end{table}"


def test_csv_is_unrounded_and_empty_where_there_is_no_number(results: Path, preset: presets.Preset) -> None:
    (made,) = tables.tables_of(results, preset)
    path = results / "table.csv"
    path.write_text(render(made, "csv"))
    frame = pd.read_csv(path).set_index(["method", "metric"])
    laf = [100 * values[0] for values in VALUES["laf"]]
    assert frame.loc[("LAF", "test_r"), "mean"] == pytest.approx(statistics.mean(laf))
    assert frame.loc[("LAF", "test_r"), "std"] == pytest.approx(statistics.stdev(laf))
    assert math.isnan(frame.loc[("My_method & co", "asr"), "std"])
    assert frame["n"].tolist().count(1) == 3


def test_two_data_sets_stand_side_by_side_and_a_missing_cell_is_a_dash(results: Path, preset: presets.Preset) -> None:
    made = record("laf", 0, {"test_r": 0.9, "test_f": 0.0, "asr": 0.5}, dataset="fashion-mnist")
    write_record(results / "two/records/fashion-mnist/cnn/class-removal/laf/0.json", made)
    (both,) = tables.tables_of(results, preset)
    lines = render(both, "markdown").splitlines()
    assert lines[2].count("Data") == 2
    retrain = [cell.strip() for cell in lines[4].split("|")]
    assert retrain[6:10] == ["FASHION", "-", "-", "-"]
    laf = [cell.strip() for cell in lines[7].split("|")]
    assert laf[7:10] == ["90.00 (n=1)", "0.00 (n=1)", "50.00 (n=1)"], "there are no ranks without Retrain"


def test_the_protocol_chooses_the_numbers_and_their_note(tiny: Path, tiny_run: Path) -> None:
    frame = load(None, tiny_run).query("task == 'data-removal' and method == 'laf'")
    for protocol, prefix, attack in (("clean", "", "shadow-model attack"), ("released", "released.", "unbalanced set")):
        text = tables.table(1, str(tiny), tiny_run, "csv", protocol=protocol)
        printed = [float(line.split(",")[5]) for line in text.splitlines() if ",LAF," in line]
        columns = [f"{prefix}{name}" for name in ("train_r", "train_f", "test", "asr")]
        assert printed == pytest.approx(100 * frame[columns].to_numpy()[0])
        assert attack in tables.table(1, str(tiny), tiny_run, protocol=protocol)
    assert frame["released.asr"].item() == frame["released.accuracy"].item()
    assert frame["asr"].item() == frame["shadow.balanced_accuracy"].item()
    assert frame["released.train_r"].item() == frame["train_r"].item()  # these digits are not augmented


def test_ties_as_printed_share_their_rank() -> None:
    numbers = {
        ("d", "retrain", "c"): Number(50.0, 1.0, 5),
        ("d", "a", "c"): Number(51.001, 1.0, 5),
        ("d", "b", "c"): Number(48.999, 1.0, 5),
        ("d", "e", "c"): Number(53.0, 1.0, 5),
        ("d", "f", "c"): Number(54.0, 1.0, 5),
    }
    found = standard.ranked(numbers, ["a", "b", "e", "f"], ["d"], ["c"])
    assert {key[1]: number.rank for key, number in found.items()} == {"a": 1, "b": 1, "e": 2}


def test_seeds_beyond_those_of_the_preset_count(results: Path, preset: presets.Preset) -> None:
    made = record("retrain", 7, {"test_r": 0.9, "test_f": 0.0, "asr": 0.5})
    write_record(results / "two/records/digits-8x8/cnn/class-removal/retrain/7.json", made)
    (found,) = tables.tables_of(results, preset)
    text = render(found, "markdown")
    assert "over 3 seeds" in text
    assert "| NegGrad (n=2)  " in text
    assert "94.00±1.41" in text
    assert "1.41 (n=2)" not in text, "n is said once in a row"


def test_what_was_made_under_other_conditions_is_no_number(results: Path, preset: presets.Preset) -> None:
    made = record("laf", 0, {"test_r": 0.97, "test_f": 0.01, "asr": 0.53})
    made["key"] = {"shadows": {"count": 8}, "outputs": {"original": {"dataset": {"checksum": "of others"}, "seed": 0}}}
    write_record(results / "two/records/digits-8x8/cnn/class-removal/laf/0.json", made)
    (found,) = tables.tables_of(results, preset)
    text = render(found, "markdown")
    assert "| LAF (n=1)  " in text
    assert "| 95.00 " in text
    assert "- Missing: LAF on DIGITS-8x8, seed 0: stale, made with another recipe, data, attack or code" in text


def test_cells_with_other_attack_options_than_retrain_are_stale(results: Path, preset: presets.Preset) -> None:
    path = results / "two/records/digits-8x8/cnn/class-removal/laf/0.json"
    made = record("laf", 0, {"test_r": 0.97, "test_f": 0.01, "asr": 0.53})
    made["key"]["attacks"] = {"released": {"options": {"classifier": "xgboost"}}}
    write_record(path, made)
    (found,) = tables.tables_of(results, preset)
    assert any(note.startswith("Missing: LAF on DIGITS-8x8, seed 0: stale") for note in found.notes)


def test_cells_of_another_model_than_the_presets_are_left_out(results: Path, preset: presets.Preset) -> None:
    made = record("laf", 0, {"test_r": 0.1, "test_f": 0.9, "asr": 0.9})
    made["cell"]["model"] = "other"
    write_record(results / "two/records/digits-8x8/other/class-removal/laf/0.json", made)
    (found,) = tables.tables_of(results, preset)
    assert found.rows[3].numbers["digits-8x8", "test_r"].mean == pytest.approx(96.0)


def test_files_are_written_in_all_formats(results: Path, preset: presets.Preset) -> None:
    assert list(tables.write(results, preset)) == ["table2"]
    assert sorted(p.name for p in (results / "two/tables").iterdir()) == ["table2.csv", "table2.md", "table2.tex"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"number": 9}, "there is no table 9: choose one of 1, 2, 3"),
        ({"number": 1}, "no records of data-removal"),
        ({"number": 2, "format": "html"}, "format must be one of markdown"),
        ({"number": 2, "protocol": "realesed"}, "unknown protocol 'realesed': did you mean 'released'"),
    ],
)
def test_wrong_names_and_missing_records_are_errors(
    results: Path, preset: presets.Preset, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        tables.table(preset=str(results / f"{preset.name}.toml"), results=results, **arguments)


def made_of(numbers: dict[str, tuple[float, float, float]], tmp_path: Path, role: dict[str, str] | None = None) -> str:
    """The notes of a table of one seed with these numbers of Test_r, Test_f and ASR."""
    for method, (test_r, test_f, asr) in numbers.items():
        made = record(method, 0, {"test_r": test_r, "test_f": test_f, "asr": asr})
        made["cell"] |= {"role": (role or {}).get(method, made["cell"]["role"]), "like": ""}
        write_record(tmp_path / f"one/records/digits-8x8/cnn/class-removal/{method}/0.json", made)
    path = tmp_path / "one.toml"
    path.write_text('select.seeds = "0"\ndatasets.digits-8x8.model = "cnn"\n')
    (found,) = tables.tables_of(tmp_path, presets.read(str(path)))
    return "\n".join(found.notes)


def test_methods_that_change_almost_nothing_or_damage_the_model_are_named(tmp_path: Path) -> None:
    text = made_of(
        {
            "retrain": (0.98, 0.0, 0.5),
            "original": (0.97, 0.99, 0.7),
            "neggrad": (0.961, 0.998, 0.709),  # within a point of the original everywhere
            "laf": (0.919, 0.0, 0.5),  # 5.1 points below the lower of the two
            "mine": (0.921, 0.98, 0.7),  # 4.9 points below, and not like the original
        },
        tmp_path,
    )
    assert "DIGITS-8x8: almost unchanged, within 1 point of the original in every column: NegGrad.\n" in text
    assert "DIGITS-8x8: damaged, Test_r more than 5 points below Retrain and the original: LAF." in text
    assert (text.count("almost unchanged"), text.count("damaged")) == (1, 1)
    assert text.startswith("One seed, in percent: chance contributes to every difference.")


def test_where_retrain_hardly_differs_from_the_original_no_method_is_named_as_unchanged(tmp_path: Path) -> None:
    text = made_of(
        {"retrain": (0.98, 0.97, 0.5), "original": (0.985, 0.985, 0.51), "laf": (0.984, 0.984, 0.509)}, tmp_path
    )
    assert "Retrain is within 2 points of the original in every column" in text
    assert not any(word in text for word in ("almost unchanged", "damaged"))


def test_without_the_original_no_method_is_named(tmp_path: Path) -> None:
    text = made_of({"retrain": (0.98, 0.0, 0.5), "laf": (0.5, 0.0, 0.5)}, tmp_path)
    assert not any(word in text for word in ("almost unchanged", "damaged"))


def test_ablations_have_tables_of_their_own_beside_the_method_that_they_ablate(results: Path, tmp_path: Path) -> None:
    for method in ("laf-none-l1", "laf-none-l2"):
        for seed in (0, 1):
            made = record("laf", seed, {"test_r": 0.9, "test_f": 0.5, "asr": 0.5})
            made["cell"] |= {"method": method, "method_title": method[-2:], "role": "ablation", "like": "laf"}
            write_record(results / f"two/records/digits-8x8/cnn/class-removal/{method}/{seed}.json", made)
    path = tmp_path / "two.toml"
    path.write_text('select.seeds = "0-1"\ndatasets.digits-8x8.model = "cnn"\n')
    second, fifth = tables.tables_of(results, presets.read(str(path)))
    assert (second.number, fifth.number) == (2, 5)
    assert "l1" not in [row.title for row in second.rows]
    assert [row.title for row in fifth.rows] == ["Retrain", "l1", "l2", "LAF", "Original"]
    assert fifth.title == "Table 5: Class removal, ablations, preset two"
    ranks = {row.title: row.numbers["digits-8x8", "test_f"].rank for row in fifth.rows}
    assert ranks == {"Retrain": 0, "l1": 2, "l2": 2, "LAF": 1, "Original": 0}


def test_cells_of_other_code_are_marked_unless_they_are_accepted(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    assert "stale" not in table(2, str(tiny), results)
    path = next(results.glob("*/records/*/*/class-removal/laf/0.json"))
    record = read_record(path)
    assert record is not None
    record["key"]["outputs"]["method"]["code"] = "of an older version"
    write_record(path, record)
    marked = table(2, str(tiny), results)
    assert "Missing: LAF on DIGITS-8x8, seed 0: stale, changed since: method laf; run again, or" in marked
    row = next(line for line in marked.splitlines() if line.startswith("| LAF "))
    assert row.count(" - ") == 3
    accepted = table(2, str(tiny), results, accept_stale=True)
    assert "Stale, shown because of --accept-stale: LAF. Changed since: method laf." in accepted
    assert "Missing" not in accepted
    record["key"]["outputs"]["code"] = record["key"]["outputs"]["method"]["code"]
    write_record(path, record)
    assert "changed since: the suite's own code (outputs), method laf" in table(2, str(tiny), results)


def test_cells_of_another_recipe_than_the_presets_are_marked(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    other = tmp_path / "tiny.toml"
    other.write_text(tiny.read_text().replace("epochs = 1\n[data", "epochs = 2\n[data"))
    with pytest.raises(UserError, match="5 records of class-removal, all stale because of changes in recipe.epochs"):
        table(2, str(other), results)
    other.write_text(tiny.read_text().replace("vae_epochs = 1", "vae_epochs = 2"))
    text = table(2, str(other), results)
    assert "Missing: LAF on DIGITS-8x8, seed 0: stale, changed since: laf.vae_epochs; run again" in text
    assert "Missing: LAF+R on DIGITS-8x8, seed 0: stale, changed since: laf.vae_epochs; run again" in text
    assert "Missing: NegGrad" not in text


def test_precision_auto_makes_no_record_stale(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    other = tmp_path / "tiny.toml"
    for precision, stale in (("auto", False), ("bf16", True)):
        other.write_text(tiny.read_text().replace("[recipe]", f'[recipe]\nprecision = "{precision}"'))
        cells = cells_of_table(2, str(other), results)[0]
        assert {record.changed for record in cells.records} == ({"recipe.precision"} if stale else {""})


def test_only_tasks_with_ablations_have_a_table_of_ablations(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    path = next(results.rglob("records/*/*/data-removal/laf/0.json"))
    record = read_record(path) or {}
    cell = {**record["cell"], "method": "laf-none-l1", "role": "ablation", "like": "laf"}
    write_record(path.parents[1] / "laf-none-l1" / "0.json", {**record, "cell": cell})
    written = tables.write(results, presets.read(str(tiny)))
    assert list(written) == ["table1", "table2", "table3", "table4"]
    assert (results / "tiny" / "tables" / "table4.md").read_text() == table(4, str(tiny), results)
    with pytest.raises(UserError, match="no records of ablations on class-removal"):
        table(5, str(tiny), results)


def test_the_table_of_a_task_that_is_not_the_papers_has_the_tasks_name(
    tiny: Path, tiny_run: Path, tmp_path: Path
) -> None:
    results = Path(shutil.copytree(tiny_run, tmp_path / "results"))
    for path in sorted(results.rglob("records/*/*/class-removal/*/0.json")):
        record = read_record(path) or {}
        other = {**record["cell"], "task": "../other", "task_title": "Other removal"}  # plugins may have such names
        place = path.parents[2] / "..%2Fother" / path.parent.name / "0.json"
        write_record(place, {**record, "cell": other})
    assert table("../other", str(tiny), results).startswith("**Other removal, preset tiny**")
    assert table("class-removal", str(tiny), results) == table(2, str(tiny), results)
    written = tables.write(results, presets.read(str(tiny)))
    assert list(written) == ["table1", "table2", "table3", "table-../other"]
    assert (results / "tiny" / "tables" / "table-..%2Fother.md").exists()
    assert not list(tmp_path.rglob("other.md"))
    with pytest.raises(UserError, match="unknown task 'class-remova': did you mean 'class-removal'"):
        table("class-remova", str(tiny), results)
    with pytest.raises(UserError, match=r"no records of class-removal\+classes=3 in .* -t class-removal`"):
        table("class-removal+classes=3", str(tiny), results)
    with pytest.raises(UserError, match="there is no table 8: choose one of 1, 2, 3, 4, 5, 6, 7, or name a task"):
        table(8, str(tiny), results)
