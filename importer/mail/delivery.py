"""How mail leaves: the channel that the settings ask for."""

from __future__ import annotations

from importer.mail.channel import Transport
from importer.mail.maildir import MaildirTransport
from importer.settings import MailSettings


def make_transport(settings: MailSettings, password: str) -> Transport:
    """
    Return the transport that the settings ask for: SMTP with a host, else the Maildir.

    `settings.maildir` and `settings.ca_file` are absolute; `password` is "" where there is none.
    Raises MailUnusable.
    """
    if settings.host:
        from importer.mail.smtp import SmtpTransport  # with yagmail and TLS, 20 ms and 2 MiB

        return SmtpTransport(settings, password)
    return MaildirTransport(settings.maildir)
