"""
How the import of one file ends: applied, refused or on hold.

Each end is one transaction with its ledger row, its mail and its events for webhooks.

Durable steps of a file that goes on hold, and what a restart finds after each:

1. drafts of failed CSV and result in the claim folder, then ROLLBACK of all that the file did: it is imported again;
2. COMMIT of ledger row, preview, and mail to client and operator: a claim on hold, whose answers still have to move;
3. COMMIT of a decision: the claim is imported or refused, as any other, and its row on hold goes with that commit.

With a server a connection may be lost at the COMMIT, and then it is not known what came of it; a look may even come
before the server has committed. So each of these transactions begins with the lock on its client, which waits for all
that were begun before, and only then looks whether the claim was recorded: see `begin`.

Of a snapshot of which only the removals are on hold, all is committed with its rows: the file is done, they wait.
The decision, what follows from it and the mail are one transaction: see `store/roster/removal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from importer.answer import drafts, operator_mail
from importer.hooks import events
from importer.model import (
    AlreadyRecorded,
    Change,
    Claim,
    FileRejected,
    FileWarning,
    OnHold,
    Outcome,
    Receipt,
    Tally,
    message,
)
from importer.roster import guards, removals
from importer.roster import on_hold as decisions
from importer.rows.batches import Examination
from importer.settings import ClientSettings, HookSettings, MailSettings
from importer.store import baselines, ledger
from importer.store.connection import Connection
from importer.store.database import Store
from importer.store.recording import Rejections
from importer.store.roster import held_files, pauses


class Told(msgspec.Struct, frozen=True):
    """Who is told how a file ended, and how."""

    client: ClientSettings
    mail: MailSettings
    hooks: tuple[HookSettings, ...]


class GuardTripped(Exception):
    """Nothing of the file may be applied unasked; `answer` says what it would do."""

    def __init__(self, answer: Receipt) -> None:
        super().__init__(answer.code)
        self.answer = answer


def begin(conn: Connection, claim: Claim) -> bool:
    """
    Begin the transaction of a claim: no other one about its client is open, until this one ends.

    Return whether others may have changed what was read before it. Raises AlreadyRecorded, StoreLocked.
    """
    if not conn.lock(claim.client):
        return False
    known = ledger.find(conn, claim.claim_id)
    if known is not None and known.outcome is not Outcome.ON_HOLD:
        raise AlreadyRecorded
    return True


def approved(conn: Connection, claim: Claim) -> OnHold | None:
    """Return the preview of a claim that was on hold and is approved, None for another one."""
    known = held_files.find(conn, claim.claim_id)
    return known if known and known.decision == "approved" else None


def judged(
    conn: Connection,
    import_id: int,
    answer: Receipt,
    client: ClientSettings,
    *,
    missing: int = 0,
    approval: OnHold | None = None,
) -> Receipt:
    """
    Return the receipt with what guards say: on hold, or approved; and with what was on hold and is replaced by it.

    `missing`: users whom a snapshot lacks, and who stay active until somebody decides.
    """
    settings = client.guard
    if settings.fewer_rows != "off" and not answer.is_correction:
        fewer = baselines.of_missing_rows(conn, client.name, answer.feed, answer.tally.rows)
        answer = msgspec.structs.replace(answer, changes=(*answer.changes, *([fewer] if fewer else [])))
    paused = {each.guard for each in pauses.active(conn, answer.finished_at, client.name)} if answer.changes else ()
    tripped = guards.tripped(answer.changes, settings, paused)
    is_by_pause = len(guards.tripped(answer.changes, settings)) > len(tripped)
    replaced = _replaced(conn, answer, client)
    answer = msgspec.structs.replace(
        answer,
        superseded=tuple(each.claim_id for each in replaced),
        approved_by=approval.decided_by if approval else "",
        is_by_pause=is_by_pause,
    )
    if not tripped or (approval and guards.covers(approval.tripped, tripped)):
        return answer
    held = _on_hold(import_id, answer, client, tripped, was_approved=approval is not None)
    if removals.are_all(tripped, settings):
        return _with_removals(answer, held, replaced, missing)
    files = [each for each in replaced if not each.is_of_removals]
    return msgspec.structs.replace(
        answer,
        outcome=Outcome.ON_HOLD,
        approved_by="",
        is_by_pause=False,
        superseded=tuple(each.claim_id for each in files),
        on_hold=msgspec.structs.replace(held, code=decisions.code_for(tripped, held_files.first_mailed(conn, files))),
    )


def _replaced(conn: Connection, answer: Receipt, client: ClientSettings) -> list[OnHold]:
    """Return what is on hold and is replaced by a file, if that is applied."""
    if answer.outcome is Outcome.REFUSED:
        return []
    claim, waiting = answer.claim, held_files.waiting(conn, client.name)
    if not waiting:
        return []
    known = held_files.find(conn, claim.claim_id)
    # By the ledger: the ids of claims have seconds, in which there may be two, and a clock that may be set back.
    older = [each for each in waiting if known is None or each.import_id < known.import_id]
    is_snapshot = client.feed_of(claim.file).is_snapshot and "snapshot.unknown" not in {
        each.code for each in answer.warnings
    }
    return decisions.superseded(older, claim.file, client, is_correction=answer.is_correction, asks_anew=is_snapshot)


def _on_hold(
    import_id: int, answer: Receipt, client: ClientSettings, tripped: tuple[Change, ...], *, was_approved: bool
) -> OnHold:
    return OnHold(
        claim_id=answer.claim.claim_id,
        import_id=import_id,
        client=client.name,
        feed=answer.feed,
        file=answer.claim.file,
        is_correction=answer.is_correction,
        code="",
        tripped=tripped,
        changes=answer.changes,
        held_at=answer.finished_at,
        approval_days=client.guard.approval_days,
        is_for_client="client" in client.guard.approve_by,
        was_approved=was_approved,
    )


def _with_removals(answer: Receipt, held: OnHold, replaced: Sequence[OnHold], missing: int) -> Receipt:
    """Return the receipt of a snapshot that is applied, but for those whom it lacks, with the question of before."""
    before = [each for each in replaced if each.is_of_removals]
    asked = next((each for each in before if guards.covers(each.tripped, held.tripped)), None)
    change = held.tripped[0]
    held = msgspec.structs.replace(
        held,
        kind="removals",
        users=missing,
        code=asked.code if asked else decisions.new_code(),
        tripped=asked.tripped if asked else held.tripped,  # or they would grow by a tenth each night unasked
        held_at=asked.held_at if asked else held.held_at,
        was_approved=False,
    )
    more = {"sum": change.count} if change.count > missing else {}
    key = "snapshot.on_hold/week" if more else "snapshot.on_hold"
    warning = FileWarning(reason=message(key, count=missing, total=change.of, **more))
    return msgspec.structs.replace(answer, removals=held, asks_anew=asked is None, warnings=(*answer.warnings, warning))


def record(
    store: Store,
    import_id: int,
    answer: Receipt,
    examination: Examination,
    rejected: Rejections,
    told: Told,
) -> Receipt:
    """
    Write down a file whose rows are applied, inside the transaction that applied them; return the complete receipt.

    Raises GuardTripped, with drafts of the answers, when the transaction must be rolled back.
    """
    ledger.add(store.conn, import_id, answer)
    if answer.on_hold is None:
        baselines.keep(store.conn, import_id, answer, examination, rejected)
        _supersede(store.conn, answer)
        if answer.removals:
            held_files.add(store.conn, answer.removals)
    problems = (
        *guards.problems(answer.on_hold),
        *rejected.record_problems(import_id, answer.tally),
    )
    answer = msgspec.structs.replace(answer, problems=problems, listed=rejected.count_listed())
    with rejected.listed() as rows:
        drafts.write(answer, told.client, told.mail, examination.table.header, rows)
    if answer.on_hold is not None:
        raise GuardTripped(answer)
    _tell(store, answer, import_id, told)
    return answer


def hold(store: Store, answer: Receipt, told: Told) -> Receipt:
    """Commit that a file is on hold, after all that it did was rolled back."""
    if answer.on_hold is None:
        raise AssertionError
    with store.transaction(answer.claim.unsynced.sync):
        if begin(store.conn, answer.claim):
            known = held_files.find(store.conn, answer.claim.claim_id)
            if known is not None and not known.decision:
                raise AlreadyRecorded
        ledger.add(store.conn, answer.on_hold.import_id, answer)
        held_files.add(store.conn, answer.on_hold)
        _supersede(store.conn, answer)
        _tell(store, answer, answer.on_hold.import_id, told)
    return answer


def refuse(store: Store, claim: Claim, sha256: str, rejected: FileRejected, told: Told) -> Receipt:
    """Commit that nothing of a file is applied."""
    answer = Receipt(
        claim=claim,
        sha256=sha256,
        feed=told.client.feed_of(claim.file).name,
        outcome=Outcome.REFUSED,
        tally=Tally(),
        refusal=rejected,
        finished_at=datetime.now(UTC),
    )
    with store.transaction(claim.unsynced.sync):
        begin(store.conn, claim)
        import_id = ledger.next_id(store.conn, claim.client)
        ledger.add(store.conn, import_id, answer)
        ledger.add_problem(store.conn, import_id, claim.client, rejected)
        drafts.write(answer, told.client, told.mail)
        _tell(store, answer, import_id, told)
    return answer


def _tell(store: Store, answer: Receipt, import_id: int, told: Told) -> None:
    """Queue what is sent about a file, inside the transaction that records its end."""
    drafts.add_mail(store, answer, told.client, told.mail)
    operator_mail.add(store, answer, told.client, told.mail)
    events.add_receipt(store.conn, told.hooks, answer, import_id)


def _supersede(conn: Connection, answer: Receipt) -> None:
    held_files.decide(conn, answer.superseded, "superseded", answer.claim.file, answer.finished_at)
