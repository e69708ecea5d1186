"""`rosterd imports` and `show`: what the database has recorded. They only read."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec

from importer import names
from importer.durations import seconds_of
from importer.model import OnHold, Outcome, printable, shown_counts
from importer.store import queries
from importer.store.connection import Connection
from importer.store.queries import Import, QueuedMail
from importer.store.roster import held_files
from importer.wording.codes import CODES
from operate.database import cannot_answer, check_known, database
from operate.options import json_option, limit_option, one_client_option, service_config_option
from operate.output import counted, print_fields, print_json, print_table
from watcher.settings import Config


class _Moment(click.ParamType[datetime]):
    """A time in the past: "2h", "7d", or a date or time of ISO 8601, in UTC unless it has a time zone."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if (seconds := seconds_of(value)) is not None:
            return datetime.now(UTC) - timedelta(seconds=seconds)
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f'{value}: expected a duration, "2h" or "7d", or a time, "2026-11-22T07:42"', param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# Imports


@click.command()
@one_client_option
@click.option("--since", type=_Moment(), help='Only imports that finished after this: "2h", "7d", "2026-11-22".')
@click.option("--failed", is_flag=True, help="Only imports in which the file or a row failed.")
@limit_option
@service_config_option
@json_option
def imports(
    config: Config, client: str | None, since: datetime | None, limit: int, *, failed: bool, as_json: bool
) -> None:
    """List imports, newest first."""
    with database(config) as conn:
        check_known(config, conn, client)
        listed = queries.imports(conn, client=client, since=since, failed=failed, limit=limit)
    if as_json:
        print_json(listed)
        return
    counts = shown_counts(listed)
    named = ("host",) if any(each.host for each in listed) else ()
    header = ("id", "finished (UTC)", *named, "client", "file", "outcome", *counts, "code")
    rows = [
        (
            *(i.id, i.finished_at, *(getattr(i, name) for name in named), i.client, i.file, i.outcome),
            *(getattr(i, name) for name in counts),
            i.code,
        )
        for i in listed
    ]
    print_table(header, rows, empty="No imports.")
    for each in listed:
        if each.missing:
            users = counted(each.missing, "user is", "users are")
            click.echo(f"{each.id}: {users} missing and active until you decide, since {each.finished_at:%F %H:%M} UTC")


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file that was on hold, or of users who are missing from one."""

    verdict: str  # approved, rejected, superseded or expired
    by: str  # operator, client or a user of the console; of a superseded one the newer file; "": nobody
    at: datetime | None
    reason: str  # as the client was told

    @property
    def words(self) -> str:
        """Return it in a few words."""
        by, reason = f" by {self.by}" if self.by else "", f": {self.reason}" if self.reason else ""
        return f"{self.verdict}{by}{reason}"


class RecordedWarning(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen in a file that failed nothing; the result text has lines and counts."""

    code: str
    title: str


class ImportDetails(msgspec.Struct, frozen=True, kw_only=True):
    """One import with its problems, files and mails."""

    entry: Import
    problems: list[queries.RecordedProblem]
    warnings: list[RecordedWarning]
    more_rows: int  # that failed, and of which no problem is recorded, because there were so many
    files: dict[str, str]  # name in `.bak` -> "there", "missing", "unknown" or "purged on" a day
    mails: list[QueuedMail]
    decision: Decision | None  # about the file, or those whom it lacks, if either was on hold


@click.command()
@click.argument("id_", metavar="ID")
@service_config_option
@json_option
def show(config: Config, id_: str, *, as_json: bool) -> None:
    """
    Show everything about one import.

    ID is the number in `rosterd imports`, or the claim id in the log.
    """
    with database(config) as conn:
        details = details_of(config, conn, id_)
    if details is None:
        cannot_answer(f"there is no import {id_}; `rosterd imports` lists all")
    if as_json:
        print_json(details)
    else:
        _print_details(details)


def details_of(config: Config, conn: Connection, id_: str) -> ImportDetails | None:
    """Return everything about the import with this id, or of this claim; None when there is none."""
    entry = queries.find_import(conn, id_)
    if entry is None:
        return None
    told = queries.count_rows_with_problems(conn, entry.client, entry.id)
    return ImportDetails(
        entry=entry,
        problems=queries.problems(conn, entry.client, entry.id),
        warnings=[RecordedWarning(code=code, title=_title(code)) for code in queries.warnings(conn, entry.id)],
        more_rows=0 if entry.purged_at else max(0, entry.failed - told),
        files=_files_of(entry, _archived_names(config, entry.client) if entry.host == conn.host else None),
        mails=queries.mails_of(conn, entry.claim_id),
        decision=_decision(held_files.find(conn, entry.claim_id)),
    )


def _title(code: str) -> str:
    return CODES[code].title if code in CODES else ""  # it may be that of an earlier version


def _decision(held: OnHold | None) -> Decision | None:
    if held is None or not held.decision:
        return None
    return Decision(verdict=held.decision, by=held.decided_by, at=held.decided_at, reason=held.reason)


def _archived_names(config: Config, client: str) -> set[str] | None:
    """Return the names in `.bak` of a client, None if it cannot be read, or the client is no longer configured."""
    if known := config.clients_by_name.get(client):
        with contextlib.suppress(OSError):
            return {printable(name) for name in os.listdir(os.fsencode(Path(known.inbox, ".bak")))}
    return None


def _files_of(entry: Import, present: set[str] | None) -> dict[str, str]:
    if entry.kind != "file":
        return {}
    answers = names.due_answers(entry.archive.encode(), entry.failed)
    return {name: _place_of(name, entry, present) for name in (entry.archive, *map(bytes.decode, answers))}


def _place_of(name: str, entry: Import, present: set[str] | None) -> str:
    if present is not None and name in present:
        return "there"
    if present is None and entry.host and entry.purged_at is None:
        return f"on {entry.host}"
    if entry.outcome == Outcome.ON_HOLD:
        return "on hold in .work"
    if entry.purged_at is not None:
        return f"purged on {entry.purged_at:%Y-%m-%d}"
    return "unknown" if present is None else "missing"


def _print_details(details: ImportDetails) -> None:
    entry = details.entry
    print_fields((name, getattr(entry, name)) for name in entry.__struct_fields__)
    print_fields([("decision", details.decision and details.decision.words)])
    click.echo()
    rows = [(group.rows, group.first_line or "", group.code, group.field, group.detail) for group in details.problems]
    print_table(("rows", "first line", "code", "field", "problem"), rows, empty=_without_problems(entry))
    if details.more_rows:
        click.echo(f"{details.more_rows:,} more rows failed; the result text has all counts")
    if details.warnings:
        click.echo()
        print_table(("warning", "what was seen"), [(each.code, each.title) for each in details.warnings], empty="")
    click.echo()
    print_table(("file in .bak", ""), details.files.items(), empty="")
    if details.mails:
        click.echo()
        mails = [(mail.id, mail.state, mail.subject, mail.last_error) for mail in details.mails]
        print_table(("mail", "state", "subject", "last error"), mails, empty="")


def _without_problems(entry: Import) -> str:
    if entry.kind != "file":
        return "Done by the operator."
    if entry.purged_at:
        return f"Purged on {entry.purged_at:%Y-%m-%d}."
    if entry.outcome == Outcome.ON_HOLD:
        return f"`rosterd preview {entry.id}` shows what it would change; the result text in .bak has its problems."
    return "No longer stored." if entry.failed or entry.code else "No problems."
