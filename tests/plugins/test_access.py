"""Data that a method did not declare are not reachable from its problem."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import unlearnbench
from unlearnbench import Access, AccessError, NotApplicableError, Problem
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset
from unlearnbench.plugins.method import Method, method
from unlearnbench.plugins.problem import whole_classes

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
    assert access["retrain"] == "retain: labels"
    assert access["original"] == "nothing"
