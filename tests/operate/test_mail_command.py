from __future__ import annotations

import contextlib
import email
import email.policy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from importer.mail import outbox
from importer.mail.channel import failed
from importer.model import Letter
from importer.store import mail_queue as table
from importer.store.connection import stamp
from importer.store.database import Store
from importer.store.sqlite.database import SqliteStore
from tests.lab.daemon import Rosterd

HEADER = "unique_id,login_source,first_name,last_name,email\n"
BAD = "2,OPSCOM,Bob,,bob\n"
NOW = datetime(2026, 11, 22, 7, 42, 5, tzinfo=UTC)
DEAD = "UPDATE outbox SET state = 'dead', attempts = 30, last_error = 'SMTPDataError 550'"


@pytest.fixture
def rosterd(tmp_path: Path, on_both: Callable[[Rosterd], None]) -> Iterator[Rosterd]:
    """Yield an installation that has given up the one mail it had; it does not run."""
    (tmp_path / "acme").mkdir()
    with Rosterd(tmp_path, {"acme": tmp_path / "acme"}) as installation:
        installation.drop("users.csv", HEADER + BAD)
        assert installation.execute("sweep").returncode == 0
        on_both(installation)
        installation.change(DEAD)
        installation.change("UPDATE outbox SET sent_at = NULL")
        for delivered in (tmp_path / "state" / "mail" / "new").iterdir():
            delivered.unlink()
        yield installation


def states(rosterd: Rosterd) -> list[object]:
    return [row["state"] for row in rosterd.query("SELECT state FROM outbox ORDER BY id")]


def listed(rosterd: Rosterd, *options: str) -> Any:  # noqa: ANN401 - whatever JSON it is
    return json.loads(rosterd.execute("mail", "list", "--json", *options).stdout)


def test_what_waits_or_was_given_up_is_listed(rosterd: Rosterd) -> None:
    """`mail list` has the mail somebody might miss; with --all every mail."""
    [dead] = listed(rosterd)
    assert ("dead", 30, "SMTPDataError 550") == (dead["state"], dead["attempts"], dead["last_error"])
    assert "admin@acme.example" in rosterd.execute("mail", "list").stdout
    assert [dead] == listed(rosterd, "--client", "acme")
    assert 2 == rosterd.execute("mail", "list", "--client", "beta").returncode

    rosterd.change("UPDATE outbox SET state = 'sent', sent_at = '2026-11-22T07:42:05Z'")
    assert "No mail is waiting or was given up.\n" == rosterd.execute("mail", "list").stdout
    assert ["sent"] == [mail["state"] for mail in listed(rosterd, "--all")]


def test_one_mail_is_shown(rosterd: Rosterd) -> None:
    """`mail show` has the text and names the attachments; --raw has the mail as it is sent."""
    text = rosterd.execute("mail", "show", "1").stdout
    assert "users.csv" in text
    assert "[attached: users." in text
    assert json.loads(rosterd.execute("mail", "show", "1", "--json").stdout)["text"] in text
    raw = email.message_from_string(rosterd.execute("mail", "show", "1", "--raw").stdout, policy=email.policy.default)
    assert "admin@acme.example" == raw["To"]
    assert 2 == rosterd.execute("mail", "show", "2").returncode


@pytest.mark.parametrize("running", [True, False], ids=["by the daemon", "in its place"])
def test_a_dead_mail_is_tried_again(rosterd: Rosterd, *, running: bool) -> None:
    """`mail retry` lets a mail that was given up be sent after all, whether the daemon runs or not."""
    if running:
        rosterd.start()
    result = rosterd.execute("mail", "retry", "1")
    when = "now" if running else "as soon as the service runs"
    assert (0, f"mail 1 is retried {when}\n") == (result.returncode, result.stdout)
    if not running:
        assert ["waiting"] == states(rosterd)
        rosterd.start()

    rosterd.wait_for_event("mail.sent")
    assert 1 == len(rosterd.mails())


def test_a_mail_is_tried_at_once(rosterd: Rosterd) -> None:
    """`mail retry` does not wait for the pause between two mails of a client, nor for its back-off."""
    rosterd.drop("second.csv", HEADER + BAD)
    assert rosterd.execute("sweep").returncode == 0
    now = datetime.now(UTC)
    later = stamp(now + timedelta(minutes=30))
    rosterd.change(f"UPDATE outbox SET state = 'waiting', attempts = 5, due_at = '{later}' WHERE id = 1")  # noqa: S608 - a time of ours
    rosterd.change(f"UPDATE outbox SET state = 'sent', sent_at = '{stamp(now)}' WHERE id = 2")  # noqa: S608 - likewise
    rosterd.start()
    assert [] == rosterd.events("mail.sent")
    assert "is retried now" in rosterd.execute("mail", "retry", "1").stdout
    rosterd.wait_for_event("mail.sent")
    assert ["sent", "sent"] == states(rosterd)


@pytest.mark.parametrize("running", [True, False], ids=["by the daemon", "in its place"])
def test_a_mail_is_dropped(rosterd: Rosterd, *, running: bool) -> None:
    """`mail drop --dead` gives up for good what was given up, and deletes its content."""
    if running:
        rosterd.start()
    result = rosterd.execute("mail", "drop", "--dead")
    assert (0, "mail 1 will not be sent\n") == (result.returncode, result.stdout)
    assert [("dropped", 0)] == [
        (row["state"], row["size"]) for row in rosterd.query("SELECT state, length(body) AS size FROM outbox")
    ]
    assert "Its content is no longer stored." in rosterd.execute("mail", "show", "1").stdout
    assert 0 == rosterd.execute("verify").returncode


def test_what_cannot_be_done_is_told(rosterd: Rosterd) -> None:
    """A mail that is not there, or was sent, is neither tried nor dropped: exit code 1; no mail at all: 2."""
    rosterd.change("UPDATE outbox SET state = 'sent', sent_at = '2026-11-22T07:42:05Z'")
    for command in ("retry", "drop"):
        for id_ in ("1", "99"):
            result = rosterd.execute("mail", command, id_)
            assert 1 == result.returncode
            assert f"no mail {id_} is waiting or dead" in result.stderr
        assert 2 == rosterd.execute("mail", command).returncode
        assert 0 == rosterd.execute("mail", command, "--dead").returncode
    assert ["sent"] == states(rosterd)


# The outbox itself


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(SqliteStore.open(tmp_path / "rosterd.db")) as store:
        yield store


def a_letter() -> Letter:
    return Letter(
        message_id="<1@example.org>",
        client="acme",
        claim_id="claim-1",
        sender="rosterd@example.org",
        recipients=("ann@acme.example",),
        subject="report",
        text="It could not be imported whole.\n",
        written_at=NOW,
    )


def test_a_mail_tried_again_has_hours_before_it_is_given_up(store: Store) -> None:
    """A dead mail that is retried is not dead at its next failure, and counts as tried before."""
    outbox.add(store, a_letter())
    store.conn.execute("UPDATE outbox SET state = 'dead', attempts = 40")
    later = NOW + timedelta(days=9)
    assert table.retry(store.conn, 1, later)
    mail = outbox.take(store, later)
    assert mail is not None
    assert 2 == mail.attempts
    outbox.record(store, failed(mail, "TimeoutError"), later)
    assert [("waiting",)] == store.conn.execute("SELECT state FROM outbox").fetchall()


def test_a_mail_dropped_while_under_way_stays_dropped(store: Store) -> None:
    """A mail that is dropped during an attempt is not revived by its failure."""
    outbox.add(store, a_letter())
    mail = outbox.take(store, NOW)
    assert mail is not None
    assert table.drop(store.conn, mail.id)
    outbox.record(store, failed(mail, "TimeoutError"), NOW)
    assert [("dropped", b"")] == store.conn.execute("SELECT state, body FROM outbox").fetchall()
    assert not table.retry(store.conn, mail.id, NOW)
