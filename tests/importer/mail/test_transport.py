from __future__ import annotations

import contextlib
import email
import email.policy
import mailbox
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from importer.mail import outbox
from importer.mail.channel import Delivery, Transport, failed
from importer.mail.delivery import make_transport
from importer.mail.letter import compose
from importer.model import Letter, Mail
from importer.sending.sender import Pump, Sender
from importer.settings import MailSettings, MailUnusable
from importer.store.database import Store
from importer.store.sqlite.database import SqliteStore
from tests.lab import wait_until

BODY = b"Message-ID: <one@example.org>\r\nSubject: report\r\n\r\nline\r\n.starts with a dot\r\n"


NOW = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
A_LETTER = Letter(
    message_id="<one@example.org>",
    client="acme",
    claim_id="claim-1",
    sender="rosterd@example.org",
    recipients=("ann@acme.example",),
    subject="report",
    text=".a line that begins with a dot\n",
    attachments=(("users.failed.csv", b"unique_id\r\n1\r\n"),),
    written_at=NOW,
)


def a_mail(*recipients: str, body: bytes = BODY, message_id: str = "<one@example.org>") -> Mail:
    return Mail(
        id=1,
        message_id=message_id,
        client="acme",
        claim_id="20261122T074205Z-00000000",
        sender="rosterd@example.org",
        recipients=recipients or ("ann@acme.example",),
        subject="report",
        attempts=1,
        created_at=datetime(2026, 11, 22, tzinfo=UTC),
        body=body,
    )


class Inbox:
    """The server's side: keeps what it takes; `answers` maps "DATA" or a recipient to what it says in place of 250."""

    def __init__(self) -> None:
        self.taken: list[Envelope] = []
        self.answers: dict[str, str] = {}
        self.drops_after_data = False

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Refuse a recipient, or take it."""
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - likewise
        """Refuse a mail, or take it, and hang up before saying so where that is asked."""
        if "DATA" in self.answers:
            return self.answers["DATA"]
        self.taken.append(envelope)
        if self.drops_after_data and server.transport is not None:
            server.transport.close()
        return "250 OK"


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Store]:
    store = SqliteStore.open(folder / "rosterd.db")
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def started(transport: Transport) -> Iterator[Sender[Mail, Delivery]]:
    sender = Sender(transport, failed)
    sender.start()
    try:
        yield sender
    finally:
        sender.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def smtp_server(inbox: Inbox, **options: Any) -> Iterator[int]:  # noqa: ANN401 - passed on to aiosmtpd
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


@contextlib.contextmanager
def scripted_server(lines: list[bytes]) -> Iterator[int]:
    """Say each line in turn, one for the greeting and one for each thing the client says; then hang up."""

    def talk() -> None:
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as heard:
            connection.sendall(lines[0] + b"\r\n")
            for line in lines[1:]:
                last = b".\r\n" if line.startswith(b"250 taken") else b"\n"
                while not heard.readline().endswith(last):
                    pass
                connection.sendall(line + b"\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join(60)
        assert not thread.is_alive()


def at_port(settings: MailSettings, port: int) -> MailSettings:
    return msgspec.structs.replace(settings, port=port)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def ca_file(authority: trustme.CA, folder: Path) -> str:
    path = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def plain(port: int, **settings: Any) -> MailSettings:  # noqa: ANN401 - passed on to MailSettings
    return MailSettings(host="127.0.0.1", port=port, security="none", **settings)


# --- SMTP


def test_the_finished_bytes_arrive_unchanged(inbox: Inbox) -> None:
    """The server gets exactly the bytes of the outbox, for exactly its recipients."""
    mail = a_mail("ann@acme.example", "bob@acme.example")
    with smtp_server(inbox) as port:
        assert Delivery(mail=mail) == make_transport(plain(port), "")(mail)
    (taken,) = inbox.taken
    assert mail.body == taken.content
    assert taken.rcpt_tos == ["ann@acme.example", "bob@acme.example"]
    assert taken.mail_from == "rosterd@example.org"


def test_a_body_that_names_a_file_attaches_nothing(inbox: Inbox, tmp_path: Path) -> None:
    """A body equal to the path of a file is sent as that text, never as the file (yagmail attaches it)."""
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    with smtp_server(inbox) as port:
        make_transport(plain(port), "")(a_mail(body=str(secret).encode() + b"\r\n"))
    assert [str(secret).encode() + b"\r\n"] == [taken.content for taken in inbox.taken]


def test_markup_in_a_text_stays_text(inbox: Inbox) -> None:
    """What looks like HTML in a text is neither made HTML nor followed (yagmail fetches style sheets as it sends)."""
    with socket.create_server(("127.0.0.1", 0)) as web, smtp_server(inbox) as port:
        web.settimeout(0.2)
        link = f'<link rel="stylesheet" href="http://127.0.0.1:{web.getsockname()[1]}/a.css"><script>alert(1)</script>'
        letter = msgspec.structs.replace(A_LETTER, text=link, attachments=())
        make_transport(plain(port), "")(a_mail(body=compose(letter)))
        with pytest.raises(TimeoutError):
            web.accept()
    message = email.message_from_bytes(inbox.taken[0].original_content or b"", policy=email.policy.default)
    assert "text/plain" == message.get_content_type()
    assert link == message.get_content().strip()


def test_reports_with_one_subject_are_two_mails(inbox: Inbox) -> None:
    """Mails of one subject to one address keep each its own Message-ID (yagmail makes it from the subject)."""
    letters = [msgspec.structs.replace(A_LETTER, message_id=f"<{number}@example.org>") for number in (1, 2)]
    with smtp_server(inbox) as port:
        transport = make_transport(plain(port), "")
        for letter in letters:
            transport(a_mail(body=compose(letter)))
    ids = [email.message_from_bytes(taken.original_content or b"")["Message-ID"] for taken in inbox.taken]
    assert [letter.message_id for letter in letters] == ids


def test_no_account_of_this_machine_is_guessed(inbox: Inbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sender and login come from the settings, whatever `~/.yagmail` says, and nobody is asked for a password."""
    (tmp_path / ".yagmail").write_text("somebody@gmail.com")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    monkeypatch.setattr("getpass.getpass", lambda *_: pytest.fail("asked"))
    with smtp_server(inbox) as port:
        make_transport(plain(port), "")(a_mail())
    assert ["rosterd@example.org"] == [taken.mail_from for taken in inbox.taken]


def test_starttls_with_a_trusted_certificate_is_used(inbox: Inbox, authority: trustme.CA, tmp_path: Path) -> None:
    """STARTTLS is done before anything of the mail is said, against the authority of `ca_file`."""
    settings = MailSettings(host="127.0.0.1", ca_file=ca_file(authority, tmp_path))
    with smtp_server(inbox, tls_context=server_tls(authority, "127.0.0.1"), require_starttls=True) as port:
        transport = make_transport(at_port(settings, port), "")
        assert transport(a_mail()).refused == ()
    assert len(inbox.taken) == 1


def test_tls_from_the_first_byte_is_used(inbox: Inbox, authority: trustme.CA, tmp_path: Path) -> None:
    """With security "tls" the connection is encrypted from the start, and verified likewise."""
    settings = MailSettings(host="127.0.0.1", security="tls", ca_file=ca_file(authority, tmp_path))
    with smtp_server(inbox, ssl_context=server_tls(authority, "127.0.0.1")) as port:
        assert make_transport(at_port(settings, port), "")(a_mail()).refused == ()
    assert len(inbox.taken) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_for_another_name_is_refused(
    inbox: Inbox, authority: trustme.CA, tmp_path: Path, security: str
) -> None:
    """A trusted certificate of another host is no reason to talk to this one."""
    context = server_tls(authority, "other.example")
    options = {"tls_context": context} if security == "starttls" else {"ssl_context": context}
    settings = MailSettings(host="127.0.0.1", security=security, ca_file=ca_file(authority, tmp_path))  # type: ignore[arg-type]
    with smtp_server(inbox, **options) as port, pytest.raises(ssl.SSLCertVerificationError):
        make_transport(at_port(settings, port), "")(a_mail())
    assert inbox.taken == []


def test_a_certificate_of_an_unknown_authority_is_refused(inbox: Inbox, authority: trustme.CA) -> None:
    """Without `ca_file` only the system's authorities count, and nothing of the mail is said."""
    context = server_tls(authority, "127.0.0.1")
    with smtp_server(inbox, tls_context=context) as port, pytest.raises(ssl.SSLCertVerificationError):
        make_transport(MailSettings(host="127.0.0.1", port=port), "")(a_mail())
    assert inbox.taken == []


def test_a_server_without_starttls_gets_nothing(inbox: Inbox) -> None:
    """A server, or someone in between, that offers no STARTTLS cannot make the mail go unencrypted."""
    with smtp_server(inbox) as port, pytest.raises(OSError, match="STARTTLS"):
        make_transport(MailSettings(host="127.0.0.1", port=port), "")(a_mail())
    assert inbox.taken == []


def test_the_user_logs_in_under_the_very_name_given(inbox: Inbox, authority: trustme.CA, tmp_path: Path) -> None:
    """A user name without @ stays as it is, and the password is the one passed in."""
    seen: list[LoginPassword] = []

    def authenticator(
        _server: SMTP, _session: Session, _envelope: Envelope, _way: str, data: LoginPassword
    ) -> AuthResult:
        seen.append(data)
        return AuthResult(success=True)

    settings = MailSettings(host="127.0.0.1", user="relay", ca_file=ca_file(authority, tmp_path))
    tls = server_tls(authority, "127.0.0.1")
    with smtp_server(inbox, tls_context=tls, authenticator=authenticator, auth_required=True) as port:
        assert make_transport(at_port(settings, port), "s3cret")(a_mail()).refused == ()
    assert [LoginPassword(login=b"relay", password=b"s3cret")] == seen


def test_a_refused_login_is_the_servers_trouble_not_this_mails(
    inbox: Inbox, authority: trustme.CA, tmp_path: Path
) -> None:
    """A wrong password leaves the mail whole and is not counted as a refusal of this mail."""
    mail = a_mail()
    settings = MailSettings(host="127.0.0.1", user="relay", ca_file=ca_file(authority, tmp_path))
    options = {"authenticator": lambda *_: AuthResult(success=False, handled=False), "auth_required": True}
    with smtp_server(inbox, tls_context=server_tls(authority, "127.0.0.1"), **options) as port:
        answer = make_transport(at_port(settings, port), "wrong")(mail)
    assert Delivery(mail=mail, refused=mail.recipients, reason="535 5.7.8 Authentication credentials invalid") == answer


def test_a_silent_server_is_given_up_after_the_timeout() -> None:
    """A server that accepts and says nothing costs `timeout_s`, not for ever."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(OSError, match="timed out"):
        make_transport(plain(silent.getsockname()[1], timeout_s=0.2), "")(a_mail())


def test_a_drop_after_data_raises_after_one_copy(inbox: Inbox) -> None:
    """A connection lost after the data is one attempt that failed, not three copies and a False."""
    inbox.drops_after_data = True
    with smtp_server(inbox) as port, pytest.raises(OSError, match="Connection unexpectedly closed"):
        make_transport(plain(port), "")(a_mail())
    assert len(inbox.taken) == 1


def test_a_mail_dropped_after_data_is_sent_again_as_it_was(inbox: Inbox, tmp_path: Path) -> None:
    """A mail whose delivery ended in doubt is repeated with the same bytes and Message-ID, so receivers can tell."""
    inbox.drops_after_data = True
    with smtp_server(inbox) as port, started(make_transport(plain(port), "")) as sender, opened(tmp_path) as store:
        pump = Pump(sender, outbox.take, outbox.record)
        outbox.add(store, A_LETTER)
        wait_until(lambda: not pump.pump(store, NOW), "the first attempt")
        inbox.drops_after_data = False
        wait_until(lambda: not pump.pump(store, NOW + timedelta(minutes=1)), "the second attempt")
        assert store.conn.execute("SELECT state, attempts FROM outbox").fetchall() == [("sent", 2)]
    assert [taken.content for taken in inbox.taken] == [compose(A_LETTER)] * 2


def test_a_bad_goodbye_does_not_undo_a_delivery() -> None:
    """A server that takes the mail and then answers nonsense to QUIT has taken the mail."""
    mail = a_mail()
    with scripted_server([b"220 hi", b"250 hello", b"250 ok", b"250 ok", b"354 go", b"250 taken", b"x" * 9000]) as port:
        assert Delivery(mail=mail) == make_transport(plain(port), "")(mail)


def test_only_the_refused_recipients_are_left(inbox: Inbox) -> None:
    """When a server takes the mail for some recipients, the answer names those who still lack it."""
    mail = a_mail("ann@acme.example", "bob@acme.example", "cid@acme.example")
    inbox.answers = {"bob@acme.example": "450 greylisted"}
    with smtp_server(inbox) as port:
        answer = make_transport(plain(port), "")(mail)
    assert Delivery(mail=mail, refused=("bob@acme.example",), reason="450 greylisted") == answer
    assert [taken.rcpt_tos for taken in inbox.taken] == [["ann@acme.example", "cid@acme.example"]]


@pytest.mark.parametrize(
    ("answers", "reason", "permanent"),
    [
        ({"ann@acme.example": "550 5.1.1 <ann@acme.example>: no such user"}, "550 5.1.1 <address>: no such user", True),
        ({"ann@acme.example": "450 later"}, "450 later", False),
        ({"DATA": "554 no"}, "554 no", True),
        ({"DATA": "451 later"}, "451 later", False),
    ],
    ids=["recipient-550", "recipient-450", "data-554", "data-451"],
)
def test_a_refusal_of_all_is_reported_in_the_servers_words(
    inbox: Inbox, answers: dict[str, str], reason: str, *, permanent: bool
) -> None:
    """A refused mail keeps all its recipients; the answer carries what was said, and whether it is for good."""
    mail = a_mail()
    inbox.answers = answers
    with smtp_server(inbox) as port:
        answer = make_transport(plain(port), "")(mail)
    assert Delivery(mail=mail, refused=mail.recipients, reason=reason, permanent=permanent) == answer


# --- settings that cannot work


@pytest.mark.parametrize("host", ["mail.example.org", "192.0.2.1", "localhost.example.org"])
def test_unencrypted_mail_leaves_this_host_never(host: str) -> None:
    """Security "none" is refused for any host but loopback, before anything is connected."""
    with pytest.raises(MailUnusable, match=r"mail.*security: got \"none\""):
        make_transport(MailSettings(host=host, security="none"), "")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_unencrypted_mail_to_loopback_is_allowed(host: str) -> None:
    """A relay on this very host may be spoken to in the clear."""
    make_transport(MailSettings(host=host, security="none"), "")


def test_a_user_without_a_password_is_refused_at_the_start() -> None:
    """A missing password stops the start; nobody is asked for it."""
    with pytest.raises(MailUnusable, match="smtp_password"):
        make_transport(MailSettings(host="localhost", user="relay"), "")


def test_an_unusable_ca_file_is_refused_at_the_start(tmp_path: Path) -> None:
    """A missing or broken `ca_file` stops the start and is named."""
    (tmp_path / "empty.pem").write_text("")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(MailUnusable, match=name):
            make_transport(MailSettings(host="localhost", ca_file=str(tmp_path / name)), "")


# --- Maildir


def test_without_a_host_mail_goes_into_the_maildir(tmp_path: Path) -> None:
    """The Maildir is made when missing, for the service alone, and holds the bytes of the mail."""
    folder = tmp_path / "mail"
    assert make_transport(MailSettings(maildir=str(folder)), "")(a_mail()).refused == ()
    (found,) = (folder / "new").iterdir()
    assert found.read_bytes() == BODY
    assert [path.stat().st_mode & 0o777 for path in (found, found.parent, folder)] == [0o600, 0o700, 0o700]
    assert list((folder / "tmp").iterdir()) == []


def test_the_maildir_is_one_that_mail_programs_read(tmp_path: Path) -> None:
    """The standard library's Maildir reader finds the mail."""
    make_transport(MailSettings(maildir=str(tmp_path)), "")(a_mail())
    with contextlib.closing(mailbox.Maildir(str(tmp_path), create=False)) as box:
        assert [message["Subject"] for message in box] == ["report"]


@pytest.mark.parametrize("where", ["new/{}", "cur/{}:2,S"], ids=["unread", "read"])
def test_a_mail_delivered_again_after_a_crash_is_not_doubled(tmp_path: Path, where: str) -> None:
    """The same Message-ID is put into the Maildir once, whether it was read meanwhile or not."""
    transport = make_transport(MailSettings(maildir=str(tmp_path)), "")
    transport(a_mail())
    (name,) = os.listdir(tmp_path / "new")
    os.rename(tmp_path / "new" / name, tmp_path / where.format(name))
    transport(a_mail())
    transport(a_mail(message_id="<two@example.org>"))
    assert len([*(tmp_path / "new").iterdir(), *(tmp_path / "cur").iterdir()]) == 2


@pytest.mark.parametrize("make", [Path.symlink_to, Path.hardlink_to], ids=["link", "hard link"])
def test_a_link_in_the_maildir(tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    """A mail is never written through a link that is in the place of its temporary file."""
    transport = make_transport(MailSettings(maildir=str(tmp_path / "mail")), "")
    transport(a_mail())
    [delivered] = (tmp_path / "mail" / "new").iterdir()
    delivered.unlink()
    (tmp_path / "precious").write_text("precious")
    make(tmp_path / "mail" / "tmp" / delivered.name, tmp_path / "precious")
    transport(a_mail())
    assert "precious" == (tmp_path / "precious").read_text()
    assert a_mail().body == delivered.read_bytes()


def test_a_mail_found_in_the_maildir_is_synced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was killed between the name and the sync of the folder did not make the mail durable; who finds it does."""
    transport = make_transport(MailSettings(maildir=str(tmp_path)), "")
    transport(a_mail())
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    transport(a_mail())
    assert [str(tmp_path / "new")] == synced


def test_what_a_crash_left_half_written_is_overwritten(tmp_path: Path) -> None:
    """A torn file in `tmp` neither blocks nor spoils the next attempt."""
    transport = make_transport(MailSettings(maildir=str(tmp_path)), "")
    transport(a_mail())
    (name,) = os.listdir(tmp_path / "new")
    os.rename(tmp_path / "new" / name, tmp_path / "tmp" / name)
    (tmp_path / "tmp" / name).write_bytes(BODY * 3)
    transport(a_mail())
    assert (tmp_path / "new" / name).read_bytes() == BODY
