"""
From the claim to the archive: claims are made here, and completed.

A claim that fails because of the host is deferred and retried, in the order of claims: no newer file of a client
overtakes an older one. Ledger and folders show what remains to be done of a claim, also of an earlier process.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import structlog

from importer.durable import Unsynced
from importer.model import AlreadyRecorded, Claim, Interrupted, Message, Outcome, Receipt, printable, shown_counts
from importer.pipeline import Importer
from importer.settings import ClientSettings
from importer.store import ledger
from importer.store.database import Store
from importer.store.errors import StoreError, StoreLocked
from watcher.approval.files import FilesOnHold, as_decided
from watcher.health.room import Room
from watcher.health.trouble import Troubles, is_of_host, raise_if_fatal, reason
from watcher.inbox.archive import archive_answers, archive_claims, holds_archive
from watcher.inbox.claim import claim_upload, discard_drafts, is_in_writing, resume_claim, unfinished_claims
from watcher.inbox.layout import Inbox, opened, was_inbox
from watcher.inbox.queue import Backlog, Preemption
from watcher.model import ClaimGone, Identity, InboxUnusable
from watcher.settings import Config

log = structlog.get_logger()


class EarlierInboxes:
    """Folders that are no longer inboxes, and the claims in them; `folders`: client and path where some may be left."""

    def __init__(self, backlog: Backlog) -> None:
        self.folders: tuple[tuple[str, str], ...] = ()
        self._backlog = backlog
        self._paths: dict[str, str] = {}  # of claims

    def find(self, config: Config, before: Config, former: Iterable[tuple[str, str]] = ()) -> None:
        """Queue the claims in folders that are no longer inboxes: those of the previous configuration, and `former`."""
        inboxes = {client.inbox for client in config.clients}
        known = {*self.folders, *former, *((client.name, client.inbox) for client in before.clients)}
        self.folders = tuple(
            (client, path)
            for client, path in sorted(known)
            if path not in inboxes and was_inbox(path) and self._find_in(client, path, config)
        )

    def _find_in(self, client: str, path: str, config: Config) -> bool:
        """Queue the claims in a folder; return whether there may be any."""
        try:
            with opened(client, path) as inbox:
                claim_ids = unfinished_claims(inbox)
        except (OSError, InboxUnusable) as error:
            log.warning("claims.unreachable", client=client, inbox=path, reason=reason(error))
            return True
        if claim_ids and client not in config.clients_by_name:
            log.warning("claims.left", client=client, inbox=path, files=len(claim_ids))
        elif claim_ids:
            log.info("claims.followed", client=client, inbox=path, files=len(claim_ids))
            for claim_id in claim_ids:
                self._paths[claim_id] = path
                self._backlog.add(client, claim_id)
        return bool(claim_ids)

    def path_of(self, claim_id: str) -> str | None:
        """Return the earlier inbox that contains a claim."""
        return self._paths.get(claim_id)

    def forget(self, claim_id: str) -> None:
        """Note that a claim is done, or in the inbox of its client."""
        self._paths.pop(claim_id, None)


class Claims:
    """
    Makes claims and works on them.

    `backlog` contains those that are not done; others may read it. `room` also knows how full the inboxes are.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        backlog: Backlog,
        troubles: Troubles,
        preemption: Preemption,
        on_hold: FilesOnHold,
    ) -> None:
        self.backlog = backlog
        self.on_hold = on_hold
        self._store = store
        self._troubles = troubles
        self._preemption = preemption
        self.room = Room(store, troubles, preemption.should_abort)
        self.earlier = EarlierInboxes(backlog)
        self.use(config)

    def use(self, config: Config) -> None:
        """Use this configuration from now on."""
        self._config = config
        self._clients = config.clients_by_name
        self._importer = Importer(
            self._store,
            file=config.file,
            reference=config.reference,
            mail=config.mail,
            hooks=config.hook,
            check_room=self.room.check_content,
        )
        self._preemption.use(config)
        self.room.use(config)
        self.backlog.keep(self._clients)

    def take(
        self,
        inbox: Inbox,
        name: bytes,
        identity: Identity,
        *,
        refusal: Message | None = None,
        is_released: bool = False,
    ) -> bool:
        """Claim a file; return whether it was still as examined. Raises OSError, also when the disk is full."""
        if not refusal:
            self.room.check(inbox.client, inbox.fd, identity.size_bytes)
        capture = claim_upload(inbox, name, identity, datetime.now(UTC), refusal=refusal, is_released=is_released)
        if capture is None:
            log.debug("file.disturbed")
            return False
        log.info("file.claimed", claim_id=capture.claim_id, size_bytes=identity.size_bytes)
        if capture.settled:
            is_plain = name.lower().endswith(b".csv") and not is_released
            self.backlog.add(inbox.client, capture.claim_id, identity.size_bytes if is_plain else math.inf)
        else:
            self._wait(inbox.client, capture.claim_id, blocks=False)
        return True

    def find_unfinished(self, client: str, inbox: Inbox) -> None:
        """Queue the claims in `.work`, and mark in the ledger those that were archived already."""
        unfinished = unfinished_claims(inbox)
        for claim_id in unfinished:
            self.earlier.forget(claim_id)  # the folder was moved with its contents
            self.backlog.add(client, claim_id)
        try:
            for entry in ledger.unarchived(self._store.conn, client):
                if entry.claim_id not in unfinished and not self.earlier.path_of(entry.claim_id):
                    if holds_archive(inbox, entry.archive):
                        ledger.mark_archived(self._store.conn, [entry.claim_id], datetime.now(UTC))
                    else:
                        self._troubles.report("archive.missing", client=client, claim_id=entry.claim_id)
        except StoreError as error:
            self._troubles.report_error("store.refused", error)

    def work_on_next(self) -> bool:
        """Process one claim that is due, or several small ones; return if there was one. Raises what will not pass."""
        for claim_id in self.on_hold.take_decided():
            self.backlog.resume(claim_id)
        due = self.backlog.next_due(time.monotonic()).claims
        # Several hosts would wait for each other, each with the clients of one transaction.
        if due and not (len(due) > 1 and not self._store.conn.host and self._work_together(due)):
            self._work_on(*due[0])
        return bool(due)

    def _work_together(self, due: Sequence[tuple[str, str]]) -> bool:
        """Complete claims that were just made, in one transaction; return False if each has to be worked on alone."""
        try:
            with contextlib.ExitStack() as handles, Unsynced() as unsynced:
                claims = [_opened(handles, unsynced, self._clients[client], id_) for client, id_ in due]
                for _, claim in claims:
                    self.room.check_claim(claim)
                with self._store.together():
                    imported = [self._import(claim) for _, claim in claims]
                for receipt, took_s in imported:
                    _note(receipt, took_s, self.on_hold)
                ends = [*zip(claims, (receipt.outcome for receipt, _ in imported), strict=True)]
                for each in (each for each, outcome in ends if outcome is Outcome.ON_HOLD):
                    _hold(self.backlog, *each)
                self._archive([each for each, outcome in ends if outcome is not Outcome.ON_HOLD])
        except Exception as error:  # noqa: BLE001 - what is not committed is imported again, as after a crash
            raise_if_fatal(error)
            log.debug("claims.separated", files=len(due), reason=reason(error))
            for _, claim_id in due:
                self.backlog.separate(claim_id)
            return False
        return True

    def _work_on(self, client: str, claim_id: str) -> None:
        """Complete a claim, or defer it."""
        with structlog.contextvars.bound_contextvars(client=client, file="", claim_id=claim_id):
            try:
                self._troubles.resolve(client, claim_id)
                settings = self._clients[client]
                path = self.earlier.path_of(claim_id) or settings.inbox
                if path != settings.inbox and not os.path.lexists(path):  # the inbox of before is gone
                    raise ClaimGone  # noqa: TRY301 - caught below like that of resume_claim
                with opened(client, path, settings.companion) as inbox:
                    self._resume(inbox, client, claim_id)
            except AlreadyRecorded:  # it is due as before, and the ledger says how it goes on
                log.info("file.recorded")
            except StoreLocked as error:
                self._wait(client, claim_id, str(error), blocks=True)
            except ClaimGone:  # a sweep finds it if it returns
                self._drop(claim_id)
            except Interrupted:
                if self._preemption.should_abort():
                    log.info("file.interrupted")
                elif not self.backlog.preempt(claim_id, time.monotonic()):
                    log.info("file.yielded")
            except Exception as error:  # noqa: BLE001 - no file may end the loop
                self._troubles.defer(client, claim_id, error)
                self.backlog.defer(client, claim_id, time.monotonic(), blocks=is_of_host(error))

    def _resume(self, inbox: Inbox, client: str, claim_id: str) -> None:
        entry = ledger.find(self._store.conn, claim_id)
        with resume_claim(inbox, claim_id, archive=None if entry is None else entry.archive) as resumed:
            claim = resumed
            structlog.contextvars.bind_contextvars(file=claim.file)
            held = self.on_hold.find(claim_id)
            if held is not None and entry is not None and entry.outcome is Outcome.ON_HOLD:
                archive_answers(inbox, claim)
                if not held.decision:
                    self.backlog.hold(claim_id)
                    return
                entry, claim = None, as_decided(claim, held)
            if entry is None and is_in_writing(claim):
                self._wait(client, claim_id, blocks=False)
                return
            if entry is None:
                self.room.check_claim(claim)
                if self._preemption.must_wait(claim):
                    raise Interrupted
                receipt, took_s = self._import(claim)
                _note(receipt, took_s, self.on_hold)
                if receipt.outcome is Outcome.ON_HOLD:
                    _hold(self.backlog, inbox, claim)
                    return
            if held is not None:
                archive_answers(inbox, claim)
            self._archive([(inbox, claim)])
            if held is not None:
                self.on_hold.note_end(client)

    def _wait(self, client: str, claim_id: str, why: str = "touched after it was claimed", *, blocks: bool) -> None:
        log.warning("file.deferred", claim_id=claim_id, reason=why)
        self.backlog.defer(client, claim_id, time.monotonic() + self._config.intake.quiet_s, blocks=blocks)

    def _import(self, claim: Claim) -> tuple[Receipt, float]:
        """Import a file; return its receipt, and how many seconds that took."""
        if not self._store.conn.host:  # else they may be those of a commit of which we were not told
            discard_drafts(claim)
        started = time.monotonic()
        stopping = self._preemption.check_for(claim)
        with _logged_as(claim):
            receipt = self._importer.import_file(claim, self._clients[claim.client], stopping=stopping)
        return receipt, time.monotonic() - started

    def _archive(self, claims: Sequence[tuple[Inbox, Claim]]) -> None:
        def ask() -> None:
            if self._preemption.should_abort():
                raise Interrupted

        archive_claims(claims, copied_up_to_bytes=self._config.file.max_file_bytes, before_copying=ask)
        ledger.mark_archived(self._store.conn, [claim.claim_id for _, claim in claims], datetime.now(UTC))
        for _, claim in claims:
            self._drop(claim.claim_id)
            self._troubles.clear("file.deferred", claim.client)
            with _logged_as(claim):
                log.info("file.archived", archive=printable(claim.archive))

    def _drop(self, claim_id: str) -> None:
        self.earlier.forget(claim_id)
        self.backlog.drop(claim_id)


def _opened(
    handles: contextlib.ExitStack, unsynced: Unsynced, client: ClientSettings, claim_id: str
) -> tuple[Inbox, Claim]:
    """Open a claim that was just made, until `handles` are closed. Raises OSError, also when it has to wait."""
    inbox = handles.enter_context(opened(client.name, client.inbox, client.companion))
    claim = handles.enter_context(resume_claim(inbox, claim_id, unsynced=unsynced))
    if is_in_writing(claim):
        raise OSError(errno.EBUSY, "the file is being written")
    return inbox, claim


def _logged_as(claim: Claim) -> contextlib.AbstractContextManager[object]:
    """Let all that is logged in the block name this claim."""
    return structlog.contextvars.bound_contextvars(client=claim.client, file=claim.file, claim_id=claim.claim_id)


def _hold(backlog: Backlog, inbox: Inbox, claim: Claim) -> None:
    archive_answers(inbox, claim)
    backlog.hold(claim.claim_id)


def _note(receipt: Receipt, took_s: float, on_hold: FilesOnHold) -> None:
    with _logged_as(receipt.claim):
        if receipt.outcome is not Outcome.ON_HOLD:
            _log_receipt(receipt, took_s)
        on_hold.note(receipt)


def _log_receipt(receipt: Receipt, took_s: float) -> None:
    counts = {name: getattr(receipt.tally, name) for name in ("rows", *shown_counts([receipt.tally]))}
    if receipt.outcome is Outcome.REFUSED:
        codes = [receipt.refusal.code] if receipt.refusal else sorted({problem.code for problem in receipt.problems})
        log.warning("file.refused", code=",".join(codes), **counts, took_s=round(took_s, 3))
    else:
        log.info("file.imported", outcome=str(receipt.outcome), **counts, took_s=round(took_s, 3))
