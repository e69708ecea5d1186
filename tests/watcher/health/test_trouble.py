"""Trouble: who must act on it, and what a single pass ends with."""

from __future__ import annotations

import errno
import sqlite3

import pytest
from structlog.testing import capture_logs

from importer.durable import SyncFailed
from importer.settings import MailSettings
from importer.store.errors import StoreDiskFailed, StoreError, StoreUnusable
from importer.store.sqlite.connection import in_our_words
from watcher.exits import EXIT_IO_ERROR, EXIT_UNEXPECTED
from watcher.health.alerts import Alerts
from watcher.health.trouble import Troubles, reason
from watcher.model import InboxUnusable


def troubles(*, watching: bool = False) -> Troubles:
    return Troubles(Alerts(MailSettings()), watching=watching)


def of_sqlite(code: int) -> StoreError:
    """Return an error as the database raises it."""
    error = sqlite3.OperationalError("told by SQLite")
    error.sqlite_errorcode = code
    return in_our_words(error)


def test_a_pass_answers_for_what_stays_behind() -> None:
    """What the host keeps from being imported is 74, a fault of ours 70; what was dealt with later is forgotten."""
    ours = troubles()
    assert 0 == ours.exit_code
    ours.defer("acme", "a.csv", OSError(errno.EACCES, "Permission denied"))
    ours.close_inbox("birch", InboxUnusable("not a folder"))
    assert EXIT_IO_ERROR == ours.exit_code
    ours.defer("acme", "b.csv", ValueError("no such case"))
    assert EXIT_UNEXPECTED == ours.exit_code
    for client, what in (("acme", "a.csv"), ("acme", "b.csv"), ("birch", "")):
        ours.resolve(client, what)
    assert 0 == ours.exit_code


def test_the_running_service_keeps_no_list_of_files() -> None:
    """Clients can make names without end: nothing is kept of them where no exit code will tell."""
    ours = troubles(watching=True)
    ours.defer("acme", "a.csv", ValueError("no such case"))
    assert 0 == ours.exit_code


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        pytest.param(of_sqlite(sqlite3.SQLITE_CORRUPT), StoreUnusable, id="damaged"),
        pytest.param(of_sqlite(sqlite3.SQLITE_NOTADB), StoreUnusable, id="no database"),
        pytest.param(of_sqlite(sqlite3.SQLITE_IOERR_FSYNC), StoreDiskFailed, id="disk fails"),
        pytest.param(SyncFailed("a sync failed"), SyncFailed, id="sync fails"),
    ],
)
def test_what_is_fatal_ends_the_work(error: Exception, raised: type[Exception]) -> None:
    """A disk that fails and a database that is damaged are never put off."""
    with pytest.raises(raised):
        troubles().defer("acme", "a.csv", error)
    with pytest.raises(raised):
        troubles().report_error("store.refused", error)


def test_a_full_disk_is_told_once_for_all() -> None:
    """Whoever meets it first tells it, as a file or as a database; a fault of ours is told with its traceback."""
    ours = troubles()
    with capture_logs() as logs:
        ours.defer("acme", "a.csv", OSError(errno.ENOSPC, "No space left on device"))
        ours.defer("birch", "b.csv", OSError(errno.ENOSPC, "No space left on device"))
        ours.report_error("store.refused", of_sqlite(sqlite3.SQLITE_FULL))
        ours.defer("cedar", "c.csv", fault := ValueError("no such case"))
    told = [entry for entry in logs if entry["log_level"] == "error"]
    assert [("file.deferred", "acme", None), ("file.failed", "cedar", fault)] == [
        (entry["event"], entry["client"], entry["exc_info"]) for entry in told
    ]


def test_a_reason_names_no_file() -> None:
    """Equal causes read alike, whichever file met them."""
    assert "EACCES: Permission denied" == reason(OSError(errno.EACCES, "Permission denied", "users.csv"))
