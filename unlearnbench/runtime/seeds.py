"""Random numbers from named streams, so that no result depends on the order of work or on the machine."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from unlearnbench.runtime import global_state


def derive(*axes: str | int) -> int:
    """The seed of these axes, in [0, 2**63), e.g. `derive("mnist", "data-removal", 0, "retrain")`."""
    digest = hashlib.sha256(json.dumps(axes).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*axes: str | int) -> torch.Generator:
    """A CPU generator seeded with `derive(*axes)`."""
    return torch.Generator().manual_seed(derive(*axes))


@contextmanager
def pinned(*axes: str | int) -> Iterator[None]:
    """Seeds the global generators of Python, NumPy and torch (all devices) for a block of plugin code.

    Restores them, and all `global_state.SETTINGS`, afterwards.
    """
    seed = derive(*axes)
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count())), global_state.preserved():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes a millisecond to record its caller
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(seed)
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)
