"""
What a database goes through whose tables are not as `shape` knows them: it is ours, and not newer; the migrations.

Imported only then: with sqlite-utils, which takes 50 ms.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from sqlite_utils import Database

from importer.store.errors import StoreUnavailable, StoreUnusable
from importer.store.sqlite import shape
from importer.store.sqlite.connection import APPLICATION_ID, NEWEST, SqliteConnection, connect
from importer.store.sqlite.schema import migrations


def make_ours(conn: SqliteConnection, path: Path) -> None:
    """
    Mark a new database as rosterd's. Raises StoreUnusable for another program's, or one that is too new.

    An update replaces files under a running service: StoreUnavailable when this module is newer than the rest of it.
    """
    if _ours()[-1] != NEWEST:
        raise StoreUnavailable("rosterd was updated while this process was running. Restart rosterd")
    db = _database(conn)
    application_id = db.execute("PRAGMA application_id").fetchone()[0]
    if application_id not in (0, APPLICATION_ID) or (application_id == 0 and db.table_names()):
        raise StoreUnusable(f"{path}: is the database of another program; name another file in [service] database")
    if application_id == APPLICATION_ID and (unknown := _unknown_migrations(db)):
        raise StoreUnusable(f"{path}: was made by a newer rosterd ({', '.join(sorted(unknown))}); install that version")
    if application_id == 0:
        # Before the first table: killed in between, we would take our own tables for another program's.
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _unknown_migrations(db: Database) -> set[str]:
    known = {migration.name for migration in migrations.applied(db)} | {each.name for each in migrations.pending(db)}
    return known - {*_ours()}


def _ours() -> list[str]:
    return [each.name for each in migrations._migrations]  # noqa: SLF001 - the library has no public list


def bring_up_to_date(conn: SqliteConnection, path: Path) -> None:
    """
    Apply the migrations that are pending, and check what came of it.

    All columns, indexes and triggers of a new database have to be there; others may be. Raises StoreUnusable.
    """
    migrations.apply(_database(conn))
    if shape.is_current(conn):
        return
    with contextlib.closing(connect("file::memory:")) as new:
        new_tables(new)
        expected, actual = shape.tables(new), shape.tables(conn)
    for name, wanted in expected.items():
        if (sql := actual.get(name)) != wanted:
            raise StoreUnusable(
                f"{path}: {name}: got {sql or 'nothing'}; expected {wanted}. Somebody changed the tables: undo that by "
                "hand, or restore the database from a backup"
            )


def new_tables(conn: SqliteConnection) -> None:
    """Make all tables in an empty database."""
    migrations.apply(_database(conn))


def _database(conn: SqliteConnection) -> Database:
    return Database(conn, recursive_triggers=False, execute_plugins=False)
