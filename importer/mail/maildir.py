"""Delivery into a Maildir on this host, where the mail stays."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import Final

from importer import fs
from importer.durable import sync
from importer.mail.channel import Delivery
from importer.model import Mail

IN_MAILDIR: Final = "no SMTP server: in the Maildir only"


class MaildirTransport:
    """
    Delivers durably into a Maildir, which is made when missing. Source: https://cr.yp.to/proto/maildir.html.

    The name comes from the Message-ID: a mail delivered again after a crash is found in `new` or `cur` and not doubled.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __call__(self, mail: Mail) -> Delivery:
        """Deliver one mail. Raises OSError, SyncFailed."""
        for part in ("", "tmp", "new", "cur"):  # each by itself: parents made on the way get no mode of ours
            os.makedirs(os.path.join(self._folder, part), mode=0o700, exist_ok=True)
        name = f"{hashlib.sha256(mail.message_id.encode()).hexdigest()[:32]}.rosterd"
        if not self._holds(name):
            self._put(name, mail.body)
        _sync_folder(os.path.join(self._folder, "new"))  # of a mail found there as well: a crash may have come before
        return Delivery(mail=mail, reason=IN_MAILDIR)

    def _holds(self, name: str) -> bool:
        """Return whether the mail is there, read (`cur/<name>:2,S`) or unread."""
        return any(
            entry.split(":")[0] == name for part in ("new", "cur") for entry in os.listdir(f"{self._folder}/{part}")
        )

    def _put(self, name: str, body: bytes) -> None:
        fresh = os.path.join(self._folder, "tmp", name)
        with contextlib.suppress(FileNotFoundError):  # of a crash, or slipped in
            os.unlink(fresh)
        descriptor = os.open(fresh, fs.NEW_FILE, 0o600)
        with open(descriptor, "wb") as file:
            file.write(body)
            file.flush()
            sync(descriptor)
        os.rename(fresh, os.path.join(self._folder, "new", name))


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, fs.OWN_FOLDER)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
