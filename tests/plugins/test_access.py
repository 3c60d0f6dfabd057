"""Data that a method did not declare are not reachable from its problem."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import plan_in

import unlearnbench
from unlearnbench import Access, AccessError, NotApplicableError, Problem, UserError
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.loaded import LoadedScenario
from unlearnbench.artefacts.plugin_keys import plugin_key
from unlearnbench.artefacts.unlearned import labelled_part
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.method import Method, method
from unlearnbench.plugins.problem import retained, whole_classes
from unlearnbench.storage.store import Store

LABEL_FREE = Access(prepare="images", forget="images", retain="images")


def reachable_tensors(start: object) -> list[torch.Tensor]:
    """Every tensor that is reachable from an object by references, not through modules and classes."""
    visited, queue, tensors = set(), [start], []
    while queue:
        node = queue.pop()
        if id(node) in visited or isinstance(node, type) or type(node).__name__ in ("module", "builtin_function"):
            continue
        visited.add(id(node))
        if isinstance(node, torch.Tensor):
            tensors.append(node)
        if not callable(node) or isinstance(node, torch.nn.Module):
            queue += gc.get_referents(node)
    return tensors


@pytest.mark.parametrize("phase", ["prepare", "forget"])
def test_no_labels_are_reachable_from_the_problem_of_a_label_free_method(
    phase: str, make_problem: Callable[..., Problem], digits: Dataset
) -> None:
    problem = make_problem(LABEL_FREE, phase)
    tensors = reachable_tensors(problem)
    assert any(tensor.dtype == torch.uint8 for tensor in tensors), "the search must find the images"
    labels = digits.train_labels[:300]
    for tensor in tensors:
        if tensor.dtype == torch.int64 and tensor.ndim == 1 and len(tensor) > 20:
            for rows in (torch.arange(300), *(s.index for s in (problem._view.forget, problem._view.retain) if s)):
                assert len(tensor) != len(rows) or not torch.equal(tensor, labels[rows])


def test_the_search_would_find_labels(make_problem: Callable[..., Problem], digits: Dataset) -> None:
    problem = make_problem(Access(retain="labels"))
    assert any(
        tensor.shape == problem.retain.labels.shape and torch.equal(tensor, problem.retain.labels)
        for tensor in reachable_tensors(problem)
    )


@pytest.mark.parametrize(
    ("access", "phase", "name"),
    [
        (LABEL_FREE, "prepare", "forget"),
        (LABEL_FREE, "prepare", "retain"),
        (LABEL_FREE, "forget", "train"),
        (LABEL_FREE, "forget", "labelled"),
        (Access(forget="labels"), "forget", "retain"),
        (Access(retain="labels"), "forget", "forget"),
    ],
)
def test_parts_of_the_data_that_were_not_declared_raise(
    access: Access, phase: str, name: str, make_problem: Callable[..., Problem]
) -> None:
    with pytest.raises(AccessError, match=f"problem.{name} is not accessible"):
        getattr(make_problem(access, phase), name)


def test_sample_labels_gives_a_labelled_sample_as_large_as_the_forget_set(
    make_problem: Callable[..., Problem], digits: Dataset
) -> None:
    problem = make_problem(Access(forget="images", retain="sample-labels"))
    assert len(problem.labelled) == len(problem.forget)
    assert torch.equal(problem.labelled.labels, digits.train_labels[problem.labelled.index])
    assert not set(problem.labelled.index.tolist()) & set(problem.forget.index.tolist())
    with pytest.raises(AccessError):
        len(problem.retain.labels)


def test_forget_set_and_retain_set_divide_the_training_set(make_problem: Callable[..., Problem]) -> None:
    problem = make_problem(LABEL_FREE)
    assert sorted(problem.forget.index.tolist() + problem.retain.index.tolist()) == list(range(300))


HIDDEN = torch.tensor([3, 10, 12, 30])
"""Positions of hidden samples, of digits below 5."""


def test_hidden_samples_are_in_the_retain_set_of_a_method(
    make_problem: Callable[..., Problem], digits: Dataset
) -> None:
    assert bool((digits.train_labels[HIDDEN] < 5).all())
    problem = make_problem(Access(forget="labels", retain="labels"), hidden=HIDDEN)
    assert set(HIDDEN.tolist()) <= set(problem.retain.index.tolist())
    assert not set(HIDDEN.tolist()) & set(problem.forget.index.tolist())


@pytest.mark.parametrize(
    ("level", "forbidden"), [(None, ("hidden", "hidden_size")), ("size", ("hidden",)), ("status", ("hidden_size",))]
)
def test_what_is_known_about_hidden_samples_must_be_declared(
    level: str | None, forbidden: tuple[str, ...], make_problem: Callable[..., Problem]
) -> None:
    problem = make_problem(Access(forget="labels", retain="labels", hidden=level), hidden=HIDDEN)
    for name in forbidden:
        with pytest.raises(AccessError, match=f"problem.{name} is not accessible: it needs Access"):
            getattr(problem, name)


@pytest.mark.parametrize("access", [Access(retain="labels"), Access(retain="labels", hidden="size")])
def test_the_status_of_samples_is_not_reachable_from_a_problem_that_does_not_declare_it(
    access: Access, make_problem: Callable[..., Problem]
) -> None:
    problem = make_problem(access, hidden=HIDDEN)
    status = torch.isin(problem.retain.index, HIDDEN)
    for tensor in reachable_tensors(problem):
        assert not (tensor.shape == status.shape and torch.equal(tensor.bool(), status))
        assert not torch.equal(tensor, HIDDEN)
    declared = make_problem(Access(retain="labels", hidden="status"), hidden=HIDDEN)
    assert any(torch.equal(tensor, status) for tensor in reachable_tensors(declared))


def test_a_method_that_declares_it_knows_the_size_or_the_status(
    make_problem: Callable[..., Problem], digits: Dataset
) -> None:
    size = make_problem(Access(hidden="size"), hidden=HIDDEN).hidden_size
    assert size == (4, len(digits.train_labels[HIDDEN].unique()))
    assert make_problem(Access(hidden="size")).hidden_size == (0, 0)
    problem = make_problem(Access(retain="labels", hidden="status"), hidden=HIDDEN)
    assert problem.retain.index[problem.hidden].tolist() == HIDDEN.tolist()


def test_a_report_has_positions_in_the_training_set(make_problem: Callable[..., Problem]) -> None:
    problem = make_problem(Access(retain="labels"), hidden=HIDDEN)
    assert problem.reported is None
    problem.report_hidden(torch.isin(problem.retain.index, HIDDEN))
    assert problem.reported is not None
    assert problem.reported.tolist() == HIDDEN.tolist()


def test_a_method_that_forgets_classes_is_told_which_and_sees_none_of_their_samples(
    make_problem: Callable[..., Problem], digits: Dataset
) -> None:
    problem = make_problem(Access(forget="classes", retain="labels"))
    assert problem.forgotten_classes.tolist() == [5]
    assert not bool((problem.retain.labels == 5).any())
    assert len(problem.retain) == int((digits.train_labels[:300] != 5).sum())
    with pytest.raises(AccessError, match=r"problem\.forget is not accessible"):
        len(problem.forget)
    with pytest.raises(AccessError, match=r'forgotten_classes is not accessible: it needs Access\(forget="classes"\)'):
        len(make_problem(Access(forget="labels")).forgotten_classes)


@pytest.mark.parametrize("forget", [[], [0, 1, 2], [0, 3, 4, 5]])
def test_a_part_of_a_class_is_not_applicable(forget: list[int]) -> None:
    labels = torch.tensor([1, 1, 1, 2, 2, 0, 0])
    retain = torch.tensor([place for place in range(7) if place not in forget])
    if forget == [0, 1, 2]:
        assert whole_classes(labels, torch.tensor(forget), retain).tolist() == [1]
        return
    with pytest.raises(NotApplicableError, match="it forgets whole classes, and here samples of the same classes"):
        whole_classes(labels, torch.tensor(forget, dtype=torch.int64), retain)


def test_a_preparing_phase_must_be_declared() -> None:
    @method(title="Sly", access=Access(forget="images"))
    def sly(problem: Problem) -> torch.nn.Module:
        return problem.network()

    with pytest.raises(ValueError, match="declare Access"):
        sly.prepare(lambda problem: {})


LAF = Path(unlearnbench.__file__).with_name("methods") / "laf.py"


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("phase", "spying"),
    [
        (
            "prepare",
            (
                "    return fit_vae(problem, problem.train,",
                "    problem.train.labels\n    return fit_vae(problem, problem.train,",
            ),
        ),
        ("forget", ("            descend(unlearn,", "            retain.labels\n            descend(unlearn,")),
    ],
)
def test_a_laf_that_reads_a_label_fails(
    phase: str, spying: tuple[str, str], install: Callable[..., Path], tiny: Path, cache: Path, tmp_path: Path
) -> None:
    source = LAF.read_text().replace(*spying)
    assert source != LAF.read_text()
    install(f"spy_{phase}", source, f"[unlearnbench.methods]\nspy-{phase} = spy_{phase}:laf\n")
    summary = unlearnbench.run(
        str(tiny), tasks=["class-removal"], methods=[f"spy-{phase}"], results=tmp_path / "r", cache=cache, jobs=1
    )
    cells = {o.name: o for o in summary.outcomes if o.is_cell}
    spy = cells[f"digits-8x8 class-removal spy-{phase} 0"]
    assert spy.status == "failed"
    assert "AccessError: the labels of" in spy.reason
    assert cells["digits-8x8 class-removal retrain 0"].status == "ok"


def test_the_declared_access_of_the_built_in_methods() -> None:
    access = {
        name: str(plugin.access) for name, plugin in registry.usable("methods").items() if isinstance(plugin, Method)
    }
    assert access["laf"] == "prepare: images, forget: images, retain: images"
    assert access["laf-r"] == "retain: sample-labels"
    assert access["neggrad"] == "forget: labels"
    assert access["retrain"] == "retain: labels, hidden: status"
    assert access["tarf"] == "forget: labels, retain: labels, hidden: size"
    knowing = {name for name, text in access.items() if "hidden" in text}
    assert knowing == {"retrain", "retrain-2", "tarf", "identify-then-ft"}
    assert access["original"] == "nothing"


def test_supervision_says_which_retained_samples_have_labels(make_problem: Callable[..., Problem]) -> None:
    some = torch.tensor([3, 8, 200])
    sample = make_problem(Access(retain="sample-labels"), labelled=some)
    assert sample.labelled.index.tolist() == [3, 8, 200]
    everything = make_problem(Access(retain="labels"), labelled=some)
    assert everything.retain.index.tolist() == [3, 8, 200]
    assert make_problem(Access(retain="images"), labelled=some).retain.index.numel() == 260
    assert make_problem(Access(retain="sample-labels")).labelled.index.numel() == 40  # as many as are forgotten
    assert make_problem(Access(retain="labels")).retain.index.numel() == 260


def test_smaller_shares_of_labels_are_parts_of_larger_ones(tmp_path: Path, store: Store) -> None:
    cells = plan_in(store, tmp_path, "demo", tasks="data-removal", methods="retrain", seeds=[0, 1]).cells
    first, second = (LoadedScenario.of(cell.scenario, Datasets(store)) for cell in cells)
    shares = [0.05, 0.25, 1.0]
    small, large, whole = (labelled_part(first, share) for share in shares)
    assert small is not None and large is not None and whole is not None
    assert {*small.tolist()} < {*large.tolist()} < {*whole.tolist()}
    retain = retained(len(first.content.train_labels), first.split.forget)
    assert torch.equal(whole, retain)
    assert len(small) == round(0.05 * len(retain))
    other = labelled_part(second, 0.25)
    assert other is not None and {*other.tolist()} != {*large.tolist()}
    assert labelled_part(first, None) is None


@pytest.mark.parametrize("share", [0.0, 1.5, "all"])
def test_a_share_that_is_none_is_refused(share: object, tmp_path: Path, store: Store) -> None:
    with pytest.raises(UserError, match=r"laf-r.supervision (must be from 0 to 1|is a share .* in \(0, 1\]), not"):
        plan_in(store, tmp_path, "demo", methods="laf-r", overrides={"laf-r": {"supervision": share}})


def test_an_option_that_is_none_by_default_is_in_keys_only_if_it_has_a_value() -> None:
    assert "supervision" not in plugin_key(Method, "scrub", registry.get(Method, "scrub").defaults)["options"]
    half = {**registry.get(Method, "scrub").defaults, "supervision": 0.5}
    assert plugin_key(Method, "scrub", half)["options"]["supervision"] == 0.5
