"""The state of the suite's source code."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def commit() -> str | None:
    """The commit of this checkout, followed by "-dirty" if files differ from it; None if this is no checkout."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return None
    command = [git, "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603 - all words are ours
    return done.stdout.strip() or None
