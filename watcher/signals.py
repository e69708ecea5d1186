"""What the operator wants by a signal: stop, stop at once, read the configuration again."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

STOP_PATIENCE_S: Final = 8.0  # for the file in hand; the whole stop has 10


class Signals:
    """
    Remembers the signals that came.

    SIGTERM or SIGINT: the first lets the file in hand finish, for a while; the second does not. SIGHUP: reload.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._stop_asked_at = math.inf
        self._at_once = False
        self._reload_asked = False

    @property
    def stop_asked(self) -> bool:
        """Return whether to begin nothing new."""
        return self._stop_asked_at < math.inf

    def stop_overdue(self) -> bool:
        """Return whether to give up the file in hand."""
        return self._at_once or time.monotonic() >= self._stop_asked_at + STOP_PATIENCE_S

    def stop_allows(self, seconds: float) -> bool:
        """Return whether there is so much time left."""
        return not self._at_once and time.monotonic() + seconds < self._stop_asked_at + STOP_PATIENCE_S

    def take_reload(self) -> bool:
        """Return, once, whether to read the configuration again."""
        asked, self._reload_asked = self._reload_asked, False
        return asked

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Listen to the signals meanwhile."""
        handlers = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGHUP: self._reload}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._at_once = self.stop_asked
        self._stop_asked_at = min(self._stop_asked_at, time.monotonic())
        self._wake()

    def _reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload_asked = True
        self._wake()
