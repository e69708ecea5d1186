"""A server that asks who is there, and proves who it is: TLS, passwords, who is let in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
import trustme

from importer.store.errors import StoreUnreachable
from importer.store.places import CREDENTIAL, Place
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, make_inboxes
from tests.lab.postgresql import PostgresqlServer
from tests.lab.sshd import HOST, free_port

NAME = "db.example.org"
PASSWORD = "right"
VARIABLE = "ROSTERD_DATABASE_PASSWORD"
# Without TLS nobody is let in, and one role not even with it.
LET_IN = "local all all trust\nhostssl all rosterd 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 reject\n"

pytestmark = pytest.mark.xdist_group("postgresql")


class Secured:
    """A server with TLS by an authority of its own, and a role with a password; `url` leads to it."""

    def __init__(self, server: PostgresqlServer, port: int) -> None:
        self._server, self._port = server, port
        self.authority = server.folder / "authority.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.authority))
        trustme.CA().cert_pem.write_to_path(str(server.folder / "other.pem"))
        certificate = authority.issue_cert(NAME)
        for name, blob in (("cert", certificate.cert_chain_pems[0]), ("key", certificate.private_key_pem)):
            blob.write_to_path(str(server.folder / name))
            server.own(server.folder / name)
        (server.folder / "data" / "pg_hba.conf").write_text(LET_IN)
        for setting, value in (("ssl", "on"), ("ssl_cert_file", "cert"), ("ssl_key_file", "key")):
            path = value if setting == "ssl" else server.folder / value
            server.run_sql("postgres", f"ALTER SYSTEM SET {setting} = '{path}'")
        server.run_sql("postgres", f"CREATE ROLE stranger LOGIN; ALTER ROLE rosterd PASSWORD '{PASSWORD}'")
        server.run_sql("postgres", "SELECT pg_reload_conf()")
        wait_until(lambda: server.run_sql("postgres", "SHOW ssl") == "on", "the certificate")

    def url(self, name: str = NAME, told: Mapping[str, object] = MappingProxyType({}), role: str = "rosterd") -> str:
        """Return a URL that names the server so, and what else libpq is told."""
        given = {"hostaddr": HOST, "sslmode": "verify-full", "sslrootcert": self.authority, **told}
        parameters = "&".join(f"{key}={value}" for key, value in given.items() if value)
        return f"postgresql://{role}@{name}:{self._port}/common?{parameters}"


@pytest.fixture(scope="module")
def server() -> Iterator[Secured]:
    """Yield the server, which no other test uses."""
    port = free_port()
    with contextlib.closing(PostgresqlServer(listen_addresses=HOST, port=str(port))) as made:
        yield Secured(made, port)


@pytest.fixture(autouse=True)
def _nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of whoever runs the tests be a password."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    for name in ("CREDENTIALS_DIRECTORY", VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the password."""
    monkeypatch.setenv(VARIABLE, PASSWORD)


def refusal(url: str) -> str:
    """Return why a database cannot be opened."""
    with pytest.raises(StoreUnreachable) as refused:
        Place(url, "ham").open()
    return refused.value.advice


@pytest.mark.usefixtures("known")
def test_a_server_that_proves_its_name_is_used_by_tls(server: Secured) -> None:
    """With the authority that has signed its certificate and the name in it, the connection is made, and encrypted."""
    with contextlib.closing(Place(server.url(), "ham").open()) as opened:
        query = "SELECT CAST(ssl AS INTEGER) FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert (1,) == opened.conn.execute(query).fetchone()


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("other.example.org", {}, "name the server in the URL as its certificate does"),
        (NAME, {"sslrootcert": "other.pem"}, "name its authority in the URL: ?sslrootcert=FILE"),
        (NAME, {"sslrootcert": None}, "?sslrootcert=/etc/ssl/certs/ca-certificates.crt"),
        # A name that is not known as this host's, and leads there: nothing was said of verifying.
        ("127.1", {"hostaddr": None, "sslmode": None}, "name the server in the URL as its certificate does"),
    ],
    ids=["another name", "another authority", "no authority", "by default"],
)
def test_a_server_that_does_not_prove_its_name_is_left(
    server: Secured, name: str, parameters: dict[str, object], expected: str
) -> None:
    """With another name, or an authority that is not its own, nothing is sent; the message says what to do."""
    if parameters.get("sslrootcert"):
        parameters = {"sslrootcert": server.authority.with_name("other.pem")}
    assert expected in refusal(server.url(name, parameters))


def test_a_password_is_found_in_each_place(server: Secured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libpq's file is asked last, the environment before it, and a credential first; an empty one is none."""
    place = Place(server.url(), "ham")
    (tmp_path / "pgpass").write_text(f"{NAME}:*:*:rosterd:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    place.open().close()
    monkeypatch.setenv(VARIABLE, "wrong")
    assert "password authentication failed" in refusal(place.name)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / CREDENTIAL).write_text(f"{PASSWORD}\n")
    place.open().close()
    (tmp_path / CREDENTIAL).write_text("\n")
    monkeypatch.setenv(VARIABLE, PASSWORD)
    place.open().close()


def test_commands_read_the_file_that_the_unit_reads(server: Secured, tmp_path: Path) -> None:
    """Where systemd gives a command no credential, the password is in the file next to the configuration."""
    settings = {"service": {"database": server.url(), "host": "ham"}}
    with Rosterd(tmp_path, make_inboxes(tmp_path), settings=settings) as site:
        assert "password" in site.execute("imports").stderr
        (tmp_path / CREDENTIAL).write_text(f"{PASSWORD}\n")
        site.start()
        assert 0 == site.execute("imports").returncode


@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_password_that_is_wrong_is_told(server: Secured, monkeypatch: pytest.MonkeyPatch, password: str) -> None:
    """The message says where to put the right one, and not the wrong one."""
    monkeypatch.setenv(VARIABLE, password)
    said = refusal(server.url())
    assert "/etc/rosterd/database_password" in said
    assert "wrong" not in said


@pytest.mark.usefixtures("known")
def test_a_role_that_is_not_let_in_is_told(server: Secured) -> None:
    """What the server refuses by its pg_hba.conf is told, with where to allow it."""
    assert "pg_hba.conf" in (said := refusal(server.url(role="stranger")))
    assert "let this host and this role in there" in said
