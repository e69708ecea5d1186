"""A file that gives again what was undone goes on hold."""

from __future__ import annotations

import pytest

from importer.settings import FeedSettings, GuardSettings
from importer.store.roster.undo import undo
from tests.engine import Engine, Result
from tests.tables import tables_of

pytestmark = pytest.mark.usefixtures("both_databases")


def names(*last: str) -> list[str]:
    return [f"S{number},OPSCOM,Ann,{name},a{number}@example.org,n{number}" for number, name in enumerate(last)]


@pytest.fixture
def undone(engine: Engine) -> Engine:
    """Return an installation in which a file that gave ten users another last name was undone."""
    engine.settings(guard=GuardSettings()).rows(*names(*["Lee"] * 20))
    assert 10 == engine.rows(*names(*["Roy"] * 10, *["Lee"] * 10)).tally.updated
    assert 10 == undo(engine.store, 2, is_applied=True).values
    return engine


def again(engine: Engine, count: int) -> Result:
    """Import a file that gives so many users the wrong last name again."""
    return engine.rows(*names(*["Roy"] * count, *["Lee"] * (20 - count)))


@pytest.mark.parametrize("count", [2, 10])
def test_more_than_a_tenth_again_goes_on_hold(undone: Engine, count: int) -> None:
    """Nothing of it is applied; the answer names counts and lines."""
    result = again(undone, count)
    assert ("guard.undone", "on_hold") == (result.receipt.code, result.receipt.outcome)
    assert f"{count} of 10 values that we have taken back from an earlier file would come again." in result.text
    assert {"Lee"} == {*undone.column("last_name").values()}


def test_a_tenth_again_and_other_values_pass(undone: Engine) -> None:
    """One of ten is imported, and any number of other names as well."""
    assert 1 == again(undone, 1).tally.updated
    assert 10 == undone.rows(*names(*["Poe"] * 10, *["Lee"] * 10)).tally.updated


def test_an_undo_that_was_undone_and_a_guard_that_is_off(undone: Engine) -> None:
    """After the undo of the undo the file changes nothing; with the guard off it is obeyed again."""
    undo(undone.store, 3, is_applied=True)
    assert 20 == again(undone, 10).tally.unchanged
    undo(undone.store, 4, is_applied=True)
    undone.settings(guard=GuardSettings(undone="off"))
    assert 10 == again(undone, 10).tally.updated


def test_users_that_were_undone_come_again(engine: Engine) -> None:
    """Who was made inactive by the undo of a creation is a value as well."""
    engine.settings(guard=GuardSettings()).rows(*names(*["Lee"] * 10))
    engine.rows(*names(*["Lee"] * 13))
    assert 3 == undo(engine.store, 2, is_applied=True).deactivated
    assert "guard.undone" == engine.rows(*names(*["Lee"] * 13)).receipt.code


def test_who_would_leave_again(engine: Engine) -> None:
    """A second snapshot does not deactivate unasked whom an undo has brought back after a first one like it."""
    feed = FeedSettings(name="all", files="*.csv", mode="snapshot")
    engine.settings(guard=GuardSettings(), feed=(feed,)).rows(*names(*["Lee"] * 20))
    assert 2 == engine.rows(*names(*["Lee"] * 18)).tally.deactivated
    assert 2 == undo(engine.store, 2, is_applied=True).reinstated
    assert "guard.undone" == engine.rows(*names(*["Lee"] * 18)).receipt.code
    assert {None} == {user["inactive_by"] for user in tables_of(engine.store).query("SELECT inactive_by FROM users")}
