"""Authorities that operators make by hand: taken for mail although newer Python is stricter, and named by doctor."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from aiosmtpd.controller import Controller

from importer.mail.delivery import make_transport
from importer.model import Mail
from importer.settings import MailSettings
from tests.conftest import Needs
from tests.lab.daemon import Rosterd, Setting
from tests.lab.sshd import HOST, free_port

MAIL = Mail(
    id=1,
    message_id="<one@example.org>",
    client="acme",
    claim_id="",
    sender="rosterd@example.org",
    recipients=("ann@acme.example",),
    subject="report",
    attempts=1,
    created_at=datetime(2026, 11, 22, tzinfo=UTC),
    body=b"Subject: report\r\n\r\nline\r\n",
)
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
# "" is what `openssl req -x509` makes by itself.
AUTHORITIES = {
    "plain": "",
    "no key identifiers": "subjectKeyIdentifier=none\nauthorityKeyIdentifier=none\nbasicConstraints=CA:TRUE",
}
SOUND = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash"


class Taker:
    """A mail server that takes everything."""

    def __init__(self) -> None:
        self.taken = 0

    async def handle_DATA(self, *_: object) -> str:  # noqa: N802 - aiosmtpd's name
        """Count a mail."""
        self.taken += 1
        return "250 OK"


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, timeout=60, check=True)


def make_authority(folder: Path, extensions: str) -> Path:
    """Make an authority and a certificate for HOST by it, as an operator does by hand; return the authority's."""
    folder.mkdir()
    more: tuple[str, ...] = ()
    if extensions:
        (folder / "ca.cnf").write_text(f"[req]\ndistinguished_name=dn\nx509_extensions=v3\n[dn]\n[v3]\n{extensions}\n")
        more = ("-config", "ca.cnf")
    openssl(folder, "req", "-x509", *KEY, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Our CA", *more)
    openssl(folder, "req", *KEY[:-2], "-keyout", "host.key", "-out", "host.csr", "-subj", "/CN=relay")
    names = "subjectAltName=IP:127.0.0.1"
    if extensions != AUTHORITIES["no key identifiers"]:
        names += "\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid"
    (folder / "host.cnf").write_text(f"{names}\n")
    signed_by = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "host.cnf")
    openssl(folder, "x509", "-req", "-in", "host.csr", "-out", "host.pem", *signed_by)
    return folder / "ca.pem"


class Relay:
    """The server, with a certificate by the authority in `folder`; a context manager."""

    def __init__(self, folder: Path) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(folder / "host.pem", folder / "host.key")
        self.taker = Taker()
        self.port = free_port()
        self._controller = Controller(self.taker, hostname=HOST, port=self.port, tls_context=tls, require_starttls=True)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def settings(self, ca_file: Path | str, host: str = HOST) -> MailSettings:
        """Return the settings for mail by this server."""
        return MailSettings(host=host, port=self.port, ca_file=str(ca_file), timeout_s=10)


def as_python_3_13(make: Callable[..., ssl.SSLContext]) -> Callable[..., ssl.SSLContext]:
    """Return what makes contexts as 3.13 does, whatever Python this is."""

    def made(*arguments: Any, **options: Any) -> ssl.SSLContext:  # noqa: ANN401 - passed on
        context = make(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    return made


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch, needs: Needs) -> None:
    needs("openssl")
    monkeypatch.setattr(ssl, "create_default_context", as_python_3_13(ssl.create_default_context))


@pytest.mark.parametrize("extensions", AUTHORITIES.values(), ids=AUTHORITIES)
def test_an_authority_made_by_hand_is_taken(tmp_path: Path, extensions: str) -> None:
    """Mail leaves by a server whose certificate the operator's own authority signed, though strict checks refuse it."""
    authority = make_authority(tmp_path / "ours", extensions)
    with Relay(tmp_path / "ours") as relay:
        transport = make_transport(relay.settings(authority), "")
        assert "" != transport.strict_objection()  # type: ignore[attr-defined]
        assert () == transport(MAIL).refused
    assert 1 == relay.taker.taken


def test_chain_and_name_are_verified_all_the_same(tmp_path: Path) -> None:
    """A certificate by another authority, or for another name, gets no mail, however the authority was made."""
    make_authority(tmp_path / "ours", "")
    other = make_authority(tmp_path / "other", "")
    with Relay(tmp_path / "ours") as relay:
        with pytest.raises(ssl.SSLCertVerificationError):
            make_transport(relay.settings(other), "")(MAIL)
        with pytest.raises(ssl.SSLCertVerificationError, match="localhost"):
            make_transport(relay.settings(tmp_path / "ours" / "ca.pem", host="localhost"), "")(MAIL)
    assert 0 == relay.taker.taken


def test_only_a_named_authority_is_taken_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `ca_file` the certificates of the system are verified as strictly as Python does."""
    authority = make_authority(tmp_path / "ours", "")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with Relay(tmp_path / "ours") as relay, pytest.raises(ssl.SSLCertVerificationError, match="key usage"):
        make_transport(relay.settings(""), "")(MAIL)
    assert 0 == relay.taker.taken


@pytest.mark.parametrize(
    ("extensions", "level"), [("", "warning"), (SOUND, None)], ids=["made by hand", "with key usage"]
)
def test_doctor_names_an_authority_without_key_usage(tmp_path: Path, extensions: str, level: str | None) -> None:
    """`rosterd doctor` warns of an authority that strict checks refuse, and says how it is made anew."""
    authority = make_authority(tmp_path / "ours", extensions)
    (tmp_path / "acme").mkdir()
    with Relay(tmp_path / "ours") as relay:
        mail: dict[str, Setting] = {"host": HOST, "port": relay.port, "ca_file": str(authority)}
        with Rosterd(tmp_path, {"acme": tmp_path / "acme"}, settings={"mail": mail}) as rosterd:
            findings = json.loads(rosterd.execute("doctor", "--json").stdout)["findings"]
    of_mail = [(found["level"], found["what"], found["remedy"]) for found in findings if found["topic"] == "mail"]
    assert "ok" == of_mail[0][0]
    assert ([level] if level else []) == [found[0] for found in of_mail[1:]]
    assert all("key usage" in what and "keyUsage=critical,keyCertSign" in remedy for _, what, remedy in of_mail[1:])
