"""
Each claim, to its end: imported, then archived.

Ledger and folders show what remains to be done of a claim, also of an earlier process. Whoever processes claims, the
loop or a thread, has one `Processing`, and a store, of its own; what the loop does about it is in `work/claims`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import msgspec
import structlog

from importer.durable import Unsynced
from importer.model import AlreadyRecorded, Claim, Interrupted, Outcome, Receipt, printable, shown_counts
from importer.pipeline import Importer
from importer.settings import ClientSettings
from importer.store import ledger
from importer.store.database import Store
from importer.store.roster import held_files
from watcher.approval.files import as_decided
from watcher.health.room import Room
from watcher.health.trouble import raise_if_fatal
from watcher.inbox.archive import archive_answers, archive_claims
from watcher.inbox.claim import discard_drafts, is_all_moved, is_in_writing, resume_claim
from watcher.inbox.layout import Inbox, exists, opened
from watcher.inbox.work.committed import Record
from watcher.model import ClaimGone
from watcher.settings import Config

log = structlog.get_logger()


class BeingWritten(Exception):
    """A process has a claimed file open for writing."""


class Job(msgspec.Struct, frozen=True):
    """A claim to process; `path`: the inbox that it is in."""

    client: ClientSettings
    claim_id: str
    path: str


class End(msgspec.Struct):
    """How the processing of a claim ended; `receipt`: it was imported now, `error`: it is not completed."""

    job: Job
    file: str = ""
    receipt: Receipt | None = None
    error: Exception | None = None
    is_on_hold: bool = False
    was_on_hold: bool = False


class Pace(Protocol):
    """Tells whether files of others come first, and whether to stop."""

    should_abort: Callable[[], bool]

    def must_wait(self, claim: Claim, /) -> bool:
        """Return whether a file must wait."""
        ...

    def check_for(self, claim: Claim, /) -> Callable[[], bool]:
        """Return the check for whether to abort the import of a file."""
        ...


class Processing:
    """Processes claims one after the other, on the thread that has opened the store."""

    def __init__(self, store: Store, room: Room, pace: Pace, record: Record | None = None) -> None:
        """`record`: what a server commits is noted there before, and what it has lost since comes first."""
        self._store = store
        self._room = room
        self._pace = pace
        self._record = record
        self._compared: tuple[object, set[str]] = None, set()  # the connection, and clients of which it lacks nothing

    def use(self, config: Config) -> None:
        """Use this configuration from now on."""
        self._max_file_bytes = config.file.max_file_bytes
        self._importer = Importer(
            self._store,
            file=config.file,
            reference=config.reference,
            mail=config.mail,
            hooks=config.hook,
            check_room=self._room.check_content,
        )
        self._importer.connected_again = lambda claim: self._give_way(claim.client, claim.bak_fd)
        self._room.use(config)

    def process(self, job: Job) -> End:
        """Complete a claim, as far as it goes."""
        end = End(job)
        with structlog.contextvars.bound_contextvars(client=job.client.name, file="", claim_id=job.claim_id):
            try:
                if job.path != job.client.inbox and not os.path.lexists(job.path):  # the inbox of before is gone
                    raise ClaimGone  # noqa: TRY301 - like that of resume_claim
                with opened(job.client.name, job.path, job.client.companion) as inbox:
                    self._resume(inbox, end)
            except Exception as error:  # noqa: BLE001 - the loop knows what each means
                end.error = error
        return end

    def process_together(self, jobs: Sequence[Job]) -> list[End]:
        """
        Complete claims that were just made, in one transaction.

        Raises whatever keeps them from it: nothing is committed then, and each has to be processed alone.
        """
        with contextlib.ExitStack() as handles, Unsynced() as unsynced:
            claims = [_opened(handles, unsynced, job) for job in jobs]
            for _, claim in claims:
                self._room.check_claim(claim)
            with self._store.together():
                imported = [self._import(claim, job.client) for (_, claim), job in zip(claims, jobs, strict=True)]
            ends = []
            for job, (receipt, took_s) in zip(jobs, imported, strict=True):
                _log_receipt(receipt, took_s)
                is_on_hold = receipt.outcome is Outcome.ON_HOLD
                ends.append(End(job, receipt.claim.file, receipt, is_on_hold=is_on_hold))
            try:
                for each in (each for each, end in zip(claims, ends, strict=True) if end.is_on_hold):
                    archive_answers(*each)
                self._archive([each for each, end in zip(claims, ends, strict=True) if not end.is_on_hold])
            except Exception as error:  # noqa: BLE001 - met again by each alone
                raise_if_fatal(error)
                for end in ends:
                    end.error = AlreadyRecorded()
        return ends

    def _resume(self, inbox: Inbox, end: End) -> None:
        claim_id = end.job.claim_id
        self._give_way(inbox.client, inbox.bak_fd)
        entry = ledger.find(self._store.conn, claim_id)
        held = None if entry is None else held_files.find(self._store.conn, claim_id)
        if entry is not None and is_all_moved(inbox, claim_id, entry.archive):  # an earlier try failed after that
            ledger.mark_archived(self._store.conn, [claim_id], datetime.now(UTC))
            log.info("file.archived", file=entry.file, archive=printable(entry.archive))
            end.was_on_hold = held is not None
            return
        with resume_claim(inbox, claim_id, archive=None if entry is None else entry.archive) as resumed:
            claim = resumed
            end.file = claim.file
            structlog.contextvars.bind_contextvars(file=claim.file)
            if held is not None and entry is not None and entry.outcome is Outcome.ON_HOLD:
                archive_answers(inbox, claim)
                if not held.decision:
                    end.is_on_hold = True
                    return
                entry, claim = None, as_decided(claim, held)
            if entry is None and is_in_writing(claim):
                raise BeingWritten
            if entry is None:
                self._room.check_claim(claim)
                if self._pace.must_wait(claim):
                    raise Interrupted
                end.receipt, took_s = self._import(claim, end.job.client)
                _log_receipt(end.receipt, took_s)
                if end.receipt.outcome is Outcome.ON_HOLD:
                    archive_answers(inbox, claim)
                    end.is_on_hold = True
                    return
            if held is not None:
                archive_answers(inbox, claim)
            self._archive([(inbox, claim)])
            end.was_on_hold = held is not None

    def _give_way(self, client: str, bak_fd: int | None) -> None:
        """Raise Interrupted when older files of the client were lost: by a connection that is new to it."""
        if self._record is None or bak_fd is None:
            return
        conn = self._store.conn
        if conn is not self._compared[0]:
            self._compared = conn, set()
            self._record.doubt()
        if client not in self._compared[1]:
            if any(exists(bak_fd, each.archive) for each in self._record.missing(conn, [client])):
                self._record.doubt()
                raise Interrupted
            self._compared[1].add(client)

    def _import(self, claim: Claim, client: ClientSettings) -> tuple[Receipt, float]:
        """Import a file; return its receipt, and how many seconds that took."""
        if self._record:
            self._record.note(claim)
        else:  # with a server they may be those of a commit of which we were not told
            discard_drafts(claim)
        started = time.monotonic()
        stopping = self._pace.check_for(claim)
        with _logged_as(claim):
            receipt = self._importer.import_file(claim, client, stopping=stopping)
        return receipt, time.monotonic() - started

    def _archive(self, claims: Sequence[tuple[Inbox, Claim]]) -> None:
        def ask() -> None:
            if self._pace.should_abort():
                raise Interrupted

        archive_claims(claims, copied_up_to_bytes=self._max_file_bytes, before_copying=ask)
        ledger.mark_archived(self._store.conn, [claim.claim_id for _, claim in claims], datetime.now(UTC))
        for _, claim in claims:
            with _logged_as(claim):
                log.info("file.archived", archive=printable(claim.archive))


def _opened(handles: contextlib.ExitStack, unsynced: Unsynced, job: Job) -> tuple[Inbox, Claim]:
    """Open a claim that was just made, until `handles` are closed. Raises OSError, also when it has to wait."""
    client = job.client
    inbox = handles.enter_context(opened(client.name, client.inbox, client.companion))
    claim = handles.enter_context(resume_claim(inbox, job.claim_id, unsynced=unsynced))
    if is_in_writing(claim):
        raise OSError(errno.EBUSY, "the file is being written")
    return inbox, claim


def _logged_as(claim: Claim) -> contextlib.AbstractContextManager[object]:
    """Let all that is logged in the block name this claim."""
    return structlog.contextvars.bound_contextvars(client=claim.client, file=claim.file, claim_id=claim.claim_id)


def _log_receipt(receipt: Receipt, took_s: float) -> None:
    if receipt.outcome is Outcome.ON_HOLD:
        return
    counts = {name: getattr(receipt.tally, name) for name in ("rows", *shown_counts([receipt.tally]))}
    with _logged_as(receipt.claim):
        if receipt.outcome is Outcome.REFUSED:
            codes = [receipt.refusal.code] if receipt.refusal else sorted({each.code for each in receipt.problems})
            log.warning("file.refused", code=",".join(codes), **counts, took_s=round(took_s, 3))
        else:
            log.info("file.imported", outcome=str(receipt.outcome), **counts, took_s=round(took_s, 3))
