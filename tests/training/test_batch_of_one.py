"""Batch normalisation cannot normalise a single value: no batch of one reaches it, or the message says what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import unlearnbench
from unlearnbench import UserError
from unlearnbench.artefacts.sizes import least_batch_of

NORMALISING = '''
from torch import nn
from unlearnbench import Access, Network, method, model

@model(title="Normalising")
def normalising(shape, num_classes):
    """A small network whose batch normalisation sees one value for each image."""
    layers = nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * shape[0], 8), nn.BatchNorm1d(8)
    return Network(nn.Sequential(*layers), nn.Linear(8, num_classes), "head")

@method(title="Alone", access=Access(forget="labels"))
def alone(problem):
    """Takes a batch of one."""
    network = problem.network()
    network(problem.forget.images[:1])
    return network
'''
POINTS = """
[unlearnbench.models]
normalising = alone:normalising
[unlearnbench.methods]
alone = alone:alone
"""
PRESET = """
shadows = 2
select = { seeds = "0", tasks = ["data-removal"] }
recipe = { epochs = 1, batch = 4, held_out = 0.76 }
datasets.digits-8x8.model = "normalising"
methods.laf = { epochs = 1, vae_epochs = 1, batch = 7 }
methods.neggrad = { epochs = 1, batch = 7 }
methods.scrub = { epochs = 1, max_epochs = 1, batch = 7, forget_batch = 7 }
methods.sisa.shards = 2
"""


@pytest.fixture
def outcomes(
    install: Callable[..., Path], tmp_path: Path, in_this_process: None
) -> Callable[..., dict[str, tuple[str, str]]]:
    """Runs a preset; gives status and reason of each cell's outcome, by method."""
    install("alone", NORMALISING, POINTS)

    def run(text: str, **options: Any) -> dict[str, tuple[str, str]]:
        preset = tmp_path / "alone.toml"
        preset.write_text(text)
        places = {"results": tmp_path / "r", "cache": tmp_path / "c"}
        summary = unlearnbench.run(preset, jobs=1, **places, **options)
        return {o.name.split()[2].partition("+")[0]: (o.status, o.reason) for o in summary.outcomes if o.is_cell}

    return run


def test_no_training_ends_in_a_batch_of_one(outcomes: Callable[..., dict[str, tuple[str, str]]]) -> None:
    """149 images in batches of 4 leave one over; so do a retain set of 120 and a forget set of 29 in batches of 7."""
    done = outcomes(PRESET, methods=["original", "retrain", "neggrad", "laf", "laf-r", "scrub", "sisa", "sham"])
    assert {name: why for name, (status, why) in done.items() if status != "ok"} == {}
    assert len(done) == 8


def test_a_recipe_with_batches_of_one_is_refused_before_anything_is_trained(
    outcomes: Callable[..., dict[str, tuple[str, str]]], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="normalising cannot be trained on batches of 1, .*: set the recipe's batch to"):
        outcomes(PRESET.replace("batch = 4", "batch = 1"), methods="original")
    assert not (tmp_path / "c" / "original").exists()


def test_a_method_that_makes_a_batch_of_one_gets_a_message_of_the_suite(
    outcomes: Callable[..., dict[str, tuple[str, str]]],
) -> None:
    status, reason = outcomes(PRESET, methods="alone")["alone"]
    assert status == "failed"
    assert reason.startswith("UserError: alone trains normalising on a batch of one sample, which its batch norm")


@pytest.mark.parametrize(
    ("model", "size", "least"),
    [("cnn", 28, 1), ("resnet18", 28, 2), ("resnet18", 64, 1), ("resnet18-32", 32, 1), ("resnet8", 32, 1)],
)
def test_only_networks_that_fail_on_one_image_have_other_batches(model: str, size: int, least: int) -> None:
    assert least_batch_of(model, (), (1, size, size), 10) == least
