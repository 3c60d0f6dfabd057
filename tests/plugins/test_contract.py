"""A plugin that was written for contract 1 fails with a message that says what to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import unlearnbench
from unlearnbench import Access, Network, Problem, Recipe, method
from unlearnbench.cli.main import main
from unlearnbench.operations.measure import measure
from unlearnbench.planning.selection import Selection, Workspace

METHOD = """
from unlearnbench import Access, method

@method(title="Old", access=Access({access}){cost})
def old(problem):
    "Was written for contract 1."
    {reads}
    return problem.network()
"""
ATTACK = """
from unlearnbench import Scores, attack

@attack(title="Old")
def old(audit):
    "Was written for contract 1."
    audit.{name}
    return Scores(audit.forgotten.logits[:, 0], audit.heldout.logits[:, 0])
"""


def old_method(access: str = 'retain="images"', cost: str = "", reads: str = "pass") -> str:
    return METHOD.format(access=access, cost=cost, reads=reads)


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (old_method('remain="images"'), "Access(remain=...) is Access(retain=...) since contract 2: rename it"),
        (
            old_method(cost=", cost=lambda forget, recipe, **_: 0.0"),
            "@method(cost=...) is a function with the decorator @NAME.cost since contract 2: move it there",
        ),
        (
            old_method(cost=", prepare_cost=lambda recipe, **_: 0.0"),
            "@method(prepare_cost=...) is a function with the decorator @NAME.prepare_cost since contract 2: move it",
        ),
    ],
)
@pytest.mark.parametrize("place", ["installed", "file"])
def test_a_declaration_of_contract_1_stops_the_command_with_a_message(
    source: str, message: str, place: str, install: Callable[..., Path], tiny: Path, tmp_path: Path
) -> None:
    if place == "installed":
        install("old_package", source, "[unlearnbench.methods]\nold = old_package:old\n")
        name = "old"
    else:
        (tmp_path / "old_file.py").write_text(source)
        name = f"{tmp_path}/old_file.py:old"
    for words in (["run", "-m", name, "--preset", tiny, "--results", tmp_path, "--cache", tmp_path], ["check", name]):
        done = call(*words)
        assert done.exit_code == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("in_this_process")
def test_a_method_that_reads_problem_remain_fails_its_cells_with_a_message(
    install: Callable[..., Path], tiny: Path, cache: Path, tmp_path: Path
) -> None:
    source = old_method(reads="problem.remain")
    install("old_reader", source, "[unlearnbench.methods]\nold = old_reader:old\n")
    places: dict[str, Any] = {"results": tmp_path / "r", "cache": cache}
    summary = unlearnbench.run(str(tiny), methods="old", tasks="class-removal", jobs=1, **places)
    (failed,) = summary.failed
    assert failed.reason.startswith("AttributeError: problem.remain is problem.retain since contract 2: rename it")


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(("name", "new"), [("remaining", "retained"), ("fleet", "unlearned_shadows")])
def test_an_attack_that_reads_an_old_part_of_the_audit_fails_with_a_message(
    name: str, new: str, install: Callable[..., Path], tiny: Path, cache: Path, tmp_path: Path
) -> None:
    install("old_attack", ATTACK.format(name=name), "[unlearnbench.attacks]\nold = old_attack:old\n")
    unlearnbench.run(str(tiny), methods="original", tasks="class-removal", jobs=1, results=tmp_path / "r", cache=cache)
    selection = Selection.of(tiny, methods="original", tasks="class-removal")
    measured = measure(selection, Workspace.of(tmp_path / "r", cache), attacks="old", say=lambda _: None)
    reasons = " ".join(map(str, vars(measured).values()))
    assert f"AttributeError: audit.{name} is audit.{new} since contract 2: rename it" in reasons


def test_the_cost_names_the_hyperparameters_that_it_depends_on_and_gets_no_others() -> None:
    @method(title="Costly", access=Access(forget="images"))
    def costly(problem: Problem, *, epochs: int = 2, rate: float = 0.5) -> Network:
        return problem.network()

    assert costly.ep_to_unlearn(0.25, Recipe(epochs=8), costly.defaults) == 6.0  # as Retrain

    @costly.cost
    def cost(forget: float, recipe: Recipe, *, epochs: int) -> float:
        return forget * epochs

    assert costly.ep_to_unlearn(0.25, Recipe(epochs=8), costly.defaults) == 0.5
    with pytest.raises(ValueError, match="its cost depends on 'epoch', which is none of its hyperparameters"):

        @costly.cost
        def misspelt(forget: float, recipe: Recipe, *, epoch: int) -> float:
            return forget * epoch


def test_other_unknown_arguments_are_refused_as_usual() -> None:
    with pytest.raises(TypeError, match=r"Access\(\.\.\.\) takes no 'retains'"):
        Access(retains="images")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"@method\(\.\.\.\) takes no 'titel'"):
        method(title="x", access=Access(), titel="y")  # type: ignore[arg-type]
