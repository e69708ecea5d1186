"""
Reads large files in turns with all other work.

Checking whether an upload of 1 GiB looks complete can take a minute. So a separate thread reads it, and runs only while
the loop waits for it, a moment in each turn of the loop. The functions that read do not know that: the file object
blocks their next read until their next turn. The result is the same as without interruption.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from importer.model import HoldReason
from watcher.model import Identity

LARGE_BYTES: Final = 4 << 20  # reading or importing a larger file takes longer than others should wait
SLICE_S: Final = 0.1
LONG_LOOK_S: Final = 0.5
# The largest share of time for long looks at files of one client that are not claimed after all, and for sweeps of a
# crowded inbox: finding an unclosed quotation mark in 1 GiB may take minutes, and a client can upload for ever.
FRUITLESS_SHARE: Final = 0.05
_PATIENCE_S: Final = 1.0  # for a read that does not return: a hanging disk must not block the loop
_MOST: Final = 2  # at a time: a row of many lines can take some 30 MiB
# Of processor time. Measured: about 0.15 s per MiB of nothing but quotation marks and line feeds.
_LIMIT_S: Final = 30.0
_LIMIT_S_PER_BYTE: Final = 0.3 / (1 << 20)


class _Ended(Exception):
    """The result is no longer needed."""


class _TooCostly(Exception):
    """Reading the file took more processor time than allowed."""


class Reading:
    """One look at one file: `judge` reads what `open_file` opens; the file calls the argument before each read."""

    def __init__(
        self,
        name: bytes,
        identity: Identity,
        open_file: Callable[[Callable[[], None]], BinaryIO],
        judge: Callable[[BinaryIO], HoldReason],
    ) -> None:
        """Raises OSError when the file cannot be opened."""
        self.name = name
        self.identity = identity
        self.cpu_s = 0.0
        self._judge = judge
        self._limit_s = _LIMIT_S + _LIMIT_S_PER_BYTE * identity.size_bytes
        self._until = 0.0
        self._is_ending = False
        self._is_running = False
        self._turn = threading.Semaphore(0)
        self._waits = threading.Semaphore(0)
        self._answer: HoldReason | Exception | None = None
        self._raw = open_file(self._before_read)
        self._thread = threading.Thread(target=self._run, name="reading", daemon=True)
        self._thread.start()

    def advance(self) -> HoldReason | None:
        """Let it run for a moment; return its result, None while there is more to read. Raises what it raised."""
        if not self._is_running:
            self._until = time.monotonic() + SLICE_S
            self._is_running = True
            self._turn.release()
        self._is_running = not self._waits.acquire(timeout=_PATIENCE_S)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def end(self) -> None:
        """End it, done or not; one that hangs on a disk ends by itself, later."""
        self._is_ending = True
        self._turn.release()
        self._thread.join(_PATIENCE_S)

    def _run(self) -> None:
        answer: HoldReason | Exception
        with self._raw as raw:
            try:
                self._turn.acquire()
                answer = self._judge(raw)
            except _TooCostly:
                answer = HoldReason.UNREAD
            except Exception as error:  # noqa: BLE001 - raised again where it is waited for
                answer = error.with_traceback(None)
        self._answer = answer
        self._waits.release()

    def _before_read(self) -> None:
        self.cpu_s = time.thread_time()
        if self.cpu_s > self._limit_s:
            raise _TooCostly
        if time.monotonic() >= self._until and not self._is_ending:
            self._waits.release()
            self._turn.acquire()
        if self._is_ending:
            raise _Ended


class Readings:
    """
    The looks in progress, at most one of each client, and the clients that pause because theirs were costly.

    Without `watching` no client pauses, as there is no later turn.
    """

    def __init__(self, *, watching: bool = True) -> None:
        self._watching = watching
        self._under_way: dict[str, Reading] = {}
        self._spent_s: dict[str, float] = {}
        self._rests_until: dict[str, float] = {}

    def names(self) -> Iterator[tuple[str, bytes]]:
        """Yield client and name of each look."""
        yield from [(client, reading.name) for client, reading in self._under_way.items()]

    def name_of(self, client: str) -> bytes:
        """Return the name of the file of a client that is being read, b"" for none."""
        return self._under_way[client].name if client in self._under_way else b""

    def hold_reason(
        self, client: str, name: bytes, identity: Identity, begin: Callable[[], Reading]
    ) -> HoldReason | None:
        """
        Continue the look at a file, or start it; return its result, None while there is more to read.

        A look at another file, or at this one before it changed, is ended first. Raises OSError.
        """
        reading = self._under_way.get(client)
        if reading is None or (reading.name, reading.identity) != (name, identity):
            self.end(client)
            if len(self._under_way) >= _MOST:
                return None
            reading = self._under_way[client] = begin()
        try:
            reason = reading.advance()
        except Exception:
            self.end(client)
            raise
        if reason is not None:
            self.end(client)
        return reason

    def end(self, client: str) -> None:
        """End the look at a file of a client, if there is one."""
        if reading := self._under_way.pop(client, None):
            reading.end()
            self._spent_s[client] = self._spent_s.get(client, 0.0) + reading.cpu_s

    def end_all(self) -> None:
        """End all looks and all pauses."""
        self._rests_until.clear()
        for client in [*self._under_way]:
            self.end(client)

    def rest(self, client: str, took_s: float = 0.0, *, is_fruitless: bool) -> None:
        """Pause a client for a while if looks at its files took long and led to no claim."""
        cost_s = max(took_s, self._spent_s.pop(client, 0.0))
        if self._watching and is_fruitless and cost_s > LONG_LOOK_S:
            self._rests_until[client] = time.monotonic() + cost_s / FRUITLESS_SHARE

    def end_rest(self, client: str) -> None:
        """End the pause of a client."""
        self._rests_until.pop(client, None)

    def resting(self) -> dict[str, float]:
        """Return the clients that pause, and until when."""
        now = time.monotonic()
        self._rests_until = {client: until for client, until in self._rests_until.items() if now < until}
        return self._rests_until

    def unready(self) -> set[str]:
        """Return the clients that pause, or have a look in progress."""
        return {*self.resting(), *self._under_way}
