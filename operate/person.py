"""`rosterd export` and `rosterd erase`: what is stored about one person, shown or removed."""

from __future__ import annotations

import contextlib
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from importer.characters import guarded
from importer.file.header import MAX_SHOWN_CHARS
from importer.model import printable
from importer.settings import ClientSettings
from importer.store import integrity, personal_data, queries
from importer.store.connection import Connection
from operate.change import EXIT_NOT_DONE, carried_out
from operate.database import cannot_answer, check_known, database
from operate.folders import Folders, opened
from operate.options import chosen_client, client_option, did_you_mean, service_config_option
from operate.output import counted, print_json
from operate.provision import layout
from watcher.control.client import Order
from watcher.settings import Config

_ENCODINGS: Final = ("utf-8", "cp1252", "utf-16-le", "utf-16-be")
_ANY_BLANKS: Final = rb"[\s\0]{1,20}"


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is stored about one person."""

    user: dict[str, str | int | None] | None  # None: not recorded (any more)
    problems: list[int]  # imports that were refused for a header which was the person's row
    mails: list[int]  # whose attached rows have the unique id
    delivered: list[str]  # such mails in the Maildir: whoever reads it deletes them
    archives: list[str]  # in `.bak`: uploads and answers that contain the id
    unread: list[str]  # in `.bak`, in no form that can be searched, such as a workbook, or larger than is imported
    waiting: list[str]  # in the inbox and on the way to `.bak`: they will be imported
    too_large: list[str]  # likewise, but larger than is imported: they are not searched


class _Places(msgspec.Struct, frozen=True):
    """Files in the folders of a client that contain a person, or may contain them."""

    archives: dict[str, int]  # with their imports
    unread: list[str]
    waiting: list[str]
    too_large: list[str]


@click.command()
@click.argument("unique_id")
@client_option
@service_config_option
def export(config: Config, unique_id: str, client_name: str | None) -> None:
    """
    Print everything stored about one person, as JSON.

    Archives and mails are named, not quoted, because they contain other people, too. Those in which the id is part of
    another column are named as well.
    """
    with database(config) as conn:
        client = _client(config, conn, client_name)
        found = _found(config, conn, client, _places(config, conn, client, unique_id), unique_id)
    print_json(found)


def _client(config: Config, conn: Connection, name: str | None) -> ClientSettings:
    """
    Return the settings of a client; of one that is not configured any more the folder that `client add` made.

    Ends with a usage error when it is unknown.
    """
    if name is None or name in config.clients_by_name:
        return chosen_client(config, name)
    check_known(config, conn, name)
    return ClientSettings(name=name, inbox=layout.inbox(name))


def _is_configured(config: Config, client: ClientSettings) -> bool:
    return client in config.clients


def _found(config: Config, conn: Connection, client: ClientSettings, places: _Places, unique_id: str) -> Person:
    """Return everything that is stored about a person; ends the program when there is nothing."""
    found = Person(
        user=queries.find_user(conn, client.name, unique_id),
        problems=personal_data.problems_about(conn, client.name, unique_id),
        mails=personal_data.mails_about(conn, client.name, unique_id),
        delivered=_delivered(Path(config.mail.maildir), unique_id),
        archives=sorted(places.archives),
        unread=places.unread,
        waiting=places.waiting,
        too_large=places.too_large,
    )
    if not any((found.user, found.problems, found.mails, found.delivered, found.archives, found.waiting)):
        near = did_you_mean(unique_id, queries.similar_ids(conn, client.name, unique_id))
        near = f";{near}" if near else "."
        searched = counted(len(found.unread), "file in .bak", "files in .bak")
        unread = f" {searched} cannot be searched" if found.unread else ""
        cannot_answer(f"{client.name}: nobody with this unique id is recorded or mentioned{near}{unread}")
    return found


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
        places = _places(config, conn, client, unique_id)
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
    _tell_what_is_left(config, client, unique_id)
    if rewrite_archives and places.archives and not is_configured:
        click.echo(f"{client.name} is no longer configured, so its archives are not rewritten; delete them", err=True)
        sys.exit(EXIT_NOT_DONE)
    # After an erasure that was cut off nobody is recorded any more, and the archives still have to be rewritten.
    if not all(answer.done for answer in answers[1:] or answers):
        sys.exit(EXIT_NOT_DONE)


def _ask(client: ClientSettings, archives: dict[str, int]) -> None:
    for archive in sorted(archives):
        click.echo(f"will be rewritten without their rows: {client.inbox}/.bak/{archive}")
    if archives:
        imports = counted(len(set(archives.values())), "import", "imports")
        click.echo(f"The files of {imports} will no longer be as uploaded. Files that are not tables are deleted.")
    click.confirm("Erase this person?", abort=True)


def _tell_what_is_left(config: Config, client: ClientSettings, unique_id: str) -> None:
    with database(config) as conn:
        places = _places(config, conn, client, unique_id)
    for archive in sorted(places.archives):
        click.echo(f"may still contain the person: {client.inbox}/.bak/{archive}")
    for archive in places.unread:
        click.echo(f"cannot be searched: {client.inbox}/.bak/{archive}")
    for upload in places.too_large:
        click.echo(f"larger than an upload may be, so not searched: {client.inbox}/{upload}")
    for upload in places.waiting:
        what = "will record the person again" if _is_configured(config, client) else "may still contain the person"
        click.echo(f"{what}: {client.inbox}/{upload}")
    for mail in _delivered(Path(config.mail.maildir), unique_id):
        click.echo(f"delivered mail, delete it there: {mail}")


def _places(config: Config, conn: Connection, client: ClientSettings, unique_id: str) -> _Places:
    word = _word(unique_id, client)
    records = [record for record in integrity.records(conn) if record.client == client.name]
    try:
        with opened(client.inbox, searched_bytes=config.file.max_file_bytes) as folders:
            archives = list(_archives(records, folders, word))
            unfinished = list(folders.unfinished(word))
    except PermissionError:
        raise
    except FileNotFoundError:
        if _is_configured(config, client):
            cannot_answer(f"{client.inbox}: does not exist; its files cannot be searched")
        return _Places(archives={}, unread=[], waiting=[], too_large=[])
    except OSError as error:
        cannot_answer(f"{client.inbox}: its files cannot be read: {error.strerror}")
    return _Places(
        archives={printable(name): record.id for name, record, holds in archives if holds},
        unread=[printable(name) for name, record, holds in archives if holds is None or _is_unread(record, name)],
        waiting=[printable(name) for name, holds in unfinished if holds],
        too_large=[printable(name) for name, holds in unfinished if holds is None],
    )


def _archives(
    records: list[integrity.Record], folders: Folders, word: re.Pattern[bytes]
) -> Iterator[tuple[bytes, integrity.Record, bool | None]]:
    """Yield uploads and answers with their imports, and whether each contains the id as a separate word."""
    present = folders.archived()
    for record in records:
        names = present & {record.archive, *record.answers}
        yield from ((name, record, folders.contains(name, word)) for name in names)


def _is_unread(record: integrity.Record, name: bytes) -> bool:
    return record.code == "file.not_csv" and name == record.archive


def _delivered(maildir: Path, unique_id: str) -> list[str]:
    """Return the paths of the mails in the Maildir that have a row of this person."""
    paths = sorted(path for folder in ("new", "cur") for path in (maildir / folder).glob("*"))
    return [str(path) for path in paths if personal_data.is_about(_content(path), unique_id)]


def _content(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):  # its reader has just moved or deleted it
        return path.read_bytes()
    return b""


def _word(unique_id: str, client: ClientSettings) -> re.Pattern[bytes]:
    """Return what finds the id as a word of its own, in a CSV or in a text whose lines are broken at blanks."""
    forms = {unicodedata.normalize(form, unique_id) for form in ("NFC", "NFD")}
    forms.add(unique_id[:MAX_SHOWN_CHARS])  # as answers quote it
    forms |= {guarded(form) for form in forms}
    forms |= {form.replace('"', '""') for form in forms}
    spellings = {
        _pattern(form, encoding) for form in forms for encoding in {*_ENCODINGS, client.fallback_encoding or "utf-8"}
    }
    spelled = b"|".join(sorted(spellings - {b""}))
    return re.compile(rb"(?<![0-9A-Za-z])(?:" + spelled + rb")(?![0-9A-Za-z])")


def _pattern(form: str, encoding: str) -> bytes:
    """Return the pattern for one spelling of an id, b"" where the encoding lacks a letter of it."""
    try:
        return _ANY_BLANKS.join(re.escape(part.encode(encoding)) for part in form.split(" "))
    except UnicodeEncodeError:
        return b""
