"""Label mismatch: the forget set, the network's classes and the concept that must go have labels of different levels.

Four scenarios, by two questions. Does the network predict classes or superclasses? And is the concept that must go what
the forget set has, or whole superclasses, of which the forget set has a part?
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unlearnbench import Dataset, Domain, Split, UserError, check_classes, of_classes, task

PAPER = "Zhu et al., Decoupling the Class Label and the Target Concept in Machine Unlearning, ICLR 2026"
COLUMNS = ("train_f", "train_r", "test_r", "mia")
"""UA, RA, TA and MIA."""


@task(title="All matched", columns=COLUMNS, reference=PAPER, superclasses=True)
def all_matched(
    data: Dataset, generator: torch.Generator, *, classes: Sequence[int] = (0,), taxonomy: str = ""
) -> Split:
    """Forgets classes; the network predicts classes. This is class removal with other columns."""
    return split(data, classes, classes, taxonomy, coarse=False)


@task(title="Target mismatch", columns=COLUMNS, reference=PAPER, superclasses=True)
def target_mismatch(
    data: Dataset,
    generator: torch.Generator,
    *,
    classes: Sequence[int] = (0,),
    concept: Sequence[int] = (),
    taxonomy: str = "",
) -> Split:
    """Forgets a concept, of which only `classes` are pointed at; the network predicts classes.

    `concept` lists its classes; if it is empty, it has all classes of the superclasses of `classes`.
    """
    concept = concept or data.taxonomy(taxonomy).family(checked(data, classes))
    return split(data, classes, concept, taxonomy, coarse=False)


@task(title="Model mismatch", columns=COLUMNS, reference=PAPER, superclasses=True)
def model_mismatch(
    data: Dataset, generator: torch.Generator, *, classes: Sequence[int] = (0,), taxonomy: str = ""
) -> Split:
    """Forgets classes; the network predicts superclasses, and the siblings of these classes must be kept."""
    family = data.taxonomy(taxonomy).family(checked(data, classes))
    if len(family) == len(classes):
        named = data.taxonomy(taxonomy).named(classes)
        raise UserError(f"model-mismatch needs siblings to keep, and {named} are all classes of their superclasses")
    return split(data, classes, classes, taxonomy, coarse=True)


@task(title="Data mismatch", columns=COLUMNS, reference=PAPER, superclasses=True)
def data_mismatch(
    data: Dataset,
    generator: torch.Generator,
    *,
    classes: Sequence[int] = (0,),
    concept: Sequence[int] = (),
    taxonomy: str = "",
) -> Split:
    """Forgets superclasses, of which only `classes` are pointed at; the network predicts superclasses.

    `concept` lists the classes of these superclasses; if it is empty, those of the superclasses of `classes`.
    """
    levels = data.taxonomy(taxonomy)
    concept = concept or levels.family(checked(data, classes))
    if sorted(levels.family(checked(data, concept))) != sorted(concept):
        raise UserError(
            f"data-mismatch forgets whole superclasses, and {levels.named(concept)} are only a part of them"
        )
    return split(data, classes, concept, taxonomy, coarse=True)


def checked(data: Dataset, classes: Sequence[int]) -> Sequence[int]:
    """These classes; raises `UserError` unless they are different classes of the dataset."""
    check_classes(data, classes)
    return classes


def split(data: Dataset, given: Sequence[int], concept: Sequence[int], taxonomy: str, *, coarse: bool) -> Split:
    """The split of a scenario.

    Args:
        data: The dataset.
        given: The classes of the forget set.
        concept: The classes that must be forgotten.
        taxonomy: Name of the superclasses; "" for the dataset's first.
        coarse: Whether the network predicts superclasses.

    Raises:
        UserError: If the classes do not fit together.
    """
    levels = data.taxonomy(taxonomy)
    for classes in (given, concept):
        check_classes(data, classes)
    if not set(given) <= set(concept):
        raise UserError(f"the classes of the forget set, {levels.named(given)}, must be in {levels.named(concept)}")
    siblings = [label for label in levels.family(concept) if label not in concept]
    hidden = [label for label in concept if label not in given]
    heldout = of_classes(data.test_labels, concept)
    groups = {"given": given, "hidden": hidden, "siblings": siblings}
    return Split(
        forget=of_classes(data.train_labels, given),
        heldout=heldout,
        test_forget=heldout,
        hidden=of_classes(data.train_labels, hidden) if hidden else None,
        hidden_heldout=of_classes(data.test_labels, hidden) if hidden else None,
        domain=superclasses(data, taxonomy) if coarse else None,
        apart={name: positions(data, classes) for name, classes in groups.items() if classes},
    )


def positions(data: Dataset, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The positions (int64) of all samples of some classes in the training set and in the test set."""
    return of_classes(data.train_labels, classes), of_classes(data.test_labels, classes)


def superclasses(data: Dataset, taxonomy: str) -> Domain:
    """The labels of a network that predicts superclasses."""
    levels = data.taxonomy(taxonomy)
    train, test = levels.superclasses(data.train_labels), levels.superclasses(data.test_labels)
    return Domain(train, test, len(levels.names))
