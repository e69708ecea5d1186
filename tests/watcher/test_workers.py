"""Several imports at a time, with a database on a server: next to each other, and none of two files of one client."""

from __future__ import annotations

import contextlib
import ctypes.util
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import wait_until
from tests.lab.daemon import Rosterd
from tests.lab.postgresql import PostgresqlServer

pytestmark = [
    pytest.mark.skipif(
        not ctypes.util.find_library("pq") and os.environ.get("CI") != "true", reason="libpq is missing"
    ),
    pytest.mark.xdist_group("postgresql"),
]

CLIENTS = ("acme", "beta", "gamma", "delta")
HEADER = "unique_id,login_source,first_name,last_name,email,street\n"
LARGE_BYTES = 4 << 20
SETTINGS: dict[str, dict[str, str | float]] = {
    "guard": {"identity": "off", "attribute": "off", "created": "off"},
    "intake": {"quiet_s": 0.1},
}


class Site:
    """An installation with four clients of whom each has the user S1, and its database."""

    def __init__(self, folder: Path, server: PostgresqlServer) -> None:
        url = server.new_database()
        self._server, self._name = server, url.partition("@/")[2].partition("?")[0]
        self.folder = folder
        inboxes = {client: folder / client for client in CLIENTS}
        for inbox in inboxes.values():
            inbox.mkdir()
        self.rosterd = Rosterd(folder, inboxes, settings={**SETTINGS, "service": {"database": url, "host": "ham"}})

    def start(self) -> None:
        """Start the daemon, and give each client its user."""
        self.rosterd.start()
        for client in CLIENTS:
            self.rosterd.drop("first.csv", content("Ann"), client)
        self.wait_for_archived(*((client, "first.csv") for client in CLIENTS))

    def reload(self, configuration: str) -> None:
        """Have the daemon use this configuration."""
        reloads = len(self.rosterd.events("config.reloaded"))
        self.rosterd.config.write_text(configuration)
        self.rosterd.reload(str)
        wait_until(lambda: len(self.rosterd.events("config.reloaded")) > reloads, "the reload")

    def sql(self, statement: str) -> str:
        """Return what a statement returns."""
        return self._server.run_sql(self._name, statement)

    def wait_for_archived(self, *files: tuple[str, str]) -> None:
        """Wait until files are done, each given by its client and name."""
        for client, file in files:
            self.rosterd.wait_for_event("file.archived", client=client, file=file)

    def is_archived(self, client: str, file: str) -> bool:
        """Tell whether a file is done."""
        return bool(self.rosterd.events("file.archived", client=client, file=file))

    @contextlib.contextmanager
    def locked(self, *clients: str) -> Iterator[None]:
        """Let the user S1 of these clients be locked meanwhile, so that imports which change it wait."""
        import psycopg  # noqa: PLC0415 - takes libpq

        with psycopg.connect(self._server.url(self._name)) as conn:
            conn.execute("SELECT FROM users WHERE unique_id = 'S1' AND client = ANY(%s) FOR UPDATE", [list(clients)])
            yield

    def wait_for_waiting(self, count: int) -> None:
        """Wait until so many imports wait for a lock."""
        waiting = """SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'rosterd' AND wait_event_type = 'Lock'"""
        wait_until(lambda: self.sql(waiting) == str(count), f"{count} imports that wait")

    def names(self) -> dict[str, str]:
        """Return the first name of the user S1 of each client."""
        rows = self.sql("SELECT client, first_name FROM users WHERE unique_id = 'S1'").splitlines()
        return dict(row.split("|") for row in rows)

    def imported(self) -> list[tuple[str, str]]:
        """Return client and file of each import, in their order for each client."""
        rows = self.sql("SELECT client, file FROM imports ORDER BY client, id").splitlines()
        return [(client, file) for client, _, file in (row.partition("|") for row in rows)]


@pytest.fixture
def site(postgresql: PostgresqlServer, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, postgresql)
    with made.rosterd:
        made.start()
        yield made


def content(first_name: str, *, is_large: bool = False) -> str:
    """Return a file that names the user S1, and has more users if it is to be large."""
    first = f"{HEADER}S1,OPSCOM,{first_name},Lee,s1@school.example,\n"
    row = "S{0},OPSCOM,Bo,Lee,s{0}@school.example," + 200 * "x" + "\n"
    return first + "".join(row.format(number) for number in range(2, LARGE_BYTES // 200)) * is_large


def test_large_files_side_by_side_and_a_small_one_past_them(site: Site) -> None:
    """Two large files are imported at a time, and those of a third client are done before them."""
    with site.locked("acme", "beta"):
        for client in ("acme", "beta"):
            site.rosterd.drop("large.csv", content("Eve", is_large=True), client)
        site.wait_for_waiting(2)
        for number in range(5):
            site.rosterd.drop(f"{number}.csv", content("Eve"), "gamma")
            site.wait_for_archived(("gamma", f"{number}.csv"))
        assert not site.is_archived("acme", "large.csv")
        assert not site.is_archived("beta", "large.csv")
    site.wait_for_archived(("acme", "large.csv"), ("beta", "large.csv"))
    assert {"acme": "Eve", "beta": "Eve", "gamma": "Eve", "delta": "Ann"} == site.names()


def test_files_of_one_client_come_one_after_the_other(site: Site) -> None:
    """While a file is imported the next one of its client waits, whoever is free; each is imported once, in order."""
    files = [f"{number:02}.csv" for number in range(20)]
    with site.locked("acme"):
        site.rosterd.drop("00.csv", content("Eve"))
        site.wait_for_waiting(1)
        for file in files[1:]:
            site.rosterd.drop(file, content(f"Eve{file[1]}"))
        site.rosterd.drop("other.csv", content("Eve"), "beta")
        site.wait_for_archived(("beta", "other.csv"))
        assert set(files[1:]) <= set(site.rosterd.inbox())
    site.wait_for_archived(*(("acme", file) for file in files))
    assert [("acme", file) for file in ("first.csv", *files)] == [each for each in site.imported() if each[0] == "acme"]
    assert [] == site.rosterd.events("file.deferred")


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_ended_while_several_are_imported(site: Site, how: str) -> None:
    """Claims that were being imported when the service was killed, or stopped, are imported once by the next start."""
    clients = ("acme", "beta", "gamma")
    with site.locked(*clients):
        site.rosterd.drop("large.csv", content("Eve", is_large=True), "acme")
        for client in clients[1:]:
            site.rosterd.drop("small.csv", content("Eve"), client)
        site.wait_for_waiting(2)
        if how == "killed":
            site.rosterd.kill9()
        else:
            site.rosterd.stop()
        assert 2 <= len([*site.folder.glob("*/.work/*/*.csv")])
    site.rosterd.start()
    site.wait_for_archived(("acme", "large.csv"), ("beta", "small.csv"), ("gamma", "small.csv"))
    assert {**dict.fromkeys(clients, "Eve"), "delta": "Ann"} == site.names()
    assert {1} == {*Counter(site.imported()).values()}
    assert [] == [*site.folder.glob("*/.work/*")]


def test_a_client_that_is_taken_out_while_its_file_is_imported(site: Site) -> None:
    """The import goes on by the settings that it began with; put in again, the client has nothing done twice."""
    whole = site.rosterd.config.read_text()
    tables = whole.split("[[client]]")
    without = "[[client]]".join(each for each in tables if 'name = "acme"' not in each)
    assert without != whole
    with site.locked("acme"):
        site.rosterd.drop("users.csv", content("Eve"))
        site.wait_for_waiting(1)
        for text in (without, whole):
            site.reload(text)
        site.rosterd.drop("other.csv", content("Eve"), "beta")
        site.wait_for_archived(("beta", "other.csv"))
    site.wait_for_archived(("acme", "users.csv"))
    site.rosterd.drop("next.csv", content("Zoe"))
    site.wait_for_archived(("acme", "next.csv"))
    assert {1} == {*Counter(site.imported()).values()}
    assert [] == [*site.rosterd.events("file.deferred"), *site.rosterd.events("file.failed")]


def test_an_order_about_a_client_whose_file_is_imported(site: Site) -> None:
    """It is told to come again, and has changed nothing; one about another client is carried out meanwhile."""
    with site.locked("acme"):
        site.rosterd.drop("users.csv", content("Eve"))
        site.wait_for_waiting(1)
        refused = site.rosterd.execute("erase", "S1", "--client", "acme", "--yes")
        done = site.rosterd.execute("erase", "S1", "--client", "beta", "--yes")
    assert "is being imported; nothing was changed" in refused.stdout + refused.stderr
    assert (1, 0) == (refused.returncode, done.returncode)
    site.wait_for_archived(("acme", "users.csv"))
    assert {"acme": "Eve", "gamma": "Ann", "delta": "Ann"} == site.names()


def test_connections_that_were_lost_while_there_was_nothing_to_do(site: Site) -> None:
    """An import whose connection is gone takes another one, and nobody is told."""
    site.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rosterd'")
    for client in CLIENTS:
        site.rosterd.drop("users.csv", content("Eve"), client)
    site.wait_for_archived(*((client, "users.csv") for client in CLIENTS))
    assert [] == site.rosterd.events("file.failed")


def test_a_single_pass_imports_all(site: Site) -> None:
    """`rosterd sweep` ends once all is imported that can be."""
    site.rosterd.stop()
    for client in CLIENTS:
        for number in range(3):
            site.rosterd.drop(f"{number}.csv", content("Eve"), client)
    assert 0 == site.rosterd.execute("sweep").returncode
    assert dict.fromkeys(CLIENTS, "Eve") == site.names()
    assert [] == [*site.folder.glob("*/*.csv"), *site.folder.glob("*/.work/*")]
    shutil.rmtree(site.folder / "acme")  # the others are served by another pass
    site.rosterd.drop("again.csv", content("Zoe"), "beta")
    assert 0 != site.rosterd.execute("sweep").returncode
    assert "Zoe" == site.names()["beta"]
