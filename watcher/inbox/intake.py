"""
From a name that is due to a claim: examines one name at a time, and acts on the verdict.

`settle` decides, `holds` reads, `entries` examines, `work/claims` has what is claimed imported. A client whose files
take long to read, again and again without a claim, gets fewer looks.
"""

from __future__ import annotations

import functools
import math
import time

import structlog

from importer.model import HoldReason, Message, printable
from importer.names import approval_in
from importer.settings import ClientSettings
from importer.store.errors import StoreError, StoreLocked
from watcher.health.trouble import Troubles
from watcher.inbox import entries
from watcher.inbox.events import InboxEvent
from watcher.inbox.holds import hold_reason_of, is_failed_csv, refusal
from watcher.inbox.large_files import LARGE_BYTES, Reading, Readings
from watcher.inbox.layout import Inbox
from watcher.inbox.queue import LAST_RETRY_S
from watcher.inbox.settle import Settling
from watcher.inbox.sweeps import Sweeps, work_in
from watcher.inbox.work.claims import Claims
from watcher.model import HOLDS, Look, Verdict, Writer
from watcher.settings import Config

log = structlog.get_logger()


class Intake:
    """Decides on names that are due. `settling` also answers what waits, and ends holds."""

    def __init__(
        self,
        config: Config,
        settling: Settling,
        readings: Readings,
        claims: Claims,
        troubles: Troubles,
        sweeps: Sweeps,
    ) -> None:
        self.settling = settling
        self.taken = 0  # files
        self._readings = readings
        self._claims = claims
        self._troubles = troubles
        self._sweeps = sweeps
        self.use(config)

    def use(self, config: Config) -> None:
        """Use this configuration from now on."""
        self._config = config
        self._clients: dict[str, ClientSettings] = config.clients_by_name
        self._readings.end_all()

    def close(self) -> None:
        """End looks that are in progress."""
        self._readings.end_all()

    def next_at(self) -> float:
        """Return the next time at which there is work if no event arrives."""
        if self._claims.backlog.is_ahead:
            return math.inf  # until a claim has ended
        names_at = self.settling.next_due_at(without=self.left_alone())
        return min([names_at, *self._readings.resting().values()])

    def left_alone(self) -> set[str]:
        """Return the clients of which nothing is looked at, and so nothing is claimed, now: all that limits them."""
        return self._claims.backlog.blocked() | self._readings.resting().keys()

    def has_come(self, client: str) -> bool:
        """Return whether a file of a client is waiting that is not imported yet."""
        waiting = self.settling.waiting(client)
        return self._claims.backlog.count(client) > 0 or any(not name.ignored for name in waiting)

    def consider_next(self) -> bool:
        """Examine one name that is due, and act on the verdict; return whether there was one."""
        if self._claims.backlog.is_ahead:
            return False
        now = time.monotonic()
        for client in self._claims.on_hold.take_freed():
            for candidate in self.settling.of(client).values():
                candidate.end_wait(now)
        for client in [*self._readings.resting()]:
            if any(candidate.verdict is not None for candidate in self.settling.of(client).values()):
                self._readings.end_rest(client)  # the operator decided
        for client, name in self._readings.names():
            if client in self.left_alone() or not self._is_due(client, name, now):
                self._readings.end(client)
                self._readings.rest(client, is_fruitless=True)
        due = self.settling.next_due(now, without=self.left_alone())
        if due is not None:
            client, name = due
            # A look in progress is finished first, or a name that is due every few seconds would prevent that.
            self._consider(client, self._readings.name_of(client) or name)
        return due is not None

    def _is_due(self, client: str, name: bytes, now: float) -> bool:
        candidate = self.settling.of(client).get(name)
        return candidate is not None and candidate.due_at <= now

    def _consider(self, client: str, name: bytes) -> None:
        started, taken = time.monotonic(), self.taken
        with structlog.contextvars.bound_contextvars(client=client, file=printable(name), claim_id=""):
            if is_done := work_in(
                self._clients[client],
                lambda inbox: self._consider_in(inbox, name),
                lambda error: self._put_off(client, name, error),
            ):
                self._troubles.resolve(client, printable(name))
        if self._readings.name_of(client) != name:
            took_s = time.monotonic() - started if is_done else 0.0  # one that failed may have waited for the database
            self._readings.rest(client, took_s, is_fruitless=self.taken == taken)

    def _consider_in(self, inbox: Inbox, name: bytes) -> None:
        client, look = inbox.client, entries.look(inbox, name)
        if look is None:
            self.settling.forget(client, name)
            return
        verdict, hold_reason = self._judge(inbox, name, look)
        if verdict is not None:
            self._readings.end(client)
        match verdict:
            case None:  # there is more to read
                pass
            case Verdict.TAKE | Verdict.RELEASE:
                self._take(inbox, name, look, is_released=verdict is Verdict.RELEASE)
            case Verdict.REFUSE:
                self._take(inbox, name, look, refusal=refusal(hold_reason, name, self._clients[client]))
            case Verdict.APPROVE:
                self._claims.on_hold.take_approval(client, name, inbox.fd)
                self.settling.forget(client, name)
            case Verdict.HOLD:
                self._report_hold(client, name, look, hold_reason)
            case Verdict.IGNORE:
                log.warning("file.ignored", reason=ignored_as(look))
            case Verdict.WAIT:
                log.debug("file.waiting", writer=str(look.writer), size_bytes=look.identity.size_bytes)

    def _judge(self, inbox: Inbox, name: bytes, look: Look) -> tuple[Verdict | None, HoldReason]:
        """Return what to do with a name, None while there is more to read; and the reason to hold it."""
        if look.writer is Writer.UNKNOWN:
            self._troubles.report("intake.unprobed", client=inbox.client)
        candidate = self.settling.of(inbox.client)[name]
        verdict = candidate.judge(look, time.monotonic())
        if verdict is not Verdict.TAKE:
            return verdict, HoldReason.NONE
        if approval_in(name):
            return Verdict.APPROVE, HoldReason.NONE
        if behind := self._claims.on_hold.behind(inbox.client, name, lambda: _is_correction(inbox, name)):
            candidate.wait_behind(behind)
            return Verdict.WAIT, HoldReason.NONE
        hold_reason = self._hold_reason(inbox, name, look)
        if hold_reason is None:
            return None, HoldReason.NONE
        return candidate.judge_reason(hold_reason, time.monotonic()), hold_reason

    def _hold_reason(self, inbox: Inbox, name: bytes, look: Look) -> HoldReason | None:
        """
        Return the reason to hold a file, from its content; None while there is more to read.

        A file that is too large is not read, as the import will refuse it; nor is one that the operator decided on.
        """
        candidate, settings = self.settling.of(inbox.client)[name], self._clients[inbox.client]
        if (known := candidate.decided_reason) is not None:
            return known
        if look.identity.size_bytes > self._config.file.max_file_bytes:
            return HoldReason.NONE
        judge = functools.partial(
            hold_reason_of,
            client=settings,
            limits=self._config.file,
            sidecar=entries.read_sidecar(inbox, name) if settings.companion else None,
            is_broken_off=candidate.broken_off,
        )
        open_upload = functools.partial(entries.open_upload, inbox, name)
        if look.identity.size_bytes < LARGE_BYTES:
            with open_upload() as raw:
                return judge(raw)
        begin = functools.partial(Reading, name, look.identity, open_upload, judge)
        return self._readings.hold_reason(inbox.client, name, look.identity, begin)

    def _take(
        self, inbox: Inbox, name: bytes, look: Look, *, refusal: Message | None = None, is_released: bool = False
    ) -> None:
        if not (refusal or is_released):
            names, waiting = self.settling.names, self.settling.waiting(inbox.client)
            measure = functools.partial(entries.staying_bytes, inbox, names.accept, waiting)
            refusal = self._claims.room.refusal(inbox.client, measure, look.identity.size_bytes)
        self.settling.of(inbox.client)[name].is_first = True
        is_taken = self._claims.take(inbox, name, look.identity, refusal=refusal, is_released=is_released)
        self.settling.forget(inbox.client, name)
        self.taken += 1
        if not is_taken:
            self._sweeps.note(inbox.client, [InboxEvent(inbox.client, name, closed=False)])

    def _report_hold(self, client: str, name: bytes, look: Look, hold_reason: HoldReason) -> None:
        log.warning("file.held", reason=str(hold_reason), size_bytes=look.identity.size_bytes)
        if alert := HOLDS[hold_reason].alert:
            self._troubles.report(alert, client=client, file=printable(name))

    def _put_off(self, client: str, name: bytes, error: Exception) -> None:
        now = time.monotonic()
        if isinstance(error, StoreLocked):  # nothing is wrong
            log.warning("file.deferred", reason=str(error))
        else:
            self._troubles.defer(client, printable(name), error)
        candidate = self.settling.of(client)[name]
        candidate.retry_later(now)
        # The database is away for the files that came later, too: none of them may meet it first once it is back.
        candidate.is_first = candidate.is_first or isinstance(error, StoreError)
        # The sweep finds what was claimed before the error.
        self._sweeps.sweep_soon(client, now + LAST_RETRY_S)


def _is_correction(inbox: Inbox, name: bytes) -> bool:
    with entries.open_upload(inbox, name) as raw:
        return is_failed_csv(raw)


def ignored_as(look: Look) -> str:
    """Return as what a name is ignored."""
    if look.links > 1:
        return "hard link"
    return "foreign" if look.foreign else str(look.kind)
