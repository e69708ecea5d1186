"""A service that tells a webhook, killed at each call: each file's end is queued once, told, and under one id."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from tests.faults import tracing
from tests.faults.ground import Ground, Kind
from tests.faults.trials import Run, Trials, sample, told
from tests.lab.receiver import SECRET, Receiver

pytestmark = pytest.mark.faults

HOOK = """
[[hook]]
name = "tickets"
url = "http://127.0.0.1:1/in"
events = ["*"]
secret_file = "hook_secret"
timeout_s = 5.0
"""


def hooked(folder: Path) -> Ground:
    """Return an installation with a hook, in which files wait for their first run."""
    ground = Ground(folder)
    (folder / "hook_secret").write_text(SECRET)
    ground.config.write_text(ground.config.read_text() + HOOK)
    ground.upload("good.csv")
    ground.upload("partly.csv", Kind.PARTLY)
    ground.upload("refused.csv", Kind.REFUSED)
    return ground


def told_at(ground: Ground, port: int) -> None:
    """Let events go to this port of 127.0.0.1."""
    text = ground.config.read_text()
    ground.config.write_text(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port}", text))


def rows(ground: Ground, sql: str) -> list[tuple[str, ...]]:
    """Return what the database has, nothing before there is one."""
    if not ground.database.exists():
        return []
    with (
        contextlib.closing(sqlite3.connect(ground.database)) as database,
        contextlib.suppress(sqlite3.OperationalError),
    ):
        return database.execute(sql).fetchall()
    return []


def let_events_be_due(ground: Ground) -> None:
    """Change the times of events as if an hour had passed."""
    with contextlib.closing(sqlite3.connect(ground.database)) as database, database:
        database.execute("UPDATE hook_events SET due_at = created_at WHERE state = 'waiting'")


def wrong(ground: Ground, receiver: Receiver) -> list[str]:
    """Return what may never be: an end of a file that is queued twice or not, an event told before its commit."""
    ended = Counter(row[0] for row in rows(ground, "SELECT claim_id FROM imports"))
    bodies = [json.loads(row[0]) for row in rows(ground, "SELECT body FROM hook_events WHERE event LIKE 'file.%'")]
    queued = Counter(body["data"]["claim_id"] for body in bodies)
    found = [f"{claim}: queued {queued[claim]} times" for claim in ended | queued if queued[claim] != ended[claim]]
    known = {row[0]: row[1].encode() for row in rows(ground, "SELECT event_id, body FROM hook_events")}
    strange = [each for each in receiver.requests if known.get(each.id) != each.body or not each.is_genuine]
    return [*found, *(f"{each.id}: was told and is not queued like that" for each in strange)]


def untold(ground: Ground, receiver: Receiver) -> list[str]:
    """Return which events have not arrived, at the end."""
    came = {request.id for request in receiver.requests}
    events = rows(ground, "SELECT event_id, state FROM hook_events")
    return [f"{id_}: {state}, told: {id_ in came}" for id_, state in events if state != "sent" or id_ not in came]


def killed(trials: Trials, start: Ground, points: list[tracing.Point]) -> list[str]:
    """Kill a sweep before each of these calls; every trial has a receiver of its own."""

    def trial(run: Run, point: tracing.Point) -> list[str]:
        with Receiver() as receiver:
            told_at(run.ground, receiver.port)
            tracing.sweep_killed_at(run.nursery, run.ground, point)
            found = [f"at once: {each}" for each in wrong(run.ground, receiver)]
            found += trials.recovered(run)
            let_events_be_due(run.ground)
            tracing.sweep(run.nursery, run.ground)
            found += [] if len(rows(run.ground, "SELECT id FROM imports")) == len(run.ground.uploads) else ["not all"]
            return [*found, *wrong(run.ground, receiver), *untold(run.ground, receiver)]

    return trials.failures(start, points, trial)


def points_of(trials: Trials, start: Ground, folder: Path) -> list[tracing.Point]:
    """Return the calls of a sweep that nobody disturbs."""
    undisturbed = start.copy(folder)
    with Receiver() as receiver, trials.nursery() as nursery:
        told_at(undisturbed, receiver.port)
        found = tracing.points(nursery, undisturbed)
        assert [] == [*wrong(undisturbed, receiver), *untold(undisturbed, receiver)]
        assert 3 == len(receiver.requests)
    return found


def test_killed_at_every_call_of_a_run_that_tells_a_hook(tmp_path: Path, trials: Trials) -> None:
    """A run can be killed before any of its calls: no end of a file is untold, or told under two ids."""
    start = hooked(tmp_path / "start")
    points = points_of(trials, start, tmp_path / "undisturbed")
    words = [point for point in points if point.call == "sendto"]
    others = [point for point in points if point.call != "sendto"]
    found = killed(trials, start, [*words, *sample(others, 24)])
    assert words
    assert not found, told(found)
