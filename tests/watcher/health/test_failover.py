"""A standby that takes over without the last commits: each host imports again, from `.bak`, what was lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.lab import wait_until
from tests.lab.daemon import Rosterd
from tests.lab.postgresql import PostgresqlServer

HEADER = "unique_id,login_source,first_name,last_name,email,user_name"
CLIENTS = ("acme", "beta", "gamma", "delta")
OFF = "import watcher.inbox.work.committed as f\nf.Record.missing = lambda *_: []\n"

pytestmark = pytest.mark.xdist_group("postgresql")


@pytest.fixture
def servers(needs: Needs) -> Iterator[tuple[PostgresqlServer, PostgresqlServer]]:
    """Yield a server and its asynchronous standby; commits that were answered outlive a crash of the first."""
    needs("postgres", "initdb", "psql", "pg_basebackup")
    with (
        contextlib.closing(PostgresqlServer(synchronous_commit="local")) as primary,
        contextlib.closing(PostgresqlServer(primary, synchronous_commit="local")) as standby,
    ):
        yield primary, standby
        with contextlib.suppress(AssertionError):
            primary.start()  # it was killed, and is closed like the other


@pytest.fixture
def site(servers: tuple[PostgresqlServer, PostgresqlServer], tmp_path: Path) -> Iterator[Rosterd]:
    url = servers[0].new_database().partition("?")[0]
    hosts = ",".join(str(each.folder) for each in servers)
    settings: dict[str, dict[str, str | float]] = {
        "service": {"database": f"{url}?host={hosts}", "host": "ham", "workers": 2},
        "mail": {"operator": "ops@example.org"},
    }
    inboxes = {client: tmp_path / client for client in CLIENTS}
    for inbox in inboxes.values():
        inbox.mkdir()
    with Rosterd(tmp_path, inboxes, settings=settings) as made:
        yield made


def upload(site: Rosterd, number: int) -> None:
    """Let each client upload a user of its own, one whom each file changes, and a row that fails."""
    for client in CLIENTS:
        id_ = f"{client}{number}"
        rows = [f"{id_},OPSCOM,Ann,Lee,{id_}@example.org,{id_}", f"S1,OPSCOM,Bo,No {number},s1@example.org,s1", "S0,X"]
        site.drop(f"{number}.csv", "\n".join([HEADER, *rows, ""]), client)


def wait_for(site: Rosterd, archived: int) -> None:
    wait_until(lambda: len(site.events("file.archived")) >= archived or None, f"{archived} files")


def database(site: Rosterd) -> str:
    """Return the name of its database."""
    url = str(tomllib.loads(site.config.read_text())["service"]["database"])
    return url.partition("@/")[2].partition("?")[0]


def lose(servers: tuple[PostgresqlServer, PostgresqlServer], site: Rosterd) -> None:
    """Let the standby miss two files of each client, and take over after the end of the primary."""
    primary, standby = servers
    for number in (1, 2):
        upload(site, number)
        wait_for(site, len(CLIENTS) * number)
    site.wait_for_event("mail.sent")
    detach(primary, standby)
    for number in (3, 4):
        upload(site, number)
        wait_for(site, len(CLIENTS) * number)
    import psycopg  # noqa: PLC0415 - takes libpq

    with contextlib.closing(psycopg.connect(primary.url(database(site)))) as other:
        other.execute("SELECT FROM users WHERE unique_id = 'S1' FOR UPDATE")
        upload(site, 5)  # newer than all that is lost; two of them are being imported at the end
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        wait_until(lambda: primary.run_sql("postgres", waiting) == "2", "two imports")
        wait_until(lambda: len(site.events("file.claimed", file="5.csv")) == len(CLIENTS), "the others")
        kill(primary)
    standby.promote()


def detach(primary: PostgresqlServer, standby: PostgresqlServer) -> None:
    """Let the standby have all that was committed so far, and nothing from then on."""
    position = primary.run_sql("postgres", "SELECT pg_current_wal_lsn()")
    arrived = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
    wait_until(lambda: standby.run_sql("postgres", arrived) == "t", "the standby")
    standby.run_sql("postgres", "ALTER SYSTEM SET primary_conninfo = ''")
    standby.run_sql("postgres", "SELECT pg_reload_conf()")
    ended = "SELECT count(*) FROM pg_stat_wal_receiver"
    wait_until(lambda: standby.run_sql("postgres", ended) == "0", "the end of the replication")


def kill(server: PostgresqlServer) -> None:
    """End all processes of a server as a crash of its host does."""
    for pid in server.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def imported(site: Rosterd) -> list[tuple[str, str]]:
    """Return the files in the ledger, oldest first."""
    done = site.execute("imports", "--json", "--limit", "100")
    return [(each["client"], each["file"]) for each in reversed(json.loads(done.stdout))]


def lost(site: Rosterd) -> list[tuple[str, str]]:
    """Return the files of which the service told that the database had lost them."""
    return sorted((str(told["client"]), str(told["file"])) for told in site.events("file.lost"))


def test_lost_commits_are_made_again(servers: tuple[PostgresqlServer, PostgresqlServer], site: Rosterd) -> None:
    """All files are in the ledger once, in their order, with their users; one alert tells what was lost."""
    site.start()
    lose(servers, site)
    wait_for(site, (4 + 2 + 1) * len(CLIENTS))
    assert lost(site) == sorted((client, f"{number}.csv") for client in CLIENTS for number in (3, 4))
    assert 2 * len(CLIENTS) == sum(int(str(told["files"])) for told in site.events("store.rewound"))
    for client in CLIENTS:
        assert [f"{number}.csv" for number in range(1, 6)] == [file for each, file in imported(site) if each == client]
    users = json.loads(site.execute("users", "find", "Lee", "--limit", "100", "--json").stdout)
    assert {f"{client}{number}" for client in CLIENTS for number in range(1, 6)} == {
        user["unique_id"] for user in users
    }
    last = json.loads(site.execute("users", "find", "No 5", "--json").stdout)
    assert sorted(CLIENTS) == sorted(user["client"] for user in last)
    assert "nothing is lost" in site.execute("verify").stdout
    assert [] == site.in_work()
    told = len(site.events("store.rewound"))
    site.stop()
    site.start()
    upload(site, 6)
    wait_for(site, 8 * len(CLIENTS))
    assert told == len(site.events("store.rewound"))


def test_what_was_lost_while_the_service_was_down_is_found(
    servers: tuple[PostgresqlServer, PostgresqlServer], site: Rosterd
) -> None:
    """A start compares, too; a build that does not look is found out by `verify`."""
    site.start()
    lose(servers, site)
    site.kill9()
    site.planted = OFF
    site.start()
    wait_until(lambda: len(imported(site)) == 3 * len(CLIENTS) or None, "the newest files")
    site.stop()
    assert "belongs to no import" in site.execute("verify").stdout
    site.planted = ""
    site.start()
    site.wait_for_event("store.rewound", files=str(2 * len(CLIENTS)))
    wait_until(lambda: len(imported(site)) == 5 * len(CLIENTS) or None, "the lost files")
    wait_until(lambda: "nothing is lost" in site.execute("verify").stdout or None, "the archive")


@pytest.mark.parametrize("is_killed", [False, True], ids=["running", "killed"])
def test_a_new_host_whose_only_commits_were_lost(
    servers: tuple[PostgresqlServer, PostgresqlServer], site: Rosterd, *, is_killed: bool
) -> None:
    """A server that has nothing of this host but that it was there is no other database: all is made again."""
    primary, standby = servers
    site.start()
    noted = "SELECT count(*) FROM hosts"
    wait_until(lambda: primary.run_sql(database(site), noted) == "1", "the note that it is there")
    detach(primary, standby)
    upload(site, 1)
    wait_for(site, len(CLIENTS))
    if is_killed:
        site.kill9()
    kill(primary)
    standby.promote()
    if is_killed:
        site.start()
    upload(site, 2)
    wait_for(site, 3 * len(CLIENTS))
    assert sorted((client, "1.csv") for client in CLIENTS) == lost(site)
    for client in CLIENTS:
        assert ["1.csv", "2.csv"] == [file for each, file in imported(site) if each == client]


def test_another_database_gets_nothing_of_before(
    servers: tuple[PostgresqlServer, PostgresqlServer], site: Rosterd
) -> None:
    """A URL that names a database which has nothing of this host has the new files alone."""
    site.start()
    upload(site, 1)
    wait_for(site, len(CLIENTS))
    site.stop()
    before, other = database(site), servers[0].new_database().partition("@/")[2].partition("?")[0]
    site.config.write_text(site.config.read_text().replace(f"@/{before}?", f"@/{other}?"))
    site.start()
    upload(site, 2)
    wait_for(site, 2 * len(CLIENTS))
    assert [] == lost(site)
    assert sorted((client, "2.csv") for client in CLIENTS) == sorted(imported(site))
