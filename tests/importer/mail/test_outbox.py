from __future__ import annotations

import email
import queue
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from importer.durable import SyncFailed
from importer.mail import outbox
from importer.mail.channel import Delivery, failed
from importer.mail.letter import compose, safe_subject
from importer.model import Letter, Mail
from importer.sending.retry import retry_delay
from importer.sending.sender import Pump, Sender
from importer.store import mail_queue as table
from importer.store.database import Store
from importer.store.errors import StoreError, StoreReadOnly
from importer.store.sqlite.database import SqliteStore
from tests.lab import wait_until

NOW = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

MailPump = Pump[Mail, Delivery]


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


def add(store: Store, *letters: Letter) -> None:
    for letter in letters:
        outbox.add(store, letter)


def taken(store: Store, now: datetime) -> Mail:
    mail = outbox.take(store, now)
    assert mail is not None
    return mail


def rows(store: Store, columns: str) -> list[tuple[object, ...]]:
    return store.conn.execute(f"SELECT {columns} FROM outbox ORDER BY id").fetchall()  # noqa: S608 - columns of these tests


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
    message = parsed(compose(letter))
    assert {name: value for name, value in message.items() if not name.startswith(("MIME-", "Content-"))} == {
        "From": "rosterd@example.org",
        "Reply-To": "rosterd@example.org",
        "To": "ann@acme.example",
        "Subject": "report 1",
        "Date": "Sun, 22 Nov 2026 07:42:05 +0000",
        "Message-ID": "<acme.1@example.org>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "OOF, AutoReply",
    }
    assert letter.text == text_of(message).replace("\r\n", "\n")
    assert list(letter.attachments) == attachments_of(message)
    assert [part["Content-Type"] for part in message.iter_attachments()] == ['text/csv; charset="utf-8"']


def test_a_letter_without_attachments_is_plain_text() -> None:
    """Nothing is wrapped around a text that stands alone."""
    letter = msgspec.structs.replace(a_letter(), attachments=())
    assert parsed(compose(letter)).get_content_type() == "text/plain"


def test_a_letter_has_one_form() -> None:
    """The same letter composed twice is the same bytes."""
    assert compose(a_letter()) == compose(a_letter())


def test_finished_bytes_are_ascii_in_lines_every_server_takes() -> None:
    """The bytes are ASCII, end every line with CRLF and keep lines under 78 characters, whatever the text is."""
    letter = msgspec.structs.replace(a_letter(), text="é" * 5000 + "\r\n.\r\nFrom here\n" + "x" * 5000)
    lines = compose(letter).split(b"\n")
    assert lines.pop() == b""
    assert all(line.endswith(b"\r") and line.isascii() and len(line) < 80 for line in lines)


HOSTILE = st.text('aé \u05d0\u202e=?_.,"<>\r\n:', max_size=300)


@given(subject=st.text() | HOSTILE)
def test_any_subject_is_one_header_that_is_read_back_whole(subject: str) -> None:
    """Any text makes a subject of one line, that mail programs show as it was meant, and no header besides."""
    body = compose(msgspec.structs.replace(a_letter(), subject=subject))
    message = parsed(body)
    assert safe_subject(subject).strip() == message["Subject"].strip()
    assert message["Bcc"] is None
    assert message["To"] == "ann@acme.example"
    assert len(message["Subject"]) <= 250
    lines = body.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert all(line.isascii() and len(line) <= 78 for line in lines)


@pytest.mark.parametrize(
    ("subject", "safe"),
    [
        ("a\r\nBcc: eve@example.org é", "a??Bcc: eve@example.org é"),
        ("=?utf-8?q?a=0D=0ABcc:_eve?=", "=_?utf-8?q?a=0D=0ABcc:_eve?="),
        ("users\u202evsc.csv", "users?vsc.csv"),
    ],
    ids=["line break", "encoded line break", "right to left"],
)
def test_nothing_in_a_subject_is_obeyed(subject: str, safe: str) -> None:
    """Line breaks, encoded words and marks of direction are shown, or replaced."""
    assert safe == safe_subject(subject)


@given(name=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=60))
def test_a_sender_may_have_any_name(name: str) -> None:
    """The name of the sender is read back whole, and its address stays what it is."""
    message = parsed(compose(msgspec.structs.replace(a_letter(), sender_name=name)))
    assert [("rosterd", "example.org")] == [(each.username, each.domain) for each in message["From"].addresses]
    assert "rosterd@example.org" == message["Reply-To"]


def test_a_letter_in_html_has_the_same_as_text() -> None:
    """A mail program shows the part that it prefers; attachments are beside both, and the bytes have one form."""
    letter = msgspec.structs.replace(a_letter(), html="<p>File é</p>\n", sender_name="Études", languages=("en", "fr"))
    message = parsed(compose(letter))
    assert compose(letter) == compose(letter)
    assert ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/csv"] == [
        part.get_content_type() for part in message.walk()
    ]
    html = message.get_body(("html",))
    assert html is not None
    assert letter.html == html.get_content().replace("\r\n", "\n")
    assert letter.text == text_of(message).replace("\r\n", "\n")
    assert ("Études <rosterd@example.org>", "en, fr") == (message["From"], message["Content-Language"])


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
    assert [(safe, b"x")] == attachments_of(parsed(compose(letter)))


# --- rows and attempts


def test_mail_exists_only_if_its_import_does(store: Store) -> None:
    """A mail added in a transaction that is rolled back was never there."""
    store.conn.execute("BEGIN")
    add(store, a_letter())
    store.conn.execute("ROLLBACK")
    assert outbox.due(store, NOW) is None


def test_a_message_id_is_used_once(store: Store) -> None:
    """The same Message-ID for a second mail is an error, not a second mail."""
    add(store, a_letter())
    with pytest.raises(StoreError, match=r"UNIQUE|unique"):
        add(store, a_letter())


def test_a_sent_mail_is_done(store: Store) -> None:
    """After success the mail is sent, and logged with whose it was."""
    add(store, a_letter())
    mail = taken(store, NOW)
    with capture_logs() as logs:
        outbox.record(store, Delivery(mail=mail), NOW)
    assert rows(store, "state, attempts, sent_at") == [("sent", 1, "2026-11-22T07:42:05Z")]
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
    assert outbox.due(store, NOW + DAY) is None


def test_a_failed_mail_is_tried_again_as_it_was(store: Store) -> None:
    """After a failure the same bytes with the same Message-ID are due one minute later, not before."""
    add(store, a_letter())
    first = taken(store, NOW)
    with capture_logs() as logs:
        outbox.record(store, failed(first, "451"), NOW)
    assert outbox.due(store, NOW + MINUTE - timedelta(seconds=1)) is None
    second = taken(store, NOW + MINUTE)
    assert (first.message_id, first.body, 2) == (second.message_id, second.body, second.attempts)
    assert [(entry["event"], entry["log_level"], entry["reason"]) for entry in logs] == [
        ("mail.deferred", "warning", "451")
    ]


def test_the_back_off_doubles_from_a_minute_to_an_hour() -> None:
    """The pauses are 1, 2, 4 ... minutes and never more than an hour; an hour at once when refused for good."""
    pauses = [retry_delay(attempts, permanent=False) // MINUTE for attempts in (*range(1, 9), 100_000)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert retry_delay(1, permanent=True) == HOUR


def test_a_permanent_refusal_is_loud_at_once(store: Store) -> None:
    """A mail refused for good is an error in the log at the first attempt, and tried hourly: operators mend relays."""
    add(store, a_letter())
    with capture_logs() as logs:
        outbox.record(store, failed(taken(store, NOW), "550", permanent=True), NOW)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("mail.deferred", "error")]
    assert outbox.due(store, NOW + HOUR - MINUTE) is None
    assert outbox.due(store, NOW + HOUR) is not None


def test_a_mail_is_dead_and_loud_after_seven_days(store: Store) -> None:
    """A mail that fails for seven days is tried until then, ends as dead with its last reason, and stays."""
    add(store, a_letter())
    now = NOW
    with capture_logs() as logs:
        while (mail := outbox.take(store, now)) is not None:
            outbox.record(store, failed(mail, "ConnectionRefusedError"), now)
            now = datetime.fromisoformat(str(rows(store, "due_at")[0][0]))
    assert rows(store, "state, last_error") == [("dead", "ConnectionRefusedError")]
    assert (logs[-1]["event"], logs[-1]["log_level"]) == ("mail.dead", "error")
    assert timedelta(days=7) <= now - NOW <= timedelta(days=7) + 2 * HOUR
    assert rows(store, "length(body) > 0") == [(1,)]


def test_age_alone_buries_no_mail(store: Store) -> None:
    """After two weeks switched off, or a jump of the clock, a mail still gets its attempts."""
    add(store, a_letter())
    later = NOW + 14 * DAY
    outbox.record(store, failed(taken(store, later), "451"), later)
    assert rows(store, "state") == [("waiting",)]


def test_a_clock_put_back_does_not_hold_mail(store: Store) -> None:
    """Times written under a clock that was years ahead neither postpone a mail nor count as just sent."""
    add(store, a_letter(1), a_letter(2, client="beta"))
    ahead = NOW + 1000 * DAY
    outbox.record(store, Delivery(mail=taken(store, ahead)), ahead)
    outbox.record(store, failed(taken(store, ahead), "451"), ahead)
    assert taken(store, NOW).attempts == 2
    add(store, a_letter(3))
    assert taken(store, NOW).claim_id == "claim-3"


def test_whoever_took_the_mail_is_not_sent_it_again(store: Store) -> None:
    """After a partial refusal only the refused recipients are left, and the rest is not told twice."""
    add(store, a_letter(to=("ann@acme.example", "bob@acme.example")))
    mail = taken(store, NOW)
    with capture_logs() as logs:
        outbox.record(store, Delivery(mail=mail, refused=("bob@acme.example",), reason="450"), NOW)
    assert [(entry["delivered"], entry["refused"]) for entry in logs] == [(1, 1)]
    again = taken(store, NOW + 5 * MINUTE)
    assert (("bob@acme.example",), mail.body) == (again.recipients, again.body)


def test_logs_name_no_recipient_and_no_content(store: Store) -> None:
    """Neither addresses nor subject nor text reach the log, however a mail ends."""
    add(store, a_letter())
    with capture_logs() as logs:
        mail = taken(store, NOW)
        outbox.record(store, failed(mail, "450"), NOW)
        outbox.record(store, Delivery(mail=mail), NOW)
    assert not [word for word in ("ann@", "report", "File 1", "é") if word in str(logs)]


def test_bodies_of_sent_mail_are_forgotten_after_two_weeks(store: Store) -> None:
    """What was sent long ago is emptied of what it said; what waits is not."""
    add(store, a_letter(1), a_letter(2, client="beta"))
    outbox.record(store, Delivery(mail=taken(store, NOW)), NOW)
    outbox.record(store, failed(taken(store, NOW), "451"), NOW)
    table.forget(store.conn, NOW + 15 * DAY)
    assert rows(store, "state, length(body) > 0") == [("sent", 0), ("waiting", 1)]


# --- limits and digest


def test_a_client_gets_one_mail_in_five_minutes_and_the_rest_as_a_digest(store: Store) -> None:
    """The first report leaves at once; those of the next five minutes leave together in one mail."""
    add(store, a_letter(1))
    outbox.record(store, Delivery(mail=taken(store, NOW)), NOW)
    add(store, a_letter(2), a_letter(3))
    assert outbox.take(store, NOW + 5 * MINUTE - timedelta(seconds=1)) is None
    with capture_logs() as logs:
        both = taken(store, NOW + 5 * MINUTE)
    assert (both.message_id, both.subject, both.attempts) == (
        "<digest.acme.2@example.org>",
        "2 reports about your user files",
        1,
    )
    assert rows(store, "state, joined_into") == [("sent", None), ("joined", 4), ("joined", 4), ("waiting", None)]
    assert [(entry["event"], entry["claim_id"]) for entry in logs] == [
        ("mail.joined", "claim-2"),
        ("mail.joined", "claim-3"),
    ]


def test_a_digest_carries_all_that_its_mails_said(store: Store) -> None:
    """Each report's full text and each attachment, byte for byte, is in the digest, in order."""
    letters = [a_letter(number) for number in (1, 2, 3)]
    add(store, *letters)
    message = parsed(taken(store, NOW).body)
    text = text_of(message).replace("\r\n", "\n")
    places = [text.index(part) for letter in letters for part in (letter.subject, letter.text)]
    assert sorted(places) == places
    assert [letter.attachments[0] for letter in letters] == attachments_of(message)
    assert message["To"] == "ann@acme.example"


def test_a_digest_is_retried_as_it_was(store: Store) -> None:
    """A digest once tried takes in nothing more: its bytes and Message-ID stay."""
    add(store, a_letter(1), a_letter(2))
    first = taken(store, NOW)
    outbox.record(store, failed(first, "451"), NOW)
    add(store, a_letter(3))
    again = taken(store, NOW + MINUTE)
    assert (first.id, first.body) == (again.id, again.body)


def test_mails_to_other_people_join_no_digest(store: Store) -> None:
    """Reports are joined only when they go to the same recipients."""
    add(store, a_letter(1), a_letter(2, to=("new@acme.example",)), a_letter(3))
    assert taken(store, NOW).recipients == ("ann@acme.example",)
    assert [state for (state,) in rows(store, "state")] == ["joined", "waiting", "joined", "waiting"]


def test_an_outage_ends_in_two_mails_not_in_a_flood(store: Store) -> None:
    """While a client's oldest mail is being retried the newer ones wait, and leave as one digest after it."""
    add(store, a_letter(1))
    outbox.record(store, failed(taken(store, NOW), "ConnectionRefusedError"), NOW)
    add(store, *(a_letter(number) for number in range(2, 30)))
    assert outbox.due(store, NOW + MINUTE / 2) is None
    mail = taken(store, NOW + MINUTE)
    assert mail.claim_id == "claim-1"
    outbox.record(store, Delivery(mail=mail), NOW + MINUTE)
    assert taken(store, NOW + 6 * MINUTE).subject == "28 reports about your user files"


def test_a_mail_refused_for_good_holds_up_no_other(store: Store) -> None:
    """A client's next report does not wait behind one that the server will never take."""
    add(store, a_letter(1))
    outbox.record(store, failed(taken(store, NOW), "554", permanent=True), NOW)
    add(store, a_letter(2))
    assert taken(store, NOW).claim_id == "claim-2"


def test_a_digest_is_bounded_and_the_rest_follows(store: Store) -> None:
    """A digest takes in so many mails as its limits allow; a mail that is too big for one leaves alone."""
    add(store, *(a_letter(number) for number in range(1, outbox.MAX_DIGEST_MAILS + 3)))
    assert taken(store, NOW).subject == f"{outbox.MAX_DIGEST_MAILS} reports about your user files"
    huge = msgspec.structs.replace(a_letter(1, client="beta"), attachments=(("a.csv", b"x" * outbox.MAX_DIGEST_BYTES),))
    add(store, huge, a_letter(2, client="beta"))
    assert taken(store, NOW).message_id == huge.message_id


def test_sixty_mails_an_hour_leave_in_all(store: Store) -> None:
    """Whoever they are for, sixty mails leave in an hour; the next waits until the first is an hour old."""
    add(store, *(a_letter(1, client=f"client{number}") for number in range(61)))
    for second in range(60):
        now = NOW + timedelta(seconds=second)
        outbox.record(store, Delivery(mail=taken(store, now)), now)
    assert outbox.due(store, NOW + HOUR - timedelta(seconds=1)) is None
    assert outbox.due(store, NOW + HOUR) is not None


def test_one_clients_window_holds_up_no_other_client(store: Store) -> None:
    """The limit of one client leaves the mail of another alone."""
    add(store, a_letter(1))
    outbox.record(store, Delivery(mail=taken(store, NOW)), NOW)
    add(store, a_letter(2), a_letter(3, client="beta"))
    assert taken(store, NOW).client == "beta"


# --- sender and pump


class Relay:
    """A transport whose answers are given by the test, one for each mail."""

    def __init__(self) -> None:
        self.asked: list[Mail] = []
        self.answers: queue.SimpleQueue[Delivery | Exception] = queue.SimpleQueue()

    def __call__(self, mail: Mail) -> Delivery:
        """Wait for the test's answer and give it."""
        self.asked.append(mail)
        answer = self.answers.get(timeout=60)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def relay() -> Relay:
    return Relay()


@pytest.fixture
def pump(relay: Relay, store: Store) -> Iterator[MailPump]:
    sender = Sender(relay, failed)
    sender.start()
    pump = Pump(sender, outbox.take, outbox.record)
    yield pump
    pump.close(store, NOW)


def test_the_pump_delivers_and_records(store: Store, relay: Relay, pump: MailPump) -> None:
    """What is due is handed to the sender, and what the sender answers is in the database."""
    add(store, a_letter())
    assert pump.pump(store, NOW)
    (mail,) = wait_until(lambda: relay.asked, "the attempt")
    relay.answers.put(Delivery(mail=mail))
    wait_until(lambda: not pump.pump(store, NOW), "the answer")
    assert rows(store, "state") == [("sent",)]


def test_one_due_time_is_one_attempt(store: Store, relay: Relay, pump: MailPump) -> None:
    """However often the pump turns, a mail under way is not handed over again, not even when it is due again."""
    add(store, a_letter())
    for minutes in range(100):
        assert pump.pump(store, NOW + minutes * MINUTE)
    (mail,) = wait_until(lambda: relay.asked, "the attempt")
    relay.answers.put(failed(mail, "451"))
    wait_until(lambda: not pump.pump(store, NOW), "the answer")
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
def test_no_error_ends_the_sending(store: Store, relay: Relay, pump: MailPump, error: Exception, reason: str) -> None:
    """Whatever a transport raises defers that mail under the name of the error, and the next mail leaves."""
    add(store, a_letter(1), a_letter(2, client="beta"))
    relay.answers.put(error)
    wait_until(lambda: pump.pump(store, NOW) and len(relay.asked) == 2, "the second attempt")
    relay.answers.put(Delivery(mail=relay.asked[1]))
    wait_until(lambda: not pump.pump(store, NOW), "the answer")
    assert [("waiting", reason), ("sent", "")] == rows(store, "state, last_error")


def test_a_sync_that_failed_reaches_who_owns_the_process(store: Store, relay: Relay, pump: MailPump) -> None:
    """A Maildir whose disk fails is no matter of one mail: the pump raises what the sender met; the mail waits."""
    add(store, a_letter())
    relay.answers.put(SyncFailed("the disk failed"))
    with pytest.raises(SyncFailed):
        wait_until(lambda: not pump.pump(store, NOW), "the error")
    assert rows(store, "state") == [("waiting",)]


def test_an_answer_outlives_a_database_that_is_unwilling(store: Store, relay: Relay, pump: MailPump) -> None:
    """When an answer cannot be recorded the error rises, and the next turn records it: the mail is not sent twice."""
    add(store, a_letter())
    pump.pump(store, NOW)
    (mail,) = wait_until(lambda: relay.asked, "the attempt")
    is_sqlite = isinstance(store, SqliteStore)
    store.conn.execute("PRAGMA query_only = 1" if is_sqlite else "SET default_transaction_read_only = on")
    relay.answers.put(Delivery(mail=mail))
    with pytest.raises(StoreReadOnly):
        wait_until(lambda: not pump.pump(store, NOW), "the error")
    store.conn.execute("PRAGMA query_only = 0" if is_sqlite else "SET default_transaction_read_only = off")
    assert not pump.pump(store, NOW)
    assert rows(store, "state") == [("sent",)]


def test_a_crash_during_delivery_costs_one_back_off(store: Store) -> None:
    """A process that dies with a mail in hand leaves it waiting, its attempt counted, due after the first pause."""
    add(store, a_letter())
    first = taken(store, NOW)
    assert outbox.due(store, NOW) is None
    assert (first.body, 2) == ((again := taken(store, NOW + MINUTE)).body, again.attempts)


def with_a_mail_in_hand(store: Store, relay: Relay) -> tuple[Sender[Mail, Delivery], MailPump, Mail]:
    """Return a sender that waits for the answer of the server, its pump, and the mail."""
    sender = Sender(relay, failed)
    sender.start()
    pump = Pump(sender, outbox.take, outbox.record)
    add(store, a_letter())
    pump.pump(store, NOW)
    (mail,) = wait_until(lambda: relay.asked, "the attempt")
    return sender, pump, mail


def test_stopping_does_not_wait_for_a_silent_server(store: Store, relay: Relay) -> None:
    """Closing returns within the time given, and the mail in hand is still waiting."""
    sender, _, mail = with_a_mail_in_hand(store, relay)
    sender.close(wait_s=0.05)
    assert sender.answer() is None
    assert rows(store, "state") == [("waiting",)]
    relay.answers.put(failed(mail, "451"))  # lets the thread end


def test_closing_records_the_last_answer(store: Store, relay: Relay) -> None:
    """A mail whose delivery ends while the service stops is recorded as sent."""
    _, pump, mail = with_a_mail_in_hand(store, relay)
    relay.answers.put(Delivery(mail=mail))
    pump.close(store, NOW)
    assert rows(store, "state") == [("sent",)]
