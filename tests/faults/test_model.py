"""Clients, the operator, crashes and clocks in any order, against a small model of what must come of it."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.faults.checker import ledger, on_hold, violations
from tests.faults.ground import SNAPSHOTS, Ground, Kind, RosterRules
from tests.faults.nursery import Nursery
from tests.faults.tables import Row
from tests.faults.trials import FULL, MAIL_ROUNDS
from tests.lab import MEMORY
from tests.lab.postgresql import PostgresqlServer

log = logging.getLogger(__name__)
Thing = TypeVar("Thing")
pytestmark = pytest.mark.faults

SEQUENCES = 2000 if FULL else 60
ON_SERVER = 10  # so many are tried with SQLite for one with a server, which takes as much longer
PARTS = 20 if FULL else 1  # each by a seed of its own: an interrupted run goes on with those that lack, by `-k`
STEPS = 14
CRASH_STEPS = 120  # as many as a run has that begins with nothing
HOLD_S = 900.0
DAY_S = 86_400
APPROVAL_DAYS = 7
MOST_DAYS = 60  # until all files of a sequence are dealt with
NOT_DONE = (1, 2)  # exit statuses of an order that comes too late, or has nothing to do

names = st.sampled_from(["users.csv", "staff.csv", f"{SNAPSHOTS}.csv", f"{SNAPSHOTS}2.csv"])
kinds = st.sampled_from([Kind.GOOD, *Kind])
places = st.integers(0, 11)  # in what there is, again from the start beyond its end
kills = st.one_of(st.none(), st.integers(1, 60))  # a command has some 40 steps


class Clients(RuleBasedStateMachine):
    """
    The model is `Ground.uploads`: what the service answers for, and `decided`: what it said was decided.

    What follows from it the judge knows.
    A wall clock may be wrong in any run; the monotonic one never is.
    """

    nursery: Nursery
    server: PostgresqlServer | None = None  # that has the database, unless it is SQLite
    ended = 0

    @initialize(roster=st.sampled_from(["guarded", "snapshots", "removals"]))
    def install(self, roster: RosterRules) -> None:
        """Begin with nothing."""
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        folder = self.folder / "ground"
        self.ground = Ground(folder, resume_grace_s=HOLD_S, roster=roster)
        if self.server:
            self.ground.share(self.server.new_database(), "ham", self.ground)
        self.clock_s = 0.0
        self.decided: dict[str, str] = {}  # by claim

    @rule(name=names, kind=kinds)
    def upload(self, name: str, kind: Kind) -> None:
        """Upload a new file, over an older one if there is one."""
        self.ground.upload(name, kind)

    @rule(name=names, place=places)
    def upload_again(self, name: str, place: int) -> None:
        """Upload the bytes of an earlier file once more: that is a new intent."""
        if self.ground.uploads:
            self.ground.upload(name, repeats=at(place, self.ground.uploads))

    @rule(name=names, new_name=names)
    def rename(self, name: str, new_name: str) -> None:
        """Rename what still lies in the inbox."""
        self.ground.rename(name, new_name)

    @rule(name=names)
    def delete(self, name: str) -> None:
        """Delete what still lies in the inbox."""
        self.ground.remove(name)

    @rule()
    def sweep(self) -> None:
        """Run undisturbed."""
        assert self.run() == 0, self.ground.log.read_text()

    @rule(step=st.integers(1, CRASH_STEPS))
    def crash(self, step: int) -> None:
        """Run and be killed on the way."""
        assert self.run(kill_at=step) in (0, -9), self.ground.log.read_text()

    @rule(place=places, decision=st.sampled_from(["approve", "approve", "reject"]), kill_at=kills)
    def decide(self, place: int, decision: str, kill_at: int | None) -> None:
        """Decide on a file on hold; the command may be killed."""
        if not (waiting := self.waiting()):
            return
        held = at(place, waiting)
        if self.command(decision, str(held["import_id"]), "--client", held["client"], kill_at=kill_at) == 0:
            self.decided[held["claim_id"]] = {"approve": "approved", "reject": "rejected"}[decision]

    @rule(place=places, is_right=st.booleans())
    def approve_by_upload(self, place: int, *, is_right: bool) -> None:
        """Upload an approval, as the client does: with the code of its mail, or a wrong one."""
        if waiting := self.waiting():
            held = at(place, waiting)
            code = held["code"] if is_right else "AAAAAA"
            (self.ground.inbox() / f"{held['file']}.approve-{code}").touch()

    @rule(place=places, kill_at=kills)
    def undo(self, place: int, kill_at: int | None) -> None:
        """Take back what an import did, or an undo; the command may be killed."""
        if rows := ledger(self.ground):
            row = at(place, list(reversed(rows)))
            before = len(rows)
            if self.command("undo", str(row["id"]), "--apply", kill_at=kill_at) == 0:
                assert before + 1 == len(ledger(self.ground))

    @rule()
    def let_holds_expire(self) -> None:
        """Run when nobody has decided for so long."""
        self.clock_s = (APPROVAL_DAYS + 3.0) * DAY_S
        assert self.run() == 0, self.ground.log.read_text()

    @rule(shift_s=st.integers(-2 * DAY_S, 2 * DAY_S))
    def set_clock(self, shift_s: int) -> None:
        """Let the wall clock jump."""
        self.clock_s = shift_s

    def run(self, **mishaps: float) -> int:
        """Run one sweep."""
        command = ("sweep", "--config", self.ground.config)
        return self.nursery.run(*command, log=self.ground.log, shift_clock=self.clock_s, **mishaps)

    def command(self, *words: str, kill_at: int | None) -> int:
        """Give an order, which may be killed on the way; return the exit status."""
        mishaps = {} if kill_at is None else {"kill_at": kill_at}
        status = self.nursery.run(*words, "--config", self.ground.config, log=self.ground.log, **mishaps)
        assert status in (0, *NOT_DONE, *([-9] if mishaps else [])), self.ground.log.read_text()
        return status

    def waiting(self) -> list[Row]:
        """Return the files that are on hold, oldest first."""
        return [row for row in on_hold(self.ground) if not row["decision"]]

    @invariant()
    def nothing_is_wrong(self) -> None:
        """At every moment all is in its place, and what was decided stays so."""
        found = violations(self.ground, finished=False)
        for held in on_hold(self.ground):
            decision = self.decided.get(held["claim_id"], held["decision"])
            if decision != held["decision"] and not held["was_approved"]:  # then it is on hold anew
                found.append(f"{held['claim_id']}: was {decision}, and is {held['decision']!r}")
        assert not found, found

    def remove(self) -> None:
        """Remove all that there is of it."""
        shutil.rmtree(self.folder)
        if self.server:
            self.server.drop_database(self.ground.url)

    def teardown(self) -> None:
        """Let days go by: in the end everything is imported, answered and told."""
        if not hasattr(self, "ground"):
            return
        try:
            self.let_days_go_by()
        finally:
            self.remove()
        type(self).ended += 1

    def let_days_go_by(self) -> None:
        """Run undisturbed, day after day, with every other file on hold approved, and look at the end."""
        quiet_days = 0
        for _ in range(MOST_DAYS):
            self.clock_s = max(self.clock_s, 0.0) + DAY_S
            assert self.run() == 0, self.ground.log.read_text()
            quiet_days += 1
            for held in self.waiting()[:1]:
                self.decide(place=0, decision=("approve", "reject")[held["import_id"] % 2], kill_at=None)
                quiet_days = 0
            if quiet_days >= MAIL_ROUNDS and not self.ground.waiting():
                break
        found = violations(self.ground, finished=True)
        assert not found, (found, self.ground.log.read_text())


def at(place: int, things: Sequence[Thing]) -> Thing:
    """Return one of some things."""
    return things[place % len(things)]


def crash_at_every_step(nursery: Nursery, server: PostgresqlServer | None = None) -> None:
    """Try an upload and a crash at each step in turn; raises AssertionError at one that ends otherwise than it must."""
    for step in range(1, CRASH_STEPS + 1, 1 if FULL or not server else ON_SERVER):
        machine = Clients()
        machine.nursery, machine.server = nursery, server
        machine.install("snapshots")
        try:
            machine.upload(name="users.csv", kind=Kind.PARTLY)
            machine.crash(step=step)
            machine.nothing_is_wrong()
        finally:
            machine.remove()


def decide_in_every_way(nursery: Nursery, server: PostgresqlServer | None = None) -> None:
    """Let files be superseded, approved, rejected, given up and undone; raises AssertionError as the others do."""
    machine = Clients()
    machine.nursery, machine.server = nursery, server
    machine.install("guarded")

    def upload(name: str, kind: Kind = Kind.GOOD) -> None:
        machine.upload(name=name, kind=kind)
        machine.sweep()

    def decide(decision: str) -> None:
        machine.decide(place=0, decision=decision, kill_at=None)
        machine.sweep()

    steps: tuple[Callable[[], object], ...] = (
        lambda: upload("roster.csv"),
        lambda: upload("roster2.csv"),
        lambda: upload("roster.csv", Kind.PARTLY),  # supersedes the one before
        lambda: decide("approve"),
        lambda: machine.undo(place=0, kill_at=None),
        lambda: upload("roster.csv"),
        lambda: decide("reject"),
        lambda: upload("users.csv"),
        lambda: machine.approve_by_upload(place=0, is_right=True),
        machine.sweep,
        lambda: upload("roster.csv"),
        machine.let_holds_expire,
    )
    try:
        for step in steps:
            step()
            machine.nothing_is_wrong()
        assert ["superseded", "approved", "rejected", "approved", "expired"] == [
            held["decision"] for held in on_hold(machine.ground)
        ]
        machine.let_days_go_by()
    finally:
        machine.remove()


def check_model(nursery: Nursery, sequences: int, part: int, server: PostgresqlServer | None = None) -> None:
    """Try so many sequences; raises AssertionError at one that ends otherwise than the model says."""

    @seed(part)
    class Machine(Clients):
        pass

    Machine.nursery, Machine.server = nursery, server
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=sequences,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=not FULL,
            database=None,
        ),
    )
    log.info("%d sequences by seed %d", Machine.ended, part)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def server(request: pytest.FixtureRequest) -> PostgresqlServer | None:
    """Return the server of the database, None for SQLite: each test runs on both."""
    return request.getfixturevalue("postgresql") if request.param == "postgresql" else None


def test_a_crash_at_every_step(server: PostgresqlServer | None) -> None:
    """Wherever the first run ends, nothing is lost, doubled or half done."""
    with Nursery() as nursery:
        crash_at_every_step(nursery, server)


def ask_before_users_leave(nursery: Nursery, server: PostgresqlServer | None = None) -> None:
    """Let removals be superseded, approved after another feed has stated one of the users, and given up."""
    machine = Clients()
    machine.nursery, machine.server = nursery, server
    machine.install("removals")
    try:
        for number, name in enumerate(("roster.csv", "roster.csv", "roster.csv", "roster.csv", "users.csv")):
            machine.upload(name=name, kind=Kind.GOOD)
            if name == "users.csv":
                machine.upload_again(name="staff.csv", place=0)
            machine.sweep()
            machine.nothing_is_wrong()
            assert len(machine.waiting()) == (number > 1)
        machine.decide(place=0, decision="approve", kill_at=None)
        machine.nothing_is_wrong()
        machine.undo(place=0, kill_at=None)
        machine.nothing_is_wrong()
        machine.upload(name="roster.csv", kind=Kind.PARTLY)
        machine.sweep()
        machine.let_holds_expire()
        machine.nothing_is_wrong()
        assert ["superseded", "approved", "expired"] == [held["decision"] for held in on_hold(machine.ground)]
        machine.let_days_go_by()
    finally:
        machine.remove()


def test_removals(server: PostgresqlServer | None) -> None:
    """Users who are missing too often leave once that is approved, and only those whom no other feed has stated."""
    with Nursery() as nursery:
        ask_before_users_leave(nursery, server)


def test_every_decision(server: PostgresqlServer | None) -> None:
    """Files that are superseded, approved, rejected, given up and undone end so, and nobody is changed otherwise."""
    with Nursery() as nursery:
        decide_in_every_way(nursery, server)


@pytest.mark.parametrize("part", range(PARTS))
def test_any_sequence_ends_as_the_model_says(part: int, server: PostgresqlServer | None) -> None:
    """Whatever clients, crashes and clocks do, in any order, no upload is lost, doubled or left unanswered."""
    assert part in range(PARTS)
    with Nursery() as nursery:
        check_model(nursery, SEQUENCES // PARTS // (ON_SERVER if server else 1), part, server)
