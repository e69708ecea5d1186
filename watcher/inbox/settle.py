"""
Which names in the inboxes are finished uploads. Pure: values and a monotonic clock reading in, decisions out.

A name is examined once it has been quiet for `quiet_s`: no event for it, and the identity of the file unchanged since
it was first seen. Events and sweeps update the same records, so that a sweep finds what events missed. Modification
times are not used: the client can set them, unlike `ctime`.
"""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from importer.durations import back_off_s
from importer.file.unwrap.endings import patterns
from importer.model import HoldReason
from importer.names import SIDECARS, approval_in
from watcher.model import HOLDS, Identity, Kind, Look, Sighting, Verdict, Waiting, Writer
from watcher.settings import IntakeSettings

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 30.0


_MAX_NAME_BYTES: Final = 255


class Names:
    """The filter: names that match the pattern and are not temporary names of any program."""

    # Hidden files are, among others, lftp's `.in.users.csv` and macOS's `._users.csv`; `~` and `#` are locks and
    # backups of office programs and editors. The endings keep a pattern as wide as `*` from taking half an upload.
    _TEMPORARY_ENDINGS = frozenset(
        b"filepart partial part tmp temp crdownload upload uploading writing swp bak lock".split()
    )
    # Of vim; of Windows, which adds them to folders that somebody looks into, and a client sends them with the folder.
    _OF_PROGRAMS = frozenset((b"4913", b"desktop.ini", b"thumbs.db", b"ehthumbs.db", b"icon\r"))
    _CYBERDUCK = re.compile(rb"-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
    _CYBERDUCK_BYTES = 37

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile("|".join(map(fnmatch.translate, patterns(pattern))).encode(), re.IGNORECASE)

    def accept(self, name: bytes) -> bool:
        """Return whether a file of this name is an upload, or approves one."""
        if approval := approval_in(name):
            name = approval[0]
        # The pattern first: it is fast, and most of the 100,000 names that a client can invent do not match it.
        if self._pattern.match(name) is None or name.rpartition(b".")[2].lower() in SIDECARS:
            return False
        return _is_possible(name) and not self.is_temporary(name)

    def upload_of(self, name: bytes) -> bytes | None:
        """Return the upload that a file of this name is, or whose sidecar it is."""
        if self.accept(name):
            return name
        upload, _, ending = name.rpartition(b".")
        return upload if ending.lower() in SIDECARS and self.accept(upload) else None

    def is_temporary(self, name: bytes) -> bool:
        """Return whether a program gives such a name to an unfinished upload, a lock, a backup or a file of its own."""
        _, dot, ending = name.rpartition(b".")
        return (
            name.startswith((b".", b"~", b"#"))
            or name.endswith((b"~", b"#"))
            or (bool(dot) and ending.lower() in self._TEMPORARY_ENDINGS)
            or b".!" in name
            or name.lower() in self._OF_PROGRAMS
            or self._CYBERDUCK.fullmatch(name, max(0, len(name) - self._CYBERDUCK_BYTES)) is not None
        )


def _is_possible(name: bytes) -> bool:
    """Return whether a file can have this name; the log of a session may contain any."""
    return 0 < len(name) <= _MAX_NAME_BYTES and b"/" not in name and b"\0" not in name


class Candidate:
    """A name that may become a claim, and what is known about it."""

    def __init__(self, identity: Identity, now: float, settings: IntakeSettings) -> None:
        self._settings = settings
        self.ignored_as: tuple[int, int, Kind, bool, bool] | None = None  # what was reported as ignored
        self.broken_off = False
        self.identity = identity
        self.arrived_ns = identity.ctime_ns  # by the wall clock, when it was noted
        self.restart(identity, now)

    def restart(self, identity: Identity, now: float) -> None:
        """Begin a new quiet period: something happened to the file."""
        self.broken_off = self.broken_off and identity.inode == self.identity.inode
        self.identity = identity
        self.quiet_since = now
        self.due_at = now + self._settings.quiet_s
        self.failures = 0
        self.in_writing = False  # a process had it open: the time waited does not predict when it will be ready
        self.closed = False
        self.held = False
        self.ignored = False
        self.hold_reason = HoldReason.NONE
        self.verdict: Verdict | None = None  # of the operator
        self.behind = ""  # the file on hold for which it waits
        self.is_first = False  # it was due: nothing that appeared later may overtake it

    def use(self, settings: IntakeSettings) -> None:
        """Use these settings: a name that waits only for time is due as soon as it is quiet."""
        self._settings = settings
        if not (self.ignored or self.in_writing):
            self.due_at = self.quiet_since + settings.quiet_s

    def retry_later(self, now: float) -> None:
        """Defer a name that could not be examined, or is being written."""
        self.failures += 1
        self.due_at = now + back_off_s(self.failures, first_s=FIRST_RETRY_S, last_s=LAST_RETRY_S)

    def judge(self, look: Look, now: float) -> Verdict:
        """
        Decide on a name that was due, without its content.

        TAKE means: quiet, unchanged, closed and a file without other links; `judge_reason` comes next.
        """
        self.is_first = False  # it can be looked at again, and may be held
        self.in_writing = look.writer is Writer.OPEN
        if self.in_writing:
            self._follow(look.identity, now)
            self.retry_later(now)
            return Verdict.WAIT
        if look.identity != self.identity:
            self.restart(look.identity, now)
            return Verdict.WAIT
        if look.kind is not Kind.FILE or look.links > 1 or look.foreign:
            return self._ignore(look)
        return self._judge_unprobed(now) if look.writer is Writer.UNKNOWN else Verdict.TAKE

    def _ignore(self, look: Look) -> Verdict:
        """Leave a name alone until something happens to it. It is reported once, even a folder that keeps changing."""
        current = (look.identity.device, look.identity.inode, look.kind, look.links > 1, look.foreign)
        before, self.ignored_as = self.ignored_as, current
        self.ignored, self.due_at = True, math.inf
        return Verdict.WAIT if before == current else Verdict.IGNORE

    def _follow(self, identity: Identity, now: float) -> None:
        """Note a change without ending the back-off: a file that is being written changes all the time."""
        if identity != self.identity:
            self.identity, self.quiet_since, self.held, self.verdict = identity, now, False, None

    def _judge_unprobed(self, now: float) -> Verdict:
        """Trust a close event; without one only a long quiet period shows that writing has ended."""
        ready_at = self.quiet_since + self._settings.unprobed_quiet_s
        if self.closed or now >= ready_at:
            return Verdict.TAKE
        self.due_at = ready_at
        return Verdict.WAIT

    def judge_reason(self, hold_reason: HoldReason, now: float) -> Verdict:
        """
        Decide on a name that is ready, by the reason to hold it. HOLD is returned once per change.

        After the grace the importer gets the file; REFUSE is for reasons that the importer cannot detect.
        """
        hold = HOLDS[hold_reason]
        if self.verdict is not None:
            return self.verdict
        self.hold_reason = hold_reason
        ready_at = self.quiet_since + self._settings.quiet_s + hold.grace_s(self._settings)
        if now >= ready_at:
            return Verdict.TAKE if hold.is_in_file else Verdict.REFUSE
        # Regular looks make up for a lost event of the sidecar.
        self.due_at = min(ready_at, now + LAST_RETRY_S) if hold_reason is HoldReason.UNACCOMPANIED else ready_at
        if self.held or not hold.is_reported:
            return Verdict.WAIT
        self.held = True
        return Verdict.HOLD

    @property
    def decided_reason(self) -> HoldReason | None:
        """Return the reason to hold that the operator decided on, None without a decision."""
        return None if self.verdict is None else self.hold_reason

    def wait_behind(self, file: str) -> None:
        """Leave a name until the file on hold that it may not overtake is decided on."""
        self.behind, self.due_at = file, math.inf

    def end_wait(self, now: float) -> None:
        """Look again at a name that waits behind a file on hold."""
        if self.behind:
            self.behind, self.due_at = "", now

    def decide(self, verdict: Verdict, now: float) -> bool:
        """End a hold as the operator decided; return False when the file is not held."""
        if self.held:
            self.verdict, self.due_at = verdict, now
        return self.held

    def waiting(self, name: bytes) -> Waiting:
        """Return why it is not claimed yet, for `rosterd status`."""
        return Waiting(
            name=name,
            size_bytes=self.identity.size_bytes,
            quiet_since=self.quiet_since,
            due_at=self.due_at,
            in_writing=self.in_writing,
            held=self.held,
            ignored=self.ignored,
            hold_reason=self.hold_reason,
            behind=self.behind,
        )


class Settling:
    """
    The names of all clients that may become claims.

    `now` is always a reading of the monotonic clock. Names of one client are due in the order of their arrival, clients
    take turns.
    """

    def __init__(self, settings: IntakeSettings) -> None:
        self.names = Names(settings.pattern)
        self._settings = settings
        self._candidates: dict[str, dict[bytes, Candidate]] = {}  # the next client to serve is the first

    def use(self, settings: IntakeSettings) -> None:
        """Use these settings from now on: names that wait are examined again, and the time they have waited counts."""
        self._settings, self.names = settings, Names(settings.pattern)
        for client, known in self._candidates.items():
            self._candidates[client] = {name: each for name, each in known.items() if self.names.accept(name)}
            for candidate in self._candidates[client].values():
                candidate.use(settings)

    def of(self, client: str) -> Mapping[bytes, Candidate]:
        """Return the known names of a client, in their order."""
        return self._candidates.get(client, {})

    def has_room(self, client: str, name: bytes) -> bool:
        """Return whether a name can be added: it is known, or the client does not have too many."""
        return name in self.of(client) or len(self.of(client)) < self._settings.max_waiting

    def note(self, sighting: Sighting, now: float) -> bool:
        """Add what was seen; return False when too many names of the client are waiting."""
        known = self._candidates.setdefault(sighting.client, {})
        candidate = known.get(sighting.name)
        if candidate is None:
            if not self.has_room(sighting.client, sighting.name):
                return False
            candidate = known[sighting.name] = Candidate(sighting.identity, now, self._settings)
            candidate.quiet_since -= sighting.age_s
        elif not sighting.swept or sighting.identity != candidate.identity:
            candidate.restart(sighting.identity, now)
        candidate.closed = candidate.closed or sighting.closed
        if sighting.broken_off is not None:
            candidate.broken_off = sighting.broken_off
        return True

    def note_listing(
        self, client: str, files: Mapping[bytes, Identity], now: float, *, whole: bool, at_ns: int | None = None
    ) -> bool:
        """
        Add what a sweep found, in the order of arrival; `whole`: names that are not in it are gone.

        `at_ns`, a wall clock time, makes the hold of a file count from its ctime: for a process that has just started.
        Returns False when there was no room for all.
        """
        if whole:
            for name in self.of(client).keys() - files.keys():
                self.forget(client, name)
        # The client can set the mtime.
        in_turn = sorted(files.items(), key=lambda file: (file[1].ctime_ns, file[0]))
        sightings = (
            Sighting(client=client, name=name, identity=identity, swept=True, age_s=_age_s(identity, at_ns))
            for name, identity in in_turn
        )
        known = len(self.of(client))
        noted = [self.note(sighting, now) for sighting in sightings]
        if known < len(self.of(client)):
            # What events missed may be older than what is known.
            in_order = sorted(self._candidates[client].items(), key=lambda item: item[1].arrived_ns)
            self._candidates[client] = dict(in_order)
        return all(noted)

    def forget(self, client: str, name: bytes) -> None:
        """Drop a name: it was claimed, or is gone."""
        known = self._candidates.get(client, {})
        known.pop(name, None)
        if not known:  # or each name would be looked for among all clients
            self.forget_client(client)

    def forget_client(self, client: str) -> None:
        """Drop all names of a client."""
        self._candidates.pop(client, None)

    def next_due(self, now: float, *, without: Collection[str] = ()) -> tuple[str, bytes] | None:
        """Return the name to examine now, of the client whose turn it is; None when nothing is due."""
        for client in self._candidates:
            if client in without:
                continue
            for name, candidate in _in_turn(self.of(client)):
                if candidate.due_at <= now:
                    self._candidates[client] = self._candidates.pop(client)  # moved to the end of the round
                    return client, name
        return None

    def next_due_at(self, *, without: Collection[str] = (), in_writing: bool = True) -> float:
        """Return when the next name is due, infinity for never; `in_writing`: include those being written."""
        names = self._all_in_turn(without)
        return min((each.due_at for each in names if in_writing or not each.in_writing), default=math.inf)

    def next_ready_at(self, *, without: Collection[str]) -> float:
        """
        Return when the next name is due that is likely to be claimed then, infinity for never.

        Names that are held, or were examined before without a claim, do not count: that can last for hours.
        """
        names = self._all_in_turn(without)
        return min((each.due_at for each in names if not (each.held or each.failures)), default=math.inf)

    def _all_in_turn(self, without: Collection[str]) -> Iterator[Candidate]:
        """Yield the known names of all clients but these."""
        clients = (client for client in self._candidates if client not in without)
        return (candidate for client in clients for _, candidate in _in_turn(self.of(client)))

    def release(self, client: str, name: bytes, now: float) -> bool:
        """Release a held file as it is; return False when none of that name is held."""
        return name in self.of(client) and self.of(client)[name].decide(Verdict.RELEASE, now)

    def refuse(self, client: str, name: bytes, now: float) -> bool:
        """Refuse a held file before its time; return False when none of that name is held."""
        return name in self.of(client) and self.of(client)[name].decide(Verdict.REFUSE, now)

    def waiting(self, client: str) -> Iterator[Waiting]:
        """Yield the names of a client that are not claimed yet."""
        return (candidate.waiting(name) for name, candidate in self.of(client).items())


def _in_turn(candidates: Mapping[bytes, Candidate]) -> Iterator[tuple[bytes, Candidate]]:
    """Yield the names of a client in their order, up to one that was due and could not be claimed."""
    for name, candidate in candidates.items():
        yield name, candidate
        if candidate.is_first:
            return


def _age_s(identity: Identity, at_ns: int | None) -> float:
    return 0.0 if at_ns is None else max(0.0, (at_ns - identity.ctime_ns) / 1e9)
