from __future__ import annotations

import contextlib
import math
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from importer.mail import outbox
from importer.settings import ClientSettings, MailSettings
from importer.store.database import Store
from importer.store.sqlite.database import SqliteStore
from tests import REPOSITORY
from watcher.health import overdue_mail
from watcher.health.alert_texts import alert_text
from watcher.health.alerts import ALERT_INTERVAL_S, Alerts

HOST = socket.gethostname()
WATCHER = REPOSITORY / "watcher"
SETTINGS = MailSettings(reply_to="imports@rosterd.example", operator=("root@rosterd.example",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Yield a database without mail."""
    with contextlib.closing(SqliteStore.open(tmp_path / "rosterd.db")) as opened:
        yield opened


@pytest.fixture
def alerts() -> Alerts:
    return Alerts(SETTINGS)


def mailed(alerts: Alerts, store: Store) -> list[str]:
    """Return the subjects of all letters to the operator."""
    alerts.tend(store)
    return [subject for (subject,) in store.conn.execute("SELECT subject FROM outbox ORDER BY id").fetchall()]


def test_same_trouble_is_told_once_an_hour(alerts: Alerts, store: Store) -> None:
    """Trouble that stays is told by log and mail when it comes, and again after an hour."""
    with capture_logs() as logs:
        for now in (0.0, 1.0, ALERT_INTERVAL_S - 1, ALERT_INTERVAL_S, ALERT_INTERVAL_S + 1):
            alerts.report("store.refused", now, reason="database is locked")

    assert [entry["log_level"] for entry in logs] == ["error", "debug", "debug", "error", "debug"]
    assert 2 == len(mailed(alerts, store))


def test_trouble_inside_a_transaction_is_mailed(alerts: Alerts, store: Store) -> None:
    """An alert that is raised while rows are written is mailed, whether or not they are committed."""
    with contextlib.suppress(KeyError), store.transaction():
        alerts.report("intake.unprobed", 0.0, client="acme")
        raise KeyError
    assert -math.inf == alerts.next_at
    assert [f"rosterd on {HOST}: intake.unprobed acme"] == mailed(alerts, store)
    assert math.inf == alerts.next_at


def test_alert_that_cannot_be_mailed_is_logged(alerts: Alerts, tmp_path: Path) -> None:
    """When the trouble is the database's own, the log has it and the loop goes on."""
    closed = SqliteStore.open(tmp_path / "rosterd.db")
    closed.close()
    with capture_logs() as logs:
        alerts.report("store.refused", 0.0, reason="database is locked")
        alerts.tend(closed)
    assert ["store.refused", "alert.unmailed"] == [entry["event"] for entry in logs]


def test_client_cannot_cause_more_than_a_mail_an_hour(alerts: Alerts, store: Store) -> None:
    """Of what one client causes under ever new names, or makes come and go, one mail an hour is written."""
    with capture_logs() as logs:
        for number in range(100):
            alerts.report("file.unread", float(number), client="acme", file=f"{number}.csv")
            alerts.report("inbox.unusable", float(number), client="acme", reason="not a folder")
            alerts.clear("inbox.unusable", client="acme")
        alerts.report("file.unread", 200.0, client="beta", file="1.csv")

    assert sum(entry["log_level"] == "error" for entry in logs) == 201
    assert mailed(alerts, store) == [
        f"rosterd on {HOST}: file.unread acme",
        f"rosterd on {HOST}: inbox.unusable acme",
        f"rosterd on {HOST}: file.unread beta",
    ]


def test_trouble_that_lasts_is_known_all_the_time(alerts: Alerts) -> None:
    """A trouble that is told again and again is known at any time, whatever else is told in between."""
    for minute in range(0, 300, 7):
        alerts.report("inbox.unusable", 60.0 * minute, client="acme", reason="not a folder")
        alerts.report("file.unread", 60.0 * minute + 30, client="beta", file=f"{minute}.csv")
        assert alerts.reason_for("inbox.unusable", "acme") == "not a folder"


def test_trouble_of_a_client_is_known_while_it_lasts(alerts: Alerts) -> None:
    """The reason told last of a client's trouble can be asked for, until the trouble is over."""
    alerts.report("inbox.unusable", 0.0, client="acme", reason="not a folder")
    alerts.report("inbox.unusable", 1.0, client="acme", reason="mode 0777")
    assert alerts.reason_for("inbox.unusable", "acme") == "mode 0777"

    alerts.clear("inbox.unusable", client="acme")
    assert alerts.reason_for("inbox.unusable", "acme") == ""


# What the mail says


def alerted() -> list[str]:
    """Return every event of which the code tells the operator by mail."""
    code = "".join(source.read_text() for source in sorted(WATCHER.rglob("*.py")))
    told = re.findall(r'\.tell(?:_error)?\(\s*"([a-z.]+)"', code)
    chosen = re.findall(r'event = "([a-z.]+)" if \w+ else "([a-z.]+)"', code)
    return sorted({*told, *(event for pair in chosen for event in pair)})


@pytest.mark.parametrize("event", alerted())
def test_the_operator_reads_what_happened_and_what_to_do(event: str) -> None:
    """Of each trouble the mail says in a sentence what happened, what to do, on which host and for whom."""
    text = alert_text("sftp1", event, {"client": "acme", "reason": "ENOSPC: No space left on device"})
    happened, remedy, traits, _ = text.split("\n\n")
    assert "rosterd met trouble" not in happened
    assert re.fullmatch(r"[A-Z].* .*\.", happened)
    assert re.fullmatch(r"What to do: [A-Z`].* .*\.", remedy)
    assert ["host: sftp1", f"event: {event}", "client: acme"] == [line.strip() for line in traits.splitlines()[:3]]
    assert "{" not in text


def test_trouble_without_a_sentence_of_its_own_is_told() -> None:
    """An event that nobody has written a sentence for says at least where to look."""
    assert "`rosterd doctor`" in alert_text("sftp1", "disk.tired", {})


def test_every_mail_to_the_operator_names_the_host(alerts: Alerts, store: Store) -> None:
    """Alert, digest, what stands for surplus mail, and a missing upload: the subject says on which host it is."""
    alerts.report("store.refused", 0.0, reason="database is locked")
    [(_, alert)] = alerts._letters
    assert [alert.subject] == mailed(alerts, store)
    for number in range(149):
        outbox.add(store, msgspec.structs.replace(alert, message_id=f"<{number}@rosterd.example>"))
    digest = outbox.take(store, alert.written_at)
    surplus = store.conn.execute("SELECT subject FROM outbox WHERE message_id LIKE '<overflow%'").fetchone()
    assert digest is not None
    client = ClientSettings(name="acme", inbox="/in", expect_every="1h", late_mail=("operator",))
    [late] = overdue_mail.letters(overdue_mail.OverdueUpload(client=client, last_at=None), SETTINGS, alert.written_at)
    for subject in (alert.subject, digest.subject, *surplus, late.subject):
        assert subject.startswith(f"rosterd on {HOST}: ")
