"""Users who are missing from a snapshot, and freezes, killed at each call: nobody leaves unasked, or is told twice."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.faults import checker, tracing
from tests.faults.checker import Row
from tests.faults.ground import SNAPSHOTS, Ground, Kind
from tests.faults.nursery import Nursery
from tests.faults.test_on_hold import killed, on_hold, recovered
from tests.faults.tracing import Point
from tests.faults.trials import Run, Trials, let_mail_be_due, sample, told

pytestmark = pytest.mark.faults

FILE = f"{SNAPSHOTS}.csv"
FREEZE = ("feed", "freeze", "acme", SNAPSHOTS, "--apply", "--from", "2020-01-01", "--until")
LONG, OVER = "2999-01-01", "2020-01-02"  # last days of it


def lacking(folder: Path, nursery: Nursery) -> Ground:
    """Return an installation in which a snapshot waits that lacks a user for the second time."""
    ground = Ground(folder, roster="removals")
    for _ in range(2):
        ground.upload(FILE)
        assert tracing.sweep(nursery, ground) == 0, ground.log.read_text()
    ground.upload(FILE, Kind.PARTLY)
    return ground


def asked(folder: Path, nursery: Nursery) -> Ground:
    """Return an installation whose removals are on hold."""
    ground = lacking(folder, nursery)
    assert tracing.sweep(nursery, ground) == 0, ground.log.read_text()
    let_mail_be_due(ground)
    assert 1 == on_hold(ground)
    return ground


def rows(ground: Ground, query: str) -> list[Row]:
    with contextlib.closing(sqlite3.connect(ground.database)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(query)]


def removed(ground: Ground) -> tuple[int, list[str]]:
    """Return how many removals the ledger has, and who is inactive."""
    inactive = rows(ground, "SELECT unique_id FROM users WHERE inactive_by IS NOT NULL ORDER BY 1")
    return len(rows(ground, "SELECT 1 FROM imports WHERE kind = 'removals'")), [row["unique_id"] for row in inactive]


def mails(ground: Ground, name: str) -> int:
    """Return how many mails of this name are in the outbox."""
    return len(rows(ground, f"SELECT 1 FROM outbox WHERE message_id LIKE '<{name}@%'"))  # noqa: S608 - ours


def test_killed_while_removals_go_on_hold(tmp_path: Path, trials: Trials) -> None:
    """The snapshot is applied and the question asked, or neither; in the end both are."""
    with trials.nursery() as nursery:
        start = lacking(tmp_path / "start", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    found = killed(trials, start, sample(points, 12), waiting=1)
    assert not found, told(found)


def test_killed_while_a_newer_snapshot_asks_anew(tmp_path: Path, trials: Trials) -> None:
    """The newer question replaces the older one."""
    with trials.nursery() as nursery:
        start = asked(tmp_path / "start", nursery)
        start.upload(FILE)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    found = killed(trials, start, sample(points, 12), waiting=1)
    assert not found, told(found)


def test_killed_while_the_client_approves(tmp_path: Path, trials: Trials) -> None:
    """Decision, deactivation and mail are done once, and the upload that approves is removed."""
    with trials.nursery() as nursery:
        start = asked(tmp_path / "start", nursery)
        (row,) = [each for each in checker.on_hold(start) if not each["decision"]]
        (start.inbox() / f"{FILE}.approve-{row['code']}").touch()
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))

    def trial(run: Run, point: Point) -> list[str]:
        tracing.sweep_killed_at(run.nursery, run.ground, point)
        found = recovered(trials, run)
        ended = removed(run.ground), on_hold(run.ground), mails(run.ground, "%.removals.approved")
        return [*found, *([] if ended == ((1, ["user-1"]), 0, 1) else [f"it ended with {ended}"])]

    found = trials.failures(start, sample(points, 8), trial)
    assert not found, told(found)


def test_killed_while_they_are_given_up(tmp_path: Path, trials: Trials) -> None:
    """Removals on which nobody decides are given up once, and the client is told once."""
    with trials.nursery() as nursery:
        start = asked(tmp_path / "start", nursery)
        with contextlib.closing(sqlite3.connect(start.database)) as database, database:
            database.execute("UPDATE on_hold SET held_at = '2026-01-01T00:00:00Z'")
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))

    def trial(run: Run, point: Point) -> list[str]:
        tracing.sweep_killed_at(run.nursery, run.ground, point)
        found = recovered(trials, run, sweeps=2)
        ended = removed(run.ground), on_hold(run.ground), mails(run.ground, "%.removals.expired")
        return [*found, *([] if ended == ((0, []), 0, 1) else [f"it ended with {ended}"])]

    found = trials.failures(start, sample(points, 8), trial)
    assert not found, told(found)


@pytest.mark.parametrize("command", ["approve", "reject"])
def test_killed_while_the_operator_decides(tmp_path: Path, trials: Trials, command: str) -> None:
    """The order is carried out whole, or not at all; if it was killed in time it can be given again."""
    order = (command, FILE, "--client", "acme")
    with trials.nursery() as nursery:
        start = asked(tmp_path / "start", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"), *order)
    expected = ((1, ["user-1"]) if command == "approve" else (0, [])), 0, 1

    def trial(run: Run, point: Point) -> list[str]:
        given: tuple[str | Path, ...] = (*order, "--config", run.ground.config)
        tracing.killed_at(run.nursery, point, *given, log=run.ground.log)
        found = recovered(trials, run)
        run.nursery.run(*given, log=run.ground.log)
        found += recovered(trials, run)
        ended = removed(run.ground), on_hold(run.ground), mails(run.ground, "%.removals.%ed")
        return [*found, *([] if ended == expected else [f"it ended with {ended}"])]

    found = trials.failures(start, sample(points, 8), trial)
    assert not found, told(found)


@pytest.mark.parametrize("last_day", [LONG, OVER])
def test_killed_while_a_feed_is_frozen(tmp_path: Path, trials: Trials, last_day: str) -> None:
    """Whatever is killed, the order or the run that tells the client, a freeze and its early end are told once each."""
    with trials.nursery() as nursery:
        start = Ground(tmp_path / "start", roster="snapshots")
        start.upload(FILE)
        assert tracing.sweep(nursery, start) == 0, start.log.read_text()
        if last_day == OVER:
            assert nursery.run(*FREEZE, LONG, "--config", start.config, log=start.log) == 0, start.log.read_text()
            assert tracing.sweep(nursery, start) == 0, start.log.read_text()
        let_mail_be_due(start)
        undisturbed = start.copy(tmp_path / "undisturbed")
        of_order = tracing.points(nursery, undisturbed, *FREEZE, last_day)
        of_run = tracing.points(nursery, undisturbed)

    def trial(run: Run, case: tuple[str, Point]) -> list[str]:
        killed_is, point = case
        given: tuple[str | Path, ...] = (*FREEZE, last_day, "--config", run.ground.config)
        if killed_is == "order":
            tracing.killed_at(run.nursery, point, *given, log=run.ground.log)
        run.nursery.run(*given, log=run.ground.log)
        if killed_is == "run":
            tracing.sweep_killed_at(run.nursery, run.ground, point)
        found = recovered(trials, run)
        announced = mails(run.ground, "freeze.%")
        expected = 1 if last_day == LONG else 2
        return [*found, *([] if announced == expected else [f"{announced} mails in place of {expected}"])]

    cases = [*(("order", point) for point in of_order), *(("run", point) for point in of_run)]
    found = trials.failures(start, sample(cases, 14), trial)
    assert not found, told(found)
