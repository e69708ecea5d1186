"""`rosterd preview`: what would change once a file on hold, or the removals of one, are approved."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import click

from importer.answer.operator_mail import change_lines
from importer.characters import guarded
from importer.dry_run import DryRun
from importer.durable import SyncFailed
from importer.model import OnHold
from importer.roster.protection import protected_users
from importer.store.connection import Connection
from importer.store.errors import StoreError
from importer.store.roster import held_files, removal
from importer.store.roster.counts import ChangedValue
from operate.database import cannot_answer, database
from operate.options import chosen_client, service_config_option
from operate.output import print_fields
from operate.roster.decide import found
from watcher.settings import Config


@click.command()
@click.argument("id_", metavar="ID")
@click.option("--csv", "as_csv", is_flag=True, help="Print who would change and how, as CSV: it has personal data.")
@service_config_option
def preview(config: Config, id_: str, *, as_csv: bool) -> None:
    """
    Show what would change once it is approved.

    ID is the number of an import that is on hold, or of which removals are, as `rosterd status` shows it, or the name
    of the file if there is only one.
    """
    with database(config) as conn:
        held = found(conn, held_files.waiting(conn), id_)
        if held is None:
            cannot_answer(f"nothing is on hold as {id_}; `rosterd status` lists what is")
        left = _missing(config, conn, held) if held.is_of_removals else []
    if not as_csv:
        _print(held, len(left))
    elif held.is_of_removals:
        _print_csv(left)
    else:
        _print_csv(_changed(config, held))


def _print(held: OnHold, missing: int) -> None:
    fields: list[tuple[str, object]] = [
        ("import", held.import_id),
        ("client", held.client),
        ("file", held.file),
        ("on hold", f"removals: {missing:,} users are still missing" if held.is_of_removals else "the file"),
        ("on hold since", held.held_at),
        ("given up", held.held_at + timedelta(days=held.approval_days)),
        ("approved by", "the operator or the client" if held.is_for_client else "the operator"),
    ]
    print_fields(fields)
    click.echo()
    click.echo("\n".join(change_lines(held.changes, held.tripped)))
    click.echo(f"\nWho would change, and how: `rosterd preview {held.import_id} --csv`.")


def _missing(config: Config, conn: Connection, held: OnHold) -> list[ChangedValue]:
    """Return who would be deactivated."""
    client = chosen_client(config, held.client)
    feeds, protected = [each for each in client.feed if each.name == held.feed], protected_users(client)
    return [left for feed in feeds for left in removal.missing(conn, held.client, feed, protected)]


def _changed(config: Config, held: OnHold) -> Iterator[ChangedValue]:
    """Import the file into a copy of the users as they are now, and yield each value that would be another."""
    client = chosen_client(config, held.client)
    dry_run = DryRun(file=config.file, reference=config.reference, database=Path(config.service.database))
    try:
        yield from dry_run.changed_values(_claimed(client.inbox, held), client)
    except PermissionError:
        raise
    except (OSError, SyncFailed, StoreError) as error:
        cannot_answer(f"{held.file}: cannot be previewed: {error}")


def _print_csv(changes: Iterable[ChangedValue]) -> None:
    out = csv.writer(sys.stdout, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    out.writerow(("line", "unique_id", "change", "column", "before", "after"))
    for each in changes:
        values = (each.unique_id, str(each.kind), each.field, each.old, each.new)
        out.writerow((each.line or "", *(guarded(value or "") for value in values)))


def _claimed(inbox: str, held: OnHold) -> Path:
    """Return where the file of a claim is."""
    folder = Path(inbox, ".work", held.claim_id)
    uploads = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.exists() else []
    if not uploads:
        cannot_answer(f"{folder}: has no file; was it decided on just now?")
    return uploads[0]
