"""A copy has all that the other database has, whichever of them is SQLite; killed anywhere it has nothing."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from importer.store.copying import TABLES, Side, TargetInUse, copy
from importer.store.errors import StoreError
from importer.store.sqlite import copying as of_sqlite
from importer.store.sqlite.database import SqliteStore
from tests.engine import Engine
from tests.importer.store.test_same_answers import fill, put_next_to
from tests.lab import run_python
from tests.lab.postgresql import PostgresqlServer

pytestmark = pytest.mark.xdist_group("postgresql")

SMALLEST, LARGEST = -(1 << 63), (1 << 63) - 1
EVERY_BYTE = bytes(range(256))
# Kills itself when it has been told so many times how far it is.
COPIED = """
import os, signal, sys
from importer.store.copying import copy
from tests.importer.store.test_copying import open_side

calls = int(sys.argv[3])

def advance(rows):
    global calls
    calls -= 1
    if not calls:
        os.kill(os.getpid(), signal.SIGKILL)

with open_side(sys.argv[1]) as source, open_side(sys.argv[2]) as target:
    if calls == 0:
        target.number_on = lambda: os.kill(os.getpid(), signal.SIGKILL)
    copy(source, target, advance)
"""


@contextlib.contextmanager
def open_side(database: str) -> Iterator[Side]:
    if "://" not in database:
        with contextlib.closing(SqliteStore.open(Path(database))) as file:
            yield of_sqlite.SqliteSide(file)
    else:
        from importer.store.postgresql import copying  # noqa: PLC0415 - takes libpq
        from importer.store.postgresql import database as postgresql  # noqa: PLC0415 - likewise

        with contextlib.closing(postgresql.PostgresqlStore.open(database, "here")) as server:
            yield copying.PostgresqlSide(server)


def ignore(_rows: int) -> None:
    """Show nothing."""


def all_rows(side: Side) -> dict[str, list[str]]:
    """Return what is in each table; this host has no name in SQLite."""
    return {table: sorted(map(repr, rows_of(side, table))) for table in TABLES}


def rows_of(side: Side, table: str) -> Iterator[dict[str, object]]:
    columns = side.columns(table)
    with side.reading():
        found = [row for some in side.rows(table, ", ".join(columns)) for row in some]
    for values in found:
        row = dict(sorted(zip(columns, values, strict=True)))
        yield {**row, "host": "this host"} if row.get("host") == side.conn.host else row


@pytest.fixture
def filled(tmp_path: Path) -> str:
    """Return an SQLite database with something in each table."""
    with contextlib.closing(Engine(tmp_path)) as engine:
        fill(engine)
        put_next_to(engine.store)
        conn = engine.store.conn
        conn.execute("UPDATE imports SET inode = ?, device = ?, archive = ?", (SMALLEST, LARGEST, EVERY_BYTE))
        conn.execute("UPDATE outbox SET body = ?", (EVERY_BYTE,))
        conn.execute("UPDATE users SET city = ?", ("L'Anse \\N \\. \t\r\n%s ? :a \U0001f600 \x7f\ufeff",))
        conn.execute("INSERT INTO importing VALUES (1)")
        conn.execute("INSERT INTO baselines SELECT client, file, id, 'terms', ? FROM imports LIMIT 1", (EVERY_BYTE,))
        conn.execute("DELETE FROM importing")
        conn.execute("UPDATE imports SET host = 'other' WHERE id = 1")
        conn.execute("UPDATE outbox SET joined_into = (SELECT max(id) FROM outbox)")
        path = conn.execute("SELECT file FROM pragma_database_list WHERE name = 'main'").fetchone()[0]
    return str(path)


def test_there_and_back_all_is_the_same(filled: str, postgresql: PostgresqlServer, tmp_path: Path) -> None:
    """Every row of every table, with its types, is in PostgreSQL, and in SQLite again; new rows come after them."""
    url, back = postgresql.new_database(), str(tmp_path / "back.db")
    for source, target in ((filled, url), (url, back)):
        with open_side(source) as origin, open_side(target) as goal:
            told: list[int] = []
            copied = copy(origin, goal, told.append)
            assert copied.is_new
            assert 2 * sum(table.rows for table in copied.tables) == sum(told)
            assert [*TABLES] == [table.name for table in copied.tables]
            assert all_rows(origin) == all_rows(goal)
            hosts = goal.conn.execute("SELECT DISTINCT host FROM imports ORDER BY host").fetchall()
            assert sorted([("other",), (goal.conn.host,)]) == hosts
            assert [] == [table for table, rows in all_rows(goal).items() if not rows]
            (last,) = goal.conn.execute("SELECT max(id) FROM outbox").fetchone()
            goal.conn.execute("BEGIN")
            insert = """INSERT INTO outbox (message_id, client, claim_id, sender, recipients, subject, created_at,
                due_at, body) VALUES ('new', '', '', '', '', '', '', '', ?) RETURNING id"""
            assert last + 1 == goal.conn.execute(insert, (b"",)).fetchone()[0]
            goal.conn.execute("ROLLBACK")
            newest = goal.conn.newest_import_id()
            assert goal.conn.execute("SELECT max(id) FROM imports").fetchone() == (newest,)


def test_a_copy_that_is_there_is_told_and_other_data_refused(
    filled: str, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    """The same command again changes nothing; a database with anything else is left as it is."""
    for target in (postgresql.new_database(), str(tmp_path / "other.db")):
        with open_side(filled) as origin, open_side(target) as goal:
            first = copy(origin, goal, ignore)
            again = copy(origin, goal, ignore)
            assert (first.tables, False) == (again.tables, again.is_new)
            goal.conn.execute("UPDATE users SET city = NULL")
            before = all_rows(goal)
            with pytest.raises(TargetInUse, match="other data"):
                copy(origin, goal, ignore)
            assert before == all_rows(goal)


def test_a_text_with_nul_is_named(filled: str, postgresql: PostgresqlServer) -> None:
    """What PostgreSQL cannot store is refused with its column, not cut off, and nothing is copied."""
    with open_side(filled) as origin, open_side(postgresql.new_database()) as goal:
        origin.conn.execute("UPDATE users SET city = char(65, 0, 66) WHERE unique_id = 'S1'")
        with pytest.raises(StoreError, match=r"users\.city: got a text with the character NUL"):
            copy(origin, goal, ignore)
        assert [] == all_rows(goal)["imports"]


@pytest.mark.parametrize("is_to_sqlite", [False, True])
def test_what_was_killed_is_done_by_the_next(
    filled: str, postgresql: PostgresqlServer, tmp_path: Path, *, is_to_sqlite: bool
) -> None:
    """Killed while rows are copied, while they are compared, or before the commit: the next one copies it all."""
    target = str(tmp_path / "killed.db") if is_to_sqlite else postgresql.new_database()
    for calls in (1, 6, 17, 0):
        killed = run_python(Path.cwd(), "-c", COPIED, filled, target, str(calls))
        assert -signal.SIGKILL == killed.returncode, killed.stderr
        with open_side(target) as goal:
            assert [] == all_rows(goal)["imports"]
    with open_side(filled) as origin, open_side(target) as goal:
        assert copy(origin, goal, ignore).is_new
        assert all_rows(origin) == all_rows(goal)


def test_every_table_is_copied_or_known_not_to_be(filled: str, postgresql: PostgresqlServer) -> None:
    """A table that is new is copied, or named as one that is not."""
    from importer.store.postgresql import copying as of_postgresql  # noqa: PLC0415 - takes libpq

    with open_side(filled) as file, open_side(postgresql.new_database()) as server:
        ours = file.conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        theirs = server.conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert {*TABLES, *of_sqlite.NOT_COPIED} == {name for (name,) in ours}
    assert {*TABLES, *of_postgresql.NOT_COPIED} == {name for (name,) in theirs}
