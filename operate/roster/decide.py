"""`rosterd approve` and `rosterd reject`: decide on a file on hold, or on users who are missing from one."""

from __future__ import annotations

import click

from importer.model import OnHold
from importer.store.connection import Connection
from importer.store.roster import held_files
from operate.change import give
from operate.database import cannot_answer, database
from operate.options import chosen_client, client_option, service_config_option
from watcher.control.client import Order
from watcher.settings import Config


@click.command()
@click.argument("file")
@client_option
@service_config_option
def approve(config: Config, file: str, client_name: str | None) -> None:
    """
    Approve a FILE that is on hold, or removals.

    FILE is a name, or the number of its import, as `rosterd status` shows them. A file is imported; if it would do more
    by now than when it was previewed, by a tenth of what is over a limit, it is on hold anew. Of a snapshot whose
    removals are on hold, the users who are still missing are deactivated. `rosterd preview` shows what would change.
    """
    _decide(config, "file.approve", file, client_name)


@click.command()
@click.argument("file")
@client_option
@click.option("--reason", default="", metavar="TEXT", help="Why, in a sentence; the client is told.")
@service_config_option
def reject(config: Config, file: str, client_name: str | None, reason: str) -> None:
    """
    Reject a FILE that is on hold, or removals.

    FILE is a name, or the number of its import, as `rosterd status` shows them. Nothing of a file is imported; users
    who are missing from a snapshot stay active. The client is told.
    """
    # What is no text comes as half characters.
    _decide(config, "file.reject", file, client_name, reason.encode("utf-8", "backslashreplace").decode())


def _decide(config: Config, do: str, file: str, client_name: str | None, reason: str = "") -> None:
    client = chosen_client(config, client_name).name
    with database(config) as conn:
        held = found(conn, held_files.waiting(conn, client), file)
    if held is None:
        cannot_answer(f"nothing of {client} is on hold as {file}; `rosterd status` lists what is")
    give(config, Order(do=do, file=held.file, id=str(held.import_id), client=client, reason=reason))


def found(conn: Connection, waiting: list[OnHold], file: str) -> OnHold | None:
    """
    Return what is on hold of this name or number; of several with the name the newest.

    A number of before, as in the mail of last night, is that of the newer file while the question is the same.
    """
    named = next((each for each in reversed(waiting) if file in (each.file, str(each.import_id))), None)
    code = "" if named else held_files.code_of(conn, file)
    return named or next((each for each in waiting if code == each.code), None)
