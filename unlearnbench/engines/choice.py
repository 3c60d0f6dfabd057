"""Which engine does the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnbench.engines.lanes import Engine
from unlearnbench.engines.local import LOCAL
from unlearnbench.errors import UserError

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def opened(scheduler: str | Path | Client | None) -> Iterator[Engine]:
    """The engine for a scheduler; its connection lasts as long as the block.

    Args:
        scheduler: The address of a Dask scheduler, the path of its file, or a `distributed.Client`; None: this machine.

    Raises:
        UserError: If Dask is not installed, or no scheduler answers.
    """
    if scheduler is None:
        yield LOCAL
        return
    if find_spec("distributed") is None:
        raise UserError("a scheduler needs Dask: pip install 'unlearnbench[dask]'")
    from unlearnbench.engines.cluster import Cluster, connected

    if isinstance(scheduler, str | Path):
        with connected(scheduler) as cluster:
            yield cluster
        return
    cluster = Cluster(scheduler)
    try:
        yield cluster
    finally:
        cluster.dismiss()
