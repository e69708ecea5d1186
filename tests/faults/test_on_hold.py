"""Files on hold, and users who leave, killed at each call: nothing is applied unasked, lost, or applied twice."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.faults import checker, tracing
from tests.faults.checker import violations
from tests.faults.ground import MISSES, SNAPSHOTS, Ground, Kind
from tests.faults.nursery import Nursery
from tests.faults.tracing import Point
from tests.faults.trials import Run, Trials, let_mail_be_due, sample, told

pytestmark = pytest.mark.faults


def guarded(folder: Path, nursery: Nursery) -> Ground:
    """Return an installation with users, in which a file waits that goes on hold."""
    ground = Ground(folder, roster="guarded")
    ground.upload("first.csv")
    assert tracing.sweep(nursery, ground) == 0, ground.log.read_text()
    ground.upload("users.csv", Kind.PARTLY)
    return ground


def decide(ground: Ground, decision: str) -> None:
    """Decide on what is on hold, as the orders do."""
    with contextlib.closing(sqlite3.connect(ground.database)) as database, database:
        changed = database.execute(
            "UPDATE on_hold SET decision = ?, decided_by = 'operator', decided_at = held_at WHERE decision = ''",
            (decision,),
        )
        assert 1 == changed.rowcount


def held(folder: Path, nursery: Nursery) -> Ground:
    """Return an installation with a file on hold."""
    ground = guarded(folder, nursery)
    assert tracing.sweep(nursery, ground) == 0, ground.log.read_text()
    let_mail_be_due(ground)
    return ground


def on_hold(ground: Ground) -> int:
    """Return how many files wait for a decision."""
    return len([row for row in checker.on_hold(ground) if not row["decision"]])


def recovered(trials: Trials, run: Run, *, sweeps: int = 1) -> list[str]:
    """Return what is wrong now, and after so many sweeps."""
    found = [f"at once: {failure}" for failure in violations(run.ground, finished=False)]
    for _ in range(sweeps - 1):
        assert tracing.sweep(run.nursery, run.ground) == 0, run.ground.log.read_text()
    return [*found, *trials.recovered(run), *violations(run.ground, finished=True)]


def killed(trials: Trials, start: Ground, points: list[Point], *, waiting: int) -> list[str]:
    """Kill a sweep before each call, and let the next one recover; then so many files wait for a decision."""

    def trial(run: Run, point: Point) -> list[str]:
        tracing.sweep_killed_at(run.nursery, run.ground, point)
        found = recovered(trials, run)
        return [*found, *([] if on_hold(run.ground) == waiting else [f"{on_hold(run.ground)} files are on hold"])]

    return trials.failures(start, points, trial)


def test_killed_while_a_file_goes_on_hold(tmp_path: Path, trials: Trials) -> None:
    """Until the row and the mail are committed it is previewed again; after that it waits, with its answers in .bak."""
    with trials.nursery() as nursery:
        start = guarded(tmp_path / "start", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    found = killed(trials, start, sample(points, 30), waiting=1)
    assert not found, told(found)


@pytest.mark.parametrize("decision", ["approved", "rejected", "expired"])
def test_killed_after_the_decision(tmp_path: Path, trials: Trials, decision: str) -> None:
    """What was decided is done once: imported, or refused, archived and told."""
    with trials.nursery() as nursery:
        start = held(tmp_path / "start", nursery)
        decide(start, decision)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    found = killed(trials, start, sample(points, 12), waiting=0)
    assert not found, told(found)


def test_killed_while_a_newer_file_replaces_one_on_hold(tmp_path: Path, trials: Trials) -> None:
    """The older one is refused, the newer one is on hold in its place."""
    with trials.nursery() as nursery:
        start = held(tmp_path / "start", nursery)
        start.upload("users.csv")
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    found = killed(trials, start, sample(points, 20), waiting=1)
    assert not found, told(found)


def test_killed_while_the_client_approves(tmp_path: Path, trials: Trials) -> None:
    """The approval counts once it is recorded; its upload is removed then, and nobody is told that it is wrong."""
    with trials.nursery() as nursery:
        start = held(tmp_path / "start", nursery)
        (row,) = checker.on_hold(start)
        (start.inbox() / f"users.csv.approve-{row['code']}").touch()
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    found = killed(trials, start, sample(points, 20), waiting=0)
    assert not found, told(found)


def test_killed_while_a_file_is_given_up(tmp_path: Path, trials: Trials) -> None:
    """A file that has waited too long is refused once, by the run that decides it or by a later one."""
    with trials.nursery() as nursery:
        start = held(tmp_path / "start", nursery)
        with contextlib.closing(sqlite3.connect(start.database)) as database, database:
            database.execute("UPDATE on_hold SET held_at = '2026-01-01T00:00:00Z'")
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))

    def trial(run: Run, point: Point) -> list[str]:
        tracing.sweep_killed_at(run.nursery, run.ground, point)
        found = recovered(trials, run, sweeps=2)
        return [*found, *(["it is on hold"] if on_hold(run.ground) else [])]

    found = trials.failures(start, sample(points, 12), trial)
    assert not found, told(found)


@pytest.mark.parametrize("command", [("approve", "users.csv"), ("reject", "users.csv"), ("undo", "1", "--apply")])
def test_killed_while_the_operator_decides(tmp_path: Path, trials: Trials, command: tuple[str, ...]) -> None:
    """The order is carried out whole, or not at all; if it was killed in time it can be given again."""
    with trials.nursery() as nursery:
        start = held(tmp_path / "start", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"), *command)

    def trial(run: Run, point: Point) -> list[str]:
        given: tuple[str | Path, ...] = (*command, "--config", run.ground.config)
        tracing.killed_at(run.nursery, point, *given, log=run.ground.log)
        found = recovered(trials, run)
        done = len(checker.ledger(run.ground)), on_hold(run.ground)
        if run.nursery.run(*given, log=run.ground.log) == 0:
            found += recovered(trials, run)
            done = len(checker.ledger(run.ground)), on_hold(run.ground)
        return [*found, *([] if done == ((3, 1) if "undo" in command else (2, 0)) else [f"it ended with {done}"])]

    found = trials.failures(start, sample(points, 12), trial)
    assert not found, told(found)


def test_killed_while_users_leave(tmp_path: Path, trials: Trials) -> None:
    """Who is missing, and for how long, is counted once, and forgotten with an import that is not committed."""
    with trials.nursery() as nursery:
        start = Ground(tmp_path / "start", roster="snapshots")
        for number in range(MISSES):
            start.upload(f"{SNAPSHOTS}{number}.csv")
            assert tracing.sweep(nursery, start) == 0, start.log.read_text()
        start.upload(f"{SNAPSHOTS}.csv", Kind.PARTLY)
        undisturbed = start.copy(tmp_path / "undisturbed")
        points = tracing.points(nursery, undisturbed)
    with contextlib.closing(sqlite3.connect(undisturbed.database)) as database:
        rows = database.execute("SELECT unique_id, inactive_by, missed FROM users ORDER BY 1").fetchall()
    assert [("newest", None, None), ("user-1", "snapshot", None), ("user-2", None, '{"roster":1}')] == rows[:3]
    found = killed(trials, start, sample(points, 30), waiting=0)
    assert not found, told(found)
