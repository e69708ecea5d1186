"""What a turn of the loop looks at, counted: it must not grow with the number of clients."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from importer.settings import ClientSettings
from importer.store.connection import Cursor
from importer.store.database import Store
from importer.store.sqlite.database import SqliteStore
from watcher.health.alerts import Alerts
from watcher.health.trouble import Troubles
from watcher.inbox.events import EventQueue
from watcher.inbox.inboxes import Inboxes
from watcher.settings import Config, ServiceSettings
from watcher.signals import Signals


@contextlib.contextmanager
def installed(folder: Path, clients: int) -> Iterator[tuple[Inboxes, Store]]:
    """Yield the inboxes of so many clients, and the database."""
    inboxes = [folder / f"client{number}" for number in range(clients)]
    for inbox in inboxes:
        inbox.mkdir(parents=True)
    config = Config(
        service=ServiceSettings(state_dir=str(folder)),
        clients=tuple(ClientSettings(name=inbox.name, inbox=str(inbox)) for inbox in inboxes),
    )
    with contextlib.closing(SqliteStore.open(folder / "rosterd.db")) as store:
        events = EventQueue()
        troubles = Troubles(Alerts(config.mail), watching=True)
        parts = Inboxes(config, store, events, Signals(events.wake), troubles, watching=False)
        with contextlib.closing(parts):
            yield parts, store


def calls_of_a_turn(folder: Path, clients: int) -> int:
    """Return how many functions are called by a turn of the loop in which nothing is due."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    with installed(folder, clients) as (inboxes, _):
        assert clients == len(inboxes.sweep_due())
        assert [] == inboxes.sweep_due()
        sys.setprofile(count)
        try:
            inboxes.sweep_due()
            inboxes.work()
            inboxes.next_at()
        finally:
            sys.setprofile(None)
    return calls


def statements_of_sweeps(folder: Path, clients: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many statements it takes to sweep all inboxes."""
    statements: list[str] = []
    with installed(folder, clients) as (inboxes, store):
        execute = store.conn.execute

        def note(statement: str, *values: Any) -> Cursor:  # noqa: ANN401 - as Connection has it
            statements.append(statement)
            return execute(statement, *values)

        monkeypatch.setattr(store.conn, "execute", note)
        assert clients == len(inboxes.sweep_due())
    return len(statements)


def test_a_turn_without_work_costs_the_same_for_any_number_of_clients(tmp_path: Path) -> None:
    """Only what is due is looked at: with 10,000 clients a look at each took longer than an import."""
    assert calls_of_a_turn(tmp_path / "few", 3) == calls_of_a_turn(tmp_path / "many", 100)


def test_sweeps_of_many_inboxes_ask_the_database_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of all clients is asked at once: a question for each took longer than listing its inbox."""
    few = statements_of_sweeps(tmp_path / "few", 3, monkeypatch)
    assert few == statements_of_sweeps(tmp_path / "many", 100, monkeypatch)


def test_files_do_not_wait_for_all_sweeps(tmp_path: Path) -> None:
    """Of inboxes that are due for a sweep so many are swept as the loop has time for; none is forgotten."""
    with installed(tmp_path, 20) as (inboxes, _):
        swept = [inboxes.sweep_due(8) for _ in range(4)]
    assert [8, 8, 4, 0] == [*map(len, swept)]
    assert 20 == len({client for each in swept for client in each})
