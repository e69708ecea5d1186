"""`rosterd store copy`: the way from one database to another, and back."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from importer.model import host_name
from importer.store.copying import Copied, Side, TargetInUse, copy, count
from importer.store.errors import StoreError, StoreUnusable
from importer.store.places import Place
from operate.database import cannot_answer
from operate.options import config_option, steps_bar
from operate.output import print_table
from watcher.exits import EXIT_RUNNING_ALREADY
from watcher.lock import RunningAlready, locked
from watcher.owner import check_access
from watcher.settings import Config

_URLS: Final = ("postgresql://", "postgres://")
_LONG_WORK_ROWS: Final = 200_000


@click.group()
def store() -> None:
    """Copy the database into another one."""


@store.command("copy")
@click.option("--to", "target", metavar="DATABASE", required=True, help="URL of PostgreSQL, or file of SQLite.")
@click.option("--from", "source", metavar="DATABASE", help="Likewise.  [default: the database of the configuration]")
@config_option
def copy_command(config: Config, target: str, source: str | None) -> None:
    """
    Copy users, ledger, history and mail into another database, and compare each table.

    Stop the service before. The other database has to be empty. What was interrupted has copied nothing: run it again.
    """
    source = source or config.service.database
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(config.service.state_dir))
        except RunningAlready:
            click.echo("the service is running: stop it first", err=True)
            sys.exit(EXIT_RUNNING_ALREADY)
        if not _is_url(source):
            if not Path(source).exists():
                cannot_answer(f"{source}: does not exist")
            check_access(Place(source), os.O_RDWR)
        origin, goal = (stack.enter_context(_opened(database)) for database in (source, target))
        _report(_copied(origin, goal, target))


def _copied(origin: Side, goal: Side, target: str) -> Copied:
    try:
        total = count(origin)
        with steps_bar(2 * total, "copying", is_long=total >= _LONG_WORK_ROWS) as advance:
            return copy(origin, goal, advance)
    except TargetInUse as error:
        cannot_answer(f"{_named(target)}: {error}; expected an empty database")
    except StoreError as error:
        cannot_answer(f"nothing was copied: {error}")


def _report(copied: Copied) -> None:
    rows = [(table.name, f"{table.rows:,}", table.digest) for table in copied.tables]
    print_table(("table", "rows", "digest"), rows, empty="")
    click.echo("Copied; each table was compared." if copied.is_new else "It was all there already, and is the same.")


@contextlib.contextmanager
def _opened(database: str) -> Iterator[Side]:
    """Yield a database, brought up to date; ends the program when that is impossible."""
    try:
        with _side(database) as side:
            yield side
    except ImportError:
        cannot_answer(f"{_named(database)}: psycopg or libpq is missing; install rosterd[postgresql], and libpq5")
    except StoreUnusable as error:
        cannot_answer(str(error))
    except StoreError as error:
        cannot_answer(f"{_named(database)}: {error}")


@contextlib.contextmanager
def _side(database: str) -> Iterator[Side]:
    if _is_url(database):
        from importer.store.postgresql.copying import PostgresqlSide
        from importer.store.postgresql.database import PostgresqlStore

        with contextlib.closing(PostgresqlStore.open(database, host_name())) as server:
            yield PostgresqlSide(server)
    else:
        from importer.store.sqlite.copying import SqliteSide
        from importer.store.sqlite.database import SqliteStore

        with contextlib.closing(SqliteStore.open(Path(database))) as file:
            yield SqliteSide(file)


def _is_url(database: str) -> bool:
    return database.startswith(_URLS)


def _named(database: str) -> str:
    """Return the name of a database without the password that a URL may have."""
    if not _is_url(database):
        return database
    scheme, _, rest = database.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
