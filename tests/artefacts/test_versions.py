"""Keys contain the versions of confirmed code, and the fingerprints of other code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from unlearnbench import UserError, golden
from unlearnbench.artefacts import versions
from unlearnbench.artefacts.plugin_keys import minor
from unlearnbench.artefacts.versions import Version, in_key
from unlearnbench.cli.printing import show_confirmation
from unlearnbench.golden import Golden, Output
from unlearnbench.operations.confirm import LIBRARIES, Confirmation, confirm, distance, far_outputs, unexplained
from unlearnbench.operations.run import run
from unlearnbench.runtime import arithmetic

LAF, ORIGINAL, SHADOW, OUTPUTS = ("methods", "laf"), ("kinds", "original"), ("kinds", "shadow"), ("kinds", "outputs")
GOLDEN = {
    "original": Output("a", (1.0, 2.0), frozenset({ORIGINAL}), frozenset()),
    "shadow": Output("b", (3.0,), frozenset({SHADOW}), frozenset()),
    "outputs laf": Output("c", (4.0,), frozenset({OUTPUTS, LAF}), frozenset({ORIGINAL})),
}
"""The outputs of a golden plan of three steps."""
BEFORE = {LAF: Version(1, "laf"), ORIGINAL: Version(3, "core"), SHADOW: Version(1, "core"), OUTPUTS: Version(1, "core")}


def test_all_code_of_the_suite_is_confirmed() -> None:
    edited = ", ".join(versions.unconfirmed())
    assert not edited, f"{edited}: run `make confirm`, and commit versions.toml with the edited code"


@pytest.mark.skipif(not arithmetic.available(), reason="this processor has no portable arithmetic")
def test_the_golden_plan_gives_the_golden_bits_on_this_machine() -> None:
    result = confirm(arithmetic="portable", jobs=2, check=True, say=lambda line: None)
    assert result.problem == ""
    assert result.bits, result.why
    assert result.outputs > 150


def test_values_are_compared_where_bits_cannot_be() -> None:
    one = Output("a", (3.0, -4.0))
    assert distance(one, one) == distance(Output("a"), Output("b")) == 0.0
    assert distance(one, Output("b", (3.0, 0.0))) == pytest.approx(0.8)
    assert distance(one, Output("b", (0.0, 0.0))) == pytest.approx(1.0)
    assert distance(one, Output("b", (3.0,))) == math.inf


def test_one_unstable_output_is_not_far_but_many_that_differ_are() -> None:
    expected = {name: Output("a", (3.0, -4.0)) for name in "abcde"}
    rounded, unstable = Output("b", (3.001, -4.0)), Output("b", (3.0, -3.0))  # distances 0.0002 and 0.2
    assert far_outputs(expected, dict.fromkeys(expected, rounded)) == []
    assert far_outputs(expected, {**dict.fromkeys(expected, rounded), "b": unstable}) == []
    assert far_outputs(expected, {**dict.fromkeys(expected, rounded), "b": Output("b", (-3.0, -4.0))}) == ["b"]
    others = {**dict.fromkeys("abc", unstable), "d": rounded, "e": rounded}
    assert far_outputs(expected, others) == ["a", "b", "c"]


def test_the_golden_plan_has_everything_that_has_a_version() -> None:
    cells = [cell for preset in golden.HERE.glob("*.toml") for cell in run(preset, dry_run=True).plan.cells]
    keys = [(cell.key, cell.scenario.task) for cell in cells]
    in_keys = set().union(*(part for key, task in keys for part in golden.versions_in(key, task)))
    measured = {("attacks", name.split()[1]) for name in golden.stored().outputs}  # "cnn: rmia digits-8x8 ..."
    assert versions.confirmed().keys() <= in_keys | measured | {
        ("kinds", name) for name in ("relearning", "features", "prepared")
    }


def test_keys_have_the_fingerprint_of_code_that_is_not_confirmed() -> None:
    version = versions.confirmed()[LAF]
    assert in_key(*LAF, version.source) == f"version {version.number}"
    assert in_key(*LAF, "0" * 32) == "0" * 32
    assert in_key("methods", "unknown", version.source) == version.source


@pytest.mark.parametrize("kind", ["original", "outputs", "network"])
def test_code_that_is_edited_during_a_run_makes_nothing_under_the_old_key(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"kind": kind, "code": versions.core("outputs" if kind == "network" else kind)}
    versions.check_code(key)
    versions.check_code({"kind": "given"})  # no code makes it
    monkeypatch.setattr(versions, "source_of_kind", lambda kind: "edited")
    with pytest.raises(RuntimeError, match="the suite's own code .* was edited since this command began: run it again"):
        versions.check_code(key)


def test_versions_are_read_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "FILE", tmp_path / "versions.toml")
    versions.write(BEFORE)
    try:
        assert versions.confirmed() == BEFORE
    finally:
        versions.confirmed.cache_clear()


# The versions that must be raised when outputs change


def test_nothing_must_be_raised_where_nothing_changed() -> None:
    assert unexplained({}, {LAF, ORIGINAL}, ()) == ""


def test_edited_code_that_gives_other_outputs_must_be_raised() -> None:
    changed = {"outputs laf": GOLDEN["outputs laf"]}
    assert "--bump methods.laf --because" in unexplained(changed, {LAF}, ())
    assert unexplained(changed, {LAF}, {LAF}) == ""


def test_outputs_that_change_with_their_inputs_need_no_raised_version_of_their_own() -> None:
    problem = unexplained(GOLDEN, {ORIGINAL, SHADOW}, ())
    assert "--bump kinds.original --bump kinds.shadow --because" in problem
    assert "methods.laf" not in problem
    assert unexplained(GOLDEN, {ORIGINAL, SHADOW}, {ORIGINAL, SHADOW}) == ""


def test_a_difference_that_no_edit_explains_raises_no_version() -> None:
    problem = unexplained({"shadow": GOLDEN["shadow"]}, {LAF}, ())
    assert "this machine or a library computes differently" in problem


# Confirming


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Confirmation]:
    """Confirms a checkout of three steps, whose sources and outputs can be changed."""
    monkeypatch.setattr(versions, "FILE", tmp_path / "versions.toml")
    monkeypatch.setattr(golden, "FILE", tmp_path / "outputs.json")
    monkeypatch.setattr("unlearnbench.operations.confirm.CHANGELOG", tmp_path / "CHANGELOG.md")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.2 (unreleased)\n\n- An older entry.\n\n## 0.1\n")
    versions.write(BEFORE)
    libraries = {name: minor(version(name)) for name in LIBRARIES}
    monkeypatch.setattr(golden, "presets", lambda: {"outputs laf": "text", "original": "text", "shadow": "text"})
    golden.write(Golden(libraries, golden.presets(), GOLDEN))

    def confirm_with(
        sources: dict[tuple[str, str], str], outputs: dict[str, str], *bump: str, because: str = "", check: bool = False
    ) -> Confirmation:
        present = {**{name: version.source for name, version in BEFORE.items()}, **sources}
        new_outputs = {name: replace(old, sha256=outputs.get(name, old.sha256)) for name, old in GOLDEN.items()}
        monkeypatch.setattr(versions, "sources", lambda: present)
        monkeypatch.setattr("unlearnbench.operations.confirm.golden_outputs", lambda *_: (new_outputs, True))
        return confirm(bump, because, check=check, say=lambda line: None)

    yield confirm_with
    versions.confirmed.cache_clear()


def test_a_refactoring_keeps_its_version(checkout: Callable[..., Confirmation]) -> None:
    result = checkout({LAF: "renamed"}, {})
    assert (result.problem, result.confirmed) == ("", ["methods.laf"])
    assert versions.confirmed() == {**BEFORE, LAF: Version(1, "renamed")}


def test_other_numbers_are_not_confirmed_without_a_reason(checkout: Callable[..., Confirmation]) -> None:
    result = checkout({LAF: "other"}, {"outputs laf": "d"})
    assert "--bump methods.laf" in result.problem
    assert versions.confirmed() == BEFORE
    with pytest.raises(UserError, match="--bump and --because need each other"):
        checkout({LAF: "other"}, {"outputs laf": "d"}, "methods.laf")


def test_a_raised_version_is_written_with_its_reason(checkout: Callable[..., Confirmation], tmp_path: Path) -> None:
    result = checkout({LAF: "other"}, {"outputs laf": "d"}, "methods.laf", because="Equation 5 had the wrong sign")
    assert (result.problem, result.raised) == ("", ["methods.laf"])
    assert versions.confirmed() == {**BEFORE, LAF: Version(2, "other")}
    assert golden.stored().outputs["outputs laf"].sha256 == "d"
    lines = (tmp_path / "CHANGELOG.md").read_text().splitlines()
    assert "**numbers**: `methods.laf` (version 2). Equation 5 had the wrong sign." in lines[4]
    assert "- An older entry." in lines[4:]
    assert "## 0.1" in lines
    assert checkout({LAF: "other"}, {"outputs laf": "d"}).problem == ""


@pytest.fixture
def with_older_scipy(checkout: Callable[..., Confirmation], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Confirms where the golden outputs were made with another SciPy; their values may be changed."""
    stored = {name: replace(output, sample=(3.0, -4.0)) for name, output in GOLDEN.items()}
    libraries = {name: minor(version(name)) for name in LIBRARIES}
    golden.write(Golden({**libraries, "scipy": "0.1"}, golden.presets(), stored))

    def confirm_with(sample: tuple[float, ...] = (3.0, -4.001), portable: bool = True, **options: Any) -> Confirmation:
        outputs = {name: replace(output, sha256="new", sample=sample) for name, output in stored.items()}
        monkeypatch.setattr("unlearnbench.operations.confirm.golden_outputs", lambda *_: (outputs, portable))
        return confirm(say=lambda line: None, **options)

    checkout({}, {})  # sets the sources
    golden.write(Golden({**libraries, "scipy": "0.1"}, golden.presets(), stored))
    return confirm_with


def test_near_outputs_of_other_libraries_become_golden_on_request(with_older_scipy: Callable[..., Any]) -> None:
    installed = minor(version("scipy"))
    result = with_older_scipy()
    assert (result.bits, result.problem, result.written) == (False, "", False)
    assert result.why == f"scipy is {installed}, not 0.1"
    assert golden.stored().libraries["scipy"] == "0.1"
    assert with_older_scipy(new_libraries=True).written
    assert golden.stored().libraries["scipy"] == installed
    assert {output.sha256 for output in golden.stored().outputs.values()} == {"new"}
    assert with_older_scipy().bits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample": (0.0, 0.0)}, "outputs far from the golden ones, e.g."),
        ({"portable": False}, "golden outputs need portable arithmetic"),
    ],
)
def test_other_outputs_do_not_become_golden(
    options: dict[str, Any], message: str, with_older_scipy: Callable[..., Any]
) -> None:
    result = with_older_scipy(**options, new_libraries=True)
    assert message in result.problem
    assert not result.written
    assert golden.stored().libraries["scipy"] == "0.1"


def test_edited_code_is_confirmed_before_libraries_change(
    with_older_scipy: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    edited = {**{name: version.source for name, version in BEFORE.items()}, LAF: "edited"}
    monkeypatch.setattr(versions, "sources", lambda: edited)
    result = with_older_scipy(new_libraries=True)
    assert result.problem.startswith("code was edited, too (methods.laf): confirm it with the old libraries first")
    assert not result.written


@pytest.mark.parametrize("check", [True, False])
def test_what_was_confirmed_and_written_is_printed(
    check: bool, checkout: Callable[..., Confirmation], capsys: pytest.CaptureFixture[str]
) -> None:
    checkout({LAF: "renamed"}, {}, check=True)
    show_confirmation(checkout({LAF: "renamed"}, {}, check=check))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "3 outputs of the golden plan: equal bits",
        "versions kept, because the edited code gives equal bits: methods.laf",
    ]
    assert lines[2].startswith("nothing was written, because of --check" if check else "written to unlearnbench/art")
    assert versions.confirmed()[LAF].source == ("laf" if check else "renamed")


def test_a_new_plugin_begins_with_version_1(checkout: Callable[..., Confirmation]) -> None:
    result = checkout({("methods", "new"): "new"}, {})
    assert result.new == ["methods.new"]
    assert versions.confirmed()["methods", "new"] == Version(1, "new")


def test_outputs_of_a_preset_that_was_edited_are_new(
    checkout: Callable[..., Confirmation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden, "presets", lambda: {"outputs laf": "other", "original": "text", "shadow": "text"})
    assert checkout({}, {"outputs laf": "d"}).problem == ""
    assert golden.stored().outputs["outputs laf"].sha256 == "d"
    assert checkout({}, {"outputs laf": "e"}).problem != ""


def test_a_renamed_output_is_a_problem_because_it_would_not_be_compared(
    checkout: Callable[..., Confirmation], monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = {name.replace("outputs laf", "logits laf"): output for name, output in GOLDEN.items()}
    checkout({}, {})
    monkeypatch.setattr("unlearnbench.operations.confirm.golden_outputs", lambda *_: (renamed, True))
    result = confirm(say=lambda line: None)
    assert "1 golden output cannot be compared" in result.problem
    assert "e.g. outputs laf" in result.problem
    assert result.outputs == len(GOLDEN) - 1
    assert "outputs laf" in golden.stored().outputs


def test_outputs_of_a_plugin_that_was_removed_may_go(
    checkout: Callable[..., Confirmation], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout({}, {})
    kept = {name: output for name, output in GOLDEN.items() if name != "outputs laf"}
    monkeypatch.setattr("unlearnbench.operations.confirm.golden_outputs", lambda *_: (kept, True))
    monkeypatch.setattr(versions, "sources", lambda: {n: v.source for n, v in BEFORE.items() if n != LAF})
    assert confirm(say=lambda line: None).problem == ""


def test_an_edit_upstream_excuses_a_difference_only_if_it_is_raised() -> None:
    changed = {"outputs laf": GOLDEN["outputs laf"]}
    assert "although no code in their keys was edited" in unexplained(changed, {ORIGINAL}, ())
    assert unexplained(changed, {ORIGINAL}, {ORIGINAL}) == ""


def test_a_task_counts_as_the_code_of_everything_that_uses_its_split() -> None:
    key = {"kind": "record", "code": "version 1", "outputs": {"kind": "outputs", "code": "version 1"}}
    record = golden.of_numbers({"test": 0.5}, key, "data-removal")
    assert ("tasks", "data-removal") in record.made_by
    assert "--bump tasks.data-removal" in unexplained({"record": record}, {("tasks", "data-removal")}, ())


def test_an_unknown_version_cannot_be_raised(checkout: Callable[..., Confirmation]) -> None:
    with pytest.raises(UserError, match=r"there is no version 'methods.lafr'"):
        checkout({}, {}, "methods.lafr", because="x")
