"""
The files in the folders `check`, as the loop sees them: settled like uploads, checked, answered in place.

Nothing here claims, imports or moves a file. A check waits until there is nothing to import, and is ended when there is
again: it starts anew later.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Collection
from typing import Final

import structlog

from importer.model import Interrupted, Outcome, Receipt, printable, shown_counts
from importer.store.database import Store
from watcher.checking.folder import is_obstructed
from watcher.checking.folders import CheckFolders
from watcher.checking.pace import Pace
from watcher.checking.run import Run
from watcher.health.status import CheckFolderStatus
from watcher.health.trouble import Troubles, raise_if_fatal
from watcher.inbox import entries
from watcher.inbox.events import EventQueue
from watcher.inbox.inboxes import Inboxes
from watcher.inbox.intake import ignored_as
from watcher.inbox.layout import Uploads
from watcher.model import Identity, Verdict, Writer
from watcher.settings import Config

log = structlog.get_logger()

_RETRY_S: Final = 1.0  # after a check that was ended for an import


class Checks:
    """Its knowledge of files survives a reload. Not `watching`: a single pass, which receives no events."""

    def __init__(self, config: Config, store: Store, inboxes: Inboxes, troubles: Troubles, *, watching: bool) -> None:
        self._troubles = troubles
        self._signals = inboxes.signals
        self._events = inboxes.events
        # Its own queue: what happens in a folder `check` must not end an import.
        self._folders = CheckFolders(config, EventQueue(inboxes.events), inboxes.sources, troubles, watching=watching)
        self._pace = Pace(inboxes.next_import_at, inboxes.signals, watching=watching)
        self._answered: dict[str, Counter[Outcome]] = {}  # by client
        self._quiet_s = config.intake.quiet_s
        self._run = Run(config, store, troubles, inboxes.signals.should_abort)

    def use(self, config: Config) -> None:
        """Use this configuration from now on."""
        self._quiet_s = config.intake.quiet_s
        self._folders.use(config)
        self._run.use(config)

    @property
    def next_at(self) -> float:
        """Return the next time at which there is work if no event arrives, by the monotonic clock."""
        resting = self._pace.resting(time.monotonic())
        names_at = self._folders.settling.next_due_at(without=resting)
        return min(names_at, self._folders.next_at, self._pace.next_end if resting else math.inf)

    def status_of(self, client: str) -> CheckFolderStatus | None:
        """Return how the folder of a client is doing, None if it has none."""
        if not self._folders.has(client):
            return None
        waiting = sum(not each.ignored for each in self._folders.settling.waiting(client))
        return CheckFolderStatus(waiting=waiting, answered=dict(self._answered.get(client, {})))

    def take_in(self, swept: Collection[str]) -> None:
        """Process events, and sweep the folders of these clients, and what else is due."""
        self._folders.take_in(swept)

    def work(self) -> bool:
        """Examine one name that is due, and check the file if it is finished; return whether there was one."""
        now = time.monotonic()
        due = self._folders.settling.next_due(now, without=self._pace.resting(now))
        if due is None or self._signals.stop_asked:
            return False
        client, name = due
        with structlog.contextvars.bound_contextvars(client=client, file=printable(name), claim_id=""):
            if not self._folders.work_in(client, lambda uploads: self._consider(uploads, name)):
                self._folders.settling.forget(client, name)  # the next sweep finds it
        return True

    def _consider(self, uploads: Uploads, name: bytes) -> None:
        client, settling = uploads.client, self._folders.settling
        candidate = settling.of(client)[name]
        try:
            look = entries.look(uploads, name)
            if look is None:
                self._forget(client, name)
                return
            if look.writer is Writer.UNKNOWN:
                self._troubles.report("intake.unprobed", client=client)
            verdict = candidate.judge(look, time.monotonic())
            if verdict is Verdict.IGNORE:
                log.warning("check.ignored", reason=ignored_as(look))
            elif verdict is Verdict.TAKE and is_obstructed(uploads, name, look.identity):
                log.warning("check.ignored", reason="the name of its answer is taken")
                candidate.due_at = math.inf
            elif verdict is Verdict.TAKE:
                self._check(uploads, name, look.identity)
        except Interrupted:
            log.info("check.yielded")
            candidate.due_at = time.monotonic() + _RETRY_S
        except Exception as error:  # noqa: BLE001 - no file may end the loop
            raise_if_fatal(error)
            self._troubles.report_error("check.deferred", error, client=client)
            candidate.retry_later(time.monotonic())

    def _check(self, uploads: Uploads, name: bytes, identity: Identity) -> None:
        """Check a file and answer it. Raises Interrupted, OSError, SyncFailed, StoreError."""
        client, started = uploads.client, time.monotonic()
        try:
            receipt = self._run.check(uploads, name, identity, self._pace.begin(client, name))
        finally:
            self._pace.note(client, time.monotonic() - started)
        self._troubles.clear("check.deferred", client)
        if receipt is not None:
            _log_receipt(receipt, time.monotonic() - started)
            self._answered.setdefault(client, Counter())[receipt.outcome] += 1
            self._forget(client, name)
        elif (now_there := entries.find_identity(uploads, name)) is not None:
            self._folders.settling.of(client)[name].restart(now_there, time.monotonic())
        else:
            self._forget(client, name)

    def _forget(self, client: str, name: bytes) -> None:
        self._folders.settling.forget(client, name)
        self._pace.forget(client, name)

    def work_off(self) -> None:
        """Check what can be checked within the patience of a single pass."""
        until = time.monotonic() + 2 * self._quiet_s
        while not self._signals.stop_asked:
            if not self.work():
                next_at = self._folders.settling.next_due_at(in_writing=False)
                if next_at > until:
                    break
                self._events.wait(next_at - time.monotonic())


def _log_receipt(receipt: Receipt, took_s: float) -> None:
    counts = {name: getattr(receipt.tally, name) for name in ("rows", *shown_counts([receipt.tally]))}
    outcome = {"outcome": str(receipt.outcome), **({"code": receipt.code} if receipt.code else {})}
    log.info("check.answered", **outcome, **counts, took_s=round(took_s, 3))
