"""Which changes a file may make unasked: pure decisions from counts and limits."""

from __future__ import annotations

import pytest

from importer.model import Change
from importer.roster.guards import covers, may_matter, tripped, warnings
from importer.settings import GuardSettings

DEFAULT = GuardSettings()


def change(guard: str, count: int, of: int, field: str = "") -> Change:
    return Change(guard=guard, field=field, count=count, of=of, lines=(2, 3))


@pytest.mark.parametrize(
    ("guard", "count", "of", "trips"),
    [
        ("identity", 10, 10, False),  # at the floor
        ("identity", 11, 11, True),
        ("identity", 11, 110, False),  # at the share
        ("identity", 11, 109, True),
        ("identity", 12, 110, True),
        ("identity", 3, 3, False),
        ("identity", 100_000, 1_000_000, False),
        ("identity", 100_001, 1_000_000, True),
        ("attribute", 20, 20, False),
        ("attribute", 21, 42, False),
        ("attribute", 21, 41, True),
        ("attribute", 22, 42, True),
        ("created", 50, 3, False),
        ("created", 51, 51, False),
        ("created", 51, 50, True),
        ("created", 333, 1_000, False),  # a third is new in September
        ("reassigned", 500, 500, False),  # no guard counts them
    ],
)
def test_a_guard_trips_above_share_and_floor(guard: str, count: int, of: int, *, trips: bool) -> None:
    """At the share or at the floor nothing trips; above both it does."""
    assert trips == bool(tripped([change(guard, count, of)], DEFAULT))


def test_a_guard_can_be_off_or_have_other_limits() -> None:
    """Settings of a client count in place of the defaults."""
    changes = [change("identity", 11, 11), change("created", 5, 10)]
    assert ["identity"] == [each.guard for each in tripped(changes, DEFAULT)]
    assert [] == [*tripped(changes, GuardSettings(identity="off"))]
    strict = GuardSettings(identity="off", created="40%", created_floor=4)
    assert ["created"] == [each.guard for each in tripped(changes, strict)]
    assert ["created"] == [
        each.guard for each in tripped([change("created", 1, 9)], GuardSettings(created="0 %", created_floor=0))
    ]


@pytest.mark.parametrize(
    ("count", "of", "warned"), [(15, 15, True), (20, 20, True), (21, 21, False), (15, 30, False), (2, 2, False)]
)
def test_a_share_without_its_floor_is_a_warning(count: int, of: int, *, warned: bool) -> None:
    """15 of 15 users with another surname are told; two users are no share, and above the floor the guard trips."""
    told = [
        (each.code, each.field, each.rows) for each in warnings([change("attribute", count, of, "last_name")], DEFAULT)
    ]
    assert ([("changes.many", "last_name", count)] if warned else []) == told


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ({}, False),
        ({("phone_cell",): 1000}, False),
        ({("email", "email_key"): 500}, False),
        ({("email", "email_key"): 501}, True),
        ({("last_name", "email", "email_key"): 100}, False),
        ({("last_name", "email", "email_key"): 60, ("user_name", "date_of_birth"): 41}, True),
        ({("first_name", "last_name"): 1}, True),
    ],
)
def test_what_cannot_exceed_a_share_is_not_counted(changed: dict[tuple[str, ...], int], *, matters: bool) -> None:
    """One attribute of a small share, as each night, is passed over; exchanged names and other people never are."""
    assert matters == may_matter(changed, 1_000, DEFAULT)


@pytest.mark.parametrize(
    ("approved", "now", "good"),
    [
        ([("identity", "", 100)], [("identity", "", 110)], True),
        ([("identity", "", 100)], [("identity", "", 111)], False),
        ([("identity", "", 100)], [], True),
        ([("attribute", "email", 100)], [("attribute", "last_name", 50)], False),
        ([("identity", "", 100)], [("identity", "", 90), ("created", "", 60)], False),
        ([("identity", "", 11)], [("identity", "", 12)], True),
        ([("identity", "", 9)], [("identity", "", 10)], False),
    ],
)
def test_an_approval_is_good_while_no_count_grows_by_more_than_a_tenth(
    approved: list[tuple[str, str, int]], now: list[tuple[str, str, int]], *, good: bool
) -> None:
    """The same guards may trip, each with at most a tenth more."""
    then, later = ([change(guard, count, 200, field) for guard, field, count in each] for each in (approved, now))
    assert good == covers(then, later)
