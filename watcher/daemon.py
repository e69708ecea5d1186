"""
The daemon: wires the parts, and the one work loop.

The loop runs in the main thread, which owns the store; other threads hear events, deliver mail and write the log, and
never touch folders or database. One file is dealt with at a time, clients take turns. What fails because of the host
is put off and tried again, in the order of claims: no newer file of a client overtakes an older one.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from importer import history, ledger, outbox
from importer.durable import SyncFailed
from importer.model import Claim, Interrupted, Outcome, Receipt, printable
from importer.outbox import Letter, OutboxPump, Sender
from importer.pipeline import Importer
from importer.readonly import temporary_folder
from importer.store import Store, StoreUnusable
from importer.transport import MailUnusable, make_transport
from watcher import notify, spool
from watcher.alerts import Alerts
from watcher.archives import Purging, archive_orders
from watcher.asking import Order
from watcher.backlog import FIRST_RETRY_S, LAST_RETRY_S, Backlog
from watcher.config import Config, ConfigError, load_again, ping_url, smtp_password
from watcher.control import ControlServer, Refused
from watcher.doubt import doubt_of, refusal
from watcher.exits import EXIT_CONFIG, EXIT_IO_ERROR, EXIT_RUNNING_ALREADY, EXIT_UNEXPECTED
from watcher.lateness import Lateness
from watcher.lock import RunningAlready, locked
from watcher.metrics import Exporter, Source, source_of
from watcher.notice import Hint, Hints, Watch
from watcher.orders import held_orders, store_orders
from watcher.ping import Ping
from watcher.sessions import SessionLogs
from watcher.settle import Doubt, Look, Settling, Sighting, Verdict, Writer
from watcher.signals import Signals
from watcher.status import ClientStatus, Status, StatusFile, count_states, moment, told_files

log = structlog.get_logger()

MAIL_PATIENCE_S: Final = 5.0  # for the mail in hand, when told to stop
SWEEP_PAUSE_S: Final = 10.0  # between sweeps that are asked for again and again, by doubts, trouble or a crowded inbox
# Of all time, at most, for such sweeps of one client, however crowded its inbox is, and for long looks at its files
# that come to nothing: to see whether a quotation mark is open may take 10 s for 1 GiB, and a client can ask for ever.
FRUITLESS_SHARE: Final = 0.05
LONG_LOOK_S: Final = 0.5
MAIL_INTERVAL_S: Final = 1.0
MAIL_POLL_S: Final = 0.1
# Below this, or so many times the size of a file, no work on it begins: the disk is left to what is under way. An
# import took up to 11.3 times the size of a file with 50 bytes a row, 6.8 with 230 (docs/reliability.md).
FREE_BYTES: Final = 64 << 20
STORE_TIMES: Final = 12
INBOX_TIMES: Final = 2

_HOST_TROUBLE: Final = (OSError, sqlite3.OperationalError, spool.InboxUnusable)
# The last is a disk too full for the index that SQLite keeps of its write-ahead log.
_CURED_BY_WAITING: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
_SHARED_ERRORS: Final = (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Daemon:
    """The work loop and all it works with."""

    def __init__(
        self,
        config: Config,
        store: Store,
        pump: OutboxPump,
        hints: Hints,
        signals: Signals,
        *,
        watching: bool,
    ) -> None:
        """
        `watching`: else it is a single pass, which neither hears of events nor takes orders.

        Raises ConfigError when a secret cannot be read.
        """
        self._store = store
        self._pump = pump
        self._hints = hints
        self._signals = signals
        self._started_at = datetime.now(UTC)
        self._backlog = Backlog()
        self._purging = Purging(store)
        self._lateness = Lateness(store.conn, self._post)
        self._ping = Ping(ping_url(config.service))
        self._sweep_at: dict[str, float] = {}
        self._swept_at: dict[str, float] = {}
        self._sweep_s: dict[str, float] = {}
        self._mail_at = -math.inf
        self._taken = 0  # files, since the start
        self._rests_until: dict[str, float] = {}  # clients that are not looked at for a while
        self._crowded: set[str] = set()  # clients with more files than are kept in mind
        self._troubles: dict[tuple[str, str], int] = {}  # by client and file, "" for the inbox: its exit code
        self._adopt(config)
        state_dir = config.service.state_dir
        self._watch = Watch(hints, self._about, os.path.join(state_dir, "canary")) if watching else None
        self._session_logs = SessionLogs(hints, self._about)
        self._control = ControlServer(state_dir, hints.wake)
        held = held_orders(lambda: self._settling, time.monotonic)
        self._orders = {**store_orders(store), **held, "reload": self._reload_ordered}
        self._orders |= archive_orders(store, lambda: self._config, self._gives_up)
        self._status_file = StatusFile(state_dir)

    def _about(self, name: bytes) -> bytes | None:
        return self._settling.about(name)

    def _adopt(self, config: Config) -> None:
        """Work by this configuration from now on; every inbox is swept anew."""
        self._config = config
        self._clients = {client.name: client for client in config.clients}
        self._importer = Importer(self._store, file=config.file, reference=config.reference, mail=config.mail)
        self._settling = Settling(config.intake)
        self._alerts = Alerts(config.mail, self._post)
        self._lateness.use(config, datetime.now(UTC))
        self._backlog.keep(self._clients)
        self._sweep_at = dict.fromkeys(self._clients, -math.inf)
        self._swept_at = dict.fromkeys(self._clients, -math.inf)

    def _post(self, letter: Letter) -> None:
        with self._store.transaction():
            outbox.add(self._store.db, letter)

    def _reload(self) -> str:
        """Read the configuration again and adopt it whole; or keep the old one, and return why."""
        try:
            config = load_again(self._config)
            transport = make_transport(config.mail, smtp_password())
            ping = Ping(ping_url(config.service))
        except (ConfigError, MailUnusable) as error:
            return str(error)
        if _fixed(config) != _fixed(self._config):
            return "[service], [log] and [metrics] change with a restart only, ping_url aside"
        if self._watch is not None:
            for client in self._clients.keys() - {client.name for client in config.clients}:
                self._watch.forget(client)
                self._session_logs.forget(client)
        self._pump.use(transport)
        self._ping.close()
        self._ping = ping
        ping.start()
        self._adopt(config)
        return ""

    def _reload_ordered(self, _order: Order | None = None) -> str:
        if reason := self._reload():
            log.error("config.refused", reason=reason)
            raise Refused(f"the old configuration stays: {reason}")
        log.info("config.reloaded", clients=len(self._clients))
        return f"the configuration was read again; {len(self._clients)} clients"

    def source(self) -> Source:
        """Return where the figures come from, by the configuration of now."""
        return source_of(self._config)

    # The loop

    def run(self) -> None:
        """Work until told to stop. Raises StoreUnusable; OSError, SyncFailed or sqlite3.Error when a disk fails."""
        if self._watch is not None:
            self._watch.start(time.monotonic())
        self._control.start()
        self._ping.start()
        self._sweep_due()
        log.info("daemon.started", clients=len(self._clients), sqlite=sqlite3.sqlite_version)
        notify.ready()
        while not self._signals.stop_asked:
            if not self._turn():
                self._hints.wait(self._next_at() - time.monotonic())

    def run_once(self) -> int:
        """
        Work off what lies in the inboxes; return the exit code, which is not 0 when trouble left a file behind.

        A fresh file gets its quiet period, and its grace when only the end of its last line is missing; what is being
        written or held for longer stays for another time.
        """
        self._ping.start()
        self._sweep_due()
        self._work_off()
        taken = 0
        while self._crowded and self._taken > taken and not self._signals.stop_asked:
            taken = self._taken
            for client in sorted(self._crowded):
                self._sweep(client)
            self._work_off()
        self._tell_of_missing()
        self._send_all()
        while not self._signals.stop_asked and self._purge():
            notify.watchdog()
        return 0 if self._signals.stop_asked else min(self._troubles.values(), default=0)

    def _work_off(self) -> None:
        """Work until nothing more can be taken within the patience of a single pass."""
        patience_s = 2 * self._config.intake.quiet_s + self._config.intake.unterminated_grace_s
        until = time.monotonic() + patience_s
        while not self._signals.stop_asked:
            if not self._work():
                blocked = self._backlog.blocked()
                names_at = self._settling.next_due_at(without=blocked, in_writing=False)
                next_at = min(names_at, self._backlog.next_due_at())
                if next_at > until:
                    break
                self._hints.wait(next_at - time.monotonic())

    def _turn(self) -> bool:
        """Take in what was heard, do what is due, then one piece of work; return whether there was one."""
        notify.watchdog()
        self._obey()
        self._take_hints()
        swept = self._sweep_due()
        if self._watch is not None:
            self._watch.tend(time.monotonic())
        worked = self._work() or self._purge()
        self._tell_of_missing()
        self._move_mail(at_once=worked)
        self._status_file.keep(self._status, time.monotonic(), worked=worked or swept)
        return worked

    def _obey(self) -> None:
        """Do what was ordered by signal or by command."""
        if self._signals.take_reload():
            with contextlib.suppress(Refused):  # it is in the log
                self._reload_ordered()
        self._control.serve_pending(self._orders, check=_raise_if_fatal)

    def _status(self) -> Status:
        now, at = time.monotonic(), datetime.now(UTC)
        return Status(
            pid=os.getpid(),
            started_at=self._started_at,
            written_at=at,
            clients=tuple(self._status_of(client, now, at) for client in self._clients),
            watch_restarts=self._watch.restarts if self._watch is not None else 0,
            ping_trouble=self._ping.trouble,
        )

    def _status_of(self, client: str, now: float, at: datetime) -> ClientStatus:
        waiting = list(self._settling.waiting(client))
        return ClientStatus(
            client=client,
            is_watched=self._watch is not None and self._watch.hears(client),
            swept_at=moment(self._swept_at[client], now, at),
            sweep_s=self._sweep_s.get(client, 0.0),
            trouble=self._alerts.about("inbox.unusable", client),
            deferred=self._alerts.about("file.deferred", client) if self._has_come(client) else "",
            claims=self._backlog.count(client),
            counts=count_states(waiting),
            files=told_files(waiting, now, at),
        )

    def _next_at(self) -> float:
        """Return when there is something to do if nothing is heard."""
        return min(
            self._settling.next_due_at(without=self._backlog.blocked() | self._rests_until.keys()),
            *self._rests_until.values(),
            self._backlog.next_due_at(),
            min(self._sweep_at.values(), default=math.inf),
            self._mail_at,
            self._status_file.next_at,
            self._lateness.next_at,
            self._watch.next_at if self._watch is not None else math.inf,
        )

    def _work(self) -> bool:
        """Look at one name, then go on with one claim, as a rule that of this name."""
        now = time.monotonic()
        self._rests_until = {client: until for client, until in self._rests_until.items() if now < until}
        upload = self._settling.next_due(now, without=self._backlog.blocked() | self._rests_until.keys())
        if upload is not None:
            self._consider(*upload)
        claim = self._backlog.next_due(time.monotonic())
        if claim is not None:
            self._work_on(*claim)
        return upload is not None or claim is not None

    # Noticing

    def _take_hints(self) -> None:
        everywhere, doubtful = self._hints.take_doubts()
        for client in self._clients if everywhere else doubtful & self._clients.keys():
            self._sweep_again(client)
        hints: dict[str, list[Hint]] = {}
        for hint in self._hints.take():
            hints.setdefault(hint.client, []).append(hint)
        for client, heard in hints.items():
            self._note(client, heard)

    def _note(self, client: str, heard: list[Hint]) -> None:
        """Give the names that were heard of to the settling, with what now has them."""
        with self._telling(client), self._opened(client) as inbox:
            for hint in heard:
                if not self._settling.has_room(client, hint.name):
                    self._sweep_again(client)
                    continue
                identity = inbox.glance(hint.name)
                if identity is None:
                    continue
                sighting = Sighting(
                    client=client, name=hint.name, identity=identity, closed=hint.closed, broken_off=hint.broken_off
                )
                self._settling.note(sighting, time.monotonic())

    @contextlib.contextmanager
    def _telling(self, client: str) -> Iterator[None]:
        """End the block at trouble with an inbox, and tell it; events of an inbox that cannot be used are not heard."""
        try:
            yield
        except (OSError, spool.InboxUnusable) as error:
            self._alerts.tell("inbox.unusable", time.monotonic(), client=client, reason=_reason(error))
            self._troubles[client, ""] = EXIT_IO_ERROR
            self._ping.note_trouble(client)
            self._follow(client, None)
            self._sweep_soon(client, time.monotonic() + SWEEP_PAUSE_S)

    def _opened(self, client: str) -> contextlib.AbstractContextManager[spool.Inbox]:
        settings = self._clients[client]
        return spool.opened(client, settings.inbox, settings.companion)

    def _sweep_again(self, client: str) -> None:
        """Sweep as soon as the last sweep allows."""
        pause_s = max(SWEEP_PAUSE_S, self._sweep_s.get(client, 0.0) / FRUITLESS_SHARE)
        self._sweep_soon(client, self._swept_at[client] + pause_s)

    def _sweep_soon(self, client: str, at: float) -> None:
        self._sweep_at[client] = min(self._sweep_at[client], at)

    def _sweep_due(self) -> bool:
        """Sweep what is due; return whether anything was."""
        swept = False
        for client, due_at in self._sweep_at.items():
            if due_at <= time.monotonic() and not self._signals.stop_asked:
                self._sweep(client)
                swept = True
        return swept

    def _sweep(self, client: str) -> None:
        """List an inbox, and find the claims that were left in it."""
        now = time.monotonic()
        self._swept_at[client] = now
        self._sweep_at[client] = now + self._config.service.sweep_interval_s
        with self._telling(client), self._opened(client) as inbox:
            self._follow(client, inbox.identity)
            limit = self._config.intake.max_waiting
            files = inbox.files(self._settling.accepts, limit)
            whole = len(files) < limit
            at_ns = time.time_ns() if self._watch is None else None
            self._crowded.discard(client)
            if not self._settling.note_listing(client, files, now, whole=whole, at_ns=at_ns) or not whole:
                self._crowded.add(client)
            self._find_unfinished(client, inbox)
            self._tell_of_strays(client, inbox)
            self._troubles.pop((client, ""), None)
            if self._alerts.clear("inbox.unusable", client=client):
                log.info("inbox.restored", client=client)
            self._sweep_s[client] = time.monotonic() - now
            self._ping.note_sweep(client, self._clients)
            if client in self._crowded:
                self._sweep_again(client)
            log.debug("sweep.finished", client=client, files=len(files))

    def _tell_of_strays(self, client: str, inbox: spool.Inbox) -> None:
        strays = inbox.strays(self._settling.accepts, self._settling.is_stray, time.time())
        for path in self._settling.note_strays(client, strays):
            reason = "in a folder" if b"/" in path else "temporary name"
            log.warning("file.ignored", client=client, file=printable(path), claim_id="", reason=reason)

    def _follow(self, client: str, identity: tuple[int, int] | None) -> None:
        if self._watch is not None:
            self._watch.follow(client, self._clients[client].inbox, identity)
            self._follow_sessions(client)

    def _follow_sessions(self, client: str) -> None:
        settings = self._clients[client]
        if not settings.log_socket:
            self._session_logs.forget(client)
            return
        chroot, folder = os.path.split(settings.inbox)
        try:
            self._session_logs.follow(client, os.path.join(chroot, settings.log_socket), os.fsencode(folder))
        except OSError as error:
            self._alerts.tell("sessions.unheard", time.monotonic(), client=client, reason=_reason(error))
        else:
            self._alerts.clear("sessions.unheard", client=client)

    def _find_unfinished(self, client: str, inbox: spool.Inbox) -> None:
        """Queue the claims in `.work`, and mark those in the ledger that had been archived already."""
        unfinished = inbox.unfinished()
        for claim_id in unfinished:
            self._backlog.add(client, claim_id)
        try:
            for entry in ledger.unarchived(self._store.db, client):
                if entry.claim_id not in unfinished:
                    self._complete(client, inbox, entry)
        except sqlite3.Error as error:
            _raise_if_fatal(error)
            cause = _shared_cause(error)
            self._alerts.tell("store.refused", time.monotonic(), shared_cause=cause, reason=_reason(error))

    def _complete(self, client: str, inbox: spool.Inbox, entry: ledger.Entry) -> None:
        if inbox.holds_archive(entry.archive):
            self._mark_archived(entry.claim_id)
        else:
            self._alerts.tell("archive.missing", time.monotonic(), client=client, claim_id=entry.claim_id)

    # Deciding

    def _consider(self, client: str, name: bytes) -> None:
        started, taken = time.monotonic(), self._taken
        with structlog.contextvars.bound_contextvars(client=client, file=printable(name), claim_id=""):
            try:
                with self._opened(client) as inbox:
                    self._consider_in(inbox, client, name)
                self._troubles.pop((client, printable(name)), None)
            except Exception as error:  # noqa: BLE001 - the loop must go on whatever one file does to us
                _raise_if_fatal(error)
                self._put_off(client, name, error)
        now = time.monotonic()
        if self._watch is not None and self._taken == taken and now > started + LONG_LOOK_S:
            self._rests_until[client] = now + (now - started) / FRUITLESS_SHARE

    def _consider_in(self, inbox: spool.Inbox, client: str, name: bytes) -> None:
        look = inbox.look(name)
        if look is None:
            self._settling.forget(client, name)
            return
        verdict, doubt = self._judge(inbox, client, name, look)
        if verdict in (Verdict.TAKE, Verdict.RELEASE, Verdict.REFUSE):
            self._settling.come_first(client, name)
        match verdict:
            case Verdict.TAKE | Verdict.RELEASE:
                self._check_room(inbox, client, look.identity.size_bytes)
                self._take(inbox, client, name, look, is_released=verdict is Verdict.RELEASE)
            case Verdict.REFUSE:
                self._take(inbox, client, name, look, refusal=refusal(doubt, name, self._clients[client]))
            case Verdict.HOLD:
                self._tell_of_hold(client, name, look, doubt)
            case Verdict.IGNORE:
                log.warning("file.ignored", reason=_ignored_as(look))
            case Verdict.WAIT:
                log.debug("file.waiting", writer=str(look.writer), size_bytes=look.identity.size_bytes)

    def _judge(self, inbox: spool.Inbox, client: str, name: bytes, look: Look) -> tuple[Verdict, Doubt]:
        if look.writer is Writer.UNKNOWN:
            self._alerts.tell("intake.unprobed", time.monotonic(), client=client)
        verdict = self._settling.judge(client, name, look, time.monotonic())
        if verdict is not Verdict.TAKE:
            return verdict, Doubt.NONE
        doubt = self._doubt(inbox, client, name, look)
        return self._settling.judge_doubt(client, name, doubt, time.monotonic()), doubt

    def _doubt(self, inbox: spool.Inbox, client: str, name: bytes, look: Look) -> Doubt:
        """Read what speaks against a file; one that is too large is not read at all, the import will refuse it."""
        if look.identity.size_bytes > self._config.file.max_file_bytes:
            return Doubt.NONE
        settings = self._clients[client]
        with inbox.upload(name) as raw:
            return doubt_of(
                raw,
                settings,
                companion=inbox.companion(name) if settings.companion else None,
                is_broken_off=self._settling.is_broken_off(client, name),
                last_rows=lambda: history.last_rows(self._store.conn, client),
            )

    def _tell_of_hold(self, client: str, name: bytes, look: Look, doubt: Doubt) -> None:
        log.warning("file.held", reason=str(doubt), size_bytes=look.identity.size_bytes)
        if doubt is Doubt.SHRUNK:
            self._alerts.tell("file.shrunk", time.monotonic(), client=client, file=printable(name))

    def _put_off(self, client: str, name: bytes, error: Exception) -> None:
        now = time.monotonic()
        self._tell(client, printable(name), error)
        self._settling.retry_later(client, name, now)
        # What was claimed before the error is found there.
        self._sweep_soon(client, now + LAST_RETRY_S)

    def _tell(self, client: str, what: str, error: Exception) -> None:
        """Tell the operator why a file has to wait; whatever is not the host's trouble is a fault of ours."""
        is_of_host = isinstance(error, _HOST_TROUBLE)
        if self._watch is None:
            self._troubles[client, what] = EXIT_IO_ERROR if is_of_host else EXIT_UNEXPECTED
        event = "file.deferred" if is_of_host else "file.failed"
        exc_info = None if is_of_host else error
        about = {"client": client, "reason": _reason(error)}
        self._alerts.tell(event, time.monotonic(), shared_cause=_shared_cause(error), exc_info=exc_info, **about)

    # Working

    def _take(
        self,
        inbox: spool.Inbox,
        client: str,
        name: bytes,
        look: Look,
        *,
        refusal: str = "",
        is_released: bool = False,
    ) -> None:
        capture = inbox.claim(name, look.identity, datetime.now(UTC), refusal=refusal, is_released=is_released)
        self._settling.forget(client, name)
        self._taken += 1
        if capture is None:
            log.debug("file.disturbed")
            self._note(client, [Hint(client, name, closed=False)])
            return
        log.info("file.claimed", claim_id=capture.claim_id, size_bytes=look.identity.size_bytes)
        if capture.settled:
            self._backlog.add(client, capture.claim_id)
        else:
            self._wait_for_writer(client, capture.claim_id)

    def _wait_for_writer(self, client: str, claim_id: str) -> None:
        log.warning("file.deferred", claim_id=claim_id, reason="touched after it was claimed")
        self._backlog.defer(client, claim_id, time.monotonic() + self._config.intake.quiet_s, blocks=False)

    def _work_on(self, client: str, claim_id: str) -> None:
        """Take a claim to its end, or put it off. Raises what no waiting cures."""
        with structlog.contextvars.bound_contextvars(client=client, file="", claim_id=claim_id):
            try:
                self._troubles.pop((client, claim_id), None)
                with self._opened(client) as inbox:
                    self._resume(inbox, client, claim_id)
            except FileNotFoundError:  # the claim, or the inbox with it; a sweep finds it if it comes back
                self._backlog.drop(claim_id)
            except Interrupted:
                log.info("file.interrupted")
            except Exception as error:  # noqa: BLE001 - as in _consider
                _raise_if_fatal(error)
                self._tell(client, claim_id, error)
                self._backlog.defer(client, claim_id, time.monotonic(), blocks=isinstance(error, _HOST_TROUBLE))

    def _resume(self, inbox: spool.Inbox, client: str, claim_id: str) -> None:
        entry = ledger.find(self._store.db, claim_id)
        with inbox.resume(claim_id, archive=None if entry is None else entry.archive) as claim:
            structlog.contextvars.bind_contextvars(file=claim.file)
            if entry is None and inbox.is_in_writing(claim):
                self._wait_for_writer(client, claim_id)
                return
            if entry is None:
                self._check_room(inbox, client, claim.size_bytes)
                self._import(inbox, claim)
            self._archive(inbox, claim)

    def _check_room(self, inbox: spool.Inbox, client: str, size_bytes: int) -> None:
        """Raise OSError ENOSPC when the disk of the inbox, of the database or of its temporary files is too full."""
        is_read = size_bytes <= self._config.file.max_file_bytes  # or it is refused as it is
        state_dir, temporary = self._config.service.state_dir, temporary_folder()
        for folder, free, times in (
            (self._clients[client].inbox, inbox.free_bytes(), INBOX_TIMES),
            (state_dir, spool.free_bytes(state_dir), STORE_TIMES),
            (temporary, spool.free_bytes(temporary), STORE_TIMES),
        ):
            floor = max(FREE_BYTES, times * size_bytes * is_read)
            if free < floor:
                raise OSError(errno.ENOSPC, f"less than {floor >> 20} MiB are free in {folder}")

    def _import(self, inbox: spool.Inbox, claim: Claim) -> None:
        inbox.discard_drafts(claim)
        started = time.monotonic()
        client = self._clients[claim.client]
        receipt = self._importer.import_file(claim, client, stopping=self._gives_up)
        _log_receipt(receipt, time.monotonic() - started)

    def _gives_up(self) -> bool:
        """Return whether to leave the file in hand for the next start; asked now and then while it is imported."""
        notify.watchdog()
        return self._signals.stop_overdue()

    def _archive(self, inbox: spool.Inbox, claim: Claim) -> None:
        inbox.archive(claim, copied_up_to_bytes=self._config.file.max_file_bytes)
        self._mark_archived(claim.claim_id)
        self._backlog.drop(claim.claim_id)
        self._alerts.clear("file.deferred", client=claim.client)
        log.info("file.archived", archive=printable(claim.archive))

    def _mark_archived(self, claim_id: str) -> None:
        ledger.mark_archived(self._store.db, claim_id, datetime.now(UTC))

    def _purge(self) -> bool:
        """Remove a little of what was kept long enough; return whether there was any."""
        try:
            return self._purging.step(self._config, time.monotonic())
        except sqlite3.Error as error:
            _raise_if_fatal(error)
            cause = _shared_cause(error)
            self._alerts.tell("store.refused", time.monotonic(), shared_cause=cause, reason=_reason(error))
            return False

    def _tell_of_missing(self) -> None:
        """Tell of uploads that have not come in time."""
        try:
            self._lateness.tend(time.monotonic(), datetime.now(UTC), self._has_come)
        except sqlite3.Error as error:
            _raise_if_fatal(error)
            cause = _shared_cause(error)
            self._alerts.tell("store.refused", time.monotonic(), shared_cause=cause, reason=_reason(error))

    def _has_come(self, client: str) -> bool:
        """Return whether a file of a client is there that is not imported yet."""
        waiting = self._settling.waiting(client)
        return self._backlog.count(client) > 0 or any(not name.ignored for name in waiting)

    # Mail

    def _move_mail(self, *, at_once: bool = False) -> bool:
        """Let mail go on its way; return whether one is under way."""
        now = time.monotonic()
        if now < self._mail_at and not at_once:
            return False
        under_way = False
        try:
            under_way = self._pump.pump(self._store.db, datetime.now(UTC))
        except sqlite3.Error as error:
            _raise_if_fatal(error)
            self._alerts.tell("mail.stuck", now, shared_cause=_shared_cause(error), reason=_reason(error))
        self._mail_at = now + (MAIL_POLL_S if under_way else MAIL_INTERVAL_S)
        return under_way

    def _send_all(self) -> None:
        """Send the mail that is due, before the end of a single pass."""
        while not self._signals.stop_asked and self._move_mail(at_once=True):
            self._hints.wait(MAIL_POLL_S)

    def close(self) -> None:
        """End watching, listening and sending."""
        notify.stopping()
        self._control.close()
        if self._watch is not None:
            self._watch.close()
        self._session_logs.close()
        self._ping.close()
        if self._signals.stop_allows(MAIL_PATIENCE_S):
            with contextlib.suppress(sqlite3.Error):  # the mail is sent again, with the same Message-ID
                self._pump.close(self._store.db, datetime.now(UTC))


def run_daemon(config: Config) -> int:
    """
    Watch the inboxes until told to stop; return the exit code.

    Raises StoreUnusable; OSError, SyncFailed or sqlite3.Error when state directory, database or a disk cannot be used.
    """
    return _run(config, watching=True)


def sweep_once(config: Config) -> int:
    """Work off what lies in the inboxes now; return the exit code. Raises as `run_daemon`."""
    return _run(config, watching=False)


def _run(config: Config, *, watching: bool) -> int:
    try:
        with contextlib.ExitStack() as running:
            return _run_in(running, config, watching=watching)
    except RunningAlready:
        log.error("daemon.refused", reason="another instance runs", state_dir=config.service.state_dir)
        return EXIT_RUNNING_ALREADY
    except (ConfigError, MailUnusable) as error:
        log.error("daemon.refused", reason=str(error))
        return EXIT_CONFIG


def _run_in(running: contextlib.ExitStack, config: Config, *, watching: bool) -> int:
    hints = Hints()
    signals = Signals(hints.wake)
    running.enter_context(signals.heeded())
    running.enter_context(locked(config.service.state_dir))
    transport = make_transport(config.mail, smtp_password())
    path = Path(config.service.database)
    store = _open_patiently(path, hints, signals) if watching else Store.open(path)
    if store is None:
        log.info("daemon.stopped")
        return 0
    running.enter_context(contextlib.closing(store))
    sender = Sender(transport)
    sender.start()
    daemon = Daemon(config, store, OutboxPump(sender), hints, signals, watching=watching)
    running.enter_context(contextlib.closing(daemon))
    if not watching:
        return daemon.run_once()
    exporter = Exporter(config.metrics, daemon.source)
    exporter.start()
    running.enter_context(contextlib.closing(exporter))
    daemon.run()
    log.info("daemon.stopped")
    return 0


def _fixed(config: Config) -> tuple[msgspec.Struct, ...]:
    """Return what cannot change while the daemon runs."""
    return msgspec.structs.replace(config.service, ping_url=""), config.log, config.metrics


def _open_patiently(path: Path, hints: Hints, signals: Signals) -> Store | None:
    """
    Open the database; wait for one that somebody holds, or whose disk is full. Returns None when told to stop.

    To end would let the service manager try again in its own way, and it gives up after some minutes.
    """
    pause_s = FIRST_RETRY_S
    told = ""
    while not signals.stop_asked:
        try:
            return Store.open(path)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) not in _CURED_BY_WAITING:
                raise
            if told != (told := str(error)):
                log.error("store.refused", reason=told)
        notify.extend_start(LAST_RETRY_S)
        hints.wait(pause_s)
        pause_s = min(2 * pause_s, LAST_RETRY_S)
    return None


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


def _ignored_as(look: Look) -> str:
    if look.links > 1:
        return "hard link"
    return "foreign" if look.foreign else str(look.kind)


def _reason(error: Exception) -> str:
    """Return the cause without what is particular to one file, so that equal causes are equal."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{errno.errorcode.get(error.errno, error.errno)}: {error.strerror}"
    return str(error)


def _shared_cause(error: Exception) -> str:
    """Return the cause of an error that can meet all clients alike: the disk, the process, the database; else ""."""
    if isinstance(error, sqlite3.OperationalError):
        is_full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        return "ENOSPC" if is_full else str(error)
    if isinstance(error, OSError) and error.errno in _SHARED_ERRORS:
        return errno.errorcode[error.errno]
    return ""


def _raise_if_fatal(error: Exception) -> None:
    """Raise for a disk that fails, or a database that is damaged: to go on would only make it worse."""
    if isinstance(error, SyncFailed):
        raise error
    if not isinstance(error, sqlite3.Error):
        return
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        raise StoreUnusable(str(error)) from error
    if code == sqlite3.SQLITE_IOERR:
        raise error
