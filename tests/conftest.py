"""What all tests share: nothing may leak, and what a test needs of the machine is missing loudly."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from importer.rows import duplicates
from importer.store.database import Store
from importer.store.sqlite.database import SqliteStore
from tests.engine import Engine
from tests.lab import MEMORY, wait_until
from tests.lab.clients import Visit
from tests.lab.daemon import Rosterd, make_inboxes
from tests.lab.postgresql import PostgresqlServer, program
from tests.lab.sshd import Sshd, descendants

settings.register_profile("any machine", deadline=None)  # how long an example takes says more of the machine than of us
settings.load_profile("any machine")

Needs = Callable[..., None]
_LONG = 100  # characters, or bytes, of a value


def usable(name: str) -> bool:
    if name.startswith("/dev/"):
        return os.access(name, os.R_OK | os.W_OK)
    return shutil.which(name) is not None or program(name) is not None


@pytest.fixture(scope="session")
def needs() -> Needs:
    """Return the check for programs, devices and rights; what lacks them is skipped by hand, and fails in CI."""

    def check(*names: str, root: bool = False) -> None:
        missing = [name for name in names if not usable(name)]
        if root and os.geteuid() != 0:
            missing.append("root")
        if missing:
            give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            give_up(f"needs {', '.join(missing)}")

    return check


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Return the inboxes of the clients acme and beta."""
    return make_inboxes(tmp_path)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Yield an importer on a new database, for the client acme."""
    with contextlib.closing(Engine(tmp_path)) as importer:
        yield importer


@pytest.fixture(scope="session")
def postgresql(needs: Needs) -> Iterator[PostgresqlServer]:
    """Yield a PostgreSQL server for all tests that ask for one."""
    needs("postgres", "initdb", "psql")
    with contextlib.closing(PostgresqlServer()) as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Return what opens a database that is empty at first, each time the same one; of each kind in turn."""
    if request.param == "sqlite":
        return functools.partial(SqliteStore.open, tmp_path / "rosterd.db")
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    from importer.store.postgresql.database import PostgresqlStore  # noqa: PLC0415 - takes libpq

    with contextlib.closing(PostgresqlStore.open(server.url("common"))) as opened:
        # A new database for each of many tests would take ten times as long.
        tables = """SELECT string_agg(tablename, ', ') FROM pg_tables
            WHERE schemaname = 'public' AND tablename NOT IN ('rosterd_schema', 'retention', 'import_ids')"""
        (names,) = opened.conn.execute(tables).fetchone()
        opened.conn.execute(f"TRUNCATE {names} RESTART IDENTITY")
        opened.conn.execute("UPDATE import_ids SET last = 0")
    return functools.partial(PostgresqlStore.open, server.url("common"))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name no test by a long value: one may have the time in it, and a process cannot be told of one without end."""
    return argname if isinstance(val, str | bytes) and len(val) > _LONG else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of SQLite that would run on PostgreSQL."""
    others = [each for each in items if each.get_closest_marker("sqlite") and "[postgresql" in each.name]
    config.hook.pytest_deselected(items=others)
    items[:] = [each for each in items if each not in others]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def both_databases(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let each Engine of a test have an empty database, of each kind in turn; return which."""
    kind = str(request.param)
    if kind == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        from importer.store.postgresql.database import PostgresqlStore  # noqa: PLC0415 - takes libpq

        opened: dict[Path, str] = {}

        def open_store(folder: Path) -> Store:
            if folder not in opened:  # where another reader finds it, too
                opened[folder] = server.emptied_database(len(opened))
            return PostgresqlStore.open(opened[folder])

        monkeypatch.setattr("tests.engine.open_store", open_store)
    return kind


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Iterator[Store]:
    """Yield an empty database, of each kind in turn."""
    with contextlib.closing(open_store()) as opened:
        yield opened


@pytest.fixture
def fleeting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a folder for thousands of small files, none of which has to outlive the test: little is spent on each."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(duplicates, "_WORDS", 1 << 12)  # in place of 8 MiB
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@contextlib.contextmanager
def unsynced(engine: Engine) -> Iterator[Engine]:
    """Yield an engine whose database is not synced either, as the server's never is; it is closed at the end."""
    with contextlib.closing(engine):
        if isinstance(engine.store, SqliteStore):
            engine.store.conn.execute("PRAGMA synchronous = OFF")
        yield engine


@pytest.fixture
def sshd(needs: Needs) -> Iterator[Sshd]:
    """Yield a server with the logins acme and beta, set up as in production."""
    needs("sshd", "sftp")
    with Sshd(("acme", "beta"), deny_links=True) as server:
        yield server


@pytest.fixture
def acme(sshd: Sshd, tmp_path: Path) -> Visit:
    """Return the client acme at that server."""
    return Visit(sshd, sshd.login("acme"), tmp_path)


@pytest.fixture
def installed(sshd: Sshd, tmp_path: Path) -> Iterator[Rosterd]:
    """Yield an installation for both clients, not started."""
    with Rosterd(tmp_path, {name: sshd.login(name).inbox for name in ("acme", "beta")}) as installation:
        yield installation


@pytest.fixture
def rosterd(installed: Rosterd) -> Rosterd:
    """Return the running daemon of both clients."""
    installed.start()
    return installed


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    """Fail a test that leaves a thread or a process behind; the umask of a command that ran here is taken back."""
    umask = os.umask(0o022)
    os.umask(umask)
    threads = set(threading.enumerate())
    processes = set(descendants(os.getpid()))
    yield
    os.umask(umask)
    wait_until(lambda: set(threading.enumerate()) <= threads, "the test's threads to end")
    wait_until(lambda: set(descendants(os.getpid())) <= processes, "the test's processes to end")
