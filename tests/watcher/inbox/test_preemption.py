"""A large import makes way: decided from values, while no folder can be opened."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import msgspec
import pytest

from importer.model import Claim
from importer.settings import ClientSettings
from tests.lab import wait_until
from watcher.inbox.events import EventQueue, InboxEvent
from watcher.inbox.large_files import LARGE_BYTES, Readings
from watcher.inbox.queue import Backlog, Preemption
from watcher.inbox.settle import Settling
from watcher.inbox.sweeps import quiet_since
from watcher.model import Identity, Sighting
from watcher.settings import Config, IntakeSettings
from watcher.signals import Signals

QUIET_S = 0.1
CONFIG = Config(
    clients=tuple(ClientSettings(name=name, inbox="/nowhere") for name in ("acme", "beta")),
    intake=IntakeSettings(quiet_s=QUIET_S),
)
LARGE = Claim(
    claim_id="20261122T074205Z-00000000",
    client="acme",
    name=b"large.csv",
    folder_fd=-1,
    archive=b"large.20261122T074205Z.csv",
    device=0,
    inode=0,
    size_bytes=LARGE_BYTES,
    mtime_ns=0,
    claimed_at=datetime(2026, 11, 22, tzinfo=UTC),
)


class Host:
    """What a preemption reads."""

    def __init__(self, config: Config = CONFIG, *, watching: bool = True) -> None:
        self.events = EventQueue()
        self.settling = Settling(config.intake)
        self.readings = Readings()
        self.backlog = Backlog()
        self.backlog.add("acme", LARGE.claim_id)
        self.signals = Signals(self.events.wake)
        self.preemption = Preemption(
            self.settling, self.readings, self.backlog, self.events, self.signals, watching=watching
        )
        self.preemption.use(config)


@pytest.fixture
def host() -> Host:
    """Return a host on which acme has a large claim."""
    return Host()


def test_import_is_left_for_what_another_client_uploads(host: Host) -> None:
    """Once an upload that an event reported meanwhile is quiet, the check says so; nothing of it was opened."""
    should_leave = host.preemption.check_for(LARGE)
    assert not host.preemption.must_wait(LARGE)
    host.events.add("beta", b"small.csv", closed=True)
    heard = time.monotonic()

    assert not should_leave()
    wait_until(should_leave, "the file to be left")
    assert time.monotonic() - heard >= QUIET_S
    assert host.preemption.must_wait(LARGE)


def test_no_import_is_left_for_a_name_that_is_gone(host: Host) -> None:
    """An upload that was deleted, or renamed, before it was quiet keeps no import from its end."""
    should_leave = host.preemption.check_for(LARGE)
    host.events.add("beta", b"probe.csv", closed=True)
    host.events.forget("beta", b"probe.csv")
    until = time.monotonic() + QUIET_S
    wait_until(lambda: time.monotonic() > until, "the quiet period")
    assert not should_leave()


def test_import_is_left_for_a_name_that_settles(host: Host) -> None:
    """So it is for a name that was known before, as soon as it is due."""
    now = time.monotonic()
    host.settling.note(Sighting(client="beta", name=b"small.csv", identity=Identity(1, 2, 3, 4, 5)), now)
    wait_until(host.preemption.check_for(LARGE), "the file to be left")
    assert time.monotonic() - now >= QUIET_S


@pytest.mark.parametrize("why", ["own", "blocked", "small", "its turn", "single pass", "stopping"])
def test_import_that_is_not_left(why: str) -> None:
    """Nothing is gained by leaving a file for its own client, for one that cannot be served, and in the other cases."""
    give_way_s = 0.001 if why == "its turn" else 300.0
    config = msgspec.structs.replace(CONFIG, intake=IntakeSettings(quiet_s=0.001, give_way_s=give_way_s))
    host = Host(config, watching=why != "single pass")
    claim = msgspec.structs.replace(LARGE, size_bytes=LARGE_BYTES - 1) if why == "small" else LARGE
    if why == "blocked":
        host.backlog.add("beta", "20261122T074205Z-00000001")
    should_leave = host.preemption.check_for(claim)
    host.events.add("acme" if why == "own" else "beta", b"small.csv", closed=True)
    if why == "stopping":
        host.signals._stop(15, None)

    wait_until(lambda: host.events.quiet_since(()) + 2 * 0.001 < time.monotonic(), "the upload to be quiet")
    assert not should_leave()


def test_event_that_waited() -> None:
    """A file is quiet since its event, or since its last change; a clock that was set makes no file quiet."""
    hint, now, now_ns = InboxEvent("acme", b"users.csv", closed=True, at=95.0), 100.0, 10**18
    ages_s = {10.0: 95.0, 2.0: 98.0, -7.0: 100.0}

    def changed(age_s: float) -> Identity:
        return Identity(1, 2, 3, 4, now_ns - int(age_s * 10**9))

    assert [*ages_s.values()] == [quiet_since(hint, changed(age_s), now, now_ns) for age_s in ages_s]
