"""One person, for those who have a right to know or to be forgotten: `rosterd export` and `rosterd erase`."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from typing import Final

import click
import msgspec

from importer import audit, person, views
from importer.model import printable
from importer.settings import ClientSettings
from operate.change import EXIT_NOT_DONE, carried_out
from operate.folders import opened
from operate.reading import cannot_answer, database
from operate.tables import print_json
from watcher.config import Config
from watcher.control import Order
from watcher.options import chosen_client, client_option, config_option

_ENCODINGS: Final = ("utf-8", "cp1252", "utf-16-le", "utf-16-be")


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept about one person."""

    user: dict[str, str | int | None] | None  # None: not recorded (any more)
    mails: list[int]  # whose attached rows have the unique id
    archives: list[str]  # in `.bak`: uploads and failed rows in which it stands


@click.command()
@click.argument("unique_id")
@client_option
@config_option
def export(config: Config, unique_id: str, client_name: str | None) -> None:
    """
    Print all that is kept about one person, as JSON.

    Archives and mails are named, not quoted: they hold others, too. One in which the id stands within another column
    is named as well.
    """
    client = chosen_client(config, client_name)
    with database(config) as conn:
        print_json(_person(conn, client, unique_id))


@click.command()
@click.argument("unique_id")
@client_option
@click.confirmation_option(prompt="Remove this person for good?", help="Do not ask.")
@config_option
def erase(config: Config, unique_id: str, client_name: str | None) -> None:
    """
    Remove one person for good, and name the archives that still hold them.

    Removed are the recorded user and the mails with their row. Archives stay as they are, and so does mail that was
    delivered, into the Maildir as well. The next upload that has the person records them anew: the client has to take
    them out first.
    """
    client = chosen_client(config, client_name)
    answer = carried_out(config, Order(do="person.erase", client=client.name, unique_id=unique_id))
    click.echo(answer.text, err=not answer.done)
    if not answer.done:
        sys.exit(EXIT_NOT_DONE)
    with database(config) as conn:
        archives = _person(conn, client, unique_id).archives
    for archive in archives:
        click.echo(f"may still hold the person: {client.inbox}/.bak/{archive}")


def _person(conn: sqlite3.Connection, client: ClientSettings, unique_id: str) -> Person:
    try:
        archives = sorted(_archives(conn, client, unique_id))
    except OSError as error:
        cannot_answer(f"{client.inbox}: its archives cannot be read: {error.strerror}")
    return Person(
        user=views.find_user(conn, client.name, unique_id),
        mails=person.mails_about(conn, client.name, unique_id),
        archives=archives,
    )


def _archives(conn: sqlite3.Connection, client: ClientSettings, unique_id: str) -> Iterator[str]:
    """Yield the uploads and failed CSVs in which the id stands as a word of its own."""
    word = _word(unique_id)
    with opened(client.inbox) as folders:
        present = folders.archived()
        for record in audit.records(conn):
            if record.client == client.name:
                names = present & {record.archive, *record.answers}
                yield from (printable(name) for name in names if folders.contains(name, word))


def _word(unique_id: str) -> re.Pattern[bytes]:
    spellings = {unique_id.encode(encoding, "ignore") for encoding in _ENCODINGS}
    spelled = b"|".join(re.escape(spelling) for spelling in sorted(spellings) if spelling)
    return re.compile(rb"(?<![0-9A-Za-z])(?:" + spelled + rb")(?![0-9A-Za-z])")
