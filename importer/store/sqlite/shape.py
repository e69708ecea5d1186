"""
What the tables of a database look like, as one digest: the usual start compares it, and changes nothing.

So it needs neither the migrations nor sqlite-utils, which take a quarter of its time.
"""

from __future__ import annotations

import hashlib
from typing import Final

from importer.store.connection import Connection

# Of a database with all migrations of `schema`. Each new one changes it: test_database.py says to what.
CURRENT: Final = "8760b1832e1d4b0dba828e55dbce6d5e3f41df058c15a55990d4d9499d545ee9"


def is_current(conn: Connection) -> bool:
    """
    Tell whether a database went through exactly our migrations, and nobody changed its tables since.

    What an operator has added makes it False, too: `checks` takes a closer look.
    """
    return digest(conn) == CURRENT


def digest(conn: Connection) -> str:
    """Return the digest of all tables and migrations; of a database without any, too."""
    described = sorted(tables(conn).items())
    if conn.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone():
        described += conn.execute("SELECT migration_set, name FROM _sqlite_migrations ORDER BY name").fetchall()
    return hashlib.sha256(repr(described).encode()).hexdigest()


def tables(conn: Connection) -> dict[str, str]:
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
    return dict(conn.execute(f"{columns} UNION ALL {others}").fetchall())
