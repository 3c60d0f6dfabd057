"""A sweep adds the cells of other values to a plan: one change at a time, or all combinations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import NOWHERE

from unlearnbench import UserError, run
from unlearnbench.cli.options import parse_sweeps
from unlearnbench.planning import presets
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.planning.sweep import swept
from unlearnbench.runtime import arithmetic
from unlearnbench.storage.store import Store


@pytest.fixture
def methods_of(tiny: Path, store: Store, tmp_path: Path) -> Any:
    """The labels of the cells of a sweep."""

    def plan(
        sweep: dict[str, dict[str, list[Any]]] | None,
        combinations: bool = False,
        preset: Path = tiny,
        **selection: Any,
    ) -> list[str]:
        workspace = Workspace(tmp_path, store, NOWHERE, "cpu", arithmetic.NATIVE)
        chosen = Selection.of(preset, tasks="data-removal", **selection)
        cells = swept(chosen, workspace, sweep, combinations).cells
        assert len({cell.path for cell in cells}) == len(cells)
        return sorted(cell.info.method for cell in cells if cell.info.role != "control" and cell.method != "retrain")

    return plan


def test_one_value_is_changed_at_a_time_or_all_are_combined(methods_of: Any) -> None:
    sweep: dict[str, dict[str, list[Any]]] = {"laf": {"tau": [5, 20.0], "epochs": [2]}}
    base = ["laf", "laf+epochs=2", "laf+tau=5.0"]  # 20 is the default
    assert methods_of(sweep, methods="laf") == base
    assert methods_of(sweep, True, methods="laf") == ["laf", "laf+epochs=2", "laf+epochs=2,tau=5.0"]


def test_methods_that_start_from_the_changed_one_change_too_and_others_do_not(methods_of: Any) -> None:
    both = ["laf", "laf+tau=5.0", "laf-r", "laf-r+laf.tau=5.0"]
    assert methods_of({"laf": {"tau": [5.0]}}, methods="laf-r") == both
    assert methods_of({"laf": {"tau": [5.0]}}, methods=["laf-r", "neggrad"]) == [*both, "neggrad"]


def test_without_methods_those_of_the_sweep_are_run_and_with_the_sweep_of_a_preset_those_of_the_preset(
    methods_of: Any, tiny: Path, tmp_path: Path
) -> None:
    assert methods_of({"laf": {"tau": [5.0]}}) == ["laf", "laf+tau=5.0"]
    assert methods_of({"data-removal": {"fraction": [0.1]}}) == ["laf", "laf", "laf-r", "laf-r", "neggrad", "neggrad"]
    preset = tmp_path / "swept.toml"
    preset.write_text(f"{tiny.read_text()}\n[sweep.neggrad]\nlr = [0.5]\n")
    assert methods_of(None, preset=preset) == ["laf", "laf-r", "neggrad", "neggrad+lr=0.5"]


def test_options_of_a_task_change_every_method(methods_of: Any) -> None:
    assert methods_of({"data-removal": {"fraction": [0.1]}}, methods="neggrad") == ["neggrad", "neggrad"]


def test_options_of_the_command_line_stay(methods_of: Any) -> None:
    overrides = {"laf": {"epochs": 2}, "laf-r": {"lr": 0.1}}
    found = methods_of({"laf": {"tau": [5.0]}}, methods=["laf", "laf-r"], overrides=overrides)
    assert "laf+epochs=2,tau=5.0" in [label.replace("tau=5.0,epochs=2", "epochs=2,tau=5.0") for label in found]
    assert any(label.startswith("laf-r+lr=0.1") and "laf.tau=5.0" in label for label in found)


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"lav": {"tau": [1.0]}}, "unknown method or task of this run: 'lav': did you mean 'laf'"),
        ({"laf": {"tao": [1.0]}}, "unknown option of method 'laf': 'tao': did you mean 'tau'"),
        ({"laf": {"tau": ["much"]}}, "laf.tau must be a number such as 20.0, not 'much'"),
        ({"shadow": {"classifier": ["x"]}}, "shadow is an attack"),
    ],
)
def test_mistakes_are_refused(methods_of: Any, sweep: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        methods_of(sweep)


def test_a_method_that_is_left_out_cannot_be_swept(methods_of: Any) -> None:
    with pytest.raises(UserError, match="a sweep changes laf, which is not in this run: add -m laf, or leave out -m"):
        methods_of({"laf": {"tau": [1.0]}}, methods="neggrad")


def test_a_sweep_names_a_method_in_a_file_as_other_options_do(methods_of: Any, tmp_path: Path) -> None:
    (tmp_path / "swept_file.py").write_text(
        "from unlearnbench import Access, method\n\n\n"
        "@method(title='Mine', access=Access(forget='labels'), reference='Ours')\n"
        "def mine(problem, *, lr: float = 0.1):\n    'Nothing.'\n    return problem.network()\n"
    )
    place = f"{tmp_path / 'swept_file.py'}:mine"
    assert methods_of({place: {"lr": [0.2]}}) == ["swept_file.mine", "swept_file.mine+lr=0.2"]
    assert methods_of({"laf": {"tau": [5.0]}}, methods=[place, "laf"], overrides={place: {"lr": 0.3}}) == sorted(
        ["swept_file.mine+lr=0.3", "laf", "laf+tau=5.0"]
    )


def test_combinations_need_a_sweep(tiny: Path) -> None:
    with pytest.raises(UserError, match="--combinations needs values: add --sweep NAME.KEY=V1,V2"):
        run(tiny, combinations=True, dry_run=True)


def test_the_command_line_is_parsed() -> None:
    assert parse_sweeps(("laf.tau=1,5", "laf-r.repair=head,all", "mine.f.rates=[1, 2],[3]")) == {
        "laf": {"tau": [1, 5]},
        "laf-r": {"repair": ["head", "all"]},
        "mine.f": {"rates": [[1, 2], [3]]},
    }
    with pytest.raises(UserError, match="--sweep must be NAME.KEY=V1,V2"):
        parse_sweeps(("laf=3",))


@pytest.mark.parametrize("name", ["study-supervision", "study-sensitivity", "study-components"])
def test_the_presets_of_studies_can_be_planned(name: str, store: Store, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, store, NOWHERE, "cpu", arithmetic.NATIVE)
    chosen = Selection.of(name, tasks="class-removal", seeds=0)
    cells = swept(chosen, workspace).cells
    expected = {"study-supervision": 8 + 16, "study-sensitivity": 4 + 23 - 3, "study-components": 8}
    assert len(cells) == expected[name]


def test_the_study_of_components_has_the_values_that_were_tuned_for_laf() -> None:
    preset, demo = presets.read("study-components"), presets.read("demo")
    for task in preset.tasks or ():
        *_, values, _ = preset.hyperparameters("laf", task, "cnn")
        assert values == demo.tuned["laf-tuned", task, "cnn"].values
