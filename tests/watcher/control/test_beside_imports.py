"""Orders about a client whose file is imported meanwhile, by this host or another one: answered at once, done once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, Setting
from tests.lab.postgresql import PostgresqlServer

HEADER = "unique_id,login_source,first_name,last_name,email\n"
HOSTS = ("ham", "sto")
GUARD: dict[str, str | float] = {"identity": "10 %", "identity_floor": 2, "attribute": "off", "created": "off"}
# Who is in the way waits for as long as the test: an order that waits for it as imports do is not answered.
LONG = "import importer.store.postgresql.connection as c\nc._WHILE_IMPORTING = '1h'\n"
ANSWERED_S = 60.0
LOCKED = "INSERT INTO locks VALUES ('acme', 1) ON CONFLICT (client) DO UPDATE SET is_held = 1"
TRY_AGAIN = "a file of this client is being imported; nothing was changed. Try again later\n"

pytestmark = pytest.mark.xdist_group("postgresql")


class Sites:
    """Two hosts with one database, with users of acme, and a file of acme on hold on the first."""

    def __init__(self, folder: Path, server: PostgresqlServer) -> None:
        self._server = server
        self.url = server.new_database()
        self.hosts = {host: self._host(folder / host, host) for host in HOSTS}

    def _host(self, folder: Path, host: str) -> Rosterd:
        folder.mkdir()
        (folder / "acme").mkdir()
        settings: dict[str, dict[str, str | float]] = {
            "guard": GUARD,
            "intake": {"quiet_s": 0.1},
            "service": {"database": self.url, "host": host},
        }
        site = Rosterd(folder, {"acme": folder / "acme"}, settings=settings)
        site.planted = LONG
        return site

    def start(self) -> None:
        """Start both, and let there be what orders are about."""
        for site in self.hosts.values():
            site.start()
        first = self.hosts[HOSTS[0]]
        first.drop("users.csv", users("Lee"))
        first.wait_for_event("file.archived", file="users.csv")
        first.drop("more.csv", HEADER + "S9,OPSCOM,Eve,Poe,eve@school.example\n")
        first.wait_for_event("file.archived", file="more.csv")
        first.drop("held.csv", users("Roy"))
        first.wait_for_event("hold.placed", file="held.csv")

    def sql(self, statement: str) -> str:
        """Ask the server."""
        return self._server.run_sql(self.url.partition("@/")[2].partition("?")[0], statement)

    @contextlib.contextmanager
    def transaction(self, statement: str) -> Iterator[Callable[[], None]]:
        """Leave a transaction open that has run a statement, as an import is; yield what commits it."""
        import psycopg  # noqa: PLC0415 - takes libpq

        with psycopg.connect(self.url) as conn:
            conn.execute(statement.encode())
            yield conn.commit

    def is_waiting(self) -> bool:
        """Tell whether somebody waits for a lock."""
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        return self.sql(waiting) != "0"


@pytest.fixture
def sites(needs: Needs, postgresql: PostgresqlServer, tmp_path: Path) -> Iterator[Sites]:
    needs("postgres", "initdb", "psql")
    made = Sites(tmp_path, postgresql)
    with made.hosts[HOSTS[0]], made.hosts[HOSTS[1]]:
        made.start()
        yield made


def users(surname: str) -> str:
    """Return a file of users; another surname makes each of them somebody else."""
    return HEADER + "".join(f"S{n},OPSCOM,Ann,{surname},{surname.lower()}{n}@school.example\n" for n in range(4))


ORDERS = {
    "undo": ("undo", "2", "--apply"),
    "deactivate": ("users", "deactivate", "S1", "--client", "acme"),
    "erase": ("erase", "S2", "--client", "acme", "--yes"),
}


@pytest.mark.parametrize("host", HOSTS)
def test_what_changes_users_is_answered_at_once(host: str, sites: Sites) -> None:
    """An order that has to wait for the import changes nothing and says so; afterwards it is done, and only once."""
    site = sites.hosts[host]
    with sites.transaction(LOCKED):
        for order in ORDERS.values():
            started = time.monotonic()
            done = site.execute(*order)
            assert (1, TRY_AGAIN) == (done.returncode, done.stderr)
            assert time.monotonic() - started < ANSWERED_S
    for order in ORDERS.values():
        assert 0 == site.execute(*order).returncode
    assert 1 == sites.hosts[HOSTS[0]].execute(*ORDERS["undo"]).returncode
    assert "deactivate|erase|undo" == sites.sql(
        "SELECT string_agg(kind, '|' ORDER BY kind) FROM imports WHERE kind <> 'file'"
    )


def test_what_does_not_change_users_is_done_meanwhile(sites: Sites) -> None:
    """Decisions, mail and an archive that is imported again do not wait for the import; other hosts say where it is."""
    ham, sto = sites.hosts.values()
    wait_until(lambda: sites.sql("SELECT DISTINCT state FROM outbox") == "sent", "the mail")
    with sites.transaction(LOCKED):
        sites.sql("UPDATE outbox SET state = 'dead' WHERE id = 1")
        assert 0 == sto.execute("mail", "retry", "1").returncode
        assert 0 == sto.execute("approve", "held.csv", "--client", "acme").returncode
        again = ham.execute("reject", "held.csv", "--client", "acme")
        assert (2, True) == (again.returncode, "nothing of acme is on hold" in again.stderr)
        elsewhere = sto.execute("replay", "1")
        assert (2, True) == (elsewhere.returncode, "on ham" in elsewhere.stderr), elsewhere.stderr
    ham.wait_for_event("file.archived", file="held.csv")
    assert "Roy" == sites.sql("SELECT DISTINCT last_name FROM users WHERE unique_id <> 'S9'")


@pytest.mark.parametrize("order", ["approve", "reject"])
def test_a_file_that_another_one_decides_on_meanwhile(order: str, sites: Sites) -> None:
    """Who decides second, by a moment, is told that it was decided, and not that it was done."""
    answers: list[CompletedProcess[str]] = []

    def decide() -> None:
        answers.append(sites.hosts["sto"].execute(order, "held.csv", "--client", "acme"))

    decided = "UPDATE on_hold SET decision = 'superseded', decided_by = 'newer.csv', decided_at = held_at"
    with sites.transaction(decided) as commit:
        deciding = threading.Thread(target=decide)
        deciding.start()
        wait_until(sites.is_waiting, "the order")
        commit()
        deciding.join()
    assert (1, True) == (answers[0].returncode, "no longer on hold" in answers[0].stderr), answers[0]


def test_an_upload_that_approves_waits_for_the_import(
    needs: Needs, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    """Removals that a client approves while another host imports one of its files: nobody is alarmed, then done."""
    needs("postgres", "initdb", "psql")
    url = postgresql.new_database()
    (tmp_path / "acme").mkdir()
    settings: dict[str, dict[str, Setting]] = {
        "guard": {"approve_by": ["client"], "fewer_rows": "off", "deactivated": "0 %", "deactivated_floor": 0},
        "intake": {"quiet_s": 0.1},
        "service": {"database": url, "host": "ham"},
    }
    feed = {"name": "all", "files": "*", "mode": "snapshot"}
    folders = {"acme": tmp_path / "acme"}
    with Rosterd(tmp_path, folders, settings=settings, client_settings={"feed": [feed]}) as site:
        site.start()
        site.drop("users.csv", users("Lee"))
        site.wait_for_event("file.archived")
        site.drop("users.csv", HEADER + users("Lee").splitlines()[1] + "\n")
        site.wait_for_event("removals.placed")
        name = url.partition("@/")[2].partition("?")[0]
        code = postgresql.run_sql(name, "SELECT code FROM on_hold")
        import psycopg  # noqa: PLC0415 - takes libpq

        with psycopg.connect(url) as other:
            other.execute(LOCKED.encode())
            site.drop(f"users.csv.approve-{code}", "")
            waits = site.wait_for_event("file.deferred")
            assert ("warning", True) == (waits["level"], "another host" in str(waits["reason"]))
        site.wait_for_event("hold.decided", decision="approved", by="client")
        assert "3" == postgresql.run_sql(name, "SELECT count(*) FROM users WHERE inactive_by IS NOT NULL")
