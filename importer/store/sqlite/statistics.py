"""SQLite's count of the memory that it takes, which nobody reads."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

_LIBRARY: Final = "libsqlite3.so.0"
_CONFIG_MEMSTATUS: Final = 9  # https://www.sqlite.org/c3ref/c_config_covering_index_scan.html


def turn_off() -> None:
    """
    Have SQLite not count: it locks a mutex for that, each time it takes or gives back memory.

    To insert a user takes a fifth less then. SQLite can be told only before it is used, so before sqlite3 is imported;
    later, or when Python does not use the library of the system, this does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(_LIBRARY).sqlite3_config(_CONFIG_MEMSTATUS, 0)
