"""PostgreSQL: a client's first file, whose rows go to the server before all of them are known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from importer.rows import copy_lines
from importer.store.postgresql.connection import connect
from importer.store.postgresql.database import PostgresqlStore
from importer.store.postgresql.rows.first_file import FirstFile
from importer.store.sqlite.database import SqliteStore
from tests.engine import HEADER, Engine, Result
from tests.lab.postgresql import PostgresqlServer

pytestmark = pytest.mark.xdist_group("postgresql")
COUNT = 3_000  # several batches


@pytest.fixture
def url(postgresql: PostgresqlServer) -> str:
    return postgresql.emptied_database(0)


@pytest.fixture
def engine(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    (tmp_path / "server").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("tests.engine.open_store", lambda _: PostgresqlStore.open(url))
        opened = Engine(tmp_path / "server")
    with contextlib.closing(opened):
        yield opened


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Engine]:
    """Yield an importer into SQLite, which has to do the same."""
    (tmp_path / "model").mkdir()
    with contextlib.closing(Engine(tmp_path / "model")) as opened:
        assert isinstance(opened.store, SqliteStore)
        yield opened


def row(number: int, email: str = "", unique_id: str = "") -> str:
    """Return the row of a user."""
    return f"{unique_id or f'S{number}'},OPSCOM,Ann,Lee,{email or f'u{number}@example.org'},u{number}"


def outcome(result: Result) -> tuple[object, ...]:
    """Return what the client is told."""
    return result.tally, result.reasons, result.receipt.warnings


def file() -> str:
    """Return a file in which rows far apart contradict each other, in each way there is."""
    rows = [row(number) for number in range(COUNT)]
    rows[COUNT - 5] = row(COUNT - 5, email="U7@EXAMPLE.org")  # taken: both fail
    rows[COUNT - 9] = row(COUNT - 9, email="u2000@example.org")
    rows[COUNT - 20] = row(COUNT - 20, unique_id="S11")  # an id twice, the first of which was copied long ago
    rows[COUNT - 30] = row(40)  # the same row again
    rows[50] = "S50,OPSCOM,,Lee,u60@example.org,u50"  # fails, and claims the address of one that does not
    rows[70] = "S70,OPSCOM,Ann,Lee,nowhere,u70"
    rows[80] = "S80,OPSCOM,A\\n\tn,Lee,u80@example.org,u80"
    return "\n".join((HEADER, *rows, ""))


@pytest.mark.parametrize("sorted_chars", [0, 20_000, 1 << 20])
def test_a_first_file_leads_to_the_same_in_both_databases(
    engine: Engine, model: Engine, monkeypatch: pytest.MonkeyPatch, sorted_chars: int
) -> None:
    """Who shares an address or an id with a row of another batch is not recorded, and the client told as ever."""
    monkeypatch.setattr(copy_lines, "_SORTED_CHARS", sorted_chars)
    ours, theirs = engine.upload(file().encode()), model.upload(file().encode())
    assert outcome(theirs) == outcome(ours)
    assert theirs.tally.failed > 7
    assert model.users() == engine.users()
    keys = "SELECT unique_id, email_key, user_name_key, import_line FROM users ORDER BY 1"
    assert model.store.conn.execute(keys).fetchall() == engine.store.conn.execute(keys).fetchall()


def test_rows_come_to_the_server_in_the_order_of_ids(engine: Engine, url: str) -> None:
    """So it adds them to its index side by side, whatever order the file has; the lines are those of the file."""
    rows = sorted((row(number) for number in range(COUNT)), key=hash)
    engine.upload("\n".join((HEADER, *rows, "")).encode())
    with contextlib.closing(connect(url)) as conn:
        stored = conn.execute("SELECT unique_id, import_line FROM users ORDER BY ctid").fetchall()
    assert sorted(stored) == stored
    assert {(each.partition(",")[0], line) for line, each in enumerate(rows, 2)} == {*stored}


def test_a_file_of_which_nothing_is_left_leaves_nothing(engine: Engine) -> None:
    """Where all rows claim one address nobody is recorded."""
    result = engine.rows(*(row(number, email="all@example.org") for number in range(COUNT)))
    assert (0, COUNT) == (result.tally.created, result.tally.failed)
    assert {} == engine.users()


def test_a_common_day_of_birth_is_told(engine: Engine, model: Engine) -> None:
    """The warning of too many users of one day of birth asks the server, as the working copy has few of them."""
    header = f"{HEADER},date_of_birth"
    rows = [f"{row(number)},{'2000-01-01' if number < 900 else '1999-12-31'}" for number in range(1000)]
    ours, theirs = engine.rows(*rows, header=header), model.rows(*rows, header=header)
    assert theirs.warnings
    assert outcome(theirs) == outcome(ours)


def test_a_connection_lost_while_rows_are_copied_is_followed_by_another_try(
    engine: Engine, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backend that ends within the COPY leaves nothing, and the next try records all rows once."""
    add, calls = FirstFile.add, [0]

    def ending(self: FirstFile, *args: object) -> None:
        calls[0] += 1
        if calls[0] == 3:
            with contextlib.closing(connect(url)) as other:
                other.execute(
                    "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        add(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(FirstFile, "add", ending)
    result = engine.rows(*map(row, range(COUNT)))
    assert COUNT == result.tally.created
    assert calls[0] > COUNT / 500 + 2
    assert (COUNT,) == engine.store.conn.execute("SELECT count(*) FROM users").fetchone()


def test_an_error_while_rows_are_copied_leaves_the_connection_usable(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copying is given up before the transaction is rolled back: nothing else could be asked of the server."""

    def failing(*_: object) -> None:
        raise OSError("the disk of this host")

    with monkeypatch.context() as patched, engine.claimed(file().encode()) as claim:
        patched.setattr("importer.store.postgresql.rows.recorder.PostgresqlRecorder.resolve_conflicts", failing)
        with pytest.raises(OSError, match="disk"):
            engine.importer().import_file(claim, engine.client)
    assert not engine.store.conn.in_transaction
    assert (0,) == engine.store.conn.execute("SELECT count(*) FROM users").fetchone()
    assert engine.rows(row(1)).tally.created == 1
