"""Uploads that have not come in time: told once each, in the log and, if wished, by mail."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Final

import msgspec
import structlog

from importer.durations import in_words
from importer.mail import outbox
from importer.model import Letter, for_operator, message_id_of
from importer.settings import ClientSettings, MailSettings
from importer.store import queries
from importer.store.database import Store
from watcher.settings import Config

log = structlog.get_logger()

_LOOK_INTERVAL_S: Final = 60.0


class OverdueUpload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload that should have come by now."""

    client: ClientSettings
    last_at: datetime | None  # when the last one was dealt with; None: there never was one

    @property
    def name(self) -> str:
        """Return what tells it from every other one."""
        return f"{self.client.name}.{self.last_at:%Y%m%dT%H%M%SZ}" if self.last_at else f"{self.client.name}.never"


class OverdueUploads:
    """Looks once a minute for clients whose upload is overdue. The outbox remembers what was told by mail."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._clients: dict[str, ClientSettings] = {}
        self._known_since: dict[str, datetime] = {}
        self._told: set[str] = set()
        self.next_at = -math.inf  # by the monotonic clock

    def use(self, config: Config, at: datetime) -> None:
        """Go by this configuration from now on; a client that has never uploaded gets its time from the first one."""
        self._mail = config.mail
        self._clients = {client.name: client for client in config.clients if client.expected_s is not None}
        self._known_since = {name: self._known_since.get(name, at) for name in self._clients}
        self.next_at = -math.inf if self._clients else math.inf

    def tend(self, now: float, at: datetime, waiting: Collection[str]) -> None:
        """
        Report each upload that is overdue; to be called when `next_at` is reached.

        `waiting`: the clients of which a file has come that is not imported yet. Raises StoreError.
        """
        self.next_at = now + _LOOK_INTERVAL_S
        for name in self._clients:
            overdue = None if name in waiting else self.overdue(name, at)
            if overdue is not None and overdue.name not in self._told:
                self._tell(overdue, at)
                self._told.add(overdue.name)

    def overdue(self, name: str, at: datetime) -> OverdueUpload | None:
        """
        Return the upload of a client that should have come by now, if no file of it waits; None when none is overdue.

        Log, mail, `rosterd status` and the figures all go by this. Raises StoreError.
        """
        client = self._clients.get(name)
        if client is None:
            return None
        last_at = queries.last_upload_at(self._store.conn, name)
        is_over = (at - (last_at or self._known_since[name])).total_seconds() > (client.expected_s or math.inf)
        return OverdueUpload(client=client, last_at=last_at) if is_over else None

    def _tell(self, overdue: OverdueUpload, at: datetime) -> None:
        client, last_at = overdue.client, overdue.last_at
        for letter in letters(overdue, self._mail, at):
            if not queries.knows_mail(self._store.conn, letter.message_id):
                with self._store.transaction():
                    outbox.add(self._store, letter)
        log.warning(
            "upload.missed",
            client=client.name,
            last_at=last_at.isoformat() if last_at else "",
            expect_every=client.expect_every,
        )


# What is told by mail


def letters(overdue: OverdueUpload, mail: MailSettings, at: datetime) -> Iterator[Letter]:
    """Yield the letters about an overdue upload that the client's `late_mail` asks for."""
    client = overdue.client
    texts = {"operator": _text_for_operator(overdue), "client": _text_for_client(overdue)}
    recipients = {"operator": mail.operator, "client": mail.recipients_of(client)}
    for whom in client.late_mail:
        subject = f"{client.name}: no file of users has come {_since(overdue)}"
        yield Letter(
            message_id=message_id_of(f"late.{whom}.{overdue.name}", mail.reply_to),
            client=client.name if whom == "client" else "",
            claim_id="",
            sender=mail.reply_to,
            recipients=recipients[whom],
            subject=for_operator(subject) if whom == "operator" else subject,
            text=texts[whom],
            written_at=at,
        )


def _text_for_operator(overdue: OverdueUpload) -> str:
    name = overdue.client.name
    return (
        f"No file of users has come from {name} {_since(overdue)}. {_expectation(overdue)}\n\n"
        "Please ask them whether their export and its upload still run. `rosterd status` says whether a file waits in "
        f"their inbox, `rosterd doctor` whether they can log in, `rosterd imports --client {name}` what came before."
        f"\n\n{_CLOSING}\n"
    )


def _text_for_client(overdue: OverdueUpload) -> str:
    return (
        f"No file of users has come from you {_since(overdue)}. {_expectation(overdue)}\n\n"
        "Please check whether your export still runs, and whether its upload by SFTP succeeds. Until a file comes, the "
        "users here stay as your last file left them. If something seems to be wrong, please reply to this mail."
        f"\n\n{_CLOSING}\n"
    )


_CLOSING: Final = "You get this mail once. After the next file you get another one only if a file is overdue again."


def _since(overdue: OverdueUpload) -> str:
    return f"since {overdue.last_at:%Y-%m-%d %H:%M} UTC" if overdue.last_at else "yet"


def _expectation(overdue: OverdueUpload) -> str:
    return f"One is expected at least every {in_words(overdue.client.expect_every).removeprefix('1 ')}."
