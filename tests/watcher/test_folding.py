"""What happens while the log of a large import is folded into the database: all that was answered stays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.daemon import Rosterd

HEADER = "unique_id,login_source,first_name,last_name,email\n"
COUNT = 12_000
LARGE = HEADER + "".join(f"{n},OPSCOM,Ann,Lee,ann{n}@school.example\n" for n in range(COUNT)) + "bad,OPSCOM,,Lee,\n"
SMALL = HEADER + "small,OPSCOM,Ann,Lee,small@school.example\n"
SLOWLY = "pwrite64:delay_enter=1000"  # microseconds: about a second in all
AT_THE_SYNC = "fdatasync:delay_enter=5000000"
CLIENTS = ("acme", "beta")


@pytest.fixture
def rosterd(tmp_path: Path, folders: dict[str, Path], needs: Needs) -> Iterator[Rosterd]:
    """Yield an installation with a database that has its tables, and that nobody works on."""
    needs("strace")
    with Rosterd(tmp_path, folders) as installation:
        installation.start()
        installation.stop()
        yield installation


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return the file that is written only when the log is folded."""
    return tmp_path / "state" / "rosterd.db"


def log_bytes(database: Path) -> int:
    log = Path(f"{database}-wal")
    return log.stat().st_size if log.exists() else 0


def wait_for_mails(rosterd: Rosterd, count: int) -> None:
    wait_until(lambda: len(rosterd.mails()) >= count, f"{count} mails")


def assert_complete(rosterd: Rosterd, *clients: str) -> None:
    """All users of large files are there, each file has one row and one mail, and nothing is found wrong."""
    expected = [{"client": client, "count": COUNT} for client in clients]
    query = "SELECT client, count(*) AS count FROM users WHERE unique_id <> 'small' GROUP BY client ORDER BY client"
    assert expected == rosterd.query(query)
    rows = rosterd.query("SELECT client, outcome FROM imports WHERE file = 'large.csv' AND archived_at IS NOT NULL")
    assert [(client, "partly") for client in clients] == sorted((row["client"], row["outcome"]) for row in rows)
    wait_for_mails(rosterd, len(clients))
    assert len(clients) == len(rosterd.mails())
    verified = rosterd.execute("verify")
    assert 0 == verified.returncode, verified.stdout
    assert [{"integrity_check": "ok"}] == rosterd.query("PRAGMA integrity_check")


@pytest.mark.parametrize(("inject", "written"), [(SLOWLY, 0), (SLOWLY, 500_000), (AT_THE_SYNC, 500_000)])
def test_killed_while_it_is_folded(rosterd: Rosterd, database: Path, inject: str, written: int, tmp_path: Path) -> None:
    """The answers are out before; a copy and the next start find all that was committed in the log."""
    rosterd.start(inject=inject, at=database)
    before = database.stat().st_size
    rosterd.drop("large.csv", LARGE)
    wait_until(lambda: database.stat().st_size > before + written, "some pages")
    rosterd.kill9()
    assert 1 == len(rosterd.events("file.archived"))
    assert log_bytes(database) > len(LARGE)

    copied = rosterd.execute("store", "copy", "--to", str(tmp_path / "copy.db"))
    assert 0 == copied.returncode, copied.stderr
    rosterd.start()
    assert_complete(rosterd, "acme")
    assert 1 == len(rosterd.events("file.imported"))
    assert log_bytes(database) < len(LARGE)


@pytest.mark.parametrize("fault", ["pwrite64:error=ENOSPC", "fdatasync:error=ENOSPC", "fdatasync:error=EIO"])
def test_a_disk_that_refuses_while_it_is_folded(rosterd: Rosterd, database: Path, fault: str) -> None:
    """The log keeps what was committed, and files are imported as before; it is folded once that can be done."""
    rosterd.start(inject=fault, at=database)
    rosterd.drop("large.csv", LARGE)
    rosterd.wait_for_event("file.archived", file="large.csv")
    rosterd.drop("small.csv", SMALL, client="beta")
    rosterd.wait_for_event("file.archived", file="small.csv")
    assert [] == [*rosterd.events("file.deferred"), *rosterd.events("daemon.failed")]
    rosterd.kill9()

    rosterd.start()
    assert_complete(rosterd, "acme")
    assert log_bytes(database) < len(LARGE)


def test_commands_that_read_while_it_is_folded(rosterd: Rosterd, database: Path, tmp_path: Path) -> None:
    """An export and a backup have all users, whatever part of the log is in the database by then."""
    rosterd.start(inject=SLOWLY, at=database)
    before = database.stat().st_size
    rosterd.drop("large.csv", LARGE)
    rosterd.wait_for_event("file.archived", file="large.csv")
    wait_until(lambda: database.stat().st_size > before, "the first page")
    assert COUNT == rosterd.execute("export", "users", "--client", "acme").stdout.count("@school.example")
    saved = rosterd.execute("backup", str(tmp_path / "saved"))
    assert 0 == saved.returncode, saved.stderr
    assert log_bytes(database) > len(LARGE)
    assert_complete(rosterd, "acme")


def test_two_large_files_one_after_the_other(rosterd: Rosterd, database: Path) -> None:
    """The log of the first is folded before that of the second comes on top of it."""
    rosterd.start()
    with rosterd.stopped():
        for client in CLIENTS:
            rosterd.drop("large.csv", LARGE, client=client)
    rosterd.wait_for_event("file.archived", client="acme")
    most = log_bytes(database)
    rosterd.wait_for_event("file.archived", client="beta")
    assert_complete(rosterd, *CLIENTS)
    assert log_bytes(database) < 1.5 * most


def test_stopped_while_it_is_folded(rosterd: Rosterd, database: Path) -> None:
    """The service ends as promised, in time, and what is left in the log is not lost."""
    rosterd.start(inject=SLOWLY, at=database)
    before = database.stat().st_size
    rosterd.drop("large.csv", LARGE)
    wait_until(lambda: database.stat().st_size > before, "the first page")
    rosterd.stop()
    assert 1 == len(rosterd.events("file.archived"))
    rosterd.start()
    assert_complete(rosterd, "acme")
    assert log_bytes(database) < len(LARGE)
