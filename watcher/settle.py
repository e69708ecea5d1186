"""
Which names in the inboxes are finished uploads? Pure: values and a monotonic clock reading in, decisions out.

A name is looked at once it has been quiet for `quiet_s`: no event for it, and the identity of the file unchanged since
the first glance. Events and sweeps feed the same records, so that what an event missed a sweep finds. Modification
times play no part: they are the client's to set, `ctime` is not.
"""

from __future__ import annotations

import enum
import fnmatch
import math
import re
from collections.abc import Collection, Iterator, Mapping

import msgspec

from importer.parse import Completeness
from importer.settings import Count, Seconds, Text

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 30.0


class IntakeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[intake]: which names are uploads, and when an upload counts as finished."""

    pattern: Text = "*.csv"  # without regard to case; hidden and temporary names never count
    quiet_s: Seconds = 3.0  # above the time that clients take to set time and mode after the last byte
    unterminated_grace_s: Seconds = 30.0  # more, for a file whose last line does not end
    resume_grace_s: Seconds = 900.0  # more, for a file that looks cut off: above the server's ClientAlive time-out
    unprobed_quiet_s: Seconds = 300.0  # where the system does not tell whether a file is open for writing
    max_waiting: Count = 10_000  # names of one client kept in mind; the others stay for a later sweep


class Kind(enum.StrEnum):
    """What a directory entry is."""

    FILE = "file"
    LINK = "link"
    FOLDER = "folder"
    FIFO = "fifo"
    OTHER = "other"  # device, socket


class Writer(enum.StrEnum):
    """Whether a process has the file open for writing."""

    NONE = "none"
    OPEN = "open"
    UNKNOWN = "unknown"  # the system does not tell


class Identity(msgspec.Struct, frozen=True):
    """What stays the same exactly as long as nobody touches a file."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A name that an event or a sweep reported, and the file that had it a moment later."""

    client: str
    name: bytes
    identity: Identity
    closed: bool = False  # a writer has just closed it
    swept: bool = False  # seen in a listing: by itself no sign of life
    age_s: float = 0.0  # how long it was as it is before we saw it, where that is believed


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A close examination of one name. `writer` is NONE for whatever is not a file."""

    identity: Identity
    kind: Kind
    links: int = 1
    foreign: bool = False  # belongs neither to the client nor to the service
    writer: Writer = Writer.NONE


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A name that is not claimed yet, for people who ask why."""

    name: bytes
    size_bytes: int
    quiet_since: float  # by the monotonic clock
    due_at: float  # infinity: not before something happens to it
    in_writing: bool
    held: bool
    ignored: bool


class Verdict(enum.StrEnum):
    """What to do with a name that was looked at."""

    WAIT = "wait"
    TAKE = "take"
    HOLD = "hold"  # looks cut off: wait, and say so once
    IGNORE = "ignore"  # never imported: say so once


class Names:
    """The filter: names that match the pattern and are nobody's temporary ones."""

    # Hidden files are, among others, lftp's `.in.users.csv` and macOS's `._users.csv`; `~` and `#` are locks and
    # backups of office programs and editors. The endings keep a pattern as wide as `*` from taking half an upload.
    _TEMPORARY = re.compile(
        rb"[.~#].*|.*[~#]|.*\.(filepart|partial|part|tmp|temp|crdownload|upload|uploading|writing|swp|bak|lock|!.*)|4913"
        rb"|.*-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        re.IGNORECASE | re.DOTALL,
    )

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(fnmatch.translate(pattern).encode(), re.IGNORECASE)

    def accept(self, name: bytes) -> bool:
        """Return whether a file of this name is an upload."""
        return self._pattern.match(name) is not None and self._TEMPORARY.fullmatch(name) is None


class _Record:
    """What is known about one name."""

    def __init__(self, identity: Identity, now: float, quiet_s: float) -> None:
        self.ignored: Identity | None = None
        self.restart(identity, now, quiet_s)

    def restart(self, identity: Identity, now: float, quiet_s: float) -> None:
        """Begin a new quiet period: something happened to the file."""
        self.identity = identity
        self.quiet_since = now
        self.due_at = now + quiet_s
        self.retry_s = FIRST_RETRY_S
        self.in_writing = False  # a process had it open: waiting says nothing about when it will be ready
        self.closed = False
        self.held = False

    def retry_later(self, now: float) -> None:
        self.due_at = now + self.retry_s
        self.retry_s = min(2 * self.retry_s, LAST_RETRY_S)


class Settling:
    """
    The names of all clients that may become claims.

    `now` is always a reading of the monotonic clock. Names of one client come out in the order of their first
    appearance, clients take turns.
    """

    def __init__(self, settings: IntakeSettings) -> None:
        self._settings = settings
        self._names = Names(settings.pattern)
        self._records: dict[str, dict[bytes, _Record]] = {}  # the next client to serve stands first

    def accepts(self, name: bytes) -> bool:
        """Return whether a file of this name is an upload."""
        return self._names.accept(name)

    def note(self, sighting: Sighting, now: float) -> bool:
        """Take in what was seen; return False when the client has too many names waiting for one more."""
        records = self._records.setdefault(sighting.client, {})
        record = records.get(sighting.name)
        if record is None:
            if len(records) >= self._settings.max_waiting:
                return False
            record = records[sighting.name] = _Record(sighting.identity, now, self._settings.quiet_s)
            record.quiet_since -= sighting.age_s
        elif not sighting.swept or sighting.identity != record.identity:
            record.restart(sighting.identity, now, self._settings.quiet_s)
        record.closed = record.closed or sighting.closed
        return True

    def note_listing(
        self, client: str, files: Mapping[bytes, Identity], now: float, *, whole: bool, at_ns: int | None = None
    ) -> bool:
        """
        Take in what a sweep found, oldest file first; `whole`: a name that is not there is gone.

        `at_ns`, a wall clock time, lets the hold of a file count from its ctime: for those who forget in between.
        Returns False when there was no room for all.
        """
        if whole:
            for name in self._records.get(client, {}).keys() - files.keys():
                self.forget(client, name)
        oldest_first = sorted(files.items(), key=lambda file: (file[1].mtime_ns, file[0]))
        sightings = (
            Sighting(client=client, name=name, identity=found, swept=True, age_s=_age_s(found, at_ns))
            for name, found in oldest_first
        )
        noted = [self.note(sighting, now) for sighting in sightings]
        return all(noted)

    def forget(self, client: str, name: bytes) -> None:
        """Drop a name: it was taken, or is gone."""
        self._records.get(client, {}).pop(name, None)

    def next_due(self, now: float, *, without: Collection[str] = ()) -> tuple[str, bytes] | None:
        """Return the name to look at now, of the client whose turn it is; None when nothing is due."""
        for client, records in self._records.items():
            if client in without:
                continue
            for name, record in records.items():
                if record.due_at <= now:
                    self._records[client] = self._records.pop(client)  # to the end of the round
                    return client, name
        return None

    def next_due_at(self, *, without: Collection[str] = (), in_writing: bool = True) -> float:
        """Return when the next name is due, infinity for never; `in_writing`: count those that a process writes."""
        records = self._all(without)
        return min((record.due_at for record in records if in_writing or not record.in_writing), default=math.inf)

    def _all(self, without: Collection[str]) -> Iterator[_Record]:
        for client, records in self._records.items():
            if client not in without:
                yield from records.values()

    def judge(self, client: str, name: bytes, look: Look, now: float) -> Verdict:
        """
        Decide on a name that was due, but for its ending.

        TAKE means: quiet, unchanged, closed and a file of its own; `judge_ending` comes next.
        """
        record = self._records[client][name]
        record.in_writing = look.writer is Writer.OPEN
        if record.in_writing:
            self._follow(record, look.identity, now)
            record.retry_later(now)
            return Verdict.WAIT
        if look.identity != record.identity:
            record.restart(look.identity, now, self._settings.quiet_s)
            return Verdict.WAIT
        if look.kind is not Kind.FILE or look.links > 1 or look.foreign:
            return self._ignore(record)
        return self._judge_unprobed(record, now) if look.writer is Writer.UNKNOWN else Verdict.TAKE

    @staticmethod
    def _ignore(record: _Record) -> Verdict:
        """Let a name lie until a sweep finds another file under it."""
        told, record.ignored, record.due_at = record.ignored, record.identity, math.inf
        return Verdict.WAIT if told == record.identity else Verdict.IGNORE

    @staticmethod
    def _follow(record: _Record, identity: Identity, now: float) -> None:
        """Note a change without ending the back-off: a file in writing changes all the time."""
        if identity != record.identity:
            record.identity, record.quiet_since, record.held = identity, now, False

    def _judge_unprobed(self, record: _Record, now: float) -> Verdict:
        """Trust a close event; without one only long silence tells that nobody writes any more."""
        ready_at = record.quiet_since + self._settings.unprobed_quiet_s
        if record.closed or now >= ready_at:
            return Verdict.TAKE
        record.due_at = ready_at
        return Verdict.WAIT

    def judge_ending(self, client: str, name: bytes, ending: Completeness, now: float) -> Verdict:
        """Decide on a name that is ready but for what its last bytes look like. HOLD is returned once per change."""
        record = self._records[client][name]
        ready_at = record.quiet_since + self._settings.quiet_s + self._grace_s(ending)
        if now >= ready_at:
            return Verdict.TAKE
        record.due_at = ready_at
        if record.held or ending in (Completeness.WHOLE, Completeness.UNTERMINATED):
            return Verdict.WAIT
        record.held = True
        return Verdict.HOLD

    def _grace_s(self, ending: Completeness) -> float:
        match ending:
            case Completeness.WHOLE:
                return 0.0
            case Completeness.UNTERMINATED:
                return self._settings.unterminated_grace_s
            case _:
                return self._settings.resume_grace_s

    def waiting(self, client: str) -> Iterator[Waiting]:
        """Yield the names of a client that are not claimed yet."""
        for name, record in self._records.get(client, {}).items():
            yield Waiting(
                name=name,
                size_bytes=record.identity.size_bytes,
                quiet_since=record.quiet_since,
                due_at=record.due_at,
                in_writing=record.in_writing,
                held=record.held,
                ignored=record.ignored == record.identity,
            )

    def retry_later(self, client: str, name: bytes, now: float) -> None:
        """Put off a name that could not be looked at."""
        self._records[client][name].retry_later(now)


def _age_s(found: Identity, at_ns: int | None) -> float:
    return 0.0 if at_ns is None else max(0.0, (at_ns - found.ctime_ns) / 1e9)
