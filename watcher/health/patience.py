"""
Watchdog notifications while a single call waits for a disk, or for the server of the database.

A commit or an fsync can take minutes on an overloaded disk. The service manager would take that for a hang, kill the
service, and the restart would meet the same. So another thread notifies the watchdog while the kernel reports the main
thread in an uninterruptible wait for a device; not while it waits for a lock or a pipe, or is in an endless loop. After
ten minutes a disk that does not answer counts as a hang, too.

Each wait for a server ends by itself; several of them may come before the loop makes its next turn.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from watcher import notify

LONGEST_S: Final = 600.0
_INTERVAL_S: Final = 5.0  # the unit allows 60 s without a notification


class Patience:
    """Watches the main thread until it is closed."""

    def __init__(self, interval_s: float = _INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="patience", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(self._interval_s):
            if self._interval_s <= notify.silent_s() < LONGEST_S and waits_for_disk(os.getpid()):
                notify.watchdog(is_own=False)


def tell_of_wait() -> None:
    """Notify the watchdog from within a wait for the server, unless there was no progress for ten minutes."""
    if notify.silent_s() < LONGEST_S:
        notify.watchdog(is_own=False)


def waits_for_disk(thread: int) -> bool:
    """Return whether a thread is in a wait that nothing interrupts. Source: proc_pid_stat(5), state D."""
    status = Path(f"/proc/{thread}/task/{thread}/stat").read_text(encoding="utf-8", errors="replace")
    return status.rpartition(")")[2].split()[0] == "D"
