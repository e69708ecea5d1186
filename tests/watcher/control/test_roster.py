"""Orders that change users: how they are told, and that they can be left."""

from __future__ import annotations

import pytest

from importer.store.sqlite import database
from tests.engine import CLIENT, Engine
from watcher.control.client import Order
from watcher.control.roster import roster_orders
from watcher.control.server import carry_out

UNDO = Order(do="roster.undo", id="2")


@pytest.fixture
def wrong(engine: Engine) -> Engine:
    """Return an installation whose second file was wrong, and whose third has changed one of its users again."""
    engine.rows("S1,OPSCOM,Ann,Lee,ann@example.org,ann", "S2,OPSCOM,Bob,Roy,bob@example.org,bob")
    engine.rows("S1,OPSCOM,Ann,Roy,,", "S2,OPSCOM,Bob,Lee,,", "S3,OPSCOM,Cas,Poe,cas@example.org,cas")
    engine.rows("S2,OPSCOM,Bob,Poe,,")
    return engine


def test_a_service_that_stops_leaves_it(wrong: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that is cut off by the end of the service changes nothing, and says so."""
    monkeypatch.setattr(database, "_STEPS_BETWEEN_LOOKS", 100)
    answer = carry_out(roster_orders(wrong.store, lambda: True), UNDO)
    assert (False, "the service is stopping; nothing was changed") == (answer.done, answer.text)
    assert {"S1": "Roy", "S2": "Poe", "S3": "Poe"} == wrong.column("last_name")


def test_what_an_undo_tells(wrong: Engine) -> None:
    """Counts, and each conflict in a line, without a value."""
    text = carry_out(roster_orders(wrong.store), UNDO).text
    assert [
        "undo of import 2 of acme: 2 users (import 4)",
        "  1 value goes back to what it was",
        "  1 user becomes inactive",
        "1 value stays as it is:",
        "  S2: last_name was changed since",
    ] == text.splitlines()
    again = carry_out(roster_orders(wrong.store), UNDO)
    assert (False, "nothing is left to undo of import 2") == (again.done, again.text.splitlines()[0])


@pytest.mark.parametrize(
    ("order", "told"),
    [
        (Order(do="roster.undo", id="x"), "expected the number of an import"),
        (Order(do="roster.undo", id="9"), "there is no import 9"),
        (Order(do="roster.rekey", client=CLIENT, new_ids=(("S9", "N9"),)), "S9: is not recorded"),
        (Order(do="roster.deactivate", client=CLIENT, unique_ids=("S9",)), "S9: is not recorded"),
    ],
    ids=["no number", "no import", "no user", "nobody"],
)
def test_what_is_not_possible(wrong: Engine, order: Order, told: str) -> None:
    """An order that cannot be carried out is refused with its reason."""
    answer = carry_out(roster_orders(wrong.store), order)
    assert not answer.done
    assert told in answer.text
