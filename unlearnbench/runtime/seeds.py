"""Random numbers from named streams, so that no cell depends on the order or the place in which it ran."""

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
    """A seed in [0, 2**63) that belongs to these axes alone, e.g. `derive("mnist", "data-removal", 0, "retrain")`."""
    digest = hashlib.sha256(json.dumps(axes).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*axes: str | int) -> torch.Generator:
    """A CPU generator seeded with `derive(*axes)`."""
    return torch.Generator().manual_seed(derive(*axes))


@contextmanager
def pinned(*axes: str | int) -> Iterator[None]:
    """Seeds the global generators of Python, NumPy and torch (all devices), for a block that is not the suite's.

    Afterwards they, and all `settings`, are again as they were.
    """
    seed = derive(*axes)
    python, numpy_ = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count())), global_state.kept():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes a millisecond to note who called it
        if torch.cuda.is_available():
            torch.cuda.manual_seed_all(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_)
