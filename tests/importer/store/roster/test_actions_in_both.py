"""What the operator does to users leads to the same users, ledger and history in both databases."""

from __future__ import annotations

import contextlib
import functools
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from importer.settings import FeedSettings
from importer.store import baselines, personal_data
from importer.store.copying import Side
from importer.store.database import Store
from importer.store.roster import deactivation, held_files, history, ids, removal, work
from importer.store.roster.action import Done, NotPossible
from importer.store.roster.undo import undo
from importer.store.sqlite.copying import SqliteSide
from tests import REPOSITORY
from tests.engine import CLIENT, Engine
from tests.importer.store.test_copying import ignore
from tests.importer.store.test_same_answers import AT, held
from tests.lab.postgresql import PostgresqlServer

pytestmark = pytest.mark.xdist_group("postgresql")

NUMBERS = range(12)
SNAPSHOT = FeedSettings(name="", files="*", mode="snapshot", misses=1)
TABLES = ("users", "imports", "user_changes", "on_hold", "outbox")
Both = tuple[Store, Store]


@pytest.fixture
def both(postgresql: PostgresqlServer, tmp_path: Path) -> Iterator[Both]:
    """Yield two databases with the same users, who were created and changed by files of two clients."""
    from importer.store.copying import copy  # noqa: PLC0415 - next to what takes libpq
    from importer.store.postgresql.copying import PostgresqlSide  # noqa: PLC0415 - takes libpq
    from importer.store.postgresql.database import PostgresqlStore  # noqa: PLC0415 - likewise

    dice = random.Random(1)  # noqa: S311 - dice
    with (
        contextlib.closing(Engine(tmp_path)) as engine,
        contextlib.closing(PostgresqlStore.open(postgresql.new_database())) as server,
    ):
        engine.rows(*(f"S{number},OPSCOM,Ann,Lee,{number}@example.org,n{number}" for number in NUMBERS))
        for _ in range(4):
            engine.rows(*(row(number, dice) for number in dice.sample(NUMBERS, 8)))
        conn = engine.store.conn
        with engine.store.importing():
            conn.execute("UPDATE users SET missed = '{\"\":1,\"x\":2}' WHERE unique_id IN ('S1', 'S2')")
            conn.execute("UPDATE users SET missed = '{\"\":1}', feeds = ' * ' WHERE unique_id IN ('S3', 'S4')")
            conn.execute("UPDATE users SET missed = '{\"\":1}', feeds = ' * x ' WHERE unique_id = 'S5'")
            columns = ", ".join(name for name in SqliteSide(engine.store).columns("users") if name != "client")
            conn.execute(f"INSERT INTO users (client, {columns}) SELECT 'beta', {columns} FROM users")  # noqa: S608
        sides: tuple[Side, Side] = (SqliteSide(engine.store), PostgresqlSide(server))
        copy(*sides, ignore)
        yield engine.store, server


def row(number: int, dice: random.Random) -> str:
    letter, other = dice.choice("aBc"), dice.choice(NUMBERS)
    return f'S{number},OPSCOM,Zoé{letter},"L""ee",{other}É{letter}@example.org,n{dice.choice(NUMBERS)}'


def tables(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Return what is in the tables, without what each database has of its own: times, and the name of the host."""
    from importer.store.postgresql.copying import PostgresqlSide  # noqa: PLC0415 - takes libpq
    from importer.store.postgresql.database import PostgresqlStore  # noqa: PLC0415 - likewise
    from importer.store.sqlite.database import SqliteStore  # noqa: PLC0415 - next to it

    assert isinstance(store, SqliteStore | PostgresqlStore)
    side: Side = SqliteSide(store) if isinstance(store, SqliteStore) else PostgresqlSide(store)
    found = {}
    for table in TABLES:
        columns = [name for name in side.columns(table) if not name.endswith("_at") and name != "host"]
        with side.reading():
            rows = [row for some in side.rows(table, ", ".join(columns)) for row in some]
        found[table] = sorted((dict(sorted(zip(columns, row, strict=True))) for row in rows), key=repr)
    return found


def done(both: Both, act: Callable[[Store], object]) -> list[object]:
    """Do the same in both; return what was told by each."""
    told = []
    for store in both:
        try:
            told.append(act(store))
        except NotPossible as error:
            told.append((str(error), error.conflicts))
    server = both[1].conn
    server.execute("DELETE FROM open_imports")
    server.execute("UPDATE import_ids SET last = (SELECT max(id) FROM imports)")  # ids of what was only tried are gone
    for table in work.TABLES:
        assert [] == server.execute(f"SELECT * FROM {table}").fetchall()  # noqa: S608 - a name of ours
    return told


@pytest.mark.parametrize("seed", range(6))
def test_actions_in_any_order_lead_to_the_same(both: Both, seed: int) -> None:
    """Undo, new ids, states and erasure, tried and done, tell the same and leave the same rows."""
    dice = random.Random(seed)  # noqa: S311 - dice
    for _ in range(12):
        query = "SELECT unique_id FROM users WHERE client = ? ORDER BY unique_id"
        known = [id_ for (id_,) in both[0].conn.execute(query, (CLIENT,))]
        chosen = dice.sample(known, min(3, len(known)))
        imports = [id_ for (id_,) in both[0].conn.execute("SELECT id FROM imports ORDER BY id")]
        pairs = [
            *zip(chosen, [*chosen[1:], dice.choice(sorted({chosen[0], "new", "S1"} - {*chosen[1:]}))], strict=True)
        ]
        some = functools.partial(dice.choice, imports)
        actions: list[Callable[[Store], object]] = [
            functools.partial(undo, import_id=some(), is_applied=True),
            functools.partial(undo, import_id=some(), is_applied=True),
            functools.partial(undo, import_id=some(), is_applied=False),
            functools.partial(deactivation.deactivate, client=CLIENT, unique_ids=chosen),
            functools.partial(deactivation.reactivate, client=CLIENT, unique_ids=[*chosen, "S1"]),
            functools.partial(ids.rekey, client=CLIENT, pairs=pairs, is_applied=True),
            functools.partial(ids.rekey, client=CLIENT, pairs=pairs[:1], is_applied=False),
            functools.partial(personal_data.erase, client=CLIENT, unique_id=chosen[0]),
        ]
        ours, theirs = done(both, dice.choice(actions))
        assert ours == theirs
        assert tables(both[0]) == tables(both[1])
        for id_ in chosen:
            assert history.later_id(both[0].conn, CLIENT, id_) == history.later_id(both[1].conn, CLIENT, id_)


def test_removals_are_decided_alike(both: Both) -> None:
    """Users whom a snapshot lacks leave once that is approved, but for those who are protected or stated elsewhere."""
    for store in both:
        assert ["S1", "S2", "S3"] == [each.unique_id for each in removal.missing(store.conn, CLIENT, SNAPSHOT, ["S4"])]
    assert repr(removal.missing(both[0].conn, CLIENT, SNAPSHOT, [])) == repr(
        removal.missing(both[1].conn, CLIENT, SNAPSHOT, [])
    )
    decision = removal.Decision(held=held(2), verdict="approved", by="operator", at=AT, protected=("S4",))
    for store in both:
        with store.transaction():
            held_files.add(store.conn, held(2))
    ours, theirs = done(both, lambda store: removal.decide(store, decision, SNAPSHOT, lambda _: None))
    assert ours == theirs
    assert isinstance(ours, Done)
    assert 3 == ours.users
    assert tables(both[0]) == tables(both[1])
    assert [None, None] == done(both, lambda store: removal.decide(store, decision, SNAPSHOT, lambda _: None))


def test_the_tables_of_actions_are_those_of_the_migrations(both: Both) -> None:
    """PostgreSQL has each table that actions work with, with the same columns."""
    query = """SELECT column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = ? ORDER BY ordinal_position"""
    for table, columns in work.TABLES.items():
        assert [*columns] == [name for (name,) in both[1].conn.execute(query, (table,)).fetchall()]


def test_who_was_erased_leaves_nothing_to_compare_with(both: Both) -> None:
    """The next file of the client is examined whole, or it would pass over the row of somebody who was erased."""
    for store in both:
        with store.importing():
            store.conn.execute("INSERT INTO baselines SELECT client, file, id, 'terms', ? FROM imports LIMIT 1", (b"",))
        assert baselines.exist(store.conn, CLIENT)
        assert 1 == personal_data.erase(store, CLIENT, "S7").users
        assert not baselines.exist(store.conn, CLIENT)


def test_the_trigger_of_the_documents_notices_who_edits_by_hand(both: Both) -> None:
    """What another role changes has the next file of its client be examined whole; what the service does has not."""
    document = (REPOSITORY / "docs" / "scale-out.md").read_text()
    (trigger,) = re.findall(r"```sql\n(CREATE FUNCTION .*?)```", document, flags=re.DOTALL)
    conn = both[1].conn
    conn.execute(trigger)
    conn.execute("CREATE ROLE admin_by_hand")
    try:
        conn.execute("GRANT ALL ON users, baselines TO admin_by_hand")
        for client in (CLIENT, "beta"):
            conn.execute("INSERT INTO baselines VALUES (?, 'f', 1, 'terms', ?)", (client, b""))
        conn.execute("UPDATE users SET city = 'here'")
        assert all(baselines.exist(conn, client) for client in (CLIENT, "beta"))
        conn.execute("SET ROLE admin_by_hand")
        conn.execute("UPDATE users SET city = 'there' WHERE client = 'beta' AND unique_id = 'S1'")
        conn.execute("RESET ROLE")
        assert (True, False) == (baselines.exist(conn, CLIENT), baselines.exist(conn, "beta"))
    finally:
        conn.execute("RESET ROLE")
        conn.execute("DROP OWNED BY admin_by_hand")
        conn.execute("DROP ROLE admin_by_hand")
