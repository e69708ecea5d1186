"""Feeds that are frozen for a time: files are archived unapplied, the client is told once, and it ends by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from importer.store.roster import pauses
from tests.engine import CLIENT, Engine, Result
from tests.importer.store.roster.test_feeds import snapshots, users
from tests.lab.daemon import Rosterd
from watcher.approval.freezes import LOOK_INTERVAL_S, Announcements
from watcher.settings import Config

DAY = timedelta(days=1)
BEFORE, BEGINS, ENDS = (
    datetime(2026, 6, 1, tzinfo=UTC),
    datetime(2026, 7, 1, tzinfo=UTC),
    datetime(2026, 9, 1, tzinfo=UTC),
)


@pytest.fixture
def frozen(engine: Engine) -> Engine:
    """Return an engine that has a feed of students, which is frozen in July and August, and other files."""
    engine.mail_settings = msgspec.structs.replace(engine.mail_settings, timezone="UTC")
    snapshots(engine, "students")
    engine.file(*users(*range(9)), name="students.csv")
    pauses.freeze(engine.store.conn, CLIENT, "students", BEGINS, ENDS, BEFORE)
    return engine


def imported(engine: Engine, at: datetime, name: str = "students.csv") -> Result:
    """Import a file that was claimed at a time."""
    content = "\n".join((*users(1), "")).encode()
    with engine.claimed(content, name=name) as claim:
        then = msgspec.structs.replace(claim, claimed_at=at)
        return engine._result(engine.importer().import_file(then, engine.client))


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (BEGINS - timedelta(seconds=1), ""),
        (BEGINS, "feed.frozen"),
        (ENDS - timedelta(seconds=1), "feed.frozen"),
        (ENDS, ""),
    ],
)
def test_files_are_not_applied_meanwhile(frozen: Engine, at: datetime, code: str) -> None:
    """Whatever comes from the first moment to the last is refused, and says until when."""
    result = imported(frozen, at)
    assert (code, 0 if code else 1) == (result.code, result.tally.unchanged)
    if code:
        assert "From 2026-07-01 through 2026-08-31 we import no files like this one" in result.text
        assert "Upload a new file after 2026-08-31" in result.text


def test_other_feeds_go_on(frozen: Engine) -> None:
    """Files of another feed, and of all others, are imported."""
    assert "" == imported(frozen, BEGINS, "staff.csv").code


def test_it_can_be_ended_before(frozen: Engine) -> None:
    """A last day that is past ends a freeze."""
    pauses.freeze(frozen.store.conn, CLIENT, "students", BEGINS, BEGINS + DAY, BEGINS + DAY)
    assert "" == imported(frozen, BEGINS + DAY).code


class Moments:
    """Looks at what is to be announced, a minute and more between two looks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._now = 0.0
        self.start()

    def start(self) -> None:
        """Begin anew, as after a crash."""
        self._announcements = Announcements(
            Config(clients=(self._engine.client,), mail=self._engine.mail_settings), self._engine.store
        )

    def mails(self, at: datetime, subject: str = "We import no students files from you from 2026-07-01") -> int:
        """Return how many mails with such a subject were written by now."""
        self._now += 2 * LOOK_INTERVAL_S
        self._announcements.tend(self._now, at)
        query = "SELECT count(*) FROM outbox WHERE subject LIKE ? || '%'"
        (count,) = self._engine.store.conn.execute(query, (subject,)).fetchone()
        return int(count)


def test_it_is_announced_once(frozen: Engine) -> None:
    """From the day before on, once whatever restarts, and again only for other days."""
    moments = Moments(frozen)
    assert 0 == moments.mails(BEGINS - DAY - timedelta(seconds=1))
    assert 1 == moments.mails(BEGINS - DAY)
    moments.start()
    assert 1 == moments.mails(BEGINS)
    frozen.store.conn.execute("DELETE FROM outbox")  # as after its retention
    pauses.freeze(frozen.store.conn, CLIENT, "students", BEGINS, ENDS, BEGINS)
    assert 0 == moments.mails(BEGINS + DAY)
    pauses.freeze(frozen.store.conn, CLIENT, "students", BEGINS, ENDS + DAY, BEGINS)
    assert 1 == moments.mails(BEGINS + DAY)


def test_an_early_end_is_told_once(frozen: Engine) -> None:
    """Who was told of a freeze is told that it has ended before its last day, also before its first; nobody else is."""
    moments, conn, ended = Moments(frozen), frozen.store.conn, "We import your students files again"

    def end(at: datetime) -> int:
        pauses.freeze(conn, CLIENT, "students", BEGINS - 9 * DAY, BEGINS - 8 * DAY, at)
        return moments.mails(at, ended)

    assert 0 == end(BEGINS - 2 * DAY)  # not announced yet
    pauses.freeze(conn, CLIENT, "students", BEGINS, ENDS, BEGINS - 2 * DAY)
    moments.mails(BEGINS - DAY)
    assert 1 == end(BEGINS - DAY)
    moments.start()
    assert (1, 1) == (end(BEGINS), moments.mails(ENDS, ended))
    pauses.freeze(conn, CLIENT, "students", BEGINS, ENDS, BEGINS)
    assert 2 == moments.mails(BEGINS)
    assert (1, 1) == (moments.mails(ENDS, ended), end(ENDS))  # at its last day it ends by itself


def test_a_freeze_that_begins_anew_takes_its_end_back(frozen: Engine) -> None:
    """Ended and set again before anybody was told of the end: the client gets the new days alone."""
    moments, conn = Moments(frozen), frozen.store.conn
    moments.mails(BEGINS)
    pauses.freeze(conn, CLIENT, "students", BEGINS, BEGINS, BEGINS + DAY)
    pauses.freeze(conn, CLIENT, "students", BEGINS, ENDS + DAY, BEGINS + DAY)
    assert (2, 0) == (moments.mails(BEGINS + DAY), moments.mails(BEGINS + DAY, "We import your students files again"))


def test_killed_before_the_commit_it_is_announced_later(frozen: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mail and note are one: what fails in between leaves neither, and the next look writes it."""
    moments = Moments(frozen)
    with monkeypatch.context() as broken:
        broken.setattr("watcher.approval.freezes.outbox.add", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            moments.mails(BEGINS)
    assert 1 == moments.mails(BEGINS)


def test_who_has_no_address_gets_none(frozen: Engine) -> None:
    """Nothing is noted as announced that nobody can read."""
    frozen.settings(failed_import_email=())
    assert 0 == Moments(frozen).mails(BEGINS)
    assert [False] == [each.is_announced for each in pauses.freezes(frozen.store.conn, BEGINS)]


# The whole way


@pytest.fixture
def rosterd(tmp_path: Path, folders: dict[str, Path]) -> Iterator[Rosterd]:
    """Yield the running daemon, without a feed."""
    settings: dict[str, dict[str, str | float]] = {"intake": {"quiet_s": 0.1}, "mail": {"timezone": "America/Toronto"}}
    with Rosterd(tmp_path, folders, settings=settings) as installation:
        installation.start()
        yield installation


def freeze(rosterd: Rosterd, first: str, last: str, *more: str) -> tuple[int, str]:
    done = rosterd.execute("feed", "freeze", "acme", "--from", first, "--until", last, *more)
    return done.returncode, done.stdout + done.stderr


def test_the_operator_freezes_and_ends(rosterd: Rosterd) -> None:
    """Without --apply it is only said; then it is shown by status, announced, refuses files, and can be ended."""
    assert "Add --apply" in freeze(rosterd, "2020-01-01", "2999-08-31")[1]
    assert "frozen from 2020-01-01 through 2999-08-31" in freeze(rosterd, "2020-01-01", "2999-08-31", "--apply")[1]
    assert "files of acme from 2020-01-01 through 2999-08-31" in rosterd.execute("status").stdout
    rosterd.drop("users.csv", "\n".join((*users(1), "")))
    rosterd.wait_for_event("file.refused", code="feed.frozen")
    rosterd.kill9()
    rosterd.start()
    rosterd.wait_for_event("freeze.announced", client="acme")
    assert "files of acme: not frozen" in freeze(rosterd, "2020-01-01", "2020-01-02", "--apply")[1]
    rosterd.drop("users.csv", "\n".join((*users(1), "")))
    rosterd.wait_for_event("file.imported")
    assert 1 == len(rosterd.events("freeze.announced"))
    rosterd.kill9()
    rosterd.start()
    rosterd.wait_for_event("freeze.ended", client="acme")
    assert "files of acme" not in rosterd.execute("status").stdout


def test_what_cannot_be_frozen(rosterd: Rosterd) -> None:
    """A feed that is not there, and a last day before the first, are told."""
    assert "is before --from" in freeze(rosterd, "2026-07-02", "2026-07-01")[1]
    done = rosterd.execute("feed", "freeze", "acme", "pupils", "--from", "2026-07-01", "--until", "2026-07-02")
    assert "acme has no feed pupils" in done.stderr
