"""Data sets as artefacts: decoded once, checked, kept in the cache and mapped from there by every process."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from unlearnbench.artefacts.splits import digests_of, held_out_of, split_by
from unlearnbench.artefacts.tuning_split import TuningSplit
from unlearnbench.errors import UserError
from unlearnbench.plugins import registry
from unlearnbench.plugins.dataset import Dataset, Source, check_dataset
from unlearnbench.plugins.fingerprint import fingerprint
from unlearnbench.plugins.task import Split, Task
from unlearnbench.plugins.taxonomy import Taxonomy
from unlearnbench.runtime import seeds
from unlearnbench.runtime.frames import at_line
from unlearnbench.storage.store import Content, Store

Options = tuple[tuple[str, object], ...]
"""The options of a plugin, as something that can be hashed."""


class Datasets:
    """The data sets and splits that one process keeps in memory.

    Args:
        store: Where decoded tensors are kept.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._whole = lru_cache(maxsize=4)(self._read)
        self._parts = lru_cache(maxsize=4)(self._divide)
        self._splits = lru_cache(maxsize=64)(self._split)

    def __reduce__(self) -> tuple[type[Datasets], tuple[Store]]:
        """What other processes get: an empty one, because what was read is read again there."""
        return Datasets, (self.store,)

    def load(self, name: str, root: Path) -> tuple[Dataset, str]:
        """Reads a data set, mapped from the cache after the first time if its files are known.

        Args:
            name: Its name on the command line, or that of a tuning split.
            root: The folder with its files.

        Returns:
            The data set and the SHA-256 of its content.

        Raises:
            UserError: If the name is unknown, or files are missing or damaged.
        """
        return self._whole(name, root)

    def divided(self, name: str, root: Path, share: float) -> tuple[Dataset, Dataset]:
        """Divides a data set into what networks are trained on and what is held out; raises as `load`.

        Args:
            name: As in `load`.
            root: As in `load`.
            share: The share of the training images that is held out, in [0, 1).

        Returns:
            The data set without the held-out images, and one that has them in place of the test set.
        """
        _, sha = self.load(name, root)  # part of the key: files may have changed
        return self._parts(name, root, share, sha)

    def split(self, name: str, root: Path, share: float, task_name: str, options: Options, seed: int) -> Split:
        """The split that a task draws of a data set; a copy, because plugins may change it.

        Args:
            name: As in `divided`, likewise the next two.
            root: The folder with its files.
            share: The share that is held out.
            task_name: Name of the task.
            options: Its options, resolved.
            seed: The seed.
        """
        task = registry.get(Task, task_name)
        _, sha = self.load(name, root)
        content = (sha, *digests_of(task, dict(options)).values())  # part of the key: files may have changed
        return self._splits(name, root, share, task, task_name, options, seed, content).copy()

    def clear(self) -> None:
        """Drops everything from memory, so that files are read again."""
        for cached in (self._whole, self._parts, self._splits):
            cached.cache_clear()

    def _read(self, name: str, root: Path) -> tuple[Dataset, str]:
        if tuning := TuningSplit.parsed(name):
            divided = tuning.of(self.load(tuning.dataset, root)[0])
            return divided, checksum(divided)
        source = registry.get(Source, name)
        if not source.kept:
            dataset = decoded(source, name, root)
            return dataset, checksum(dataset)
        key = {"kind": "dataset", "name": name, **source.content, "code": fingerprint(__name__, source.__module__)}

        def decode() -> Content:
            dataset = decoded(source, name, root)
            pool, train = dataset.pool, len(dataset.train_labels)
            facts = {"train": train, "num_classes": dataset.num_classes, "checksum": checksum(dataset)}
            facts["taxonomies"] = [(name, taxonomy.as_json()) for name, taxonomy in dataset.taxonomies.items()]
            return {"images": pool.train_images, "labels": pool.train_labels}, facts

        if not self.store.has(key):
            self.store.get_or_make(key, decode)
        tensors, info = self.store.get_or_make(key, decode)  # mapped from its file, so that processes share the memory
        taxonomies = {name: Taxonomy.from_json(values) for name, values in info["taxonomies"]}
        whole = Dataset.of_pool(**tensors, train=info["train"], num_classes=info["num_classes"], taxonomies=taxonomies)
        return whole, info["checksum"]

    def _divide(self, name: str, root: Path, share: float, sha: str) -> tuple[Dataset, Dataset]:
        del sha  # only part of the key
        whole, _ = self.load(name, root)
        held_out = held_out_of(name, whole, share)
        images, labels = whole.train_images[held_out], whole.train_labels[held_out]
        if share:
            kept = whole.train_images[~held_out], whole.train_labels[~held_out]
            whole = replace(whole, train_images=kept[0], train_labels=kept[1], _pool=None)
        return whole, replace(whole, test_images=images, test_labels=labels, _pool=None)

    def _split(
        self,
        name: str,
        root: Path,
        share: float,
        task: Task,
        task_name: str,
        options: Options,
        seed: int,
        digests: tuple[str, ...],
    ) -> Split:
        del digests  # only part of the key
        content, _ = self.divided(name, root, share)
        return split_by(task, task_name, dict(options), name, content, seed, "split")


def decoded(source: Source, name: str, root: Path) -> Dataset:
    """Reads the files of a dataset and checks the result; raises as `Datasets.load`."""
    source.check_options(name)
    with seeds.pinned("dataset", name):  # so that one that draws random numbers is the same in every process
        try:
            dataset = source.read(name, root)
        except (UserError, MemoryError):
            raise
        except Exception as error:  # whatever a plugin raises
            hint = ": name the folder that has its files with --data" if isinstance(error, FileNotFoundError) else ""
            what = f"{type(error).__name__}: {error}{at_line(error, source.home)}{hint}"
            raise UserError(f"dataset {name} cannot be read: {what}") from error
    check_dataset(name, dataset)
    return dataset


def checksum(data: Dataset) -> str:
    """The SHA-256 of all pixels, labels, shapes and the number of classes, in hexadecimal."""
    digest = hashlib.sha256(str(data.num_classes).encode())
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        tensor = getattr(data, name)
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
