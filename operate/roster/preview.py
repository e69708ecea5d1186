"""`rosterd preview`: what would change once a file on hold, or the removals of one, are approved."""

from __future__ import annotations

import sys
from datetime import timedelta

import click

from importer.answer.operator_mail import change_lines
from importer.model import OnHold, shown_counts
from importer.store import queries
from importer.store.queries import Import
from importer.store.roster import held_files
from operate.database import cannot_answer, database
from operate.options import service_config_option
from operate.output import print_fields
from operate.roster.decide import found
from operate.roster.held_changes import NotPreviewable, by_the_file, missing, write_csv
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
        try:
            left = missing(config, conn, held) if held.is_of_removals else []
        except NotPreviewable as error:
            cannot_answer(str(error))
        entry = queries.find_import(conn, str(held.import_id))
    if not as_csv:
        _print(held, len(left), entry)
        return
    try:
        write_csv(sys.stdout, left if held.is_of_removals else by_the_file(config, held))
    except NotPreviewable as error:
        cannot_answer(str(error))


def _print(held: OnHold, users: int, entry: Import | None) -> None:
    counts = {name: getattr(entry, name) for name in shown_counts([entry])} if entry else {}
    fields: list[tuple[str, object]] = [
        ("import", held.import_id),
        ("client", held.client),
        ("file", held.file),
        ("on hold", f"removals: {users:,} users are still missing" if held.is_of_removals else "the file"),
        ("would be", "" if held.is_of_removals else ", ".join(f"{count:,} {name}" for name, count in counts.items())),
        ("on hold since", held.held_at),
        ("given up", held.held_at + timedelta(days=held.approval_days)),
        ("approved by", "the operator or the client" if held.is_for_client else "the operator"),
    ]
    print_fields(fields)
    click.echo()
    click.echo("\n".join(change_lines(held.changes, held.tripped)))
    click.echo(f"\nWho would change, and how: `rosterd preview {held.import_id} --csv`.")
