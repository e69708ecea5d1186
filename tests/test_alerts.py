from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from importer.outbox import Letter
from importer.settings import MailSettings
from watcher.alerts import ALERT_INTERVAL_S, Alerts

SETTINGS = MailSettings(reply_to="imports@rosterd.example", operator=("root@rosterd.example",))


@pytest.fixture
def letters() -> list[Letter]:
    return []


@pytest.fixture
def alerts(letters: list[Letter]) -> Alerts:
    return Alerts(SETTINGS, letters.append)


def test_same_trouble_is_told_once_an_hour(alerts: Alerts, letters: list[Letter]) -> None:
    """Trouble that stays is told by log and mail when it comes, and again after an hour."""
    with capture_logs() as logs:
        for now in (0.0, 1.0, ALERT_INTERVAL_S - 1, ALERT_INTERVAL_S, ALERT_INTERVAL_S + 1):
            alerts.tell("store.refused", now, reason="database is locked")

    assert [entry["log_level"] for entry in logs] == ["error", "debug", "debug", "error", "debug"]
    assert len(letters) == 2


def test_client_cannot_cause_more_than_a_mail_an_hour(alerts: Alerts, letters: list[Letter]) -> None:
    """Of what one client causes under ever new names, or makes come and go, one mail an hour is written."""
    with capture_logs() as logs:
        for number in range(100):
            alerts.tell("file.shrunk", float(number), client="acme", file=f"{number}.csv")
            alerts.tell("inbox.unusable", float(number), client="acme", reason="not a folder")
            alerts.clear("inbox.unusable", client="acme")
        alerts.tell("file.shrunk", 200.0, client="beta", file="1.csv")

    assert sum(entry["log_level"] == "error" for entry in logs) == 201
    assert [letter.subject for letter in letters] == [
        "rosterd: file.shrunk acme",
        "rosterd: inbox.unusable acme",
        "rosterd: file.shrunk beta",
    ]


def test_trouble_that_lasts_is_known_all_the_time(alerts: Alerts) -> None:
    """A trouble that is told again and again is known at any time, whatever else is told in between."""
    for minute in range(0, 300, 7):
        alerts.tell("inbox.unusable", 60.0 * minute, client="acme", reason="not a folder")
        alerts.tell("file.shrunk", 60.0 * minute + 30, client="beta", file=f"{minute}.csv")
        assert alerts.about("inbox.unusable", "acme") == "not a folder"


def test_trouble_of_a_client_is_known_while_it_lasts(alerts: Alerts) -> None:
    """The reason told last of a client's trouble can be asked for, until the trouble is over."""
    alerts.tell("inbox.unusable", 0.0, client="acme", reason="not a folder")
    alerts.tell("inbox.unusable", 1.0, client="acme", reason="mode 0777")
    assert alerts.about("inbox.unusable", "acme") == "mode 0777"

    alerts.clear("inbox.unusable", client="acme")
    assert alerts.about("inbox.unusable", "acme") == ""
