"""Whoever follows changes misses none, although several hosts import at a time."""

from __future__ import annotations

import contextlib
import random
import threading

import pytest

from importer.model import Interrupted
from importer.store import ledger
from importer.store.postgresql.database import PostgresqlStore
from importer.store.roster import changes
from tests.lab.postgresql import PostgresqlServer

pytestmark = pytest.mark.xdist_group("postgresql")

IMPORTS = 25
COLUMNS = "client, unique_id, login_source, created_at, updated_at, created_import, import_id, import_line"
USER = f"INSERT INTO users ({COLUMNS}) VALUES (?, ?, 'OPSCOM', '', '', ?, ?, 0)"  # noqa: S608 - names of ours


def import_some(url: str, client: str, committed: list[str]) -> None:
    """Commit, or roll back, imports of a client that take different times."""
    dice = random.Random(client)  # noqa: S311 - dice
    with contextlib.closing(PostgresqlStore.open(url)) as store:
        for number in range(IMPORTS):
            with contextlib.suppress(Interrupted), store.importing():
                import_id = ledger.next_id(store.conn, client)
                store.conn.execute(USER, (client, f"{client}-{number}", import_id, import_id))
                ledger.add_action(store.conn, import_id, client=client, kind="file", title="", users=1)
                for _ in range(dice.randrange(60)):  # so that later ids are committed before this one
                    store.conn.execute("SELECT 1")
                if dice.random() < 0.2:
                    raise Interrupted
                committed.append(f"{client}-{number}")


def test_who_follows_while_hosts_import_misses_nobody(postgresql: PostgresqlServer) -> None:
    """Each user that was committed is told once or more, also to somebody who goes on from any line of an answer."""
    url, cursor = postgresql.new_database(), 0
    committed: list[str] = []
    told: set[str] = set()
    with contextlib.closing(PostgresqlStore.open(url)) as store:
        threads = [
            threading.Thread(target=import_some, args=(url, client, committed)) for client in ("acme", "beta", "gamma")
        ]
        for thread in threads:
            thread.start()
        is_last = False
        while not is_last:
            is_last = not any(thread.is_alive() for thread in threads)
            for changed in changes.since(store.conn, cursor, None):
                told.add(changed.unique_id)
                cursor = changed.import_id
        for thread in threads:
            thread.join()
        assert changes.newest(store.conn) >= cursor
    assert IMPORTS < len(committed)
    assert {*committed} == told
