"""Whose code a frame of Python runs, and which line of a plugin's code raised an exception."""

from __future__ import annotations

import linecache
import sys
import traceback
from pathlib import Path
from types import FrameType

INSTALLED = {"site-packages", "dist-packages"}
"""The names of the folders of all installed packages."""
SUITE = __name__.partition(".")[0]


def package_of(frame: FrameType) -> str:
    """The top-level package of the code of a frame."""
    return module_of(frame).partition(".")[0]


def module_of(frame: FrameType) -> str:
    """The module of the code of a frame."""
    return str(frame.f_globals.get("__name__", ""))


def is_installed(frame: FrameType) -> bool:
    """True if a frame runs code of an installed package."""
    return bool(INSTALLED & set(Path(frame.f_code.co_filename).parts))


def is_of_plugin(frame: FrameType, package: str) -> bool:
    """True if a frame runs a plugin's code: of its package, or of a file that is neither installed nor the suite's.

    Args:
        frame: The frame.
        package: The package of the plugin, or for a built-in one its module; "" if it is unknown.
    """
    module = module_of(frame)
    if package and (module == package or module.startswith(f"{package}.")):
        return True
    is_file = Path(frame.f_code.co_filename).is_file()
    return is_file and package_of(frame) not in {*sys.stdlib_module_names, SUITE} and not is_installed(frame)


def at_line(error: BaseException, package: str = "") -> str:
    """The last line of a plugin's code on the way to an exception, to put behind its message; "" if there is none.

    For example " (my_method.py, line 12: x = y)".

    Args:
        error: The exception, with its traceback.
        package: As in `is_of_plugin`.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return ""  # its message says where
    place = ""
    for frame, number in traceback.walk_tb(error.__traceback__):
        if is_of_plugin(frame, package):
            path = frame.f_code.co_filename
            code = linecache.getline(path, number).strip()
            place = f" ({Path(path).name}, line {number}" + (f": {code})" if code else ")")
    return place
