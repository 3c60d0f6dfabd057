"""A user's network, training loop, data and forget list take the places of what the suite makes itself."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import plan_in
from sklearn.datasets import load_digits

import unlearnbench
from unlearnbench import UserError
from unlearnbench.artefacts.context import WorkerContext
from unlearnbench.cli.main import main
from unlearnbench.operations.run import Summary
from unlearnbench.planning.plan import Plan
from unlearnbench.plugins import files
from unlearnbench.plugins.model import wrapped
from unlearnbench.plugins.trainer import Trainer
from unlearnbench.reporting.frame import records
from unlearnbench.runtime import seeds
from unlearnbench.storage.store import Store
from unlearnbench.training import loop
from unlearnbench.training.samples import TrainingSet

pytestmark = pytest.mark.usefixtures("in_this_process")
TRAIN, GONE = 400, 30
PRODUCT = """
from pathlib import Path

import torch
from torch import nn


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.top = nn.Linear(64, 16), nn.Linear(16, 10)

    def forward(self, images):
        return self.top(self.hidden(images.flatten(1)).relu())


def fit(network, images, labels, seed):
    with Path(__file__).with_name("calls.txt").open("a") as file:
        print(len(images), len(labels), float(images.max()), seed, file=file)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(3):
        for rows in torch.randperm(len(images)).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
            optimizer.step()


def by_parts(network, images, labels, seed, rate=0.1):
    groups = [{"params": network.hidden.parameters()}, {"params": network.top.parameters(), "lr": rate / 2}]
    optimizer = torch.optim.SGD(groups, lr=rate)
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(images), labels).backward()
    optimizer.step()


def nothing(network, images, labels, seed):
    pass


def wrong(network, images):
    pass
"""
SUITE = """
from product import Small
from unlearnbench import model


@model(title="Small", reference="The product")
def small(shape, num_classes):
    "The network of the product."
    return Small()
"""
PRESET = """
shadows = 2
[select]
seeds = "0"
tasks = ["given"]
methods = ["original", "neggrad", "laf"]
[recipe]
epochs = 0
[datasets.scans]
images = "scans.npz"
model = "suite.py:small"
original = "w-{seed}.pt"
train = "product.py:fit"
[tasks.given]
forget = "gone.txt"
[methods.laf]
epochs = 1
vae_epochs = 1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A product: its code, a network, data, a list of samples; and a preset."""
    digits = load_digits()
    images, labels = (digits.images * 15.9).astype(np.uint8), digits.target.astype(np.int32)
    np.savez(
        tmp_path / "scans.npz",
        x_train=images[:TRAIN],
        y_train=labels[:TRAIN],
        x_test=images[TRAIN : 2 * TRAIN],
        y_test=labels[TRAIN : 2 * TRAIN],
    )
    gone = np.random.default_rng(0).permutation(TRAIN)[:GONE]
    np.savetxt(tmp_path / "gone.txt", gone, fmt="%d")
    for name, text in (("product.py", PRODUCT), ("suite.py", SUITE), ("mine.toml", PRESET)):
        (tmp_path / name).write_text(text)
    for seed in range(2):
        torch.save(small(seed).state_dict(), tmp_path / f"w-{seed}.pt")
    yield tmp_path
    for known in {where for where, _ in files._imported.values()}:
        files.forget(known.parent)


def small(seed: int) -> Any:
    """A network of the product."""
    names: dict[str, Any] = {"__name__": "product"}
    exec(PRODUCT, names)
    torch.manual_seed(seed)
    return names["Small"]()


def edited(folder: Path, *changes: tuple[str, str], name: str = "mine.toml") -> Path:
    path, text = folder / name, (folder / "mine.toml").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


def run(folder: Path, preset: Path | None = None, **more: Any) -> Summary:
    where = {"results": folder / "r", "cache": folder / "c", "jobs": 1}
    return unlearnbench.run(preset or folder / "mine.toml", **{**where, **more})


def planned(folder: Path, preset: Path | None = None, **more: Any) -> Plan:
    return run(folder, preset, dry_run=True, **more).plan


def outputs(folder: Path, method: str, preset: Path | None = None) -> torch.Tensor:
    """The logits of a method on the training images."""
    plan = planned(folder, preset)
    cell = next(cell for cell in plan.cells if cell.method == method)
    return WorkerContext(plan.store).get(cell.outputs)[0]["train"]


def of_product(folder: Path, seed: int) -> torch.Tensor:
    """The logits of a network of the product, computed without the suite."""
    images = torch.from_numpy(np.load(folder / "scans.npz")["x_train"])[:, None] / 255
    return loop.predict(small(seed), (images * 255).round().byte(), lambda pixels: pixels / 255)


def test_methods_are_applied_to_that_very_network_and_compared_with_the_users_own_training(folder: Path) -> None:
    summary = run(folder)
    assert not summary.failed
    assert {cell.info.task for cell in summary.plan.cells} == {"given"}
    assert torch.equal(outputs(folder, "original"), of_product(folder, 0))
    assert not torch.equal(outputs(folder, "neggrad"), of_product(folder, 0))
    calls = [line.split() for line in (folder / "calls.txt").read_text().splitlines()]
    sizes = sorted(int(images) for images, *_ in calls)
    assert sizes == [TRAIN - GONE, TRAIN, TRAIN]  # Retrain, and two shadow models on halves of all images
    assert all(images == labels and 0.9 < float(top) <= 1 for images, labels, top, _ in calls)
    assert len({seed for *_, seed in calls}) == 3
    assert "Retrain" in unlearnbench.table("given", folder / "mine.toml", folder / "r")
    assert not planned(folder).to_run


def test_records_name_the_files_and_keys_do_not(folder: Path) -> None:
    run(folder, methods="neggrad")
    record = next(r for r in records(folder / "r") if r["cell"]["method"] == "neggrad")
    assert record["observed"]["files"] == {
        "suite.small": str(folder / "suite.py"),
        "product.fit": str(folder / "product.py"),
        "given.forget": str(folder / "gone.txt"),
    }
    assert str(folder) not in json.dumps({part: record[part] for part in ("cell", "key", "metrics")})
    assert record["cell"]["task_options"] == {"forget": "gone.txt", "heldout": ""}


def test_a_control_starts_from_a_supplied_retrain(folder: Path) -> None:
    preset = edited(folder, ("train =", 'retrain = "w-1.pt"\ntrain ='), ('"laf"]', '"head-only"]'))
    assert not run(folder, preset).failed
    given, own = outputs(folder, "retrain", preset), outputs(folder, "head-only", preset)
    original = outputs(folder, "original", preset)
    assert (own - given).square().mean() < (original - given).square().mean() / 2


def test_a_supplied_retrain_is_used_and_nobody_knows_what_it_cost(folder: Path) -> None:
    preset = edited(folder, ("train =", 'retrain = "w-1.pt"\ntrain ='))
    run(folder, methods="neggrad")
    assert torch.equal(outputs(folder, "retrain", preset), of_product(folder, 1))
    record = next(r for r in records(folder / "r") if r["cell"]["method"] == "retrain")
    assert "cost" not in record["metrics"]
    assert record["cell"]["access"] == "not enforced"
    shown = unlearnbench.table("given", preset, folder / "r", view="cost")
    assert "Retrain" in shown


def status(folder: Path, preset: Path | None = None) -> dict[str, str]:
    plan = planned(folder, preset, methods="neggrad")
    return {cell.method: f"{plan.status(cell).state} {plan.status(cell).why}".strip() for cell in plan.cells}


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda at: torch.save(small(5).state_dict(), at / "w-0.pt"), "original.given"),
        (lambda at: append(at / "gone.txt", "399\n"), "files.forget"),
        (lambda at: append(at / "product.py", "\nRATE = 0.2\n"), "train.code changed"),
        (lambda at: append(at / "suite.py", "\nSIZE = 2\n"), "model.code changed"),
    ],
    ids=["weights", "list", "training", "network"],
)
def test_what_has_other_content_makes_cells_stale(folder: Path, change: Callable[[Path], Any], stale: str) -> None:
    if stale == "files.forget":
        (folder / "gone.txt").write_text("\n".join(map(str, range(20))) + "\n")
    run(folder, methods="neggrad")
    assert set(status(folder).values()) == {"cached"}
    change(folder)
    assert all(why.startswith("stale") and stale in why for why in status(folder).values())
    if stale != "original.given":  # which a table does not read
        with pytest.raises(UserError, match="all stale because of changes in"):
            unlearnbench.table("given", folder / "mine.toml", folder / "r")
    assert not run(folder, methods="neggrad").failed
    assert set(status(folder).values()) == {"cached"}


def test_images_may_change_between_two_runs_of_one_process(folder: Path) -> None:
    run(folder, methods="original")
    with np.load(folder / "scans.npz") as file:
        arrays = dict(file)
    arrays["x_train"][0, 0, 0] ^= 1
    np.savez(folder / "scans.npz", **arrays)
    assert not run(folder, methods="original").failed


def test_other_names_of_the_same_files_change_nothing(folder: Path) -> None:
    run(folder, methods="neggrad")
    (folder / "lists").mkdir()
    (folder / "gone.txt").rename(folder / "lists" / "gone.txt")
    (folder / "w-0.pt").rename(folder / "seed 0.pt")
    (folder / "scans.npz").rename(folder / "renamed.npz")
    changes = [("gone.txt", "lists/gone.txt"), ("w-{seed}.pt", "seed {seed}.pt"), ("scans.npz", "renamed.npz")]
    assert set(status(folder, edited(folder, *changes)).values()) == {"cached"}


def test_a_list_on_the_command_line_is_another_task(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "few.txt").write_text("1 2 3 4 5 6")
    monkeypatch.chdir(folder / "other")
    summary = run(folder, methods="neggrad", overrides={"given": {"forget": "few.txt"}})
    assert not summary.failed
    assert {cell.info.task for cell in summary.plan.cells} == {"given+forget=few.txt"}
    monkeypatch.chdir(folder)
    words = ["reproduce", "scans", "given+forget=few.txt", "neggrad", "0", "--preset", "mine.toml", "--results", "r"]
    done = CliRunner().invoke(main, words)
    assert "reproduced: all" in done.output, done.output


def test_cells_with_supplied_files_are_reproduced_and_verified(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited(folder, ("train =", 'retrain = "w-1.pt"\ntrain ='))
    run(folder, methods="neggrad")
    monkeypatch.chdir(folder)
    where = ["--preset", "mine.toml", "--results", "r"]
    for method in ("neggrad", "retrain"):
        done = CliRunner().invoke(main, ["reproduce", "scans", "given", method, "0", *where])
        assert "reproduced: all" in done.output, done.output
    assert "no problems" in CliRunner().invoke(main, ["verify", *where, "--cache", "c"]).output


def test_without_any_training_there_are_no_shadow_models_and_no_asr(folder: Path) -> None:
    changes = [('train = "product.py:fit"', 'retrain = "w-1.pt"'), ("shadows = 2", "shadows = 0"), ('"laf"', '"sisa"')]
    preset = edited(folder, *changes)
    summary = run(folder, preset)
    (failed,) = summary.failed
    assert failed.name == "scans given sisa 0"
    assert "the recipe has epochs = 0, so no network can be trained by it" in failed.reason
    text = unlearnbench.table("given", preset, folder / "r")
    assert "There is no ASR, because there are no shadow models" in text
    record = next(r for r in records(folder / "r") if r["cell"]["method"] == "neggrad")
    assert record["metrics"]["clean"]["asr"] is None
    assert record["metrics"]["attacks"]["shadow"] == {"n/a": "there are no shadow models"}
    assert record["metrics"]["released"]["asr"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([('original = "w-{seed}.pt"\ntrain = "product.py:fit"\n', "")], "trains no original: add original = 'FILE'"),
        ([('train = "product.py:fit"\n', "")], r"trains no retrain: add retrain = 'FILE' below \[datasets.scans\]"),
        ([('train = "product.py:fit"', 'retrain = "w-1.pt"')], "trains no shadow models: set shadows = 0"),
        ([("product.py:fit", "product.py:wrong")], r"must be a function \(network, images, labels, seed\)"),
        ([("product.py:fit", "product.py:none")], "unknown function of .*product.py: 'none'"),
        ([("product.py:fit", "fit")], r"train must be FILE.py:FUNCTION"),
        ([("original =", 'retrain = "w-{seed}.pt"\noriginal =')], "w-0.pt and .*w-0.pt are the same weights"),
        ([("w-{seed}.pt", "v-{seed}.pt")], r"there is no file .*v-0.pt, the weights for seed 0"),
        ([("gone.txt", "nowhere.txt")], r"cannot read .*nowhere.txt, forget of a task"),
        ([("epochs = 0", "epochs = 1\nheld_out = 0.2")], "held_out = 0.2 in the recipe leaves out a part"),
        ([("suite.py:small", "cnn")], "w-0.pt does not have the weights of cnn for scans"),
        ([("shadows = 2", "shadows = 3")], "shadows must be 0, 2, 4"),
        ([("images =", "image =")], "unknown key 'datasets.scans.image': did you mean 'datasets.scans.images'"),
        ([('images = "scans.npz"', "size = 3")], "datasets.scans.size needs images"),
    ],
)
def test_mistakes_are_named_before_anything_is_computed(
    folder: Path, changes: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        planned(folder, edited(folder, *changes))


def test_an_original_is_refused_where_a_task_replaces_its_labels(folder: Path) -> None:
    options = ("[tasks.given]", "[tasks.noisy-label-removal]\nfraction = 0.2\n[tasks.given]")
    noisy = edited(folder, options, ('tasks = ["given"]', 'tasks = ["noisy-label-removal"]'))
    with pytest.raises(UserError, match="noisy-label-removal replaces labels, and the supplied original of scans"):
        planned(folder, noisy)
    (folder / "w-0.pt").rename(folder / "noisy-label-removal.pt")
    noisy.write_text(noisy.read_text().replace("w-{seed}.pt", "{task}.pt"))
    assert planned(folder, noisy).to_run


def test_a_function_that_returns_another_network_fails_its_cells(folder: Path) -> None:
    append(folder / "product.py", "\n\ndef other(network, images, labels, seed):\n    return Small()\n")
    summary = run(folder, edited(folder, ("product.py:fit", "product.py:other")), methods="neggrad")
    assert all(
        "product.other returns another network: train the network that it gets" in o.reason for o in summary.failed
    )
    assert {outcome.name for outcome in summary.failed} == {"scans given retrain 0", "scans given neggrad 0"}


def test_a_training_function_gets_the_users_own_module_and_may_have_more_arguments_with_defaults(folder: Path) -> None:
    network, plain = wrapped(small(0), (1, 8, 8)), small(0)
    images, labels = torch.rand(50, 1, 8, 8), torch.arange(50) % 10
    samples = TrainingSet((255 * images).byte(), labels).everything(seeds.generator("order"))
    assert samples is not None
    Trainer.of("product.py:by_parts", folder).fit(network, samples, "stream")
    names: dict[str, Any] = {"__name__": "product"}
    exec(PRODUCT, names)
    names["by_parts"](plain, samples.images, samples.labels, 0)
    assert network.is_split
    for part in (network, copy.deepcopy(network)):
        assert torch.equal(part(images), plain(images))
    assert torch.equal(network.head.weight, plain.top.weight)


def test_a_function_that_trains_nothing_fails_its_cells(folder: Path) -> None:
    preset = edited(folder, ("product.py:fit", "product.py:nothing"), ("shadows = 2", "shadows = 0"))
    (failed,) = run(folder, preset, methods="retrain").failed
    assert "product.nothing has changed no weight of the network that it gets: train it in place" in failed.reason


def test_every_view_of_a_list_is_shown_from_any_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder, methods="neggrad")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    Path("gone.txt").write_text("0")  # another list of the same name
    text = unlearnbench.table("given", folder / "mine.toml", folder / "r", view="distance", cache=folder / "c")
    (line,) = [line for line in text.splitlines() if line.startswith("|") and "NegGrad" in line]
    assert float(line.split("|")[6]) > 0  # JSD on the forget set
    assert "are not in the cache" not in text


def test_the_task_given_is_selected_only_where_a_list_is_given(folder: Path, tiny: Path, store: Store) -> None:
    every = folder / "every.toml"
    every.write_text("\n".join(line for line in tiny.read_text().splitlines() if not line.startswith("tasks")))
    tasks = {cell.info.task for cell in plan_in(store, folder, every).cells}
    assert "data-mismatch" in tasks
    assert "given" not in tasks
    assert {cell.info.task for cell in planned(folder, tasks="class-removal").cells} == {"class-removal"}
    overrides = {"given": {"forget": str(folder / "gone.txt")}}
    assert "given" in {cell.scenario.task for cell in plan_in(store, folder, every, overrides=overrides).cells}


def test_keys_of_other_cells_have_no_part_for_any_of_it(tiny: Path, store: Store, tmp_path: Path) -> None:
    for cell in plan_in(store, tmp_path, tiny).cells:
        assert cell.outputs.key["original"].keys() == {
            *("schema", "dataset", "model", "recipe", "on", "kind", "labels", "seed", "code")
        }
        assert cell.outputs.key["task"].keys() == {"name", "options", "code"}
        assert cell.key["shadows"].keys() == {"count", "like"}


@pytest.mark.filterwarnings("default")
def test_weights_of_torch_save_with_a_prefix_are_scored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(folder, methods="original")
    monkeypatch.chdir(folder)
    torch.save({f"module.{name}": tensor for name, tensor in small(0).state_dict().items()}, "again.pt")
    words = [
        "score",
        "again.pt",
        "-d",
        "scans",
        "-t",
        "given",
        "--preset",
        "mine.toml",
        "--results",
        "r",
        "--cache",
        "c",
    ]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert "again.pt: all names begin with 'module.', which is left out" in done.stderr
    scored = json.loads(done.stdout)
    original = next(r for r in records(folder / "r") if r["cell"]["method"] == "original")
    assert scored["outputs"] == original["outputs"]


def test_workers_know_all_of_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In other processes, with nothing but what the plan sends them."""
    words = ["run", "--preset", "mine.toml", "-m", "neggrad", "--results", "r", "--cache", "c", "-j", "2"]
    command = [sys.executable, "-m", "unlearnbench", *words, "--arithmetic", "native"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 cells run, 0 finished before" in done.stdout
