"""A database on a server, by the setting alone: what the service does with it, and while it is away."""

from __future__ import annotations

import contextlib
import ctypes.util
import functools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from importer.store.places import Place, objections
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, make_inboxes
from tests.lab.pgbouncer import pooled, pooled_url
from tests.lab.postgresql import PostgresqlServer

Needs = Callable[..., None]
URL = "postgresql://rosterd@db.example.org/rosterd"
REFUSED = b"%PDF-1.7"
HEADER = "unique_id,login_source,first_name,last_name,email,user_name"
FILES = 100

on_server = pytest.mark.skipif(
    not ctypes.util.find_library("pq") and os.environ.get("CI") != "true", reason="libpq is missing"
)


@pytest.fixture(params=["direct", "pooled"])
def url(request: pytest.FixtureRequest, needs: Needs, postgresql: PostgresqlServer) -> Iterator[str]:
    """Yield the URL of an empty database, also by way of PgBouncer in transaction mode."""
    made = postgresql.new_database()
    if request.param == "direct":
        yield made
        return
    needs("pgbouncer")
    with pooled(postgresql):
        yield pooled_url(made)


@pytest.fixture
def site(url: str, tmp_path: Path) -> Iterator[Rosterd]:
    settings = {"service": {"database": url, "host": "ham"}}
    with Rosterd(tmp_path, make_inboxes(tmp_path), settings=settings) as made:
        yield made


def asked(site: Rosterd, *command: str) -> str:
    """Return what a command prints."""
    return site.execute(*command).stdout


def rows(host: str, number: int) -> str:
    """Return a file with a user whom all files have, one of its own, and one who fails."""
    own = f"{host}-{number}"
    users = ["S1,OPSCOM,Ann,Lee,ann@example.org,ann", f"{own},OPSCOM,Bo,Lee,{own}@example.org,{own}", "S0,OPSCOM,,X,,"]
    return "".join(f"{line}\n" for line in (HEADER, *users))


def archived(site: Rosterd) -> bool:
    """Tell whether all its files are done."""
    return len(site.events("file.archived")) == FILES


@on_server
@pytest.mark.xdist_group("postgresql")
def test_the_service_works_with_a_server(site: Rosterd, tmp_path: Path) -> None:
    """A file is answered, its mail sent, and the commands tell of it, with the host."""
    site.start()
    (tmp_path / "acme" / "users.csv").write_bytes(REFUSED)
    site.wait_for_event("mail.sent")
    (listed,) = json.loads(asked(site, "imports", "--json"))
    assert ("ham", "refused") == (listed["host"], listed["outcome"])
    assert "ham" in asked(site, "imports")
    assert ["ham"] == [each["host"] for each in json.loads(asked(site, "status", "--json"))["hosts"]]
    assert "nothing is lost" in asked(site, "verify")
    assert "PostgreSQL" in asked(site, "doctor")


@on_server
@pytest.mark.xdist_group("postgresql")
def test_uploads_wait_while_the_server_is_away(site: Rosterd, tmp_path: Path, postgresql: PostgresqlServer) -> None:
    """A server that is stopped is told once, what was uploaded waits, and all goes on by itself once it is back."""
    site.start()
    postgresql.stop()
    try:
        (tmp_path / "acme" / "users.csv").write_bytes(REFUSED)
        (tmp_path / "beta" / "users.csv").write_bytes(REFUSED)
        site.wait_for_event("store.refused")
    finally:
        postgresql.start()
    wait_until(lambda: len(site.events("file.archived")) == 2 or None, "the archive")
    assert 2 == len(json.loads(asked(site, "imports", "--json")))


@on_server
@pytest.mark.xdist_group("postgresql")
def test_two_hosts_share_a_database(url: str, tmp_path: Path) -> None:
    """200 files of one client that come to both at the same moment are each recorded once; no mail is sent twice."""
    with contextlib.ExitStack() as running:
        sites = {}
        for host in ("ham", "sto"):
            folder = tmp_path / host
            folder.mkdir()
            settings = {"service": {"database": url, "host": host}}
            sites[host] = running.enter_context(Rosterd(folder, make_inboxes(folder), settings=settings))
            sites[host].start()
        for number in range(FILES):
            for host in sites:
                (tmp_path / host / "acme" / f"users-{number}.csv").write_text(rows(host, number))
        for site in sites.values():
            wait_until(functools.partial(archived, site), "the archive")
        listed = json.loads(asked(sites["ham"], "imports", "--json", "--limit", "1000"))
        assert {"ham": FILES, "sto": FILES} == Counter(each["host"] for each in listed)
        assert 2 * FILES == len({each["claim_id"] for each in listed})
        users = json.loads(asked(sites["sto"], "users", "find", "Lee", "--client", "acme", "--limit", "1000", "--json"))
        assert 2 * FILES + 1 == len({user["unique_id"] for user in users}) == len(users)
        mails = [mail["Message-ID"] for site in sites.values() for mail in site.mails()]
        assert [] == [name for name, count in Counter(mails).items() if count > 1]
        for site in sites.values():
            assert "nothing is lost" in asked(site, "verify")
        elsewhere = next(each for each in listed if each["host"] == "sto")
        assert "on sto" in asked(sites["ham"], "show", str(elsewhere["id"]))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (URL, []),
        ("rosterd.db", []),
        ("mysql://db.example.org/rosterd", ["URL such as"]),
        ("postgresql://db.example.org", ["URL such as"]),
        ("postgresql://rosterd:hush@db.example.org/rosterd", ["without a password"]),
        ("postgresql://db.example.org/rosterd?password=hush", ["without a password"]),
        ("postgresql://[db/rosterd", ["URL such as"]),
    ],
)
def test_what_a_url_may_be(url: str, expected: list[str]) -> None:
    """Whatever cannot be the URL of a server is told, and never the password in it."""
    told = [*objections(url)]
    assert len(expected) == len(told)
    assert all(part in what for part, (_, what) in zip(expected, told, strict=True))
    assert "hush" not in str(told)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (URL, ["db.example.org"]),
        ("postgresql://rosterd@db1:5433,[2001:db8::1]:5432,192.0.2.5/rosterd", ["db1", "2001:db8::1", "192.0.2.5"]),
        ("postgresql://rosterd@/rosterd?host=/run/postgresql", []),
        ("/var/lib/rosterd/rosterd.db", []),
    ],
)
def test_hosts_of_a_url(url: str, expected: list[str]) -> None:
    """They are what doctor looks for among the addresses that the unit allows."""
    assert expected == Place(url).hosts


def test_a_password_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credential is named, and what was expected of it."""
    from importer.store import places  # noqa: PLC0415
    from importer.store.errors import StoreUnusable  # noqa: PLC0415

    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "database_password").write_bytes(b"hush\n")
    assert "hush" == places._password()
    (tmp_path / "database_password").write_bytes(b"\xff")
    with pytest.raises(StoreUnusable, match="database_password"):
        places._password()
    assert "hush" not in repr(Place(URL, "ham"))
