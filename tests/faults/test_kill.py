"""Killed at every system call: nothing lost, nothing twice, nobody needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults import tracing
from tests.faults.checker import violations
from tests.faults.ground import Kind
from tests.faults.tracing import Point
from tests.faults.trials import FULL, Run, Trials, first_batch, later_batch, sample, told

pytestmark = pytest.mark.faults


@pytest.fixture
def trials(tmp_path: Path, needs: Needs) -> Iterator[Trials]:
    needs("strace")
    with Trials(tmp_path) as running:
        yield running


def judged(trials: Trials, run: Run) -> list[str]:
    """Return what is wrong now, and after the next run; meanwhile the client goes on with its work."""
    found = [f"at once: {failure}" for failure in violations(run.ground, finished=False, in_order=True)]
    run.ground.upload("again.csv", Kind.PARTLY)
    found += trials.recovered(run)
    return found + violations(run.ground, finished=True, in_order=True)


def test_killed_at_every_call_of_the_first_run(tmp_path: Path, trials: Trials) -> None:
    """A first run, which makes the database, can be killed before any of its system calls."""
    start = first_batch(tmp_path / "first")
    with trials.nursery() as nursery:
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))

    def trial(run: Run, point: Point) -> list[str]:
        tracing.sweep_killed_at(run.nursery, run.ground, point)
        return judged(trials, run)

    found = trials.failures(start, sample(points, 40), trial)
    assert not found, told(found)


def test_killed_at_every_call_of_a_later_run(tmp_path: Path, trials: Trials) -> None:
    """A run that updates users, and archives beside older files, can be killed before any of its system calls."""
    with trials.nursery() as nursery:
        start = later_batch(tmp_path / "later", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))

    def trial(run: Run, point: Point) -> list[str]:
        tracing.sweep_killed_at(run.nursery, run.ground, point)
        return judged(trials, run)

    found = trials.failures(start, sample(points, 40), trial)
    assert not found, told(found)


def test_killed_at_every_call_of_the_mail_thread(tmp_path: Path, trials: Trials) -> None:
    """The delivery into the Maildir can be killed before any of its system calls."""
    start = first_batch(tmp_path / "first")

    def trial(run: Run, number: int) -> list[str]:
        arguments = ("sweep", "--config", run.ground.config)
        status = run.nursery.run(*arguments, log=run.ground.log, kill_sender_at=number)
        return judged(trials, run) + ([] if status == -9 else [f"was not killed, but ended with {status}"])

    # Four folders are made, the file is opened, synced, renamed; its folder is opened, synced and closed.
    found = trials.failures(start, range(1, 13), trial)
    assert not found, told(found)


def test_killed_again_in_the_recovery(tmp_path: Path, trials: Trials) -> None:
    """A run that sets right what a killed one left can be killed before any of its system calls, too."""
    with trials.nursery() as nursery:
        start = later_batch(tmp_path / "later", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))

    found = []
    for number, first in enumerate(_spread(points, 20 if FULL else 4)):
        killed = start.copy(tmp_path / f"killed-{number}")
        with trials.nursery() as nursery:
            tracing.sweep_killed_at(nursery, killed, first)
            recovery = tracing.points(nursery, killed.copy(tmp_path / f"recovered-{number}"))

        def trial(run: Run, second: Point) -> list[str]:
            tracing.sweep_killed_at(run.nursery, run.ground, second)
            return judged(trials, run)

        cases = _spread(recovery, 12 if FULL else 3)
        found += [f"{first}, then {failure}" for failure in trials.failures(killed, cases, trial)]
    assert not found, told(found)


def _spread(points: list[Point], count: int) -> list[Point]:
    return [points[index * len(points) // count] for index in range(count)]
