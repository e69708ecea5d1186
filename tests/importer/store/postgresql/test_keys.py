"""Keys and indexes of the tables: what an engine that distributes or shards them by client asks of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from importer.store.postgresql.database import PostgresqlStore
from tests.lab.postgresql import PostgresqlServer

pytestmark = pytest.mark.xdist_group("postgresql")

# Without a client: small, of all hosts, and they stay on one node. The last two go by the id of an import, see
# docs/scale-out.md.
OF_NO_CLIENT = {
    *("rosterd_schema", "import_ids", "open_imports", "hosts", "retention", "hook_totals"),
    *("import_problems", "user_changes"),
}
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
