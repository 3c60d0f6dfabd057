"""The KIND keeps unlearnbench's contract; one test for each check."""

from __future__ import annotations

import pytest
from my_plugin import my_plugin

from unlearnbench.checks import Check, checks


@pytest.mark.parametrize("check", checks(my_plugin), ids=str)
def test_it_keeps_the_contract(check: Check) -> None:
    """Makes one check."""
    check()
