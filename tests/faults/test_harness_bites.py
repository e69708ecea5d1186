"""The harnesses find the mistakes they are there for: a build that is broken on purpose does not pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults import tracing
from tests.faults.checker import violations
from tests.faults.disk import Disk, power_cut_at
from tests.faults.trials import Run, Trials, first_batch

pytestmark = pytest.mark.faults

ROUNDS = 24


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("archive before commit", "is in .bak and not in the ledger"),
        ("mail before commit", "was delivered and is not in the outbox"),
        ("commit piecemeal", "user ("),
    ],
)
def test_kills_find(mistake: str, told: str, tmp_path: Path, needs: Needs) -> None:
    """A wrong order of steps shows when the run is killed in between."""
    needs("strace")
    start = first_batch(tmp_path / "first")

    def trial(run: Run, point: tracing.Point) -> list[str]:
        tracing.sweep_killed_at(run.nursery, run.ground, point)
        return violations(run.ground, finished=False)

    with Trials(tmp_path, broken=mistake) as trials:
        with trials.nursery() as nursery:
            points = tracing.points(nursery, start.copy(tmp_path / "undisturbed"))
        found = any(
            told in failure
            for first in range(ROUNDS)
            for failure in trials.failures(
                start, points[first::ROUNDS], trial
            )  # spread over the run; one hit is enough
        )

    assert found


@pytest.mark.parametrize(
    ("mistake", "told"), [("commit without sync", "not in the ledger, yet told"), ("import without sync", "lost: ")]
)
def test_power_cuts_find(mistake: str, told: str, tmp_path: Path, needs: Needs) -> None:
    """What was taken as durable and is not shows when the power fails later."""
    needs("strace", "mkfs.ext4", "losetup", "/dev/loop-control", root=True)
    start = first_batch(tmp_path / "first")
    with Disk(tmp_path) as disk, Trials(tmp_path, broken=mistake) as trials, trials.nursery() as nursery:
        undisturbed = start.copy(tmp_path / "undisturbed")
        undisturbed.upload("volatile.csv")
        moves = [point for point in tracing.points(nursery, undisturbed) if point.call == "renameat2"]
        found = any(
            told in each for point in reversed(moves) for each in power_cut_at(trials, nursery, disk, start, point)
        )

    assert found
