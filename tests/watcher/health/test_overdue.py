"""Uploads that stay away: each is told once, after its time, to those who asked for it."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from importer.model import Letter, for_operator
from importer.settings import ClientSettings, MailSettings
from importer.store.connection import Cursor
from importer.store.sqlite.database import SqliteStore
from tests.tables import tables_of
from watcher.config import ConfigError, load
from watcher.health.overdue import OverdueUploads
from watcher.health.overdue_mail import OverdueUpload, letters
from watcher.settings import Config

AT = datetime(2026, 11, 22, 7, 42, tzinfo=UTC)
HOUR = timedelta(hours=1)
MAIL = MailSettings(reply_to="imports@rosterd.example", operator=("ops@rosterd.example",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with contextlib.closing(SqliteStore.open(tmp_path / "rosterd.db")) as opened:
        yield opened


def config(*late_mail: str, expect_every: str = "26h") -> Config:
    client = ClientSettings(
        name="acme",
        inbox="/in",
        failed_import_email=("it@acme.example",),
        expect_every=expect_every,
        late_mail=late_mail,  # type: ignore[arg-type]
    )
    return Config(mail=MAIL, clients=(client,))


class Watcher:
    """OverdueUploads with a clock that the test sets, and the letters it has written."""

    def __init__(self, store: SqliteStore, settings: Config) -> None:
        self.letters: list[Letter] = []
        self._store = store
        self._overdue = OverdueUploads(store)
        self._overdue.use(settings, AT)
        self.use = self._overdue.use

    def look(self, after: timedelta, *, waiting: bool = False) -> int:
        """Look so long after the beginning; return how many missing uploads were logged."""
        before = tables_of(self._store).table("outbox").count
        with capture_logs() as logged:
            if after.total_seconds() >= self._overdue.next_at:
                self._overdue.tend(after.total_seconds(), AT + after, {"acme"} if waiting else ())
        self.letters += map(letter_of, tables_of(self._store).table("outbox").rows_where(order_by="id", offset=before))
        return [entry["event"] for entry in logged].count("upload.missed")


def letter_of(row: dict[str, Any]) -> Letter:
    """Return the letter that a row of the outbox holds."""
    mail = email.message_from_bytes(row["body"], policy=email.policy.default)
    return Letter(
        message_id=row["message_id"],
        client=row["client"],
        claim_id=row["claim_id"],
        sender=row["sender"],
        recipients=tuple(json.loads(row["recipients"])),
        subject=row["subject"],
        text=mail.get_content(),
        written_at=datetime.fromisoformat(row["created_at"]),
    )


def record_upload(store: SqliteStore, at: datetime) -> None:
    """Write into the ledger that a file was dealt with."""
    counts = ("size_bytes", "device", "inode", "mtime_ns", "created", "updated", "unchanged", "failed", "repeated")
    texts = {"client": "acme", "file": "users.csv", "sha256": "", "outcome": "imported", "code": ""}
    times = dict.fromkeys(("claimed_at", "finished_at"), f"{at:%Y-%m-%dT%H:%M:%SZ}")
    row = {**dict.fromkeys(counts, 0), **texts, **times, "claim_id": str(at), "archive": b"", "ends_line": 1}
    with store.transaction():
        tables_of(store).table("imports").insert(row)


def test_a_missing_upload_is_told_once(store: SqliteStore) -> None:
    """When the time of a client is over, that is logged once; after the next upload it can be told again."""
    record_upload(store, AT)
    watcher = Watcher(store, config())
    assert [0, 1, 0] == [watcher.look(hours * HOUR) for hours in (26, 27, 60)]
    record_upload(store, AT + 61 * HOUR)
    assert [0, 1, 0] == [watcher.look(hours * HOUR) for hours in (62, 90, 120)]


def test_a_file_that_waits_has_come(store: SqliteStore) -> None:
    """While a file lies in the inbox, or is in hand, none is missing."""
    watcher = Watcher(store, config())
    assert [0, 1] == [watcher.look(27 * HOUR, waiting=True), watcher.look(28 * HOUR)]


def test_a_new_client_has_its_time(store: SqliteStore) -> None:
    """For a client that has never uploaded the time begins when the service gets to know it, not with each reload."""
    watcher = Watcher(store, Config())
    assert 0 == watcher.look(100 * HOUR)
    watcher.use(config("operator"), AT + 100 * HOUR)
    assert 0 == watcher.look(101 * HOUR)
    watcher.use(config("operator"), AT + 120 * HOUR)
    assert 1 == watcher.look(127 * HOUR)
    assert for_operator("acme: no file of users has come yet") == watcher.letters[0].subject


def test_it_looks_once_a_minute(store: SqliteStore) -> None:
    """Between two looks the database is left alone."""
    watcher = Watcher(store, config(expect_every="1min"))
    assert [0, 0, 1] == [watcher.look(timedelta(seconds=seconds)) for seconds in (30, 62, 91)]


def test_nobody_is_mailed_unless_that_is_wished(store: SqliteStore) -> None:
    """By default a missing upload is logged only."""
    watcher = Watcher(store, config())
    assert 1 == watcher.look(27 * HOUR)
    assert [] == watcher.letters


def test_letters_tell_what_is_missing(store: SqliteStore) -> None:
    """Operator and client are each told since when, what is expected, and what to do."""
    record_upload(store, AT)
    watcher = Watcher(store, config("operator", "client"))
    watcher.look(27 * HOUR)
    to_operator, to_client = watcher.letters
    assert (("ops@rosterd.example",), ("it@acme.example",)) == (to_operator.recipients, to_client.recipients)
    assert ("", "acme") == (to_operator.client, to_client.client)
    assert "since 2026-11-22 07:42 UTC. One is expected at least every 26 hours." in to_operator.text
    assert for_operator("acme: no file of users has come since 2026-11-22 07:42 UTC") == to_operator.subject


def told_client(last_at: datetime | None, mail: MailSettings = MAIL, **settings: Any) -> Letter:  # noqa: ANN401 - settings of all kinds
    """Return what the client is told of an upload that is overdue."""
    [client] = config("client").clients
    overdue = OverdueUpload(client=msgspec.structs.replace(client, **settings), last_at=last_at)
    [letter] = letters(overdue, mail, AT + 27 * HOUR)
    return letter


def test_the_client_is_told_in_its_time_and_language() -> None:
    """The mail to a client has its local time, no word of ours, and is in its language or in both."""
    mail = msgspec.structs.replace(MAIL, timezone="America/Toronto")
    english = told_client(AT, mail)
    assert "No user file from you since 2026-11-22 02:42 EST" == english.subject
    assert "since 2026-11-22 02:42 EST. We expect\none at least every 26 hours." in english.text
    assert "acme" not in english.text
    french = told_client(AT, mail, language=("fr",))
    assert "toutes les 26 heures" in french.text.replace("\n", " ")
    both = told_client(AT, mail, language=("fr", "en"))
    assert f"{french.subject} / {english.subject}" == both.subject
    assert [french.text, english.text] == both.text.split(f"\n{'-' * 72}\n\n")
    assert ("fr", "en") == both.languages


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"expect_every": "1d"}, "at least every day."),
        ({"expect_every": "8d"}, "at least every 8 days."),
        ({"expect_every": "1h"}, "at least every hour."),
        ({"expect_every": "90min"}, "at least every 90 minutes."),
    ],
)
def test_the_client_is_told_how_often_a_file_is_expected(settings: dict[str, Any], sentence: str) -> None:
    """Each unit of expect_every has its words, for one and for many."""
    text = told_client(None, **settings).text
    assert sentence in text.replace("\n", " ")
    assert text.startswith("We have had no user file from you yet.")


@pytest.mark.parametrize(
    ("mail", "sentence"),
    [
        ({"reply_to": "a@b.example"}, "reply to this e-mail."),
        ({"contact": "Marie"}, "ask Marie."),
        ({"reply_to": "a@b.example", "contact": "Marie"}, "ask Marie, or reply to this e-mail."),
        ({}, ""),
    ],
)
def test_the_client_is_told_whom_to_ask(mail: dict[str, str], sentence: str) -> None:
    """The mail names the contact, asks for a reply only where somebody reads it, and else says nothing of help."""
    paragraphs = told_client(AT, msgspec.convert(mail, MailSettings)).text.split("\n\n")
    expected = [f"If you need help, {sentence}"] if sentence else []
    assert expected == [each for each in paragraphs if each.startswith("If you need help")]


def test_a_restart_does_not_mail_again(store: SqliteStore) -> None:
    """What was told by mail stays told, whoever starts anew; the next missing upload is another one."""
    for number, at in enumerate((AT, AT + 50 * HOUR), start=1):
        record_upload(store, at)
        watchers = [Watcher(store, config("client")) for _ in range(2)]
        for watcher in watchers:
            watcher.look(number * 100 * HOUR)
        assert [1, 0] == [len(watcher.letters) for watcher in watchers]


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ('late_mail = "client"', "expect_every to be set"),
        ('expect_every = "26h"\nlate_mail = "operator"', "mail.operator to be set"),
        ('expect_every = "26h"\nlate_mail = ["client"]', "failed_import_email to be set"),
        ('expect_every = "26h"\nlate_mail = ["everybody"]', 'one of "client", "operator"'),
    ],
)
def test_mail_to_nobody_stops_the_start(client: str, expected: str, tmp_path: Path) -> None:
    """A wish for mail that could never be fulfilled is a fault of the configuration."""
    path = tmp_path / "config.toml"
    path.write_text(f'[[client]]\nname = "acme"\ninbox = "in"\n{client}\n')
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert "late_mail" in str(caught.value)
    assert expected in str(caught.value)


def test_the_database_is_asked_for_all_clients_at_once(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status asks which uploads are overdue each second: of 10,000 clients that was a statement for each."""
    acme = config().clients[0]
    clients = tuple(msgspec.structs.replace(acme, name=f"client{number}") for number in range(1_200))
    record_upload(store, AT)
    statements: list[str] = []
    execute = store.conn.execute

    def note(text: str, *values: Any) -> Cursor:  # noqa: ANN401 - as Connection has it
        statements.append(text)
        return execute(text, *values)

    monkeypatch.setattr(store.conn, "execute", note)
    overdue = OverdueUploads(store)
    for expecting, asked in (((), 0), ((*clients, acme), 3)):
        overdue.use(Config(mail=MAIL, clients=expecting), AT - 24 * HOUR)
        statements.clear()
        late = overdue.overdue(AT + 25 * HOUR)
        assert {each.name for each in expecting} - {"acme"} == late.keys()
        assert asked == len(statements)
