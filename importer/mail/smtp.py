"""
Delivery to an SMTP server. One call is one attempt with the finished bytes.

yagmail is transport only: it opens the connection and logs in. It builds no message (its own would attach a file that a
body happens to name, and fetch style sheets), and its `send` is never called (it sends up to three copies, blocks for
18 s and then returns False). Every default of its client that asks, guesses or trusts is switched off here.
"""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from typing import Any

import yagmail

from importer.mail.channel import Delivery, failed
from importer.model import Mail, printable
from importer.sending.connection import ATTEMPT_TIME_OUTS, given_up_after, tls_context
from importer.settings import MailSettings, MailUnusable

_MAX_REASON_CHARS = 200
_ADDRESS = re.compile(rb"<?[^\s<>]+@[^\s<>]+>?")


class _Client(yagmail.SMTP):  # type: ignore[misc]  # ships no types
    """A client whose connection can be cut from outside, even while it is made."""

    @property
    def connection(self) -> Callable[..., smtplib.SMTP]:
        """Return what yagmail calls to connect."""
        return self._connect

    def _connect(self, host: str, port: int, **options: Any) -> smtplib.SMTP:  # noqa: ANN401 - yagmail's
        kind: type[smtplib.SMTP] = super().connection
        self.smtp = kind(**options)
        # The name to verify; smtplib sets it only where it connects at once.
        setattr(self.smtp, "_host", host)  # noqa: B010 - as it is private
        self.smtp.connect(host, port)
        return self.smtp

    def connected(self) -> socket.socket | None:
        """Return the socket of the connection, None while there is none."""
        return getattr(self.smtp, "sock", None)


class SmtpTransport:
    """Delivers to one SMTP server, with the server's certificate verified; unencrypted only to this host itself."""

    def __init__(self, settings: MailSettings, password: str) -> None:
        if settings.security == "none" and not settings.is_local:
            raise MailUnusable(
                f'[mail] security: got "none" for host "{settings.host}"; '
                'expected "starttls" or "tls" for any host but localhost'
            )
        if settings.user and not password:
            raise MailUnusable(
                f'[mail] user: got "{settings.user}" without a password; '
                "expected the credential smtp_password or ROSTERD_SMTP_PASSWORD"
            )
        self._settings = settings
        self._password = password
        self._tls = None if settings.security == "none" else _tls_context(settings.ca_file)

    def __call__(self, mail: Mail) -> Delivery:
        """Deliver one mail. Raises OSError, of which smtplib.SMTPException is one."""
        client = self._client(mail.sender)
        try:
            with given_up_after(ATTEMPT_TIME_OUTS * self._settings.timeout_s, client.connected):
                client.login()
                refused = client.smtp.sendmail(mail.sender, mail.recipients, mail.body)
        except smtplib.SMTPRecipientsRefused as error:
            return _partly_refused(mail, error.recipients)
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            return failed(mail, said(error), permanent=_is_permanent(error.smtp_code))
        except smtplib.SMTPResponseException as error:  # greeting or login: the server's trouble, not this mail's
            return failed(mail, said(error))
        finally:
            # Once the server has taken the mail, a bad goodbye must not make it look refused.
            with contextlib.suppress(OSError):
                client.close()
        return _partly_refused(mail, refused)

    def strict_objection(self) -> str:
        """Connect, and return what a strict verification holds against the certificates, "" for nothing."""
        if self._tls is None:
            return ""
        self._tls.verify_flags |= ssl.VERIFY_X509_STRICT
        client = self._client(self._settings.reply_to)
        try:
            client.login()
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except OSError:
            return ""  # not about certificates
        finally:
            self._tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
            with contextlib.suppress(OSError):
                client.close()
        return ""

    def _client(self, sender: str) -> _Client:
        """Return a client not yet connected."""
        settings, tls = self._settings, self._tls
        user = settings.user or sender
        options = {"context": tls} if settings.security == "tls" else {}
        return _Client(
            user={user: user},  # given as text, a name without @ would get "@gmail.com"
            password=self._password,  # never None, which would ask a keyring or the terminal
            host=settings.host,
            port=settings.port,
            smtp_ssl=settings.security == "tls",
            smtp_starttls={"context": tls} if settings.security == "starttls" else False,
            smtp_skip_login=not settings.user,
            soft_email_validation=False,
            timeout=settings.timeout_s,
            **options,
        )


def _tls_context(ca_file: str) -> ssl.SSLContext:
    try:
        return tls_context(ca_file)
    except OSError as error:
        raise MailUnusable(f'[mail] ca_file: cannot use "{ca_file}" ({error}); expected certificates in PEM') from error


def _partly_refused(mail: Mail, refused: dict[str, tuple[int, bytes]]) -> Delivery:
    """Return the answer for a mail that some recipients, all or none were refused for."""
    codes = {code for code, _ in refused.values()}
    return Delivery(
        mail=mail,
        refused=tuple(address for address in mail.recipients if address in refused),
        reason="; ".join(sorted({_words(*answer) for answer in refused.values()}))[:_MAX_REASON_CHARS],
        permanent=bool(codes) and all(map(_is_permanent, codes)),
    )


def said(error: Exception) -> str:
    """Return what the server said, if it is that which failed, as "535 5.7.8 Authentication credentials invalid"."""
    if isinstance(error, smtplib.SMTPResponseException):
        return _words(error.smtp_code, error.smtp_error)
    return str(error)


def _words(code: int, text: bytes | str) -> str:
    """Return an answer as one short line, without addresses: other people's, and one cause would look like many."""
    line = b" ".join((text if isinstance(text, bytes) else text.encode("utf-8", "replace")).split())
    return printable(_ADDRESS.sub(b"<address>", b"%d %s" % (code, line)).strip())[:_MAX_REASON_CHARS]


def _is_permanent(code: int) -> bool:
    """Return whether RFC 5321 section 4.2.1 calls the answer permanent."""
    return code >= 500  # noqa: PLR2004 - the number is the rule
