"""Files at, below and above the limits of each guard, imported for real."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from importer.model import Outcome
from importer.settings import FeedSettings, GuardSettings
from importer.store import personal_data
from tests.engine import CLIENT, UNGUARDED, Engine, Result

pytestmark = pytest.mark.usefixtures("both_databases")


def rows(*numbers: int, surname: str = "Lee", host: str = "example.org") -> list[str]:
    return [f"S{n},OPSCOM,Ann,{surname}{n},s{n}@{host},u{n}" for n in numbers]


def only(guard: str, **changed: Any) -> GuardSettings:  # noqa: ANN401 - fields of GuardSettings
    """Return settings with this guard as it is by default, and no other."""
    return msgspec.structs.replace(UNGUARDED, **{guard: getattr(GuardSettings(), guard), **changed})


def others(known: int, count: int) -> list[str]:
    """Return all rows, of which so many have become somebody else's."""
    return [*rows(*range(count), surname="Roy", host="roy.example"), *rows(*range(count, known))]


def renamed(known: int, count: int) -> list[str]:
    """Return all rows, so many with another last name."""
    return [*rows(*range(count), surname="Roy"), *rows(*range(count, known))]


def joined(known: int, count: int) -> list[str]:
    """Return all rows, and so many new ones."""
    return rows(*range(known + count))


def left(known: int, count: int) -> list[str]:
    """Return all rows but so many."""
    return rows(*range(known - count))


FILES = {"identity": others, "attribute": renamed, "created": joined, "deactivated": left, "fewer_rows": left}


@pytest.mark.parametrize(
    ("guard", "known", "count", "trips"),
    [
        ("identity", 110, 11, False),  # at the share
        ("identity", 109, 11, True),
        ("identity", 20, 10, False),  # at the floor
        ("identity", 20, 11, True),
        ("identity", 3, 3, False),
        ("attribute", 42, 21, False),
        ("attribute", 41, 21, True),
        ("attribute", 30, 20, False),
        ("attribute", 30, 21, True),
        ("attribute", 3, 3, False),
        ("created", 51, 51, False),
        ("created", 50, 51, True),
        ("created", 3, 50, False),
        ("created", 3, 51, True),
        ("deactivated", 60, 6, False),
        ("deactivated", 59, 6, True),
        ("deactivated", 20, 5, False),
        ("deactivated", 20, 6, True),
        ("deactivated", 3, 2, False),
        ("fewer_rows", 60, 6, False),
        ("fewer_rows", 59, 6, True),
        ("fewer_rows", 20, 5, False),
        ("fewer_rows", 20, 6, True),
    ],
)
def test_a_guard_at_and_above_its_share_and_its_floor(
    engine: Engine, guard: str, known: int, count: int, *, trips: bool
) -> None:
    """A file trips it above both; then nothing of it is applied, or nobody is deactivated."""
    engine.rows(*rows(*range(known)))
    changed: dict[str, Any] = {"fewer_rows": "10 %", "fewer_rows_floor": 5} if guard == "fewer_rows" else {}
    feeds = (FeedSettings(name="all", files="*", mode="snapshot"),) if guard == "deactivated" else ()
    engine.settings(guard=only(guard, **changed), feed=feeds)
    engine.rows(*rows(*range(known)))
    before = state(engine)
    result = engine.rows(*FILES[guard](known, count))
    waiting = engine.store.conn.execute("SELECT 1 FROM on_hold WHERE decision = ''").fetchall()
    assert trips == bool(waiting)
    if guard != "fewer_rows":
        assert trips == (state(engine) == before)
    if guard != "deactivated":
        assert trips == (result.receipt.outcome is Outcome.ON_HOLD)


def state(engine: Engine) -> list[tuple[str, ...]]:
    return engine.store.conn.execute("SELECT unique_id, last_name, email, inactive_by FROM users ORDER BY 1").fetchall()


def outcome(result: Result) -> tuple[str, int]:
    return str(result.receipt.outcome), result.tally.applied


def test_a_first_file_trips_nothing(engine: Engine) -> None:
    """Of a client without users every file is imported, whatever its size; so is the first one of a second feed."""
    engine.settings(guard=GuardSettings(), feed=(FeedSettings(name="staff", files="staff*", mode="snapshot"),))
    assert ("imported", 300) == outcome(engine.rows(*rows(*range(300))))
    staff = engine.file("unique_id,login_source,first_name,last_name,email,user_name", *rows(300), name="staff.csv")
    assert ("imported", 1) == outcome(staff)


def test_rows_that_fail_count_for_nothing(engine: Engine) -> None:
    """Ten of twenty users become somebody else: one more whose row fails does not trip the guard."""
    engine.settings(guard=only("identity")).rows(*rows(*range(20)))
    file = others(20, 11)
    file[0] = file[0].replace("@", " at ")
    assert ("partly", 19) == outcome(engine.rows(*file))


def test_addresses_that_two_users_exchange(engine: Engine) -> None:
    """Each of twenty has another address, and nothing else: that is at the floor; of twenty-two it is above."""
    for known, expected in ((20, "imported"), (22, "on_hold")):
        engine.emptied().settings(guard=only("attribute")).rows(*rows(*range(known)))
        swapped = [
            row.replace(f"s{n}@", f"s{n + 1 if n % 2 == 0 else n - 1}@") for n, row in enumerate(rows(*range(known)))
        ]
        assert expected == engine.rows(*swapped).receipt.outcome


def test_values_that_are_cleared_are_no_others(engine: Engine) -> None:
    """Thirty users lose their user name by the clear token: nobody has another one."""
    engine.settings(guard=only("attribute"), clear_token="-").rows(*rows(*range(30)))
    cleared = [row.rpartition(",")[0] + ",-" for row in rows(*range(30))]
    assert ("imported", 30) == outcome(engine.rows(*cleared))


def test_after_an_erasure(engine: Engine) -> None:
    """Who was erased is new, all others are as they were: the same file passes, and the limits count as before."""
    engine.settings(guard=GuardSettings()).rows(*rows(*range(60)))
    personal_data.erase(engine.store, CLIENT, "S7")
    again = engine.rows(*rows(*range(60)))
    assert (1, 59, Outcome.IMPORTED) == (again.tally.created, again.tally.unchanged, again.receipt.outcome)
    assert Outcome.ON_HOLD is engine.rows(*others(60, 11)).receipt.outcome


def test_users_who_come_back_are_known(engine: Engine) -> None:
    """Eleven who come back as somebody else are eleven of eleven, and not of those alone who were active."""
    engine.settings(
        guard=only("identity", deactivated="off"), feed=(FeedSettings(name="all", files="*", mode="snapshot"),)
    )
    engine.rows(*rows(*range(12)))
    assert 11 == engine.rows(*rows(11)).tally.deactivated
    moved = [row.replace("Ann", "Eve") for row in rows(*range(11), host="roy.example")]
    (change,) = [each for each in engine.rows(*moved, *rows(11)).receipt.changes if each.guard == "identity"]
    assert (11, 12) == (change.count, change.of)


def test_capitals_are_no_other_value(engine: Engine) -> None:
    """A new export writes names in small letters, those with accents as well."""
    engine.settings(guard=GuardSettings()).rows(
        *[f"S{n},OPSCOM,HÉLÈNE,LÉVÊQUE,s{n}@example.org,u{n}" for n in range(60)]
    )
    small = engine.rows(*[f"S{n},OPSCOM,Hélène,Lévêque,s{n}@example.org,u{n}" for n in range(60)])
    assert (Outcome.IMPORTED, 60, {}) == (small.receipt.outcome, small.tally.updated, small.warnings)


def test_names_are_exchanged_in_whatever_case(engine: Engine) -> None:
    """First and last name that are each other's by now are told, also in capitals with accents."""
    engine.settings(guard=GuardSettings()).rows("S1,OPSCOM,Hélène,Côté,s1@example.org,u1")
    assert "name.exchanged" in engine.rows("S1,OPSCOM,CÔTÉ,HÉLÈNE,s1@example.org,u1").warnings


@pytest.mark.parametrize(("known", "count", "is_told"), [(20, 4, True), (50, 5, False), (49, 5, True), (3, 2, False)])
def test_a_large_share_of_leavers_is_told(engine: Engine, known: int, count: int, *, is_told: bool) -> None:
    """They leave, as there are few of them, and the answer warns of the share."""
    engine.settings(guard=only("deactivated"), feed=(FeedSettings(name="all", files="*", mode="snapshot"),))
    engine.rows(*rows(*range(known)))
    result = engine.rows(*left(known, count))
    assert (count, is_told) == (result.tally.deactivated, "changes.many" in result.warnings)
    told = f"{count} of {known} active users are missing from this file and those of the last 7 days."
    assert is_told == (told in result.text)
