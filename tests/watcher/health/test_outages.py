"""A server that cannot be used, in each way there is: uploads wait, one alert tells it, and all goes on by itself."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest

from tests.conftest import Needs
from tests.lab import MEMORY, wait_until
from tests.lab.daemon import Rosterd, make_inboxes
from tests.lab.postgresql import USER, PostgresqlServer

HEADER = "unique_id,login_source,first_name,last_name,email,user_name"
# Nothing but how long is waited, so that an outage that lasts for many looks does not last for minutes; and a client
# whose files take long to read rests for a day: the time that went by waiting for the server is none of that.
SOON = """
import importer.store.postgresql.connection as c, watcher.health.storage as s, watcher.health.status as t
c._ASK_S, c._PING_S, c._PATIENCE_S, c._CANCEL_S, s._LOOK_INTERVAL_S = 0.5, 2, 2.0, 2.0, 0.5
t.IDLE_INTERVAL_S = 0.5
import importer.store.postgresql.import_ids as i
i._BOUNDS = i._BOUNDS.replace("30s", "2s")
c._CONNECTING["connect_timeout"] = 2
import watcher.inbox.large_files as l
l.FRUITLESS_SHARE = 1e-5
"""
SHORT = """
import importer.store.postgresql.database as d
d._BEGIN = d._BEGIN.replace("15min", "1s")
"""
LOOKS = 2
OURS = "application_name = 'rosterd' AND pid <> pg_backend_pid()"
DISK_MB = 160

pytestmark = [
    pytest.mark.xdist_group("postgresql"),
    pytest.mark.filterwarnings("error"),
]


class Scene:
    """A server of its own, and a service that uses it."""

    def __init__(self, folder: Path, server: PostgresqlServer) -> None:
        self.server = server
        self.database = server.new_database()
        self.folder = folder
        self.name = self.database.partition("@/")[2].partition("?")[0]
        self.site: Rosterd

    def serve(self, hosts: str = "") -> Rosterd:
        """Return the service, which is to be started; `hosts` are those of its URL."""
        url = self.database.partition("?")[0] + f"?host={hosts or self.server.folder}"
        mail = {"operator": "ops@example.org"}
        settings = {"service": {"database": url, "host": "ham"}, "mail": mail}
        self.site = Rosterd(self.folder, make_inboxes(self.folder), settings=settings)
        self.site.planted = SOON
        return self.site

    def upload(self, number: int, *, users: int = 1) -> None:
        """Let both clients upload a file with users of its own."""
        for client in ("acme", "beta"):
            ids = [f"{client}-{number}-{each}" for each in range(users)]
            rows = [f"{id_},OPSCOM,Ann,Lee,{id_}@example.org,{id_}" for id_ in ids]
            self.site.drop(f"{number}.csv", "\n".join([HEADER, *rows, ""]), client)

    def sql(self, statement: str) -> str:
        """Ask the server."""
        return self.server.run_sql(self.name, statement)


Fault = Callable[[Scene], AbstractContextManager[None]]


@pytest.fixture
def scene(needs: Needs, tmp_path: Path) -> Iterator[Scene]:
    needs("postgres", "initdb", "psql")
    with contextlib.closing(PostgresqlServer(synchronous_commit="on", max_connections="12")) as server:
        yield Scene(tmp_path, server)


@contextlib.contextmanager
def stopped(scene: Scene, mode: str) -> Iterator[None]:
    scene.server.stop(mode)
    if mode == "smart":  # what is connected goes on, and keeps it from ending, until an operator has enough of it
        scene.server.stop("fast")
    yield
    scene.server.start()


@contextlib.contextmanager
def set_to(scene: Scene, setting: str, value: str) -> Iterator[None]:
    """Change a setting of the running server; that takes no transaction that writes."""
    with psycopg.connect(scene.server.url("postgres"), autocommit=True) as conn:
        conn.execute(f"ALTER SYSTEM SET {setting} = {value}".encode())
        conn.execute("SELECT pg_reload_conf()")
    yield
    with psycopg.connect(scene.server.url("postgres"), autocommit=True) as conn:
        conn.execute(f"ALTER SYSTEM RESET {setting}".encode())
        conn.execute("SELECT pg_reload_conf()")


@contextlib.contextmanager
def hung(scene: Scene) -> Iterator[None]:
    """Let no process of the server do anything: its sockets still take connections."""
    pids = scene.server.processes()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def crowded(scene: Scene) -> Iterator[None]:
    """Leave the service no connection, neither of those that it had nor a new one."""
    with contextlib.ExitStack() as others:

        def connect() -> psycopg.Connection[tuple[object, ...]]:
            return others.enter_context(psycopg.connect(scene.server.url("postgres"), autocommit=True))

        first = connect()

        def take_all() -> None:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    connect()

        def is_full() -> bool:
            take_all()
            ended = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {OURS}"  # noqa: S608 - ours
            first.execute(ended.encode())
            take_all()
            query = f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}"  # noqa: S608 - ours
            return first.execute(query.encode()).fetchone() == (0,)

        wait_until(is_full, "no free connection")
        yield


FAULTS: dict[str, Fault] = {
    "stopped smart": lambda scene: stopped(scene, "smart"),
    "stopped fast": lambda scene: stopped(scene, "fast"),
    "stopped at once": lambda scene: stopped(scene, "immediate"),
    "read-only": lambda scene: set_to(scene, "default_transaction_read_only", "on"),
    "hung": hung,
    "no standby confirms": lambda scene: set_to(scene, "synchronous_standby_names", "gone"),
    "out of connections": crowded,
}
TOLD = {
    **dict.fromkeys(("stopped smart", "stopped fast", "stopped at once", "hung"), "start the server"),
    "read-only": "default_transaction_read_only",
    "no standby confirms": "synchronous standby",
    "out of connections": "raise max_connections",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_all_waits_and_goes_on(fault: str, scene: Scene) -> None:
    """What was uploaded meanwhile is imported once, without anybody's help; one alert says what to do."""
    with scene.serve() as site:
        site.start()
        scene.upload(1)
        wait_until(lambda: len(site.events("file.archived")) == 2 or None, "the files before")
        with FAULTS[fault](scene):
            scene.upload(2)
            alerted(scene)
            told(scene, TOLD[fault])
        resumed(scene, files=2)
        assert 1 == len(site.events("store.refused")) == len(site.events("store.restored"))


def alerted(scene: Scene) -> None:
    """Wait for the alert, and until the service has met the outage many times more."""
    site = scene.site
    site.wait_for_event("store.refused")
    wait_until(lambda: "trouble" in scene_status(scene) or None, "the status")
    before = written(scene)
    wait_until(lambda: written(scene) - before > LOOKS or None, "some looks")


def scene_status(scene: Scene) -> str:
    status = json.loads((scene.folder / "state" / "status.json").read_text())
    return "trouble" if status["database_trouble"] else ""


def written(scene: Scene) -> int:
    return (scene.folder / "state" / "status.json").stat().st_mtime_ns // 10**9


def told(scene: Scene, remedy: str) -> None:
    """Status and doctor name the server, and what to do."""
    for command in ("status", "doctor"):
        done = scene.site.execute(command)
        assert remedy in done.stdout + done.stderr, (command, done.stdout, done.stderr)


def resumed(scene: Scene, *, files: int) -> None:
    """All files were imported once, each of their users is there once, and one line of level error told of it."""
    site = scene.site
    wait_until(lambda: len(site.events("file.archived")) == 2 * files or None, "the archive")
    listed = json.loads(site.execute("imports", "--json").stdout)
    assert 2 * files == len(listed) == len({(each["client"], each["file"]) for each in listed})
    assert 2 * files == len(site.events("file.archived"))
    assert ["imported"] * 2 * files == [each["outcome"] for each in listed]
    assert str(sum(each["created"] for each in listed)) == scene.sql("SELECT count(*) FROM users")
    assert "nothing is lost" in site.execute("verify").stdout
    errors = [json.loads(line) for line in site.log().splitlines() if '"level": "error"' in line]
    assert 1 == len(errors), errors


def filled(folder: Path) -> Callable[[], None]:
    """Fill a disk to its last byte; return what makes room again."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass
    return ballast.unlink


def with_too_large_files(scene: Scene, site: Rosterd, disk: Path) -> Callable[[], None]:
    """Start the service, and upload files that the disk has no room for; return what makes room for them."""
    site.start()
    scene.upload(1)
    wait_until(lambda: len(site.events("file.archived")) == 2 or None, "the files before")
    make_room = filled(disk)
    scene.upload(2, users=5000)
    return make_room


@pytest.fixture
def small_disk(needs: Needs) -> Iterator[Path]:
    """Yield a disk of its own, in memory, on which the server may write."""
    needs("mount", root=True)
    folder = Path(tempfile.mkdtemp(prefix="rosterd-disk-", dir=MEMORY))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=777", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def test_a_full_disk_of_the_tables(scene: Scene, small_disk: Path) -> None:
    """A file that does not fit waits until there is room, and the disk is named as that of the server."""
    (small_disk / "data").mkdir()
    shutil.chown(small_disk / "data", USER, USER)
    scene.server.run_sql("postgres", f"CREATE TABLESPACE small LOCATION '{small_disk}/data'")
    scene.server.run_sql("postgres", f"ALTER DATABASE {scene.name} SET TABLESPACE small")
    with scene.serve() as site:
        make_room = with_too_large_files(scene, site, small_disk)
        site.wait_for_event("file.deferred")
        wait_until(lambda: "of the database server" in site.execute("status").stdout or None, "the status")
        for client in ("acme", "beta"):  # another fault of theirs
            (scene.folder / client).chmod(0o777)
        found = site.execute("doctor").stdout
        assert 1 == found.count("of the database server"), found
        assert "everybody can write to it" in found
        make_room()
        resumed(scene, files=2)


def test_a_full_disk_of_the_log(scene: Scene, small_disk: Path) -> None:
    """A server that cannot write its log ends at once; what was uploaded waits until it has room and is started."""
    log = scene.server.folder / "data" / "pg_wal"
    scene.server.stop("fast")
    shutil.move(log, small_disk / "log")
    log.symlink_to(small_disk / "log")
    for path in (log, small_disk / "log", *(small_disk / "log").rglob("*")):
        shutil.chown(path, USER, USER)
    scene.server.start()
    with scene.serve() as site:
        make_room = with_too_large_files(scene, site, small_disk)

        def has_ended() -> bool:
            with contextlib.suppress(subprocess.CalledProcessError):
                scene.sql("CREATE TABLE other (); DROP TABLE other; SELECT pg_switch_wal()")
            return "PANIC" in (scene.server.folder / "log").read_text()

        wait_until(has_ended, "the end of the server")
        alerted(scene)
        told(scene, "the server")
        make_room()
        with contextlib.suppress(AssertionError):  # it may have ended
            scene.server.stop("immediate")
        scene.server.start()
        resumed(scene, files=2)


def test_a_standby_takes_over(scene: Scene, needs: Needs) -> None:
    """Of two servers in the URL the one that can be written is used: none for a while, then the standby."""
    needs("pg_basebackup")
    with (
        contextlib.closing(PostgresqlServer(scene.server)) as standby,
        scene.serve(hosts=f"{scene.server.folder},{standby.folder}") as site,
    ):
        site.start()
        scene.upload(1)
        wait_until(lambda: len(site.events("file.archived")) == 2 or None, "the files before")
        written_up_to = scene.sql("SELECT pg_current_wal_lsn()")
        caught_up = f"SELECT replay_lsn >= '{written_up_to}' FROM pg_stat_replication"  # noqa: S608 - ours
        wait_until(lambda: scene.sql(caught_up) == "t", "the standby")
        scene.server.stop("immediate")
        scene.upload(2)
        alerted(scene)
        told(scene, "promote")
        standby.promote()
        primary, scene.server = scene.server, standby
        resumed(scene, files=2)
        primary.start()  # its fixture stops it


def test_a_table_that_somebody_locks(scene: Scene) -> None:
    """A lock that an operator holds on the ledger delays files, and is told once."""
    with scene.serve() as site:
        site.start()
        scene.upload(1)
        wait_until(lambda: len(site.events("file.archived")) == 2 or None, "the files before")
        with psycopg.connect(scene.server.url(scene.name)) as other:
            other.execute("LOCK TABLE imports")
            scene.upload(2)
            site.wait_for_event("file.deferred", level="error")
            other.rollback()
        resumed(scene, files=2)


def test_a_statement_that_takes_too_long(scene: Scene) -> None:
    """It is ended, told once with what to look at, and tried again; files of others are imported meanwhile."""
    with scene.serve() as site:
        site.planted += SHORT
        site.start()
        scene.sql("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(3600); END'")
        of_acme = "FOR EACH ROW WHEN (new.client = 'acme') EXECUTE FUNCTION slow()"
        scene.sql(f"CREATE TRIGGER slow BEFORE INSERT ON users {of_acme}")
        scene.upload(1)
        site.wait_for_event("file.archived", client="beta")
        log = scene.server.folder / "log"
        wait_until(lambda: log.read_text().count("statement timeout") > LOOKS, "some tries")
        (told_once,) = site.events("file.deferred", client="acme", level="error")
        assert "statement timeout: see" in str(told_once["reason"])
        assert "statement timeout: see" in site.execute("status").stdout
        scene.sql("DROP TRIGGER slow ON users")
        resumed(scene, files=1)


def test_a_server_that_never_answers(tmp_path: Path) -> None:
    """What takes connections and says nothing does not keep a start, or a command, for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = {"service": {"database": f"postgresql://rosterd@127.0.0.1:{port}/rosterd", "host": "ham"}}
        site = Rosterd(tmp_path, make_inboxes(tmp_path), settings=settings)
        site.planted = SOON
        done = site.execute("status")
        assert (2, True) == (done.returncode, "start the server" in done.stderr)
        assert "start the server" in site.execute("doctor").stdout
