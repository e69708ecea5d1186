"""When a check is ended: for an import, for a stop, for having taken too long. By a clock of the test."""

from __future__ import annotations

import math

import pytest

from importer.model import Interrupted
from watcher.checking import pace
from watcher.checking.pace import LIMIT_S, PATIENCE_S, Pace, TooLong
from watcher.signals import Signals


class Clock:
    """A monotonic clock, and when the next file is to be imported by it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.import_at = math.inf

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that the pace goes by."""
    made = Clock()
    monkeypatch.setattr(pace, "time", made)
    return made


def paced(clock: Clock, *, watching: bool = True) -> Pace:
    return Pace(lambda: clock.import_at, Signals(lambda: None), watching=watching)


def test_a_check_goes_on_while_there_is_nothing_to_import(clock: Clock) -> None:
    """It may take up to its limit, and not longer."""
    ask = paced(clock).begin("acme", b"users.csv")
    clock.now += LIMIT_S - 1
    ask(0)
    clock.now += 1
    with pytest.raises(TooLong):
        ask(0)


def test_an_import_ends_a_check(clock: Clock) -> None:
    """As soon as a file is ready, of whichever client, the check is ended."""
    ask = paced(clock).begin("acme", b"users.csv")
    clock.import_at = clock.now + 2
    ask(0)
    clock.now += 2
    with pytest.raises(Interrupted):
        ask(0)


def test_a_check_that_imports_end_again_and_again_is_given_up(clock: Clock) -> None:
    """From the first try on there is an hour; then it is answered that there was too much to import."""
    made = paced(clock)
    made.begin("acme", b"users.csv")
    clock.now += PATIENCE_S - 1
    made.begin("acme", b"users.csv")(0)
    clock.now += 1
    with pytest.raises(TooLong):
        made.begin("acme", b"users.csv")(0)
    made.begin("acme", b"other.csv")(0)
    made.forget("acme", b"users.csv")
    made.begin("acme", b"users.csv")(0)


def test_a_client_whose_checks_take_long_pauses(clock: Clock) -> None:
    """Checks of one client take at most a quarter of the time; short ones do not count."""
    made = paced(clock)
    made.note("acme", 10.0)
    made.note("beta", 0.1)
    assert ["acme"] == list(made.resting(clock.now))
    assert clock.now + 30 == made.next_end
    assert [] == list(made.resting(clock.now + 30))


def test_a_single_pass_waits_for_nothing(clock: Clock) -> None:
    """`rosterd sweep` has imported all it can before it checks."""
    made = paced(clock, watching=False)
    clock.import_at = clock.now
    made.begin("acme", b"users.csv")(0)
    made.note("acme", 10.0)
    assert [] == list(made.resting(clock.now))
