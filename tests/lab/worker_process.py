"""The worker of a large file, as the tests see and disturb it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.lab import wait_until


def _status(pid: int, field: str) -> str:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return status.partition(f"\n{field}:\t")[2].split()[0]


def has_ended(pid: int) -> bool:
    """Tell whether a process has ended, whoever has to take note of that."""
    return _status(pid, "State") in ("", "Z", "X")


def wait_for_start(pid: int) -> None:
    """Wait until the worker is past its start: it ignores SIGTERM, and no longer SIGPIPE."""
    two = 1 << (signal.SIGTERM - 1) | 1 << (signal.SIGPIPE - 1)
    expected = 1 << (signal.SIGTERM - 1)
    wait_until(lambda: int(_status(pid, "SigIgn"), 16) & two == expected, "the worker to have started")


def stop(pid: int) -> None:
    """Let a process stand still, as one that is swapped out or hangs at a disk does."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: _status(pid, "State") == "T", "the worker to stand still")
