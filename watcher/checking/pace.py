"""When a file may be checked, and for how long: imports first, then one client after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from typing import Final

from importer.model import Interrupted
from watcher.signals import Signals

LIMIT_S: Final = 300.0  # of one check; a million users that change take 40 s
PATIENCE_S: Final = 3600.0  # from the first try of a check that imports end each time
_SHARE: Final = 0.25  # the largest share of time for checks of one client
_QUICK_S: Final = 0.5  # after a check that took no longer its client does not pause
_ASK_INTERVAL_S: Final = 0.05


class TooLong(Exception):
    """A check has taken as long as it may."""


class Pace:
    """
    `next_import_at` returns when the next file is to be imported.

    Not `watching`: all files that can be imported are, so no check waits for one, and no client pauses.
    """

    def __init__(self, next_import_at: Callable[[], float], signals: Signals, *, watching: bool) -> None:
        self._next_import_at = next_import_at
        self._signals = signals
        self._watching = watching
        self._rests_until: dict[str, float] = {}
        self._tried_at: dict[tuple[str, bytes], float] = {}  # of checks that were ended

    def resting(self, now: float) -> Collection[str]:
        """Return the clients that pause."""
        self._rests_until = {client: until for client, until in self._rests_until.items() if now < until}
        return self._rests_until.keys()

    @property
    def next_end(self) -> float:
        """Return when the first pause ends."""
        return min(self._rests_until.values(), default=math.inf)

    def begin(self, client: str, name: bytes) -> Callable[[int], None]:
        """
        Return what is to be called now and then while a file is checked.

        It raises Interrupted when the check has to be ended, for an import or a stop, TooLong when it has to be given
        up.
        """
        started = time.monotonic()
        give_up_at = min(started + LIMIT_S, self._tried_at.setdefault((client, name), started) + PATIENCE_S)
        ask_at = -math.inf

        def ask(_: int) -> None:
            nonlocal ask_at
            if self._signals.should_abort() or self._signals.stop_asked:
                raise Interrupted
            if (now := time.monotonic()) < ask_at:
                return
            ask_at = now + _ASK_INTERVAL_S
            if now >= give_up_at:
                raise TooLong
            if self._watching and self._next_import_at() <= now:
                raise Interrupted

        return ask

    def note(self, client: str, took_s: float) -> None:
        """Note how long a check took, to its end or not."""
        if self._watching and took_s > _QUICK_S:
            self._rests_until[client] = time.monotonic() + took_s * (1 / _SHARE - 1)

    def forget(self, client: str, name: bytes) -> None:
        """Forget when a file was tried: it is answered, or gone."""
        self._tried_at.pop((client, name), None)
