"""The mail about names that are never imported, killed at each call: sent once, never twice, never not at all."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.faults import tracing
from tests.faults.checker import violations
from tests.faults.ground import STRAY, Ground, Kind
from tests.faults.nursery import Nursery
from tests.faults.tracing import Point
from tests.faults.trials import Run, Trials, sample, told

pytestmark = pytest.mark.faults


def with_a_stray(folder: Path, nursery: Nursery) -> Ground:
    """Return an installation in which a client is to be told of a name by the next run, and a file waits."""
    ground = Ground(folder)
    ground.upload("first.csv")
    (ground.inbox() / STRAY).touch()
    assert tracing.sweep(nursery, ground) == 0, ground.log.read_text()
    with contextlib.closing(sqlite3.connect(ground.database)) as database, database:
        assert 1 == database.execute("UPDATE strays SET seen_at = '2026-01-01T00:00:00Z'").rowcount
    ground.upload("second.csv", Kind.PARTLY)
    return ground


def letters(ground: Ground) -> int:
    """Return how many mails about strays were written."""
    with contextlib.closing(sqlite3.connect(ground.database)) as database:
        return int(database.execute("SELECT count(*) FROM outbox WHERE message_id LIKE '<strays.%'").fetchone()[0])


def killed(trials: Trials, start: Ground, points: list[Point]) -> list[str]:
    """Kill a sweep before each call, and let the next one recover; then there is one mail."""

    def trial(run: Run, point: Point) -> list[str]:
        tracing.sweep_killed_at(run.nursery, run.ground, point)
        found = [f"at once: {failure}" for failure in violations(run.ground, finished=False)]
        found += [f"{letters(run.ground)} mails at once"] if letters(run.ground) > 1 else []
        found += [*trials.recovered(run), *violations(run.ground, finished=True)]
        return [*found, *([] if letters(run.ground) == 1 else [f"{letters(run.ground)} mails about the name"])]

    return trials.failures(start, points, trial)


def test_killed_while_a_client_is_told(tmp_path: Path, trials: Trials) -> None:
    """Until mail and name are committed together the next run writes both; after that neither is written again."""
    with trials.nursery() as nursery:
        start = with_a_stray(tmp_path / "start", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    found = killed(trials, start, sample(points, 30))
    assert not found, told(found)
