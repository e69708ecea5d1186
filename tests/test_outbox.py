from __future__ import annotations

import email
import queue
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlite_utils import Database
from structlog.testing import capture_logs

from importer.durable import SyncFailed
from importer.mail import outbox
from importer.mail.outbox import Delivery, Letter, Mail, OutboxPump, Sender, failed
from importer.store.database import Store
from tests.lab import wait_until

NOW = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    store = Store.open(tmp_path / "rosterd.db")
    yield store.db
    store.close()


def a_letter(number: int = 1, *, client: str = "acme", to: tuple[str, ...] = ("ann@acme.example",)) -> Letter:
    return Letter(
        message_id=f"<{client}.{number}@example.org>",
        client=client,
        claim_id=f"claim-{number}",
        sender="rosterd@example.org",
        recipients=to,
        subject=f"report {number}",
        text=f"File {number} could not be imported whole.\n",
        attachments=((f"users{number}.failed.csv", f"\ufeffunique_id\r\né{number}\r\n".encode()),),
        written_at=NOW,
    )


def add(db: Database, *letters: Letter) -> None:
    for letter in letters:
        outbox.add(db, letter)


def taken(db: Database, now: datetime) -> Mail:
    mail = outbox.take(db, now)
    assert mail is not None
    return mail


def rows(db: Database, columns: str) -> list[tuple[object, ...]]:
    return db.execute(f"SELECT {columns} FROM outbox ORDER BY id").fetchall()  # noqa: S608 - columns of these tests


def parsed(body: bytes) -> EmailMessage:
    return email.message_from_bytes(body, policy=policy.SMTP)


def text_of(message: EmailMessage) -> str:
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def attachments_of(message: EmailMessage) -> list[tuple[str | None, object]]:
    return [(part.get_filename(), part.get_payload(decode=True)) for part in message.iter_attachments()]


# --- what a mail looks like


def test_a_letter_becomes_a_mail_that_is_read_back_whole() -> None:
    """Headers, text and attachments come out of the finished bytes as they went in."""
    letter = a_letter()
    message = parsed(outbox.compose(letter))
    assert {name: value for name, value in message.items() if not name.startswith(("MIME-", "Content-"))} == {
        "From": "rosterd@example.org",
        "Reply-To": "rosterd@example.org",
        "To": "ann@acme.example",
        "Subject": "report 1",
        "Date": "Sun, 22 Nov 2026 07:42:05 +0000",
        "Message-ID": "<acme.1@example.org>",
        "Auto-Submitted": "auto-generated",
    }
    assert letter.text == text_of(message).replace("\r\n", "\n")
    assert list(letter.attachments) == attachments_of(message)
    assert [part["Content-Type"] for part in message.iter_attachments()] == ['text/csv; charset="utf-8"']


def test_a_letter_without_attachments_is_plain_text() -> None:
    """Nothing is wrapped around a text that stands alone."""
    letter = msgspec.structs.replace(a_letter(), attachments=())
    assert parsed(outbox.compose(letter)).get_content_type() == "text/plain"


def test_a_letter_has_one_form() -> None:
    """The same letter composed twice is the same bytes."""
    assert outbox.compose(a_letter()) == outbox.compose(a_letter())


def test_finished_bytes_are_ascii_in_lines_every_server_takes() -> None:
    """The bytes are ASCII, end every line with CRLF and keep lines under 78 characters, whatever the text is."""
    letter = msgspec.structs.replace(a_letter(), text="é" * 5000 + "\r\n.\r\nFrom here\n" + "x" * 5000)
    lines = outbox.compose(letter).split(b"\n")
    assert lines.pop() == b""
    assert all(line.endswith(b"\r") and line.isascii() and len(line) < 80 for line in lines)


@given(st.text())
def test_no_subject_can_break_out_of_its_header(subject: str) -> None:
    """Any text makes a subject of one line of ASCII, and no header besides."""
    message = parsed(outbox.compose(msgspec.structs.replace(a_letter(), subject=subject)))
    assert message["Subject"].isascii()
    assert message["Bcc"] is None
    assert len(message["Subject"]) <= 120


def test_a_subject_with_a_line_break_stays_one_header() -> None:
    """CR LF and a header in the subject are shown, not obeyed."""
    assert outbox.safe_subject("a\r\nBcc: eve@example.org é") == "a??Bcc: eve@example.org ?"


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("users.20261122T074205Z.failed.csv", "users.20261122T074205Z.failed.csv"),
        ("élèves 2.csv", "élèves 2.csv"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ('a"b\r\n\u202e;.csv', "a_b____.csv"),
        ("..", "_"),
        ("x" * 300 + ".csv", "x" * 146 + ".csv"),
    ],
    ids=["plain", "letters", "path", "hostile", "dots", "long"],
)
def test_an_attachment_has_a_name_that_can_be_saved(name: str, safe: str) -> None:
    """A file name keeps letters and its end; what a path, header or terminal could obey is replaced."""
    letter = msgspec.structs.replace(a_letter(), attachments=((name, b"x"),))
    assert [(safe, b"x")] == attachments_of(parsed(outbox.compose(letter)))


# --- rows and attempts


def test_mail_exists_only_if_its_import_does(db: Database) -> None:
    """A mail added in a transaction that is rolled back was never there."""
    db.begin()
    add(db, a_letter())
    db.rollback()
    assert outbox.due(db, NOW) is None


def test_a_message_id_is_used_once(db: Database) -> None:
    """The same Message-ID for a second mail is an error, not a second mail."""
    add(db, a_letter())
    with pytest.raises(sqlite3.IntegrityError):
        add(db, a_letter())


def test_a_sent_mail_is_done(db: Database) -> None:
    """After success the mail is sent, and logged with whose it was."""
    add(db, a_letter())
    mail = taken(db, NOW)
    with capture_logs() as logs:
        outbox.record(db, Delivery(mail=mail), NOW)
    assert rows(db, "state, attempts, sent_at") == [("sent", 1, "2026-11-22T07:42:05Z")]
    assert logs == [
        {
            "event": "mail.sent",
            "log_level": "info",
            "client": "acme",
            "claim_id": "claim-1",
            "message_id": "<acme.1@example.org>",
            "attempts": 1,
        }
    ]
    assert outbox.due(db, NOW + DAY) is None


def test_a_failed_mail_is_tried_again_as_it_was(db: Database) -> None:
    """After a failure the same bytes with the same Message-ID are due one minute later, not before."""
    add(db, a_letter())
    first = taken(db, NOW)
    with capture_logs() as logs:
        outbox.record(db, failed(first, "451"), NOW)
    assert outbox.due(db, NOW + MINUTE - timedelta(seconds=1)) is None
    second = taken(db, NOW + MINUTE)
    assert (first.message_id, first.body, 2) == (second.message_id, second.body, second.attempts)
    assert [(entry["event"], entry["log_level"], entry["reason"]) for entry in logs] == [
        ("mail.deferred", "warning", "451")
    ]


def test_the_back_off_doubles_from_a_minute_to_an_hour() -> None:
    """The pauses are 1, 2, 4 ... minutes and never more than an hour; an hour at once when refused for good."""
    pauses = [outbox.retry_delay(attempts, permanent=False) // MINUTE for attempts in (*range(1, 9), 100_000)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert outbox.retry_delay(1, permanent=True) == HOUR


def test_a_permanent_refusal_is_loud_at_once(db: Database) -> None:
    """A mail refused for good is an error in the log at the first attempt, and tried hourly: operators mend relays."""
    add(db, a_letter())
    with capture_logs() as logs:
        outbox.record(db, failed(taken(db, NOW), "550", permanent=True), NOW)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("mail.deferred", "error")]
    assert outbox.due(db, NOW + HOUR - MINUTE) is None
    assert outbox.due(db, NOW + HOUR) is not None


def test_a_mail_is_dead_and_loud_after_seven_days(db: Database) -> None:
    """A mail that fails for seven days is tried until then, ends as dead with its last reason, and stays."""
    add(db, a_letter())
    now = NOW
    with capture_logs() as logs:
        while (mail := outbox.take(db, now)) is not None:
            outbox.record(db, failed(mail, "ConnectionRefusedError"), now)
            now = datetime.fromisoformat(str(rows(db, "due_at")[0][0]))
    assert rows(db, "state, last_error") == [("dead", "ConnectionRefusedError")]
    assert (logs[-1]["event"], logs[-1]["log_level"]) == ("mail.dead", "error")
    assert timedelta(days=7) <= now - NOW <= timedelta(days=7) + 2 * HOUR
    assert rows(db, "length(body) > 0") == [(1,)]


def test_age_alone_buries_no_mail(db: Database) -> None:
    """After two weeks switched off, or a jump of the clock, a mail still gets its attempts."""
    add(db, a_letter())
    later = NOW + 14 * DAY
    outbox.record(db, failed(taken(db, later), "451"), later)
    assert rows(db, "state") == [("waiting",)]


def test_a_clock_put_back_does_not_hold_mail(db: Database) -> None:
    """Times written under a clock that was years ahead neither postpone a mail nor count as just sent."""
    add(db, a_letter(1), a_letter(2, client="beta"))
    ahead = NOW + 1000 * DAY
    outbox.record(db, Delivery(mail=taken(db, ahead)), ahead)
    outbox.record(db, failed(taken(db, ahead), "451"), ahead)
    assert taken(db, NOW).attempts == 2
    add(db, a_letter(3))
    assert taken(db, NOW).claim_id == "claim-3"


def test_whoever_took_the_mail_is_not_sent_it_again(db: Database) -> None:
    """After a partial refusal only the refused recipients are left, and the rest is not told twice."""
    add(db, a_letter(to=("ann@acme.example", "bob@acme.example")))
    mail = taken(db, NOW)
    with capture_logs() as logs:
        outbox.record(db, Delivery(mail=mail, refused=("bob@acme.example",), reason="450"), NOW)
    assert [(entry["delivered"], entry["refused"]) for entry in logs] == [(1, 1)]
    again = taken(db, NOW + 5 * MINUTE)
    assert (("bob@acme.example",), mail.body) == (again.recipients, again.body)


def test_logs_name_no_recipient_and_no_content(db: Database) -> None:
    """Neither addresses nor subject nor text reach the log, however a mail ends."""
    add(db, a_letter())
    with capture_logs() as logs:
        mail = taken(db, NOW)
        outbox.record(db, failed(mail, "450"), NOW)
        outbox.record(db, Delivery(mail=mail), NOW)
    assert not [word for word in ("ann@", "report", "File 1", "é") if word in str(logs)]


def test_bodies_of_sent_mail_are_forgotten_after_two_weeks(db: Database) -> None:
    """What was sent long ago is emptied of what it said; what waits is not."""
    add(db, a_letter(1), a_letter(2, client="beta"))
    outbox.record(db, Delivery(mail=taken(db, NOW)), NOW)
    outbox.record(db, failed(taken(db, NOW), "451"), NOW)
    outbox.forget(db, NOW + 15 * DAY)
    assert rows(db, "state, length(body) > 0") == [("sent", 0), ("waiting", 1)]


# --- limits and digest


def test_a_client_gets_one_mail_in_five_minutes_and_the_rest_as_a_digest(db: Database) -> None:
    """The first report leaves at once; those of the next five minutes leave together in one mail."""
    add(db, a_letter(1))
    outbox.record(db, Delivery(mail=taken(db, NOW)), NOW)
    add(db, a_letter(2), a_letter(3))
    assert outbox.take(db, NOW + 5 * MINUTE - timedelta(seconds=1)) is None
    with capture_logs() as logs:
        both = taken(db, NOW + 5 * MINUTE)
    assert (both.message_id, both.subject, both.attempts) == ("<digest.acme.2@example.org>", "2 reports for acme", 1)
    assert rows(db, "state, joined_into") == [("sent", None), ("joined", 4), ("joined", 4), ("waiting", None)]
    assert [(entry["event"], entry["claim_id"]) for entry in logs] == [
        ("mail.joined", "claim-2"),
        ("mail.joined", "claim-3"),
    ]


def test_a_digest_carries_all_that_its_mails_said(db: Database) -> None:
    """Each report's full text and each attachment, byte for byte, is in the digest, in order."""
    letters = [a_letter(number) for number in (1, 2, 3)]
    add(db, *letters)
    message = parsed(taken(db, NOW).body)
    text = text_of(message).replace("\r\n", "\n")
    places = [text.index(part) for letter in letters for part in (letter.subject, letter.text)]
    assert sorted(places) == places
    assert [letter.attachments[0] for letter in letters] == attachments_of(message)
    assert message["To"] == "ann@acme.example"


def test_a_digest_is_retried_as_it_was(db: Database) -> None:
    """A digest once tried takes in nothing more: its bytes and Message-ID stay."""
    add(db, a_letter(1), a_letter(2))
    first = taken(db, NOW)
    outbox.record(db, failed(first, "451"), NOW)
    add(db, a_letter(3))
    again = taken(db, NOW + MINUTE)
    assert (first.id, first.body) == (again.id, again.body)


def test_mails_to_other_people_join_no_digest(db: Database) -> None:
    """Reports are joined only when they go to the same recipients."""
    add(db, a_letter(1), a_letter(2, to=("new@acme.example",)), a_letter(3))
    assert taken(db, NOW).recipients == ("ann@acme.example",)
    assert [state for (state,) in rows(db, "state")] == ["joined", "waiting", "joined", "waiting"]


def test_an_outage_ends_in_two_mails_not_in_a_flood(db: Database) -> None:
    """While a client's oldest mail is being retried the newer ones wait, and leave as one digest after it."""
    add(db, a_letter(1))
    outbox.record(db, failed(taken(db, NOW), "ConnectionRefusedError"), NOW)
    add(db, *(a_letter(number) for number in range(2, 30)))
    assert outbox.due(db, NOW + MINUTE / 2) is None
    mail = taken(db, NOW + MINUTE)
    assert mail.claim_id == "claim-1"
    outbox.record(db, Delivery(mail=mail), NOW + MINUTE)
    assert taken(db, NOW + 6 * MINUTE).subject == "28 reports for acme"


def test_a_mail_refused_for_good_holds_up_no_other(db: Database) -> None:
    """A client's next report does not wait behind one that the server will never take."""
    add(db, a_letter(1))
    outbox.record(db, failed(taken(db, NOW), "554", permanent=True), NOW)
    add(db, a_letter(2))
    assert taken(db, NOW).claim_id == "claim-2"


def test_a_digest_is_bounded_and_the_rest_follows(db: Database) -> None:
    """A digest takes in so many mails as its limits allow; a mail that is too big for one leaves alone."""
    add(db, *(a_letter(number) for number in range(1, outbox.MAX_DIGEST_MAILS + 3)))
    assert taken(db, NOW).subject == f"{outbox.MAX_DIGEST_MAILS} reports for acme"
    huge = msgspec.structs.replace(a_letter(1, client="beta"), attachments=(("a.csv", b"x" * outbox.MAX_DIGEST_BYTES),))
    add(db, huge, a_letter(2, client="beta"))
    assert taken(db, NOW).message_id == huge.message_id


def test_sixty_mails_an_hour_leave_in_all(db: Database) -> None:
    """Whoever they are for, sixty mails leave in an hour; the next waits until the first is an hour old."""
    add(db, *(a_letter(1, client=f"client{number}") for number in range(61)))
    for second in range(60):
        now = NOW + timedelta(seconds=second)
        outbox.record(db, Delivery(mail=taken(db, now)), now)
    assert outbox.due(db, NOW + HOUR - timedelta(seconds=1)) is None
    assert outbox.due(db, NOW + HOUR) is not None


def test_one_clients_window_holds_up_no_other_client(db: Database) -> None:
    """The limit of one client leaves the mail of another alone."""
    add(db, a_letter(1))
    outbox.record(db, Delivery(mail=taken(db, NOW)), NOW)
    add(db, a_letter(2), a_letter(3, client="beta"))
    assert taken(db, NOW).client == "beta"


# --- sender and pump


class Relay:
    """A transport whose answers are given by the test, one for each mail."""

    def __init__(self) -> None:
        self.asked: list[Mail] = []
        self.answers: queue.SimpleQueue[Delivery | Exception] = queue.SimpleQueue()

    def __call__(self, mail: Mail) -> Delivery:
        """Wait for the test's answer and give it."""
        self.asked.append(mail)
        answer = self.answers.get(timeout=10)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
def pump(relay: Relay, db: Database) -> Iterator[OutboxPump]:
    sender = Sender(relay)
    sender.start()
    pump = OutboxPump(sender)
    yield pump
    pump.close(db, NOW)


def test_the_pump_delivers_and_records(db: Database, relay: Relay, pump: OutboxPump) -> None:
    """What is due is handed to the sender, and what the sender answers is in the database."""
    add(db, a_letter())
    assert pump.pump(db, NOW)
    (mail,) = wait_until(lambda: relay.asked, "the attempt")
    relay.answers.put(Delivery(mail=mail))
    wait_until(lambda: not pump.pump(db, NOW), "the answer")
    assert rows(db, "state") == [("sent",)]


def test_one_due_time_is_one_attempt(db: Database, relay: Relay, pump: OutboxPump) -> None:
    """However often the pump turns, a mail under way is not handed over again, not even when it is due again."""
    add(db, a_letter())
    for minutes in range(100):
        assert pump.pump(db, NOW + minutes * MINUTE)
    (mail,) = wait_until(lambda: relay.asked, "the attempt")
    relay.answers.put(failed(mail, "451"))
    wait_until(lambda: not pump.pump(db, NOW), "the answer")
    assert len(relay.asked) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "ENOSPC"),
        (TimeoutError("ann@acme.example"), "TimeoutError"),
        (KeyError("ann@acme.example"), "KeyError"),
    ],
    ids=["disk full", "timeout", "unexpected"],
)
def test_no_error_ends_the_sending(db: Database, relay: Relay, pump: OutboxPump, error: Exception, reason: str) -> None:
    """Whatever a transport raises defers that mail under the name of the error, and the next mail leaves."""
    add(db, a_letter(1), a_letter(2, client="beta"))
    relay.answers.put(error)
    wait_until(lambda: pump.pump(db, NOW) and len(relay.asked) == 2, "the second attempt")
    relay.answers.put(Delivery(mail=relay.asked[1]))
    wait_until(lambda: not pump.pump(db, NOW), "the answer")
    assert [("waiting", reason), ("sent", "")] == rows(db, "state, last_error")


def test_a_sync_that_failed_reaches_who_owns_the_process(db: Database, relay: Relay, pump: OutboxPump) -> None:
    """A Maildir whose disk fails is no matter of one mail: the pump raises what the sender met; the mail waits."""
    add(db, a_letter())
    relay.answers.put(SyncFailed("the disk failed"))
    with pytest.raises(SyncFailed):
        wait_until(lambda: not pump.pump(db, NOW), "the error")
    assert rows(db, "state") == [("waiting",)]


def test_an_answer_outlives_a_database_that_is_unwilling(db: Database, relay: Relay, pump: OutboxPump) -> None:
    """When an answer cannot be recorded the error rises, and the next turn records it: the mail is not sent twice."""
    add(db, a_letter())
    pump.pump(db, NOW)
    (mail,) = wait_until(lambda: relay.asked, "the attempt")
    db.execute("PRAGMA query_only = 1")
    relay.answers.put(Delivery(mail=mail))
    with pytest.raises(sqlite3.OperationalError):
        wait_until(lambda: not pump.pump(db, NOW), "the error")
    db.execute("PRAGMA query_only = 0")
    assert not pump.pump(db, NOW)
    assert rows(db, "state") == [("sent",)]


def test_a_crash_during_delivery_costs_one_back_off(db: Database) -> None:
    """A process that dies with a mail in hand leaves it waiting, its attempt counted, due after the first pause."""
    add(db, a_letter())
    first = taken(db, NOW)
    assert outbox.due(db, NOW) is None
    assert (first.body, 2) == ((again := taken(db, NOW + MINUTE)).body, again.attempts)


def test_stopping_does_not_wait_for_a_silent_server(db: Database, relay: Relay) -> None:
    """Closing returns within the time given, and the mail in hand is still waiting."""
    sender = Sender(relay)
    sender.start()
    pump = OutboxPump(sender)
    add(db, a_letter())
    pump.pump(db, NOW)
    (mail,) = wait_until(lambda: relay.asked, "the attempt")
    sender.close(wait_s=0.05)
    assert sender.answer() is None
    assert rows(db, "state") == [("waiting",)]
    relay.answers.put(failed(mail, "451"))  # lets the thread end


def test_closing_records_the_last_answer(db: Database, relay: Relay) -> None:
    """A mail whose delivery ends while the service stops is recorded as sent."""
    sender = Sender(relay)
    sender.start()
    pump = OutboxPump(sender)
    add(db, a_letter())
    pump.pump(db, NOW)
    (mail,) = wait_until(lambda: relay.asked, "the attempt")
    relay.answers.put(Delivery(mail=mail))
    pump.close(db, NOW)
    assert rows(db, "state") == [("sent",)]
