"""`rosterd store copy`: the database into PostgreSQL and back, while the service is stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from importer.store.places import Place
from operate.store import command
from tests.lab.daemon import Rosterd, make_inboxes
from tests.lab.postgresql import PostgresqlServer
from watcher.exits import EXIT_CANNOT_ANSWER, EXIT_RUNNING_ALREADY
from watcher.lock import locked

pytestmark = pytest.mark.xdist_group("postgresql")

FILE = """unique_id,login_source,first_name,last_name,email
S1,OPSCOM,Ann,Lee,ann@school.example
S2,OPSCOM,Zoé,Roy,zoe@school.example
"""


@pytest.fixture
def rosterd(tmp_path: Path) -> Iterator[Rosterd]:
    """Yield an installation that has imported a file; it is down."""
    with Rosterd(tmp_path, make_inboxes(tmp_path)) as installation:
        installation.drop("users.csv", FILE)
        assert 0 == installation.execute("sweep").returncode
        yield installation


def tables(told: str) -> list[list[str]]:
    """Return the names and numbers of rows; the digest has the name of this host, which SQLite does not know."""
    return [line.split()[:2] for line in told.splitlines()]


def test_the_database_goes_to_postgresql_and_back(
    rosterd: Rosterd, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    """Each table is told with its rows; the same command again says that all is there, and the way back is the same."""
    url, back = postgresql.new_database(), str(tmp_path / "back.db")
    done = rosterd.execute("store", "copy", "--to", url)
    assert 0 == done.returncode, done.stderr
    assert "Copied; each table was compared." == done.stdout.splitlines()[-1]
    assert ["users", "2"] == next(line.split()[:2] for line in done.stdout.splitlines() if line.startswith("users"))
    assert "Zoé" == postgresql.run_sql(url.partition("@/")[2].partition("?")[0], "SELECT max(first_name) FROM users")
    again = rosterd.execute("store", "copy", "--to", url)
    assert (0, "It was all there already, and is the same.") == (again.returncode, again.stdout.splitlines()[-1])
    returned = rosterd.execute("store", "copy", "--from", url, "--to", back)
    assert 0 == returned.returncode, returned.stderr
    assert tables(done.stdout) == tables(returned.stdout)


def test_what_cannot_be_copied_is_a_sentence(rosterd: Rosterd, postgresql: PostgresqlServer, tmp_path: Path) -> None:
    """While the service runs, into a database in use, from or to one that is not there: one line, nothing copied."""
    other = str(tmp_path / "other.db")
    with locked(str(tmp_path / "state")):
        done = rosterd.execute("store", "copy", "--to", other)
    assert (EXIT_RUNNING_ALREADY, "the service is running: stop it first\n") == (done.returncode, done.stderr)
    assert 0 == rosterd.execute("store", "copy", "--to", other).returncode
    rosterd.drop("users.csv", FILE.replace("Ann", "Bea"))
    assert 0 == rosterd.execute("sweep").returncode
    missing = postgresql.url("missing").replace("rosterd@", "rosterd:secret@")
    for arguments, told in (
        (("--to", other), f"{other}: has other data already, such as 1 rows in imports; expected an empty database"),
        (("--from", f"{other}.none", "--to", other), f"{other}.none: does not exist"),
        (("--to", missing), 'postgresql:///missing: connection failed: database "missing" does not exist'),
    ):
        done = rosterd.execute("store", "copy", *arguments)
        assert EXIT_CANNOT_ANSWER == done.returncode
        assert 1 == len(done.stderr.splitlines())
        assert told.partition(": connection")[0] in done.stderr
        assert "secret" not in done.stderr


def test_a_text_that_the_target_cannot_have_is_a_sentence(rosterd: Rosterd, postgresql: PostgresqlServer) -> None:
    """A text with NUL is told by its table and column, in one line, and nothing is copied."""
    rosterd.change("UPDATE users SET city = char(65, 0, 66) WHERE unique_id = 'S2'")
    done = rosterd.execute("store", "copy", "--to", postgresql.new_database())
    told = "nothing was copied: users.city: got a text with the character NUL, which PostgreSQL cannot store\n"
    assert (EXIT_CANNOT_ANSWER, "", told) == (done.returncode, done.stdout, done.stderr)


def test_a_url_is_told_without_its_password() -> None:
    """A message has neither the password nor the settings of a URL."""
    url = "postgresql://rosterd:se@cret@db.example.org/rosterd?sslmode=verify-full&password=x"
    assert "postgresql://db.example.org/rosterd" == command._named(Place(url))
    assert "/var/lib/rosterd/rosterd.db" == command._named(Place("/var/lib/rosterd/rosterd.db"))
