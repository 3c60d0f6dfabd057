"""Plugins are found by entry point; one that cannot be used gets a message, not a traceback."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from unlearnbench import UserError
from unlearnbench.operations.listing import listing
from unlearnbench.plugins import registry
from unlearnbench.plugins.contract import CONTRACT, upgrade
from unlearnbench.plugins.method import Method
from unlearnbench.plugins.plugin import Plugin

METHOD = """
from unlearnbench import Access, method

@method(title="Mine", access=Access(forget="images"))
def mine(problem, *, rate: float = 0.5, steps: int = 3, layers: tuple = (1, 2)):
    "Does little."
    return problem.network()
"""


def test_a_third_partys_method_is_found(install: Callable[..., Path]) -> None:
    install("their_package", METHOD, "[unlearnbench.methods]\nmine = their_package:mine\n")
    entry = registry.entries("methods")["mine"]
    assert (entry.origin, entry.version) == ("their_package", "1.0")
    method = registry.get(Method, "mine")
    assert method.defaults == {"rate": 0.5, "steps": 3, "layers": (1, 2)}
    assert method.summary == "Does little."


def test_options_are_checked_for_spelling_and_type(install: Callable[..., Path]) -> None:
    install("their_options", METHOD, "[unlearnbench.methods]\nmine = their_options:mine\n")
    method = registry.get(Method, "mine")
    assert method.resolve("mine", {"rate": 1}, {"layers": [4], "rate": 2}) == {"rate": 2.0, "steps": 3, "layers": (4,)}
    with pytest.raises(UserError, match="unknown option of method 'mine': 'rat': did you mean 'rate'"):
        method.resolve("mine", {"rat": 1})
    with pytest.raises(UserError, match="mine.steps must be a whole number such as 3, not 2.5"):
        method.resolve("mine", {"steps": 2.5})
    with pytest.raises(UserError, match="mine.rate must be a number"):
        method.resolve("mine", {"rate": "high"})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import does_not_exist\n", "cannot be loaded: ModuleNotFoundError"),
        ("def mine(problem):\n    return None\n", "is no method: broken:mine lacks @method"),
    ],
)
def test_a_broken_plugin_is_named_and_stops_no_other(
    source: str, message: str, install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("broken", source, "[unlearnbench.methods]\nmine = broken:mine\n")
    with pytest.raises(UserError, match=message):
        registry.get(Method, "mine")
    with pytest.warns(UserWarning, match="method 'mine' of package broken 1.0"):
        assert "laf" in registry.usable("methods")
    (row,) = [row for row in listing("methods") if row["name"] == "mine"]
    assert (row["from"], message in row["unusable"]) == ("broken 1.0", True)


def test_an_entry_point_that_cannot_be_read_is_named_and_stops_no_other(install: Callable[..., Path]) -> None:
    install("odd_package", METHOD, "[unlearnbench.methods]\nodd = odd-package:mine\n")
    with pytest.raises(UserError, match="method 'odd' of package odd_package 1.0 cannot be loaded"):
        registry.get(Method, "odd")
    with pytest.warns(UserWarning, match="odd_package 1.0 cannot be loaded"):
        assert "retrain" in registry.usable("methods")


@pytest.mark.parametrize(
    ("folder", "origin"), [("cut_off-2.1.dist-info", "cut_off 2.1"), ("cut_off.egg-info", "cut_off ?")]
)
def test_a_distribution_without_metadata_is_listed_by_the_name_of_its_folder(
    folder: str, origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an installation that was interrupted leaves it."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "entry_points.txt").write_text("[unlearnbench.methods]\nmine = cut_off:mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    (row,) = [row for row in listing("methods") if row["name"] == "mine"]
    assert row["from"] == origin
    assert row["unusable"].startswith(f"method 'mine' of package {origin} cannot be loaded: ModuleNotFoundError")


def test_a_built_in_plugin_is_used_instead_of_another_one_of_its_name_which_is_listed(
    install: Callable[..., Path],
) -> None:
    install("imitator", METHOD, "[unlearnbench.methods]\nlaf = imitator:mine\n")
    with pytest.warns(UserWarning, match="2 packages call a method 'laf': imitator and unlearnbench"):
        assert registry.get(Method, "laf").title == "LAF"
    rows = [row for row in listing("methods") if row["name"] == "laf"]
    assert [row["from"].split()[0] for row in rows] == ["unlearnbench", "imitator"]
    assert "the built-in one is used" in rows[1]["unusable"]
    assert registry.get(Method, "neggrad").title == "NegGrad"


def test_of_two_others_of_one_name_neither_is_used_and_nothing_else_stops(install: Callable[..., Path]) -> None:
    for name in ("their_first", "their_second"):
        install(name, METHOD, f"[unlearnbench.methods]\nmine = {name}:mine\nown-of-{name} = {name}:mine\n")
    with pytest.warns(UserWarning, match="2 packages call a method 'mine'"):
        usable = registry.usable("methods")
    assert "mine" not in usable
    assert {"laf", "own-of-their_first", "own-of-their_second"} <= usable.keys()
    with pytest.raises(UserError, match="their_first and their_second; none is used: uninstall all but one"):
        registry.get(Method, "mine")
    (row,) = [row for row in listing("methods") if row["name"] == "mine"]
    assert row["from"] == "their_first, their_second"
    assert "none is used" in row["unusable"]


@pytest.mark.parametrize(
    ("contract", "message"),
    [(99, "install a newer version of unlearnbench"), (0, upgrade()), (1, upgrade())],
)
def test_a_plugin_for_another_contract_is_refused_before_it_is_imported(
    contract: int, message: str, install: Callable[..., Path]
) -> None:
    source = f"contract = {contract}  # of plugins\nfrom unlearnbench import something_of_that_contract\n"
    install("foreign", source, "[unlearnbench.methods]\nmine = foreign:mine\n")
    with pytest.raises(
        UserError, match=f"was written for contract {contract}, .* has contract {CONTRACT}: {re.escape(message)}"
    ):
        registry.get(Method, "mine")
    assert {row["name"]: row for row in listing("methods")}["mine"]["unusable"].endswith(message)
    assert registry.get(Method, "laf")


def test_a_plugin_that_names_the_present_contract_is_used(install: Callable[..., Path]) -> None:
    install("present", f"contract = {CONTRACT}\n{METHOD}", "[unlearnbench.methods]\nmine = present:mine\n")
    assert registry.get(Method, "mine").title == "Mine"


def test_an_option_without_a_default_is_an_error_at_once() -> None:
    def needy(problem: object, *, rate: float) -> None: ...

    with pytest.raises(TypeError, match="option 'rate' of .*needy needs a default value"):
        Plugin(needy, title="Needy")


def test_every_built_in_plugin_is_described() -> None:
    for group in registry.GROUPS:
        for name, plugin in registry.usable(group).items():
            assert plugin.title, name
            assert plugin.summary.endswith("."), name
            assert plugin.reference or getattr(plugin, "role", "") == "control", name
