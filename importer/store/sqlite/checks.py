"""Checks of a database that was opened: it is ours, none is newer, and it has all that the migrations have made."""

from __future__ import annotations

import contextlib
from pathlib import Path

from sqlite_utils import Database

from importer.store.errors import StoreUnusable
from importer.store.sqlite.connection import APPLICATION_ID
from importer.store.sqlite.schema import migrations


def make_ours(db: Database, path: Path) -> None:
    """Mark a new database as rosterd's. Raises StoreUnusable for another program's, or one that is too new."""
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
    ours = {each.name for each in migrations._migrations}  # noqa: SLF001 - the library has no public list
    return known - ours


def check_schema(db: Database, path: Path) -> None:
    """
    Compare the database with a new one: all columns, indexes and triggers have to be there; others may be.

    Raises StoreUnusable.
    """
    with contextlib.closing(Database(memory=True, execute_plugins=False)) as new:
        migrations.apply(new)
        expected, actual = _schema(new), _schema(db)
    for name, wanted in expected.items():
        if (sql := actual.get(name)) != wanted:
            raise StoreUnusable(
                f"{path}: {name}: got {sql or 'nothing'}; expected {wanted}. Somebody changed the tables: undo that by "
                "hand, or restore the database from a backup"
            )


def _schema(db: Database) -> dict[str, str]:
    """
    Return what makes up our tables: for each column its kind, for each index and trigger its SQL.

    sqlite-utils makes its own table and then that table's index: one that was killed in between never gets it.
    """
    columns = """SELECT 'column ' || tables.name || '.' || columns.name,
          trim(columns.type || iif(columns."notnull", ' NOT NULL', '') || iif(columns.pk, ' PRIMARY KEY', ''))
        FROM sqlite_master AS tables JOIN pragma_table_info(tables.name) AS columns
        WHERE tables.type = 'table' AND tables.name <> '_sqlite_migrations'"""
    others = """SELECT type || ' ' || name, sql FROM sqlite_master
        WHERE type IN ('index', 'trigger') AND sql IS NOT NULL AND tbl_name <> '_sqlite_migrations'"""
    return dict(db.execute(f"{columns} UNION ALL {others}").fetchall())
