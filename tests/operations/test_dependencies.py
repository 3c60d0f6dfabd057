"""A job waits for the jobs that make what it needs, and for no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import plan_in

from unlearnbench.operations.dependencies import earlier_needs
from unlearnbench.planning.plan import Plan
from unlearnbench.storage.store import Store


@pytest.fixture
def plan(tiny: Path, tmp_path: Path) -> Plan:
    methods = ["neggrad", "laf", "laf-r"]
    return plan_in(Store(tmp_path / "c"), tmp_path / "r", tiny, tasks="class-removal", methods=methods)


def waits(plan: Plan) -> dict[str, set[str]]:
    """The names of the jobs that each job of a plan waits for."""
    queue = [*plan.shared, *plan.to_run]
    after = earlier_needs(queue, {artefact.digest for artefact in plan.missing})
    return {str(job): {str(queue[index]) for index in before} for job, before in zip(queue, after, strict=True)}


def test_cells_wait_for_shadow_models_preparations_and_the_cells_that_they_start_from(plan: Plan) -> None:
    shadows = {f"shadow digits-8x8 class-removal no. {number}" for number in (0, 1)}
    original, prepared = "original digits-8x8 class-removal seed 0", "prepared digits-8x8 class-removal laf seed 0"
    assert waits(plan) == {
        **{name: set() for name in (*shadows, original)},
        prepared: {original},
        "digits-8x8 class-removal retrain 0": {*shadows, original},
        "digits-8x8 class-removal neggrad 0": {*shadows, original},
        "digits-8x8 class-removal laf 0": {*shadows, original, prepared},
        "digits-8x8 class-removal laf-r 0": {*shadows, original, prepared, "digits-8x8 class-removal laf 0"},
    }


def test_what_no_job_makes_is_made_by_the_first_that_needs_it(plan: Plan) -> None:
    """As when records are there, and the artefacts that others need have been deleted."""
    cells = [cell for cell in plan.to_run if cell.method != "retrain"]
    after = earlier_needs(cells, {artefact.digest for artefact in plan.missing})
    by_method = dict(zip([cell.method for cell in cells], after, strict=True))
    first = cells[0].method
    assert by_method.pop(first) == set()
    assert all(0 in before for before in by_method.values())
    assert [cell.method for cell in cells].index("laf") in by_method["laf-r"]


def test_what_the_cache_has_is_not_waited_for(plan: Plan) -> None:
    assert earlier_needs(plan.to_run, set()) == [set(), set(), set(), set()]
