"""
Notifies the service manager, if there is one: ready, still alive, stopping. Source: sd_notify(3).

One-way: without a manager that listens, nothing happens.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from typing import Final

_SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"


class _LastProgress:
    at = -math.inf  # by the monotonic clock


_last_progress: Final = _LastProgress()


def ready() -> None:
    """Report that the service has started."""
    _send("READY=1")


def extend_start(seconds: float) -> None:
    """Report that the start is still in progress; the next report comes within this time."""
    _send(f"EXTEND_TIMEOUT_USEC={int(2 * seconds * 1e6)}")


def watchdog(*, is_own: bool = True) -> None:
    """Report progress or, if not `is_own`, a wait. About 15 us; 1 us without a manager."""
    if is_own:
        _last_progress.at = time.monotonic()
    _send("WATCHDOG=1")


def silent_s() -> float:
    """Return the time since the last progress; infinity before the first."""
    return time.monotonic() - _last_progress.at


def stopping() -> None:
    """Report that the service is stopping."""
    _send("STOPPING=1")


def _send(state: str) -> None:
    address = os.environ.get(_SOCKET_VARIABLE, "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract names
        address = f"\0{address[1:]}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)  # noqa: FBT003 - the standard library takes it so
        manager.sendto(state.encode(), address)
