"""Killed at every system call: nothing lost, nothing twice, nobody needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import harnesses, tracing
from tests.faults.ground import Ground
from tests.faults.nursery import Nursery
from tests.faults.tracing import Point
from tests.faults.trials import FULL, LATER, Trials, batch_of_several, first_batch, sample, told

pytestmark = pytest.mark.faults

Later = Callable[[Path, Nursery], Ground]


@pytest.mark.parametrize("batch", [first_batch, batch_of_several])
def test_killed_at_every_call_of_the_first_run(batch: Callable[[Path], Ground], tmp_path: Path, trials: Trials) -> None:
    """A first run, which makes the database, can be killed before any of its calls, also where files share a commit."""
    start = batch(tmp_path / "first")
    with trials.nursery() as nursery:
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    found = harnesses.killed(trials, start, sample(points, 40))
    assert not found, told(found)


@pytest.mark.parametrize("batch", LATER)
def test_killed_at_every_call_of_a_later_run(batch: Later, tmp_path: Path, trials: Trials) -> None:
    """A run that updates users, and archives beside older files, can be killed before any of its system calls."""
    with trials.nursery() as nursery:
        start = batch(tmp_path / "later", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    found = harnesses.killed(trials, start, sample(points, 40))
    assert not found, told(found)


def test_killed_at_every_call_of_the_mail_thread(tmp_path: Path, trials: Trials) -> None:
    """The delivery into the Maildir can be killed before any of its system calls."""
    # Four folders are made, the file is opened, synced, renamed; its folder is opened, synced and closed.
    found = harnesses.killed_in_the_mail_thread(trials, first_batch(tmp_path / "first"), range(1, 13))
    assert not found, told(found)


@pytest.mark.parametrize("batch", LATER)
def test_killed_again_in_the_recovery(batch: Later, tmp_path: Path, trials: Trials) -> None:
    """A run that sets right what a killed one left can be killed before any of its system calls, too."""
    with trials.nursery() as nursery:
        start = batch(tmp_path / "later", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))

    found = [
        failure
        for first in _spread(points, 20 if FULL else 4)
        for failure in harnesses.killed_again(trials, start, first, lambda calls: _spread(calls, 12 if FULL else 3))
    ]
    assert not found, told(found)


def _spread(points: list[Point], count: int) -> list[Point]:
    return [points[index * len(points) // count] for index in range(count)]
