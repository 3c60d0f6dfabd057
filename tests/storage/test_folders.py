"""A leading `~` is the home folder in every path that a person gives: option, argument, variable or preset."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import unlearnbench
from unlearnbench import UserError
from unlearnbench.cli.main import main
from unlearnbench.operations.prune import cache_usage
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins.files import placed
from unlearnbench.reporting.ranking import as_data, rank
from unlearnbench.storage import folders


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home folder; the current folder is another one, which stays empty."""
    folder, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(folder))
    monkeypatch.chdir(elsewhere)
    return folder


def test_folders_of_options_and_of_variables(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Workspace.of("~/r", "~/c", "~/d").results == home / "r"
    for function, variable in ((folders.cache, "UNLEARNBENCH_CACHE"), (folders.data, "UNLEARNBENCH_DATA")):
        assert function("~/x") == home / "x"
        monkeypatch.setenv(variable, "~/y")
        assert function() == home / "y"


def test_a_preset_and_a_plugin_in_a_file(home: Path) -> None:
    (home / "mine.toml").write_text('[datasets.digits-8x8]\nmodel = "cnn"\n')
    assert Selection.of("~/mine.toml").preset.name == "mine"
    assert placed("~/mine.py:fade") == placed(f"{home}/mine.py:fade")


def test_functions_that_read_results(home: Path, tiny: Path, tiny_run: Path) -> None:
    (home / "r").symlink_to(tiny_run)
    assert len(unlearnbench.load(None, "~/r")) == len(unlearnbench.load(None, tiny_run))
    assert unlearnbench.table(1, str(tiny), "~/r") == unlearnbench.table(1, str(tiny), tiny_run)
    assert as_data(rank(str(tiny), "~/r")) == as_data(rank(str(tiny), tiny_run))
    assert cache_usage("~/r", "~/c") == []


@pytest.mark.parametrize(
    "words",
    [
        ["new", "method", "mine", "--into=~/made"],
        ["merge", "~/r", "--results=~/made"],
        ["rank", "--preset", "{tiny}", "--results=~/r", "--svg=~/made"],
        ["export", "~/made", "-d", "digits-8x8", "-t", "class-removal", "--preset", "{tiny}", "--cache={cache}"],
    ],
)
@pytest.mark.usefixtures("in_this_process")
def test_folders_and_files_that_commands_write(
    words: list[str], home: Path, tiny: Path, tiny_run: Path, cache: Path
) -> None:
    (home / "r").symlink_to(tiny_run)
    done = CliRunner().invoke(main, [word.format(tiny=tiny, cache=cache) for word in words])
    assert done.exit_code == 0, done.output
    assert (home / "made").exists()
    assert not list(Path.cwd().iterdir())


def test_weights_that_score_reads(home: Path, tiny: Path, cache: Path) -> None:
    (home / "w.safetensors").write_bytes(b"no weights")
    words = ["score", "~/w.safetensors", "-d", "digits-8x8", "-t", "class-removal", "--preset", str(tiny)]
    done = CliRunner().invoke(main, [*words, "--cache", str(cache)])
    assert f"{home / 'w.safetensors'} is" in done.stderr


@pytest.mark.usefixtures("home")
def test_a_home_folder_that_does_not_exist_is_named() -> None:
    with pytest.raises(UserError, match="~nobody-of-this-name/c: there is no such home folder"):
        folders.cache("~nobody-of-this-name/c")
