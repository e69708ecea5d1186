"""What is reported when nothing happens: overdue uploads, and a service without a heartbeat."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from importer.model import for_operator
from tests.lab import wait_until
from tests.lab.daemon import Rosterd, Setting
from tests.lab.web import Mode, WebServer

HEADER = "unique_id,login_source,first_name,last_name,email\n"
ANN = "1,OPSCOM,Ann,Lee,ann@school.example\n"
OPERATOR = "operator@school.example"
LONG_AGO = "UPDATE imports SET finished_at = '2026-01-02T03:04:05Z'"


@pytest.fixture
def inboxes(tmp_path: Path) -> dict[str, Path]:
    folders = {name: tmp_path / name for name in ("acme", "beta")}
    for folder in folders.values():
        folder.mkdir()
    return folders


# Uploads


@pytest.fixture
def expecting(tmp_path: Path, inboxes: dict[str, Path]) -> Iterator[Rosterd]:
    """Yield an installation that expects an upload of acme every minute; the last one came long ago."""
    late: dict[str, Setting] = {"expect_every": "1min", "late_mail": "operator"}
    settings: dict[str, dict[str, Setting]] = {"mail": {"operator": [OPERATOR]}}
    with Rosterd(tmp_path, {"acme": inboxes["acme"]}, settings=settings, client_settings=late) as installation:
        installation.drop("users.csv", HEADER + ANN)
        assert installation.execute("sweep").returncode == 0
        installation.change(LONG_AGO)
        yield installation


def test_a_missing_upload_is_logged_and_mailed_once(expecting: Rosterd) -> None:
    """The daemon tells of an upload that has not come once; `status` tells it as long as it is so."""
    expecting.start()
    missed = expecting.wait_for_event("upload.missed", client="acme")
    expecting.wait_for_event("mail.sent")
    expecting.reload(lambda text: f"{text}\n")
    expecting.wait_for_event("config.reloaded")
    expecting.drop("broken.csv", "nonsense\n")
    expecting.wait_for_imports(2)

    assert ("2026-01-02T03:04:05+00:00", "1min") == (missed["last_at"], missed["expect_every"])
    assert 1 == len(expecting.events("upload.missed"))
    assert [for_operator("acme: no file of users has come since 2026-01-02 03:04 UTC")] == [
        mail["Subject"].strip() for mail in expecting.mails() if mail["To"] == OPERATOR
    ]


def test_status_tells_of_a_missing_upload(expecting: Rosterd) -> None:
    """`rosterd status` has it among its concerns."""
    expecting.start()
    expecting.wait_for_event("upload.missed")
    told = expecting.execute("status")
    assert (1, True) == (told.returncode, "acme: no file has arrived for" in told.stdout)


def overdue(rosterd: Rosterd) -> tuple[bool, bool]:
    """Return whether `status` and the figures say that an upload of acme is missing."""
    told = rosterd.execute("status").stdout
    figures = rosterd.execute("metrics").stdout.splitlines()
    return "acme: no file has arrived" in told, 'rosterd_upload_overdue{client="acme"} 1.0' in figures


def test_all_that_tells_agrees(expecting: Rosterd) -> None:
    """Status and figures say that an upload is missing when the log does; a file that is held has come."""
    expecting.start()
    expecting.wait_for_event("upload.missed")
    wait_until(lambda: overdue(expecting) == (True, True), "status and figures to say so")
    expecting.drop("cut.csv", HEADER + ANN[:9])
    expecting.wait_for_event("file.held")
    wait_until(lambda: overdue(expecting) == (False, False), "status and figures to see the file")
    expecting.execute("refuse", "cut.csv", "--client", "acme")
    expecting.wait_for_imports(2)
    expecting.change(LONG_AGO)
    expecting.drop("users.csv", HEADER + ANN)
    expecting.wait_for_imports(3)
    wait_until(lambda: overdue(expecting) == (False, False), "status and figures to see the import")


def test_a_new_client_is_not_overdue(tmp_path: Path, inboxes: dict[str, Path]) -> None:
    """A client that has never uploaded has its time first: nothing says that a file is missing."""
    with Rosterd(tmp_path, inboxes, client_settings={"expect_every": "26h"}) as installation:
        installation.start()
        wait_until(lambda: "is_overdue" in installation.execute("status", "--json").stdout, "the status")
        assert (0, (False, False)) == (installation.execute("status").returncode, overdue(installation))
        assert [] == installation.events("upload.missed")
        installation.stop()
        assert (False, False) == overdue(installation)


def test_a_reload_brings_the_expectation(expecting: Rosterd) -> None:
    """What is expected of a client is taken over by a reload."""
    wish = 'expect_every = "1min"'
    expecting.reload(lambda text: text.replace(wish, 'expect_every = "36500d"'))
    expecting.start()
    assert [] == expecting.events("upload.missed")
    expecting.reload(lambda text: text.replace('expect_every = "36500d"', wish))
    expecting.wait_for_event("upload.missed", client="acme")


def test_single_passes_mail_once(expecting: Rosterd) -> None:
    """Each pass logs that an upload is missing, the first one mails it; a file that has just come is none."""
    passes = [expecting.execute("sweep").stdout.count("upload.missed") for _ in range(2)]
    assert ([1, 1], 1) == (passes, len(expecting.mails()))
    expecting.drop("users.csv", HEADER + ANN)
    assert 0 == expecting.execute("sweep").stdout.count("upload.missed")


# The sign of life


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as web_server:
        yield web_server


@pytest.fixture
def living(tmp_path: Path, inboxes: dict[str, Path], server: WebServer) -> Iterator[Rosterd]:
    """Yield an installation that gives signs of life and sweeps all the time, not started."""
    settings: dict[str, dict[str, Setting]] = {
        "service": {"ping_url": f"{server.url}/secret", "sweep_interval_s": 0.2},
        "log": {"level": "debug"},
    }
    with Rosterd(tmp_path, inboxes, settings=settings) as installation:
        yield installation


def wait_for_sweeps(rosterd: Rosterd) -> None:
    """Wait until acme was swept a few times more."""
    enough = len(rosterd.events("sweep.finished", client="acme")) + 3
    wait_until(lambda: len(rosterd.events("sweep.finished", client="acme")) >= enough, "sweeps of acme")


def test_signs_of_life_need_every_inbox(living: Rosterd, server: WebServer, inboxes: dict[str, Path]) -> None:
    """The URL is requested while all inboxes can be used, and not while one cannot; the log never has it."""
    living.start()
    wait_until(lambda: len(server.paths) >= 2, "two signs of life")
    inboxes["beta"].rename(inboxes["beta"].with_name("away"))
    living.wait_for_event("inbox.unusable", client="beta")
    wait_for_sweeps(living)
    given = len(server.paths)
    wait_for_sweeps(living)
    assert given == len(server.paths)
    inboxes["beta"].with_name("away").rename(inboxes["beta"])
    wait_until(lambda: len(server.paths) > given, "the next sign of life")
    assert {"/secret"} == set(server.paths)
    assert "/secret" not in living.log()


def test_a_reload_brings_another_url(living: Rosterd, server: WebServer) -> None:
    """The URL can be changed while the daemon runs."""
    living.start()
    living.reload(lambda text: text.replace("/secret", "/other"))
    wait_until(lambda: "/other" in server.paths, "a sign of life at the other URL")


def test_status_tells_that_signs_of_life_fail(living: Rosterd, server: WebServer) -> None:
    """A URL that cannot be requested is logged, and is a concern of `rosterd status`."""
    server.mode = Mode.REFUSE
    living.start()
    living.wait_for_event("ping.failed", reason="HTTP 503")
    concern = "The heartbeat fails: HTTP 503."
    wait_until(lambda: concern in living.execute("status").stdout, "the concern")


def test_a_single_pass_gives_its_sign_of_life(living: Rosterd, server: WebServer, inboxes: dict[str, Path]) -> None:
    """A pass over inboxes that can all be used requests the URL once, any other pass does not."""
    assert living.execute("sweep").returncode == 0
    assert ["/secret"] == server.paths
    inboxes["beta"].rename(inboxes["beta"].with_name("away"))
    living.execute("sweep")
    assert ["/secret"] == server.paths
