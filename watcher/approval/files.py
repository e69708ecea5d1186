"""
The files on hold, as the loop sees them: what waits behind them, decisions, and what becomes of their claims.

A decision is committed before anything follows from it: a restart finds it, and the claim in `.work`. One about
removals is committed with all that follows.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
import structlog

from importer.answer.operator_mail import reminder
from importer.mail import outbox
from importer.model import Claim, OnHold, Receipt, message, printable
from importer.names import approval_in
from importer.roster.on_hold import approved_by, blocking
from importer.roster.protection import protected_users
from importer.store import queries
from importer.store.database import Store
from importer.store.roster import held_files, removal
from importer.store.roster.action import Done
from watcher.approval.letters import answer_to_wrong_code, removals_decided
from watcher.settings import Config

log = structlog.get_logger()

LOOK_INTERVAL_S: Final = 60.0  # whether one has waited too long
TELL_INTERVAL_S: Final = 600.0  # between two mails to a client about wrong codes


class FilesOnHold:
    """The files that wait for an approval. `decided` and `freed` are taken by those who act on it."""

    def __init__(self, config: Config, store: Store) -> None:
        self._store = store
        self._decided: list[str] = []  # claims to work on
        self._freed: set[str] = set()  # clients of whom a file is no longer on hold
        self._told_at: dict[str, float] = {}  # when a client was told of a wrong code
        self.next_at = 0.0  # when `tend` is to be called next, by the monotonic clock
        self.use(config)

    def use(self, config: Config) -> None:
        """Use this configuration from now on."""
        self._clients = config.clients_by_name
        self._mail = config.mail

    def find(self, claim_id: str) -> OnHold | None:
        """Return what is known of a claim that is, or was, on hold."""
        return held_files.find(self._store.conn, claim_id)

    def behind(self, client: str, name: bytes, is_correction: Callable[[], bool]) -> str:
        """Return the file on hold that one of this name may not overtake, "" for none; mostly it need not be read."""
        behind = blocking(self.waiting(client), printable(name), self._clients[client])
        return "" if behind and is_correction() else behind

    def waiting(self, client: str) -> list[OnHold]:
        """Return the files, and removals, of a client that wait for a decision, oldest first."""
        return held_files.waiting(self._store.conn, client)

    def decide(self, held: OnHold, decision: str, by: str, *, reason: str = "") -> bool:
        """Commit what is to be done with a file, or with removals; return whether it was not decided before."""
        if held.is_of_removals:
            return self.decide_on_removals(held, decision, by, reason=reason) is not None
        at = datetime.now(UTC)
        if not held_files.decide(self._store.conn, [held.claim_id], decision, by, at, reason=reason):
            return False
        self._note(held, decision, by)
        return True

    def decide_on_removals(self, held: OnHold, verdict: str, by: str, *, reason: str = "") -> Done | None:
        """
        Commit what becomes of users whom a snapshot lacks, and the mail about it. None: it was decided before.

        Raises ListUnusable.
        """
        client = self._clients.get(held.client)
        feeds = [each for each in client.feed if each.is_snapshot and each.name == held.feed] if client else []
        protected = protected_users(client) if client and verdict == "approved" else ()
        decision = removal.Decision(
            held=held, verdict=verdict, by=by, at=datetime.now(UTC), protected=protected, reason=reason
        )

        def tell(done: Done) -> None:
            if client and self._mail.recipients_of(client):
                outbox.add(self._store, removals_decided(decision, done.users, client, self._mail))

        done = removal.decide(self._store, decision, next(iter(feeds), None), tell)
        if done is not None:
            self._note(held, verdict, by)
        return done

    def _note(self, held: OnHold, decision: str, by: str) -> None:
        self._decided.append(held.claim_id)
        log.info("hold.decided", client=held.client, file=held.file, claim_id=held.claim_id, decision=decision, by=by)

    def take_approval(self, client: str, name: bytes, inbox_fd: int) -> None:
        """Take an upload for the approval that its name is, and remove it: what is in it does not matter."""
        if approval := approval_in(name):
            self._approve(client, name, approval[1])
        os.unlink(name, dir_fd=inbox_fd)

    def _approve(self, client: str, name: bytes, code: str) -> None:
        """Approve the file with this code, or tell the client that none has it."""
        settings = self._clients[client]
        if "client" in settings.guard.approve_by:
            held = approved_by(code, self.waiting(client))
            if held is not None:
                self.decide(held, "approved", "client")
            if held is not None or held_files.is_used(self._store.conn, client, code.upper()):
                return
        log.warning("approval.refused", client=client, file=printable(name))
        # Each wrong code costs an upload, and none is worth a mail of its own.
        told_at, now = self._told_at.get(client, -math.inf), time.monotonic()
        if self._mail.recipients_of(settings) and now >= told_at + TELL_INTERVAL_S:
            self._told_at[client] = now
            with self._store.transaction():
                outbox.add(self._store, answer_to_wrong_code(printable(name), settings, self._mail, datetime.now(UTC)))

    def tend(self, now: float, at: datetime) -> None:
        """Give up the files that have waited too long, and remind the operator once a day of the others."""
        if now < self.next_at:
            return
        self.next_at = now + LOOK_INTERVAL_S
        if self._store.conn.host:  # else only this service decides
            self._decided += held_files.decided_here(self._store.conn)
        for held in held_files.waiting(self._store.conn):
            if held.held_at + timedelta(days=held.approval_days) <= at:
                self.decide(held, "expired", "")
        waiting = [held for held in held_files.waiting(self._store.conn) if held.held_at + timedelta(days=1) <= at]
        if waiting and self._mail.operator:
            letter = reminder(waiting, self._mail, at)
            # Its Message-ID has the day.
            if not queries.knows_mail(self._store.conn, letter.message_id):
                with self._store.transaction():
                    outbox.add(self._store, letter)

    def note(self, receipt: Receipt) -> None:
        """Take in how an import ended: a file that it replaces is to be refused."""
        for claim_id in receipt.superseded:
            if held := self.find(claim_id):
                self._note(held, held.decision, held.decided_by)
        if (held := receipt.on_hold) is not None:
            log.warning(
                "hold.placed",
                guards=sorted({each.guard for each in held.tripped}),
                changes=sum(each.count for each in held.tripped),
                was_approved=held.was_approved,
            )
        if receipt.removals is not None:
            log.warning("removals.placed", feed=receipt.feed, users=receipt.removals.users)

    def note_end(self, client: str) -> None:
        """Note that a file of a client is no longer on hold."""
        self._freed.add(client)

    def take_decided(self) -> list[str]:
        """Return the claims that were decided on since the last call."""
        decided, self._decided = self._decided, []
        return decided

    def take_freed(self) -> set[str]:
        """Return the clients of whom a file was on hold until now, since the last call."""
        freed, self._freed = self._freed, set()
        return freed


def as_decided(claim: Claim, held: OnHold) -> Claim:
    """Return a claim as it is to be worked on: refused, unless it was approved."""
    if held.decision == "approved":
        return claim
    if held.reason:
        return msgspec.structs.replace(claim, refusal=message(f"guard.{held.decision}/why", reason=(held.reason,)))
    params = {"name": held.decided_by} if held.decision == "superseded" else {}
    return msgspec.structs.replace(claim, refusal=message(f"guard.{held.decision}", **params))
