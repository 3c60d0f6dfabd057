"""A fingerprint depends on code, not on comments or docstrings."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from unlearnbench.plugins import fingerprint as module
from unlearnbench.plugins.fingerprint import current_fingerprint, fingerprint, normalised

SOURCE = '''"""A module."""

import math


def area(r):
    """The area."""
    return math.pi * r**2  # of a circle
'''


def test_comments_docstrings_and_blank_lines_do_not_count() -> None:
    other = SOURCE.replace("A module.", "Another\nmodule.").replace("# of a circle", "").replace("\n\n\n", "\n")
    assert normalised(other) == normalised(SOURCE) == "import math\ndef area(r):\n    return math.pi * r**2"


def test_code_and_strings_that_are_used_count() -> None:
    assert normalised(SOURCE.replace("**2", "**3")) != normalised(SOURCE)
    assert normalised("x = '#a'\n") != normalised("x = '#b'\n")
    assert normalised('def f(): "text"; return 1\n') != normalised('def f(): "text"; return 2\n')


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose method imports a helper, and has another module that is not imported."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "method.py").write_text("import torch\nfrom . import helper\nfrom unlearnbench import method\n")
    (folder / "helper.py").write_text("RATE = 1\n")
    (folder / "unused.py").write_text("RATE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [n for n in sys.modules if n.startswith("theirs")]:
        del sys.modules[name]
    return folder


def test_a_helper_in_the_same_package_counts_and_nothing_else(package: Path) -> None:
    before = current_fingerprint("theirs.method")
    (package / "unused.py").write_text("RATE = 2\n")
    assert current_fingerprint("theirs.method") == before
    (package / "helper.py").write_text("RATE = 2\n")
    assert current_fingerprint("theirs.method") != before


def test_a_fingerprint_is_computed_once_and_the_current_one_each_time(package: Path) -> None:
    fingerprint.cache_clear()
    before = fingerprint("theirs.method")
    (package / "helper.py").write_text("RATE = 2\n")
    assert fingerprint("theirs.method") == before != current_fingerprint("theirs.method")
    fingerprint.cache_clear()
    assert fingerprint("theirs.method") == current_fingerprint("theirs.method")


def test_a_helper_in_the_same_folder_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lone_method.py").write_text("import json\nimport torch\nimport lone_helper\n")
    (tmp_path / "lone_helper.py").write_text("RATE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    before = current_fingerprint("lone_method")
    (tmp_path / "lone_helper.py").write_text("RATE = 2\n")
    assert current_fingerprint("lone_method") != before


def test_built_in_plugins_follow_each_other_but_not_the_core() -> None:
    path = module.source_of("unlearnbench.methods.laf_r")
    assert path is not None
    names = module.imported(path.read_text(), "unlearnbench.methods.laf_r", path)
    assert not any(module.followed("unlearnbench.methods.laf_r", name, path) for name in names)
    assert module.followed("unlearnbench.methods.laf_none_l1", "unlearnbench.methods.laf", path)
