"""The container's definition copies what the wheel is built from, and installs the extras that exist."""

from __future__ import annotations

import re
import shlex
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINES = [
    line.split(maxsplit=1)
    for line in (ROOT / "container" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def test_every_line_is_an_instruction() -> None:
    known = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "ENTRYPOINT", "CMD"}
    assert {instruction for instruction, _ in LINES} <= known
    assert LINES[0][0] == "FROM"


def test_what_is_copied_is_there_and_is_all_that_the_wheel_needs() -> None:
    copied = [path for instruction, rest in LINES if instruction == "COPY" for path in shlex.split(rest)[:-1]]
    assert all((ROOT / path).exists() for path in copied)
    needed = {
        "setup.cfg",
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
        "unlearnbench",
        "methods",
        "tasks",
    }
    assert set(copied) == needed  # README.md and LICENSE are named in setup.cfg; two folders are linked


def test_the_extras_that_are_installed_exist() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    (names,) = (match[1] for _, rest in LINES if (match := re.search(r"'\.\[(.+)\]'", rest)))
    assert set(names.split(",")) <= set(config["options.extras_require"])


def test_the_image_has_a_version_of_python_that_the_suite_supports() -> None:
    config = ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    minor = int(re.match(r"python:3\.(\d+)-slim$", LINES[0][1])[1])  # type: ignore[index]
    assert minor >= int(config["options"]["python_requires"].removeprefix(">=3."))
