"""
Tells of each stray once: in the log, in the status and, after `stray_grace_s`, in a mail to the client.

The names that were told are in the database, written in one transaction with the mail that lists them: killed before
its commit, the next sweep writes both. What is not there any more is forgotten after a day.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import structlog

from importer.mail import outbox
from importer.model import Letter, printable
from importer.store.database import Store
from importer.store.errors import StoreError
from importer.store.tables import strays as table
from importer.store.tables.strays import Stray
from watcher.health.status import MAX_FILES_LISTED, State, WaitingFile
from watcher.health.trouble import Troubles
from watcher.settings import Config
from watcher.strays import remedies
from watcher.strays.letters import letter
from watcher.strays.remedies import Names
from watcher.strays.walk import MAX_LISTED, Listing

log = structlog.get_logger()

FORGOTTEN_AFTER: Final = timedelta(days=1)
MAIL_INTERVAL: Final = timedelta(hours=1)  # of one client
MAX_MAILS_A_DAY: Final = 5  # likewise
MAX_NAMED: Final = 20  # in a mail
_MAX_LOGGED: Final = 100  # of a sweep
_MAX_KEPT: Final = 2 * MAX_LISTED  # of an inbox itself, and as many of its folders


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep changes of the names that are known."""

    put: tuple[Stray, ...]
    dropped: tuple[bytes, ...]
    appeared: tuple[bytes, ...]  # not known before; those for which there is room


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A mail, and the strays that the client is told of by it."""

    letter: Letter
    strays: tuple[Stray, ...]


class Strays:
    """The strays in the inboxes of all clients."""

    def __init__(self, config: Config, store: Store, troubles: Troubles) -> None:
        self._store = store
        self._troubles = troubles
        self._status: dict[str, tuple[int, tuple[WaitingFile, ...]]] = {}
        self._noted: set[str] | None = None  # clients of whom the database may have names; None: it was not asked
        self.use(config)

    def use(self, config: Config) -> None:
        """Use this configuration from now on."""
        self._config = config
        self._clients = config.clients_by_name
        self._has_others = True  # the names of clients that were removed may be known
        self._status = {client: known for client, known in self._status.items() if client in self._clients}

    def count(self, client: str) -> int:
        """Return how many the last sweep found."""
        return self._status.get(client, (0, ()))[0]

    def listed(self, client: str) -> tuple[WaitingFile, ...]:
        """Return some of them, the newest ones, as the status shows them."""
        return self._status.get(client, (0, ()))[1]

    def note(self, client: str, listings: Iterable[Listing], names: Names, at: datetime) -> None:
        """Record what a sweep found, and report what is new. An error of the database is reported, too."""
        at = at.astimezone(UTC).replace(microsecond=0)
        try:
            self._note(client, [*listings], names, at)
        except StoreError as error:
            self._troubles.report_error("store.refused", error)

    def _note(self, client: str, listings: Sequence[Listing], names: Names, at: datetime) -> None:
        if self._noted is None:
            self._noted = table.clients(self._store.conn)
        known = table.known(self._store.conn, client) if client in self._noted else {}
        changes = [
            changes_of([each for each in known.values() if (b"/" in each.path) == is_inner], listing, at)
            for is_inner, listing in enumerate(listings)
        ]
        known |= {stray.path: stray for each in changes for stray in each.put}
        here = [known[path] for listing in listings for path in listing.paths if path in known]
        self._keep_for_status(client, here, sum(map(len, listings)), names)
        due = self._due(client, known.values(), here, names, at)
        kinds = {b"/" in each.path for each in due}  # of those that are listed in part, the others count as well
        more = sum(listing.more for is_inner, listing in enumerate(listings) if is_inner in kinds)
        others = self._noted - self._clients.keys() if self._has_others else set()
        if any(each.put for each in changes):
            self._noted.add(client)
        self._write(client, changes, self._told(client, due, more, names, at), others)
        self._has_others = False
        _log(client, [path for each in changes for path in each.appeared], names)

    def _keep_for_status(self, client: str, here: Sequence[Stray], count: int, names: Names) -> None:
        newest = heapq.nlargest(MAX_FILES_LISTED, here, key=lambda each: each.seen_at)
        files = tuple(
            WaitingFile(
                file=remedies.shown(each.path),
                state=State.STRAY,
                size_bytes=None,
                since=each.seen_at,
                reason=remedies.reason(each.path, names),
            )
            for each in newest
        )
        self._status[client] = count, files

    def _due(
        self, client: str, known: Iterable[Stray], here: Iterable[Stray], names: Names, at: datetime
    ) -> list[Stray]:
        """Return what the client is to be told of now, nothing if it was told of others just now."""
        mailed = {each.mailed_at for each in known if each.mailed_at and at - FORGOTTEN_AFTER < each.mailed_at <= at}
        if len(mailed) >= MAX_MAILS_A_DAY or any(each > at - MAIL_INTERVAL for each in mailed):
            return []
        if not self._config.mail.recipients_of(self._clients[client]):
            return []
        grace = timedelta(seconds=self._config.intake.stray_grace_s)
        untold = [each for each in here if not each.mailed_at and not remedies.is_temporary(each.path, names)]
        if not any(_is_older(each, grace, at) for each in untold):
            return []
        # What came a little later is told with them: else it would wait for the next mail.
        return [each for each in untold if _is_older(each, grace / 3, at)]

    def _told(self, client: str, due: Sequence[Stray], more: int, names: Names, at: datetime) -> Told | None:
        if not due:
            return None
        named = {remedies.shown(each.path): remedies.remedy(each.path, names, self._config) for each in due[:MAX_NAMED]}
        mail = letter(named, len(due) + more, self._clients[client], self._config.mail, at)
        return Told(letter=mail, strays=tuple(msgspec.structs.replace(each, mailed_at=at) for each in due))

    def _write(self, client: str, changes: Sequence[Changes], told: Told | None, others: Iterable[str]) -> None:
        """Commit what has changed with the mail that tells of it; forget other clients."""
        if not (told or others or any(each.put or each.dropped for each in changes)):
            return
        with self._store.transaction():
            for other in others:
                table.drop_client(self._store.conn, other)
            for each in changes:
                table.drop(self._store.conn, client, each.dropped)
                table.put(self._store.conn, client, each.put)
            if told:
                outbox.add(self._store, told.letter)
                table.put(self._store.conn, client, told.strays)


def _is_older(stray: Stray, age: timedelta, at: datetime) -> bool:
    """Return whether a stray has been there for a time, or since a time to come: then the clock was wrong."""
    return not at - age < stray.seen_at <= at


def changes_of(known: Sequence[Stray], listing: Listing, at: datetime) -> Changes:
    """
    Return what follows from a listing, for the names of which it is the listing. Pure.

    What is gone is kept for a day, so that a name that is made again and again is told once. Without room for new
    names, old ones that are not there, and in no mail of the last day, are forgotten.
    """
    present = {*listing.paths}
    forgotten = {each.path for each in known if each.gone_at and at - each.gone_at >= FORGOTTEN_AFTER}
    kept = {each.path: each for each in known if each.path not in forgotten}
    fresh = [path for path in listing.paths if path not in kept]
    unseen = [each for path, each in kept.items() if path not in present]
    spare = (each for each in unseen if not each.mailed_at or at - each.mailed_at >= FORGOTTEN_AFTER)
    room = _MAX_KEPT - len(kept)
    evicted = heapq.nsmallest(max(0, len(fresh) - room), spare, key=lambda each: each.gone_at or at)
    forgotten |= {each.path for each in evicted}
    appeared = fresh[: room + len(evicted)]
    back = [
        msgspec.structs.replace(each, gone_at=None, seen_at=each.seen_at if each.mailed_at else at)
        for path, each in kept.items()
        if path in present and each.gone_at
    ]
    left = [
        msgspec.structs.replace(each, gone_at=at)
        for each in unseen
        if listing.is_whole and not each.gone_at and each.path not in forgotten
    ]
    return Changes(
        put=(*back, *left, *(Stray(path=path, seen_at=at) for path in appeared)),
        dropped=tuple(forgotten),
        appeared=tuple(appeared),
    )


def _log(client: str, appeared: Sequence[bytes], names: Names) -> None:
    for path in appeared[:_MAX_LOGGED]:
        log.warning(
            "file.ignored", client=client, file=printable(path), claim_id="", reason=remedies.reason(path, names)
        )
    if len(appeared) > _MAX_LOGGED:
        log.warning("files.ignored", client=client, files=len(appeared) - _MAX_LOGGED)
