"""An SMTP server on 127.0.0.1 with a certificate of its own authority, that can refuse mail and be down."""

from __future__ import annotations

import dataclasses
import email
import email.policy
import enum
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Literal, Self

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.lab.sshd import HOST, free_port

USER = "rosterd@relay.example"
PASSWORD = "open sesame"


class Mode(enum.Enum):
    """What the server says to a whole message."""

    ACCEPT = "250 Message accepted for delivery"
    REFUSE_FOR_NOW = "451 Try again later"
    REFUSE_FOR_GOOD = "550 Not wanted here"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Delivery:
    """One message as it came in, and how."""

    sender: str
    recipients: tuple[str, ...]
    encrypted: bool
    authenticated: bool
    content: bytes

    @property
    def message(self) -> EmailMessage:
        """Return the message parsed."""
        return email.message_from_bytes(self.content, policy=email.policy.default)


class MailServer:
    """
    The server as a context manager; it listens once entered, until `down`, and after `up` again, always on one port.

    `deliveries` holds what was accepted, `attempts` counts what was offered. `ca_file` is the authority that signed its
    certificate, for 127.0.0.1 and localhost. Login is offered (USER, PASSWORD), and nothing is taken unencrypted.
    """

    def __init__(self, folder: Path, *, security: Literal["starttls", "tls"] = "starttls") -> None:
        self.port = free_port()
        self.mode = Mode.ACCEPT
        self.deliveries: list[Delivery] = []
        self.attempts = 0
        self.ca_file = folder / "authority.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(HOST, "localhost").configure_cert(self._tls)
        self._implicit_tls = security == "tls"
        self._controller: Controller | None = None

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> None:
        """Listen."""
        self._controller = Controller(
            self,
            hostname=HOST,
            port=self.port,
            ssl_context=self._tls if self._implicit_tls else None,
            tls_context=None if self._implicit_tls else self._tls,
            require_starttls=not self._implicit_tls,
            authenticator=_authenticate,
            auth_require_tls=not self._implicit_tls,  # aiosmtpd knows of no TLS but the one that STARTTLS began
        )
        self._controller.start()

    def down(self) -> None:
        """Stop listening: connections are refused."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep a message and answer as `mode` says."""
        self.attempts += 1
        if self.mode is Mode.ACCEPT:
            self.deliveries.append(
                Delivery(
                    sender=envelope.mail_from or "",
                    recipients=tuple(envelope.rcpt_tos),
                    encrypted=self._implicit_tls or session.ssl is not None,
                    authenticated=bool(session.authenticated),
                    content=envelope.original_content or b"",
                )
            )
        return self.mode.value


def _authenticate(_: SMTP, __: Session, ___: Envelope, ____: str, given: LoginPassword) -> AuthResult:
    return AuthResult(success=(given.login, given.password) == (USER.encode(), PASSWORD.encode()))
