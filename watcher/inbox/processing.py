"""
From the claim to the archive: every claim is made here, and brought to its end.

What fails because of the host is put off and tried again, in the order of claims: no newer file of a client overtakes
an older one. The ledger and the folders say what is left to do of a claim, whoever began it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import structlog

from importer.model import Claim, Interrupted, Outcome, Receipt, printable
from importer.pipeline import Importer
from importer.store import baselines, ledger
from importer.store.database import Store
from importer.store.errors import StoreError
from watcher.health.room import Room
from watcher.health.trouble import Troubles, is_of_host, reason
from watcher.inbox.archive import archive_claim, holds_archive
from watcher.inbox.claim import claim_upload, discard_drafts, is_in_writing, resume_claim, unfinished_claims
from watcher.inbox.holds import is_correction
from watcher.inbox.layout import Inbox, opened, was_inbox
from watcher.inbox.queue import Backlog, Preemption
from watcher.model import ClaimGone, Identity, InboxUnusable
from watcher.settings import Config

log = structlog.get_logger()


class Claims:
    """
    Makes claims and works on them.

    `backlog` holds those that are not done, and is there for whoever asks.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        backlog: Backlog,
        troubles: Troubles,
        preemption: Preemption,
    ) -> None:
        self.backlog = backlog
        self._store = store
        self._troubles = troubles
        self._preemption = preemption
        self._room = Room(store, preemption.should_abort)
        self._elsewhere: dict[str, str] = {}  # claim -> the inbox of before, where it is
        self.former: tuple[tuple[str, str], ...] = ()  # client and inbox of before, where claims may be left
        self.use(config)

    def use(self, config: Config) -> None:
        """Work by this configuration from now on."""
        self._config = config
        self._clients = config.clients_by_name
        self._importer = Importer(self._store, file=config.file, reference=config.reference, mail=config.mail)
        self._preemption.use(config)
        self._room.use(config)
        self.backlog.keep(self._clients)

    def find_left(self, before: Config, former: Iterable[tuple[str, str]] = ()) -> None:
        """Queue the claims in folders that are no inboxes now: those of the configuration of before, and `former`."""
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
                self._elsewhere[claim_id] = path
                self.backlog.add(client, claim_id)
        return bool(claim_ids)

    def last_rows(self, inbox: Inbox, client: str) -> int:
        """Return how many rows the last file of a client had, corrected failed CSVs aside; 0 when there was none."""
        files = baselines.row_counts(self._store.conn, client)
        return next((rows for name, archive, rows in files if not is_correction(inbox, name, archive)), 0)

    def take(
        self,
        inbox: Inbox,
        client: str,
        name: bytes,
        identity: Identity,
        *,
        refusal: str = "",
        is_released: bool = False,
    ) -> bool:
        """Claim a file as it was looked at; return whether it still was. Raises OSError, also when the disk is full."""
        if not refusal:
            self._room.check(client, inbox.fd, identity.size_bytes)
        capture = claim_upload(inbox, name, identity, datetime.now(UTC), refusal=refusal, is_released=is_released)
        if capture is None:
            log.debug("file.disturbed")
            return False
        log.info("file.claimed", claim_id=capture.claim_id, size_bytes=identity.size_bytes)
        if capture.settled:
            self.backlog.add(client, capture.claim_id)
        else:
            self._wait_for_writer(client, capture.claim_id)
        return True

    def find_unfinished(self, client: str, inbox: Inbox) -> None:
        """Queue the claims in `.work`, and mark those in the ledger that had been archived already."""
        unfinished = unfinished_claims(inbox)
        for claim_id in unfinished:
            self._elsewhere.pop(claim_id, None)  # the folder was moved with all that is in it
            self.backlog.add(client, claim_id)
        try:
            for entry in ledger.unarchived(self._store.conn, client):
                if entry.claim_id not in unfinished and entry.claim_id not in self._elsewhere:
                    self._complete(client, inbox, entry)
        except StoreError as error:
            self._troubles.report_error("store.refused", error)

    def _complete(self, client: str, inbox: Inbox, entry: ledger.Entry) -> None:
        if holds_archive(inbox, entry.archive):
            ledger.mark_archived(self._store.conn, entry.claim_id, datetime.now(UTC))
        else:
            self._troubles.report("archive.missing", client=client, claim_id=entry.claim_id)

    def work_on_next(self) -> bool:
        """Go on with one claim that is due; return whether there was one. Raises what no waiting cures."""
        due = self.backlog.next_due(time.monotonic())
        if due is not None:
            self._work_on(*due)
        return due is not None

    def _work_on(self, client: str, claim_id: str) -> None:
        """Take a claim to its end, or put it off."""
        with structlog.contextvars.bound_contextvars(client=client, file="", claim_id=claim_id):
            try:
                self._troubles.resolve(client, claim_id)
                settings = self._clients[client]
                path = self._folder_of(claim_id, settings.inbox)
                with opened(client, path, settings.companion) as inbox:
                    self._resume(inbox, client, claim_id)
            except ClaimGone:  # a sweep finds it if it comes back
                self._drop(claim_id)
            except Interrupted:
                if self._preemption.should_abort():
                    log.info("file.interrupted")
                elif not self.backlog.preempt(claim_id, time.monotonic()):
                    log.info("file.yielded")
            except Exception as error:  # noqa: BLE001 - the loop must go on whatever one file does to us
                self._troubles.defer(client, claim_id, error)
                self.backlog.defer(client, claim_id, time.monotonic(), blocks=is_of_host(error))

    def _folder_of(self, claim_id: str, inbox: str) -> str:
        """Return the inbox in which a claim lies. Raises ClaimGone when the one of before is not there any more."""
        path = self._elsewhere.get(claim_id, inbox)
        if path != inbox and not os.path.lexists(path):
            raise ClaimGone
        return path

    def _resume(self, inbox: Inbox, client: str, claim_id: str) -> None:
        entry = ledger.find(self._store.conn, claim_id)
        with resume_claim(inbox, claim_id, archive=None if entry is None else entry.archive) as claim:
            structlog.contextvars.bind_contextvars(file=claim.file)
            if entry is None and is_in_writing(claim):
                self._wait_for_writer(client, claim_id)
                return
            if entry is None:
                self._room.check_claim(claim)
                if self._preemption.must_wait(claim):
                    raise Interrupted
                self._import(claim)
            self._archive(inbox, claim)

    def _wait_for_writer(self, client: str, claim_id: str) -> None:
        log.warning("file.deferred", claim_id=claim_id, reason="touched after it was claimed")
        self.backlog.defer(client, claim_id, time.monotonic() + self._config.intake.quiet_s, blocks=False)

    def _import(self, claim: Claim) -> None:
        discard_drafts(claim)
        started = time.monotonic()
        stopping = self._preemption.check_for(claim)
        receipt = self._importer.import_file(claim, self._clients[claim.client], stopping=stopping)
        _log_receipt(receipt, time.monotonic() - started)

    def _archive(self, inbox: Inbox, claim: Claim) -> None:
        def ask() -> None:
            if self._preemption.should_abort():
                raise Interrupted

        archive_claim(inbox, claim, copied_up_to_bytes=self._config.file.max_file_bytes, before_copying=ask)
        ledger.mark_archived(self._store.conn, claim.claim_id, datetime.now(UTC))
        self._drop(claim.claim_id)
        self._troubles.clear("file.deferred", claim.client)
        log.info("file.archived", archive=printable(claim.archive))

    def _drop(self, claim_id: str) -> None:
        self._elsewhere.pop(claim_id, None)
        self.backlog.drop(claim_id)


def _log_receipt(receipt: Receipt, took_s: float) -> None:
    tally = receipt.tally
    counts = {
        "rows": tally.rows,
        "created": tally.created,
        "updated": tally.updated,
        "unchanged": tally.unchanged,
        "failed": tally.failed,
    }
    if receipt.outcome is Outcome.REFUSED:
        codes = [receipt.refusal.code] if receipt.refusal else sorted({problem.code for problem in receipt.problems})
        log.warning("file.refused", code=",".join(codes), **counts, took_s=round(took_s, 3))
    else:
        log.info("file.imported", outcome=str(receipt.outcome), **counts, took_s=round(took_s, 3))
