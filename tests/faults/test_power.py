"""The power fails at any system call: what was told is there, and what was durable is not lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults import tracing
from tests.faults.disk import Disk, power_cut_at
from tests.faults.trials import FULL, Trials, batch_of_several, first_batch, later_batch, told

pytestmark = pytest.mark.faults

CUTS = 60 if FULL else 8  # of each run


@pytest.fixture
def disk(tmp_path: Path, needs: Needs) -> Iterator[Disk]:
    needs("strace", "mkfs.ext4", "losetup", "/dev/loop-control", root=True)
    with Disk(tmp_path) as mounted:
        yield mounted


@pytest.mark.parametrize("which", ["first", "later", "several"])
def test_power_cut(which: str, tmp_path: Path, disk: Disk) -> None:
    """Before whatever call the power fails, no import that was told about is gone, and no file with it."""
    found = []
    with Trials() as trials, trials.nursery() as nursery:
        folder = tmp_path / which
        batch = {"first": first_batch, "several": batch_of_several}.get(which)
        start = batch(folder) if batch else later_batch(folder, nursery)
        undisturbed = start.copy(tmp_path / "undisturbed")
        undisturbed.upload("volatile.csv")
        points = tracing.points(nursery, undisturbed)
        for number in range(CUTS):
            found += power_cut_at(trials, nursery, disk, start, points[number * len(points) // CUTS])
    assert not found, told(found)
