"""Records name the commit that made them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from unlearnbench.runtime import source


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_checkout_has_its_commit_and_says_if_files_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "ROOT", tmp_path)
    assert source.commit.__wrapped__() is None
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-qm", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert source.commit.__wrapped__() == head
    (tmp_path / "file").write_text("two")
    assert source.commit.__wrapped__() == f"{head}-dirty"
    monkeypatch.setattr(source.shutil, "which", lambda _: None)
    assert source.commit.__wrapped__() is None
