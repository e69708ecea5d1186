"""What each import changed of whom, as the table `user_changes` has it."""

from __future__ import annotations

import pytest

from importer.store import personal_data
from importer.store.roster import history
from tests.engine import CLIENT, HEADER, Engine

pytestmark = pytest.mark.usefixtures("both_databases")

ANN = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"
BOB = "S2,OPSCOM,Bob,Roy,bob@example.org,bob"


def changes(engine: Engine, unique_id: str = "S1") -> list[tuple[int, str, int, dict[str, history.Values]]]:
    """Return import, kind, line and values of all that was changed of a user."""
    found = history.of_person(engine.store.conn, CLIENT, unique_id)
    return [(each.import_id, each.kind, each.line, each.changes) for each in found]


def test_an_update_keeps_both_values(engine: Engine) -> None:
    """Each attribute that an import changes is kept with its old and its new value; the keys are no attributes."""
    engine.rows(ANN, BOB)
    engine.rows(BOB, "S1,OPSCOM,Anna,Lee,anna@example.org,ann")
    assert [] == changes(engine, "S2")
    values = {"first_name": ("Ann", "Anna"), "email": ("ann@example.org", "anna@example.org")}
    assert [(2, "updated", 3, values)] == changes(engine)
    (found,) = history.of_person(engine.store.conn, CLIENT, "S1")
    assert ("users.csv", 2) == (found.file, found.line_before)


def test_a_creation_is_told_by_the_user(engine: Engine) -> None:
    """A new user has no history yet, in a client's first file and in a later one."""
    engine.rows(ANN)
    engine.rows(ANN, BOB)
    assert [] == changes(engine, "S1") + changes(engine, "S2")


def test_the_story_of_a_person(engine: Engine) -> None:
    """Creation, changes and erasure in their order, with file and line, and who approved the file."""
    engine.rows(BOB, ANN)
    engine.rows("S1,OPSCOM,Anna,Lee,,")
    engine.store.conn.execute("UPDATE imports SET approved_by = 'operator' WHERE id = 2")
    told = [
        (each.import_id, each.kind, each.file, each.line, each.approved_by)
        for each in history.story(engine.store.conn, CLIENT, "S1")
    ]
    assert [(1, "created", "users.csv", 3, ""), (2, "updated", "users.csv", 2, "operator")] == told
    personal_data.erase(engine.store, CLIENT, "S1")
    engine.rows(ANN)
    kinds = [each.kind for each in history.story(engine.store.conn, CLIENT, "S1")]
    assert ["erased", "created"] == kinds


def test_empty_values_are_told_from_text(engine: Engine) -> None:
    """A value that was empty, or is emptied, is null; what is special in JSON stays what it is."""
    engine.settings(clear_token="(clear)")
    engine.rows(ANN)
    header = "unique_id,login_source,city,user_name"
    engine.rows('S1,OPSCOM,"say ""hi"" \\ {null}",(clear)', header=header)
    assert [(2, "updated", 2, {"user_name": ("ann", None), "city": (None, 'say "hi" \\ {null}')})] == changes(engine)


def test_what_is_undone_in_the_import_was_no_change(engine: Engine) -> None:
    """A row that fails because of a taken address or a duplicate id adds nothing to the history."""
    engine.rows(ANN, BOB)
    engine.rows("S1,OPSCOM,Ann,Lee,bob@example.org,ann", "S2,OPSCOM,Bo,Roy,,", "S2,OPSCOM,Bobby,Roy,,")
    assert [] == changes(engine, "S1") + changes(engine, "S2")


def test_another_clients_user_of_the_same_id_is_another_person(engine: Engine) -> None:
    """The history of an id is that of its client, and goes with the person."""
    for name in ("beta", CLIENT):
        engine.settings(name=name).rows(ANN)
        engine.rows("S1,OPSCOM,Anna,Lee,,")
    assert [4] == [each[0] for each in changes(engine)]
    assert 1 == personal_data.erase(engine.store, CLIENT, "S1").changes
    assert [] == changes(engine)
    assert [2] == [each.import_id for each in history.of_person(engine.store.conn, "beta", "S1")]


def test_a_file_makes_a_user_active_again(engine: Engine) -> None:
    """Who is inactive, but not by the operator, is active again once in a file, with the address it had."""
    engine.rows(ANN)
    inactive(engine, "undo")
    tally = engine.rows("S1,OPSCOM", header="unique_id,login_source").tally
    assert (1, 0, 0) == (tally.reinstated, tally.updated, tally.unchanged)
    assert [(2, "reinstated", 2, {"inactive_by": ("undo", None)})] == changes(engine)
    assert [("ann@example.org", "ann")] == engine.store.conn.execute(
        "SELECT email_key, user_name_key FROM users"
    ).fetchall()
    assert 1 == engine.rows(ANN).tally.unchanged


def inactive(engine: Engine, by: str) -> None:
    engine.store.conn.execute("UPDATE users SET inactive_by = ?, email_key = NULL, user_name_key = NULL", (by,))


def test_who_comes_back_into_a_taken_address_does_not(engine: Engine) -> None:
    """The address of an inactive user is free; a row that would make that user active again then fails."""
    engine.rows(ANN)
    inactive(engine, "undo")
    assert 1 == engine.rows("S3,OPSCOM,Ann,Leeds,ann@example.org,leeds").tally.created
    back = engine.rows(ANN.replace("Lee", "Leigh"))
    assert {2: "9019"} == back.codes
    assert ("undo", "Lee") == engine.store.conn.execute(
        "SELECT inactive_by, last_name FROM users WHERE unique_id = 'S1'"
    ).fetchone()
    assert [] == changes(engine)


@pytest.mark.parametrize("row", [ANN, "S1,OPSCOM,Ann,Lee,new@example.org,ann"])
def test_whom_the_operator_deactivated_stays_so(engine: Engine, row: str) -> None:
    """A file changes such a user as any other, and leaves it inactive, without an address that others could miss."""
    engine.rows(ANN)
    inactive(engine, "operator")
    tally = engine.rows(row).tally
    assert (row != ANN, row == ANN) == (tally.updated, tally.unchanged)
    assert [("operator", None, None)] == engine.store.conn.execute(
        "SELECT inactive_by, email_key, user_name_key FROM users"
    ).fetchall()
    assert {"S1": row.split(",")[4]} == engine.column("email")
    assert 1 == engine.rows("S4,OPSCOM,Di,Poe,new@example.org,di", header=HEADER).tally.created
