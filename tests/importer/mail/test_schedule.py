"""Whose mail is next, however much waits: shares of an hour, what waits at most, and what a look costs."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from importer.mail import outbox
from importer.mail.channel import Delivery, failed
from importer.mail.letter import compose
from importer.model import Letter
from importer.store import integrity, queries, retention
from importer.store import mail_queue as table
from importer.store.connection import stamp
from importer.store.database import Store
from importer.store.sqlite.connection import SqliteConnection
from importer.store.sqlite.database import SqliteStore
from tests.lab import wait_until
from tests.lab.daemon import Rosterd

NOW = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
SIZES = (500, 10_000)
HEADER = "unique_id,login_source,first_name,last_name,email\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = SqliteStore.open(tmp_path / "rosterd.db")
    yield store
    store.close()


def a_letter(number: int, *, client: str = "acme", at: datetime = NOW, attached: bytes = b"") -> Letter:
    return Letter(
        message_id=f"<{client}.{number}@example.org>",
        client=client,
        claim_id="",
        sender="rosterd@example.org",
        recipients=("ann@acme.example",),
        subject=f"report {number}",
        text=f"Of file {number}.\n",
        attachments=(("users.failed.csv", attached),) if attached else (),
        written_at=at,
    )


def put(store: Store, *letters: Letter) -> None:
    for letter in letters:
        outbox.add(store, letter)


def send(store: Store, now: datetime) -> str | None:
    """Let the next mail reach its recipients; return whose it was, None when it is nobody's turn."""
    mail = outbox.take(store, now)
    if mail is None:
        return None
    outbox.record(store, Delivery(mail=mail), now)
    return mail.client


def states(store: Store) -> dict[str, int]:
    return dict(store.conn.execute("SELECT state, count(*) FROM outbox GROUP BY state").fetchall())


def overflow(store: Store) -> EmailMessage:
    """Return the oldest mail that stands for those without room."""
    query = "SELECT body FROM outbox WHERE message_id LIKE '<overflow%' ORDER BY id LIMIT 1"
    (body,) = store.conn.execute(query).fetchone()
    return email.message_from_bytes(body, policy=email.policy.default)


# Shares


def test_five_clients_do_not_use_up_the_hour_of_a_sixth(store: Store) -> None:
    """While five clients are told all that may be told them, the first mail of any other leaves at once."""
    sent: list[str | None] = []
    for minute in range(80):
        now = NOW + minute * MINUTE
        put(store, *(a_letter(minute, client=f"busy{number}", at=now) for number in range(5)))
        sent += [send(store, now + second * SECOND) for second in range(6)]
        if minute >= 60:
            put(store, a_letter(minute, client=f"quiet{minute}", at=now))
            assert f"quiet{minute}" == send(store, now + 30 * SECOND)
    busy = [client for client in sent if client]
    assert {f"busy{number}" for number in range(5)} == set(busy)
    assert len(busy) <= 2 * 40


def test_who_had_fewer_mails_goes_first(store: Store) -> None:
    """Of two clients the one that had fewer mails in the last hour is served first, though its mail came later."""
    for turn in range(3):
        put(store, a_letter(turn, client="busy"))
        assert "busy" == send(store, NOW + 5 * turn * MINUTE)
    later = NOW + 20 * MINUTE
    put(store, a_letter(9, client="busy", at=NOW), a_letter(1, client="quiet", at=later))
    assert ["quiet", "busy"] == [send(store, later), send(store, later)]


def test_no_hour_has_more_than_its_mails(store: Store) -> None:
    """However many clients there are, sixty mails leave within an hour, and then the next as the first gets old."""
    put(store, *(a_letter(1, client=f"client{number}") for number in range(70)))
    sent = [send(store, NOW + second * SECOND) for second in range(100)]
    assert 60 == len([client for client in sent if client])
    assert send(store, NOW + HOUR)


# A person's wish


@pytest.fixture
def tried(store: Store) -> int:
    """Return the id of a mail that was tried in vain and waits for an hour, its client's window being open."""
    put(store, a_letter(1))
    assert send(store, NOW)
    put(store, a_letter(2))
    mail = outbox.take(store, NOW + 6 * MINUTE)
    assert mail is not None
    outbox.record(store, failed(mail, "550", permanent=True), NOW + 6 * MINUTE)
    put(store, a_letter(3))
    assert send(store, NOW + 6 * MINUTE)
    return mail.id


def test_a_mail_that_is_retried_is_tried_at_once(store: Store, tried: int) -> None:
    """A mail that a person wants retried is next, though its client had one just now and others wait for longer."""
    put(store, a_letter(1, client="beta", at=NOW - HOUR))
    at = NOW + 7 * MINUTE
    assert table.retry(store.conn, tried, at)
    mail = outbox.take(store, at)
    assert mail is not None
    assert tried == mail.id
    outbox.record(store, failed(mail, "451"), at)
    assert "beta" == send(store, at)  # once: after that it waits like any other
    assert send(store, at) is None


def test_a_retry_reaches_the_server_while_the_client_must_wait(tmp_path: Path) -> None:
    """`rosterd mail retry` sends a mail within seconds, also while the client had another one just now."""
    (tmp_path / "acme").mkdir()
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}) as rosterd:
        rosterd.start()
        rosterd.drop("a.csv", HEADER + "1,OPSCOM,Ann,,ann\n")
        rosterd.wait_for_event("mail.sent")
        rosterd.drop("b.csv", HEADER + "2,OPSCOM,Bob,,bob\n")
        rosterd.wait_for_imports(2)
        [waiting] = rosterd.query("SELECT id FROM outbox WHERE state = 'waiting'")
        assert 0 == rosterd.execute("mail", "retry", str(waiting["id"])).returncode
        wait_until(lambda: len(rosterd.events("mail.sent")) == 2, "the mail")


# What waits at most


def test_what_waits_for_a_client_is_bounded(store: Store) -> None:
    """Beyond a hundred mails of a client that wait one mail an hour stands for the rest, and says where that is."""
    with capture_logs() as logs:
        for minute in range(180):
            at = NOW + minute * MINUTE
            put(store, *(a_letter(10 * minute + number, at=at, attached=b"x" * 1000) for number in range(10)))
    assert {"waiting": 100 + 4, "joined": 1700} == states(store)
    assert ["mail.overflowed"] * 4 == [entry["event"] for entry in logs]
    message = overflow(store)
    assert "There are more reports about your user files than we mail" == message["Subject"]
    assert "of the hour from 2026-11-22 07:00 UTC on" in message.get_content()
    assert "the folder .bak has one for each file" in message.get_content()
    assert [] == [finding for finding in integrity.outbox_findings(store.conn, NOW) if finding.is_grave]


def test_large_mails_are_bounded_by_their_size(store: Store) -> None:
    """No more is kept waiting for a client than some mails of the largest size."""
    put(store, *(a_letter(number, attached=b"x" * (5 << 20)) for number in range(20)))
    (size_bytes,) = store.conn.execute("SELECT sum(length(body)) FROM outbox").fetchone()
    assert size_bytes < 48 << 20


def test_a_flood_of_one_client_leaves_room_for_others(store: Store) -> None:
    """What waits for one client costs no other a mail."""
    put(store, *(a_letter(number) for number in range(300)))
    put(store, a_letter(1, client="beta"))
    assert 1 == queries.mails_by_client(store.conn, "waiting")["beta"]


def test_a_flood_ends_in_a_digest_that_tells_of_the_rest(store: Store) -> None:
    """After a flood what waited leaves as digests, the last of which says that there was more; then nothing waits."""
    put(store, *(a_letter(number) for number in range(1000)))
    now, texts = NOW, []
    while mail := outbox.take(store, now):
        texts.append(mail.body)
        outbox.record(store, Delivery(mail=mail), now)
        now += 5 * MINUTE
    assert 2 == len(texts)
    last = email.message_from_bytes(texts[-1], policy=email.policy.default)
    assert "This mail replaces all further ones" in " ".join(last.get_content().split())
    assert "waiting" not in states(store)
    assert [] == list(integrity.outbox_findings(store.conn, NOW))


def test_refusals_for_good_pile_up_no_more_than_one_an_hour(store: Store) -> None:
    """A client whose address the server refuses gets a bounded number of mails, however many files it uploads."""
    for minute in range(300):
        now = NOW + minute * MINUTE
        put(store, a_letter(minute, at=now))
        while mail := outbox.take(store, now):
            outbox.record(store, failed(mail, "550", permanent=True), now)
    assert states(store)["waiting"] <= 100 + 5


def test_reports_to_the_operator_are_bounded_likewise(store: Store) -> None:
    """Beyond a hundred waiting mails to the operator one an hour says that the log has the rest."""
    put(store, *(a_letter(number, client="") for number in range(150)))
    assert {"waiting": 101, "joined": 50} == states(store)
    assert "The log has all of them" in overflow(store).get_content()


# What it costs


def crowd(store: Store, count: int) -> None:
    """Let so many mails wait, and as many have been sent, as an older version let them."""
    body = compose(a_letter(1))
    with store.transaction():
        for state, sent_at in (("waiting", None), ("sent", stamp(NOW - HOUR))):
            store.conn.executemany(
                "INSERT INTO outbox (message_id, client, claim_id, sender, recipients, subject, state, created_at,"
                " due_at, sent_at, body) VALUES"
                " (?, 'acme', ?, 'rosterd@example.org', '[\"ann@acme.example\"]', 's', ?, ?, ?, ?, ?)",
                (
                    (f"<{state}{n}@x>", f"{state}{n}", state, stamp(NOW), stamp(NOW), sent_at, body)
                    for n in range(count)
                ),
            )


def steps(store: Store, work: Callable[[], object]) -> int:
    """Return how many steps of SQLite's machine some work takes."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    assert isinstance(store.conn, SqliteConnection)
    store.conn.set_progress_handler(count, 10)
    try:
        work()
    finally:
        store.conn.set_progress_handler(None, 0)
    return counted


WORK: dict[str, Callable[[Store], object]] = {
    "due": lambda store: outbox.due(store, NOW),
    "nobody's turn": lambda store: outbox.due(store, NOW - HOUR),
    "take": lambda store: outbox.take(store, NOW),
    "add": lambda store: outbox.add(store, a_letter(1)),
    "sent": lambda store: table.forget(store.conn, NOW),
    "purge": lambda store: retention.forget_mails(store, "acme", NOW - HOUR),
    "show": lambda store: queries.mails_of(store.conn, "sent1"),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_a_look_costs_the_same_however_much_waits(tmp_path: Path, work: Callable[[Store], object]) -> None:
    """What is asked of the outbox again and again takes no more steps with twenty times as many mails."""
    taken = []
    for size in SIZES:
        store = SqliteStore.open(tmp_path / f"{size}.db")
        try:
            crowd(store, size)
            taken.append(steps(store, lambda store=store: work(store)))  # type: ignore[misc]
        finally:
            store.close()
    assert taken[1] <= 1.5 * taken[0] + 10
