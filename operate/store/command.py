"""`rosterd store copy`: the way from one database to another, and back."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click

from importer.model import host_name
from importer.store.copying import Copied, Side, TargetInUse, copy, count
from importer.store.database import Store
from importer.store.errors import StoreError, StoreUnusable
from importer.store.places import Place
from operate.database import cannot_answer
from operate.options import config_option, steps_bar, use_secret_files
from operate.output import print_table
from watcher.exits import EXIT_RUNNING_ALREADY
from watcher.lock import RunningAlready, locked
from watcher.owner import check_access
from watcher.settings import Config

if TYPE_CHECKING:
    from importer.store.postgresql.database import PostgresqlStore
    from importer.store.sqlite.database import SqliteStore

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
    use_secret_files(Path(config.source))
    host = config.service.host or host_name()
    origin, goal = (Place(source, host) if source else config.service.place), Place(target, host)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(config.service.state_dir))
        except RunningAlready:
            click.echo("the service is running: stop it first", err=True)
            sys.exit(EXIT_RUNNING_ALREADY)
        if origin.is_missing:
            cannot_answer(f"{origin.name}: does not exist")
        check_access(origin, os.O_RDWR)
        source_side = stack.enter_context(_opened(origin))
        target_side = stack.enter_context(_opened(goal))
        _report(_copied(source_side, target_side, _named(goal)))


def _copied(origin: Side, goal: Side, target: str) -> Copied:
    try:
        total = count(origin)
        with steps_bar(2 * total, "copying", is_long=total >= _LONG_WORK_ROWS) as advance:
            return copy(origin, goal, advance)
    except TargetInUse as error:
        cannot_answer(f"{target}: {error}; expected an empty database")
    except StoreError as error:
        cannot_answer(f"nothing was copied: {error}")


def _report(copied: Copied) -> None:
    rows = [(table.name, f"{table.rows:,}", table.digest) for table in copied.tables]
    print_table(("table", "rows", "digest"), rows, empty="")
    click.echo("Copied; each table was compared." if copied.is_new else "It was all there already, and is the same.")


@contextlib.contextmanager
def _opened(place: Place) -> Iterator[Side]:
    """Yield a database, brought up to date; ends the program when that is impossible."""
    try:
        with contextlib.closing(place.open()) as opened:
            yield _side(place, opened)
    except StoreUnusable as error:
        cannot_answer(str(error))
    except StoreError as error:
        cannot_answer(f"{_named(place)}: {error}")


def _side(place: Place, opened: Store) -> Side:
    if place.file is not None:
        from importer.store.sqlite.copying import SqliteSide

        return SqliteSide(cast("SqliteStore", opened))
    from importer.store.postgresql.copying import PostgresqlSide

    return PostgresqlSide(cast("PostgresqlStore", opened))


def _named(place: Place) -> str:
    """Return the name of a database without the password that a URL may have."""
    if place.file is not None:
        return place.name
    scheme, _, rest = place.name.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"
