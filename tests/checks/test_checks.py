"""Every built-in plugin keeps the contract, and every check fails for a plugin that breaks only its requirement."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
from broken import BROKEN, harmless
from click.testing import CliRunner, Result
from torch import Tensor

from unlearnbench import Access, Problem, UserError
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.checks import KINDS, BrokenContractError, checks, examine
from unlearnbench.cli.main import main
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Source
from unlearnbench.plugins.method import method
from unlearnbench.runtime.vision import torchvision
from unlearnbench.storage.store import Store

EVERY = {(kind, f.__name__) for kind in KINDS for f in import_module(f"unlearnbench.checks.{kind}s").CHECKS}


BARE = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
"""The environment of a process that nobody has prepared."""
EXAMINE_ALL = """
import json, os, sys
from unlearnbench.checks import examine
from unlearnbench.plugins import registry

kind, data = sys.argv[1:]
bare, results = dict(os.environ), {}
for name, entry in registry.entries(f"{kind}s").items():
    if entry.origin == "unlearnbench":
        os.environ.clear()
        os.environ.update(bare)
        examined = examine(name, kind=kind, **({"data": data} if kind == "dataset" else {}))
        results[name] = [[result.check, result.status, result.message] for result in examined]
print(json.dumps(results))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_plugin_keeps_the_contract_in_a_fresh_process(kind: str, tmp_path: Path) -> None:
    words = [sys.executable, "-c", EXAMINE_ALL, kind, str(tmp_path)]
    done = subprocess.run(words, env=BARE, capture_output=True, text=True, check=True)
    by_name = json.loads(done.stdout)
    assert by_name.keys() == {n for n, entry in registry.entries(f"{kind}s").items() if entry.origin == "unlearnbench"}
    for name, results in by_name.items():
        wrong = {check: message for check, status, message in results if status not in ("ok", "skipped")}
        assert wrong == {}, name
        absent = "its files are not in" in " ".join(message for _, _, message in results)
        assert absent == (kind == "dataset" and not name.startswith("digits")), name


def test_variables_that_libraries_set_are_not_the_plugins_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the suite's own environment hides that torch sets one when it first compiles."""
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    def settings(does: Callable[[], Any]) -> list[str]:
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
        return [result.status for result in examine(method_that(does)) if result.check == "restores-global-settings"]

    assert settings(lambda: cache_dir()) == ["ok"]
    assert settings(lambda: os.environ.update(TORCHINDUCTOR_CACHE_DIR="elsewhere")) == ["failed"]
    assert settings(lambda: os.environ.pop("PATH")) == ["failed"]


@pytest.mark.parametrize(("kind", "check"), list(BROKEN))
def test_a_plugin_that_breaks_one_thing_fails_that_check_and_no_other(
    kind: str, check: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    results = list(examine(BROKEN[kind, check]))
    assert {result.check: result.message for result in results if result.status == "failed"}.keys() == {check}
    (failure,) = [result for result in results if result.check == check]
    assert len(failure.message) > 20


def test_there_is_a_broken_plugin_for_every_check() -> None:
    assert {(kind, check.replace("-", "_")) for kind, check in BROKEN} == EVERY


def test_every_check_says_in_a_sentence_what_it_checks() -> None:
    for kind in KINDS:
        for function in import_module(f"unlearnbench.checks.{kind}s").CHECKS:
            assert (function.__doc__ or "").partition("\n")[0].endswith("."), function.__name__


def method_that(does: Callable[[], Any]) -> Any:
    """A method with a side effect."""

    @method(title="Curious", access=Access(forget="images"), reference="Nobody, Nowhere 2000")
    def curious(problem: Problem) -> Any:
        """Is curious."""
        with suppress(Exception):
            does()
        return harmless(problem)

    return curious


@pytest.mark.parametrize("way", ["suite", "suite's function", "torchvision", "numpy"])
def test_a_method_that_reads_data_in_any_way_fails_a_check(way: str, tmp_path: Path, store: Store) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in (
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ):
        (raw / name).write_bytes(b"\0\0\x08\x01\0\0\0\0")
    (tmp_path / "labels.npy").write_bytes(b"\x93NUMPY")
    ways: dict[str, Callable[[], Any]] = {
        "suite": lambda: Datasets(store).load("digits-8x8", tmp_path),
        "suite's function": lambda: registry.get(Source, "digits-8x8").read("digits-8x8", tmp_path),
        "torchvision": lambda: torchvision("datasets").MNIST(tmp_path, train=True),
        "numpy": lambda: __import__("numpy").load(tmp_path / "labels.npy"),
    }
    Datasets(store).load("digits-8x8", tmp_path)  # so that it is in the cache
    failed = {result.check: result.message for result in examine(method_that(ways[way])) if result.status == "failed"}
    assert failed.keys() == {"loads-no-data-itself"}, failed
    assert "take all data from the problem" in failed["loads-no-data-itself"]


def test_a_file_may_be_read_again_after_the_checks(tmp_path: Path, store: Store) -> None:
    list(examine("original"))
    assert Datasets(store).load("digits-8x8", tmp_path)[0].num_classes == 10


def test_access_is_checked_in_the_preparing_phase_too() -> None:
    @method(title="Early", access=Access(prepare="images", forget="images"), reference="Nobody, Nowhere 2000")
    def early(problem: Problem) -> Any:
        """Prepares."""
        return harmless(problem)

    early.prepare(lambda problem: {"labels": problem.train.labels.clone()})
    failed = {result.check: result.message for result in examine(early) if result.status == "failed"}
    assert "the labels of the training set are not accessible" in failed["sees-only-what-it-declares"]
    assert next(iter(failed)) == "sees-only-what-it-declares"


def test_the_original_is_checked_after_the_preparing_phase_too() -> None:
    @method(title="Early", access=Access(prepare="images", forget="images"), reference="Nobody, Nowhere 2000")
    def early(problem: Problem) -> Any:
        """Prepares."""
        return harmless(problem)

    def train_the_original(problem: Problem) -> dict[str, Tensor]:
        problem.original.train()
        return {"mean": problem.train.images.mean(0)}

    early.prepare(train_the_original)
    failed = {result.check: result.message for result in examine(early) if result.status == "failed"}
    assert "puts it into train mode" in failed["leaves-the-original-alone"]


def test_expected_failures_are_strict() -> None:
    broken = BROKEN["method", "declares-its-cost"]
    reasons = {"declares-its-cost": "it is unknown"}
    results = {result.check: result for result in examine(broken, expected_failures=reasons)}
    assert results["declares-its-cost"].status == "expected"
    assert results["declares-its-cost"].message.startswith("it is unknown (its cost raises TypeError")
    results = {result.check: result for result in examine("original", expected_failures=reasons)}
    assert results["declares-its-cost"].status == "failed"
    assert "expected to fail and does not" in results["declares-its-cost"].message
    with pytest.raises(UserError, match="unknown check of a method: 'declares-cost': did you mean 'declares-its-cost'"):
        checks("original", expected_failures={"declares-cost": "why"})


def test_a_check_can_be_called_in_a_test() -> None:
    by_name = {str(check): check for check in checks(BROKEN["method", "declares-its-cost"])}
    by_name["is-documented"]()
    with pytest.raises(BrokenContractError, match="must take .forget, recipe, ., HYPERPARAMETERS. and return passes"):
        by_name["declares-its-cost"]()
    with pytest.raises(SkipTest, match="it has no preparing phase"):
        by_name["prepares-what-can-be-kept"]()


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_command_line_has_a_line_for_each_check_and_an_exit_code(tmp_path: Path) -> None:
    done = call("check", "class-removal")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert "ok       gives-ascending-positions" in lines
    assert "skipped  changes-with-the-seed: it draws nothing" in lines
    assert lines[-1] == "class-removal: 15 ok, 0 failed, 1 skipped"
    file = tmp_path / "lazy_task.py"
    file.write_text(
        "from unlearnbench import Split, of_classes, task\n"
        "@task(title='Lazy', columns=('test_r', 'test_f', 'asr'), reference='Nobody, Nowhere 2000')\n"
        "def lazy(data, generator):\n    'Forgets the ones.'\n"
        "    return Split(of_classes(data.train_labels, [1]), of_classes(data.test_labels, [1]))\n"
    )
    done = call("check", f"{file}:lazy")
    assert done.exit_code == 1
    assert "FAILED   has-known-columns: column test_f and test_r needs Split(test_forget=...)" in done.stdout
    rows = json.loads(call("check", f"{file}:lazy", "--json").stdout)
    assert [row["check"] for row in rows if row["status"] == "failed"] == ["has-known-columns"]


def test_a_mistake_is_said_once_with_the_line_of_the_users_code(tmp_path: Path) -> None:
    (tmp_path / "joining.py").write_text("def joined(outputs):\n    return outputs + 'x'\n")
    file = tmp_path / "mistaken.py"
    file.write_text(
        "from joining import joined\n"
        "from unlearnbench import Access, method\n"
        "@method(title='Mistaken', access=Access(forget='images'), reference='Nobody, Nowhere 2000')\n"
        "def mistaken(problem):\n    'Adds a word.'\n    network = problem.network()\n"
        "    return joined(network(next(problem.forget.batches(4)).images))\n"
    )
    done = call("check", f"{file}:mistaken")
    assert done.exit_code == 1
    assert done.stdout.count("unsupported operand") == 1
    assert "(joining.py, line 2: return outputs + 'x')" in done.stdout
    skipped = [line for line in done.stdout.splitlines() if line.startswith("skipped")]
    assert skipped == [
        "skipped  13 checks: it does not run: see runs-with-its-defaults",
        "skipped  prepares-what-can-be-kept: it has no preparing phase",
    ]
    assert done.stdout.splitlines()[-1].endswith("8 ok, 1 failed, 1 warning, 14 skipped")  # it declares no cost


def test_a_message_of_several_checks_is_printed_once(tmp_path: Path) -> None:
    file = tmp_path / "halting.py"
    file.write_text(
        "from torch import nn\n"
        "from unlearnbench import Network, model\n"
        "class One(nn.Module):\n"
        "    def forward(self, images):\n"
        "        if len(images) > 1:\n            raise ValueError('one at a time')\n"
        "        return images.flatten(1)\n"
        "@model(title='Halting', reference='Nobody, Nowhere 2000')\n"
        "def halting(shape, num_classes):\n    'Takes one image at a time.'\n"
        "    return Network(One(), nn.Linear(shape[0] * shape[1] * shape[2], num_classes), 'head')\n"
    )
    done = call("check", f"{file}:halting")
    first = "it raises ValueError: one at a time (halting.py, line 6: raise ValueError('one at a time'))"
    assert f"FAILED   gives-logits: {first}" in done.stdout
    assert done.stdout.count(f": {first}") == 1
    assert "FAILED   gives-no-probabilities: as gives-logits" in done.stdout


def test_a_file_that_cannot_be_imported_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "unfinished.py"
    file.write_text("from unlearnbench import method\n\nrate = ratio\n")
    done = call("check", f"{file}:anything")
    assert done.exit_code == 2
    words = " ".join(done.stderr.split())
    assert "NameError: name 'ratio' is not defined (unfinished.py, line 3: rate = ratio)" in words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lav"], "unknown plugin 'lav': did you mean 'laf'"),
        (["laf", "--kind", "task"], "laf is a method: not a task"),
        (["laf", "--kind", "tasc"], "unknown kind of plugin 'tasc': did you mean 'task'"),
        (["nowhere.py:laf"], "there is no file"),
    ],
)
def test_wrong_usage_is_2(words: list[str], message: str) -> None:
    done = call("check", *words)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_cost_that_is_not_declared_is_a_warning_and_no_failure() -> None:
    @method(title="Free", access=Access(), reference="None")
    def free(problem: Any) -> Any:
        """Returns the original."""
        return problem.network()

    (warning,) = (result for result in examine(free) if result.check == "declares-its-cost")
    assert (warning.status, "declare it with @free.cost" in warning.message) == ("warning", True)
    (check,) = (check for check in checks(free) if check.name == "declares-its-cost")
    with pytest.raises(SkipTest, match="n/a in tables"):
        check()
