"""
From a name that is due to a claim: looks at one name at a time, and acts on the verdict.

`settle` decides, `holds` reads, `entries` looks, `processing` works on what is taken. A client whose files cost long
looks and come to nothing gets fewer of them.
"""

from __future__ import annotations

import functools
import time

import structlog

from importer.model import HoldReason, printable
from importer.settings import ClientSettings
from watcher.health.trouble import Troubles
from watcher.inbox import entries
from watcher.inbox.events import InboxEvent
from watcher.inbox.holds import hold_reason_of, refusal
from watcher.inbox.large_files import LARGE_BYTES, Reading, Readings
from watcher.inbox.layout import Inbox
from watcher.inbox.processing import Claims
from watcher.inbox.queue import LAST_RETRY_S
from watcher.inbox.settle import Settling
from watcher.inbox.sweeps import Sweeps, work_in
from watcher.model import HOLDS, Look, Verdict, Writer
from watcher.settings import Config

log = structlog.get_logger()


class Intake:
    """Brings names that are due to a verdict. `settling` is there for whoever asks what waits, or ends a hold."""

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
        """Work by this configuration from now on."""
        self._config = config
        self._clients: dict[str, ClientSettings] = config.clients_by_name
        self._readings.end_all()

    def close(self) -> None:
        """End what is under way."""
        self._readings.end_all()

    def next_at(self) -> float:
        """Return when there is something to do if nothing is heard."""
        resting = self._readings.resting()
        names_at = self.settling.next_due_at(without=self._claims.backlog.blocked() | resting.keys())
        return min([names_at, *resting.values()])

    def has_come(self, client: str) -> bool:
        """Return whether a file of a client is there that is not imported yet."""
        waiting = self.settling.waiting(client)
        return self._claims.backlog.count(client) > 0 or any(not name.ignored for name in waiting)

    def consider_next(self) -> bool:
        """Look at one name that is due, and act on the verdict; return whether there was one."""
        now, blocked = time.monotonic(), self._claims.backlog.blocked()
        for client in [*self._readings.resting()]:
            if any(candidate.verdict is not None for candidate in self.settling.of(client).values()):
                self._readings.end_rest(client)  # the operator decided
        for client, name in self._readings.names():
            if client in blocked | self._readings.resting().keys() or not self._is_due(client, name, now):
                self._readings.end(client)
                self._readings.rest(client, is_fruitless=True)
        due = self.settling.next_due(now, without=blocked | self._readings.resting().keys())
        if due is not None:
            client, name = due
            # What is under way comes to its end, or a name that is due every few seconds would keep it from that.
            self._consider(client, self._readings.name_of(client) or name)
        return due is not None

    def _is_due(self, client: str, name: bytes, now: float) -> bool:
        candidate = self.settling.of(client).get(name)
        return candidate is not None and candidate.due_at <= now

    def _consider(self, client: str, name: bytes) -> None:
        started, taken = time.monotonic(), self.taken
        with structlog.contextvars.bound_contextvars(client=client, file=printable(name), claim_id=""):
            if work_in(
                self._clients[client],
                lambda inbox: self._consider_in(inbox, client, name),
                lambda error: self._put_off(client, name, error),
            ):
                self._troubles.resolve(client, printable(name))
        if self._readings.name_of(client) != name:
            self._readings.rest(client, time.monotonic() - started, is_fruitless=self.taken == taken)

    def _consider_in(self, inbox: Inbox, client: str, name: bytes) -> None:
        look = entries.look(inbox, name)
        if look is None:
            self.settling.forget(client, name)
            return
        verdict, hold_reason = self._judge(inbox, client, name, look)
        if verdict is not None:
            self._readings.end(client)
        match verdict:
            case None:  # there is more to read
                pass
            case Verdict.TAKE | Verdict.RELEASE:
                self._take(inbox, client, name, look, is_released=verdict is Verdict.RELEASE)
            case Verdict.REFUSE:
                self._take(inbox, client, name, look, refusal=refusal(hold_reason, name, self._clients[client]))
            case Verdict.HOLD:
                self._tell_of_hold(client, name, look, hold_reason)
            case Verdict.IGNORE:
                log.warning("file.ignored", reason=_ignored_as(look))
            case Verdict.WAIT:
                log.debug("file.waiting", writer=str(look.writer), size_bytes=look.identity.size_bytes)

    def _judge(self, inbox: Inbox, client: str, name: bytes, look: Look) -> tuple[Verdict | None, HoldReason]:
        """Return what to do with a name, None when first there is more to read, and what speaks against it."""
        if look.writer is Writer.UNKNOWN:
            self._troubles.report("intake.unprobed", client=client)
        verdict = self.settling.of(client)[name].judge(look, time.monotonic())
        if verdict is not Verdict.TAKE:
            return verdict, HoldReason.NONE
        hold_reason = self._hold_reason(inbox, client, name, look)
        if hold_reason is None:
            return None, HoldReason.NONE
        return self.settling.of(client)[name].judge_reason(hold_reason, time.monotonic()), hold_reason

    def _hold_reason(self, inbox: Inbox, client: str, name: bytes, look: Look) -> HoldReason | None:
        """
        Read what speaks against a file; None when there is more to read.

        One that is too large is not read at all, the import will refuse it; nor is one on which the operator decided.
        """
        if (known := self.settling.of(client)[name].decided_reason) is not None:
            return known
        if look.identity.size_bytes > self._config.file.max_file_bytes:
            return HoldReason.NONE
        settings = self._clients[client]
        judge = functools.partial(
            hold_reason_of,
            client=settings,
            limits=self._config.file,
            sidecar=entries.read_sidecar(inbox, name) if settings.companion else None,
            is_broken_off=self.settling.of(client)[name].broken_off,
            last_rows=self._claims.last_rows(inbox, client) if settings.shrink_guard else 0,
        )
        if look.identity.size_bytes < LARGE_BYTES:
            with entries.open_upload(inbox, name) as raw:
                return judge(raw)
        begin = functools.partial(
            Reading, name, look.identity, functools.partial(entries.open_upload, inbox, name), judge
        )
        return self._readings.hold_reason(client, name, look.identity, begin)

    def _take(
        self,
        inbox: Inbox,
        client: str,
        name: bytes,
        look: Look,
        *,
        refusal: str = "",
        is_released: bool = False,
    ) -> None:
        self.settling.of(client)[name].is_first = True
        is_taken = self._claims.take(inbox, client, name, look.identity, refusal=refusal, is_released=is_released)
        self.settling.forget(client, name)
        self.taken += 1
        if not is_taken:
            self._sweeps.note(client, [InboxEvent(client, name, closed=False)])

    def _tell_of_hold(self, client: str, name: bytes, look: Look, hold_reason: HoldReason) -> None:
        log.warning("file.held", reason=str(hold_reason), size_bytes=look.identity.size_bytes)
        if alert := HOLDS[hold_reason].alert:
            self._troubles.report(alert, client=client, file=printable(name))

    def _put_off(self, client: str, name: bytes, error: Exception) -> None:
        now = time.monotonic()
        self._troubles.defer(client, printable(name), error)
        self.settling.of(client)[name].retry_later(now)
        # What was claimed before the error is found there.
        self._sweeps.sweep_soon(client, now + LAST_RETRY_S)


def _ignored_as(look: Look) -> str:
    if look.links > 1:
        return "hard link"
    return "foreign" if look.foreign else str(look.kind)
