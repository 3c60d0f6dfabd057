"""The paper's data sets, with small files in their formats: decoded, checked, and fetched."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from broken import noise
from click.testing import CliRunner
from sklearn.datasets import load_digits

import unlearnbench
from unlearnbench import UserError
from unlearnbench.artefacts.datasets import Datasets
from unlearnbench.artefacts.scenario import split_of
from unlearnbench.cli.main import main
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset, Source
from unlearnbench.runtime.vision import torchvision
from unlearnbench.storage.records import read_record
from unlearnbench.storage.store import Store

RNG = np.random.default_rng(0)
LABELS = {"train": RNG.permutation(np.arange(65) % 10), "test": RNG.permutation(np.arange(40) % 10)}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def idx(folder: Path, name: str, values: np.ndarray) -> None:
    """Writes MNIST's format: a magic number, the shape, and the bytes."""
    head = np.array([0x0800 + values.ndim, *values.shape], dtype=">i4").tobytes()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}-idx{values.ndim}-ubyte").write_bytes(head + values.astype(np.uint8).tobytes())


def small_mnist(root: Path, name: str) -> dict[str, np.ndarray]:
    images = {part: RNG.integers(0, 256, (len(labels), 28, 28)) for part, labels in LABELS.items()}
    for part, prefix in (("train", "train"), ("test", "t10k")):
        idx(root / name / "raw", f"{prefix}-images", images[part])
        idx(root / name / "raw", f"{prefix}-labels", LABELS[part])
    return {part: values[:, None] for part, values in images.items()}


def small_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    images = {part: RNG.integers(0, 256, (len(labels), 3, 32, 32)) for part, labels in LABELS.items()}

    def write(name: str, pixels: np.ndarray, labels: np.ndarray) -> list[str]:
        content = {"data": pixels.reshape(len(pixels), -1).astype(np.uint8), "labels": labels.tolist()}
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, md5(folder / name)]

    parts = np.split(np.arange(65), 5)
    lists = [write(f"data_batch_{i + 1}", images["train"][p], LABELS["train"][p]) for i, p in enumerate(parts)]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    cifar = torchvision("datasets").CIFAR10
    monkeypatch.setattr(cifar, "train_list", lists)
    monkeypatch.setattr(cifar, "test_list", [write("test_batch", images["test"], LABELS["test"])])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": md5(folder / "batches.meta")})
    return images


def small_svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    root.mkdir(parents=True)
    images = {part: RNG.integers(0, 256, (len(labels), 3, 32, 32)) for part, labels in LABELS.items()}
    split_list = {}
    for part, pixels in images.items():
        path = root / f"{part}_32x32.mat"
        labels = np.where(LABELS[part] == 0, 10, LABELS[part])[:, None]  # the format says 10 for the digit 0
        scipy.io.savemat(path, {"X": pixels.transpose(2, 3, 1, 0).astype(np.uint8), "y": labels.astype(np.uint8)})
        split_list[part] = ["", path.name, md5(path)]
    monkeypatch.setattr(torchvision("datasets").SVHN, "split_list", split_list)
    return images


@pytest.fixture(params=["mnist", "fashion-mnist", "cifar10", "svhn"])
def small(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Path, dict[str, np.ndarray]]:
    """A data set with 65 + 40 random images in its own format: its name, its folder, and its images by part."""
    name, root = request.param, tmp_path / "files"
    if name == "cifar10":
        images = small_cifar10(root, monkeypatch)
    elif name == "svhn":
        images = small_svhn(root, monkeypatch)
    else:
        images = small_mnist(root, {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name])
    source = registry.get(Source, name)
    monkeypatch.setattr(source, "files", {file: md5(root / file) for file in source.files})
    return name, root, images


Small = tuple[str, Path, dict[str, np.ndarray]]


def test_images_and_labels_are_those_in_the_files(small: Small, tmp_path: Path) -> None:
    name, root, images = small
    data, _ = Datasets(Store(tmp_path / "cache")).load(name, root)
    assert data.num_classes == 10
    for part, pixels, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        assert pixels.dtype == torch.uint8
        assert np.array_equal(pixels.numpy(), images[part])
        assert labels.dtype == torch.int64
        assert labels.tolist() == LABELS[part].tolist()


NORMALISING = '''
from torch import nn
from unlearnbench import Network, model

@model(title="Normalising")
def normalising(shape, num_classes):
    """A small network with batch normalisation."""
    layers = nn.Conv2d(shape[0], 8, 5, stride=3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
    return Network(nn.Sequential(*layers), nn.Linear(32, num_classes), "head")
'''
COLOUR = """
shadows = 2
select.seeds = "0"
recipe = {{ epochs = 1, resize = 36, augment = ["random-resized-crop", "flip"] }}
datasets.{name}.model = "{model}"
methods.laf = {{ epochs = 1, vae_epochs = 1 }}
methods.boundary.epochs = 1
methods.boundary-expand.epochs = 1
methods.neggrad.epochs = 1
methods.sisa.shards = 2
methods.neggrad-plus.epochs = 1
methods.scrub = {{ epochs = 1, max_epochs = 1 }}
"""


@pytest.mark.usefixtures("in_this_process")  # where the small files have the right checksums
def test_every_method_runs_on_augmented_colour_images(
    small: Small, install: Callable[..., Path], tmp_path: Path
) -> None:
    """All methods run on a small network with CIFAR-10, and few on a large one with SVHN."""
    name, root, _ = small
    if name in ("mnist", "fashion-mnist"):
        pytest.skip("they have no colour")
    install("normalising", NORMALISING, "[unlearnbench.models]\nnormalising = normalising:normalising\n")
    model, methods = {"cifar10": ("normalising", []), "svhn": ("resnet18", ["original", "laf"])}[name]
    preset = tmp_path / "colour.toml"
    preset.write_text(COLOUR.format(name=name, model=model))
    places: dict[str, Any] = {"results": tmp_path / "r", "cache": tmp_path / "c", "data": root}
    summary = unlearnbench.run(str(preset), tasks=["data-removal"], methods=methods, jobs=1, **places)
    assert [outcome.reason for outcome in summary.failed] == []
    cell = next(cell for cell in summary.plan.cells if cell.method == "original")
    outputs, _ = summary.plan.store.load(cell.outputs.key) or ({}, {})
    assert {part: len(logits) for part, logits in outputs.items()} == {"train": 65, "train_augmented": 65, "test": 40}
    assert not torch.equal(outputs["train"], outputs["train_augmented"])
    record = read_record(cell.path)
    assert record is not None
    forgotten = split_of(cell.scenario, summary.plan.workspace.datasets).forget
    for protocol, part in (("clean", "train"), ("released", "train_augmented")):
        hits = outputs[part].argmax(1) == torch.tensor(LABELS["train"])
        assert record["metrics"][protocol]["train_f"] == pytest.approx(hits[forgotten].double().mean().item())


def test_a_damaged_file_is_named_and_not_used(small: Small, tmp_path: Path) -> None:
    name, root, _ = small
    file = root / next(iter(registry.get(Source, name).files))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=f"{file.name} is damaged .*delete it and run `unlearnbench data fetch {name}"):
        Datasets(Store(tmp_path / "cache")).load(name, root)


def test_a_missing_data_set_gets_the_path_and_the_command(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"mnist is not in {tmp_path} .*: run `unlearnbench data fetch mnist --data"):
        Datasets(Store(tmp_path / "cache")).load("mnist", tmp_path)


def test_list_has_the_folder_the_size_and_the_state(small: Small) -> None:
    name, root, _ = small
    listed = CliRunner().invoke(main, ["data", "list", "--data", str(root), "--json"])
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows[name]["state"] == "ok, checksums are correct"
    assert rows[name]["where"] == str(root)
    assert rows[name]["megabytes"] >= 0
    file = root / next(iter(registry.get(Source, name).files))
    file.unlink()
    listed = CliRunner().invoke(main, ["data", "list", "--data", str(root)])
    assert f"{file.relative_to(root)}=missing" in listed.stdout
    assert "incomplete" in listed.stdout


def test_fetch_downloads_what_is_missing_and_nothing_else(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    name, root, _ = small
    source = registry.get(Source, name)
    file = root / next(iter(source.files))
    content = file.read_bytes()
    folders = []

    def download(folder: Path) -> None:
        folders.append(folder)
        present = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
        assert present == {Path(other) for other in source.files} - {file.relative_to(root)}
        (folder / file.relative_to(root)).write_bytes(content)

    monkeypatch.setattr(source, "fetch", download)
    words = ["data", "fetch", name, "--data", str(root)]
    assert "is already in" in CliRunner().invoke(main, words).stdout
    assert folders == []
    file.unlink()
    assert f"{name} is now in {root}" in CliRunner().invoke(main, words).stdout
    assert [folder.parent for folder in folders] == [root]
    assert file.read_bytes() == content
    assert not folders[0].exists()


def test_a_download_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_: Path) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(registry.get(Source, "mnist"), "fetch", unreachable)
    done = CliRunner().invoke(main, ["data", "fetch", "mnist", "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert "It could not be downloaded: OSError: Name or service not known" in done.stderr


def test_only_files_with_a_known_checksum_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision prefers an old format beside the right files, of which nobody knows the checksum."""
    images = small_mnist(tmp_path, "MNIST")
    source = registry.get(Source, "mnist")
    monkeypatch.setattr(source, "files", {file: md5(tmp_path / file) for file in source.files})
    old = tmp_path / "MNIST" / "processed"
    old.mkdir()
    black = torch.zeros(300, 28, 28, dtype=torch.uint8), torch.zeros(300, dtype=torch.int64)
    for name in ("training.pt", "test.pt"):
        torch.save(black, old / name)
    assert len(torchvision("datasets").MNIST(tmp_path, train=True)) == 300  # so the danger is real
    dataset, _ = Datasets(Store(tmp_path / "cache")).load("mnist", tmp_path)
    assert np.array_equal(dataset.train_images.numpy(), images["train"])
    assert np.array_equal(dataset.test_images.numpy(), images["test"])


def test_a_dataset_that_reads_a_file_without_checksum_says_which(tmp_path: Path) -> None:
    for name in ("known", "unknown"):
        (tmp_path / name).write_text(name)

    def reads_both(root: Path) -> Dataset:
        raise AssertionError((root / "known").read_text() + (root / "unknown").read_text())

    source = Source(reads_both, title="Mine", files={"known": md5(tmp_path / "known")})
    with pytest.raises(UserError, match="dataset mine reads unknown, whose MD5 is not among its files=: add it"):
        source.read("mine", tmp_path)


IMAGES = "MNIST/raw/train-images-idx3-ubyte"
SPOILED: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:100]), "has 100 bytes, whose MD5 is "),
    "empty": (lambda file: file.write_bytes(b""), "is empty"),
    "absent": (lambda file: file.unlink(), "is missing"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "cannot be read: Is a directory"),
}


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Source]:
    """A small MNIST whose checksums are known, and the source that has them."""
    small_mnist(tmp_path, "MNIST")
    source = registry.get(Source, "mnist")
    monkeypatch.setattr(source, "files", {file: md5(tmp_path / file) for file in source.files})
    return tmp_path, source


def fetch(root: Path, name: str = "mnist") -> Any:
    return CliRunner().invoke(main, ["data", "fetch", name, "--data", str(root)])


@pytest.mark.parametrize("kind", SPOILED)
def test_a_fetch_that_fails_says_what_is_wrong_with_which_file_and_changes_nothing(
    kind: str, mnist: tuple[Path, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, source = mnist
    spoil, message = SPOILED[kind]
    spoil(root / IMAGES)
    before = sorted(root.rglob("*"))

    def unreachable(folder: Path) -> None:
        raise OSError("Name or service not known\nand more")

    monkeypatch.setattr(source, "fetch", unreachable)
    done = fetch(root)
    assert done.exit_code == 2
    text = " ".join(done.stderr.split())
    assert re.search(f"mnist is not in [^ ]+: {IMAGES} {re.escape(message)}", text)
    assert text.endswith("It could not be downloaded: OSError: Name or service not known and more")
    assert "data fetch" not in text
    assert "train-labels" not in text, "the others are right"
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("kind", ["cut", "empty", "absent"])
def test_a_fetch_replaces_what_is_cut_or_empty(
    kind: str, mnist: tuple[Path, Source], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, source = mnist
    content = (root / IMAGES).read_bytes()
    SPOILED[kind][0](root / IMAGES)
    monkeypatch.setattr(source, "fetch", lambda folder: (folder / IMAGES).write_bytes(content))
    done = fetch(root)
    assert (done.exit_code, (root / IMAGES).read_bytes() == content) == (0, True)
    assert not list(root.glob(".fetch-*"))


def test_what_is_downloaded_is_checked_before_it_takes_its_place(
    mnist: tuple[Path, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, source = mnist
    (root / IMAGES).write_bytes(b"cut")
    monkeypatch.setattr(source, "fetch", lambda folder: (folder / IMAGES).write_bytes(b"of a proxy"))
    done = fetch(root)
    assert done.exit_code == 2
    assert f"{IMAGES} has 10 bytes, whose MD5 is " in " ".join(done.stderr.split())
    assert (root / IMAGES).read_bytes() == b"cut"


def test_a_fetch_unpacks_archives_that_are_there_and_ignores_files_that_torchvision_would_prefer(
    mnist: tuple[Path, Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = mnist
    raw = root / "MNIST" / "raw"
    content = {file.name: file.read_bytes() for file in raw.iterdir()}
    for file in list(raw.iterdir()):
        (raw / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    mnist_of_torchvision = torchvision("datasets").MNIST
    resources = [(name, md5(raw / name)) for name, _ in mnist_of_torchvision.resources]
    monkeypatch.setattr(mnist_of_torchvision, "resources", resources)
    old = root / "MNIST" / "processed"
    old.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(3, 28, 28, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)), old / name)
    done = fetch(root)
    assert done.exit_code == 0, done.stderr
    assert {name: (raw / name).read_bytes() for name in content} == content


def test_a_dataset_that_declares_no_files_gets_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "unknown").write_text("unknown")

    def reads(root: Path) -> Dataset:
        raise AssertionError(f"{list(root.iterdir())}" + (root / "unknown").read_text())

    with pytest.raises(UserError, match="dataset mine reads unknown, whose MD5 is not among its files=: add it"):
        Source(reads, title="Mine", files={}).read("mine", tmp_path)


@pytest.mark.parametrize("way", ["absolute", "relative", "beside the target of a link", "numpy", "caught"])
def test_a_file_elsewhere_is_not_read_either(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "known").write_text("known")
    other = tmp_path / "other.npy"
    np.save(other, np.zeros(3))
    monkeypatch.chdir(tmp_path)

    def reads(root: Path) -> Dataset:
        if way == "caught":
            with suppress(Exception):
                other.read_bytes()
        elif way == "numpy":
            np.load(other)
        else:
            places = {"absolute": other, "relative": Path("other.npy")}
            places.get(way, (root / "known").resolve().with_name("other.npy")).read_bytes()
        return noise()

    files = {"known": md5(tmp_path / "known")}
    with pytest.raises(UserError, match="dataset mine reads .*other.npy, which is not in the folder that it gets"):
        Source(reads, title="Mine", files=files).read("mine", tmp_path)
    assert Source(reads, title="Mine").read("mine", tmp_path).num_classes == 4  # nothing of it is kept


def test_a_dataset_may_unpack_its_files_and_follow_links_and_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "known").write_text("known")
    (tmp_path / "zone").write_text("UTC")
    module = f"from pathlib import Path\nZONE = Path({str(tmp_path / 'zone')!r}).read_text()\n"
    (tmp_path / "reads_when_imported.py").write_text(module)
    monkeypatch.syspath_prepend(tmp_path)

    def unpacks(root: Path) -> Dataset:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "unpacked").write_bytes((root / "known").resolve().read_bytes())
            assert (Path(folder) / "unpacked").read_text() == "known"
        load_digits()  # data of an installed package
        import_module("reads_when_imported")
        return noise()

    files = {"known": md5(tmp_path / "known")}
    assert Source(unpacks, title="Mine", files=files).read("mine", tmp_path).num_classes == 4


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b"])
def test_a_file_outside_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    source = Source(lambda root: pytest.fail("read"), title="Mine", files={name: "0" * 32})
    with pytest.raises(UserError, match="relative to the folder of datasets"):
        source.read("mine", tmp_path / "data")


def test_a_damaged_dataset_that_cannot_be_fetched_gets_no_advice_to_fetch_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("other")
    messages = {"a": "is damaged .it has 5 bytes.*: replace it$", "b": "is missing.: put its files there"}
    for file, message in messages.items():
        source = Source(lambda root: pytest.fail("read"), title="Mine", files={file: "0" * 32})
        with pytest.raises(UserError, match=message):
            source.read("mine", tmp_path)


def test_a_dataset_with_wrong_names_of_files_is_listed_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.get(Source, "cifar10"), "files", {"../outside": "0" * 32})
    listed = CliRunner().invoke(main, ["data", "list", "--data", str(tmp_path), "--json"])
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows["cifar10"]["state"] == "unusable: name file ../outside relative to the folder of datasets"
    assert rows["mnist"]["state"] == "missing"
    plain = CliRunner().invoke(main, ["data", "list", "--data", str(tmp_path)])
    assert (plain.exit_code, "../outside" in plain.stdout) == (0, True)
