"""A plan has every cell once, shares artefacts, and knows which cells are stale and why."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from conftest import plan_in

from unlearnbench import UserError
from unlearnbench.artefacts import versions
from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.artefacts.features import Features
from unlearnbench.artefacts.relearning import Relearning
from unlearnbench.evaluation.record import Evaluator
from unlearnbench.planning import presets
from unlearnbench.planning.cell_info import CellInfo
from unlearnbench.planning.cells import record_path
from unlearnbench.planning.plan import Cell, Plan, Rerun
from unlearnbench.planning.staleness import State
from unlearnbench.plugins import fingerprint, registry
from unlearnbench.plugins.method import Method
from unlearnbench.storage.records import write_record
from unlearnbench.storage.store import Store
from unlearnbench.training.recipe import Recipe

THEIRS = """
from unlearnbench import Access, choose, method, Split, task

@method(title="Theirs", access=Access(forget="images"), reference="Nobody, Nowhere 2000")
def theirs(problem):
    "Does nothing."
    return problem.network()

@method(title="Validating", access=Access(forget="images", validation="images"), reference="Nobody, Nowhere 2000")
def validating(problem):
    "Does nothing."
    return problem.network()

@task(title="Their task", columns=("train_r", "train_f", "test", "asr"))
def their_task(dataset, generator):
    "Forgets a tenth."
    labels = dataset.train_labels, dataset.test_labels
    return Split(*(choose(part, range(10), 0.1, generator) for part in labels))
"""
ENTRY_POINTS = """
[unlearnbench.methods]
theirs = theirs:theirs
validating = theirs:validating
[unlearnbench.tasks]
their-task = theirs:their_task
"""


@pytest.fixture
def plan_of(store: Store, tmp_path: Path) -> Any:
    def make(preset: str = "demo", **selection: Any) -> Plan:
        return plan_in(store, tmp_path / "results", preset, **selection)

    return make


def with_empty_cache(plan: Plan, folder: Path) -> Plan:
    workspace = dataclasses.replace(plan.workspace, store=Store(folder / "empty"))
    return dataclasses.replace(plan, workspace=workspace)


def kinds(plan: Plan) -> dict[str, int]:
    return dict(Counter(artefact.kind for artefact in plan.missing))


def names(plan: Plan) -> list[str]:
    return sorted({cell.method for cell in plan.cells})


def write_as_finished(plan: Plan) -> None:
    for cell in plan.cells:
        record = {"schema": 1, "status": "ok", "key": json.loads(json.dumps(cell.key)), "cell": {}, "observed": {}}
        write_record(cell.path, record)


def test_a_plan_has_all_cells_by_default_and_none_twice(plan_of: Any, tmp_path: Path) -> None:
    plan = with_empty_cache(plan_of(), tmp_path)
    assert len(plan.cells) == len({cell.path for cell in plan.cells}) == 3 * 18 * 5
    # Originals: clean and noisy, five seeds. Shadow models: clean and noisy, eight. Preparations: LAF (with an
    # ablation and its tuned form) and SISA, for each original. LAF+R and the sham start from the network of LAF.
    assert kinds(plan) == {"original": 10, "shadow": 16, "prepared": 20, "network": 15, "outputs": 270}


def test_presets_of_the_suite_add_methods_of_others_but_no_tasks(
    plan_of: Any, install: Callable[..., Path], tmp_path: Path
) -> None:
    before = plan_of(seeds=[0])
    install("theirs", THEIRS, ENTRY_POINTS)
    plan = plan_of(seeds=[0])
    assert {*names(plan)} - {*names(before)} == {"theirs"}  # the other one needs samples that demo does not hold out
    assert {cell.scenario.task for cell in plan.cells} == {"data-removal", "class-removal", "noisy-label-removal"}
    assert {cell.scenario.dataset for cell in plan.cells} == {"digits-8x8"}
    path = tmp_path / "mine.toml"
    select = 'select = { tasks = ["third-party"], methods = ["neggrad", "third-party"] }'
    path.write_text(f'{select}\n[datasets.digits-8x8]\nmodel = "cnn"\n')
    assert names(plan_of(path, seeds=[0])) == ["neggrad", "retrain", "theirs"]
    assert {cell.scenario.task for cell in plan_of(path, seeds=[0]).cells} == {"their-task"}


def test_presets_of_the_suite_list_what_is_built_in() -> None:
    for name in presets.names():
        preset = presets.read(name)
        assert preset.tasks
        assert presets.THIRD_PARTY not in preset.tasks
        assert all(registry.entry("tasks", task).origin == "unlearnbench" for task in preset.tasks)
        assert preset.methods
        others = [method for method in preset.methods if method != presets.THIRD_PARTY]
        assert all(registry.entry("methods", method).origin == "unlearnbench" for method in others)


def test_a_full_plan_has_the_least_possible_cost(plan_of: Any, tmp_path: Path) -> None:
    plan = with_empty_cache(plan_of(), tmp_path)
    train, test, epochs, seeds = 599, 1198, 30, 5
    recipe = Recipe(epochs=epochs)
    originals = 2 * seeds * epochs  # with true and with wrong labels
    shadows = 2 * 8 * (epochs * (train + test) / 2 + (train + test) / 3) / train  # each with outputs on all images
    preparations = 0.0
    for name in ("laf", "sisa"):  # once for each original and all forget sets; LAF and its ablation share it
        method = registry.get(Method, name)
        options = method.resolve(name, *presets.read("demo").hyperparameters(name, "data-removal", "cnn"))
        preparations += 2 * seeds * method.ep_to_prepare(recipe, method.preparing(options))
    retrains = 2 * seeds * epochs * sum(1 - forgotten / train for forgotten in (119, 59, 178))
    others = [cell for cell in plan.cells if cell.method not in ("retrain", "retrain-2")]
    own = sum(cell.outputs.ep for cell in others)  # checked by test_costs.py
    assert len(others) == 3 * 16 * seeds
    assert plan.ep == pytest.approx(originals + shadows + preparations + retrains + own)


def test_tasks_on_the_same_labels_share_originals_shadows_and_preparations(plan_of: Any, tmp_path: Path) -> None:
    plan = with_empty_cache(plan_of(tasks=["data-removal", "class-removal"], seeds=[0]), tmp_path)
    assert kinds(plan) == {"original": 1, "shadow": 8, "prepared": 2, "network": 2, "outputs": 36}


def test_retrain_and_parents_are_added_and_parents_come_first(plan_of: Any) -> None:
    plan = plan_of(methods=["laf-r"])
    assert names(plan) == ["laf", "laf-r", "retrain"]
    order = [cell.method for cell in plan.cells]
    assert order.index("laf-r") > max(i for i, name in enumerate(order) if name == "laf")


def test_the_most_specific_hyperparameters_win(plan_of: Any, tmp_path: Path) -> None:
    text = """
[datasets.digits-8x8]
model = "cnn"
[methods.laf]
tau = 1.0
latent = 4
[methods.laf.data-removal]
tau = 2.0
[methods.laf.data-removal.cnn]
tau = 3.0
[methods.laf.data-removal.resnet18]
tau = 9.0
"""
    path = tmp_path / "layers.toml"
    path.write_text(text)
    by_task = {c.scenario.task: c.info.hyperparameters for c in plan_of(str(path)).cells if c.method == "laf"}
    assert (by_task["data-removal"]["tau"], by_task["class-removal"]["tau"]) == (3.0, 1.0)
    assert by_task["data-removal"]["latent"] == 4
    overridden = plan_of(str(path), overrides={"laf": {"tau": 7}})
    assert {c.info.hyperparameters["tau"] for c in overridden.cells if c.method == "laf"} == {7.0}


def test_overridden_options_give_a_path_and_a_title_of_their_own(plan_of: Any) -> None:
    plan = plan_of(
        tasks=["class-removal"], seeds=[0], overrides={"laf": {"tau": 7}, "class-removal": {"classes": [3, 4]}}
    )
    by_method = {cell.method: cell for cell in plan.cells}
    folder = plan.results / "records/digits-8x8/cnn/class-removal+classes=3_4"
    assert by_method["laf"].path == folder / "laf+tau=7.0" / "0.json"
    assert by_method["laf-r"].path == folder / "laf-r+laf.tau=7.0" / "0.json"
    assert by_method["retrain"].path == folder / "retrain" / "0.json"
    assert by_method["laf"].info.method_title == "LAF (tau=7.0)"
    unchanged = plan_of(tasks=["class-removal"], seeds=[0], overrides={"laf": {"tau": 20}})
    assert {c.method: c.path.parent.name for c in unchanged.cells}["laf"] == "laf"


def test_the_command_of_a_cell_reproduces_its_key(plan_of: Any) -> None:
    from unlearnbench.cli.options import parse_parameters

    plan = plan_of(overrides={"laf": {"tau": 7, "phi": "ratio"}, "data-removal": {"fraction": 0.2}})
    cell = next(c for c in plan.cells if c.method == "laf-r" and c.scenario.task == "data-removal")
    import shlex

    words = shlex.split(cell.command)
    assert words[:4] == ["unlearnbench", "run", "--preset", "demo"]
    given = {
        flag: [words[i + 1] for i, w in enumerate(words) if w == flag] for flag in ("-d", "-t", "-m", "--seeds", "-p")
    }
    again = plan_of(
        datasets=given["-d"],
        tasks=given["-t"],
        methods=given["-m"],
        seeds=[int(given["--seeds"][0])],
        overrides=parse_parameters(tuple(given["-p"])),
    )
    assert cell.key in [c.key for c in again.cells]


def test_finished_cells_are_cached_and_changed_ones_stale_with_a_reason(plan_of: Any, tmp_path: Path) -> None:
    write_as_finished(plan_of())
    assert {s.state for s in plan_of().statuses} == {"cached"}
    text = (presets.HERE / "demo.toml").read_text().replace("\nbatch = 32", "\nbatch = 64")
    (tmp_path / "demo.toml").write_text(text)
    shutil.copy(presets.HERE / "demo.tuned.toml", tmp_path)
    changed = plan_of(str(tmp_path / "demo.toml"))
    assert {(s.state, s.why) for s in changed.statuses} == {("stale", "recipe.batch: 32 -> 64")}
    forced = plan_of(rerun=Rerun(force=True))
    assert {s.state for s in forced.statuses} == {"to run"}


def test_failed_cells_are_planned_again_only_with_retry_failed(plan_of: Any) -> None:
    plan = plan_of(seeds=[0], tasks=["class-removal"])
    write_as_finished(plan)
    cell = plan.cells[0]
    write_record(
        cell.path,
        {"schema": 1, "status": "failed", "reason": "ValueError: x", "key": cell.key, "cell": {}, "observed": {}},
    )
    again = plan_of(seeds=[0], tasks=["class-removal"])
    assert again.to_run == []
    ((name, status),) = again.failed_before.items()
    assert (name, status.state, status.failure, status.why) == (str(cell), State.FAILED, "failed", "ValueError: x")
    retried = plan_of(seeds=[0], tasks=["class-removal"], rerun=Rerun(retry_failed=True))
    assert [str(c) for c in retried.to_run] == [str(cell)]
    assert retried.failed_before == {}


def test_accepted_stale_cells_are_not_run(plan_of: Any) -> None:
    plan = plan_of(seeds=[0], tasks=["class-removal"])
    write_as_finished(plan)
    cell = plan.cells[0]
    key = json.loads(json.dumps(cell.key))
    key["outputs"]["task"]["code"] = "of another version"
    write_record(cell.path, {"schema": 1, "status": "ok", "key": key, "cell": {}, "observed": {}})
    stale = plan_of(seeds=[0], tasks=["class-removal"])
    assert [str(c) for c in stale.to_run] == [str(cell)]
    accepted = plan_of(seeds=[0], tasks=["class-removal"], rerun=Rerun(accept_stale=True))
    assert accepted.to_run == []
    status = accepted.statuses[[str(c) for c in accepted.cells].index(str(cell))]
    assert (status.state, status.why) == ("accepted", "task.code changed")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[methods.laff]", "unknown method in preset .*typo.toml: 'laff': did you mean 'laf'"),
        ("[methods.laf.class-remval]\ntau = 3.0", "unknown task in preset .*typo.toml: 'class-remval'"),
        ("[methods.laf.class-removal.cn]\ntau = 3.0", "unknown model in preset .*typo.toml: 'cn': did you mean 'cnn'"),
        ("[tasks.class-remval]", "unknown task in preset .*typo.toml: 'class-remval'"),
        ("[methods.laf]\ntau = nan", "laf.tau must be a finite number"),
        ("[recipe]\nweight_decay = -1.0", r"recipe.weight_decay must be at least 0, not -1.0$"),
        ("[recipe]\nbatch = 0", r"recipe.batch must be at least 1, not 0$"),
        ("[recipe]\nlr = 0.0", r"recipe.lr must be above 0, not 0.0$"),
        (
            "[recipe]\nresize = 1",
            "images of 1 x 1 x 1 are too small for model cnn: its features.7.weight would have no",
        ),
        ("[recipe]\naugment = ['flipp']", "unknown augmentation 'flipp': did you mean 'flip'"),
    ],
)
def test_a_misspelt_preset_is_refused(plan_of: Any, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "typo.toml").write_text(f"[datasets.digits-8x8]\nmodel = 'cnn'\n{text}\n")
    with pytest.raises(UserError, match=message):
        plan_of(str(tmp_path / "typo.toml"))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"datasets": ["digits"]}, "unknown dataset 'digits': did you mean 'digits-8x8'"),
        ({"tasks": ["data-remove"]}, "unknown task 'data-remove': did you mean 'data-removal'"),
        ({"methods": ["neg-grad"]}, "unknown method 'neg-grad': did you mean 'neggrad'"),
        ({"overrides": {"laf": {"tua": 1}}}, "unknown option of method 'laf': 'tua': did you mean 'tau'"),
        ({"overrides": {"lafr": {"lr": 1}}}, "unknown method, task or attack of this run: 'lafr'"),
        (
            {"methods": ["neggrad"], "overrides": {"laf": {"tau": 1}}},
            "unknown method, task or attack of this run: 'laf'",
        ),
        (
            {"overrides": {"data-removal": {"fraction": 1.0, "classes": list(range(6))}}},
            "laf-r needs labels of as many",
        ),
    ],
)
def test_a_wrong_selection_is_refused(plan_of: Any, selection: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan_of(**selection)


# versions.CODE lists the core modules that can change an artefact; two tests check it.


def keys_by_kind(plan: Plan) -> dict[str, set[str]]:
    keys: dict[str, set[str]] = {"record": {json.dumps(c.key, sort_keys=True) for c in plan.cells}}
    keys["relearning"] = {Relearning.of(cell.outputs).digest for cell in plan.cells}
    keys["features"] = {Features.of(cell.outputs).digest for cell in plan.cells}
    for artefact in plan.missing:
        keys.setdefault(artefact.kind, set()).add(artefact.digest)
    return keys


@pytest.mark.parametrize("module", sorted({m for modules in versions.CODE.values() for m in modules}))
def test_a_change_of_core_code_makes_exactly_the_affected_artefacts_stale(
    module: str, plan_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = {"seeds": [0], "tasks": ["class-removal"]}
    before = keys_by_kind(with_empty_cache(plan_of(**selection), tmp_path))
    changed = tmp_path / f"{module}.py"
    find = fingerprint.source_of
    source = find(f"unlearnbench.{module}")
    assert source is not None
    changed.write_text(source.read_text() + "\nCHANGED = True\n")
    monkeypatch.setattr(
        fingerprint, "source_of", lambda name: changed if name == f"unlearnbench.{module}" else find(name)
    )
    fingerprint.fingerprint.cache_clear()
    try:
        after = keys_by_kind(with_empty_cache(plan_of(**selection), tmp_path))
    finally:
        fingerprint.fingerprint.cache_clear()
    moved = {kind for kind in before if not before[kind] & after[kind]}
    direct = {kind for kind, modules in versions.CODE.items() if module in modules}
    downstream = {"outputs"} if "original" in direct else set()
    network = {"network"} if "outputs" in direct | downstream else set()
    prepared = {"prepared"} if "original" in direct else set()
    again = {"relearning", "features"} if "outputs" in direct | downstream else set()
    record = {"record"} if direct - {"relearning", "features"} else set()
    assert moved == direct | downstream | network | prepared | again | record


NEUTRAL = {
    "artefacts.artefact",  # names and checks artefacts
    "artefacts.context",  # in the keys of all artefacts, which are in the keys of records
    "artefacts.loaded",  # likewise
    "artefacts.plugin_keys",  # its decisions are in the keys
    "artefacts.versions",  # names what goes into keys
    "errors",
    "planning.cell_info",  # names and titles, of which no number depends
    "planning.plan",
    "planning.staleness",
    "plugins.contract",  # only raises errors
    "plugins.fingerprint",
    "plugins.plugin",  # resolves options, which are in the keys
    "plugins.registry",
    "runtime.time_limit",  # ends processes
    "runtime.source",  # names the commit, which is only observed
    "runtime.timing",  # measures only time
    "storage.files",
    "storage.keys",
    "storage.store",
    "training.recipe",  # values, which are in the keys
}
PLUGINS = ("methods.", "tasks.", "data.", "models.", "attacks.")


def modules_that_run(cell: Cell, artefact: Artefact | None, store: Store) -> set[str]:
    """The core modules whose code runs while an artefact, or a record, is made."""
    modules: set[str] = set()

    def add_module(frame: FrameType, event: str, _: object) -> None:
        name = frame.f_globals.get("__name__", "")
        if event == "call" and frame.f_code.co_name != "<module>" and name.startswith("unlearnbench"):
            modules.add(name.removeprefix("unlearnbench."))

    context = WorkerContext(store)
    sys.setprofile(add_module)
    try:
        if artefact is None:
            Evaluator(context).record(cell)
        else:
            artefact.make(context)
    finally:
        sys.setprofile(None)
    return {name for name in modules if not name.startswith(PLUGINS)} - {"unlearnbench"}


def test_no_other_core_code_runs_while_an_artefact_is_made(tiny: Path, tiny_run: Path, store: Store) -> None:
    plan = plan_in(store, tiny_run, tiny, tasks="class-removal")
    cell = next(c for c in plan.cells if c.method == "laf")
    outputs = cell.outputs
    needs = {"original": outputs.needs["original"], "shadow": cell.shadows[0], "prepared": outputs.needs["prepared"]}
    for kind, artefact in {**needs, "outputs": outputs, "record": None}.items():
        ran = modules_that_run(cell, artefact, store)
        assert ran - NEUTRAL <= set(versions.CODE[kind]), kind


@pytest.mark.parametrize("name", ["..", ".", "../../etc", "a/b", "c\\d", "~", "x y"])
def test_no_name_leads_outside_of_the_results_folder(name: str) -> None:
    titles = {"dataset_title": "", "task_title": "", "method_title": "", "role": "method", "access": ""}
    info = CellInfo(dataset=name, model=name, task=name, method=name, seed=0, columns=[], **titles)
    path = record_path(Path("/r"), info)
    assert len(path.parts) == 2 + 6
    assert not {"..", ".", "/"} & set(path.parts[1:])
    assert path.resolve().is_relative_to("/r/records")


def test_published_hyperparameters_say_so(plan_of: Any, tmp_path: Path) -> None:
    preset = tmp_path / "said.toml"
    text = 'datasets.digits-8x8.model = "cnn"\n[methods.laf]\ntau = 5.0\n[methods.laf.class-removal]\nepochs = 3\n'
    preset.write_text(f'{text}[published]\nlaf = "its Table 9"\n')
    plan = plan_of(str(preset), tasks="class-removal", methods=["laf", "laf-none-l1"], seeds=0)
    sources = {cell.method: cell.info.sources for cell in plan.cells}
    assert sources["laf"]["tau"] == "preset said, published in its Table 9"
    assert sources["laf"]["epochs"] == "preset said for class-removal, published in its Table 9"
    assert sources["laf"]["phi"] == "default of the method"
    assert sources["laf-none-l1"]["tau"] == "preset said, published in its Table 9, as of laf"
    preset.write_text(f'{text}[published]\nlav = "its Table 9"\n')
    with pytest.raises(UserError, match=f"unknown method of table published in preset {preset}: 'lav': did you mean"):
        plan_of(str(preset), tasks="class-removal", methods="laf", seeds=0)
