"""A run enforces what `check` enforces: a plugin that breaks the contract gives an error that says so, no number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from broken import BROKEN, noise
from conftest import small_model

import unlearnbench
from unlearnbench import Access, Scores, Split, UserError, attack, dataset, method, model, task
from unlearnbench.artefacts.sizes import flop_of, least_batch_of, weights_of
from unlearnbench.operations.measure import measure
from unlearnbench.operations.work import Effort
from unlearnbench.planning.selection import Selection, Workspace
from unlearnbench.plugins import registry
from unlearnbench.plugins.plugin import Plugin

PRESET = """
shadows = 2
select = { seeds = "0", tasks = ["TASK"], methods = ["original", "METHOD"] }
recipe = { epochs = 1, held_out = HELD_OUT }
datasets.DATASET.model = "MODEL"
"""
MESSAGES = {
    "method": {
        "takes-options-as-keywords": "put a star before rate",
        "has-options-that-records-can-keep": "option sizes is (1, (3, 4)), which JSON does not keep",
        "runs-with-its-defaults": "RuntimeError: on purpose",
        "sees-only-what-it-declares": "problem.retain is not accessible",
        "gives-logits": "gives outputs of shape (149, 9) instead of (149, 10)",
        "gives-finite-logits": "gives outputs that are not finite",
        "sees-each-image-alone": "in eval mode outputs depend on the batch",
        "prepares-what-can-be-kept": "again and mean share memory, clone one of them",
        "declares-its-cost": "its cost raises TypeError",
        "names-methods-that-exist": "like='lav': unknown method 'lav': did you mean 'laf'",
        "competes-without-retrain": "broken starts from retrain, which it is compared with",
    },
    "task": {
        "takes-options-as-keywords": "put a star before fraction",
        "has-options-that-records-can-keep": "option fraction is nan, which JSON does not keep",
        "applies-with-its-defaults": "task broken: it cannot be applied: RuntimeError: on purpose (broken.py, line ",
        "gives-ascending-positions": "forget must be ascending",
        "gives-valid-held-out-samples": "heldout must be int64 positions from 0 to 1197, none of them twice",
        "compares-like-with-like": "held-out samples are of classes [0, 1, 2, 4",
        "gives-labels-in-range": "train_labels must be int64 [149], from 0 to 9",
        "replaces-labels-on-both-sides": "return train_labels and heldout_labels, or neither",
        "does-not-write-on-the-data": "writes on the images",
        "has-known-columns": "columns must be some of train_r",
        "hides-samples-outside-of-the-forget-set": "hidden samples must not be in the forget set",
        "works-without-a-test-set": "task broken: it cannot be applied: AssertionError",
    },
    "dataset": {
        "takes-options-as-keywords": "put a star before size",
        "has-options-that-records-can-keep": "option names is frozenset",
        "says-what-its-files-are": "name file ../digits.npy relative to the folder of datasets",
        "can-be-read": "dataset broken cannot be read: RuntimeError: on purpose",
        "gives-images-as-bytes": "training images must be uint8 [n, C, H, W], not torch.float32 [60, 1, 8, 8]",
        "gives-labels-in-range": "training labels must be int64, one for each image, not torch.float32 [60]",
        "has-every-class": "no training image is of class [4]",
        "uses-the-range-of-pixels": "training pixels are all from 0 to 1",
        "keeps-test-images-apart": "100% of the test images are training images",
    },
    "model": {
        "takes-options-as-keywords": "put a star before width",
        "has-options-that-records-can-keep": "option activation is",
        "builds-a-network": "it returns method: return an nn.Module, or Network(features, head, last_layer)",
        "gives-logits": "for 4 images and 10 classes it gives torch.float32 [4, 11]",
        "gives-no-probabilities": "its outputs are (log-)probabilities",
        "is-split-into-features-and-head": "features must be [B, D]",
        "names-its-last-layer": "the outputs of last_layer='features.1' are not the logits",
        "has-outputs-independent-of-the-batch": "in eval mode outputs depend on the batch",
        "can-be-rebuilt-from-weights": "its state_dict is incomplete",
        "can-be-copied": "copy.deepcopy raises TypeError",
        "can-be-planned-without-memory": "model broken cannot be built for images of 1 x 8 x 8",
    },
    "attack": {
        "takes-options-as-keywords": "put a star before power",
        "has-options-that-records-can-keep": "option weights is {'loss': 1.0}",
        "names-libraries-that-are-installed": "no-such-distribution",
        "runs-with-its-defaults": "RuntimeError: on purpose",
        "scores-every-sample": "return float64 [",
        "gives-finite-scores": "some scores are infinite or not a number",
        "does-not-write-on-the-audit": "it writes on the outputs for retained samples",
        "gives-facts-that-records-can-keep": "facts must be whole numbers by name",
    },
}
"""The part of the message of a run that names the fault, by kind and check."""
REPAIRED = {
    "method": {
        "does-not-seed-global-generators",
        "leaves-the-data-alone",
        "leaves-the-original-alone",
        "leaves-no-hooks",
        "leaves-no-threads",
        "restores-global-settings",
    },
    "task": {"is-reproducible", "restores-global-settings"},
    "dataset": {"is-reproducible", "restores-global-settings"},
    "model": {"restores-global-settings"},
    "attack": {"is-reproducible", "restores-global-settings"},
}
"""Faults that do not reach the numbers of a run, because the suite copies, seeds and restores."""
UNSEEN = {
    "method": {
        "is-documented",
        "declares-only-what-it-uses",
        "loads-no-data-itself",
        "is-reproducible",
        "changes-with-the-seed",
        "copes-with-one-class",
        "copes-with-tiny-forget-sets",
    },
    "task": {"is-documented", "changes-with-the-seed"},
    "dataset": {"is-documented"},
    "model": {"is-documented", "is-reproducible", "changes-with-the-seed", "learns-with-all-its-weights"},
    "attack": {
        "is-documented",
        "finds-an-obvious-leak",
        "finds-nothing-where-nothing-is",
        "copes-with-certain-networks",
        "copes-with-few-samples",
    },
}
"""Faults that one run cannot see: it would need a second run, other data, or a reader."""


@dataclass
class Offered:
    """The entry of a plugin that is not installed."""

    plugin: Plugin
    origin: str = "tests"
    version: str = "1.0"
    trouble: str = ""

    @property
    def group(self) -> str:
        """The group of its kind."""
        return f"{self.plugin.kind}s"

    @property
    def point(self) -> Any:
        """Where its code is."""
        return SimpleNamespace(module=self.plugin.__module__, attr="no attribute")

    def load(self) -> Plugin:
        """The plugin."""
        return self.plugin


@pytest.fixture
def messages(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, in_this_process: None
) -> Callable[[Plugin], list[str]]:
    """Runs a plugin under the name "broken", all others being right; gives the reasons of all failures."""

    def of(plugin: Plugin) -> list[str]:
        offered = {"broken": plugin, "small": small_model}
        by_group = {f"{kind}s": registry.entries(f"{kind}s") for kind in MESSAGES}
        for name, each in offered.items():
            by_group[f"{each.kind}s"] = {**by_group[f"{each.kind}s"], name: Offered(each)}
        monkeypatch.setattr(registry, "entries", by_group.__getitem__)
        monkeypatch.chdir(tmp_path)
        for by_name in (weights_of, least_batch_of, flop_of):  # all are called "broken"
            by_name.cache_clear()
        model = "cnn" if plugin.kind == "method" else "small"
        usual = {"TASK": "data-removal", "METHOD": "neggrad", "DATASET": "digits-8x8", "MODEL": model}
        text = PRESET.replace("HELD_OUT", "0.0" if plugin.kind == "dataset" else "0.76")
        for kind, name in usual.items():
            text = text.replace(kind, "broken" if kind.lower() == plugin.kind else name)
        if plugin.kind in ("dataset", "attack"):
            text += "tasks.data-removal.classes = [0, 1]\n"
        preset = tmp_path / "broken.toml"
        preset.write_text(text)
        places: dict[str, Any] = {"results": tmp_path / "r", "cache": tmp_path / "c", "data": tmp_path}
        try:
            summary = unlearnbench.run(preset, jobs=1, **places)
            if plugin.kind != "attack":
                return [outcome.reason for outcome in summary.failed]
            effort, workspace = Effort(jobs=1), Workspace.of(**places, device="cpu", arithmetic="native")
            done = measure(Selection.of(preset), workspace, attacks=["broken"], effort=effort, say=lambda _: None)
            return list(done.failed.values())
        except UserError as error:
            return [str(error)]

    return of


def cases(table: dict[str, Any]) -> list[tuple[str, str]]:
    return sorted([(kind, check) for kind, checks in table.items() for check in checks])


@pytest.mark.parametrize(("kind", "check"), cases(MESSAGES))
def test_a_run_names_the_fault(kind: str, check: str, messages: Callable[[Plugin], list[str]]) -> None:
    reasons = messages(BROKEN[kind, check])
    assert reasons
    assert all(MESSAGES[kind][check] in reason for reason in reasons), reasons


@pytest.mark.parametrize(("kind", "check"), cases(REPAIRED))
def test_a_run_is_not_disturbed_by_a_fault_that_the_suite_repairs(
    kind: str, check: str, messages: Callable[[Plugin], list[str]]
) -> None:
    assert messages(BROKEN[kind, check]) == []


PREPARING = Access(prepare="images", forget="images")
OTHER: dict[str, tuple[Callable[..., Plugin], Callable[..., Any], str]] = {
    "no network": (method, lambda problem: None, "method broken returned NoneType, not a network"),
    "numpy": (
        method,
        lambda problem: lambda images: np.zeros((len(images), 10)),
        "its network returns <class 'numpy.ndarray'>: return floats",
    ),
    "whole numbers": (
        method,
        lambda problem: lambda images: torch.zeros(len(images), 10, dtype=torch.int64),
        "torch.int64 on cpu: return floats",
    ),
    "a batch less": (
        method,
        lambda problem: lambda images: torch.zeros(1, 10),
        "gives outputs of shape (1, 10) instead of (149, 10)",
    ),
    "no split": (task, lambda data, generator: (0, 1), "it returns tuple; it must return a Split"),
    "a list": (task, lambda data, generator: Split([1, 2], torch.zeros(0).long()), "forget must be int64 positions"),
    "a mask": (
        task,
        lambda data, generator: Split(data.train_labels > 5, torch.zeros(0).long()),
        "forget must be int64 positions from 0 to",
    ),
    "no dataset": (dataset, lambda root: (1, 2), "dataset broken: it returns tuple; it must return a Dataset"),
    "too few classes": (
        dataset,
        lambda root: noise(num_classes=3),
        "dataset broken: training labels must be from 0 to 2",
    ),
    "two sizes": (
        dataset,
        lambda root: noise(test_images=torch.zeros(20, 1, 9, 9, dtype=torch.uint8)),
        "training and test images must be of one size, not [(1, 8, 8), (1, 9, 9)]",
    ),
    "nothing": (
        model,
        lambda shape, num_classes: None,
        "it returns NoneType: return an nn.Module, or Network(",
    ),
    "no model": (model, lambda shape, num_classes: 1 / 0, "cannot be built for images of 1 x 8 x 8"),
    "no scores": (attack, lambda audit: None, "it returns NoneType; it must return Scores"),
    "single precision": (
        attack,
        lambda audit: Scores(np.zeros(len(audit.forgotten.labels), np.float32), np.zeros(3)),
        "forgotten scores are float32",
    ),
    "nothing compared": (
        attack,
        lambda audit: Scores(np.zeros(len(audit.forgotten.labels)), np.zeros(0)),
        "heldout scores are float64 [0]",
    ),
}
"""More faults by what is returned: the kind, the function, and what the message of a run says."""


@pytest.mark.parametrize("fault", OTHER)
def test_other_results_that_break_the_contract_are_named_too(
    fault: str, messages: Callable[[Plugin], list[str]]
) -> None:
    decorator, function, message = OTHER[fault]
    options: dict[Any, dict[str, Any]] = {
        method: {"access": Access(forget="images")},
        task: {"columns": ("train_r", "train_f", "test", "asr")},
    }
    reasons = messages(decorator(title="Broken", **options.get(decorator, {}))(function))
    assert reasons
    assert all(message in reason for reason in reasons), reasons


@pytest.mark.parametrize("prepared", [None, [torch.zeros(1)], {"a": 1.0}, {0: torch.zeros(1)}])
def test_a_preparing_phase_must_return_tensors_by_name(prepared: Any, messages: Callable[[Plugin], list[str]]) -> None:
    plugin = method(title="Broken", access=PREPARING)(lambda problem: problem.network())
    plugin.prepare(lambda problem: prepared)
    (reason,) = messages(plugin)
    assert "must return a dict of tensors by name" in reason


def test_every_fault_that_check_finds_is_found_or_repaired_or_known_to_be_invisible() -> None:
    assert sorted([*cases(MESSAGES), *cases(REPAIRED), *cases(UNSEEN)]) == sorted(BROKEN)
