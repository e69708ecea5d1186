"""
From landing to claim: takes in what was heard and swept, looks at one name at a time, and acts on the verdict.

`settle` decides, `holds` reads, `entries` lists and looks, `processing` works on what is taken. Here they are brought
together, and a client whose inbox costs more looks than it brings files gets fewer of them.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Iterator
from typing import Final

import structlog

from importer.model import HoldReason, printable
from importer.settings import ClientSettings
from watcher.health.trouble import Troubles, raise_if_fatal
from watcher.inbox import entries
from watcher.inbox.events import Hint, Hints
from watcher.inbox.holds import doubt_of, refusal
from watcher.inbox.large_files import Reading, Readings
from watcher.inbox.layout import Inbox, opened
from watcher.inbox.processing import LARGE_BYTES, Claims
from watcher.inbox.queue import LAST_RETRY_S
from watcher.inbox.settle import Settling
from watcher.inbox.sources import EventSources
from watcher.model import HOLDS, Look, Sighting, Verdict, Writer
from watcher.settings import Config

log = structlog.get_logger()

SWEEP_PAUSE_S: Final = 10.0  # between sweeps that are asked for again and again, by doubts, trouble or a crowded inbox
# Of all time, at most, for such sweeps of one client, however crowded its inbox is, and for long looks at its files
# that come to nothing: to see whether a mark is open may take minutes for 1 GiB, and a client can ask for ever.
FRUITLESS_SHARE: Final = 0.05
LONG_LOOK_S: Final = 0.5


class Intake:
    """
    The inboxes of all clients; every one is due for a sweep at first.

    `sources` follow at each look at an inbox which folder it is now. `watching`: else it is a single pass. `settling`
    is there for whoever asks what waits, or ends a hold.
    """

    def __init__(
        self, config: Config, claims: Claims, troubles: Troubles, sources: EventSources, *, watching: bool
    ) -> None:
        self.settling = Settling(config.intake)
        self.taken = 0  # files
        self.crowded: set[str] = set()  # clients with more files than are kept in mind
        self.unusable: set[str] = set()  # clients whose inbox could not be used since its last good sweep
        self._clients: dict[str, ClientSettings] = {}
        self._claims = claims
        self._troubles = troubles
        self._sources = sources
        self._watching = watching
        self._last_sweep: dict[str, tuple[float, float]] = {}  # when, and how long it took
        self._rests_until: dict[str, float] = {}  # clients that are not looked at for a while
        self._readings = Readings()
        self.use(config)

    def use(self, config: Config) -> None:
        """Work by this configuration from now on; every inbox is swept anew, and no hold begins anew."""
        before = self._clients
        self._config = config
        self._clients = config.clients_by_name
        for client in before:
            if client not in self._clients or self._clients[client].inbox != before[client].inbox:
                self._forget(client)
        self._readings.end_all()
        self.settling.use(config.intake)
        self._sweep_at = dict.fromkeys(self._clients, -math.inf)

    def _forget(self, client: str) -> None:
        """Forget all about an inbox that is not the client's any more."""
        self.settling.forget_client(client)
        self.crowded.discard(client)
        self.unusable.discard(client)
        self._last_sweep.pop(client, None)
        self._rests_until.pop(client, None)

    def close(self) -> None:
        """End what is under way."""
        self._readings.end_all()

    def next_at(self) -> float:
        """Return when there is something to do if nothing is heard."""
        return min(
            self.settling.next_due_at(without=self._claims.backlog.blocked() | self._rests_until.keys()),
            *self._rests_until.values(),
            min(self._sweep_at.values(), default=math.inf),
        )

    def others_due_at(self, client: str) -> float:
        """Return when a name of any other client is due for a look, and may well be taken soon."""
        now = time.monotonic()
        resting = (each for each, until in self._rests_until.items() if now < until)
        reading = (each for each, _ in self._readings.names())
        return self.settling.next_ready_at(without={client, *self._claims.backlog.blocked(), *resting, *reading})

    def last_sweep(self, client: str) -> tuple[float, float]:
        """Return when a client's inbox was swept last, and how long that took."""
        return self._last_sweep.get(client, (-math.inf, 0.0))

    def has_come(self, client: str) -> bool:
        """Return whether a file of a client is there that is not imported yet."""
        waiting = self.settling.waiting(client)
        return self._claims.backlog.count(client) > 0 or any(not name.ignored for name in waiting)

    # Noticing

    def take_in(self, hints: Hints, *, telling: bool = True) -> None:
        """
        Note what was heard since the last time.

        `telling`: else nothing is told of an inbox that cannot be used; a sweep, after what is being done, will.
        """
        everywhere, doubtful = hints.take_doubts()
        for client in self._clients if everywhere else doubtful & self._clients.keys():
            self._sweep_again(client)
        heard: dict[str, list[Hint]] = {}
        for hint in hints.take():
            if hint.client in self._clients:  # else it was taken out of the configuration meanwhile
                heard.setdefault(hint.client, []).append(hint)
        for client, of_client in heard.items():
            self._note(client, of_client, telling=telling)

    def _note(self, client: str, heard: list[Hint], *, telling: bool = True) -> None:
        """Give the names that were heard of to the settling, with what now has them."""

        def note_all(inbox: Inbox) -> None:
            for hint in heard:
                self._note_in(inbox, hint)

        if telling:
            self._work_in(client, note_all, lambda error: self._leave(client, error))
        else:
            self._work_in(client, note_all, lambda _: self._sweep_soon(client, time.monotonic()))

    def _note_in(self, inbox: Inbox, hint: Hint) -> None:
        is_behind = hint.client in self.crowded and not self.settling.knows(hint.client, hint.name)
        if is_behind or not self.settling.has_room(hint.client, hint.name):
            self.crowded.add(hint.client)  # what came before waits for a sweep, and so does this
            self._sweep_again(hint.client)
        elif (identity := entries.glance(inbox, hint.name)) is not None:
            sighting = Sighting(
                client=hint.client, name=hint.name, identity=identity, closed=hint.closed, broken_off=hint.broken_off
            )
            self.settling.note(sighting, time.monotonic())

    def _leave(self, client: str, error: Exception) -> None:
        """Tell of an inbox that cannot be used, and try it again soon; until then its events are not heard."""
        self._troubles.close_inbox(client, error)
        self.unusable.add(client)
        self._sources.follow(self._clients[client], None)
        self._sweep_soon(client, time.monotonic() + SWEEP_PAUSE_S)

    def _work_in(self, client: str, work: Callable[[Inbox], None], give_up: Callable[[Exception], None]) -> bool:
        """
        Do some work in the inbox of a client, or give it up for the error that it raised; return whether it was done.

        Whatever the entries of one client raise is that client's trouble, and never the end of the service.
        """
        settings = self._clients[client]
        try:
            with opened(client, settings.inbox, settings.companion) as inbox:
                work(inbox)
        except Exception as error:  # noqa: BLE001 - as above; what must end the process is raised again
            raise_if_fatal(error)
            give_up(error)
            return False
        return True

    # Sweeping

    def due_for_sweep(self) -> Iterator[str]:
        """Yield the clients whose inbox is due for a sweep."""
        return (client for client, due_at in self._sweep_at.items() if due_at <= time.monotonic())

    def _sweep_again(self, client: str) -> None:
        """Sweep as soon as the last sweep allows."""
        swept_at, sweep_s = self.last_sweep(client)
        self._sweep_soon(client, swept_at + max(SWEEP_PAUSE_S, sweep_s / FRUITLESS_SHARE))

    def _sweep_soon(self, client: str, at: float) -> None:
        self._sweep_at[client] = min(self._sweep_at[client], at)

    def sweep(self, client: str) -> bool:
        """List an inbox, and find the claims that were left in it; return whether it could be used."""
        now = time.monotonic()
        self._last_sweep[client] = now, self.last_sweep(client)[1]
        self._sweep_at[client] = now + self._config.service.sweep_interval_s
        return self._work_in(
            client, lambda inbox: self._sweep_in(inbox, client, now), lambda error: self._leave(client, error)
        )

    def _sweep_in(self, inbox: Inbox, client: str, now: float) -> None:
        self._sources.follow(self._clients[client], inbox.identity)
        files = self._list(inbox, client, now)
        self._claims.find_unfinished(client, inbox)
        self._tell_of_strays(client, inbox)
        self._troubles.is_over(client)
        if self._troubles.clear("inbox.unusable", client):
            log.info("inbox.restored", client=client)
        self.unusable.discard(client)
        self._last_sweep[client] = now, time.monotonic() - now
        if client in self.crowded:
            self._sweep_again(client)
        log.debug("sweep.finished", client=client, files=files)

    def _list(self, inbox: Inbox, client: str, now: float) -> int:
        """Note the names in an inbox; return how many there are, at most as many as are kept in mind."""
        limit = self._config.intake.max_waiting
        files = entries.list_files(inbox, self.settling.accepts, limit)
        whole = len(files) < limit
        at_ns = None if self._watching else time.time_ns()
        self.crowded.discard(client)
        if not self.settling.note_listing(client, files, now, whole=whole, at_ns=at_ns) or not whole:
            self.crowded.add(client)
        return len(files)

    def _tell_of_strays(self, client: str, inbox: Inbox) -> None:
        strays = entries.list_strays(inbox, self.settling.accepts, self.settling.is_stray, time.time())
        for path in self.settling.note_strays(client, strays):
            reason = "in a folder" if b"/" in path else "temporary name"
            log.warning("file.ignored", client=client, file=printable(path), claim_id="", reason=reason)

    # Deciding

    def consider_next(self) -> bool:
        """Look at one name that is due, and act on the verdict; return whether there was one."""
        now = time.monotonic()
        self._rests_until = {
            client: until
            for client, until in self._rests_until.items()
            if now < until and not self.settling.has_decision(client)
        }
        without = self._claims.backlog.blocked() | self._rests_until.keys()
        for client, name in self._readings.names():
            if client in without or not self.settling.is_due(client, name, now):
                self._readings.end(client)
                self._rest(client, 0.0)
        due = self.settling.next_due(now, without=without | self._rests_until.keys())
        if due is not None:
            client, name = due
            # What is under way comes to its end, or a name that is due every few seconds would keep it from that.
            self._consider(client, self._readings.name_of(client) or name)
        return due is not None

    def _consider(self, client: str, name: bytes) -> None:
        started, taken = time.monotonic(), self.taken
        with structlog.contextvars.bound_contextvars(client=client, file=printable(name), claim_id=""):
            if self._work_in(
                client,
                lambda inbox: self._consider_in(inbox, client, name),
                lambda error: self._put_off(client, name, error),
            ):
                self._troubles.is_over(client, printable(name))
        if self._readings.name_of(client) != name:
            self._rest(client, time.monotonic() - started, is_fruitless=self.taken == taken)

    def _rest(self, client: str, took_s: float, *, is_fruitless: bool = True) -> None:
        """Leave a client alone for a while if looks at its files took long and came to nothing."""
        cost_s = max(took_s, self._readings.take_spent(client))
        if self._watching and is_fruitless and cost_s > LONG_LOOK_S:
            self._rests_until[client] = time.monotonic() + cost_s / FRUITLESS_SHARE

    def _consider_in(self, inbox: Inbox, client: str, name: bytes) -> None:
        look = entries.look(inbox, name)
        if look is None:
            self.settling.forget(client, name)
            return
        verdict, doubt = self._judge(inbox, client, name, look)
        if verdict is not None:
            self._readings.end(client)
        match verdict:
            case None:  # there is more to read
                pass
            case Verdict.TAKE | Verdict.RELEASE:
                self._take(inbox, client, name, look, is_released=verdict is Verdict.RELEASE)
            case Verdict.REFUSE:
                self._take(inbox, client, name, look, refusal=refusal(doubt, name, self._clients[client]))
            case Verdict.HOLD:
                self._tell_of_hold(client, name, look, doubt)
            case Verdict.IGNORE:
                log.warning("file.ignored", reason=_ignored_as(look))
            case Verdict.WAIT:
                log.debug("file.waiting", writer=str(look.writer), size_bytes=look.identity.size_bytes)

    def _judge(self, inbox: Inbox, client: str, name: bytes, look: Look) -> tuple[Verdict | None, HoldReason]:
        """Return what to do with a name, None when first there is more to read, and what speaks against it."""
        if look.writer is Writer.UNKNOWN:
            self._troubles.tell("intake.unprobed", client=client)
        verdict = self.settling.judge(client, name, look, time.monotonic())
        if verdict is not Verdict.TAKE:
            return verdict, HoldReason.NONE
        doubt = self._doubt(inbox, client, name, look)
        if doubt is None:
            return None, HoldReason.NONE
        return self.settling.judge_doubt(client, name, doubt, time.monotonic()), doubt

    def _doubt(self, inbox: Inbox, client: str, name: bytes, look: Look) -> HoldReason | None:
        """
        Read what speaks against a file; None when there is more to read.

        One that is too large is not read at all, the import will refuse it; nor is one on which the operator decided.
        """
        if (known := self.settling.decided_doubt(client, name)) is not None:
            return known
        if look.identity.size_bytes > self._config.file.max_file_bytes:
            return HoldReason.NONE
        settings = self._clients[client]
        judge = functools.partial(
            doubt_of,
            client=settings,
            limits=self._config.file,
            companion=entries.read_companion(inbox, name) if settings.companion else None,
            is_broken_off=self.settling.is_broken_off(client, name),
            last_rows=self._claims.last_rows(inbox, client) if settings.shrink_guard else 0,
        )
        if look.identity.size_bytes < LARGE_BYTES:
            with entries.open_upload(inbox, name) as raw:
                return judge(raw)
        begin = functools.partial(
            Reading, name, look.identity, functools.partial(entries.open_upload, inbox, name), judge
        )
        return self._readings.doubt(client, name, look.identity, begin)

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
        self.settling.come_first(client, name)
        is_taken = self._claims.take(inbox, client, name, look.identity, refusal=refusal, is_released=is_released)
        self.settling.forget(client, name)
        self.taken += 1
        if not is_taken:
            self._note(client, [Hint(client, name, closed=False)])

    def _tell_of_hold(self, client: str, name: bytes, look: Look, doubt: HoldReason) -> None:
        log.warning("file.held", reason=str(doubt), size_bytes=look.identity.size_bytes)
        if alert := HOLDS[doubt].alert:
            self._troubles.tell(alert, client=client, file=printable(name))

    def _put_off(self, client: str, name: bytes, error: Exception) -> None:
        now = time.monotonic()
        self._troubles.defer(client, printable(name), error)
        self.settling.retry_later(client, name, now)
        # What was claimed before the error is found there.
        self._sweep_soon(client, now + LAST_RETRY_S)


def _ignored_as(look: Look) -> str:
    if look.links > 1:
        return "hard link"
    return "foreign" if look.foreign else str(look.kind)
