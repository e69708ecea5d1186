"""What the operator is told by mail of a file on hold: counts and lines, no value of anybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from importer.answer.sheet import ranges
from importer.durations import in_words
from importer.mail import outbox
from importer.mail.letter import to_operator
from importer.model import Change, Letter, OnHold, Receipt
from importer.roster import guards
from importer.roster.removals import DAYS
from importer.settings import ClientSettings, MailSettings
from importer.store.database import Store
from importer.wording.catalogue import words

_GROWN: Final = "It was approved before, but would do more by now.\n\n"


def add(store: Store, answer: Receipt, client: ClientSettings, mail: MailSettings) -> None:
    """Put the letter that asks the operator into the outbox, if anything of a file is on hold and nobody was asked."""
    if mail.operator and answer.on_hold:
        outbox.add(store, _on_hold(answer, answer.on_hold, client, mail))
    elif mail.operator and answer.removals and answer.asks_anew:
        outbox.add(store, _removals(answer.removals, mail))


def _on_hold(answer: Receipt, held: OnHold, client: ClientSettings, mail: MailSettings) -> Letter:
    """Return the letter that asks the operator for an approval."""
    name, file = client.name, held.file
    days = in_words(f"{client.guard.approval_days}d")
    return to_operator(
        mail,
        f"{held.claim_id}.on-hold-{held.import_id}.operator",
        f"{file} of {name} is on hold",
        f"The file {file} of {name} is on hold: it would change more of the users than one file may change "
        f"unasked. Nothing of it is applied.\n\n{_GROWN if held.was_approved else ''}"
        + "\n".join(change_lines(held.changes, held.tripped))
        + f"\n\nWho would change, and how: `rosterd preview {held.import_id} --csv`.\n"
        f"If it is right: `rosterd approve {file} --client {name}`.\n"
        f"If it is wrong: `rosterd reject {file} --client {name}`.\n\n"
        f"Without an answer the file is given up after {days}.\n",
        answer.finished_at,
        held.claim_id,
    )


def _removals(held: OnHold, mail: MailSettings) -> Letter:
    """Return the letter that asks the operator whether users have left whom a snapshot lacks."""
    name, file, change = held.client, held.file, held.tripped[0]
    days = in_words(f"{held.approval_days}d")
    week = f" With those of the last {DAYS} days {change.count:,} would leave." if change.count > held.users else ""
    return to_operator(
        mail,
        f"{held.claim_id}.removals.operator",
        f"users are missing from {file} of {name}",
        f"{held.users:,} of {change.of:,} users of {name} are missing from the snapshot {file}. That is more than may "
        f"leave unasked, so they stay active. The rest of the file is imported.{week}\n\n"
        f"Who they are: `rosterd preview {held.import_id} --csv`.\n"
        f"If they have left: `rosterd approve {held.import_id} --client {name}` deactivates those who are still "
        "missing by then.\n"
        f"If not: `rosterd reject {held.import_id} --client {name}`, and the client has to upload the complete "
        "file.\n\n"
        f"The next snapshot is counted anew. Without an answer they stay active after {days}.\n",
        held.held_at,
        claim_id=held.claim_id,
    )


def reminder(files: Sequence[OnHold], mail: MailSettings, at: datetime) -> Letter:
    """Return the letter of a day about the files that still wait for an approval."""
    lines = "\n".join(
        f"- {'users missing from ' if held.is_of_removals else ''}{held.file} of {held.client}, since "
        f"{held.held_at:%Y-%m-%d %H:%M} UTC: `rosterd preview {held.import_id}`"
        for held in files
    )
    return to_operator(
        mail,
        f"on-hold.{at:%Y%m%d}.operator",
        "files still wait for an approval",
        "These files are on hold, and nothing of them is applied, or users are missing from a snapshot and stay "
        f"active:\n\n{lines}\n\n`rosterd approve` imports a file, or deactivates the users; `rosterd reject` does "
        "not. This mail comes once a day.\n",
        at,
    )


def change_lines(changes: tuple[Change, ...], tripped: tuple[Change, ...]) -> Iterator[str]:
    """Yield a line of text for each kind of change; those above their limit first."""
    limits = {(each.guard, each.field) for each in tripped}  # not the counts: removals have those of the first question
    for each in sorted(changes, key=lambda change: (change.guard, change.field) not in limits):
        mark = "over the limit: " if (each.guard, each.field) in limits else "also seen: "
        lines = f"lines {ranges(each.lines)}{' ...' if each.count > len(each.lines) else ''}"
        where = f" ({each.count:,} rows, {lines})" if each.lines else ""
        yield f"- {mark}{words().say(guards.told(each))}{where}"
