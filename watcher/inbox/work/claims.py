"""
The claims as the loop sees them: made, given to who processes them, and what follows from how each ended.

A claim that fails because of the host is deferred and retried, in the order of claims: no newer file of a client
overtakes an older one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from importer.model import AlreadyRecorded, Interrupted, Message
from importer.store import ledger
from importer.store.database import Store
from importer.store.errors import StoreError, StoreLocked
from watcher.approval.files import FilesOnHold
from watcher.health.room import Room
from watcher.health.trouble import Troubles, is_of_host, raise_if_fatal, reason
from watcher.inbox.archive import holds_archive
from watcher.inbox.claim import claim_upload, unfinished_claims
from watcher.inbox.layout import Inbox
from watcher.inbox.processing import BeingWritten, End, Job, Processing
from watcher.inbox.queue import Backlog, Preemption
from watcher.inbox.work.earlier import EarlierInboxes
from watcher.inbox.work.threads import ImportThreads
from watcher.model import ClaimGone, Identity
from watcher.settings import Config

log = structlog.get_logger()

_ASK_INTERVAL_S: Final = 10.0  # a question for each inbox took more time than sweeping it


class Claims:
    """
    Makes claims and has them processed: by `threads`, or by the loop itself where there are none.

    `backlog` contains those that are not done; others may read it. `room` also knows how full the inboxes are.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        backlog: Backlog,
        troubles: Troubles,
        preemption: Preemption,
        threads: ImportThreads | None,
    ) -> None:
        self.backlog = backlog
        self.on_hold = FilesOnHold(config, store)
        self._store = store
        self._troubles = troubles
        self._preemption = preemption
        self._threads = threads
        self.room = Room(store, troubles, preemption.should_abort)
        self._processing = Processing(store, self.room, preemption)
        self.earlier = EarlierInboxes(backlog)
        self._asked: set[str] = set()
        self._ask_at = -math.inf
        self.use(config)

    def use(self, config: Config) -> None:
        """Use this configuration from now on; what is being processed is finished by the one of before."""
        self._config = config
        self._clients = config.clients_by_name
        self.on_hold.use(config)
        self._preemption.use(config)
        self._processing.use(config)
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
            self.backlog.add(inbox.client, capture.claim_id, identity.size_bytes, is_plain=is_plain)
        else:
            self._wait(inbox.client, capture.claim_id, blocks=False)
        return True

    def find_unfinished(self, client: str, inbox: Inbox) -> None:
        """Queue the claims in `.work`, and mark in the ledger those that were archived already."""
        unfinished = unfinished_claims(inbox, self.backlog.running.claims)
        for claim_id in unfinished:
            self.earlier.forget(claim_id)  # the folder was moved with its contents
            self.backlog.add(client, claim_id)
        try:
            for entry in ledger.unarchived(self._store.conn, client) if client in self._unarchived() else ():
                if entry.claim_id not in unfinished and not self.earlier.path_of(entry.claim_id):
                    if holds_archive(inbox, entry.archive):
                        ledger.mark_archived(self._store.conn, [entry.claim_id], datetime.now(UTC))
                    else:
                        self._troubles.report("archive.missing", client=client, claim_id=entry.claim_id)
        except StoreError as error:
            self._troubles.report_error("store.refused", error)

    def _unarchived(self) -> set[str]:
        """Return the clients of whom the ledger has files that may not be in `.bak`; it is asked for all at once."""
        if (now := time.monotonic()) >= self._ask_at:
            self._asked = ledger.clients_unarchived(self._store.conn)
            self._ask_at = now + _ASK_INTERVAL_S
        return self._asked

    def next_at(self) -> float:
        """Return when there is something to do, by values alone: it is asked while something else is done."""
        return -math.inf if self._threads and self._threads.has_ended else self.backlog.next_due_at()

    def work_on_next(self) -> bool:
        """Have what is due processed, as much as may be at a time; return if there was any. Raises what is fatal."""
        for claim_id in self.on_hold.take_decided():
            self.backlog.resume(claim_id)
        if self._threads:
            return self._work_by(self._threads)
        jobs = [self._job(*each) for each in self.backlog.next_due(time.monotonic()).claims]
        if jobs and not (len(jobs) > 1 and self._work_together(jobs)):
            self._finish(self._processing.process(jobs[0]))
        return bool(jobs)

    def _work_by(self, threads: ImportThreads) -> bool:
        """Take in what has ended, and give what is due to threads that are free; return whether there was any."""
        worked = self.take_in_ended()
        threads.lost.find(self._clients)
        while (due := self.backlog.next_due(time.monotonic())).claims:
            self.backlog.running.begin(due)
            threads.give(self._config, self._job(*due.claims[0]))
            worked = True
        return worked

    def take_in_ended(self) -> bool:
        """Take in what has ended in threads; return whether there was any."""
        worked = False
        while self._threads and (end := self._threads.take()):
            self.backlog.running.end(end.job.claim_id)
            self._finish(end)
            worked = True
        return worked

    def _job(self, client: str, claim_id: str) -> Job:
        """Return a claim as it is to be processed."""
        self._troubles.resolve(client, claim_id)
        settings = self._clients[client]
        return Job(settings, claim_id, self.earlier.path_of(claim_id) or settings.inbox)

    def _work_together(self, jobs: Sequence[Job]) -> bool:
        """Complete claims that were just made, in one transaction; return False if each has to be worked on alone."""
        try:
            ends = self._processing.process_together(jobs)
        except Exception as error:  # noqa: BLE001 - what is not committed is imported again, as after a crash
            raise_if_fatal(error)
            log.debug("claims.separated", files=len(jobs), reason=reason(error))
            for job in jobs:
                self.backlog.separate(job.claim_id)
            return False
        for end in ends:
            self._finish(end)
        return True

    def _finish(self, end: End) -> None:
        """Act on how the processing of a claim ended."""
        client, claim_id = end.job.client.name, end.job.claim_id
        with structlog.contextvars.bound_contextvars(client=client, file=end.file, claim_id=claim_id):
            error = end.error
            if end.receipt is not None:
                try:
                    self.on_hold.note(end.receipt)
                except Exception as of_database:  # noqa: BLE001 - no file may end the loop
                    error = error or of_database
            if client not in self._clients:  # it was taken out of the configuration meanwhile
                if error is not None:
                    raise_if_fatal(error)
            elif error is not None:
                self._put_off(client, claim_id, error)
            elif end.is_on_hold:
                self.backlog.hold(claim_id)
            else:
                self._drop(claim_id)
                self._troubles.clear("file.deferred", client)
                if end.was_on_hold:
                    self.on_hold.note_end(client)

    def _put_off(self, client: str, claim_id: str, error: Exception) -> None:
        """Leave a claim that was not completed until its next try."""
        match error:
            case AlreadyRecorded():  # it is due as before, and the ledger says how it goes on
                log.info("file.recorded")
                self.backlog.separate(claim_id)
            case BeingWritten():
                self._wait(client, claim_id, blocks=False)
            case StoreLocked():
                self._wait(client, claim_id, str(error), blocks=True)
            case ClaimGone():  # a sweep finds it if it returns
                self._drop(claim_id)
            case Interrupted():
                if self._preemption.should_abort():
                    log.info("file.interrupted")
                elif not self.backlog.preempt(claim_id, time.monotonic()):
                    log.info("file.yielded")
            case _:  # no file may end the loop
                self._troubles.defer(client, claim_id, error)
                self.backlog.defer(client, claim_id, time.monotonic(), blocks=is_of_host(error))

    def _wait(self, client: str, claim_id: str, why: str = "touched after it was claimed", *, blocks: bool) -> None:
        log.warning("file.deferred", claim_id=claim_id, reason=why)
        self.backlog.defer(client, claim_id, time.monotonic() + self._config.intake.quiet_s, blocks=blocks)

    def _drop(self, claim_id: str) -> None:
        self.earlier.forget(claim_id)
        self.backlog.drop(claim_id)
