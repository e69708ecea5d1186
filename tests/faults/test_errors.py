"""A host that refuses: every system call fails once, or from then on. Nothing is lost, and the next run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults import harnesses, tracing
from tests.faults.harnesses import Refusal
from tests.faults.tracing import Point
from tests.faults.trials import Trials, later_batch, sample, told

pytestmark = pytest.mark.faults

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE", "EINTR")


@pytest.fixture
def trials(tmp_path: Path, needs: Needs) -> Iterator[Trials]:
    needs("strace")
    with Trials(tmp_path) as running:
        yield running


def refusals(points: list[Point]) -> list[Refusal]:
    return [
        Refusal(point, error, for_good=error != "EINTR" and (place + which) % 2 == 1)
        for place, point in enumerate(points)
        for which, error in enumerate(ERRORS)
    ]


def test_every_call_can_be_refused(tmp_path: Path, trials: Trials) -> None:
    """Whatever call the host refuses, and with whatever error: the operator is told once, and the next run goes on."""
    with trials.nursery() as nursery:
        start = later_batch(tmp_path / "later", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    start.log.unlink()
    found = harnesses.refused(trials, start, sample(refusals(points), 40))
    assert not found, told(found)
