"""A host that refuses: every system call fails once, or from then on. Nothing is lost, and the next run goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import harnesses, tracing
from tests.faults.checker import violations
from tests.faults.ground import Ground
from tests.faults.harnesses import Refusal
from tests.faults.nursery import Nursery
from tests.faults.tracing import Point
from tests.faults.trials import LATER, Trials, sample, told

pytestmark = pytest.mark.faults

Later = Callable[[Path, Nursery], Ground]

ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EMFILE", "EINTR")


def refusals(points: list[Point]) -> list[Refusal]:
    return [
        Refusal(point, error, for_good=error != "EINTR" and (place + which) % 2 == 1)
        for place, point in enumerate(points)
        for which, error in enumerate(ERRORS)
    ]


def sync_refusals(points: list[Point]) -> list[Refusal]:
    """Return an I/O error at each sync of ours; SQLite's own are fdatasync."""
    return [Refusal(point, "EIO", for_good=False) for point in points if point.call == "fsync"]


@pytest.mark.parametrize("batch", LATER)
def test_every_call_can_be_refused(batch: Later, tmp_path: Path, trials: Trials) -> None:
    """Whatever call the host refuses, and with whatever error: the operator is told once, and the next run goes on."""
    with trials.nursery() as nursery:
        start = batch(tmp_path / "later", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    start.log.unlink()
    found = harnesses.refused(trials, start, sample(refusals(points), 40))
    assert not found, told(found)


@pytest.mark.parametrize("batch", LATER)
def test_every_sync_can_fail(batch: Later, tmp_path: Path, trials: Trials) -> None:
    """A sync that meets an I/O error ends the run with the status for that, told once; the next run does the rest."""
    with trials.nursery() as nursery:
        start = batch(tmp_path / "later", nursery)
        points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
    start.log.unlink()
    found = harnesses.refused(trials, start, sample(sync_refusals(points), 12))
    assert not found, told(found)


def test_bad_sector_of_an_upload_holds_up_its_client_only(tmp_path: Path, trials: Trials) -> None:
    """An upload that cannot be read waits and is told of; files of others are imported, and it is once it can be."""
    ground = Ground(tmp_path / "ground", clients=("acme", "beta"))
    with trials.nursery() as nursery:
        tracing.sweep(nursery, ground)
        ground.upload("users.csv")
        ground.upload("users.csv", client="beta")
        claimed = ground.inbox() / ".work" / "20261101T000000Z-00000000"
        claimed.mkdir(mode=0o700)
        (ground.inbox() / "users.csv").rename(claimed / "users.csv")

        assert tracing.sweep_that_cannot_read(nursery, ground, claimed / "users.csv") == harnesses.EXIT_IO_ERROR

        assert [(alert["event"], alert["client"]) for alert in harnesses.alerts(ground)] == [("file.deferred", "acme")]
        assert [entry["client"] for entry in harnesses.entries(ground) if entry["event"] == "file.archived"] == ["beta"]
        assert tracing.sweep(nursery, ground) == 0
    assert violations(ground, finished=True) == []
