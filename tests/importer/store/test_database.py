"""The database: made, opened again, recognised, left alone."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from importer.attributes import ATTRIBUTES
from importer.store.database import Store
from importer.store.errors import (
    StoreBusy,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnopened,
    StoreUnusable,
)
from importer.store.sqlite import shape
from importer.store.sqlite.connection import APPLICATION_ID, NEWEST, read_only
from importer.store.sqlite.database import SqliteStore
from tests import REPOSITORY
from tests.engine import Engine
from tests.tables import tables_of

OLD = REPOSITORY / "tests" / "data" / "rosterd-0.1.0.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rosterd.db"


def test_a_new_database_has_what_other_programs_drive(path: Path) -> None:
    """Tables, views and columns that other programs rely on are there, and every table of people is strict."""
    with contextlib.closing(SqliteStore.open(path)) as store:
        assert {"users", "imports", "import_problems", "outbox"} <= set(tables_of(store).table_names())
        assert {"recent_imports", "failing_clients"} <= set(tables_of(store).view_names())
        assert {"client", *ATTRIBUTES} <= set(tables_of(store).table("users").columns_dict)
        assert {"client", "file", "sha256", "outcome", "created", "updated", "unchanged", "failed"} <= set(
            tables_of(store).table("imports").columns_dict
        )
        strict = {row[0] for row in store.conn.execute("SELECT name FROM pragma_table_list WHERE strict")}
        assert {"users", "imports", "import_problems", "outbox"} <= strict


def test_readers_know_the_last_migration(path: Path) -> None:
    """Commands that only read tell a database of an earlier build by it."""
    with contextlib.closing(SqliteStore.open(path)) as store:
        names = store.conn.execute("SELECT name FROM _sqlite_migrations ORDER BY id").fetchall()
    assert (NEWEST,) == names[-1]


def test_a_database_that_is_up_to_date_is_known_by_its_digest(path: Path) -> None:
    """The digest that spares a start the migrations is that of a new database, and of no changed one."""
    with contextlib.closing(SqliteStore.open(path)) as store:
        assert shape.CURRENT == shape.digest(store.conn)
        store.conn.execute("CREATE INDEX users_by_city ON users (city)")
        assert not shape.is_current(store.conn)


def test_a_new_database_can_have_the_tables_of_another(path: Path, tmp_path: Path) -> None:
    """They are the same as by the migrations, without what is in them; of one that is not there they are, too."""
    with contextlib.closing(SqliteStore.open(path)) as model:
        model.conn.execute("INSERT INTO guard_pauses VALUES ('acme', 'created', '2027-01-01T00:00:00Z')")
        for source in (path, tmp_path / "none.db"):
            with contextlib.closing(SqliteStore.open(tmp_path / f"like-{source.name}", model=source)) as store:
                assert shape.is_current(store.conn)
                assert [] == store.conn.execute("SELECT * FROM guard_pauses").fetchall()


def schema(store: Store) -> list[tuple[str, ...]]:
    return store.conn.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_an_old_database_brought_up_to_date_equals_a_new_one(tmp_path: Path) -> None:
    """Whether a database was made by 0.1.0 or is new: tables, columns, indexes, triggers and views are the same."""
    shutil.copy(OLD, tmp_path / "old.db")
    with (
        contextlib.closing(SqliteStore.open(tmp_path / "old.db")) as old,
        contextlib.closing(SqliteStore.open(tmp_path / "new.db")) as new,
    ):
        assert schema(new) == schema(old)


def test_an_old_database_goes_on_with_what_it_holds(tmp_path: Path) -> None:
    """The users that 0.1.0 recorded are updated by the next file, whole; ledger, problems and mail stay."""
    shutil.copy(OLD, tmp_path / "rosterd.db")
    with contextlib.closing(Engine(tmp_path)) as engine:
        engine._files = 6  # so many it has imported already
        tables = ("imports", "import_problems", "outbox")
        assert [6, 2, 2] == [tables_of(engine.store).table(name).count for name in tables]
        tally = engine.rows("S1,OPSCOM,Ann,Lee,ann1@example.org,ann", "S99,OPSCOM,Bob,Roy,bob@example.org,bob").tally
        assert (1, 1) == (tally.created, tally.updated)
        assert ("Hull", "ann") == (engine.users()["S1"]["city"], engine.users()["S1"]["user_name"])


def test_an_old_ledger_still_knows_which_files_did_not_end(tmp_path: Path) -> None:
    """What 0.1.0 recorded of the end of a file is among the warnings now, so that no client is mailed of it again."""
    shutil.copy(OLD, tmp_path / "rosterd.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "rosterd.db")) as conn, conn:
        conn.execute("UPDATE imports SET ends_line = 0 WHERE id = 6")
    with contextlib.closing(SqliteStore.open(tmp_path / "rosterd.db")) as store:
        rows = store.conn.execute("SELECT DISTINCT warnings FROM imports ORDER BY id = 6").fetchall()
        assert [("",), ("file.unterminated",)] == rows


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ("ALTER TABLE users DROP COLUMN city", "column users.city: got nothing; expected TEXT"),
        (
            "ALTER TABLE imports RENAME COLUMN code TO reason",
            "column imports.code: got nothing; expected TEXT NOT NULL",
        ),
        ("DROP TABLE import_problems", "column import_problems.import_id: got nothing"),
        ("DROP INDEX users_by_id", "index users_by_id: got nothing; expected CREATE UNIQUE INDEX users_by_id ON users"),
        ("DROP TRIGGER users_edited", "trigger users_edited: got nothing; expected CREATE TRIGGER"),
    ],
)
def test_changed_tables_are_told_at_the_start(path: Path, change: str, lacks: str) -> None:
    """A database that lacks a column, an index or a trigger is refused, naming it and the remedy; nothing is mended."""
    with contextlib.closing(SqliteStore.open(path)) as store:
        store.conn.execute(change)
    with pytest.raises(StoreUnusable, match=re.escape(lacks)) as caught:
        SqliteStore.open(path)
    assert "undo that by hand, or restore the database from a backup" in str(caught.value)


def test_a_first_start_that_was_killed_is_finished_by_the_next(path: Path) -> None:
    """A database that was left between the library's table of migrations and that table's index is made whole."""
    SqliteStore.open(path).close()
    with contextlib.closing(sqlite3.connect(path)) as conn:
        [(index,)] = conn.execute(
            "SELECT name FROM sqlite_master WHERE tbl_name = '_sqlite_migrations' AND name LIKE 'idx%'"
        ).fetchall()
        conn.execute(f'DROP INDEX "{index}"')
    SqliteStore.open(path).close()


def test_what_an_operator_adds_is_left_alone(path: Path) -> None:
    """Tables, views, columns and indexes of the operator's own are no reason to refuse a database."""
    added = (
        "CREATE TABLE notes (text TEXT)",
        "CREATE VIEW towns AS SELECT DISTINCT city FROM users",
        "ALTER TABLE users ADD COLUMN note TEXT",
        "CREATE INDEX users_by_city ON users (city)",
    )
    with contextlib.closing(SqliteStore.open(path)) as store:
        for statement in added:
            store.conn.execute(statement)
        expected = schema(store)
    with contextlib.closing(SqliteStore.open(path)) as store:
        assert expected == schema(store)


def test_an_import_survives_power_cuts_by_its_settings(path: Path) -> None:
    """WAL with full synchronisation, foreign keys on; and they are set anew at every opening."""
    for _ in range(2):
        with contextlib.closing(SqliteStore.open(path)) as store:
            found = {
                name: store.conn.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "application_id")
            }
            assert {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "busy_timeout": 5000,
                "application_id": APPLICATION_ID,
            } == found


def test_opening_writes_nothing_that_is_there(path: Path) -> None:
    """A database that is up to date is opened while somebody else holds the write lock."""
    SqliteStore.open(path).close()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        SqliteStore.open(path).close()


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    """What a block wrote before it raised is gone, and the connection is fit for the next."""
    with contextlib.closing(SqliteStore.open(path)) as store:
        store.conn.execute("CREATE TABLE seen (n INTEGER PRIMARY KEY) STRICT")
        with pytest.raises(StoreError, match="constraint failed"), store.transaction():
            store.conn.executemany("INSERT INTO seen VALUES (?)", [(1,), (1,)])
        with store.transaction():
            store.conn.execute("INSERT INTO seen VALUES (2)")
        assert [(2,)] == store.conn.execute("SELECT n FROM seen").fetchall()


def test_a_transaction_takes_the_write_lock_at_once(path: Path) -> None:
    """Nobody else can begin to write in the middle, so that nothing fails half-way for want of a lock."""
    with (
        contextlib.closing(SqliteStore.open(path)) as store,
        contextlib.closing(sqlite3.connect(path, timeout=0)) as other,
    ):
        with store.transaction(), pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.execute("BEGIN IMMEDIATE")
        other.rollback()


def test_readers_can_not_write(path: Path) -> None:
    """A connection for reading refuses to write, and to make a database where there is none."""
    with pytest.raises(StoreUnopened):
        read_only(path).execute("SELECT 1")
    SqliteStore.open(path).close()
    with contextlib.closing(read_only(path)) as reader, pytest.raises(StoreReadOnly, match="readonly"):
        reader.execute("DELETE FROM users")


@pytest.mark.parametrize("name", ["with blank.db", "50%.db", "q?a#b.db"])
def test_readers_find_a_database_of_any_name(tmp_path: Path, name: str) -> None:
    """The name of the database may hold what means something in an address."""
    SqliteStore.open(tmp_path / name).close()
    with contextlib.closing(read_only(tmp_path / name)) as reader:
        assert [] == reader.execute("SELECT * FROM users").fetchall()


def test_a_corrupt_database_is_left_alone(path: Path) -> None:
    """A file that is no database is never recreated: opening says so and leaves every byte."""
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreUnusable, match="restore it from a backup"):
        SqliteStore.open(path)
    assert b"not a database at all" * 100 == path.read_bytes()


def test_a_database_whose_pages_are_damaged_is_unusable(path: Path) -> None:
    """Damage inside the file is told at opening, not taken for an empty database."""
    SqliteStore.open(path).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with pytest.raises((StoreUnusable, StoreError)):
        SqliteStore.open(path).conn.execute("SELECT * FROM users").fetchall()
    assert whole[:100] == path.read_bytes()[:100]


def test_the_database_of_another_program_is_left_alone(path: Path) -> None:
    """A database with tables of its own, or another program's mark, is refused and stays as it was."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
        other.commit()
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match="another program"):
        SqliteStore.open(path)
    assert before == path.read_bytes()


def test_a_database_of_a_newer_version_is_left_alone(path: Path) -> None:
    """A database with migrations this version does not know is refused, naming them."""
    with contextlib.closing(SqliteStore.open(path)) as store:
        store.conn.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('rosterd', 'm999_later', '2027')"
        )
    with pytest.raises(StoreUnusable, match=r"newer rosterd \(m999_later\)"):
        SqliteStore.open(path)


def test_newer_migrations_are_not_applied_by_an_older_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service under which an update has replaced files, and that loads them only now, changes nothing by them."""
    monkeypatch.setattr("importer.store.sqlite.checks.NEWEST", "m001_first")
    with pytest.raises(StoreUnavailable, match="Restart rosterd"):
        SqliteStore.open(path)
    assert 0 == path.stat().st_size


def test_a_locked_database_is_the_hosts_trouble(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that another program holds is not unusable: the error says it is locked."""
    monkeypatch.setattr("importer.store.sqlite.database.BUSY_TIMEOUT_MS", 20)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreBusy, match="locked"):
            SqliteStore.open(path)
    SqliteStore.open(path).close()


def test_a_store_belongs_to_its_thread(path: Path) -> None:
    """Another thread that reaches for the connection is refused."""
    with contextlib.closing(SqliteStore.open(path)) as store:
        refused: list[BaseException] = []

        def reach() -> None:
            try:
                store.conn.execute("SELECT 1")
            except StoreError as error:
                refused.append(error)

        thread = threading.Thread(target=reach)
        thread.start()
        thread.join()
        assert 1 == len(refused)


def fill(store: Store) -> None:
    """Write 40 MiB of users, which are not committed."""
    store.conn.executemany(
        "INSERT INTO users (client, unique_id, login_source, street, created_at, updated_at, created_import, import_id,"
        " import_line) VALUES ('acme', ?, 'OPSCOM', ?, '', '', 1, 1, 1)",
        ((str(number), "x" * 4000) for number in range(10_000)),
    )


def log_bytes(path: Path) -> int:
    """Return the size of the write-ahead log."""
    return path.with_name(f"{path.name}-wal").stat().st_size


def test_a_full_disk_gets_back_what_was_rolled_back(path: Path) -> None:
    """When a transaction fails because the disk is full, the log of it does not go on filling the disk."""
    with contextlib.closing(SqliteStore.open(path)) as store:
        store.conn.execute("PRAGMA max_page_count = 9000").fetchall()
        with pytest.raises(StoreFull, match="full"), store.transaction():
            fill(store)
        assert 0 == log_bytes(path)


@pytest.mark.parametrize("is_read", [False, True])
def test_a_large_commit_leaves_its_log_for_later(path: Path, *, is_read: bool) -> None:
    """It is durable, and `fold_log` writes it into the database; if somebody reads meanwhile, a later commit does."""
    with contextlib.closing(SqliteStore.open(path)) as store, contextlib.closing(read_only(path)) as reader:
        empty_bytes = path.stat().st_size
        if is_read:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM imports").fetchall()
        with store.transaction():
            fill(store)
        assert empty_bytes == path.stat().st_size
        store.fold_log()
        assert is_read == (path.stat().st_size == empty_bytes)
        reader.rollback()
        store.conn.execute("DELETE FROM users WHERE unique_id = '1'")
        assert path.stat().st_size > empty_bytes + 40_000_000


def test_a_killed_import_leaves_no_large_log(path: Path) -> None:
    """What a killed process had written without a commit is given back at the next start."""
    script = f"""
import os, signal
from pathlib import Path
from importer.store.database import Store
from importer.store.sqlite.database import SqliteStore
from tests.importer.store.test_database import fill
store = SqliteStore.open(Path({str(path)!r}))
store.conn.execute("BEGIN IMMEDIATE")
fill(store)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], check=False, cwd=REPOSITORY)
    assert log_bytes(path) > 10 << 20
    with contextlib.closing(SqliteStore.open(path)):
        assert 0 == log_bytes(path)
