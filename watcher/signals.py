"""
Signals of the operator: stop, stop at once, read the configuration again.

Python runs a handler only when the main thread returns to the interpreter. It does not for seconds while SQLite sorts
an index of millions of rows or a disk hangs. So a thread receives the same signals, and ends the process when its time
is up: a restart resumes from there, as after any kill.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

import structlog

from watcher import notify

log = structlog.get_logger()

STOP_PATIENCE_S: Final = 7.0  # for the current file; the whole stop has 10
MAIL_PATIENCE_S: Final = 5.0  # of these, for the mail being sent
LAST_S: Final = 9.5
LAST_AT_ONCE_S: Final = 1.5  # after a second signal
_STOPS: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """
    Remembers the signals that came.

    SIGTERM or SIGINT: the first lets the current file finish, for a while; the second does not. SIGHUP: reload.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._stop_asked_at = math.inf
        self._at_once = False
        self._reload_asked = False

    @property
    def stop_asked(self) -> bool:
        """Return whether to start nothing new."""
        return self._stop_asked_at < math.inf

    def stop_overdue(self) -> bool:
        """Return whether to abort the current file."""
        return self._at_once or time.monotonic() >= self._stop_asked_at + STOP_PATIENCE_S

    def stop_allows(self, seconds: float) -> bool:
        """Return whether this much time is left."""
        return not self._at_once and time.monotonic() + seconds < self._stop_asked_at + STOP_PATIENCE_S

    def should_abort(self) -> bool:
        """Return whether to abort the current file; called regularly, so it notifies the watchdog as well."""
        notify.watchdog()
        return self.stop_overdue()

    def take_reload(self) -> bool:
        """Return, once, whether to read the configuration again."""
        asked, self._reload_asked = self._reload_asked, False
        return asked

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Handle signals within the block; after a signal to stop, the block ends in time, or the process does."""
        handlers = {**dict.fromkeys(_STOPS, self._stop), signal.SIGHUP: self._reload}
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        last_resort = threading.Thread(target=_end_in_time, args=(reading,), name="last-resort", daemon=True)
        last_resort.start()
        fd_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(fd_before)
            os.close(writing)
            last_resort.join()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._at_once = self.stop_asked
        self._stop_asked_at = min(self._stop_asked_at, time.monotonic())
        self._wake()

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload_asked = True
        self._wake()


def _end_in_time(reading: int) -> None:
    """Read signal numbers, a byte each, until end of file; end the process some time after one to stop."""
    last_at = math.inf
    with open(reading, "rb", buffering=0) as signals:
        while True:
            left_s = None if last_at == math.inf else max(last_at - time.monotonic(), 0.0)
            if not select.select([signals], [], [], left_s)[0]:
                _end()
            numbers = signals.read(64)
            if not numbers:
                return
            for _ in (number for number in numbers if number in _STOPS):
                patience_s = LAST_S if last_at == math.inf else LAST_AT_ONCE_S
                last_at = min(last_at, time.monotonic() + patience_s)


def _end() -> None:
    log.warning("daemon.abandoned")
    time.sleep(0.1)  # for the line to be written
    os._exit(0)
