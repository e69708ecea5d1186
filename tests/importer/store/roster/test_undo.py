"""Undo, new ids, active or not: what cannot be done, and what the ledger says of what was."""

from __future__ import annotations

import pytest

from importer.settings import StatusSettings
from importer.store import baselines, integrity, personal_data, queries
from importer.store.roster import changes, deactivation, ids
from importer.store.roster.action import NotPossible
from importer.store.roster.undo import Conflict, undo
from tests.engine import CLIENT, HEADER, Engine
from tests.tables import tables_of

pytestmark = pytest.mark.usefixtures("both_databases")

ANN = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"
BOB = "S2,OPSCOM,Bob,Roy,bob@example.org,bob"
SWAPPED = ("S1,OPSCOM,Ann,Lee,bob@example.org,bob", "S2,OPSCOM,Bob,Roy,ann@example.org,ann")


@pytest.fixture
def swapped(engine: Engine) -> Engine:
    """Return an installation in which a second file has given two users each other's address, and made a third."""
    engine.rows(ANN, BOB)
    assert not engine.rows(*SWAPPED, "S3,OPSCOM,Cas,Poe,cas@example.org,cas").failed
    return engine


def test_addresses_that_were_exchanged_go_back(swapped: Engine) -> None:
    """Each has its own again, the key included, and whom the import made is inactive."""
    undone = undo(swapped.store, 2, is_applied=True)
    assert (3, 4, 1, 0) == (undone.done.users, undone.values, undone.deactivated, undone.conflicts)
    assert [("ann@example.org", None), ("bob@example.org", None), (None, "undo")] == swapped.store.conn.execute(
        "SELECT email_key, inactive_by FROM users ORDER BY unique_id"
    ).fetchall()


def test_what_was_changed_since_or_is_taken_stays(swapped: Engine) -> None:
    """An attribute with another value by now, and an address that another user has by now, are told and stay."""
    swapped.rows("S1,OPSCOM,Ann,Lee,new@example.org,bob", "S4,OPSCOM,Di,Lee,bob@example.org,di")
    undone = undo(swapped.store, 2, is_applied=True)
    conflicts = (Conflict("S1", "email", is_taken=False), Conflict("S2", "email", is_taken=True))
    assert conflicts == undone.listed
    assert {"S1": "new@example.org", "S2": "ann@example.org", "S3": "cas@example.org", "S4": "bob@example.org"} == (
        swapped.column("email")
    )
    assert {"S1": "ann", "S2": "bob", "S3": "cas", "S4": "di"} == swapped.column("user_name")


def test_trying_changes_nothing(swapped: Engine) -> None:
    """A preview leaves users, ledger and history alone, to the byte."""
    tables = ("users", "imports", "user_changes", "baselines")
    before = [[*tables_of(swapped.store).query(f"SELECT * FROM {table}")] for table in tables]  # noqa: S608
    assert 3 == undo(swapped.store, 2, is_applied=False).done.users
    assert before == [[*tables_of(swapped.store).query(f"SELECT * FROM {table}")] for table in tables]  # noqa: S608


def test_an_undo_is_a_row_of_the_ledger_and_no_file(swapped: Engine) -> None:
    """It is listed, sound, and neither an upload of the client nor something to look for in `.bak`."""
    undo(swapped.store, 2, is_applied=True)
    conn = swapped.store.conn
    found = queries.find_import(conn, "3")
    assert found
    assert ("undo", "undo of 2", "imported", 3) == (found.kind, found.file, found.outcome, found.updated)
    assert [] == [*integrity.ledger_findings(conn, quick=False)]
    assert [1, 2] == [record.id for record in integrity.records(conn)]
    last = queries.last_imports(conn, [CLIENT]).get(CLIENT)
    assert last
    assert 2 == last.id
    assert 2 == sum(each.uploads for each in queries.totals(conn))


def test_undoing_it_again_and_undoing_the_undo(swapped: Engine) -> None:
    """What is undone is not undone twice; the undo of an undo brings everything back."""
    before = swapped.users()
    undo(swapped.store, 2, is_applied=True)
    assert 0 == undo(swapped.store, 2, is_applied=True).done.import_id
    done = undo(swapped.store, 3, is_applied=True).done
    assert done.import_id == changes.newest(swapped.store.conn)
    assert before == swapped.users()
    assert {None} == {user["inactive_by"] for user in tables_of(swapped.store).query("SELECT inactive_by FROM users")}


def test_baselines_go(swapped: Engine) -> None:
    """After an undo the next file is not compared with one that the users are not as."""
    insert = "INSERT INTO baselines VALUES (?, 'users.csv', 2, 'terms', ?)"
    for action in (
        lambda: undo(swapped.store, 2, is_applied=True),
        lambda: ids.rekey(swapped.store, CLIENT, [("S1", "N1")], is_applied=True),
        lambda: deactivation.deactivate(swapped.store, CLIENT, ["S2"]),
        lambda: deactivation.reactivate(swapped.store, CLIENT, ["S2"]),
        lambda: personal_data.erase(swapped.store, CLIENT, "S2"),
    ):
        with swapped.store.importing():
            swapped.store.conn.execute(insert, (CLIENT, b""))
        assert baselines.exist(swapped.store.conn, CLIENT)
        action()
        assert not baselines.exist(swapped.store.conn, CLIENT)


def test_what_cannot_be_undone(swapped: Engine) -> None:
    """An import that there is not, an erasure, and one whose history is not kept, are refused."""
    personal_data.erase(swapped.store, CLIENT, "S2")
    for number in (9, 3):
        with pytest.raises(NotPossible):
            undo(swapped.store, number, is_applied=True)
    swapped.store.conn.execute("UPDATE retention SET history_from = 3")
    with pytest.raises(NotPossible, match="begins with import 3"):
        undo(swapped.store, 2, is_applied=True)


def test_new_ids_all_or_none(swapped: Engine) -> None:
    """One id that is not recorded, or is another's, is told, and nobody gets a new one."""
    with pytest.raises(NotPossible) as told:
        ids.rekey(swapped.store, CLIENT, [("S1", "N1"), ("S2", "S3"), ("S9", "N9")], is_applied=True)
    assert ("S9: is not recorded", "S3: is recorded for another user") == told.value.conflicts
    assert {"S1", "S2", "S3"} == swapped.users().keys()


def test_the_history_goes_with_the_new_id(swapped: Engine) -> None:
    """Two who exchange their ids take their history along, so that an import before still can be undone."""
    assert 2 == ids.rekey(swapped.store, CLIENT, [("S1", "S2"), ("S2", "S1")], is_applied=True).users
    assert {"S1": "Bob", "S2": "Ann", "S3": "Cas"} == swapped.column("first_name")
    assert 4 == undo(swapped.store, 2, is_applied=True).values
    assert {"S1": "bob@example.org", "S2": "ann@example.org", "S3": "cas@example.org"} == swapped.column("email")
    undo(swapped.store, 3, is_applied=True)
    assert {"S1": "ann@example.org", "S2": "bob@example.org", "S3": "cas@example.org"} == swapped.column("email")


def test_a_former_id_that_is_anothers_stays_so(swapped: Engine) -> None:
    """A new id is not undone when somebody else has the former one by now."""
    ids.rekey(swapped.store, CLIENT, [("S1", "N1")], is_applied=True)
    swapped.rows("S1,OPSCOM,Eve,Lee,eve@example.org,eve")
    undone = undo(swapped.store, 3, is_applied=True)
    assert (0, (Conflict("N1", "unique_id", is_taken=True),)) == (undone.done.import_id, undone.listed)


def test_whom_the_operator_deactivates(swapped: Engine) -> None:
    """The address of such a user is free; into a taken one nobody is reactivated."""
    deactivation.deactivate(swapped.store, CLIENT, ["S1"])
    assert 0 == deactivation.deactivate(swapped.store, CLIENT, ["S1"]).import_id
    assert 1 == swapped.rows("S5,OPSCOM,Eve,Lee,bob@example.org,eve").tally.created
    with pytest.raises(NotPossible) as told:
        deactivation.reactivate(swapped.store, CLIENT, ["S1"])
    assert ("S1: email is another user's now",) == told.value.conflicts
    with pytest.raises(NotPossible):
        deactivation.deactivate(swapped.store, CLIENT, ["S2", "nobody"])


def test_somebody_who_was_made_as_a_leaver(engine: Engine) -> None:
    """It is inactive by the undo, whoever says that it has left; who left by a later file stays so."""
    engine.settings(status=StatusSettings(column="State", active=("A",), inactive=("LEFT",)))
    header = f"{HEADER},State"
    engine.file(header, f"{ANN},LEFT", f"{BOB},A")
    engine.file(header, f"{ANN},LEFT", f"{BOB},LEFT")
    undone = undo(engine.store, 1, is_applied=True)
    assert (1, {"S1": "undo", "S2": "status"}) == (undone.done.users, states(engine))
    undo(engine.store, 3, is_applied=True)
    assert {"S1": "status", "S2": "status"} == states(engine)


def states(engine: Engine) -> dict[str, str]:
    """Return who says of whom that it is inactive."""
    return dict(engine.store.conn.execute("SELECT unique_id, inactive_by FROM users ORDER BY 1").fetchall())


def test_what_the_operator_did_is_counted_as_what_it_is(engine: Engine) -> None:
    """Who was made inactive, or active again, was not updated."""
    engine.rows(ANN, BOB)
    deactivation.deactivate(engine.store, CLIENT, ["S1", "S2"])
    deactivation.reactivate(engine.store, CLIENT, ["S1"])
    rows = engine.store.conn.execute(
        "SELECT kind, updated, deactivated, reinstated FROM imports ORDER BY id"
    ).fetchall()
    assert [("file", 0, 0, 0), ("deactivate", 0, 2, 0), ("reactivate", 0, 0, 1)] == rows
