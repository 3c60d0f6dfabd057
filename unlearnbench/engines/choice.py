"""Which engine does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


def silent(_: str) -> None:
    """Says nothing."""


@contextmanager
def opened(
    scheduler: str | Path | Client | None, jobs: int | None = None, say: Callable[[str], object] = silent
) -> Iterator[Engine]:
    """The engine for a scheduler; its connection lasts as long as the block.

    Args:
        scheduler: The address of a Dask scheduler, the path of its file, or a `distributed.Client`; None: this machine.
        jobs: The number of workers that the user asked for; None with a scheduler, which has its own.
        say: Receives lines of text about the scheduler's workers, e.g. that there are none yet.

    Raises:
        UserError: If Dask is not installed, no scheduler answers, or it shall have a number of workers.
    """
    if scheduler is None:
        yield LOCAL
        return
    if jobs is not None:
        raise UserError(
            "-j counts processes of this machine: leave it out with --scheduler, which uses all workers that the "
            "scheduler has"
        )
    if find_spec("distributed") is None:
        raise UserError("a scheduler needs Dask: pip install 'unlearnbench[dask]'")
    from unlearnbench.engines.cluster import Cluster, connected

    if isinstance(scheduler, str | Path):
        with connected(scheduler, say) as cluster:
            yield cluster
        return
    cluster = Cluster(scheduler, say=say)
    if scheduler not in _known:  # its workers may have processes that started before something was installed or edited
        cluster.dismiss()
        _known.add(scheduler)
    yield cluster
