"""Machines without a shared disk exchange artefacts at a URL; what comes from there is checked before it is used."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from unlearnbench import UserError
from unlearnbench.errors import StorageError
from unlearnbench.storage import folders
from unlearnbench.storage.store import Content, Store, name_of

Machine = Callable[[str], Store]
KEY = {"kind": "thing", "recipe": {"lr": 0.1}}


def make() -> Content:
    """An artefact."""
    return {"a": torch.ones(3)}, {"seconds": 1.5}


def never() -> Content:
    """Nothing may be made."""
    raise AssertionError("it is made again")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/upstream"


@pytest.fixture
def machine(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Gives the store of a machine with a folder of its own."""

    def of(name: str) -> Store:
        monkeypatch.setenv("UNLEARNBENCH_CACHE", str(tmp_path / name))
        return Store.of(url)

    return of


def test_one_machine_makes_and_the_other_fetches(machine: Machine, tmp_path: Path) -> None:
    first, second = machine("first"), machine("second")
    assert first.root != second.root
    assert not second.has(KEY)
    made, _ = first.get_or_make(KEY, make)
    assert second.has(KEY)
    fetched, info = second.get_or_make(KEY, never)
    assert fetched["a"].tolist() == made["a"].tolist() == [1, 1, 1]
    assert info == {"seconds": 1.5}
    assert second.path(KEY).read_bytes() == first.path(KEY).read_bytes()
    assert [path.name for path in (tmp_path / "upstream").rglob("*.*")] == [first.path(KEY).name]  # no temporary files


@pytest.mark.parametrize("damage", ["truncated", "of another key"])
def test_what_is_damaged_upstream_is_made_again_and_replaced(damage: str, machine: Machine, tmp_path: Path) -> None:
    first, second = machine("first"), machine("second")
    first.get_or_make(KEY, make)
    upstream = tmp_path / "upstream" / name_of(KEY)
    sound = upstream.read_bytes()
    if damage == "truncated":
        upstream.write_bytes(sound[:-5])
    else:
        first.save({**KEY, "recipe": {}}, *make())
        upstream.write_bytes(first.path({**KEY, "recipe": {}}).read_bytes())
    with pytest.warns(UserWarning, match=r"upstream/thing/\w+.safetensors is not used: "):
        second.get_or_make(KEY, make)
    assert machine("third").get_or_make(KEY, never)[0]["a"].tolist() == [1, 1, 1]
    assert [path.name for path in second.path(KEY).parent.glob("*.safetensors")] == [second.path(KEY).name]


def test_what_is_damaged_here_is_fetched_again(machine: Machine) -> None:
    store = machine("first")
    store.get_or_make(KEY, make)
    store.path(KEY).write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="is damaged and is not used"):
        tensors, _ = store.get_or_make(KEY, never)
    assert tensors["a"].tolist() == [1, 1, 1]


def test_a_planner_asks_once_for_all_artefacts(machine: Machine) -> None:
    first, planner = machine("first"), machine("planner")
    first.get_or_make(KEY, make)
    assert planner.listed().has(KEY)
    assert not planner.listed().has({**KEY, "recipe": {}})
    assert planner.listed() == planner


def test_on_another_machine_a_store_has_the_folder_of_that_machine(
    machine: Machine, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = pickle.dumps(machine("first").listed())
    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(tmp_path / "second"))
    assert pickle.loads(sent) == machine("second")
    assert pickle.loads(pickle.dumps(Store(tmp_path))) == Store(tmp_path)


def test_the_variable_may_be_a_url_too(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARNBENCH_CACHE", url)
    store = Store.of()
    assert store.upstream is not None
    assert store.upstream.url == url
    assert store.root == folders.cache()
    assert "upstream" not in str(store.root)


def test_removing_an_artefact_removes_it_upstream(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    first.get_or_make(KEY, make)
    first.remove(KEY)
    assert not second.has(KEY)
    first.remove(KEY)


def test_a_url_that_cannot_be_written_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"the cache file://.*/file/cache cannot be used \(\w+: .*whether it may be"):
        Store.of(f"file://{tmp_path}/file/cache").listed()


def test_a_url_that_nothing_understands_names_the_extra() -> None:
    with pytest.raises(UserError, match=r"pip install 'unlearnbench\[remote-cache\]'"):
        Store.of("pigeon://post/cache").listed()


def test_a_disk_without_locks_is_warned_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise NotImplementedError("flock is not supported")

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    with pytest.warns(UserWarning, match="is on a disk without locks, so work may be done twice: flock is not"):
        tensors, _ = Store(tmp_path).get_or_make(KEY, make)
    assert tensors["a"].tolist() == [1, 1, 1]


class Strict(MemoryFileSystem):  # type: ignore[misc, unused-ignore]
    """A file system in memory without options, like that of sftp, which hands all that it gets to its connection."""

    protocol = "strict"

    def __init__(self, host: str = "", username: str = "", password: str = "") -> None:
        super().__init__()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("strict://", "memory://")))


def test_file_systems_without_options_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("strict", Strict, clobber=True)
    for name, maker in (("first", make), ("second", never)):
        monkeypatch.setenv("UNLEARNBENCH_CACHE", str(tmp_path / name))
        store = Store.of("strict://things")
        assert store.get_or_make(KEY, maker)[0]["a"].tolist() == [1, 1, 1]


def test_a_password_in_the_url_is_not_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEARNBENCH_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="the cache nothing://host/things cannot be used"):
        Store.of("nothing://me:secret@host/things").has(KEY)
