"""
Looks at large files, in turns with all other work.

To find out whether an upload of 1 GiB looks whole can take a minute. So it is read in a thread of its own, which runs
only while the loop waits for it, a moment at each turn of the loop. The functions that read know nothing of it: the
file itself makes them wait, at their next read, for their next turn. What they find is what they find in one go.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

from importer.model import HoldReason
from watcher.model import Identity

LARGE_BYTES: Final = 4 << 20  # to read or import a file above this takes longer than others should wait for it
SLICE_S: Final = 0.1
LONG_LOOK_S: Final = 0.5
# Of all time, at most, for long looks at the files of one client that come to nothing, and for sweeps of a crowded
# inbox: to see whether a mark is open may take minutes for 1 GiB, and a client can ask for ever.
FRUITLESS_SHARE: Final = 0.05
_PATIENCE_S: Final = 1.0  # for a read that does not end: a disk that hangs must not keep the loop
_MOST: Final = 2  # at a time: a row that goes on over lines can take some 30 MiB
# Of processor time. Some 0.15 s for each MiB were measured, for nothing but quotation marks and line feeds.
_LIMIT_S: Final = 30.0
_LIMIT_S_PER_BYTE: Final = 0.3 / (1 << 20)


class _Ended(Exception):
    """Nobody wants to know any more."""


class _TooCostly(Exception):
    """To look at the file took more processor time than it may."""


class Reading:
    """One look at one file: `judge` reads what `open_file` opens, which is to call its argument before each read."""

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
        """Let it go on for a moment; return what was found, None when there is more to read. Raises what it raised."""
        if not self._is_running:
            self._until = time.monotonic() + SLICE_S
            self._is_running = True
            self._turn.release()
        self._is_running = not self._waits.acquire(timeout=_PATIENCE_S)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def end(self) -> None:
        """End it, done or not; one that hangs at a disk ends by itself, later."""
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
    The looks that are under way, at most one of each client, and the clients that rest for what theirs cost.

    `watching`: else nobody rests, as there is no later.
    """

    def __init__(self, *, watching: bool = True) -> None:
        self._watching = watching
        self._under_way: dict[str, Reading] = {}
        self._spent_s: dict[str, float] = {}
        self._rests_until: dict[str, float] = {}

    def names(self) -> Iterator[tuple[str, bytes]]:
        """Yield client and name of each."""
        yield from [(client, reading.name) for client, reading in self._under_way.items()]

    def name_of(self, client: str) -> bytes:
        """Return the name of the file of a client of which more is to be read, b"" for none."""
        return self._under_way[client].name if client in self._under_way else b""

    def hold_reason(
        self, client: str, name: bytes, identity: Identity, begin: Callable[[], Reading]
    ) -> HoldReason | None:
        """
        Go on with the look at a file, or begin it; return what was found, None when there is more to read.

        One that was begun on this file before it changed, or on another one, is ended. Raises OSError.
        """
        reading = self._under_way.get(client)
        if reading is None or (reading.name, reading.identity) != (name, identity):
            self.end(client)
            if len(self._under_way) >= _MOST:
                return None
            reading = self._under_way[client] = begin()
        try:
            found = reading.advance()
        except Exception:
            self.end(client)
            raise
        if found is not None:
            self.end(client)
        return found

    def end(self, client: str) -> None:
        """End the look at a file of a client, if there is one."""
        if reading := self._under_way.pop(client, None):
            reading.end()
            self._spent_s[client] = self._spent_s.get(client, 0.0) + reading.cpu_s

    def end_all(self) -> None:
        """End all, and all rests."""
        self._rests_until.clear()
        for client in [*self._under_way]:
            self.end(client)

    def rest(self, client: str, took_s: float = 0.0, *, is_fruitless: bool) -> None:
        """Leave a client alone for a while if looks at its files took long and came to nothing."""
        cost_s = max(took_s, self._spent_s.pop(client, 0.0))
        if self._watching and is_fruitless and cost_s > LONG_LOOK_S:
            self._rests_until[client] = time.monotonic() + cost_s / FRUITLESS_SHARE

    def end_rest(self, client: str) -> None:
        """Look at the files of a client again."""
        self._rests_until.pop(client, None)

    def resting(self) -> dict[str, float]:
        """Return the clients that are left alone, and until when."""
        now = time.monotonic()
        self._rests_until = {client: until for client, until in self._rests_until.items() if now < until}
        return self._rests_until

    def unready(self) -> set[str]:
        """Return the clients that rest, or have a look under way."""
        return {*self.resting(), *self._under_way}
