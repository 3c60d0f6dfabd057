"""Third-party packages, and packages made by `new`, installed with pip and used from the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from unlearnbench import UserError
from unlearnbench.cli.main import main
from unlearnbench.plugins import scaffold

PACKAGE = Path(__file__).parent / "packages" / "halving"
KINDS = {"method": "my-own-method", "task": "my-task", "dataset": "my-data", "model": "my-net", "attack": "my-attack"}
PLUGINS = {
    "method": "halve",
    "task": "every-second",
    "dataset": "halves",
    "model": "half-linear",
    "attack": "half-loss",
}


def installed(site: Path, sources: Sequence[Path], work: Path) -> Path:
    """Installs packages into a folder."""
    copies = [shutil.copytree(source, work / source.name) for source in sources]  # building writes into the source
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    subprocess.run([*pip, *options, *map(str, copies)], check=True)
    return site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a third-party package, installed by pip."""
    return installed(tmp_path_factory.mktemp("site"), [PACKAGE], tmp_path_factory.mktemp("work"))


@pytest.fixture
def package_on_path(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds that folder to the import path."""
    monkeypatch.syspath_prepend(str(site))


def call(*words: object) -> str:
    """Runs a command that must succeed; returns its output."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_third_partys_plugins_are_listed_with_their_package_and_version(site: Path, tmp_path: Path) -> None:
    """Runs the command in a process of its own."""
    command = [sys.executable, "-m", "unlearnbench", "list", "methods", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert (rows["halve"]["from"], rows["halve"]["title"]) == ("halving 2.3", "Halve")
    assert rows["laf"]["from"].startswith("unlearnbench ")


@pytest.mark.parametrize(("kind", "name"), PLUGINS.items())
@pytest.mark.usefixtures("package_on_path")
def test_a_third_partys_plugin_is_listed_and_passes_the_checks(kind: str, name: str) -> None:
    assert "halving 2.3" in call("list", f"{kind}s")
    assert " 0 failed" in call("check", name)


@pytest.mark.usefixtures("package_on_path", "in_this_process")
def test_a_third_partys_plugins_make_a_row_of_a_table(tmp_path: Path) -> None:
    where = ["--preset", PACKAGE / "preset.toml", "--results", tmp_path / "r", "--cache", tmp_path / "c"]
    printed = call("run", "--all", *where, "-j", 1)
    assert "HALVES" in printed
    assert "| Halve" in printed
    assert "0 cells run, 6 finished before" in call("run", "--all", *where)
    assert "6 of 6 records got new numbers" in call("measure", *where, "--attack", "half-loss", "-j", 1)
    assert "auc of attack half-loss" in call("table", 2, *where[:4], "--attack", "half-loss")
    key = json.loads(call("show", "halves", "every-second", "halve", 0, *where[:4], "--json"))["key"]["outputs"]
    assert key["method"]["from"] == key["task"]["from"] == key["original"]["model"]["from"] == "halving 2.3"


@pytest.mark.usefixtures("in_this_process")
def test_packages_made_by_new_install_and_pass_their_own_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, name in KINDS.items():
        folder, steps = scaffold.write(kind, name, tmp_path)
        assert f"pip install -e {folder}" in steps
        text = "".join(path.read_text() for path in folder.iterdir())
        assert not {"my-plugin", "my_plugin", "My plugin", "KIND", "FOLDER", "STEPS"} & set(
            text.replace("`", " ").split()
        )
    (tmp_path / "work").mkdir()
    folders = [tmp_path / name for name in KINDS.values()]
    site = installed(tmp_path / "site", folders, tmp_path / "work")
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-W", "error"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "pytest", *options, *map(str, folders)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    assert " 0 failed" in call("check", "my-own-method")
    preset = tmp_path / "small.toml"
    preset.write_text(
        "shadows = 2\nselect.seeds = '0'\nrecipe = { epochs = 1, held_out = 0.76 }\nselect.tasks = ['class-removal']\n"
        "datasets.digits-8x8.model = 'cnn'\n"
    )
    run = ["run", "--preset", preset, "-m", "my-own-method", "-j", 1, "--cache", "c", "--results", "r"]
    assert "| My own method" in call(*run)
    for kind in ("dataset", "model"):  # they have presets of their own
        plan = [
            "run",
            "--preset",
            tmp_path / KINDS[kind] / "preset.toml",
            "--dry-run",
            "--cache",
            "c",
            "--results",
            "r",
        ]
        assert "6 of 6 cells to run" in call(*plan)


@pytest.mark.parametrize("kind", KINDS)
def test_packages_made_by_new_pass_the_checks_before_installation(kind: str, tmp_path: Path) -> None:
    folder, _ = scaffold.write(kind, f"fresh-{kind}", tmp_path)
    done = CliRunner().invoke(main, ["check", f"{folder}/fresh_{kind}.py:fresh_{kind}"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mehtod", "mine"], "unknown kind of plugin 'mehtod': did you mean 'method'"),
        (["method", "Mine"], "a name is lower-case words joined by hyphens, such as my-method, not 'Mine'"),
        (["method", "my_own"], "a name is lower-case words"),
        (["method", "../mine"], "a name is lower-case words"),
        (["method", "laf"], "laf is a method of unlearnbench: choose another name"),
        (["task", "json"], "Python has a module json, which json would hide"),
        (["task", "class"], "Python has a module class"),
        (["task", "there"], "there exists already"),
    ],
)
def test_new_refuses_names_that_would_not_work(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "kept.txt").write_text("kept")
    done = CliRunner().invoke(main, ["new", *words])
    assert done.exit_code == 2
    assert message in done.stderr
    assert [path.name for path in tmp_path.rglob("*.*")] == ["kept.txt"]


def test_new_refuses_folders_that_are_not_writable(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        scaffold.write("method", "my-own", file)
