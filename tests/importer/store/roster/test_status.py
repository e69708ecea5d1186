"""The status column of a client: who leaves by it, who comes back, and what a blank cell says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from importer.model import Outcome
from importer.rows import delta
from importer.settings import FeedSettings, GuardSettings, StatusSettings
from importer.store.roster import deactivation, held_files, history, pauses
from importer.store.roster.undo import undo
from tests.engine import CLIENT, HEADER, Engine, Result, corrected
from tests.tables import tables_of

pytestmark = pytest.mark.usefixtures("both_databases")

COLUMN = "Enrolment"
TITLES = f"{HEADER},{COLUMN}"


def user(number: int, status: str, **other: str) -> str:
    """Return the row of a user."""
    values = {"first": "Ann", "last": f"Lee{'abcdefghij'[number % 10]}", "email": f"s{number}@example.org"} | other
    return f"S{number},OPSCOM,{values['first']},{values['last']},{values['email']},u{number},{status}"


@pytest.fixture(params=["whole", "compared"])
def engine(engine: Engine, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Return an engine of a client with a status column that looks at every line, or at those that differ."""
    monkeypatch.setattr(delta, "MIN_BYTES", 0 if request.param == "compared" else 1 << 30)
    return engine.settings(status=StatusSettings(column=COLUMN, active=("A", "On leave"), inactive=("I", "LEFT")))


def send(engine: Engine, *rows: str, name: str = "users.csv") -> Result:
    """Import a file with the status column."""
    return engine.file(TITLES, *rows, name=name)


def inactive(engine: Engine) -> dict[str, str]:
    """Return who is inactive, and by whom."""
    query = "SELECT unique_id, inactive_by FROM users WHERE inactive_by IS NOT NULL"
    return dict(engine.store.conn.execute(query).fetchall())


def kinds(engine: Engine, unique_id: str) -> list[tuple[int, str]]:
    return [(each.import_id, each.kind) for each in history.of_person(engine.store.conn, CLIENT, unique_id)]


def test_a_status_deactivates_and_reinstates(engine: Engine) -> None:
    """Who has left by its status is inactive, counted and in the history; active again when the status says so."""
    send(engine, user(1, "A"), user(2, "A"), user(3, "A"))
    left = send(engine, user(1, "I"), user(2, "LEFT", last="Roy"), user(3, "A"))
    assert (2, 2, 1) == (left.tally.updated, left.tally.deactivated, left.tally.unchanged)
    assert 3 == left.tally.rows
    assert "2 users are not active any more, because the status in the file says so." in left.text
    assert "who are not in the file" not in left.text
    assert {"S1": "status", "S2": "status"} == inactive(engine)
    assert "Roy" == engine.column("last_name")["S2"]
    assert 3 == send(engine, user(1, "I"), user(2, "LEFT", last="Roy"), user(3, "A")).tally.unchanged
    back = send(engine, user(1, "A"), user(2, "LEFT", last="Roy"), user(3, "A"))
    assert (1, 0, 2) == (back.tally.reinstated, back.tally.deactivated, back.tally.unchanged)
    assert [(2, "deactivated"), (4, "reinstated")] == kinds(engine, "S1")
    assert {"S2": "status"} == inactive(engine)


def test_both_languages_tell_who_left(engine: Engine) -> None:
    """A client reads in its own language how many users are not active any more."""
    engine.settings(language=("fr",))
    send(engine, user(1, "A"))
    assert (
        "1 utilisateur n\u2019est plus actif, car son statut dans le fichier le dit." in send(engine, user(1, "I")).text
    )


def test_spellings_of_spreadsheets_are_the_same(engine: Engine) -> None:
    """Capitals and blanks, also those that do not break, make no difference; other values fail with those allowed."""
    spellings = [
        "a",
        " A ",
        "ON LEAVE",
        "on\u00a0leave",
        "On  Leave",
        "left",
        "i\u00a0",
        '"I"',
        "x",
        "N/A",
        "A.",
        "\u200b",
    ]
    result = send(engine, *(user(number, status) for number, status in enumerate(spellings)))
    assert {"S5", "S6", "S7"} == inactive(engine).keys()
    assert [10, 11, 12] == sorted(result.codes)
    assert {"9033"} == {*result.codes.values()}
    assert {f'{COLUMN} has a status that we do not know. Enter one of: "A", "On leave", "I", "LEFT".'} == {
        *result.reasons.values()
    }


def test_a_blank_status_leaves_the_state_as_it_is(engine: Engine) -> None:
    """A blank cell, and a file without the column, neither deactivate nor reinstate; a new user is active."""
    send(engine, user(1, "I"), user(2, ""))
    send(engine, user(1, ""), user(2, "", last="Roy"))
    engine.rows(user(1, "", last="Ray").rpartition(",")[0])
    assert {"S1": "status"} == inactive(engine)
    assert {"S1": "Ray", "S2": "Roy"} == engine.column("last_name")
    assert [(3, "updated")] == kinds(engine, "S1")


def test_a_leaver_frees_its_address_in_the_same_file(engine: Engine) -> None:
    """Whoever has left holds no address, whatever the order of the rows; one that comes back may find it taken."""
    send(engine, user(1, "A"), user(2, "A"))
    mixed = send(engine, user(3, "A", email="s1@example.org"), user(1, "I"), user(2, "A"))
    assert (1, 0) == (mixed.tally.created, mixed.tally.failed)
    assert {3: "9019"} == send(engine, user(3, "A", email="s1@example.org"), user(1, "A"), user(2, "A")).codes
    assert {"S1": "status"} == inactive(engine)
    together = send(engine, user(3, "I", email="s1@example.org"), user(1, "A"), user(2, "A"))
    assert (1, 1, 0) == (together.tally.reinstated, together.tally.deactivated, together.tally.failed)


def test_a_new_user_can_have_left_already(engine: Engine) -> None:
    """A new user who has left is recorded inactive, and may have an address that somebody else has."""
    result = send(engine, user(1, "A"), user(2, "LEFT", email="s1@example.org"), user(3, "I", email=""))
    assert (2, 1, 0) == (result.tally.created, result.tally.failed, result.tally.deactivated)
    assert {4: "9016"} == result.codes
    assert {"S2": "status"} == inactive(engine)
    again = send(engine, user(2, "I", email="s1@example.org"), user(4, "I", email="s1@example.org"))
    assert (1, 1, 0) == (again.tally.created, again.tally.unchanged, again.tally.failed)


def test_a_row_that_fails_changes_no_state(engine: Engine) -> None:
    """A leaver whose row is wrong stays active; it is not told that its address is another's, as it would not be."""
    send(engine, user(1, "A"), user(2, "A"))
    wrong = user(1, "I", email="s2@example.org").replace("OPSCOM", "BAD")
    assert {2: "9015"} == send(engine, wrong).codes
    assert {} == inactive(engine)


def test_two_states_of_one_person_contradict(engine: Engine) -> None:
    """Rows of one id with different states fail; the same state in other spellings is one row twice."""
    send(engine, user(1, "A"), user(2, "A"))
    result = send(engine, user(1, "A"), user(1, "I"), user(2, "I"), user(2, " i"))
    assert {2: "9022", 3: "9022"} == result.codes
    assert (1, 1) == (result.tally.deactivated, result.tally.repeated)
    assert {"S2": "status"} == inactive(engine)


def test_an_operator_has_the_last_word(engine: Engine) -> None:
    """A file reinstates nobody whom the operator deactivated: it warns, unless it says the same."""
    send(engine, user(1, "A"), user(2, "A"))
    deactivation.deactivate(engine.store, CLIENT, ["S1", "S2"])
    for _ in range(2):
        result = send(engine, user(1, "A"), user(2, "I"))
        assert (2,) == result.warnings["id.inactive"].lines
    assert {"S1": "operator", "S2": "operator"} == inactive(engine)


def test_a_recycled_id_fails(engine: Engine) -> None:
    """Who has left by its status and comes back with another name and address is another person."""
    send(engine, user(1, "I"))
    other = user(1, "A", first="Bo", last="Roy", email="bo@example.org")
    assert {2: "id.recycled"} == send(engine, other).codes
    assert {"S1": "status"} == inactive(engine)


def test_the_heading_of_the_status_is_known(engine: Engine) -> None:
    """Its exact heading is known, another spelling is refused with the right one, and no other heading means it."""
    engine.settings(unknown_columns="ignore")
    assert [] == [*send(engine, user(1, "A")).warnings]
    misspelt = engine.file(TITLES.replace(COLUMN, "enrolment"), user(1, "I"))
    assert Outcome.REFUSED is misspelt.receipt.outcome
    assert f'Rename the column "enrolment" to "{COLUMN}".' in misspelt.detail
    engine.file(TITLES.replace(COLUMN, "inactive_by"), user(1, "LEFT"))
    assert {} == inactive(engine)


def test_a_corrected_status_is_imported(engine: Engine) -> None:
    """The failed CSV has the column, and whoever corrects it there is heard."""
    send(engine, user(1, "A"), user(2, "A"))
    failed = send(engine, user(1, "A"), user(2, "gone"))
    assert COLUMN in failed.failed_rows[0]
    result = engine.upload(corrected(failed, **{COLUMN: "Left"}), name="users.failed.csv")
    assert (1, 0) == (result.tally.deactivated, result.tally.failed)
    assert {"S2": "status"} == inactive(engine)


def test_undo_brings_leavers_back(engine: Engine) -> None:
    """The undo of an import makes active whom its status deactivated, and inactive by it whom it reinstated."""
    send(engine, user(1, "A"), user(2, "I"), user(3, "A"))
    send(engine, user(1, "I"), user(2, "A"), user(3, "A"))
    undone = undo(engine.store, 2, is_applied=True)
    assert (1, 1, 0) == (undone.reinstated, undone.deactivated, undone.conflicts)
    assert {"S2": "status"} == inactive(engine)
    assert {"email_key": "s1@example.org"} == next(
        iter(tables_of(engine.store).query("SELECT email_key FROM users WHERE unique_id = 'S1'"))
    )
    again = send(engine, user(1, "I"), user(2, "A"), user(3, "A"))
    assert (1, 1) == (again.tally.deactivated, again.tally.reinstated)


def test_who_is_missing_and_who_has_left_are_told_apart(engine: Engine) -> None:
    """In a snapshot a leaver is present; whom a snapshot lacked comes back by a row, or has left by it."""
    engine.settings(feed=(FeedSettings(name="all", files="*", mode="snapshot"),))
    send(engine, *(user(number, "A") for number in range(1, 6)))
    both = send(engine, user(1, "I"), user(2, "A"), user(3, "A"))
    assert (3, 1) == (both.tally.deactivated, both.tally.updated)
    assert "1 user is not active any more, because" in both.text
    assert "2 users who are not in the file are not active any more." in both.text
    assert {"S1": "status", "S4": "snapshot", "S5": "snapshot"} == inactive(engine)
    back = send(engine, user(1, ""), user(2, "A"), user(3, "A"), user(4, ""), user(5, "I"))
    assert (1, 0) == (back.tally.reinstated, back.tally.deactivated)
    assert {"S1": "status", "S5": "status"} == inactive(engine)
    assert [(2, "deactivated"), (3, "updated")] == kinds(engine, "S5")
    send(engine, user(2, "A"), user(3, "A"), user(4, "A"))
    assert {"S1": "status", "S5": "status"} == inactive(engine)


def test_two_feeds_may_state_a_status(engine: Engine) -> None:
    """A leaver of one feed stays inactive while another feed has it without a status, until one says it is active."""
    engine.settings(
        feed=(
            FeedSettings(name="students", files="students*", mode="snapshot", misses=2),
            FeedSettings(name="staff", files="staff*"),
        )
    )
    send(engine, user(1, "A"), user(2, "A"), name="students.csv")
    send(engine, user(1, "I"), user(2, "A"), name="students.csv")
    engine.file(HEADER, user(1, "", last="Roy").rpartition(",")[0], name="staff.csv")
    assert {"S1": "status"} == inactive(engine)
    send(engine, user(1, "A"), name="staff.csv")
    assert {} == inactive(engine)
    assert 1 == send(engine, user(1, "I"), user(2, "A"), name="students.csv").tally.deactivated


def test_without_the_setting_a_file_brings_leavers_back(engine: Engine) -> None:
    """A client that has no status column any more keeps nobody out by it; the change has every line looked at."""
    send(engine, user(1, "I"), user(2, "A"))
    engine.settings(status=StatusSettings(), columns={COLUMN: ""})
    assert 1 == send(engine, user(1, "I"), user(2, "A")).tally.reinstated


def test_other_words_have_every_line_looked_at(engine: Engine) -> None:
    """The same file means something else once the settings do."""
    send(engine, user(1, "A"), user(2, "I"))
    engine.settings(status=StatusSettings(column=COLUMN, active=("I",), inactive=("A",)))
    changed = send(engine, user(1, "A"), user(2, "I"))
    assert (1, 1) == (changed.tally.deactivated, changed.tally.reinstated)
    assert {"S1": "status"} == inactive(engine)


def test_words_that_look_damaged_can_be_a_status(engine: Engine) -> None:
    """What is no value elsewhere, such as - or None, may be a word of a client; the clear token is none."""
    engine.settings(status=StatusSettings(column=COLUMN, active=("-", "1.0"), inactive=("None", "=X")), clear_token="~")
    result = send(engine, user(1, "-"), user(2, "none"), user(3, "'=x"), user(4, "1.0"), user(5, "~"))
    assert {6: "9033"} == result.codes
    assert {"S2": "status", "S3": "status"} == inactive(engine)
    assert [] == [*result.warnings]


def test_a_large_first_file_records_who_has_left(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first file that is loaded without indexes, by the worker, has the same users as any other."""
    monkeypatch.setattr("importer.store.sqlite.rows.new_users._LOAD_MIN_BYTES", 0)
    monkeypatch.setattr("importer.rows.worker._MIN_BYTES", 0)
    send(engine, *(user(number, "I" if number % 3 else "A") for number in range(60)))
    assert 40 == len(inactive(engine))
    (keys,) = engine.store.conn.execute("SELECT count(email_key) FROM users").fetchone()
    assert 20 == keys


def guarded(engine: Engine, **limits: object) -> Engine:
    """Let the guard `deactivated` ask above 10 % and 5 users, or as these say."""
    off = {"identity": "off", "attribute": "off", "created": "off", "undone": "off"}
    return engine.settings(guard=msgspec.convert({**off, **limits}, GuardSettings))


def test_very_many_leavers_are_asked_about(engine: Engine) -> None:
    """Above the limit nothing of the file is applied, and its answer names the column and the lines; at it all is."""
    guarded(engine)
    send(engine, *(user(number, "A") for number in range(60)))
    held = send(engine, *(user(number, "I" if number < 7 else "A") for number in range(61)))
    assert Outcome.ON_HOLD is held.receipt.outcome
    [group] = held.receipt.problems
    assert ("guard.deactivated", COLUMN, 7, tuple(range(2, 9))) == (group.code, group.field, group.rows, group.lines)
    assert f"7 of 60 active users would leave, by {COLUMN} in this file or within the last 7 days." in held.text
    assert ({}, 60) == (inactive(engine), len(engine.users()))
    passed = send(engine, *(user(number, "I" if number < 6 else "A") for number in range(60)))
    assert (6, Outcome.IMPORTED) == (passed.tally.deactivated, passed.receipt.outcome)
    again = send(engine, *(user(number, "I" if number < 7 else "A") for number in range(60)))
    assert Outcome.ON_HOLD is again.receipt.outcome  # with those of the last days
    assert () == again.receipt.problems[0].lines


def test_leavers_who_are_approved_leave(engine: Engine) -> None:
    """An approved file deactivates them, and they do not count for the next one."""
    guarded(engine)
    send(engine, *(user(number, "A") for number in range(60)))
    rows = [TITLES, *(user(number, "I" if number < 40 else "A") for number in range(60)), ""]
    with engine.claimed("\n".join(rows).encode()) as claim:
        assert Outcome.ON_HOLD is engine.importer().import_file(claim, engine.client).outcome
        held_files.decide(engine.store.conn, [claim.claim_id], "approved", "operator", datetime.now(UTC))
        receipt = engine.importer().import_file(claim, engine.client)
    assert (Outcome.IMPORTED, 40, "operator") == (receipt.outcome, receipt.tally.deactivated, receipt.approved_by)
    assert 1 == send(engine, *(user(number, "I" if number < 41 else "A") for number in range(60))).tally.deactivated


def test_a_ceiling_counts_alone(engine: Engine) -> None:
    """More leavers than the ceiling are too many, whatever their share; with the guard off, any number passes."""
    guarded(engine, deactivated="90 %", deactivated_ceiling=3)
    send(engine, *(user(number, "A") for number in range(60)))
    rows = [user(number, "I" if number < 4 else "A") for number in range(60)]
    assert Outcome.ON_HOLD is send(engine, *rows).receipt.outcome
    assert 4 == send(guarded(engine, deactivated="off"), *rows).tally.deactivated


def test_missing_users_and_leavers_count_together(engine: Engine) -> None:
    """Of a snapshot with both, who is missing stays active above the limit; leavers below it have left all the same."""
    guarded(engine).settings(feed=(FeedSettings(name="all", files="*", mode="snapshot"),))
    send(engine, *(user(number, "A") for number in range(60)))
    both = send(engine, *(user(number, "I" if number < 4 else "A") for number in range(56)))
    assert (Outcome.IMPORTED, 4) == (both.receipt.outcome, both.tally.deactivated)
    assert both.receipt.removals is not None
    assert (4, 8, 60) == (
        both.receipt.removals.users,
        both.receipt.removals.tripped[0].count,
        both.receipt.removals.tripped[0].of,
    )
    assert {"S0", "S1", "S2", "S3"} == inactive(engine).keys()


def test_a_share_of_a_feed_is_of_its_users(engine: Engine) -> None:
    """Of two snapshot feeds each has its own active users and leavers."""
    guarded(engine).settings(
        feed=tuple(FeedSettings(name=name, files=f"{name}*", mode="snapshot") for name in ("students", "staff"))
    )
    send(engine, *(user(number, "A") for number in range(100)), name="students.csv")
    send(engine, *(user(number, "A") for number in range(200, 220)), name="staff.csv")
    rows = [user(number, "I" if number < 206 else "A") for number in range(200, 220)]
    held = send(engine, *rows, name="staff.csv")
    assert (Outcome.ON_HOLD, 20) == (held.receipt.outcome, held.receipt.changes[0].of)


def test_a_pause_lets_leavers_pass(engine: Engine) -> None:
    """While the guard is paused, any number of users may leave by their status."""
    guarded(engine)
    send(engine, *(user(number, "A") for number in range(60)))
    until = datetime.now(UTC) + timedelta(days=1)
    pauses.add(engine.store.conn, CLIENT, ["deactivated"], until)
    assert 60 == send(engine, *(user(number, "I") for number in range(60))).tally.deactivated
