"""Clients, crashes and clocks in any order, against a small model of what must come of it."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.faults.checker import violations
from tests.faults.ground import Ground, Kind
from tests.faults.nursery import Nursery
from tests.faults.trials import FULL, MAIL_ROUNDS
from tests.lab import MEMORY

log = logging.getLogger(__name__)
pytestmark = pytest.mark.faults

SEQUENCES = 2000 if FULL else 60
PARTS = 4 if FULL else 1  # which can be run side by side
STEPS = 12
CRASH_STEPS = 120  # as many as a run has that begins with nothing
HOLD_S = 900.0
DAY_S = 86_400

names = st.sampled_from(["users.csv", "staff.csv", "old.csv"])
kinds = st.sampled_from(Kind)


class Clients(RuleBasedStateMachine):
    """
    The model is `Ground.uploads`: what the service answers for. What follows from it the judge knows.

    A wall clock may be wrong in any run; the monotonic one never is.
    """

    nursery: Nursery
    ended = 0

    @initialize()
    def install(self) -> None:
        """Begin with nothing."""
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.ground = Ground(self.folder / "ground", resume_grace_s=HOLD_S)
        self.clock_s = 0.0

    @rule(name=names, kind=kinds)
    def upload(self, name: str, kind: Kind) -> None:
        """Upload a new file, over an older one if there is one."""
        self.ground.upload(name, kind)

    @rule(name=names)
    def upload_again(self, name: str) -> None:
        """Upload the bytes of the first file once more: that is a new intent."""
        if self.ground.uploads:
            self.ground.upload(name, repeats=self.ground.uploads[0])

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

    @rule(shift_s=st.integers(-2 * DAY_S, 2 * DAY_S))
    def set_clock(self, shift_s: int) -> None:
        """Let the wall clock jump."""
        self.clock_s = shift_s

    def run(self, **mishaps: float) -> int:
        """Run one sweep."""
        command = ("sweep", "--config", self.ground.config)
        return self.nursery.run(*command, log=self.ground.log, shift_clock=self.clock_s, **mishaps)

    @invariant()
    def nothing_is_wrong(self) -> None:
        """At every moment all is in its place."""
        found = violations(self.ground, finished=False)
        assert not found, found

    def teardown(self) -> None:
        """Let days go by: in the end everything is imported, answered and told."""
        if not hasattr(self, "ground"):
            return
        try:
            self.let_days_go_by()
        finally:
            shutil.rmtree(self.folder)
        type(self).ended += 1

    def let_days_go_by(self) -> None:
        """Run undisturbed, day after day, and look at the end."""
        for _ in range(MAIL_ROUNDS):
            self.clock_s = max(self.clock_s, 0.0) + DAY_S
            assert self.run() == 0, self.ground.log.read_text()
        found = violations(self.ground, finished=True)
        assert not found, (found, self.ground.log.read_text())


def crash_at_every_step(nursery: Nursery) -> None:
    """Try an upload and a crash at each step in turn; raises AssertionError at one that ends otherwise than it must."""
    for step in range(1, CRASH_STEPS + 1):
        machine = Clients()
        machine.nursery = nursery
        machine.install()
        try:
            machine.upload(name="users.csv", kind=Kind.PARTLY)
            machine.crash(step=step)
            machine.nothing_is_wrong()
        finally:
            shutil.rmtree(machine.folder)


def check_model(nursery: Nursery, sequences: int) -> None:
    """Try so many sequences; raises AssertionError at one that ends otherwise than the model says."""

    class Machine(Clients):
        pass

    Machine.nursery = nursery
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
    log.info("%d sequences", Machine.ended)


def test_a_crash_at_every_step() -> None:
    """Wherever the first run ends, nothing is lost, doubled or half done."""
    with Nursery() as nursery:
        crash_at_every_step(nursery)


@pytest.mark.parametrize("part", range(PARTS))
def test_any_sequence_ends_as_the_model_says(part: int) -> None:
    """Whatever clients, crashes and clocks do, in any order, no upload is lost, doubled or left unanswered."""
    assert part in range(PARTS)
    with Nursery() as nursery:
        check_model(nursery, SEQUENCES // PARTS)
