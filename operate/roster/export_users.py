"""`rosterd export users`: all users of a client, for another program or a spreadsheet."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
import msgspec

from importer.characters import guarded
from importer.store import queries
from importer.store.connection import Connection
from importer.store.errors import StoreError
from importer.store.searches.export import COLUMNS, count, people
from operate.database import cannot_answer, check_known, database
from operate.options import chosen_client, client_option, service_config_option, steps_bar
from watcher.exits import EXIT_NOT_PERMITTED
from watcher.owner import user_name
from watcher.settings import Config

_READERS: Final = "rosterd-read"
_LONG_WORK_USERS: Final = 100_000  # a second
_ROWS_BETWEEN: Final = 1000


@click.command()
@client_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    default="csv",
    show_default=True,
    help="CSV as Excel opens it, or one JSON object on each line.",
)
@click.option("--with-former", is_flag=True, help="Also those who are inactive; inactive_by says why.")
@service_config_option
def users(config: Config, client_name: str | None, form: str, *, with_former: bool) -> None:
    """
    Print all users of a client, by unique id.

    Who may not read the database, but the read copy, gets what that has.
    """
    with _readable(config) as conn:
        client = client_name if client_name is not None else chosen_client(config, None).name
        check_known(config, conn, client)
        users = count(conn, client, with_former=with_former)
        # On a terminal that shows the users a bar would be in their way.
        is_long = users >= _LONG_WORK_USERS and not sys.stdout.isatty()
        with (
            steps_bar(users, "users", is_long=is_long) as advance,
            contextlib.closing(people(conn, client, with_former=with_former)) as found,
        ):
            rows = _counted(found, advance)
            for chunk in _csv(rows) if form == "csv" else _jsonl(rows):
                click.echo(chunk, nl=False)


@contextlib.contextmanager
def _readable(config: Config) -> Iterator[Connection]:
    """Open the database or, for those who may not read it, the read copy. Raises PermissionError."""
    copy = Path(config.service.read_copy)
    if not config.service.read_copy or os.access(config.service.database, os.R_OK):
        with database(config) as conn:
            yield conn
        return
    try:
        os.close(os.open(copy, os.O_RDONLY | os.O_CLOEXEC))  # says which file is not permitted
    except FileNotFoundError:
        cannot_answer(f"{copy}: does not exist; the service makes it, see `rosterd doctor`")
    except PermissionError:
        who = user_name(os.geteuid())
        remedy = f"Run it as root, or have root run `usermod -aG {_READERS} {who}`, and log in again"
        click.echo(f"{copy}: permission denied to {who}. {remedy}.", err=True)
        sys.exit(EXIT_NOT_PERMITTED)
    try:
        with queries.opened(copy) as conn:
            yield conn
    except StoreError as error:
        cannot_answer(f"{copy}: cannot be read: {error}")


def _counted(
    rows: Iterator[tuple[str | int | None, ...]], advance: Callable[[int], None]
) -> Iterator[tuple[str | int | None, ...]]:
    """Yield the rows, and tell now and then how many have been read."""
    for number, row in enumerate(rows, 1):
        yield row
        if number % _ROWS_BETWEEN == 0:
            advance(_ROWS_BETWEEN)


def _csv(rows: Iterator[tuple[str | int | None, ...]]) -> Iterator[bytes]:
    """Yield the lines, so that a double click opens them right and no spreadsheet runs a cell, as the failed CSV."""
    yield b"\xef\xbb\xbf"
    for row in itertools.chain([COLUMNS], rows):
        yield _line(row)


def _line(row: tuple[str | int | None, ...]) -> bytes:
    line = io.StringIO()
    cells = (guarded(value) if isinstance(value, str) else value for value in row)
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return line.getvalue().encode()


def _jsonl(rows: Iterator[tuple[str | int | None, ...]]) -> Iterator[bytes]:
    for row in rows:
        yield msgspec.json.encode(dict(zip(COLUMNS, row, strict=True))) + b"\n"
