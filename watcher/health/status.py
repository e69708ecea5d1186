"""
What only the running daemon knows, in a small file next to the database: for `rosterd status` and for metrics.

The file is a hint, not a record: it is replaced as a whole, never synced, and is valid only while the lock is held.
"""

from __future__ import annotations

import enum
import heapq
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from importer.durable import replace
from importer.fs import own_mode
from importer.model import Outcome, printable
from watcher.model import Waiting

STATUS_FILE: Final = "status.json"
MAX_FILES_LISTED: Final = 20  # of each client, those that wait longest
CHANGE_INTERVAL_S: Final = 1.0
MOST_EACH_S: Final = 1000  # clients: 10,000 are looked at every 10 s, as to look at one takes some 40 us
IDLE_INTERVAL_S: Final = 30.0


class State(enum.StrEnum):
    """Why a file in an inbox is not imported yet."""

    SETTLING = "settling"  # in its quiet period
    WRITING = "writing"  # a process has it open
    BEHIND = "behind"  # waits behind a file on hold
    HELD = "held"  # there is a reason to hold it: may be resumed, or released by the operator
    IGNORED = "ignored"  # a link, a folder or the like: never imported
    STRAY = "stray"  # a file of another name, or in a folder: likewise


class WaitingFile(msgspec.Struct, frozen=True, kw_only=True):
    """One name in an inbox that may become a claim, or a stray."""

    file: str
    state: State
    size_bytes: int | None  # None: of a stray
    since: datetime  # of its last change
    until: datetime | None = None  # when it is decided on; None: only when something happens to it
    reason: str = ""  # why it is held, or a stray; the file behind which it waits


class CheckFolderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one folder `check`."""

    waiting: int  # files that are not answered yet
    answered: dict[Outcome, int]  # files since the start of the service


class ClientStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one inbox."""

    client: str
    is_watched: bool  # else it is only swept
    swept_at: datetime | None  # None: none since the start
    sweep_s: float  # how long that took
    trouble: str = ""  # why the inbox cannot be used
    deferred: str = ""  # why waiting files cannot be imported because of the host
    used_bytes: int | None = None  # of the files that stay in the inbox; None: it has no limit
    max_inbox_bytes: int = 0
    is_overdue: bool = False  # no file has come within `expect_every`
    claims: int = 0  # taken, not archived yet
    counts: dict[State, int] = {}
    files: tuple[WaitingFile, ...] = ()
    check_folder: CheckFolderStatus | None = None  # None: it has none


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The running daemon at one moment."""

    pid: int
    started_at: datetime
    written_at: datetime
    clients: tuple[ClientStatus, ...] = ()
    watch_restarts: int = 0
    ping_trouble: str = ""  # why the last heartbeat failed
    database_trouble: str = ""  # why nothing can be recorded
    clock_trouble: str = ""  # how far it is from that of a file system, if far
    clock_ahead_s: float = 0.0  # of that of a file system, by which it differs most
    mail_trouble: str = ""  # why no mail can be sent
    hook_trouble: str = ""  # which hooks cannot be used, and why
    reload_trouble: str = ""  # why the last reload was refused


def count_states(names: Iterable[Waiting], strays: int = 0) -> dict[State, int]:
    """Return the number of names that wait, by reason, and that of strays; without those of which there are none."""
    counts = Counter(map(state_of, names))
    if strays:
        counts[State.STRAY] = strays
    return counts


def listed_files(names: Iterable[Waiting], now: float, at: datetime) -> tuple[WaitingFile, ...]:
    """Return the names that wait longest, as the status shows them."""
    longest = heapq.nsmallest(MAX_FILES_LISTED, names, key=lambda waiting: waiting.quiet_since)
    return tuple(file_status(waiting, now, at) for waiting in longest)


def file_status(waiting: Waiting, now: float, at: datetime) -> WaitingFile:
    """Return one name as the status shows it; `now` and `at` are the same moment on both clocks."""
    return WaitingFile(
        file=printable(waiting.name),
        state=state_of(waiting),
        size_bytes=waiting.size_bytes,
        since=moment(waiting.quiet_since, now, at) or at,
        until=moment(waiting.due_at, now, at),
        reason=str(waiting.hold_reason) if waiting.held else waiting.behind,
    )


def state_of(waiting: Waiting) -> State:
    """Return why a name waits."""
    if waiting.ignored:
        return State.IGNORED
    if waiting.in_writing:
        return State.WRITING
    if waiting.behind:
        return State.BEHIND
    return State.HELD if waiting.held else State.SETTLING


def moment(reading: float, now: float, at: datetime) -> datetime | None:
    """Return when the monotonic clock shows `reading`, rounded to seconds so that it is stable; None for infinity."""
    if not math.isfinite(reading):
        return None
    return (at + timedelta(seconds=reading - now)).replace(microsecond=0)


def write_status(state_dir: str, status: Status) -> None:
    """Replace the status file atomically. Raises OSError."""
    replace(os.path.join(state_dir, STATUS_FILE), msgspec.json.encode(status) + b"\n", mode=own_mode(state_dir))


def read_status(state_dir: str) -> Status | None:
    """Return what the daemon wrote last; None when there is nothing that this version understands."""
    try:
        with open(os.path.join(state_dir, STATUS_FILE), "rb") as file:
            return msgspec.json.decode(file.read(), type=Status)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


class StatusFile:
    """Keeps the file fresh: soon after a change, rarely without one. With a faulty disk it is only outdated."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._written: Status | None = None
        self._looked_at = -math.inf
        self._written_at = -math.inf
        self._is_stale = True

    @property
    def next_at(self) -> float:
        """Return when `keep` is to be called next, by the monotonic clock."""
        if self._is_stale:
            clients = len(self._written.clients) if self._written else 0
            return self._looked_at + min(max(CHANGE_INTERVAL_S, clients / MOST_EACH_S), IDLE_INTERVAL_S)
        return self._written_at + IDLE_INTERVAL_S

    def keep(self, look: Callable[[], Status], now: float, *, worked: bool) -> None:
        """Write what `look` returns, if it is time; `worked`: it may have changed."""
        self._is_stale = self._is_stale or worked
        if now < self.next_at:
            return
        self._looked_at, self._is_stale = now, False
        status = look()
        if now >= self._written_at + IDLE_INTERVAL_S or self._is_news(status):
            self._write(status, now)

    def _write(self, status: Status, now: float) -> None:
        try:
            write_status(self._state_dir, status)
        except OSError:
            self._is_stale = True
        else:
            self._written, self._written_at = status, now

    def _is_news(self, status: Status) -> bool:
        known = self._written
        return known is None or known != msgspec.structs.replace(status, written_at=known.written_at)
