"""A restore killed at each call: nothing starts on half of it, and the same command completes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults import tracing
from tests.faults.checker import violations
from tests.faults.ground import Ground, Kind
from tests.faults.nursery import Nursery
from tests.faults.trials import Run, Trials, sample, told

pytestmark = pytest.mark.faults

NOT_PERMITTED = 77
RUN_AGAIN = "run `rosterd restore FILE --apply` again"


def lost(folder: Path, nursery: Nursery) -> Ground:
    """Return an installation that lost all but its configuration, next to a backup of it, with files that waited."""
    ground = Ground(folder)
    ground.upload("good.csv")
    ground.upload("partly.csv", Kind.PARTLY)
    assert tracing.sweep(nursery, ground) == 0, ground.log.read_text()
    ground.upload("waiting.csv")
    made = nursery.run("backup", folder / "b.tar", "--files", "--config", ground.config, log=ground.log)
    assert made == 0, ground.log.read_text()
    shutil.copytree(ground.state / "mail", folder / "delivered")  # what has left is not lost with the host
    for path in (ground.state, ground.inbox()):
        for each in path.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    shutil.move(folder / "delivered", ground.state / "mail")
    return ground


def restoring(ground: Ground) -> tuple[str | Path, ...]:
    """Return the command."""
    return ("restore", ground.folder / "b.tar", "--apply", "--config", ground.config)


def is_begun(ground: Ground) -> bool:
    """Tell whether anything was restored, and the restore has not ended."""
    there = [*ground.inbox().iterdir(), *ground.state.glob("rosterd.db*"), *ground.state.glob("restoring.json")]
    return bool(there) and not (ground.state / "restored.json").exists()


def killed(trials: Trials, start: Ground, points: list[tracing.Point]) -> list[str]:
    """Kill a restore before each of these calls, see what a start makes of it, and run it again."""

    def trial(run: Run, point: tracing.Point) -> list[str]:
        ground, found = run.ground, []
        tracing.killed_at(run.nursery, point, *restoring(ground), log=ground.log)
        if is_begun(ground):
            status = tracing.sweep(run.nursery, ground)
            if status != NOT_PERMITTED or RUN_AGAIN not in ground.log.read_text():
                found.append(f"a start on half a restore ended with {status}")
        if not (ground.state / "restored.json").exists():
            status = run.nursery.run(*restoring(ground), log=ground.log)
            found += [f"the second restore ended with {status}"] if status else []
        found += trials.recovered(run)
        if '"backup.restored"' not in ground.log.read_text():
            found.append("the next start does not tell of the restore")
        return [*found, *violations(ground, finished=True)]

    return trials.failures(start, points, trial)


def points_of(nursery: Nursery, start: Ground, folder: Path) -> list[tracing.Point]:
    """Return the calls of a restore that nobody disturbs."""
    undisturbed = start.copy(folder)
    command = [str(word) for word in restoring(undisturbed)[:-2]]
    return tracing.points(nursery, undisturbed, *command)


def test_killed_at_every_call(tmp_path: Path, trials: Trials, needs: Needs) -> None:
    """Killed before any of its calls, a restore that is run again has users, archives and what waited in place."""
    needs(root=True)
    with trials.nursery() as nursery:
        start = lost(tmp_path / "start", nursery)
        points = points_of(nursery, start, tmp_path / "undisturbed")
    found = killed(trials, start, sample(points, 24))
    assert not found, told(found)
