"""The command line: what it accepts, prints and refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from unlearnbench.cli.main import main
from unlearnbench.errors import counted
from unlearnbench.plugins import registry
from unlearnbench.plugins.method import Method


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def places(tiny: Path, tiny_run: Path) -> list[object]:
    return ["--preset", tiny, "--results", tiny_run]


def call_in_a_new_process(words: list[str]) -> tuple[str, set[str]]:
    """Runs a command in a process of its own; returns its output and the heavy packages that it imported."""
    code = (
        "import sys\nfrom unlearnbench.cli.main import main\n"
        f"try: main({words!r})\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'sklearn', 'scipy', 'joblib', 'rich'}\n"
        "print('HEAVY', *sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    printed, _, heavy = done.stdout.rpartition("HEAVY")
    return printed, set(heavy.split())


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["table", "--help"], ["--version"]])
def test_help_imports_no_heavy_package(command: list[str]) -> None:
    printed, heavy = call_in_a_new_process(command)
    assert printed
    assert heavy == set()


def test_a_table_does_not_import_torch(places: list[object]) -> None:
    printed, heavy = call_in_a_new_process(["table", "1", *map(str, places)])
    assert "**Table 1: Data removal, preset tiny**" in printed
    assert heavy <= {"numpy", "pandas"}


def test_run_prints_the_tables_of_its_tasks(places: list[object], cache: Path) -> None:
    done = call("run", "--all", *places, "--cache", cache)
    assert done.exit_code == 0
    (report,) = (line.removeprefix("report: ") for line in done.stdout.splitlines() if line.startswith("report: "))
    assert Path(report).name == "report.html"
    assert "Who is closest to Retrain?" in Path(report).read_text()
    assert [line for line in done.stdout.splitlines() if line.startswith("**Table")] == [
        "**Table 1: Data removal, preset tiny**",
        "**Table 2: Class removal, preset tiny**",
        "**Table 3: Noisy-label removal, preset tiny**",
    ]
    assert "0 cells run, 15 finished before" in done.stdout
    one = call("run", "-t", "class-removal", *places, "--cache", cache)
    assert one.stdout.count("**Table") == 1


@pytest.mark.usefixtures("in_this_process")
def test_run_prints_a_line_for_each_cell_and_fails_with_1(tiny: Path, cache: Path, tmp_path: Path) -> None:
    arguments = ["--preset", tiny, "--cache", cache, "--results", tmp_path, "-t", "data-removal", "-j", 1]
    file = tmp_path / "unlucky.py"
    file.write_text(
        "from unlearnbench import Access, method\n"
        "@method(title='Unlucky', access=Access())\n"
        "def unlucky(problem):\n    'Raises.'\n    raise ValueError('no such luck')\n"
    )
    done = call("run", *arguments, "-m", f"{file}:unlucky")
    assert done.exit_code == 1
    assert "[1/2] ok digits-8x8 data-removal retrain 0" in done.stderr
    cell = "digits-8x8 data-removal unlucky.unlucky 0"
    assert f"failed {cell}" in done.stderr
    place = "unlucky.py, line 5: raise ValueError('no such luck')"
    assert f"failed: {cell}: ValueError: no such luck ({place})" in done.stderr
    assert "\x1b" not in done.stderr


def test_json_is_the_only_standard_output(places: list[object], cache: Path) -> None:
    done = call("run", *places, "--cache", cache, "--json")
    content = json.loads(done.stdout)
    assert {cell["status"] for cell in content["cells"]} == {"cached"}
    assert content["tables"] == ["table1", "table2", "table3"]


def test_a_dry_run_prints_states_reasons_and_cost(tiny: Path, tiny_run: Path, cache: Path, tmp_path: Path) -> None:
    changed = tmp_path / "tiny.toml"
    changed.write_text(tiny.read_text().replace("vae_epochs = 1", "vae_epochs = 2"))
    words = ["run", "--preset", changed, "--results", tiny_run, "--cache", cache, "--dry-run"]
    done = call(*words)
    assert done.exit_code == 0
    assert "cached   digits-8x8 data-removal retrain 0" in done.stdout
    assert "stale    digits-8x8 data-removal laf 0\n" in done.stdout
    assert "  options.vae_epochs: 1 -> 2  (all 6 cells)\n" in done.stdout
    assert "6 of 15 cells to run" in done.stdout
    assert "artefacts to make: 2 preparations, 3 saved networks, 6 unlearnings" in done.stdout
    assert "passes over the training set, " in done.stdout
    content = json.loads(call(*words, "--json").stdout)
    assert content["ep"] > 0
    assert content["bytes"] > 0


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_a_printed_table_is_the_one_on_disk(form: str, places: list[object], tiny_run: Path) -> None:
    ending = {"markdown": "md", "latex": "tex", "csv": "csv"}[form]
    done = call("table", 3, *places, "--format", form)
    assert done.stdout == (tiny_run / f"tiny/tables/table3.{ending}").read_text()


def test_list_methods_shows_the_access_of_each() -> None:
    rows = {row["name"]: row for row in json.loads(call("list", "methods", "--json").stdout)}
    assert rows["laf"]["sees forget"] == rows["laf"]["sees retain"] == rows["laf"]["sees prepare"] == "images"
    assert (rows["laf-r"]["starts from"], rows["laf-r"]["sees retain"]) == ("laf", "sample-labels")
    assert rows["original"]["role"] == "control"
    assert rows["laf"]["options"]["tau"] == 20.0
    text = call("list", "methods").stdout
    assert "Label-Agnostic Forgetting" in text
    assert "unlearnbench 0.1.0" in text


def test_lists_fit_into_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert 60 < max(map(len, call("list", "methods").stdout.splitlines())) <= 70


def test_no_number_is_one_in_the_plural(tiny: Path, tmp_path: Path) -> None:
    words = ["--preset", tiny, "-t", "class-removal", "-m", "retrain", "--cache", tmp_path / "c"]
    text = call("run", *words, "--results", tmp_path / "r", "-n").output
    assert "1 of 1 cell to run" in text
    assert not re.search(r"\b1 \w+s\b(?<!pass)", text), text


def test_counts_are_in_the_plural_except_for_one() -> None:
    assert [counted(number, "shadow model") for number in (0, 1, 2)] == [
        "0 shadow models",
        "1 shadow model",
        "2 shadow models",
    ]


@pytest.mark.parametrize("what", ["tasks", "datasets", "models", "attacks", "presets"])
def test_everything_can_be_listed(what: str) -> None:
    done = call("list", what)
    assert done.exit_code == 0
    assert len(done.stdout.splitlines()) > 2


def test_show_prints_a_record_and_the_command_that_reproduces_it(places: list[object]) -> None:
    text = call("show", "digits-8x8", "class-removal", "laf-r", 0, *places).stdout
    assert "LAF+R on DIGITS-8x8, Class removal, seed 0" in text
    assert "tpr@1%             n/a (too few held-out samples" in text
    assert "command     unlearnbench run --preset" in text
    assert f"reproduce   unlearnbench reproduce digits-8x8 class-removal laf-r 0 --preset {places[1]}" in text
    assert f" --results {places[3]}\n" in text
    assert re.search(r"recipe of the original and of Retrain \(preset tiny\)\n(  .*\n)*  lr +0.002\n", text)
    assert "stale       no: code and preset are as they were" in text
    assert "access      " + str(registry.get(Method, "laf-r").access) in text
    assert re.search(r"cost +\d+\.\d\d to prepare, \d+\.\d\d to unlearn; in passes over the training set", text)
    record = json.loads(call("show", "digits-8x8", "class-removal", "laf-r", 0, *places, "--json").stdout)
    assert record["cell"]["method"] == "laf-r"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--preset", "demo", "--preset", "paper"], "--preset can be given once, not as demo and paper"),
        (["table", "1", "--results", "a", "--results", "a"], "--results can be given once, not as a and a"),
        (["run", "-j", "1", "--jobs", "2"], "--jobs can be given once, not as 1 and 2"),
        (["export", "x", "-d", "mnist", "--dataset", "svhn", "-t", "x"], "--dataset can be given once"),
        (["run", "-p", "laf.tau=5", "-p", "laf.tau=6"], "-p laf.tau can be given once: 5 and 6 contradict each other"),
    ],
)
def test_an_option_with_one_value_is_given_once(words: list[str], message: str) -> None:
    done = call(*words)
    assert done.exit_code == 2
    assert message in done.stderr


def test_the_list_of_commands_shows_whole_sentences_in_80_columns() -> None:
    for group in ([], ["data"]):
        lines = CliRunner().invoke(main, [*group, "--help"], terminal_width=80).stdout.split("Commands:\n")[1]
        assert lines
        for line in lines.splitlines():
            assert line.endswith("."), line
            assert not line.endswith("..."), line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "interrupted: finished work is kept, and the same command continues from here"),
        (["measure"], "interrupted: finished work is kept, and the same command continues from here"),
        (["check", "laf"], "interrupted"),
        (["confirm"], "interrupted"),
        (["reproduce", "--random", "1"], "interrupted"),
        (["verify"], "interrupted"),
    ],
)
def test_an_interrupted_command_says_whether_work_is_kept(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.commands[words[0]], "invoke", interrupt)
    done = call(*words)
    assert done.exit_code == 130
    assert done.stderr == f"{message}\n"


def test_advice_names_the_file_of_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quick.toml").write_text("datasets.digits-8x8.model = 'cnn'\n")
    Path("results").mkdir()
    done = call("show", "digits-8x8", "class-removal", "laf", 0, "--preset", "quick.toml")
    assert "run `unlearnbench run --preset quick.toml`" in " ".join(done.stderr.split())
    done = call("run", "--preset", "quick.toml", "-d", "mnist", "-n")
    assert "preset quick.toml does not say how to train mnist" in done.stderr


def test_show_says_what_has_changed_since(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    changed = tmp_path / tiny.name
    changed.write_text(tiny.read_text().replace("epochs = 1\n[data", "epochs = 2\n[data"))
    words = ["--preset", changed, "--results", tiny_run]
    text = call("show", "digits-8x8", "class-removal", "retrain", 0, *words).stdout
    assert "stale       yes, changed since: recipe.epochs" in text


def test_show_of_a_cell_that_has_no_record_says_how_to_make_it(tiny: Path, tiny_run: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    shutil.copytree(tiny_run, results)
    for folder in results.glob("tiny/records/*/*/*/scrub"):
        shutil.rmtree(folder)
    words = ["--preset", tiny, "--results", results]
    without = " ".join(call("show", "digits-8x8", "class-removal", "scrub", 0, *words).stderr.split())
    assert "tiny has no record of digits-8x8 class-removal scrub 0: the methods there are " in without
    assert f"run --preset {tiny} -d digits-8x8 -t class-removal -m scrub --seeds 0` makes it" in without
    assert "unknown" not in without
    no_seed = " ".join(call("show", "digits-8x8", "class-removal", "laf", 7, *words).stderr.split())
    assert "the seeds there are 0; `unlearnbench run" in no_seed
    variant = " ".join(call("show", "digits-8x8", "class-removal", "laf+tau=2.0", 0, *words).stderr.split())
    assert "has no record of digits-8x8 class-removal laf+tau=2.0 0: the methods there are" in variant


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "-m", "lav"], "unknown method 'lav': did you mean 'laf'?"),
        (["run", "-t", "class"], "unknown task 'class'"),
        (["run", "-d", "mnist8"], "unknown dataset 'mnist8'"),
        (["run", "--preset", "dem"], "unknown preset 'dem': did you mean 'demo'?"),
        (["run", "--seeds", "one"], "seeds must be numbers such as 0-4 or 0,2,5, not 'one'"),
        (["run", "-p", "laf"], "-p must be NAME.KEY=VALUE"),
        (["run", "-p", "laf.tua=5"], "unknown option of method 'laf': 'tua': did you mean 'tau'?"),
        (["run", "-p", "laf.epochs=many"], "laf.epochs must be a whole number"),
        (["run", "-p", "released.classifier=forest"], "unknown value of released.classifier: 'forest'"),
        (["run", "-p", "relased.classifier=xgboost"], "unknown method, task or attack of this run: 'relased'"),
        (["table", "1", "--compare"], "there is no results folder results"),
        (["score", "w.safetensors", "-t", "class-removal"], "Missing option '-d'"),
        (["run", "-j", "0"], "-j must be at least 1"),
        (["run", "--device", "tpu"], "device must be auto, cpu or cuda"),
        (["table", "12"], "there is no table 12"),
        (["table", "1", "--results", "nowhere"], "there is no results folder nowhere"),
        (["list", "method"], "unknown list 'method': did you mean 'methods'?"),
        (["show", "digits-8x8", "class-removal", "laf", "0", "--results", "nowhere"], "there is no results folder"),
    ],
)
def test_bad_input_gets_one_clear_message(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert not list(tmp_path.rglob("*.json"))


def test_an_attack_with_a_missing_library_names_the_library(
    monkeypatch: pytest.MonkeyPatch, tiny: Path, cache: Path, tmp_path: Path
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("unlearnbench.artefacts.plugin_keys.release", missing)
    done = call("run", "--preset", tiny, "--cache", cache, "--results", tmp_path, "-p", "released.classifier=xgboost")
    assert done.exit_code == 2
    assert "needs scikit-learn" in done.stderr


def test_an_unusable_results_folder_is_named(tiny: Path, cache: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    done = call("run", "--preset", tiny, "--cache", cache, "--results", file, "-t", "class-removal")
    assert done.exit_code == 2
    assert "file" in done.stderr
    assert "Traceback" not in done.output


def test_results_in_a_file_are_refused(tiny: Path, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "afile").write_text("")
    done = call("run", "--preset", tiny, "--results", tmp_path / "afile", "--cache", cache, "-n")
    assert done.exit_code == 2
    assert "afile is a file, and results need a folder: name another one with --results" in done.stderr


def test_show_suggests_a_similar_name(places: list[object]) -> None:
    done = call("show", "digits-8x8", "class-removal", "lav", 0, *places)
    assert done.exit_code == 2
    assert "unknown method 'lav': did you mean 'laf'" in done.stderr


def test_a_cache_without_artefacts_is_named(tiny_run: Path, tmp_path: Path) -> None:
    done = call("cache", "--results", tiny_run, "--cache", tmp_path)
    assert (done.exit_code, done.stdout) == (0, f"no artefacts in {tmp_path}\n")
