"""Which jobs must wait for which: a cell for the artefacts that it needs, and these for theirs."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from unlearnbench.artefacts.artefact import Artefact
from unlearnbench.artefacts.training import Training
from unlearnbench.artefacts.unlearned import Outputs
from unlearnbench.planning.plan import Cell

Job = Artefact | Cell


def earlier_needs(queue: Sequence[Job], missing: Container[str]) -> list[set[int]]:
    """For each job the earlier jobs that make what it needs.

    What is missing and is no job is made by the first job that needs it, so that later ones wait for that.

    Args:
        queue: The jobs; those that others need come first.
        missing: The digests of the artefacts that the cache lacks.
    """
    makers: dict[str, int] = {}
    for index, job in enumerate(queue):
        for artefact in made_by(job):
            makers.setdefault(artefact.digest, index)
    after: list[set[int]] = []
    for index, job in enumerate(queue):
        needed = {makers.setdefault(artefact.digest, index) for artefact in missing_needs(job, missing)}
        after.append({maker for maker in needed if maker < index})
    return after


def made_by(job: Job) -> Iterator[Artefact]:
    """The artefacts that a job makes, those that it makes for want of anybody else apart."""
    artefact = job.outputs if isinstance(job, Cell) else job
    yield artefact
    if isinstance(artefact, Training):
        yield from artefact.beside
    if isinstance(artefact, Outputs) and artefact.network:
        yield artefact.network


def missing_needs(job: Job, missing: Container[str]) -> Iterator[Artefact]:
    """The artefacts that the cache lacks for a job, their own needs included."""
    if isinstance(job, Cell):
        needs = [*job.shadows, *job.outputs.needs.values()]
    else:
        needs = [needed for artefact in made_by(job) for needed in artefact.needs.values()]
    for needed in needs:
        if needed.digest in missing:
            yield needed
            yield from missing_needs(needed, missing)
