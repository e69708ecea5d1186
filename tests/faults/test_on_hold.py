"""What waits for a decision, or is told, killed at each call: nothing is done unasked, by halves, or twice."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import checker, tracing
from tests.faults.checker import violations
from tests.faults.ground import SNAPSHOTS, Ground, Kind, RosterRules
from tests.faults.nursery import Nursery
from tests.faults.tracing import Point
from tests.faults.trials import Run, Trials, let_mail_be_due, sample, told

pytestmark = pytest.mark.faults

FILE, SNAPSHOT = "users.csv", f"{SNAPSHOTS}.csv"
TRIALS = 8  # of each situation, unless all are made
UNDO = ("undo", "1", "--apply")
PAUSE = ("guard", "pause", "acme", "attribute", "--until", "2999-01-01", "--apply")
FREEZE = ("feed", "freeze", "acme", SNAPSHOTS, "--apply", "--from", "2020-01-01", "--until", "2999-01-01")
END_FREEZE = (*FREEZE[:-1], "2020-01-02")

Step = Callable[[Ground, Nursery], object]


@dataclasses.dataclass(frozen=True, kw_only=True)
class End:
    """
    Where it must end: outcomes in the ledger, decisions on what was on hold ("" waits), and users who are inactive.

    `letters` are mails that answer no file; `checked` is what the folder `check` has, without the times in its names.
    """

    outcomes: tuple[str, ...]
    decisions: tuple[str, ...] = ()
    inactive: tuple[str, ...] = ()
    letters: int = 0
    checked: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Situation:
    """After `steps` a `command` is killed, a sweep unless it is named; it is given again once a sweep has recovered."""

    roster: RosterRules
    steps: tuple[Step, ...]
    end: End
    command: tuple[str, ...] = ()
    sweeps: int = 1  # until all is done

    def make(self, folder: Path, nursery: Nursery) -> tuple[Ground, list[Point]]:
        """Return such an installation, and the calls of what is killed."""
        ground = Ground(folder, roster=self.roster)
        for step in self.steps:
            step(ground, nursery)
        undisturbed = ground.copy(folder.with_name(f"{folder.name}-undisturbed"))
        return ground, tracing.points(nursery, undisturbed, *self.command)


def upload(name: str, kind: Kind = Kind.GOOD) -> Step:
    return lambda ground, _: ground.upload(name, kind)


def give(*command: str) -> Step:
    """Run a command to its end, and let time go by."""

    def step(ground: Ground, nursery: Nursery) -> None:
        assert nursery.run(*command, "--config", ground.config, log=ground.log) == 0, ground.log.read_text()
        let_mail_be_due(ground)

    return step


def change(statement: str) -> Step:
    """Change one row of what is on hold, as an order or time does."""

    def step(ground: Ground, _: Nursery) -> None:
        with contextlib.closing(sqlite3.connect(ground.database)) as database, database:
            assert 1 == database.execute(f"UPDATE on_hold SET {statement} WHERE decision = ''").rowcount  # noqa: S608 - ours

    return step


def approve_by_upload(ground: Ground, _: Nursery) -> None:
    (held,) = checker.on_hold(ground)
    (ground.inbox() / f"{held['file']}.approve-{held['code']}").touch()


def try_out(ground: Ground, _: Nursery) -> None:
    """Let the client have a folder `check`, with a file in it that is partly right."""
    ground.config.write_text(ground.config.read_text().replace("[[client]]\n", "[[client]]\ncheck_folder = true\n"))
    folder = ground.inbox() / "check"
    folder.mkdir()
    os.chown(folder, -1, ground.inbox().stat().st_gid)
    shutil.copymode(ground.inbox(), folder)
    (folder / FILE).write_bytes(ground.next_upload(Kind.PARTLY).content)


sweep = give("sweep")
decide = "decision = '{}', decided_by = 'operator', decided_at = held_at".format
expire = change("held_at = '2026-01-01T00:00:00Z'")
GUARDED = (upload("first.csv"), sweep, upload(FILE, Kind.PARTLY))
HELD = (*GUARDED, sweep)
LACKING = (upload(SNAPSHOT), sweep, upload(SNAPSHOT), sweep, upload(SNAPSHOT, Kind.PARTLY))
ASKED = (*LACKING, sweep)
FED = (upload(SNAPSHOT), sweep)
APPLIED, REFUSED, WAITS = ("imported", "partly"), ("imported", "refused"), ("imported", "on_hold")
THREE = ("imported", "imported", "partly")
LEFT = End(outcomes=(*THREE, "imported"), decisions=("approved",), inactive=("user-1",), letters=1)


def file_on_hold(end: End, *steps: Step, command: tuple[str, ...] = (), sweeps: int = 1) -> Situation:
    return Situation(roster="guarded", steps=(*HELD, *steps), end=end, command=command, sweeps=sweeps)


def removals_on_hold(end: End, *steps: Step, command: tuple[str, ...] = (), sweeps: int = 1) -> Situation:
    return Situation(roster="removals", steps=(*ASKED, *steps), end=end, command=command, sweeps=sweeps)


def freeze(letters: int, *steps: Step, command: tuple[str, ...] = ()) -> Situation:
    outcomes = ("imported", *(["refused"] if len(steps) > 1 else []))
    end = End(outcomes=outcomes, letters=letters)
    return Situation(roster="snapshots", steps=(*FED, *steps), end=end, command=command)


SITUATIONS = {
    "a file goes on hold": Situation(roster="guarded", steps=GUARDED, end=End(outcomes=WAITS, decisions=("",))),
    "it was approved": file_on_hold(End(outcomes=APPLIED, decisions=("approved",)), change(decide("approved"))),
    "it was rejected": file_on_hold(End(outcomes=REFUSED, decisions=("rejected",)), change(decide("rejected"))),
    "it has expired": file_on_hold(End(outcomes=REFUSED, decisions=("expired",)), change(decide("expired"))),
    "it is superseded": file_on_hold(End(outcomes=(*WAITS, "refused"), decisions=("superseded", "")), upload(FILE)),
    "the client approves it": file_on_hold(End(outcomes=APPLIED, decisions=("approved",)), approve_by_upload),
    "it expires": file_on_hold(End(outcomes=REFUSED, decisions=("expired",)), expire, sweeps=2),
    "the operator approves it": file_on_hold(End(outcomes=APPLIED, decisions=("approved",)), command=("approve", FILE)),
    "the operator rejects it": file_on_hold(End(outcomes=REFUSED, decisions=("rejected",)), command=("reject", FILE)),
    "the operator undoes an import": file_on_hold(
        End(outcomes=(*WAITS, "imported"), decisions=("",), inactive=("newest", "user-1")), command=UNDO
    ),
    "the operator pauses the limit": file_on_hold(End(outcomes=WAITS, decisions=("",)), command=PAUSE),
    "users leave": Situation(roster="snapshots", steps=LACKING, end=End(outcomes=THREE, inactive=("user-1",))),
    "removals go on hold": Situation(roster="removals", steps=LACKING, end=End(outcomes=THREE, decisions=("",))),
    "a newer snapshot asks anew": removals_on_hold(
        End(outcomes=(*THREE, "imported"), decisions=("superseded", "")), upload(SNAPSHOT)
    ),
    "the client approves removals": removals_on_hold(LEFT, approve_by_upload),
    "removals expire": removals_on_hold(End(outcomes=THREE, decisions=("expired",), letters=1), expire, sweeps=2),
    "the operator approves removals": removals_on_hold(LEFT, command=("approve", SNAPSHOT)),
    "the operator rejects removals": removals_on_hold(
        End(outcomes=THREE, decisions=("rejected",), letters=1), command=("reject", SNAPSHOT)
    ),
    "the operator freezes a feed": freeze(1, command=FREEZE),
    "a freeze is announced, and a file comes": freeze(1, give(*FREEZE), upload(SNAPSHOT)),
    "the operator ends a freeze": freeze(2, lambda *both: [give(*FREEZE)(*both), sweep(*both)], command=END_FREEZE),
    "the end of a freeze is told": freeze(
        2, lambda *both: [step(*both) for step in (give(*FREEZE), sweep, give(*END_FREEZE))]
    ),
    "a file is tried out": Situation(
        roster="snapshots",
        steps=(upload("first.csv"), sweep, try_out),
        end=End(outcomes=("imported",), checked=("users.check.txt", FILE, "users.failed.csv")),
    ),
}


def ended(ground: Ground) -> End:
    """Return where it ended."""
    with contextlib.closing(sqlite3.connect(ground.database)) as database:

        def column(query: str) -> tuple[str, ...]:
            return tuple(value for (value,) in database.execute(query))

        folder = ground.inbox() / "check"
        # A temporary file that a kill has left is removed after `check_keep_days`, as all that is in the folder.
        names = [path.name for path in folder.glob("[!.]*")]
        return End(
            outcomes=column("SELECT outcome FROM imports ORDER BY id"),
            decisions=column("SELECT decision FROM on_hold ORDER BY import_id"),
            inactive=column("SELECT unique_id FROM users WHERE inactive_by IS NOT NULL ORDER BY 1"),
            letters=len(
                column("SELECT 1 FROM outbox WHERE message_id GLOB '*.removals.*' OR message_id GLOB '<freeze.*'")
            ),
            checked=tuple(sorted(re.sub(r"\.\d{8}T\d{6}Z", "", name) for name in names)),
        )


def killed(trials: Trials, start: Ground, points: list[Point], situation: Situation) -> list[str]:
    """Kill what a situation is about before each call, and let sweeps recover; return what is wrong."""
    command = situation.command or ("sweep",)

    def trial(run: Run, point: Point) -> list[str]:
        given: tuple[str | Path, ...] = (*command, "--config", run.ground.config)
        tracing.killed_at(run.nursery, point, *given, log=run.ground.log)
        found = [f"at once: {failure}" for failure in violations(run.ground, finished=False)]
        for _ in range(situation.sweeps - 1):
            assert tracing.sweep(run.nursery, run.ground) == 0, run.ground.log.read_text()
        found += trials.recovered(run)
        if situation.command:
            run.nursery.run(*given, log=run.ground.log)
            found += trials.recovered(run)
        found += violations(run.ground, finished=True)
        end = ended(run.ground)
        return [*found, *([] if end == situation.end else [f"it ended with {end}"])]

    return trials.failures(start, points, trial)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_killed_while(situation: str, tmp_path: Path, trials: Trials) -> None:
    """What is decided or told is done once and whole, by the run that is killed or by the next one."""
    chosen = SITUATIONS[situation]
    with trials.nursery() as nursery:
        start, points = chosen.make(tmp_path / "start", nursery)
    found = killed(trials, start, sample(points, TRIALS), chosen)
    assert not found, told(found)
