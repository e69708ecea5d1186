"""
Which names in the inboxes are finished uploads? Pure: values and a monotonic clock reading in, decisions out.

A name is looked at once it has been quiet for `quiet_s`: no event for it, and the identity of the file unchanged since
the first glance. Events and sweeps feed the same records, so that what an event missed a sweep finds. Modification
times play no part: they are the client's to set, `ctime` is not.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

from importer.durations import back_off_s
from importer.model import HoldReason
from watcher.inbox.upload_names import Names
from watcher.model import HOLDS, Identity, Kind, Look, Sighting, Verdict, Waiting, Writer
from watcher.settings import IntakeSettings

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 30.0

_MAX_STRAYS = 1_000  # of each client, to be told of only once


class _Record:
    """What is known about one name."""

    def __init__(self, identity: Identity, now: float, quiet_s: float) -> None:
        self.told: tuple[int, int, Kind, bool, bool] | None = None  # what was told of as ignored
        self.broken_off = False
        self.identity = identity
        self.arrived_ns = identity.ctime_ns  # by the clock of the host, as of when it was noted
        self.restart(identity, now, quiet_s)

    def restart(self, identity: Identity, now: float, quiet_s: float) -> None:
        """Begin a new quiet period: something happened to the file."""
        self.broken_off = self.broken_off and identity.inode == self.identity.inode
        self.identity = identity
        self.quiet_since = now
        self.due_at = now + quiet_s
        self.failures = 0
        self.in_writing = False  # a process had it open: waiting says nothing about when it will be ready
        self.closed = False
        self.held = False
        self.ignored = False
        self.doubt = HoldReason.NONE
        self.verdict: Verdict | None = None  # the operator's
        self.is_first = False  # its turn has come: nothing that appeared later may overtake it

    def look_again(self, quiet_s: float) -> None:
        """Let what waits for its time alone be due as soon as it is quiet."""
        if not (self.ignored or self.in_writing):
            self.due_at = self.quiet_since + quiet_s

    def retry_later(self, now: float) -> None:
        self.failures += 1
        self.due_at = now + back_off_s(self.failures, first_s=FIRST_RETRY_S, last_s=LAST_RETRY_S)


class Settling:
    """
    The names of all clients that may become claims.

    `now` is always a reading of the monotonic clock. Names of one client come out in the order of their arrival,
    clients take turns.
    """

    def __init__(self, settings: IntakeSettings) -> None:
        self._settings = settings
        self._names = Names(settings.pattern)
        self._records: dict[str, dict[bytes, _Record]] = {}  # the next client to serve stands first
        self._strays: dict[str, set[bytes]] = {}

    def use(self, settings: IntakeSettings) -> None:
        """Go by these settings from now on: what waits is looked at again, and keeps the time that it has waited."""
        self._settings, self._names = settings, Names(settings.pattern)
        for client, records in self._records.items():
            self._records[client] = {name: record for name, record in records.items() if self.accepts(name)}
            for record in self._records[client].values():
                record.look_again(settings.quiet_s)

    def accepts(self, name: bytes) -> bool:
        """Return whether a file of this name is an upload."""
        return self._names.accept(name)

    def about(self, name: bytes) -> bytes | None:
        """Return the upload that something with this name is about, None when about none."""
        return self._names.about(name)

    def knows(self, client: str, name: bytes) -> bool:
        """Return whether a name was noted."""
        return name in self._records.get(client, {})

    def has_room(self, client: str, name: bytes) -> bool:
        """Return whether a name can be noted: it is known, or the client has not too many of them."""
        records = self._records.get(client, {})
        return name in records or len(records) < self._settings.max_waiting

    def note(self, sighting: Sighting, now: float) -> bool:
        """Take in what was seen; return False when the client has too many names waiting for one more."""
        records = self._records.setdefault(sighting.client, {})
        record = records.get(sighting.name)
        if record is None:
            if not self.has_room(sighting.client, sighting.name):
                return False
            record = records[sighting.name] = _Record(sighting.identity, now, self._settings.quiet_s)
            record.quiet_since -= sighting.age_s
        elif not sighting.swept or sighting.identity != record.identity:
            record.restart(sighting.identity, now, self._settings.quiet_s)
        record.closed = record.closed or sighting.closed
        if sighting.broken_off is not None:
            record.broken_off = sighting.broken_off
        return True

    def note_listing(
        self, client: str, files: Mapping[bytes, Identity], now: float, *, whole: bool, at_ns: int | None = None
    ) -> bool:
        """
        Take in what a sweep found, in the order of arrival; `whole`: a name that is not there is gone.

        `at_ns`, a wall clock time, lets the hold of a file count from its ctime: for those who forget in between.
        Returns False when there was no room for all.
        """
        if whole:
            for name in self._records.get(client, {}).keys() - files.keys():
                self.forget(client, name)
        # The mtime is the client's to set.
        in_turn = sorted(files.items(), key=lambda file: (file[1].ctime_ns, file[0]))
        sightings = (
            Sighting(client=client, name=name, identity=found, swept=True, age_s=_age_s(found, at_ns))
            for name, found in in_turn
        )
        known = len(self._records.get(client, {}))
        noted = [self.note(sighting, now) for sighting in sightings]
        if known < len(self._records.get(client, {})):
            self._sort(client)
        return all(noted)

    def _sort(self, client: str) -> None:
        """Put the names of a client into the order of arrival: what events missed may be older than what is known."""
        records = self._records[client]
        self._records[client] = dict(sorted(records.items(), key=lambda item: item[1].arrived_ns))

    def is_stray(self, name: bytes) -> bool:
        """Return whether a file of this name, an old one, should be told of: nobody will ever finish it."""
        return self._names.is_temporary(name)

    def note_strays(self, client: str, strays: Collection[bytes]) -> list[bytes]:
        """Take in what a sweep found and nobody will import; return what was not told of yet."""
        told = self._strays.get(client, set())
        kept = list(strays)[:_MAX_STRAYS]
        self._strays[client] = set(kept)
        return [path for path in kept if path not in told]

    def forget(self, client: str, name: bytes) -> None:
        """Drop a name: it was taken, or is gone."""
        self._records.get(client, {}).pop(name, None)

    def forget_client(self, client: str) -> None:
        """Drop all names of a client."""
        self._records.pop(client, None)
        self._strays.pop(client, None)

    def next_due(self, now: float, *, without: Collection[str] = ()) -> tuple[str, bytes] | None:
        """Return the name to look at now, of the client whose turn it is; None when nothing is due."""
        for client in self._records:
            if client in without:
                continue
            for name, record in self._in_turn(client):
                if record.due_at <= now:
                    self._records[client] = self._records.pop(client)  # to the end of the round
                    return client, name
        return None

    def is_due(self, client: str, name: bytes, now: float) -> bool:
        """Return whether a name is still to be looked at now."""
        record = self._records.get(client, {}).get(name)
        return record is not None and record.due_at <= now

    def next_due_at(self, *, without: Collection[str] = (), in_writing: bool = True) -> float:
        """Return when the next name is due, infinity for never; `in_writing`: count those that a process writes."""
        records = self._all_in_turn(without)
        return min((record.due_at for record in records if in_writing or not record.in_writing), default=math.inf)

    def next_ready_at(self, *, without: Collection[str]) -> float:
        """
        Return when the next name is due that may well be taken then, infinity for never.

        Not one that is held, or was looked at in vain: it may be so for hours, and is looked at again and again.
        """
        records = self._all_in_turn(without)
        fresh = (record for record in records if not (record.held or record.failures))
        return min((record.due_at for record in fresh), default=math.inf)

    def _all_in_turn(self, without: Collection[str]) -> Iterator[_Record]:
        """Yield what is known of the names of all clients but these."""
        clients = (client for client in self._records if client not in without)
        return (record for client in clients for _, record in self._in_turn(client))

    def _in_turn(self, client: str) -> Iterator[tuple[bytes, _Record]]:
        """Yield the names of a client in their order, up to one whose turn has come and that could not be taken."""
        for name, record in self._records[client].items():
            yield name, record
            if record.is_first:
                return

    def come_first(self, client: str, name: bytes) -> None:
        """Let nothing newer of the client overtake this name: it is finished, and about to be taken."""
        self._records[client][name].is_first = True

    def judge(self, client: str, name: bytes, look: Look, now: float) -> Verdict:
        """
        Decide on a name that was due, but for its ending.

        TAKE means: quiet, unchanged, closed and a file of its own; `judge_doubt` comes next.
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
            return self._ignore(record, look)
        return self._judge_unprobed(record, now) if look.writer is Writer.UNKNOWN else Verdict.TAKE

    @staticmethod
    def _ignore(record: _Record, look: Look) -> Verdict:
        """Let a name lie until something happens to it. A folder that is worked in, say, is not told of again."""
        found = (look.identity.device, look.identity.inode, look.kind, look.links > 1, look.foreign)
        told, record.told = record.told, found
        record.ignored, record.due_at = True, math.inf
        return Verdict.WAIT if told == found else Verdict.IGNORE

    @staticmethod
    def _follow(record: _Record, identity: Identity, now: float) -> None:
        """Note a change without ending the back-off: a file in writing changes all the time."""
        if identity != record.identity:
            record.identity, record.quiet_since, record.held, record.verdict = identity, now, False, None

    def _judge_unprobed(self, record: _Record, now: float) -> Verdict:
        """Trust a close event; without one only long silence tells that nobody writes any more."""
        ready_at = record.quiet_since + self._settings.unprobed_quiet_s
        if record.closed or now >= ready_at:
            return Verdict.TAKE
        record.due_at = ready_at
        return Verdict.WAIT

    def is_broken_off(self, client: str, name: bytes) -> bool:
        """Return whether the server told that the connection ended before the file was closed."""
        return self._records[client][name].broken_off

    def decided_doubt(self, client: str, name: bytes) -> HoldReason | None:
        """Return what spoke against a name when the operator decided on it, None when that was not so."""
        record = self._records[client][name]
        return None if record.verdict is None else record.doubt

    def has_decision(self, client: str) -> bool:
        """Return whether the operator decided on a name that is still to be looked at."""
        return any(record.verdict is not None for record in self._records.get(client, {}).values())

    def judge_doubt(self, client: str, name: bytes, doubt: HoldReason, now: float) -> Verdict:
        """
        Decide on a name that is ready but for what speaks against it. HOLD is returned once per change.

        After the grace the importer gets the file: what it cannot see for itself is REFUSE.
        """
        record, hold = self._records[client][name], HOLDS[doubt]
        if record.verdict is not None:
            return record.verdict
        record.doubt = doubt
        ready_at = record.quiet_since + self._settings.quiet_s + hold.grace_s(self._settings)
        if now >= ready_at:
            return Verdict.TAKE if hold.is_in_file else Verdict.REFUSE
        # Should the event of the companion be lost, a look now and then makes up for it.
        record.due_at = min(ready_at, now + LAST_RETRY_S) if doubt is HoldReason.UNACCOMPANIED else ready_at
        if record.held or not hold.is_reported:
            return Verdict.WAIT
        record.held = True
        return Verdict.HOLD

    def release(self, client: str, name: bytes, now: float) -> bool:
        """Let a held file through as it is; return False when none of that name is held."""
        return self._decide(client, name, Verdict.RELEASE, now)

    def refuse(self, client: str, name: bytes, now: float) -> bool:
        """Give a held file up before its time; return False when none of that name is held."""
        return self._decide(client, name, Verdict.REFUSE, now)

    def _decide(self, client: str, name: bytes, verdict: Verdict, now: float) -> bool:
        record = self._records.get(client, {}).get(name)
        if record is None or not record.held:
            return False
        record.verdict, record.due_at = verdict, now
        return True

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
                ignored=record.ignored,
                doubt=record.doubt,
            )

    def retry_later(self, client: str, name: bytes, now: float) -> None:
        """Put off a name that could not be looked at."""
        self._records[client][name].retry_later(now)


def _age_s(found: Identity, at_ns: int | None) -> float:
    return 0.0 if at_ns is None else max(0.0, (at_ns - found.ctime_ns) / 1e9)
