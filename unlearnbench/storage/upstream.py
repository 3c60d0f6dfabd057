"""A cache that machines without a shared disk share, behind a URL. What comes from there is checked, never trusted."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from unlearnbench.errors import StorageError, UserError

Result = TypeVar("Result")
FILES = {"file", "local", "sftp", "ssh"}
"""Protocols of file systems, where readers see a file while it grows; object stores show whole objects only."""


@dataclass(frozen=True)
class Upstream:
    """The folder of artefacts at a URL.

    Attributes:
        url: Such as s3://bucket/folder; whatever fsspec understands.
        known: The names that were there when `listed` was called; None: ask for each.
    """

    url: str
    known: Collection[str] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """The URL without the name and the password of a user."""
        return re.sub(r"//[^/@]*@", "//", self.url)

    def has(self, name: str) -> bool:
        """Whether there is an artefact of this name, KIND/DIGEST.safetensors; raises as `fetch`."""
        if self.known is not None:
            return name in self.known
        return self._tried(lambda files, root: bool(files.exists(f"{root}/{name}")))

    def listed(self) -> Upstream:
        """The same folder with a list of what is there: to ask for each of many artefacts takes long.

        Raises:
            UserError: If it cannot be read and written.
        """
        probe = f".writable-{uuid4().hex}"

        def names(files: Any, root: str) -> frozenset[str]:
            files.makedirs(root, exist_ok=True)
            files.pipe_file(f"{root}/{probe}", b"")
            files.rm_file(f"{root}/{probe}")
            files.invalidate_cache()
            return frozenset("/".join(str(path).rsplit("/", 2)[1:]) for path in files.glob(f"{root}/*/*.safetensors"))

        return replace(self, known=self._tried(names))

    def fetch(self, name: str, folder: Path) -> Path | None:
        """Downloads an artefact into a new file of a folder; None if there is none.

        Raises:
            StorageError: If the URL cannot be reached, or the folder cannot be written to.
        """

        def get(files: Any, root: str) -> Path | None:
            if not files.exists(f"{root}/{name}"):
                return None
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".fetched-", delete=False) as file:
                target = Path(file.name)
            try:
                files.get_file(f"{root}/{name}", str(target))
            except BaseException:
                target.unlink()
                raise
            return target

        return self._tried(get)

    def push(self, path: Path, name: str) -> None:
        """Uploads an artefact, so that nobody sees a part of it; raises as `fetch`."""

        def put(files: Any, root: str) -> None:
            target, folder = f"{root}/{name}", f"{root}/{name}".rpartition("/")[0]
            files.makedirs(folder, exist_ok=True)
            if not FILES & protocols(files):
                files.put_file(str(path), target)
                return
            temporary = f"{folder}/.{uuid4().hex}"
            files.put_file(str(path), temporary)
            files.mv(temporary, target)

        self._tried(put)

    def remove(self, name: str) -> None:
        """Deletes an artefact, if it is there; raises as `fetch`."""

        def delete(files: Any, root: str) -> None:
            if files.exists(f"{root}/{name}"):
                files.rm_file(f"{root}/{name}")

        self._tried(delete)

    def _tried(self, action: Callable[[Any, str], Result]) -> Result:
        """Does something with the file system and the folder in it.

        Raises:
            UserError: If there is no software for the URL.
            StorageError: If anything else goes wrong; each file system has exceptions of its own.
        """
        try:
            from fsspec.core import url_to_fs

            files, root = url_to_fs(self.url)
            files.invalidate_cache()  # of its listings: others write, too
        except (ImportError, ValueError) as error:
            raise UserError(
                f"the cache {self} cannot be used: {error}. pip install 'unlearnbench[remote-cache]' understands "
                "s3, gs and sftp"
            ) from error
        except Exception as error:
            raise self._error(error) from error
        try:
            return action(files, str(root).rstrip("/"))
        except Exception as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> StorageError:
        """The error for a URL that does not do what it should."""
        return StorageError(
            f"the cache {self} cannot be used ({type(error).__name__}: {error}). Finished work is kept: see "
            "whether it may be read and written from here, and run the same command again"
        )


def protocols(files: Any) -> set[str]:
    """The protocols of a file system."""
    return {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
