"""What a turn of the loop looks at, counted: it must not grow with the number of clients."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from types import FrameType

from importer.settings import ClientSettings
from importer.store.sqlite.database import SqliteStore
from watcher.health.alerts import Alerts
from watcher.health.trouble import Troubles
from watcher.inbox.events import EventQueue
from watcher.inbox.inboxes import Inboxes
from watcher.settings import Config, ServiceSettings
from watcher.signals import Signals


def calls_of_a_turn(folder: Path, clients: int) -> int:
    """Return how many functions are called by a turn of the loop in which nothing is due."""
    inboxes = [folder / f"client{number}" for number in range(clients)]
    for inbox in inboxes:
        inbox.mkdir(parents=True)
    config = Config(
        service=ServiceSettings(state_dir=str(folder)),
        clients=tuple(ClientSettings(name=inbox.name, inbox=str(inbox)) for inbox in inboxes),
    )
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    with contextlib.closing(SqliteStore.open(folder / "rosterd.db")) as store:
        events = EventQueue()
        troubles = Troubles(Alerts(config.mail), watching=True)
        turned = Inboxes(config, store, events, Signals(events.wake), troubles, watching=False)
        with contextlib.closing(turned):
            assert clients == len(turned.sweep_due())
            assert [] == turned.sweep_due()
            sys.setprofile(count)
            try:
                turned.sweep_due()
                turned.work()
                turned.next_at()
            finally:
                sys.setprofile(None)
    return calls


def test_a_turn_without_work_costs_the_same_for_any_number_of_clients(tmp_path: Path) -> None:
    """Only what is due is looked at: with 10,000 clients a look at each took longer than an import."""
    assert calls_of_a_turn(tmp_path / "few", 3) == calls_of_a_turn(tmp_path / "many", 100)
