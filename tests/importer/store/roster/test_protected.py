"""What no file changes: protected attributes, and protected users."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime

import pytest

from importer.roster.protection import ListUnusable, protected_users
from importer.rows import delta
from importer.settings import FeedSettings, GuardSettings, StatusSettings
from importer.store.roster import deactivation, removal
from importer.store.roster.undo import undo
from tests.engine import CLIENT, HEADER, Engine, Result, corrected

pytestmark = pytest.mark.usefixtures("both_databases")


def user(number: int, **other: str) -> str:
    """Return the row of a user."""
    values = {"first": "Ann", "last": f"Lee{number}", "email": f"s{number}@example.org", "name": f"u{number}"} | other
    return f"S{number},OPSCOM,{values['first']},{values['last']},{values['email']},{values['name']}"


@pytest.fixture(params=["whole", "compared"])
def engine(engine: Engine, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Return an engine that looks at every line, or at those that differ."""
    monkeypatch.setattr(delta, "MIN_BYTES", 0 if request.param == "compared" else 1 << 30)
    return engine


def left_out(result: Result) -> tuple[int, tuple[int, ...]]:
    """Return of how many rows a protected value was left out, and the first lines; (0, ()) without a warning."""
    warning = result.warnings.get("value.protected")
    return (warning.rows, warning.lines) if warning else (0, ())


@pytest.mark.sqlite
def test_a_protected_value_is_set_once(engine: Engine) -> None:
    """A file sets it when it makes a user; then it stays, while the rest of the row counts, and each file is told."""
    engine.settings(protected_fields=("email",))
    assert (0, ()) == left_out(engine.rows(user(1), user(2), user(3)))
    rows = [user(1, email="new@example.org", last="Roy"), user(2, email="s2@example.com"), user(3), user(4)]
    changed = engine.rows(*rows)
    assert (1, 1, 2) == (changed.tally.created, changed.tally.updated, changed.tally.unchanged)
    assert (2, (2, 3)) == left_out(changed)
    assert 'We keep "email" as recorded when the user was new.' in changed.text
    assert {f"S{number}": f"s{number}@example.org" for number in range(1, 5)} == engine.column("email")
    assert "Roy" == engine.column("last_name")["S1"]
    (keys,) = engine.store.conn.execute("SELECT group_concat(email_key) FROM users").fetchone()
    assert {f"s{number}@example.org" for number in range(1, 5)} == {*keys.split(",")}
    assert (2, (2, 3)) == left_out(engine.rows(*rows))
    assert (1, (3,)) == left_out(engine.rows(user(1), *rows[1:]))


def test_french_clients_read_it_in_french(engine: Engine) -> None:
    """The warning is in the client's language."""
    engine.settings(protected_fields=("email", "last_name"), language=("fr",))
    engine.rows(user(1))
    text = engine.rows(user(1, last="Roy")).text
    assert "Nous gardons « last_name » comme enregistré" in text


def test_a_value_that_is_not_taken_is_no_conflict(engine: Engine) -> None:
    """A protected address stays its user's, whoever else claims it; to claim another's makes no row fail."""
    engine.settings(protected_fields=("email", "user_name"))
    engine.rows(user(1), user(2))
    result = engine.rows(user(1, email="s2@example.org", name="u2"), user(2, email="s1@example.org"))
    assert (2, 0) == (result.tally.unchanged, result.tally.failed)
    assert (2, (2, 3)) == left_out(result)
    assert {3: "9019"} == engine.rows(user(1), user(9, email="S1@example.org")).codes


def test_nothing_is_filled_in_or_emptied(engine: Engine) -> None:
    """A protected value that is empty stays empty, and one that is there is not cleared; no change, no warning."""
    engine.settings(protected_fields=("user_name", "email"), clear_token="~")
    engine.rows(user(1, name=""), user(2))
    result = engine.rows(user(1, name="~"), user(2, name=""))
    assert ((0, ()), 2) == (left_out(result), result.tally.unchanged)
    result = engine.rows(user(1, name="new"), user(2, name="~"))
    assert ((2, (2, 3)), 2) == (left_out(result), result.tally.unchanged)
    assert {"S1": None, "S2": "u2"} == engine.column("user_name")


def test_of_rows_that_fail_nothing_is_told(engine: Engine) -> None:
    """Rows that fail are told as such, and not as left out."""
    engine.settings(protected_fields=("email",))
    engine.rows(user(1), user(2), user(3))
    contradictory = user(1, email="x@example.org"), user(1, email="y@example.org")
    taken = user(2, email="z@example.org", name="u3")
    result = engine.rows(*contradictory, taken, user(3, email="v@example.org"))
    assert {2: "9022", 3: "9022", 4: "9020"} == result.codes
    assert (1, (5,)) == left_out(result)


def test_a_corrected_row_is_applied_but_for_what_is_protected(engine: Engine) -> None:
    """A corrected failed CSV changes no protected value either."""
    engine.settings(protected_fields=("email",))
    engine.rows(user(1))
    failed = engine.rows(user(1, email="no address", last="Roy"))
    result = engine.upload(corrected(failed, email="roy@example.org"), name="users.failed.csv")
    assert (1, (2,)) == left_out(result)
    assert ({"S1": "Roy"}, {"S1": "s1@example.org"}) == (engine.column("last_name"), engine.column("email"))


def test_the_setting_counts_from_its_first_file_on(engine: Engine) -> None:
    """A change of the setting has every line looked at again: what is left out, and what is not any more."""
    engine.settings(protected_fields=("email",))
    engine.rows(user(1), user(2))
    rows = user(1, email="new@example.org"), user(2)
    assert (1, (2,)) == left_out(engine.rows(*rows))
    assert 1 == engine.settings(protected_fields=()).rows(*rows).tally.updated
    engine.settings(protected_fields=("last_name",))
    assert (1, (2,)) == left_out(engine.rows(user(1, email="new@example.org", last="Roy"), user(2)))


@pytest.mark.sqlite
def test_leavers_come_back_with_what_is_protected(engine: Engine) -> None:
    """Who comes back by a snapshot or a status has the address of before."""
    status = StatusSettings(column="Enrolment", active=("A",), inactive=("I",))
    engine.settings(
        protected_fields=("email",), status=status, feed=(FeedSettings(name="all", files="*", mode="snapshot"),)
    )
    header = f"{HEADER},Enrolment"
    engine.file(header, f"{user(1)},A", f"{user(2)},A", f"{user(3)},A")
    engine.file(header, f"{user(1, email='x@example.org')},I", f"{user(3)},A")
    back = engine.file(
        header, f"{user(1, email='x@example.org')},A", f"{user(2, email='y@example.org')},", f"{user(3)},A"
    )
    assert (2, (2, (2, 3))) == (back.tally.reinstated, left_out(back))
    (keys,) = engine.store.conn.execute("SELECT group_concat(email_key) FROM users").fetchone()
    assert {f"s{number}@example.org" for number in (1, 2, 3)} == {*keys.split(",")}


def test_an_undo_takes_back_what_was_changed_before(engine: Engine) -> None:
    """The operator may take back the value of a file that came before the setting."""
    engine.rows(user(1))
    engine.rows(user(1, email="wrong@example.org"))
    engine.settings(protected_fields=("email",))
    assert 1 == undo(engine.store, 2, is_applied=True).values
    assert {"S1": "s1@example.org"} == engine.column("email")


def test_very_many_left_out_values_are_compared_with_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """If more lines must be told again than are compared at all, the next file is looked at whole, with its warning."""
    monkeypatch.setattr("importer.store.baselines.MOST_LINES", 3)
    monkeypatch.setattr("importer.store.sqlite.rows.protected.MOST_LINES", 3)
    engine.settings(protected_fields=("email",))
    engine.rows(*map(user, range(9)))
    rows = [user(number, email=f"t{number}@example.org") for number in range(9)]
    for _ in range(2):
        assert (9, tuple(range(2, 11))) == left_out(engine.rows(*rows))


# Users


def protect(engine: Engine, *unique_ids: str) -> None:
    """List users whom no file changes."""
    path = engine.folder / "protected"
    path.write_text("".join(f"{each}\n" for each in unique_ids))
    engine.settings(protected_users=str(path))


def kept(result: Result) -> tuple[int, tuple[int, ...]]:
    """Return of how many rows of protected users nothing was applied, and the first lines."""
    warning = result.warnings.get("id.protected")
    return (warning.rows, warning.lines) if warning else (0, ())


def test_no_row_changes_a_protected_user(engine: Engine) -> None:
    """A row that would change one is unchanged and told in each file; the others are applied; one can be created."""
    protect(engine, "S1", "S2", "S9", "S100")
    assert (0, ()) == kept(engine.rows(user(1), user(2), user(3)))
    rows = [user(1, last="Roy"), user(2), user(3, last="Roy"), user(9)]
    changed = engine.rows(*rows)
    assert (1, 1, 2) == (changed.tally.created, changed.tally.updated, changed.tally.unchanged)
    assert (1, (2,)) == kept(changed)
    assert "We protect this user, so the file changes nothing of the user." in changed.text
    assert {"S1": "Lee1", "S2": "Lee2", "S3": "Roy", "S9": "Lee9"} == engine.column("last_name")
    assert (1, (2,)) == kept(engine.rows(*rows))
    assert (2, (2, 4)) == kept(engine.rows(*rows[:2], user(9, email="x@example.org")))


def test_a_protected_user_keeps_its_address(engine: Engine) -> None:
    """Nobody gets the address of a protected user, who cannot give it away."""
    protect(engine, "S1")
    engine.rows(user(1), user(2))
    result = engine.rows(user(1, email="free@example.org"), user(2, email="s1@example.org"))
    assert {3: "9019"} == result.codes
    assert "s1@example.org" == engine.column("email")["S1"]


def test_a_change_of_the_list_counts_from_the_next_file_on(engine: Engine) -> None:
    """Who is listed newly, or no more, is looked at again in a file that stayed the same."""
    rows = user(1, last="Roy"), user(2)
    engine.rows(user(1), user(2))
    protect(engine, "S1")
    assert (1, (2,)) == kept(engine.rows(*rows))
    protect(engine, "S3")
    assert 1 == engine.rows(*rows).tally.updated
    protect(engine, "S1")
    assert (1, (2,)) == kept(engine.rows(user(1), user(2)))


def test_a_snapshot_deactivates_no_protected_user(engine: Engine) -> None:
    """A protected user may be missing from each snapshot: it has missed none once it is not listed any more."""
    engine.settings(feed=(FeedSettings(name="all", files="*", mode="snapshot", misses=2),))
    engine.rows(*map(user, range(6)))
    engine.rows(*map(user, range(2, 6)))
    protect(engine, "S0", "S1")
    for _ in range(3):
        assert 0 == engine.rows(*map(user, range(2, 6))).tally.deactivated
    protect(engine, "S0")
    assert [0, 1] == [engine.rows(*map(user, range(2, 6))).tally.deactivated for _ in range(2)]
    [(gone,)] = engine.store.conn.execute("SELECT unique_id FROM users WHERE inactive_by IS NOT NULL").fetchall()
    assert "S1" == gone


def test_removals_are_approved_without_protected_users(engine: Engine) -> None:
    """Who is listed while removals are on hold is neither shown as missing nor deactivated by the approval."""
    feed = FeedSettings(name="all", files="*", mode="snapshot")
    engine.settings(feed=(feed,), guard=GuardSettings())
    engine.rows(*map(user, range(30)))
    held = engine.rows(*map(user, range(10))).receipt.removals
    assert held is not None
    protected = ("S20", "S21")
    assert 18 == removal.count_missing(engine.store.conn, CLIENT, feed, protected)
    assert not {*protected} & {each.unique_id for each in removal.missing(engine.store.conn, CLIENT, feed, protected)}
    decision = removal.Decision(held=held, verdict="approved", by="operator", at=datetime.now(UTC), protected=protected)
    done = removal.decide(engine.store, decision, feed, lambda _: None)
    assert done is not None
    assert 18 == done.users
    active = engine.store.conn.execute("SELECT unique_id FROM users WHERE inactive_by IS NULL").fetchall()
    assert {*protected} < {unique_id for (unique_id,) in active}


def test_a_status_moves_no_protected_user(engine: Engine) -> None:
    """A protected user neither leaves nor comes back by a status; the operator decides, and may undo."""
    engine.settings(status=StatusSettings(column="Enrolment", active=("A",), inactive=("I",)))
    header = f"{HEADER},Enrolment"
    engine.file(header, f"{user(1)},A", f"{user(2)},I", f"{user(3)},A")
    engine.file(header, f"{user(1)},A", f"{user(2)},I", f"{user(3)},I")
    protect(engine, "S1", "S2", "S3")
    for _ in range(2):
        result = engine.file(header, f"{user(1)},I", f"{user(2)},A", f"{user(3)},I")
        assert ((2, (2, 3)), 0, 0) == (kept(result), result.tally.deactivated, result.tally.reinstated)
    deactivation.deactivate(engine.store, CLIENT, ["S1"])
    assert 1 == undo(engine.store, 2, is_applied=True).reinstated


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"S1\nS2,Ann\n", "line 2: is not a unique_id; expected one on each line, and nothing else"),
        (b"unique_id;name\n", "line 1: is not a unique_id"),
        (b"\n\nS" + b"1" * 50, "line 3: is not a unique_id"),
        (b"1.2E+05\n", "line 1: is not a unique_id"),
        (b"S\xff\n", "byte 1 is not UTF-8"),
        (b"# S1\n\n", "has no unique_id; to protect nobody, leave it out"),
        (b"\0", "line 1: is not a unique_id"),
        (b"#" * (17 << 20), "has more than 16 MiB"),
    ],
)
def test_without_a_usable_list_nothing_is_imported(engine: Engine, content: bytes | None, problem: str) -> None:
    """A list that cannot be read, or not be meant, stops the import as a problem of the host, which says what it is."""
    protect(engine, "S1")
    engine.rows(user(1), user(2))
    path = engine.folder / "protected"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ListUnusable, match=re.escape(f"protected_users {path}")) as stopped:
        engine.rows(user(1, last="Roy"), user(2, last="Roy"))
    assert problem in str(stopped.value)
    assert {"S1": "Lee1", "S2": "Lee2"} == engine.column("last_name")


def test_a_list_is_a_regular_file(engine: Engine) -> None:
    """A named pipe, which nobody writes, is not waited for; a link of the operator's is followed."""
    protect(engine, "S1")
    path = engine.folder / "protected"
    path.rename(engine.folder / "real")
    os.mkfifo(path)
    with pytest.raises(ListUnusable, match="is not a regular file"):
        engine.rows(user(1))
    path.unlink()
    path.symlink_to(engine.folder / "real")
    engine.rows(user(1))
    assert (1, (2,)) == kept(engine.rows(user(1, last="Roy")))


def test_a_list_may_be_written_by_hand(engine: Engine) -> None:
    """Blanks around ids, blank lines, a byte order mark, Windows' ends of lines and comments do not matter."""
    protect(engine, "S1")
    (engine.folder / "protected").write_bytes("\ufeff# of IT\r\n\r\n  S1 \r\nZoe\u0301\r\ns2".encode())
    assert ("S1", "Zo\u00e9", "s2") == protected_users(engine.client)


def test_who_was_recorded_with_a_longer_id_stays_protected(engine: Engine) -> None:
    """A limit that is lowered says nothing of users who are recorded."""
    protect(engine, "S1234")
    engine.rows(user(1234))
    assert ("S1234",) == protected_users(engine.settings(limits={"unique_id": 2}).client)


def test_very_many_may_be_protected(engine: Engine) -> None:
    """More ids than a statement takes at once are found in a snapshot."""
    engine.settings(feed=(FeedSettings(name="all", files="*", mode="snapshot"),))
    engine.rows(*map(user, range(20)))
    protect(engine, *(f"S{number}" for number in range(5, 2000)))
    assert 5 == engine.rows(user(19)).tally.deactivated
