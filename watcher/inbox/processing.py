"""
From the claim to the archive: claims are made here, and completed.

A claim that fails because of the host is deferred and retried, in the order of claims: no newer file of a client
overtakes an older one. Ledger and folders show what remains to be done of a claim, also of an earlier process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import structlog

from importer.model import Claim, Interrupted, Message, Outcome, Receipt, printable, shown_counts
from importer.pipeline import Importer
from importer.store import ledger
from importer.store.database import Store
from importer.store.errors import StoreError
from watcher.approval.files import FilesOnHold, as_decided
from watcher.health.room import Room
from watcher.health.trouble import Troubles, is_of_host, reason
from watcher.inbox.archive import archive_answers, archive_claim, holds_archive
from watcher.inbox.claim import claim_upload, discard_drafts, is_in_writing, resume_claim, unfinished_claims
from watcher.inbox.layout import Inbox, opened, was_inbox
from watcher.inbox.queue import Backlog, Preemption
from watcher.model import ClaimGone, Identity, InboxUnusable
from watcher.settings import Config

log = structlog.get_logger()


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
        self._earlier_inboxes: dict[str, str] = {}  # claim -> the earlier inbox that contains it
        self.former: tuple[tuple[str, str], ...] = ()  # client and earlier inbox, where claims may be left
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

    def find_left(self, before: Config, former: Iterable[tuple[str, str]] = ()) -> None:
        """Queue the claims in folders that are no longer inboxes: those of the previous configuration, and `former`."""
        inboxes = {client.inbox for client in self._clients.values()}
        known = {*self.former, *former, *((client.name, client.inbox) for client in before.clients)}
        self.former = tuple(
            (client, path)
            for client, path in sorted(known)
            if path not in inboxes and was_inbox(path) and self._find_left_of(client, path)
        )

    def _find_left_of(self, client: str, path: str) -> bool:
        """Queue the claims in a folder; return whether there may be any."""
        try:
            with opened(client, path) as inbox:
                claim_ids = unfinished_claims(inbox)
        except (OSError, InboxUnusable) as error:
            log.warning("claims.unreachable", client=client, inbox=path, reason=reason(error))
            return True
        if claim_ids and client not in self._clients:
            log.warning("claims.left", client=client, inbox=path, files=len(claim_ids))
        elif claim_ids:
            log.info("claims.followed", client=client, inbox=path, files=len(claim_ids))
            for claim_id in claim_ids:
                self._earlier_inboxes[claim_id] = path
                self.backlog.add(client, claim_id)
        return bool(claim_ids)

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
            self.backlog.add(inbox.client, capture.claim_id)
        else:
            self._wait_for_writer(inbox.client, capture.claim_id)
        return True

    def find_unfinished(self, client: str, inbox: Inbox) -> None:
        """Queue the claims in `.work`, and mark in the ledger those that were archived already."""
        unfinished = unfinished_claims(inbox)
        for claim_id in unfinished:
            self._earlier_inboxes.pop(claim_id, None)  # the folder was moved with its contents
            self.backlog.add(client, claim_id)
        try:
            for entry in ledger.unarchived(self._store.conn, client):
                if entry.claim_id not in unfinished and entry.claim_id not in self._earlier_inboxes:
                    self._complete(client, inbox, entry)
        except StoreError as error:
            self._troubles.report_error("store.refused", error)

    def _complete(self, client: str, inbox: Inbox, entry: ledger.Entry) -> None:
        if holds_archive(inbox, entry.archive):
            ledger.mark_archived(self._store.conn, entry.claim_id, datetime.now(UTC))
        else:
            self._troubles.report("archive.missing", client=client, claim_id=entry.claim_id)

    def work_on_next(self) -> bool:
        """Process one claim that is due; return whether there was one. Raises what waiting does not cure."""
        for claim_id in self.on_hold.take_decided():
            self.backlog.resume(claim_id)
        due = self.backlog.next_due(time.monotonic())
        if due is not None:
            self._work_on(*due)
        return due is not None

    def _work_on(self, client: str, claim_id: str) -> None:
        """Complete a claim, or defer it."""
        with structlog.contextvars.bound_contextvars(client=client, file="", claim_id=claim_id):
            try:
                self._troubles.resolve(client, claim_id)
                settings = self._clients[client]
                path = self._earlier_inboxes.get(claim_id, settings.inbox)
                if path != settings.inbox and not os.path.lexists(path):  # the inbox of before is gone
                    raise ClaimGone  # noqa: TRY301 - caught below like that of resume_claim
                with opened(client, path, settings.companion) as inbox:
                    self._resume(inbox, client, claim_id)
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
                self._wait_for_writer(client, claim_id)
                return
            if entry is None:
                self.room.check_claim(claim)
                if self._preemption.must_wait(claim):
                    raise Interrupted
                if self._import(claim) is Outcome.ON_HOLD:
                    archive_answers(inbox, claim)
                    self.backlog.hold(claim_id)
                    return
            self._archive(inbox, claim, was_on_hold=held is not None)

    def _wait_for_writer(self, client: str, claim_id: str) -> None:
        log.warning("file.deferred", claim_id=claim_id, reason="touched after it was claimed")
        self.backlog.defer(client, claim_id, time.monotonic() + self._config.intake.quiet_s, blocks=False)

    def _import(self, claim: Claim) -> Outcome:
        discard_drafts(claim)
        started = time.monotonic()
        stopping = self._preemption.check_for(claim)
        receipt = self._importer.import_file(claim, self._clients[claim.client], stopping=stopping)
        _log_receipt(receipt, time.monotonic() - started)
        self.on_hold.note(receipt)
        return receipt.outcome

    def _archive(self, inbox: Inbox, claim: Claim, *, was_on_hold: bool = False) -> None:
        def ask() -> None:
            if self._preemption.should_abort():
                raise Interrupted

        if was_on_hold:
            archive_answers(inbox, claim)
        archive_claim(inbox, claim, copied_up_to_bytes=self._config.file.max_file_bytes, before_copying=ask)
        ledger.mark_archived(self._store.conn, claim.claim_id, datetime.now(UTC))
        self._drop(claim.claim_id)
        if was_on_hold:
            self.on_hold.note_end(claim.client)
        self._troubles.clear("file.deferred", claim.client)
        log.info("file.archived", archive=printable(claim.archive))

    def _drop(self, claim_id: str) -> None:
        self._earlier_inboxes.pop(claim_id, None)
        self.backlog.drop(claim_id)


def _log_receipt(receipt: Receipt, took_s: float) -> None:
    counts = {name: getattr(receipt.tally, name) for name in ("rows", *shown_counts([receipt.tally]))}
    if receipt.outcome is Outcome.ON_HOLD:
        return
    if receipt.outcome is Outcome.REFUSED:
        codes = [receipt.refusal.code] if receipt.refusal else sorted({problem.code for problem in receipt.problems})
        log.warning("file.refused", code=",".join(codes), **counts, took_s=round(took_s, 3))
    else:
        log.info("file.imported", outcome=str(receipt.outcome), **counts, took_s=round(took_s, 3))
