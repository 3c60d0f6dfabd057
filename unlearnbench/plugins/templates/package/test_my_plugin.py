"""The KIND keeps unlearnbench's contract: one test for each thing that is asked of it."""

from __future__ import annotations

import pytest
from my_plugin import my_plugin

from unlearnbench.checks import Check, checks


@pytest.mark.parametrize("check", checks(my_plugin), ids=str)
def test_it_keeps_the_contract(check: Check) -> None:
    """One thing that is asked of it."""
    check()
