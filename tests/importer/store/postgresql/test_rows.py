"""PostgreSQL: what recording the rows of a file costs the server, and what it leaves there."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from importer.rows.copy_lines import lines_of
from importer.settings import FeedSettings
from importer.store.connection import Values
from importer.store.postgresql import connection
from importer.store.postgresql.connection import PostgresqlConnection, PostgresqlCursor
from importer.store.postgresql.database import PostgresqlStore
from importer.store.postgresql.rows import copying
from tests.engine import UNGUARDED, Engine
from tests.lab.postgresql import PostgresqlServer

pytestmark = pytest.mark.xdist_group("postgresql")
MOST_STATEMENTS = 40
MOST_OF_SMALL = [17, 21, 18]  # all new, all changed, nothing changed
LARGE = 5_000


@pytest.fixture
def engine(tmp_path: Path, postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Yield an importer whose client has snapshots, limits and a status."""
    url = postgresql.emptied_database(0)
    monkeypatch.setattr("tests.engine.open_store", lambda _: PostgresqlStore.open(url))
    with contextlib.closing(Engine(tmp_path, feed=(FeedSettings(name="all", files="*", mode="snapshot"),))) as opened:
        yield opened


def rows(count: int, last: str = "Lee", shift: int = 0) -> list[str]:
    """Return so many rows; shifted, each has the address of another."""
    return [f"S{n},OPSCOM,Ann,{last},u{(n + shift) % count}@example.org,u{n}" for n in range(count)]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list whose only value counts messages to the server."""
    begin, taken = connection.begin, [0]

    def counting(conn: PostgresqlConnection) -> None:
        taken[0] += 1
        begin(conn)

    monkeypatch.setattr(connection, "begin", counting)
    return taken


def test_a_small_file_takes_few_statements(engine: Engine, taken: list[int]) -> None:
    """Nothing is asked that cannot be: about addresses that users have already, or rows that fail where none does."""
    counted = []
    for last in ("Lee", "Roy", "Roy"):
        taken[0] = 0
        engine.settings(guard=UNGUARDED, feed=()).rows(*rows(20, last))
        counted.append(taken[0])
    assert counted == MOST_OF_SMALL


def test_a_file_of_any_size_takes_as_many_statements(engine: Engine, taken: list[int]) -> None:
    """New users, others' addresses, conflicts, leavers and an undo before: each file takes some dozens at most."""
    counted = []
    for count in (50, LARGE):
        engine.emptied()
        of_size = []
        for lines in (
            rows(count),
            rows(count, "Roy", shift=1),
            [*rows(count), f"X,OPSCOM,Ann,Lee,u1@example.org,x{count}"],
            rows(count)[: count - 5],
        ):
            taken[0] = 0
            engine.settings(guard=UNGUARDED).rows(*lines)
            of_size.append(taken[0])
        counted.append(of_size)
    small, large = counted
    assert max(large) <= MOST_STATEMENTS, counted
    assert max(map(abs, map(int.__sub__, large, small))) <= 1, counted


def test_only_columns_that_the_file_changes_are_written(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of users whose last name changes nothing else is sent or set but which import that was."""
    engine.settings(feed=()).rows(*rows(20))
    execute, updates = PostgresqlConnection.execute, list[str]()

    def noting(conn: PostgresqlConnection, statement: str, values: Values = ()) -> PostgresqlCursor:
        if "UPDATE users SET" in statement:
            updates.append(statement)
        return execute(conn, statement, values)

    monkeypatch.setattr(PostgresqlConnection, "execute", noting)
    result = engine.settings(guard=UNGUARDED).rows(*rows(10, "Roy"), *rows(20)[10:])
    assert (10, 10) == (result.tally.updated, result.tally.unchanged)
    (update,) = updates
    written = update.partition(" FROM ")[0]
    assert ["last_name", "updated_at", "import_id", "import_line"] == re.findall(r"(\w+) = staged", written)
    assert {"Roy": 10, "Lee": 10} == Counter(engine.column("last_name").values())


def test_nothing_is_left_of_the_work(engine: Engine) -> None:
    """Rows that were put on the server for one import go with it."""
    engine.rows(*rows(20))
    engine.rows(*rows(18, "Roy"))
    for table in ("work_rows", "work_users"):
        assert (0,) == engine.store.conn.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608


def test_any_characters_come_back(engine: Engine) -> None:
    """Backslashes, tabs and empty values pass COPY both ways."""
    found: list[Any] = [("S1", "a\\b", "", "x\ty"), ("S2", "\\N", "c\\.", "é\U0001f600")]
    conn = cast("PostgresqlConnection", engine.store.conn)
    columns = ("unique_id", "email_key", "user_name_key", "client")
    copying.copy_in(conn, "work_rows", (*columns, "import_id"), [lines_of([(*row, "7") for row in found])])
    query = f"SELECT {', '.join(columns)} FROM work_rows WHERE import_id = :id ORDER BY 1"  # noqa: S608
    assert found == [tuple(row) for row in copying.copy_out(conn, query, {"id": 7})]
