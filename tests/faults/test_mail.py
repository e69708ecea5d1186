"""A mail server that misbehaves at every step, a sender killed at every call: no mail lost, no import late."""

from __future__ import annotations

import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from importer.sending.connection import ATTEMPT_TIME_OUTS
from tests.conftest import Needs
from tests.faults import harnesses, tracing
from tests.faults.checker import left_over, violations
from tests.faults.ground import Ground, Kind
from tests.faults.nursery import Nursery
from tests.faults.relay import STEPS, Fault, Relay
from tests.faults.trials import Trials, sample, told
from tests.lab import wait_until

pytestmark = pytest.mark.faults

HOUR_S = 3600.0
TIMEOUT_S = 1.0  # also of a server that is well, on a busy machine
KEPT_WAITING_S = 6.0  # the sender by such a server: time enough to import a file meanwhile

FAULTS = [Fault(step, answer) for answer in ("451 later", "550 never", "drop", "hang", "drip") for step in STEPS]


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay() as running:
        yield running


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with Nursery() as running:
        yield running


def mailing(folder: Path, relay: Relay, **more: str | float) -> Ground:
    """Return an installation that mails by `relay`, and has something to tell."""
    mail: dict[str, str | float] = {
        "host": "127.0.0.1",
        "port": relay.port,
        "security": "none",
        "timeout_s": TIMEOUT_S,
        **more,
    }
    ground = Ground(folder, mail=mail)
    ground.upload("users.csv", Kind.PARTLY)
    return ground


def sweep(nursery: Nursery, ground: Ground, *, hours: float = 0.0) -> None:
    command = ("sweep", "--config", ground.config)
    assert nursery.run(*command, log=ground.log, shift_clock=hours * HOUR_S) == 0, ground.log.read_text()


@pytest.mark.parametrize("fault", sample(FAULTS, 9), ids=str)
def test_misbehaving_server(fault: Fault, relay: Relay, nursery: Nursery, tmp_path: Path) -> None:
    """Whatever the server does at whatever step: the file is imported, and its mail arrives when the server is well."""
    misbehaves(fault, relay, nursery, tmp_path)


def misbehaves(fault: Fault, relay: Relay, nursery: Nursery, tmp_path: Path) -> None:
    relay.fault = fault
    ground = mailing(tmp_path / "ground", relay)
    sweep(nursery, ground)
    assert violations(ground, finished=False, mails=relay.mails) == []
    assert left_over(ground) == []

    relay.fault = None
    sweep(nursery, ground, hours=2)

    assert violations(ground, finished=True, mails=relay.mails) == []
    lost_reply = fault.step == "content" and fault.answer in ("drop", "hang", "drip")
    assert len(relay.mails) == (2 if lost_reply else 1)


def test_server_with_a_wrong_certificate(nursery: Nursery, tmp_path: Path) -> None:
    """A server that is not who it should be is told nothing; the mail arrives once the right one answers."""
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with Relay(tls=_certified(authority, "relay.elsewhere.example")) as relay:
        ground = mailing(tmp_path / "ground", relay, security="tls", ca_file=str(ca_file))
        sweep(nursery, ground)
        assert relay.mails == []
        assert left_over(ground) == []
        assert violations(ground, finished=False, mails=relay.mails) == []

        relay.tls = _certified(authority, "127.0.0.1")
        sweep(nursery, ground, hours=2)

        assert len(relay.mails) == 1
        assert violations(ground, finished=True, mails=relay.mails) == []


def _certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_server_that_is_down_for_days(nursery: Nursery, tmp_path: Path) -> None:
    """A mail that could not leave for three days arrives once the server is back, and once only."""
    with Relay() as relay:
        ground = mailing(tmp_path / "ground", relay)
    for hours in (0, 1, 3, 12, 24, 48):
        sweep(nursery, ground, hours=hours)
    assert left_over(ground) == []

    with Relay(relay.port) as relay:
        sweep(nursery, ground, hours=72)

        assert len(relay.mails) == 1
        assert violations(ground, finished=True, mails=relay.mails) == []


@pytest.mark.parametrize("answer", ["hang", "drip"])
def test_server_that_never_ends_its_answer(answer: str, relay: Relay, nursery: Nursery, tmp_path: Path) -> None:
    """While a server keeps the sender waiting, files are imported as ever; and it is given up in time."""
    relay.fault = Fault("greeting", answer)
    ground = mailing(
        tmp_path / "ground", relay, timeout_s=KEPT_WAITING_S / (ATTEMPT_TIME_OUTS if answer == "drip" else 1)
    )
    pid = nursery.start("run", "--config", ground.config, log=ground.log)
    os.kill(pid, signal.SIGCONT)
    try:
        wait_until(lambda: imports(ground) == 1, "the first import")
        ground.upload("more.csv")
        wait_until(lambda: imports(ground) == 2, "the second import")
        assert '"event": "mail.deferred"' not in ground.log.read_text()
        wait_until(lambda: '"event": "mail.deferred"' in ground.log.read_text(), "the end")
    finally:
        os.kill(pid, signal.SIGTERM)
        assert nursery.wait(pid) == 0

    relay.fault = None
    sweep(nursery, ground, hours=2)
    assert violations(ground, finished=True, mails=relay.mails) == []


def imports(ground: Ground) -> int:
    return ground.log.read_text().count('"event": "file.archived"')


def test_killed_at_every_call_of_a_run_that_mails(relay: Relay, tmp_path: Path, needs: Needs) -> None:
    """A run that mails by SMTP can be killed before any of its system calls; its mail is repeated, the same bytes."""
    needs("strace")
    start = mailing(tmp_path / "start", relay)
    with Trials() as trials:
        with trials.nursery() as nursery:
            points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
        words = [point for point in points if point.call == "sendto"]
        others = [point for point in points if point.call != "sendto"]
        found = harnesses.killed_while_mailing(trials, start, [*words, *sample(others, 10)])

    assert len(words) >= len(STEPS)
    assert not found, told(found)
