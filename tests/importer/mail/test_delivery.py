"""Mail that leaves the host: verified TLS, a relay that is down or refuses, and imports that never wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from tests.lab import wait_until
from tests.lab.daemon import REPLY_TO, Rosterd, Setting
from tests.lab.smtpd import PASSWORD, USER, Delivery, MailServer, Mode
from tests.lab.sshd import HOST

HEADER = "unique_id,login_source,first_name,last_name,email"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example"
FAY_WITHOUT_EMAIL = "2,OPSCOM,Fay,Orr,"
BEN = "3,OPSCOM,Ben,Roy,ben@school.example"


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[MailServer]:
    with MailServer(tmp_path) as server:
        yield server


def install(folder: Path, relay: MailServer, *, ca_file: Path, security: Literal["starttls", "tls"]) -> Rosterd:
    inbox = folder / "inbox"
    inbox.mkdir()
    mail: dict[str, Setting] = {
        "host": HOST,
        "port": relay.port,
        "security": security,
        "user": USER,
        "ca_file": str(ca_file),
    }
    environment = {"ROSTERD_SMTP_PASSWORD": PASSWORD}
    return Rosterd(folder, {"acme": inbox}, settings={"mail": mail}, environment=environment)


@pytest.fixture
def rosterd(tmp_path: Path, relay: MailServer) -> Iterator[Rosterd]:
    with install(tmp_path, relay, ca_file=relay.ca_file, security="starttls") as installed:
        installed.start()
        yield installed


def failing_file(*more: str) -> str:
    return "".join(f"{line}\n" for line in (HEADER, ANN, FAY_WITHOUT_EMAIL, *more))


def delivery(relay: MailServer) -> Delivery:
    """Wait for mail and return the one that came."""
    wait_until(lambda: relay.deliveries, "mail")
    [delivered] = relay.deliveries
    return delivered


def let_back_off_end(rosterd: Rosterd) -> None:
    """Make waiting mail due, as if the minute since the last attempt were over."""
    rosterd.change("UPDATE outbox SET due_at = created_at WHERE state = 'waiting'")


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_is_sent_encrypted_and_logged_in(tmp_path: Path, security: Literal["starttls", "tls"]) -> None:
    """Failed rows reach the client through the relay: encrypted, logged in, from the reply-to address, with the CSV."""
    with (
        MailServer(tmp_path, security=security) as relay,
        install(tmp_path, relay, ca_file=relay.ca_file, security=security) as rosterd,
    ):
        rosterd.start()
        rosterd.drop("users.csv", failing_file())

        mail = delivery(relay)
        rosterd.wait_for_imports(1)
        rosterd.wait_for_event("mail.sent")

        assert (mail.sender, mail.recipients) == (REPLY_TO, ("admin@acme.example",))
        assert (mail.encrypted, mail.authenticated) == (True, True)
        assert mail.message["From"] == f"User import <{REPLY_TO}>"
        [attached] = mail.message.iter_attachments()
        assert attached.get_content_type() == "text/csv"
        assert attached.get_payload(decode=True) == rosterd.read_bak("users.failed.csv")
        assert rosterd.mails() == []


def test_unverified_relay_gets_nothing(tmp_path: Path, relay: MailServer) -> None:
    """A relay whose certificate an unknown authority signed gets neither password nor mail; the import is done."""
    other = tmp_path / "other"
    other.mkdir()
    stranger = MailServer(other)
    with install(tmp_path, relay, ca_file=stranger.ca_file, security="starttls") as rosterd:
        rosterd.start()
        rosterd.drop("users.csv", failing_file())

        rosterd.wait_for_imports(1)
        why = "SSLCertVerificationError: unable to get local issuer certificate"
        rosterd.wait_for_event("mail.deferred", reason=why)

        assert relay.attempts == 0
        assert why in rosterd.execute("status").stdout
        assert list(rosterd.users()) == ["1"]


def test_relay_that_is_down_delays_no_import(relay: MailServer, rosterd: Rosterd) -> None:
    """While the relay is down files are imported as ever; the mail arrives once it is back."""
    relay.down()
    rosterd.drop("users.csv", failing_file())
    rosterd.wait_for_imports(1)
    rosterd.wait_for_event("mail.deferred")
    rosterd.drop("more.csv", f"{HEADER}\n{BEN}\n")
    rosterd.wait_for_imports(2)
    assert list(rosterd.users()) == ["1", "3"]

    relay.up()
    let_back_off_end(rosterd)

    assert delivery(relay).recipients == ("admin@acme.example",)


@pytest.mark.parametrize("refusal", [Mode.REFUSE_FOR_NOW, Mode.REFUSE_FOR_GOOD])
def test_refused_mail_is_sent_again_unchanged(refusal: Mode, relay: MailServer, rosterd: Rosterd) -> None:
    """A mail that the relay refuses is sent again later, with the Message-ID it had."""
    relay.mode = refusal
    rosterd.drop("users.csv", failing_file())
    rosterd.wait_for_event("mail.deferred")
    assert relay.deliveries == []

    relay.mode = Mode.ACCEPT
    let_back_off_end(rosterd)

    mail = delivery(relay)
    rosterd.wait_for_event("mail.sent")
    assert relay.attempts == 2
    [row] = rosterd.query("SELECT message_id FROM outbox")
    assert mail.message["Message-ID"] == row["message_id"]
