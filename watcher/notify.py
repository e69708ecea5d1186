"""
What the service manager is told, if there is one: ready, still at work, stopping. Source: sd_notify(3).

Only tells: a manager that does not listen, or is gone, costs nothing and stops nothing.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from typing import Final

_SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"


class _LastSign:
    at = -math.inf  # by the monotonic clock


_last_sign: Final = _LastSign()


def ready() -> None:
    """Tell that the start is over and the service does its work."""
    _tell("READY=1")


def extend_start(seconds: float) -> None:
    """Tell that the start goes on, and will tell so again within this time or be over."""
    _tell(f"EXTEND_TIMEOUT_USEC={int(2 * seconds * 1e6)}")


def watchdog(*, is_own: bool = True) -> None:
    """Tell that the work got on, or, not our own sign, that it waits. About 15 us; without a manager 1 us."""
    if is_own:
        _last_sign.at = time.monotonic()
    _tell("WATCHDOG=1")


def silent_s() -> float:
    """Return for how long the work has not got on; infinity before the first sign."""
    return time.monotonic() - _last_sign.at


def stopping() -> None:
    """Tell that the end has begun."""
    _tell("STOPPING=1")


def _tell(state: str) -> None:
    address = os.environ.get(_SOCKET_VARIABLE, "")
    if not address:
        return
    if address.startswith("@"):  # Linux's abstract names
        address = f"\0{address[1:]}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)  # noqa: FBT003 - the standard library takes it so
        manager.sendto(state.encode(), address)
