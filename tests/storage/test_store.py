"""Artefacts are whole or absent, belong to one key, and are made once; records of newer versions are refused."""

from __future__ import annotations

import json
import os
import random
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from unlearnbench import UserError
from unlearnbench.errors import StorageError
from unlearnbench.storage.files import write_atomically
from unlearnbench.storage.keys import differences, digest
from unlearnbench.storage.records import read_record, write_record
from unlearnbench.storage.store import Content, Store, read_checked

KEY = {"kind": "thing", "recipe": {"lr": 0.1, "epochs": 3}}


def test_a_saved_artefact_is_loaded_unchanged(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tensors = {"a": torch.arange(6).reshape(2, 3), "b": torch.tensor([True, False])}
    store.save(KEY, tensors, {"seconds": 1.5})
    loaded, info = store.load(KEY) or ({}, {})
    assert {name: tensor.tolist() for name, tensor in loaded.items()} == {n: t.tolist() for n, t in tensors.items()}
    assert info == {"seconds": 1.5}


def test_equal_keys_have_the_same_digest_and_changed_keys_another() -> None:
    assert digest(KEY) == digest({"recipe": {"epochs": 3, "lr": 0.1}, "kind": "thing"})
    assert digest(KEY) != digest({"kind": "thing", "recipe": {"lr": 0.1, "epochs": 4}})
    with pytest.raises(ValueError, match="JSON compliant"):
        digest({"kind": "thing", "lr": float("nan")})


def test_an_artefact_of_another_key_is_not_used(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(KEY, {"a": torch.zeros(1)}, {})
    other = {**KEY, "recipe": {}}
    store.path(KEY).rename(store.path(other))
    with pytest.warns(UserWarning, match="is not used: its key is another one than its name says"):
        assert store.load(other) is None


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.json"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StorageError, match=r"cannot write .*record.json: No space left on device. Finished work is kept"
    ):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["record.json"]  # noqa: PTH208


def slow_make(root: Path) -> int:
    """Makes an artefact, and counts in a file how often it is made."""

    def make() -> Content:
        with (root / "calls").open("a") as file:
            file.write("x")
        import time

        time.sleep(0.5)
        return {"a": torch.ones(2)}, {}

    return len(Store(root).get_or_make(KEY, make)[0]["a"])


def test_only_one_of_several_processes_makes_an_artefact(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(pool.map(slow_make, [tmp_path] * 2)) == [2, 2]
    assert (tmp_path / "calls").read_text() == "x"


def test_the_process_that_makes_an_artefact_gets_the_same_tensors_as_its_readers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with torch.inference_mode():
        weights = torch.arange(6.0).view(2, 3).T  # neither contiguous nor usable for gradients
    first = store.get_or_make(KEY, lambda: ({"weights": weights}, {"steps": (1, 2)}))
    second = store.get_or_make(KEY, lambda: pytest.fail("the artefact exists"))
    for tensors, info in (first, second):
        assert torch.equal(tensors["weights"], weights)
        assert (tensors["weights"].is_contiguous(), tensors["weights"].is_inference()) == (True, False)
        assert info == {"steps": [1, 2]}
    first[0]["weights"].zero_()
    assert weights.sum() == 15


def test_differences_name_the_changed_fields() -> None:
    new = {"kind": "thing", "recipe": {"lr": 0.1, "epochs": 4}, "method": {"code": "b"}}
    assert differences({**KEY, "method": {"code": "a"}}, new) == ["method.code changed", "recipe.epochs: 3 -> 4"]
    assert differences({"a": [1, 2]}, {"a": (1, 2)}) == []


def test_records_of_newer_versions_are_refused_and_damaged_ones_ignored(tmp_path: Path) -> None:
    path = tmp_path / "0.json"
    whole = {"schema": 1, "status": "ok", "key": {}, "cell": {}, "observed": {}}
    write_record(path, whole)
    record = read_record(path)
    assert record is not None
    assert record["observed"].pop("sha256")
    assert record == whole
    for broken in ({"schema": "1"}, {"schema": None}, {**whole, "key": None}, [1], {"schema": 1}):
        path.write_text(json.dumps(broken))
        with pytest.warns(UserWarning, match="is damaged and is not used"):
            assert read_record(path) is None
    path.write_text(json.dumps({"schema": 99}))
    with pytest.raises(UserError, match="newer unlearnbench"):
        read_record(path)
    path.write_text('{"schema": 1, "stat')
    with pytest.warns(UserWarning, match="is damaged and is not used"):
        assert read_record(path) is None
    assert read_record(tmp_path / "none.json") is None


def offsets(size: int, count: int) -> list[int]:
    """Offsets in a file, its first and last bytes among them."""
    rng = random.Random(0)
    return sorted({0, 1, 7, 8, size // 2, size - 2, size - 1, *(rng.randrange(size) for _ in range(count))})


@pytest.mark.filterwarnings("ignore:the artefact")
def test_a_flipped_bit_or_a_missing_end_of_an_artefact_is_detected(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tensors = {"logits": torch.randn(40, 10), "member": torch.arange(40) % 2 == 0, "empty": torch.zeros(0, 3)}
    store.save(KEY, tensors, {"seconds": 1.5})
    path = store.path(KEY)
    whole = path.read_bytes()
    for offset in offsets(len(whole), 200):
        for damaged in (whole[:offset] + bytes([whole[offset] ^ 16]) + whole[offset + 1 :], whole[:offset]):
            path.write_bytes(damaged)
            assert store.load(KEY) is None, offset
    calls: list[int] = []

    def make() -> Content:
        calls.append(1)
        return tensors, {"seconds": 1.5}

    path.write_bytes(whole[:-1])
    assert torch.equal(store.get_or_make(KEY, make)[0]["logits"], tensors["logits"])
    assert calls == [1]
    assert store.load(KEY) is not None
    assert [path.read_bytes() for path in (tmp_path / "damaged").iterdir()] == [whole[:-1]]  # set aside


KINDS = ("dataset", "network", "original", "outputs", "prepared", "shadow")


@pytest.mark.filterwarnings("ignore:the artefact")
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_detected_in_every_kind_of_artefact_that_a_run_makes(
    kind: str, tiny_made: Path, tmp_path: Path
) -> None:
    cache = tiny_made / "cache"
    assert set(KINDS) == {path.parent.name for path in cache.glob("*/*.safetensors")}
    original = next((cache / kind).glob("*.safetensors"))
    key = read_checked(original)[1]["key"]
    store, whole = Store(tmp_path), bytearray(original.read_bytes())
    path = store.path(key)
    path.parent.mkdir()
    path.write_bytes(whole)
    assert store.load(key) is not None
    for offset in offsets(len(whole), 40):
        whole[offset] ^= 1
        path.write_bytes(whole)
        assert store.load(key) is None, offset
        whole[offset] ^= 1
        path.write_bytes(whole[:offset])
        assert store.load(key) is None, offset


@pytest.mark.filterwarnings("ignore:the record")
def test_damage_is_detected_in_a_record_of_a_run(tiny_run: Path, tmp_path: Path) -> None:
    whole = bytearray(next(tiny_run.rglob("records/**/*.json")).read_bytes())
    path = tmp_path / "0.json"
    for offset in offsets(len(whole), 300):
        whole[offset] ^= 1
        path.write_bytes(whole)
        assert read_record(path) is None, offset
        whole[offset] ^= 1
        path.write_bytes(whole[:offset])
        assert read_record(path) is None, offset


@pytest.mark.filterwarnings("ignore:the record")
def test_a_flipped_bit_or_a_missing_end_of_a_record_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "0.json"
    whole = {"schema": 2, "status": "ok", "key": {"lr": 0.1}, "cell": {"seed": 3}, "observed": {"seconds": 1.25}}
    write_record(path, {**whole, "metrics": {"clean": {"test": 0.9731}}})
    text = path.read_bytes()
    for offset in range(len(text)):
        for damaged in (text[:offset] + bytes([text[offset] ^ 1]) + text[offset + 1 :], text[:offset]):
            path.write_bytes(damaged)
            assert read_record(path) is None, offset
    path.write_bytes(text[:40])
    write_record(path, whole)
    assert read_record(path) is not None
    assert path.with_suffix(".damaged").exists()


def test_a_link_stays_a_link_and_what_is_no_file_is_written_into(tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        content = reader.submit(pipe.read_bytes)
        write_atomically(pipe, b"through")
        assert content.result(10) == b"through"
    assert pipe.is_fifo()


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "afile").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*x.svg: .*afile is no folder"):
        write_atomically(tmp_path / "afile" / "x.svg", b"")
