"""Keys and indexes of the tables: what an engine that distributes or shards them by client asks of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from importer.store.copying import copy
from importer.store.errors import StoreError
from importer.store.postgresql.copying import PostgresqlSide
from importer.store.postgresql.database import PostgresqlStore
from importer.store.sqlite.copying import SqliteSide
from tests.engine import Engine
from tests.importer.store.test_same_answers import fill
from tests.lab.postgresql import PostgresqlServer

pytestmark = pytest.mark.xdist_group("postgresql")

# Without a client: small, of all hosts, and they stay on one node.
OF_NO_CLIENT = {"rosterd_schema", "import_ids", "open_imports", "hosts", "retention", "hook_totals"}
# Whoever asks by these asks for all clients: what is to be sent or removed next, and what is named by its id alone.
OF_ALL_CLIENTS = {
    *("imports_by_id", "imports_by_claim"),
    *("outbox_by_id", "outbox_by_message", "outbox_waiting", "outbox_sent", "outbox_at_once", "outbox_sent_bodies"),
    *("outbox_claims", "hook_events_by_id", "hook_events_waiting", "hook_events_dead", "hook_events_ended"),
}
PER_CLIENT = {"client", *OF_NO_CLIENT}  # the first column, or a table of no client
INDEXES = """
    SELECT tables.relname, indexes.relname, CAST(indisunique AS INTEGER), pg_get_indexdef(indexrelid, 1, true)
    FROM pg_index JOIN pg_class AS tables ON tables.oid = indrelid JOIN pg_class AS indexes ON indexes.oid = indexrelid
    WHERE tables.relnamespace = CAST('public' AS REGNAMESPACE)"""


@pytest.fixture
def store(postgresql: PostgresqlServer) -> Iterator[PostgresqlStore]:
    with contextlib.closing(PostgresqlStore.open(postgresql.new_database())) as opened:
        yield opened


def test_the_client_is_first_in_every_key(store: PostgresqlStore) -> None:
    """No two clients meet in a key or unique index, and other indexes that are not of one client are known by name."""
    found = store.conn.execute(INDEXES).fetchall()
    assert len(found) > len(OF_ALL_CLIENTS)
    others = [(name, is_unique) for table, name, is_unique, first in found if {table, first}.isdisjoint(PER_CLIENT)]
    assert {name for name, _ in others} == OF_ALL_CLIENTS
    assert [] == [name for name, is_unique in others if is_unique]


def test_no_constraint_spans_clients(store: PostgresqlStore) -> None:
    """No row refers to one of another table, and none is excluded by another one."""
    query = """SELECT conname FROM pg_constraint WHERE contype NOT IN ('c', 'p', 'u', 'n')
        AND connamespace = CAST('public' AS REGNAMESPACE)"""
    assert [] == store.conn.execute(query).fetchall()
    triggers = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
    assert [] == store.conn.execute(triggers).fetchall()


# What the last version without a client in two of the tables had in its place.
FORMER = """
    DROP INDEX import_problems_by_import;
    ALTER TABLE import_problems DROP COLUMN client;
    CREATE INDEX import_problems_by_import ON import_problems (import_id);
    ALTER TABLE user_changes DROP COLUMN client;
    ALTER TABLE user_changes ADD PRIMARY KEY (import_id, unique_id);
    UPDATE rosterd_schema SET version = 22"""
ROWS = {
    "import_problems": "SELECT client, import_id, line, code, field, detail FROM import_problems ORDER BY 2, 3, 4, 5",
    "user_changes": "SELECT client, import_id, unique_id, kind, line, changes FROM user_changes ORDER BY 2, 3",
}


@pytest.fixture
def url(postgresql: PostgresqlServer, tmp_path: Path) -> str:
    """Return a database with files of one client, and an import of another one."""
    url = postgresql.new_database()
    with contextlib.closing(Engine(tmp_path)) as engine, contextlib.closing(PostgresqlStore.open(url)) as store:
        fill(engine)
        engine.store.conn.execute("UPDATE imports SET client = 'beta' WHERE id = 2")
        copy(SqliteSide(engine.store), PostgresqlSide(store), lambda _: None)
    return url


def test_rows_of_an_earlier_version_get_their_client(url: str) -> None:
    """It is that of their import, or nobody's where the ledger has none; keys and indexes are as in a new database."""
    with contextlib.closing(PostgresqlStore.open(url)) as store:
        for table in ROWS:
            store.conn.execute(f"UPDATE {table} SET client = '', import_id = 77 WHERE import_id = 3")  # noqa: S608 - of ours
        expected = {table: store.conn.execute(query).fetchall() for table, query in ROWS.items()}
        indexes = sorted(store.conn.execute(INDEXES).fetchall())
        store.conn.execute(FORMER)
    with contextlib.closing(PostgresqlStore.open(url)) as store:
        assert expected == {table: store.conn.execute(query).fetchall() for table, query in ROWS.items()}
        assert {"", "acme", "beta"} == {row[0] for rows in expected.values() for row in rows}
        assert indexes == sorted(store.conn.execute(INDEXES).fetchall())


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO import_problems VALUES (1, 2, '9033', '', '')",
        "INSERT INTO import_problems (import_id, line, code, field, detail) VALUES (1, 2, '9033', '', '')",
        "INSERT INTO user_changes SELECT 1, unique_id, 'updated', 2, 2, updated_at, '{}' FROM users",
        """INSERT INTO user_changes (import_id, unique_id, kind, line, line_before, changed_at, changes)
           VALUES (1, 'S1', 'updated', 2, 2, '', '{}')""",
    ],
)
def test_an_earlier_version_that_still_runs_adds_no_rows_without_a_client(url: str, statement: str) -> None:
    """Its imports fail, so that they are tried again, and none is recorded in part."""
    with contextlib.closing(PostgresqlStore.open(url)) as store:
        with pytest.raises(StoreError, match='null value in column "client"'), store.transaction():
            store.conn.execute(statement)
        assert {"acme", "beta"} == {row[0] for query in ROWS.values() for row in store.conn.execute(query).fetchall()}
