"""A host that refuses: every system call fails once, or from then on. Nothing is lost, and the next run goes on."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults import tracing
from tests.faults.checker import violations
from tests.faults.ground import Ground, Kind
from tests.faults.tracing import Point
from tests.faults.trials import Run, Trials, later_batch, sample, told

pytestmark = pytest.mark.faults

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE", "EINTR")


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A call that fails. After EINTR a program tries again, for ever if need be: so that one comes once."""

    point: Point
    error: str
    for_good: bool


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


def wrong_alerts(ground: Ground, status: int) -> Iterator[str]:
    """Yield what is wrong about what the operator was told: every cause is told once."""
    lines = ground.log.read_text().splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    alerts = [entry for entry in entries if entry["level"] in ("error", "critical")]
    causes = collections.Counter(
        tuple(str(entry.get(key)) for key in ("event", "client", "reason")) for entry in alerts
    )
    yield from (f"told {count} times: {cause}" for cause, count in causes.items() if count > 1)
    if status < 0:
        yield f"hung, and was ended with {status}"
    elif status and not alerts and len(entries) == len(lines):  # a configuration is refused on standard error
        yield f"ended with {status} and told nobody why"


def test_every_call_can_be_refused(tmp_path: Path, trials: Trials) -> None:
    """Whatever call the host refuses, and with whatever error: the operator is told once, and the next run goes on."""
    with trials.nursery() as nursery:
        start = later_batch(tmp_path / "later", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    start.log.unlink()

    def trial(run: Run, refusal: Refusal) -> list[str]:
        status = tracing.sweep_refused_at(
            run.nursery, run.ground, refusal.point, refusal.error, for_good=refusal.for_good
        )
        found = [f"at once: {failure}" for failure in violations(run.ground, finished=False)]
        if refusal.point.call != "write":  # which the log needs, too
            found += wrong_alerts(run.ground, status)
        run.ground.upload("again.csv", Kind.PARTLY)
        found += trials.recovered(run)
        return found + violations(run.ground, finished=True)

    found = trials.failures(start, sample(refusals(points), 40), trial)
    assert not found, told(found)
