"""Which engine does the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakSet

from unlearnbench.engines.lanes import Engine
from unlearnbench.engines.local import LOCAL
from unlearnbench.errors import UserError

if TYPE_CHECKING:
    from distributed import Client

_known: WeakSet[Client] = WeakSet()
"""The clients of this session whose workers keep processes from run to run, as local workers do."""


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
    if scheduler not in _known:  # its workers may have processes that started before something was installed or edited
        cluster.dismiss()
        _known.add(scheduler)
    yield cluster
