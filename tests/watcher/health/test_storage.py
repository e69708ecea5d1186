"""A database that cannot be written: noticed at once, reported with the remedy, used again by itself once mended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from importer.settings import MailSettings
from importer.store.places import Place
from importer.store.sqlite.connection import is_whole, log_files, read_only
from importer.store.sqlite.database import SqliteStore
from tests import REPOSITORY
from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.daemon import Rosterd
from watcher.health.alerts import Alerts
from watcher.health.obstacle import obstacle
from watcher.health.storage import Storage
from watcher.health.trouble import Troubles

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example\n"
SERVICE = 54_321  # a user that no host has, and no name
NOBODY = 54_322
RESTARTED = 74  # EX_IOERR, after which systemd starts it again


@pytest.fixture
def place() -> Iterator[Path]:
    """Yield a folder that every user can reach; pytest's can be closed by whoever starts it next."""
    with tempfile.TemporaryDirectory(prefix="rosterd-storage-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def service() -> int | None:
    """Return whom to run the service as; None: as ourselves, who have no rights beyond files either."""
    return SERVICE if os.geteuid() == 0 else None


@pytest.fixture
def rosterd(place: Path, service: int | None) -> Iterator[Rosterd]:
    inbox = place / "acme"
    inbox.mkdir()
    if service is not None:
        os.chown(inbox, service, service)
    with Rosterd(place, {"acme": inbox}, service_uid=service) as installation:
        installation.planted = "from watcher.health import storage; storage._LOOK_INTERVAL_S = 0.5"
        installation.start()
        yield installation


def forbid_by_mode(database: Path) -> None:
    database.chmod(0o400)


def allow_by_mode(database: Path) -> None:
    database.chmod(0o600)


def give_away(database: Path) -> None:
    os.chown(database, NOBODY, NOBODY)


def give_back(database: Path) -> None:
    os.chown(database, SERVICE, SERVICE)


def forbid_by_mount(database: Path) -> None:
    subprocess.run(["mount", "--bind", database.parent, database.parent], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", database.parent], check=True)


def allow_by_mount(database: Path) -> None:
    subprocess.run(["umount", "--lazy", database.parent], check=True)


def forbid_by_attribute(database: Path) -> None:
    subprocess.run(["chattr", "+i", database], check=True)


def allow_by_attribute(database: Path) -> None:
    subprocess.run(["chattr", "-i", database], check=True)


class Case(NamedTuple):
    """What keeps a database from being written, and what is told of it."""

    forbid: Callable[[Path], None]
    allow: Callable[[Path], None]
    what: str
    remedy: str


CASES = {
    "mode": Case(forbid_by_mode, allow_by_mode, "has mode 0400, which no user may write", "chmod u+w"),
    "owner": Case(give_away, give_back, "belongs to uid 54322", "chown 54321 /"),
    "mount": Case(forbid_by_mount, allow_by_mount, "is on a disk mounted read-only", "mount it for writing"),
    "attribute": Case(forbid_by_attribute, allow_by_attribute, "is immutable, not even root may write it", "chattr -i"),
}


def has_attributes(folder: Path) -> bool:
    """Return whether the file system of a folder, and our rights, let a file be immutable."""
    for sign in "+-":
        if subprocess.run(["chattr", f"{sign}i", folder], check=False, capture_output=True).returncode:
            return False
    return True


@pytest.mark.parametrize("case", CASES)
def test_a_database_that_became_read_only(rosterd: Rosterd, place: Path, needs: Needs, case: str) -> None:
    """Without any upload the log, `status` and `doctor` say that it is, and what to do; then all goes on by itself."""
    forbid, allow, what, remedy = CASES[case]
    if case != "mode":
        needs("mount", "chattr", root=True)
    if case == "attribute" and not has_attributes(place):
        needs("a file system with attributes")
    database = place / "state" / "rosterd.db"
    forbid(database)
    try:
        reason = str(rosterd.wait_for_event("store.refused")["reason"])
        assert what in reason
        assert remedy in reason
        wait_until(lambda: what in rosterd.execute("status").stdout, "status to say it")
        told = rosterd.execute("doctor").stdout
        # A wrong owner is told of all files of the service at once.
        about = [f"fault    database: {database}", f"fault    database: {database.parent}"]
        assert any(words in told for words in ([f"cannot use it: {database}"] if case == "owner" else about)), told
        assert what in told
        assert ("chown -hR 54321:" if case == "owner" else remedy) in told
        assert f"OK       database: {database}" not in told
    finally:
        allow(database)
    rosterd.wait_for_event("store.restored")
    wait_until(lambda: what not in rosterd.execute("status").stdout, "all to be well")
    (place / "acme" / "users.csv").write_text(HEADER + ANN)
    assert "imported" == rosterd.wait_for_imports(1)[0]["outcome"]


def test_rights_of_a_group_are_rights(place: Path) -> None:
    """A database, or its folder, that is another user's and that others may write as well is in nobody's way."""
    database = place / "rosterd.db"
    database.touch()
    for path, mode in ((place, 0o1777), (database, 0o660)):
        path.chmod(mode)
    assert ("", "") == obstacle(database, NOBODY)
    database.chmod(0o640)
    assert obstacle(database, NOBODY)[1].startswith(f"chown {NOBODY} ")
    assert ("", "") == obstacle(database, 0)


def put_in_place(content: bytes, database: Path) -> None:
    """Put another file in the place of a database, as `mv` does."""
    copy = database.with_name("copy")
    copy.write_bytes(content)
    copy.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(copy, SERVICE, SERVICE)
    os.replace(copy, database)


def content_of(database: Path) -> bytes:
    """Return a whole copy of a database in use, as SQLite makes it."""
    with contextlib.closing(read_only(database)) as conn:
        return conn.serialize()


def test_a_database_that_was_replaced(rosterd: Rosterd, place: Path) -> None:
    """With a whole database in its place the service ends so that it is started again, and then goes on with that."""
    database = place / "state" / "rosterd.db"
    backup = content_of(database)
    (place / "acme" / "users.csv").write_text(HEADER + ANN)
    rosterd.wait_for_imports(1)
    put_in_place(backup, database)

    assert RESTARTED == rosterd.wait_for_end()
    assert "was replaced under the service" in str(rosterd.events("daemon.failed"))
    rosterd.start()
    (place / "acme" / "users.csv").write_text(HEADER + ANN)
    rosterd.wait_for_imports(1)
    assert ["1"] == list(rosterd.users())


def test_nothing_is_written_once_the_database_was_replaced(place: Path) -> None:
    """Alerts that wait when the service ends for it are not written to the log of the old database."""
    database = place / "rosterd.db"
    store = SqliteStore.open(database)
    alerts = Alerts(MailSettings(operator=("op@example.org",)))
    troubles = Troubles(alerts, watching=True)
    troubles.report("inbox.unusable", client="acme", reason="gone")
    put_in_place(content_of(database), database)

    with pytest.raises(OSError, match="was replaced"):
        Storage(store, Place(str(database)), troubles).tend(0.0)
    alerts.tend(store)
    store.close()
    written, _ = log_files(database)
    assert not written.exists() or 0 == written.stat().st_size


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "not whole": lambda content: content[: len(content) // 2],
    "no database": lambda content: b"a" * len(content),
    "of another program": lambda content: content[:68] + bytes(4) + content[72:],
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_whole_database(place: Path, wrong: str) -> None:
    """What is no database of rosterd's, or not all of it, is told by its first bytes and its size."""
    database = place / "rosterd.db"
    SqliteStore.open(database).close()
    assert is_whole(database)
    database.write_bytes(WRONG[wrong](database.read_bytes()))
    assert not is_whole(database)


def test_a_database_that_was_replaced_by_a_part_of_one(rosterd: Rosterd, place: Path) -> None:
    """What cannot be opened in place of the database is told by log and `status`, and nothing is written to it."""
    database = place / "state" / "rosterd.db"
    content = content_of(database)
    database.rename(place / "aside")
    put_in_place(content[:-1], database)
    assert "was replaced under the service" in str(rosterd.wait_for_event("store.refused")["reason"])
    wait_until(lambda: "was replaced under the service" in rosterd.execute("status").stdout, "status to say it")
    assert content[:-1] == database.read_bytes()
    os.replace(place / "aside", database)
    rosterd.wait_for_event("store.restored")


def test_a_log_of_another_database_is_not_lost(rosterd: Rosterd, place: Path) -> None:
    """When a write-ahead log of its own came with the other database nothing is opened: to close ours removes it."""
    database = place / "state" / "rosterd.db"
    content = content_of(database)
    log = database.with_name("rosterd.db-wal")
    log.rename(place / "aside-wal")
    put_in_place(b"committed there", log)
    database.rename(place / "aside")
    put_in_place(content, database)
    assert "was replaced under the service" in str(rosterd.wait_for_event("store.refused")["reason"])
    assert b"committed there" == log.read_bytes()
    os.replace(place / "aside-wal", log)
    os.replace(place / "aside", database)
    rosterd.wait_for_event("store.restored")


SCRIPT = """
import os, sqlite3, sys
from pathlib import Path
from importer.settings import MailSettings
from importer.store.database import Store
from importer.store.places import Place
from importer.store.sqlite.database import SqliteStore
from watcher.health.alerts import Alerts
from watcher.health.storage import Storage
from watcher.health.trouble import Troubles

path = Path(sys.argv[1])
SqliteStore.open(path).close()
path.chmod(0o400)
store = SqliteStore.open(path)
storage = Storage(store, Place(str(path)), Troubles(Alerts(MailSettings()), watching=True))
storage.tend(0.0)
print(storage.trouble)
path.chmod(0o600)
storage.tend(1000.0)
print(storage.trouble or "well")
with store.transaction():
    store.conn.execute("UPDATE retention SET passed_at = ''")
"""


def test_a_database_that_was_opened_read_only(place: Path, service: int | None) -> None:
    """SQLite only reads for as long as a database is open that it could not write then: it is opened anew."""
    if service is not None:
        os.chown(place, service, service)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, place / "rosterd.db"],
        check=False,
        capture_output=True,
        text=True,
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        user=service,
    )
    assert "" == done.stderr
    trouble, end = [line for line in done.stdout.splitlines() if "store." not in line]
    assert "mode 0400" in trouble
    assert "well" == end
