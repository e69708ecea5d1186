"""What is in a folder `check` goes when its days are over."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from importer.settings import ClientSettings
from importer.store.sqlite.database import SqliteStore
from watcher.checking import cleaning
from watcher.control import archives
from watcher.inbox.layout import ABANDONED_S, Uploads, opened, opened_check, remove_abandoned
from watcher.settings import Config, ServiceSettings

DAY = timedelta(days=1)
CLIENT = 61001  # nobody's uid


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "upload"
    folder.mkdir()
    return folder


@pytest.fixture
def uploads(inbox: Path) -> Iterator[Uploads]:
    """Yield the open folder."""
    with opened("acme", str(inbox)) as open_inbox, opened_check(open_inbox, str(inbox)) as folder:
        yield folder


def test_whatever_is_old_goes(inbox: Path, uploads: Uploads) -> None:
    """Uploads, answers, half uploads, links and pipes go; folders stay, and so does what a link leads to."""
    outside = inbox / "kept.csv"
    outside.write_text("kept")
    check = inbox / "check"
    for name in ("users.csv", "users.20261122T074205Z.check.txt", "half.csv.filepart", ".new-0123456789abcdef"):
        (check / name).write_text("old")
    (check / "link.csv").symlink_to(outside)
    os.mkfifo(check / "pipe.csv")
    (check / "folder").mkdir()

    assert 0 == cleaning.remove_expired(uploads, datetime.now(UTC) - DAY)
    assert 6 == cleaning.remove_expired(uploads, datetime.now(UTC) + DAY)
    assert ["folder"] == os.listdir(check)
    assert "kept" == outside.read_text()


def test_copies_that_nobody_completes_go_at_once(inbox: Path, uploads: Uploads) -> None:
    """What a killed check left goes an hour later; what is still written stays, and so does what is the client's."""
    now_s, names = time.time(), [f".new-{number:016x}" for number in range(3)]
    for name in (*names, "users.csv", ".new-mine"):
        (inbox / "check" / name).write_text("half")
    (inbox / "check" / f".new-{9:016x}").mkdir()
    os.utime(inbox / "check" / names[1], (0, now_s + 1))
    if os.geteuid() == 0:
        os.chown(inbox / "check" / names[2], CLIENT, -1)
    remove_abandoned(uploads, now_s + ABANDONED_S + 0.5)
    others = [] if os.geteuid() else [names[2]]
    assert sorted(["users.csv", ".new-mine", f".new-{9:016x}", names[1], *others]) == sorted(
        os.listdir(inbox / "check")
    )


def test_many_go_in_pieces(inbox: Path, uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    """No upload waits for the removal of very many files."""
    monkeypatch.setattr(cleaning, "AT_ONCE", 3)
    for number in range(5):
        (inbox / "check" / f"{number}.csv").write_text("old")
    removed = [cleaning.remove_expired(uploads, datetime.now(UTC) + DAY) for _ in range(3)]
    assert [3, 2, 0] == removed


class _Clock(datetime):
    """A clock that shows a later time."""

    ahead = timedelta()

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        del tz
        return datetime.now(UTC) + cls.ahead


@pytest.mark.parametrize(("days", "left"), [(5, ["users.csv"]), (9, [])])
def test_by_the_days_of_the_client(
    tmp_path: Path, inbox: Path, uploads: Uploads, monkeypatch: pytest.MonkeyPatch, days: int, left: list[str]
) -> None:
    """The daily pass removes what is older than `check_keep_days`, by the clock of the pass a day before."""
    (inbox / "check" / "users.csv").write_text("tried")
    assert uploads.client == "acme"
    monkeypatch.setattr(_Clock, "ahead", days * DAY)
    monkeypatch.setattr(archives, "datetime", _Clock)
    config = Config(
        service=ServiceSettings(state_dir=str(tmp_path)),
        clients=(ClientSettings(name="acme", inbox=str(inbox), check_folder=True),),
    )
    with contextlib.closing(SqliteStore.open(tmp_path / "rosterd.db")) as store:
        before = datetime.now(UTC) + (days - 1) * DAY
        store.conn.execute("UPDATE retention SET passed_at = ?", (before.isoformat(),))
        purging = archives.Purging(store)
        while purging.step(config, 0.0):
            pass
    assert left == os.listdir(inbox / "check")
