"""Errors of the operating system are one message and exit code 2, wherever they occur."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from unlearnbench.cli.main import main

PROGRAM = [sys.executable, "-m", "unlearnbench"]
TABLE = ["table", "1"]


def shell(line: str, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of the shell in which "$@" is the program with these words."""
    command = ["sh", "-c", line, "sh", *PROGRAM, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.fixture
def places(tiny: Path, tiny_run: Path) -> list[object]:
    return ["--preset", tiny, "--results", tiny_run]


def assert_one_message(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", [["list", "methods"], ["list", "methods", "--json"], ["--help"], ["--version"]])
def test_a_full_standard_output(words: list[str]) -> None:
    assert_one_message(shell('"$@" > /dev/full', *words), "cannot write to standard output: No space left on device")


def test_a_closed_standard_output(places: list[object]) -> None:
    assert_one_message(shell('"$@" >&-', *TABLE, *places), "cannot write to standard output: Bad file descriptor")


def test_an_unwritable_standard_error_changes_no_output(places: list[object]) -> None:
    usual = shell('"$@"', *TABLE, *places)
    assert shell('"$@" 2>&-', *TABLE, *places).stdout == usual.stdout != ""
    assert shell('"$@" 2>/dev/full', "table", "99", *places).returncode == 2


def test_a_reader_that_stops_reading_is_no_error() -> None:
    assert shell('"$@" | true', "list", "methods").stderr == ""


@pytest.mark.parametrize(("target", "why"), [("a file/cd.svg", "is no folder"), (".", "Is a directory")])
def test_a_file_that_cannot_be_written_is_named(target: str, why: str, places: list[object], tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    done = shell('"$@"', "rank", *places, "--svg", tmp_path / target)
    assert_one_message(done, f"cannot write {tmp_path / target}: ")
    assert why in " ".join(done.stderr.split())


def test_the_folder_of_a_new_file_is_made(places: list[object], tmp_path: Path) -> None:
    assert shell('"$@"', "rank", *places, "--svg", tmp_path / "new" / "cd.svg").returncode == 0
    assert (tmp_path / "new" / "cd.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("option", ["size=4k", "ro"])
def test_shared_memory_without_room_is_named(option: str, places: list[object], tmp_path: Path) -> None:
    alone = ["unshare", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    words = ["run", "-j", "1", *places, "-t", "class-removal", "-m", "neggrad", "--force", "--cache", tmp_path]
    line = f'mount -t tmpfs -o {option} none /dev/shm; exec "$@"'
    command = [*alone, "sh", "-c", line, "sh", *PROGRAM, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert_one_message(done, "they lie in /dev/shm")
    assert "Traceback" not in done.stderr


def test_a_missing_temporary_folder_is_named(
    places: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    words = ["run", "-j", "1", *places, "-t", "class-removal", "-m", "neggrad", "--force", "--cache", tmp_path]
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == 2
    assert "No usable temporary directory found in ['/nowhere']" in done.stderr


@pytest.mark.skipif(not shutil.which("script"), reason="no command `script` makes a terminal here")
def test_a_record_fits_into_a_terminal_and_its_commands_stay_in_one_piece(places: list[object]) -> None:
    words = shlex.join([*PROGRAM, "show", "digits-8x8", "class-removal", "laf", "0", *map(str, places)])
    command = ["script", "-qc", f"stty cols 80; {words}", "/dev/null"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    wide = [line for line in done.stdout.splitlines() if len(line) > 80]
    assert "access      " in done.stdout
    assert wide and all(re.match(r"(command|reproduce) +unlearnbench (run|reproduce) ", line) for line in wide)
