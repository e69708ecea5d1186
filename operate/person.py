"""`rosterd export` and `rosterd erase`: what is stored about one person, shown or removed."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from importer.settings import ClientSettings
from importer.store import personal_data, queries
from importer.store.connection import Connection
from importer.store.roster import history
from operate.change import EXIT_NOT_DONE, carried_out
from operate.database import cannot_answer, check_known, database
from operate.options import Abbreviated, chosen_client, client_option, did_you_mean, service_config_option
from operate.output import counted, print_json
from operate.provision import homes
from operate.roster.export_users import users
from operate.roster.person_files import Places, delivered, places_of
from watcher.control.client import Order
from watcher.settings import Config


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Everything stored about one person."""

    user: dict[str, str | int | None] | None  # None: not recorded (any more)
    history: list[history.Change]  # what imports changed of it
    problems: list[int]  # imports refused because their header was the row of this person
    mails: list[int]  # whose attached rows have the unique id
    delivered: list[str]  # such mails in the Maildir, for its reader to delete
    archives: list[str]  # in `.bak`: uploads and answers that contain the id
    unread: list[str]  # in `.bak`, in a form that cannot be searched, such as a workbook, or larger than is imported
    waiting: list[str]  # in the inbox and on the way to `.bak`: they will be imported
    too_large: list[str]  # likewise, but larger than is imported, so not searched


@click.group(cls=Abbreviated, default="person")
def export() -> None:
    """
    Print everything stored about one person, or all users of a client.

    `rosterd export UNIQUE_ID` is short for `rosterd export person UNIQUE_ID`.
    """


export.add_command(users)


@export.command("person")
@click.argument("unique_id")
@client_option
@service_config_option
def export_person(config: Config, unique_id: str, client_name: str | None) -> None:
    """
    Print everything stored about one person, as JSON.

    Archives and mails are named, not quoted, because they contain other people, too. Those in which the id is part of
    another column are named as well.
    """
    with database(config) as conn:
        client = _client(config, conn, client_name)
        person = _found(config, conn, client, places_of(config, conn, client, unique_id), unique_id)
    print_json(person)


def _client(config: Config, conn: Connection, name: str | None) -> ClientSettings:
    """
    Return the settings of a client; for one that is no longer configured, with the folder that `client add` made.

    Ends with a usage error when it is unknown.
    """
    if name is None or name in config.clients_by_name:
        return chosen_client(config, name)
    check_known(config, conn, name)
    return ClientSettings(name=name, inbox=homes.inbox(name))


def _is_configured(config: Config, client: ClientSettings) -> bool:
    return client in config.clients


def _found(config: Config, conn: Connection, client: ClientSettings, places: Places, unique_id: str) -> Person:
    """Return everything that is stored about a person; ends the program when there is nothing."""
    person = Person(
        user=queries.find_user(conn, client.name, unique_id),
        history=history.of_person(conn, client.name, unique_id),
        problems=personal_data.problems_about(conn, client.name, unique_id),
        mails=personal_data.mails_about(conn, client.name, unique_id),
        delivered=delivered(Path(config.mail.maildir), unique_id),
        archives=sorted(places.archives),
        unread=places.unread,
        waiting=places.waiting,
        too_large=places.too_large,
    )
    if not any(
        (person.user, person.history, person.problems, person.mails, person.delivered, person.archives, person.waiting)
    ):
        near = did_you_mean(unique_id, queries.similar_ids(conn, client.name, unique_id))
        near = f";{near}" if near else "."
        searched = counted(len(person.unread), "file in .bak", "files in .bak")
        unread = f" {searched} cannot be searched" if person.unread else ""
        cannot_answer(f"{client.name}: no user with this unique id is recorded or mentioned{near}{unread}")
    return person


@click.command()
@click.argument("unique_id")
@client_option
@click.option("--rewrite-archives", is_flag=True, help="Also remove their rows from the archives.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@service_config_option
def erase(config: Config, unique_id: str, client_name: str | None, *, rewrite_archives: bool, yes: bool) -> None:
    """
    Erase one person, and list the archives that still contain them.

    Removes the recorded user, mails that contain their row, and quotations of it in answers. With --rewrite-archives,
    their rows are also removed from uploads and failed CSVs; all other bytes stay. Delivered mail stays, in the Maildir
    as well. The next upload that contains the person records them again: the client must remove them first.
    """
    with database(config) as conn:
        client = _client(config, conn, client_name)
        places = places_of(config, conn, client, unique_id)
        _found(config, conn, client, places, unique_id)
    is_configured = _is_configured(config, client)
    named = places.archives if rewrite_archives and is_configured else {}
    if not yes:
        _ask(client, named)
    orders = [Order(do="person.erase", client=client.name, unique_id=unique_id)]
    orders += [
        Order(do="archive.rewrite", client=client.name, id=str(id_), unique_id=unique_id)
        for id_ in sorted(set(named.values()))
    ]
    answers = [carried_out(config, order) for order in orders]
    for answer in answers:
        click.echo(answer.text, err=not answer.done)
    _report_leftovers(config, client, unique_id)
    if rewrite_archives and places.archives and not is_configured:
        click.echo(f"{client.name} is no longer configured, so its archives are not rewritten; delete them", err=True)
        sys.exit(EXIT_NOT_DONE)
    # After an interrupted erasure the user is not recorded any more, and the archives still have to be rewritten.
    if not all(answer.done for answer in answers[1:] or answers):
        sys.exit(EXIT_NOT_DONE)


def _ask(client: ClientSettings, archives: dict[str, int]) -> None:
    for archive in sorted(archives):
        click.echo(f"will be rewritten without their rows: {client.inbox}/.bak/{archive}")
    if archives:
        imports = counted(len(set(archives.values())), "import", "imports")
        click.echo(f"The files of {imports} will no longer be as uploaded. Files that are not tables are deleted.")
    click.confirm("Erase this person?", abort=True)


def _report_leftovers(config: Config, client: ClientSettings, unique_id: str) -> None:
    with database(config) as conn:
        places = places_of(config, conn, client, unique_id)
    for archive in sorted(places.archives):
        click.echo(f"may still contain the person: {client.inbox}/.bak/{archive}")
    for archive in places.unread:
        click.echo(f"cannot be searched: {client.inbox}/.bak/{archive}")
    for upload in places.too_large:
        click.echo(f"larger than an upload may be, so not searched: {client.inbox}/{upload}")
    for upload in places.waiting:
        what = "will record the person again" if _is_configured(config, client) else "may still contain the person"
        click.echo(f"{what}: {client.inbox}/{upload}")
    for mail in delivered(Path(config.mail.maildir), unique_id):
        click.echo(f"delivered mail, delete it there: {mail}")
