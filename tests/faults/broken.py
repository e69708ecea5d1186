"""
Mistakes that would break the promises, made on purpose in a process of their own: the judge must find each.

Each function of `MISTAKES` changes the product for the rest of the process.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, BinaryIO

import structlog

from importer import dry_run, durable, ending, pipeline
from importer.answer import drafts
from importer.hooks import events
from importer.mail import outbox
from importer.mail.channel import Delivery
from importer.mail.maildir import MaildirTransport
from importer.model import Claim, Letter, Mail, OnHold, Receipt
from importer.roster import removals
from importer.sending import sender
from importer.settings import ClientSettings, FeedSettings
from importer.store import ledger
from importer.store import mail_queue as table
from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.roster import held_files, pauses, removal, undo
from importer.store.roster.action import Done
from importer.store.sqlite import database
from importer.store.sqlite.connection import SqliteConnection
from importer.store.sqlite.rows import feed
from importer.store.tables import strays
from operate.backup import installing
from operate.backup import target as restores
from tests.faults import broken_hosts
from watcher import log as watcher_log
from watcher import start
from watcher.approval import files, freezes
from watcher.checking import answers
from watcher.health import alerts
from watcher.inbox import layout, processing
from watcher.inbox.archive import archive_claims
from watcher.inbox.claim import resume_claim
from watcher.model import ClaimGone, Identity
from watcher.strays import report


def archive_before_commit() -> None:
    """Move the upload to `.bak` first and import it from there."""

    def resume(self: processing.Processing, inbox: layout.Inbox, end: processing.End) -> None:
        claim_id = end.job.claim_id
        entry = ledger.find(self._store.conn, claim_id)
        with resume_claim(inbox, claim_id, archive=None if entry is None else entry.archive) as claim:
            structlog.contextvars.bind_contextvars(file=claim.file)
            with opened(claim) as raw:
                layout.move(claim.folder_fd, claim.name, inbox.bak_fd, claim.archive)
                if entry is None:
                    self._importer.import_from(raw, claim, end.job.client)
            layout.move(inbox.bak_fd, claim.archive, claim.folder_fd, claim.name)
            self._archive([(inbox, claim)])

    processing.Processing._resume = resume  # type: ignore[method-assign]


def archive_together_before_commit() -> None:
    """Move the uploads of several clients to `.bak` as soon as they are imported."""

    def work(self: processing.Processing, jobs: Sequence[processing.Job]) -> list[processing.End]:
        with contextlib.ExitStack() as handles, durable.Unsynced() as unsynced:
            claims = [processing._opened(handles, unsynced, job) for job in jobs]
            with self._store.together():
                for (_, claim), job in zip(claims, jobs, strict=True):
                    self._import(claim, job.client)
                archive_claims(claims, copied_up_to_bytes=sys.maxsize)
            self._archive([])
        return [processing.End(job) for job in jobs]

    processing.Processing.process_together = work  # type: ignore[method-assign]


def claim_without_sync() -> None:
    """Take claims, uploads and drafts as durable, though nobody has synced them."""
    durable.Unsynced.sync = durable.Unsynced.forget  # type: ignore[method-assign]


def opened(claim: Claim) -> BinaryIO:
    """Open the file of a claim."""
    return open(os.open(claim.name, os.O_RDONLY, dir_fd=claim.folder_fd), "rb")


def commit_without_sync() -> None:
    """Let the database take its commits as done before they are on disk."""
    set_up = database._set_up

    def lazily(conn: SqliteConnection) -> None:
        set_up(conn)
        conn.execute("PRAGMA synchronous = NORMAL")

    database._set_up = lazily


def mail_before_commit() -> None:
    """Send the mail as soon as it is written."""
    add = outbox.add

    def add_and_send(store: Store, letter: Letter) -> int:
        number = add(store, letter)
        _, _, path = store.conn.execute("PRAGMA database_list").fetchone()
        MaildirTransport(os.path.join(os.path.dirname(path), "mail"))(table.mails(store.conn, [number])[0])
        return number

    outbox.add = add_and_send


def commit_piecemeal() -> None:
    """Use the connection as a context manager, which commits but does not begin."""

    @contextlib.contextmanager
    def whole(self: database.SqliteStore, before_commit: Callable[[], None]) -> Iterator[None]:
        with self.conn:
            yield
            before_commit()

    database.SqliteStore._whole = whole  # type: ignore[method-assign]


def import_without_sync() -> None:
    """Take the bytes of an upload as durable, though nobody has synced them."""
    import_from = pipeline.Importer.import_from

    def import_file(self: pipeline.Importer, claim: Claim, client: ClientSettings, **more: Any) -> Receipt:  # noqa: ANN401 - passed on
        with opened(claim) as raw:
            return import_from(self, raw, claim, client, **more)

    pipeline.Importer.import_file = import_file  # type: ignore[method-assign]


def sync_again() -> None:
    """Take a sync that failed for one that can be tried again."""
    durable._DISK_ERRORS = ()  # type: ignore[assignment,misc]


def take_mail_as_sent() -> None:
    """Take every attempt to send a mail as a success."""
    attempt = sender.Sender._attempt

    def attempted(self: sender.Sender[Mail, Delivery], mail: Mail) -> Delivery:
        attempt(self, mail)
        return Delivery(mail=mail)

    sender.Sender._attempt = attempted  # type: ignore[method-assign,assignment]


def tell_every_time() -> None:
    """Tell of trouble whenever it is met."""
    alerts.ALERT_INTERVAL_S = 0.0  # type: ignore[misc]


def run_beside_others() -> None:
    """Do not ask whether somebody else is at work."""

    @contextlib.contextmanager
    def locked(state_dir: str) -> Iterator[None]:
        assert state_dir
        yield

    start.locked = locked  # type: ignore[attr-defined]


def hold_in_pieces() -> None:
    """Commit that a file is on hold, and then the mail about it."""
    hold, add_mail = ending.hold, drafts.add_mail

    def hold_silently(store: Store, answer: Receipt, told: ending.Told) -> Receipt:
        drafts.add_mail = lambda *_: None
        hold(store, answer, told)
        drafts.add_mail = add_mail
        with store.transaction():
            add_mail(store, answer, told.client, told.mail)
        return answer

    ending.hold = hold_silently


def queue_events_after_commit() -> None:
    """Commit how a file ended, and then the event about it."""
    tell, import_file = ending._tell, pipeline.Importer.import_file
    waiting: list[tuple[Any, ...]] = []

    def tell_later(store: Store, answer: Receipt, import_id: int, told: ending.Told) -> None:
        tell(store, answer, import_id, ending.Told(told.client, told.mail, ()))
        waiting.append((told.hooks, answer, import_id))

    def imported(self: pipeline.Importer, claim: Claim, client: ClientSettings, **more: Any) -> Receipt:  # noqa: ANN401 - passed on
        answer = import_file(self, claim, client, **more)
        with self._store.transaction():
            for each in waiting:
                events.add_receipt(self._store.conn, *each)
        waiting.clear()
        return answer

    ending._tell = tell_later
    pipeline.Importer.import_file = imported  # type: ignore[method-assign]


def restore_without_a_mark() -> None:
    """Restore as if nobody could start the service in the middle of it."""

    def begin(target: restores.Target) -> None:
        assert target.state_dir

    def end(target: restores.Target) -> None:
        restores.begin(target)
        restores.end(target)

    installing.begin, installing.end = begin, end  # type: ignore[attr-defined]


def leave_what_is_superseded() -> None:
    """Take the claim of a file that was superseded for one that is gone."""
    as_decided = files.as_decided

    def decided(claim: Claim, held: OnHold) -> Claim:
        if held.decision == "superseded":
            raise ClaimGone
        return as_decided(claim, held)

    processing.as_decided = decided  # type: ignore[attr-defined]


def apply_what_is_rejected() -> None:
    """Import a file once it is decided on, whatever was decided."""

    def decided(claim: Claim, held: OnHold) -> Claim:
        assert held.decision
        return claim

    processing.as_decided = decided  # type: ignore[attr-defined]


def apply_twice() -> None:
    """Import an approved file once more."""
    import_once = processing.Processing._import

    def import_twice(self: processing.Processing, claim: Claim, client: ClientSettings) -> tuple[Receipt, float]:
        imported = import_once(self, claim, client)
        held = held_files.find(self._store.conn, claim.claim_id)
        if held is not None and held.decision == "approved":
            self._store.conn.execute("DELETE FROM import_problems")
            of_end = "DELETE FROM outbox WHERE claim_id = ? AND message_id NOT LIKE '%.on-hold-%'"
            self._store.conn.execute(of_end, (claim.claim_id,))
            self._store.conn.execute("UPDATE imports SET outcome = 'on_hold' WHERE claim_id = ?", (claim.claim_id,))
            imported = import_once(self, claim, client)
        return imported

    processing.Processing._import = import_twice  # type: ignore[method-assign]


def remove_in_pieces() -> None:
    """Commit what becomes of removals, and then the mail about it."""
    decide = removal.decide

    def decide_silently(
        store: Store, decision: removal.Decision, feed: FeedSettings | None, tell: Callable[[Done], None]
    ) -> Done | None:
        done = decide(store, decision, feed, lambda _: None)
        if done is not None:
            with store.transaction():
                tell(done)
        return done

    removal.decide = decide_silently


def remove_unasked() -> None:
    """Ask nobody before users leave, however many they are."""
    removals.is_over = lambda *_: False


def remove_whom_others_state() -> None:
    """Let an approval take users away from the feeds that have stated them since."""
    removal._is_elsewhere = lambda *_: False


def announce_in_pieces() -> None:
    """Note that a freeze is announced, and then write the mail that announces it."""
    tend, add = freezes.Announcements.tend, outbox.add

    def tend_in_pieces(self: freezes.Announcements, now: float, at: datetime) -> None:
        letters: list[Letter] = []

        def add_later(store: Store, letter: Letter) -> int:
            del store
            letters.append(letter)
            return 0

        outbox.add = add_later
        tend(self, now, at)
        outbox.add = add
        with self._store.transaction():
            for letter in letters:
                add(self._store, letter)

    freezes.Announcements.tend = tend_in_pieces  # type: ignore[method-assign]


def import_into_freezes() -> None:
    """Import the files of a feed that is frozen."""
    pauses.refusal_of_freeze = lambda *_: None


def release_by_pause() -> None:
    """Take a limit that does not count for a time for an approval."""
    add = pauses.add

    def add_and_release(conn: Connection, client: str, guards: Iterable[str], until: datetime) -> None:
        add(conn, client, guards, until)
        conn.execute("UPDATE on_hold SET decision = 'approved', decided_at = held_at WHERE client = ?", (client,))

    pauses.add = add_and_release


def answer_checks_first() -> None:
    """Say that a file was checked, and then hand over its failed CSV."""
    write, hand_over = answers.Answering.write, answers.Answering._hand_over

    def write_first(self: answers.Answering, receipt: Receipt, identity: Identity, drafts_fd: int | None) -> None:
        later: list[tuple[Any, ...]] = []
        answers.Answering._hand_over = lambda _, *draft: later.append(draft)  # type: ignore[method-assign]
        write(self, receipt, identity, drafts_fd)
        for draft in later:
            hand_over(self, *draft)

    answers.Answering.write = write_first  # type: ignore[method-assign]


def keep_what_is_tried() -> None:
    """Let a file that is only checked change the users."""
    trial = dry_run.DryRun.trial

    @contextlib.contextmanager
    def kept(self: dry_run.DryRun, *file: Any, **more: Any) -> Iterator[dry_run.Trial]:  # noqa: ANN401 - passed on
        with trial(self, *file, **more) as tried:
            tried.store.conn.execute("ATTACH ? AS kept", (str(self.database.file),))
            tried.store.conn.execute("INSERT OR REPLACE INTO kept.users SELECT * FROM main.users")
            yield tried

    dry_run.DryRun.trial = kept  # type: ignore[method-assign]


def count_misses_twice() -> None:
    """Take each snapshot for two."""
    feed._ABSENT = feed._ABSENT.replace("+ 1", "+ 2")  # type: ignore[misc]


def undo_no_states() -> None:
    """Let those be active whom an import has made that is undone."""
    fields = undo._fields
    undo._fields = lambda conn, scope: [each for each in fields(conn, scope) if each != "inactive_by"]


def end_before_the_log() -> None:
    """Let the end come before the thread that writes the log has come to any line."""

    def write_none(self: watcher_log._Writer) -> None:
        assert self.dropped_lines == 0

    watcher_log._Writer._write_all = write_none  # type: ignore[method-assign]


def tell_of_strays_in_pieces() -> None:
    """Note that a client was told of names before the mail that tells of them."""
    write = report.Strays._write

    def write_in_pieces(
        self: report.Strays,
        client: str,
        changes: Sequence[report.Changes],
        told: report.Told | None,
        others: Iterable[str],
    ) -> None:
        if told is not None:
            with self._store.transaction():
                strays.put(self._store.conn, client, told.strays)
        write(self, client, changes, told, others)

    report.Strays._write = write_in_pieces  # type: ignore[method-assign]


MISTAKES: dict[str, Callable[[], None]] = {
    "archive before commit": archive_before_commit,
    "archive together before commit": archive_together_before_commit,
    "claim without sync": claim_without_sync,
    "commit without sync": commit_without_sync,
    "mail before commit": mail_before_commit,
    "commit piecemeal": commit_piecemeal,
    "hold in pieces": hold_in_pieces,
    "events after commit": queue_events_after_commit,
    "import without sync": import_without_sync,
    "sync again": sync_again,
    "mail taken as sent": take_mail_as_sent,
    "trouble told every time": tell_every_time,
    "run beside others": run_beside_others,
    "end before the log": end_before_the_log,
    "superseded left": leave_what_is_superseded,
    "rejected applied": apply_what_is_rejected,
    "approved applied twice": apply_twice,
    "removals in pieces": remove_in_pieces,
    "removals unasked": remove_unasked,
    "removals of others": remove_whom_others_state,
    "freeze in pieces": announce_in_pieces,
    "freeze ignored": import_into_freezes,
    "released by a pause": release_by_pause,
    "check answered first": answer_checks_first,
    "check kept": keep_what_is_tried,
    "misses counted twice": count_misses_twice,
    "restore without a mark": restore_without_a_mark,
    "states not undone": undo_no_states,
    "strays in pieces": tell_of_strays_in_pieces,
    **broken_hosts.MISTAKES,
}
