"""The result of a run can leave the process that made it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from unlearnbench import run


@pytest.mark.usefixtures("in_this_process")
def test_it_can_be_pickled_with_its_tables(tiny: Path, tiny_run: Path, cache: Path) -> None:
    summary = run(str(tiny), results=tiny_run, cache=cache, jobs=1)
    again = pickle.loads(pickle.dumps(summary))
    assert repr(again) == repr(summary)
    assert again._repr_html_() == summary._repr_html_()
    assert "NegGrad" in again._repr_html_()
