"""PostgreSQL: statements as the store writes them, errors in our words, tables like those of SQLite."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from importer.model import Interrupted
from importer.store import queries
from importer.store.errors import (
    StoreBusy,
    StoreError,
    StoreReadOnly,
    StoreUnreachable,
    StoreUnusable,
)
from importer.store.postgresql import migrating
from importer.store.postgresql.connection import check_is_verified, connect
from importer.store.postgresql.database import PostgresqlStore
from importer.store.postgresql.import_ids import ImportIds
from importer.store.postgresql.schema import MIGRATIONS
from importer.store.postgresql.statements import for_psycopg
from importer.store.sqlite.connection import NEWEST
from importer.store.sqlite.database import SqliteStore
from tests.lab.postgresql import PostgresqlServer

MANY = 5
INSERTED = "INSERT INTO hook_totals (hook) VALUES ('chat')"

pytestmark = pytest.mark.xdist_group("postgresql")


@pytest.fixture
def url(postgresql: PostgresqlServer) -> str:
    return postgresql.new_database()


@pytest.fixture
def store(url: str) -> Iterator[PostgresqlStore]:
    with contextlib.closing(PostgresqlStore.open(url)) as opened:
        yield opened


def run(store: PostgresqlStore, *statements: str) -> None:
    """Run statements in one transaction."""
    with store.transaction():
        for statement in statements:
            store.conn.execute(statement)


def end_within(store: PostgresqlStore, administrator: str, statement: str) -> None:
    """Have the backend of a transaction ended in the middle of it."""
    with contextlib.closing(connect(administrator)) as other, store.transaction():
        store.conn.execute(INSERTED)
        other.execute(statement)
        store.conn.execute("SELECT 1")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("SELECT ? WHERE a = ?", "SELECT %s WHERE a = %s"),
        ("a = :name_1 OR :name_1 IS NULL", "a = %(name_1)s OR %(name_1)s IS NULL"),
        ("a LIKE '%:x?''%' AND b % 2 = ?", "a ILIKE '%%:x?''%%' AND b %% 2 = %s"),
        ('SELECT "a?:b" -- why? :x\nFROM :t', 'SELECT "a?:b" -- why? :x\nFROM %(t)s'),
        ("SELECT :a::BIGINT", "SELECT %(a)s::BIGINT"),
        ("a IS b AND c IS NOT :d AND e IS NULL", "a IS NOT DISTINCT FROM b AND c IS DISTINCT FROM %(d)s AND e IS NULL"),
        ("a IS NOT NULL AND b IS NOT DISTINCT FROM c", "a IS NOT NULL AND b IS NOT DISTINCT FROM c"),
        ("a NOT LIKE :b OR b = ' LIKE '", "a NOT ILIKE %(b)s OR b = ' LIKE '"),
    ],
)
def test_values_are_put_where_they_belong(ours: str, theirs: str) -> None:
    """Marks of values are found outside of texts, names, comments and casts alone."""
    assert theirs == for_psycopg(ours)


def test_values_come_back_as_sqlite_has_them(store: PostgresqlStore) -> None:
    """Text with any character, bytes with any, numbers, flags and sums are what they were; a row is a tuple."""
    values = ("a'b\\c%s\U0001f600", b"\x00\xff'", 1 << 62, 1.5, None)
    assert values == store.conn.execute("SELECT ?, ?, ?, ?, ?", values).fetchone()
    assert (1, 0) == store.conn.execute("SELECT :a + 0, :b + 0", {"a": True, "b": False}).fetchone()
    (total,) = store.conn.execute("SELECT sum(a) FROM (VALUES (1 + 0::BIGINT), (2)) AS numbers (a)").fetchone()
    assert (3, int) == (total, type(total))


def test_texts_are_compared_by_bytes(store: PostgresqlStore) -> None:
    """The order of a language, which the database has, is not that of our columns."""
    store.conn.executemany("INSERT INTO hook_totals (hook) VALUES (?)", [("b",), ("a",), ("B",), ("é",)])
    assert [("B",), ("a",), ("b",), ("é",)] == store.conn.execute(
        "SELECT hook FROM hook_totals ORDER BY hook"
    ).fetchall()


def test_a_backslash_is_one(store: PostgresqlStore) -> None:
    """Values and searches are the same where the server takes a backslash in a text for the begin of something else."""
    store.conn.execute("SET standard_conforming_strings = off; SET backslash_quote = off")
    assert ("a\\'b",) == store.conn.execute("SELECT ?", ("a\\'b",)).fetchone()
    assert [] == queries.users(store.conn, "a\\'%_!", client=None, limit=1)


def test_tables_and_columns_are_those_of_sqlite(store: PostgresqlStore, tmp_path: Path) -> None:
    """Both have the same tables, columns in the same order, and migrations; but for the client of what imports left."""
    query = """SELECT table_name, column_name, is_nullable = 'NO' FROM information_schema.columns
        WHERE table_schema = 'public'
        AND table_name NOT IN ('rosterd_schema', 'import_ids', 'open_imports', 'locks') AND table_name NOT LIKE 'work_%'
        AND NOT (table_name IN ('import_problems', 'user_changes') AND column_name = 'client')
        ORDER BY table_name, ordinal_position"""
    theirs = store.conn.execute(query).fetchall()
    with contextlib.closing(SqliteStore.open(tmp_path / "rosterd.db")) as sqlite:
        ours = sqlite.conn.execute(
            """SELECT tables.name, columns.name, columns."notnull" OR columns.pk > 0 FROM sqlite_master AS tables
               JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'
               AND tables.name NOT IN ('_sqlite_migrations', 'importing') ORDER BY tables.name, columns.cid"""
        ).fetchall()
    # The triggers of SQLite that need `importing` are still to come; `locks` SQLite does not need.
    assert ours == [tuple(row) for row in theirs]
    assert NEWEST.startswith(f"m{MIGRATIONS[-1].number:03d}_"), "add the migration to store/postgresql/schema, too"


def test_two_hosts_may_start_at_once(url: str) -> None:
    """Whoever comes second waits for the first, and finds the tables, or is told that the database is busy."""
    ended: list[str] = []

    def start() -> None:
        try:
            PostgresqlStore.open(url).close()
        except StoreBusy:
            ended.append("busy")
        else:
            ended.append("open")

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 4 == len(ended)
    assert "open" in ended
    PostgresqlStore.open(url).close()


def test_a_host_that_hangs_in_a_migration_is_not_waited_for(
    store: PostgresqlStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts meanwhile gives up after a while, and comes again."""
    monkeypatch.setattr(migrating, "_BEGIN", migrating._BEGIN.replace("10s", "10ms"))
    with store.transaction():
        store.conn.execute("SELECT version FROM rosterd_schema FOR UPDATE")
        with pytest.raises(StoreBusy):
            PostgresqlStore.open(url)
    PostgresqlStore.open(url).close()


def test_a_newer_database_is_refused(store: PostgresqlStore, url: str) -> None:
    """Tables of a later rosterd are left alone."""
    store.conn.execute("UPDATE rosterd_schema SET version = 999")
    with pytest.raises(StoreUnusable, match="newer rosterd"):
        PostgresqlStore.open(url)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_have_all_names_is_refused(postgresql: PostgresqlServer, encoding: str) -> None:
    """A database in another encoding than UTF-8 is not used: each file with a letter that it lacks would fail."""
    name = encoding.lower()
    made = f"ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    postgresql.run_sql("postgres", f"CREATE DATABASE {name} {made}")
    with pytest.raises(StoreUnusable, match=f"has the encoding {encoding}; expected one made with ENCODING 'UTF8'"):
        PostgresqlStore.open(postgresql.url(name))


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
def test_the_isolation_that_is_the_default_does_not_matter(
    postgresql: PostgresqlServer, url: str, isolation: str
) -> None:
    """A transaction sees what was committed since it began, such as the id that an import takes, whatever is usual."""
    database = url.partition("@/")[2].partition("?")[0]
    postgresql.run_sql("postgres", f"ALTER DATABASE {database} SET default_transaction_isolation = '{isolation}'")
    with contextlib.closing(PostgresqlStore.open(url)) as opened, opened.transaction():
        assert [1, 2] == [opened.conn.new_import_id(), opened.conn.new_import_id()]


def test_a_role_that_may_not_create_tables_uses_those_that_are_there(postgresql: PostgresqlServer, url: str) -> None:
    """Without tables it is told what it lacks, as something that may pass; once somebody else made them it works."""
    database, weak = url.partition("@/")[2].partition("?")[0], url.replace("rosterd@", "weak@")
    postgresql.run_sql("postgres", "CREATE ROLE weak LOGIN")
    with pytest.raises(StoreBusy, match="cannot be made: permission denied for schema public") as refused:
        PostgresqlStore.open(weak)
    assert "let this role create tables" in refused.value.advice
    PostgresqlStore.open(url).close()
    postgresql.run_sql(database, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO weak")
    with contextlib.closing(PostgresqlStore.open(weak)) as opened, opened.transaction():
        assert 1 == opened.conn.new_import_id()


def test_what_fails_is_rolled_back(store: PostgresqlStore) -> None:
    """An error within a transaction leaves nothing, and the next one works."""
    with pytest.raises(StoreError, match="syntax"):
        run(store, INSERTED, "SELEKT")
    with store.transaction():
        assert [] == store.conn.execute("SELECT hook FROM hook_totals").fetchall()


def test_an_error_does_not_quote_a_row(store: PostgresqlStore) -> None:
    """PostgreSQL adds the row to its message, which would bring a person into the log."""
    insert = "INSERT INTO guard_pauses (client, guard, until) VALUES ('acme', 'ann@example.org', '')"
    store.conn.execute(insert)
    with pytest.raises(StoreError, match="guard_pauses_pkey") as caught:
        store.conn.execute(insert)
    assert "ann@" not in str(caught.value)


def test_errors_are_sorted_by_what_is_to_be_done(
    store: PostgresqlStore, postgresql: PostgresqlServer, url: str
) -> None:
    """A lock, a database that may only be read, one that is not there: each is an error of its own."""
    with contextlib.closing(connect(url)) as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE hook_totals")
        for limit in ("lock_timeout", "statement_timeout"):
            with pytest.raises(StoreBusy):
                run(store, f"SET LOCAL {limit} = '10ms'", "SELECT * FROM hook_totals")
    with pytest.raises(StoreReadOnly):
        run(store, "SET TRANSACTION READ ONLY", INSERTED)
    with pytest.raises(StoreUnreachable, match="does not exist"):
        connect(postgresql.url("nowhere"))
    with pytest.raises(StoreUnusable, match="database"):
        connect("postgresql://host/name?nonsense=1")


def test_a_lost_connection_is_told_and_opened_again(store: PostgresqlStore, postgresql: PostgresqlServer) -> None:
    """A backend that was ended, in a transaction or not, makes the server unreachable until it is opened again."""
    (pid,) = store.conn.execute("SELECT pg_backend_pid()").fetchone()
    ended = postgresql.url("postgres"), f"SELECT pg_terminate_backend({pid}, 60000)"
    with pytest.raises(StoreUnreachable):
        end_within(store, *ended)
    with pytest.raises(StoreUnreachable):
        store.conn.execute("SELECT 1")
    store.open_again()
    store.check_writable()
    assert [] == store.conn.execute("SELECT hook FROM hook_totals").fetchall()


def test_a_size_that_the_server_does_not_tell_is_none(
    store: PostgresqlStore, postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is not there has no size for PostgreSQL, not even 0."""
    monkeypatch.setattr("importer.store.postgresql.database._SIZE_S", 0.0)
    (number,) = store.conn.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    folder = postgresql.folder / "data" / "base" / str(number)
    assert store.size_bytes > 0
    folder.rename(folder.with_name("away"))
    try:
        assert store.size_bytes == 0
    finally:
        folder.with_name("away").rename(folder)
    assert store.size_bytes > 0


def test_a_server_that_is_away_is_unreachable(store: PostgresqlStore, postgresql: PostgresqlServer, url: str) -> None:
    """While the server is stopped nothing can be opened; once it is back everything is there."""
    run(store, INSERTED)
    postgresql.run_sql("postgres", "CHECKPOINT")
    postgresql.stop()
    try:
        with pytest.raises(StoreUnreachable):
            store.check_writable()
        with pytest.raises(StoreUnreachable):
            connect(url)
    finally:
        postgresql.start()
    store.open_again()
    assert [("chat",)] == store.conn.execute("SELECT hook FROM hook_totals").fetchall()


def test_work_is_interrupted_between_statements(store: PostgresqlStore) -> None:
    """What asks to stop is asked before each statement, and the transaction is rolled back."""
    answers = iter([False, False, True])
    with pytest.raises(Interrupted), store.interruptible(lambda: next(answers)):
        run(store, INSERTED, "SELECT 1")
    assert [] == store.conn.execute("SELECT hook FROM hook_totals").fetchall()


def raise_after(_import_id: int) -> None:
    raise Interrupted


def test_whoever_follows_changes_stops_before_an_import_that_is_open(store: PostgresqlStore, url: str) -> None:
    """Of two imports the later may be committed first; one whose host was lost is forgotten when the next begins."""
    with contextlib.closing(PostgresqlStore.open(url)) as other:
        with store.transaction():
            first = store.conn.new_import_id()
            with other.transaction():
                second = other.conn.new_import_id()
            assert first < second
            assert first - 1 == other.conn.newest_import_id()
        assert second == other.conn.newest_import_id()
        with contextlib.suppress(Interrupted), store.transaction():
            raise_after(store.conn.new_import_id())
        assert second + 1 == other.conn.newest_import_id()
        with store.transaction():
            lost = store.conn.new_import_id()
            store.conn.execute("ROLLBACK")  # as if its connection were lost
            store.conn.execute("BEGIN")
        assert lost - 1 == other.conn.newest_import_id()
        store.conn.execute("UPDATE open_imports SET began_at = began_at - INTERVAL '2 minutes'")
        with other.transaction():
            last = other.conn.new_import_id()
        assert last == store.conn.newest_import_id()


def test_an_id_that_was_given_up_is_not_used(store: PostgresqlStore, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is suspended for so long that its id was forgotten takes another one."""
    noted = ImportIds._noted

    def suspended(ids: ImportIds) -> int:
        import_id = noted(ids)
        if import_id == 1:
            with contextlib.closing(connect(url)) as other:
                other.execute("DELETE FROM open_imports")
        return import_id

    monkeypatch.setattr(ImportIds, "_noted", suspended)
    with store.transaction():
        assert 2 == store.conn.new_import_id()


def test_a_long_answer_comes_in_parts(store: PostgresqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a transaction the server keeps what was not taken yet; whoever takes no more leaves nothing there."""
    monkeypatch.setattr("importer.store.postgresql.connection._STREAMED", 2)
    query, conn = "SELECT generate_series(1, ?)", store.conn
    assert [(1,), (2,), (3,)] == [*conn.stream(query, (3,))]
    with store.transaction():
        assert [(1,), (2,), (3,)] == [*conn.stream(query, (3,))]
        with (
            contextlib.closing(conn.stream(query, (10**12,))) as one,
            contextlib.closing(conn.stream(query, (5,))) as two,
        ):
            assert [(1,), (1,), (2,), (2,), (3,)] == [next(each) for each in (one, two, two, one, one)]
        assert (0,) == conn.execute("SELECT count(*) FROM pg_cursors").fetchone()
    with contextlib.closing(conn.stream(query, (5,))) as rows, pytest.raises(StoreError), store.transaction():  # noqa: PT012 - one transaction
        next(rows)
        conn.execute("SELECT 1 / 0")


def test_many_rows_are_inserted_in_one_statement(store: PostgresqlStore) -> None:
    """What makes them one does not change what they are: also values that look like SQL."""
    rows = [("h", "a), (b", 1), ("h", "%s ? :x '", 2)]
    with store.transaction():
        store.conn.executemany(
            "INSERT INTO work_moves (client, old, new) VALUES (?, ?, ?)", [(*row[:2], str(row[2])) for row in rows]
        )
        found = store.conn.execute("SELECT client, old, new FROM work_moves ORDER BY new").fetchall()
    assert [(*row[:2], str(row[2])) for row in rows] == found


def test_a_statement_that_is_under_way_is_cancelled(store: PostgresqlStore) -> None:
    """A statement that takes long is asked about all the while, which also tells that the service is alive."""
    asked: list[bool] = []

    def stopping() -> bool:
        asked.append(True)
        return len(asked) > MANY

    with pytest.raises(Interrupted), store.interruptible(stopping):
        run(store, "SELECT pg_sleep(600)")
    assert len(asked) > MANY
    with store.transaction():
        assert [(1,)] == store.conn.execute("SELECT 1").fetchall()


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({"host": "db.example.org"}, False),
        ({"host": "db.example.org", "sslmode": "verify-full"}, False),
        ({"host": "db.example.org", "sslmode": "require"}, True),
        ({"host": "/run/postgresql,db.example.org", "sslmode": "disable"}, True),
        ({"host": "127.0.0.1", "sslmode": "disable"}, False),
        ({"host": "/run/postgresql"}, False),
        ({}, False),
    ],
)
def test_a_server_on_another_host_is_verified(settings: dict[str, str], *, is_refused: bool) -> None:
    """Weaker modes of TLS are for this host alone."""
    if is_refused:
        with pytest.raises(StoreUnusable, match="expected verify-full"):
            check_is_verified(settings)
    else:
        check_is_verified(settings)
