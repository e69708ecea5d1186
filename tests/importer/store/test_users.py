"""Users: created, updated, left alone; and who keeps an address that two of them want."""

from __future__ import annotations

import pytest

from importer.store.errors import StoreError
from importer.store.sqlite.connection import read_only
from importer.store.sqlite.database import CACHE_KIB
from importer.store.sqlite.rows import new_users, recorder
from tests.engine import CLIENT, HEADER, Engine, Result
from tests.tables import tables_of

BOTH_WAYS = pytest.mark.parametrize("rows_per_probe", [0, 1 << 30], ids=["looked up", "scanned for"])

pytestmark = pytest.mark.usefixtures("both_databases")


def people(engine: Engine, *users: str) -> Result:
    """Import users written "<id> <address> <user name>", "." for blank."""
    rows = []
    for user in users:
        unique_id, address, user_name = ("" if part == "." else part for part in user.split())
        rows.append(f"{unique_id},OPSCOM,Ann,Lee,{address and address + '@example.org'},{user_name}")
    return engine.rows(*rows)


def test_created_updated_unchanged(engine: Engine) -> None:
    """A user that is not there is created, one that says something new is updated, any other is left alone."""
    assert (2, 0, 0) == counts(people(engine, "S1 ann ann", "S2 bob bob"))
    assert (0, 0, 2) == counts(people(engine, "S1 ann ann", "S2 bob bob"))
    assert (1, 1, 1) == counts(people(engine, "S1 ann ann", "S2 rob bob", "S3 cas cas"))


def counts(result: Result) -> tuple[int, int, int]:
    """Return how many were created, updated, unchanged."""
    return result.tally.created, result.tally.updated, result.tally.unchanged


def test_unchanged_rows_write_nothing(engine: Engine) -> None:
    """A user that a file only repeats keeps its row to the letter, times and import included."""
    people(engine, "S1 ann ann", "S2 bob bob")
    before = engine.store.conn.execute("SELECT * FROM users ORDER BY unique_id").fetchall()
    people(engine, "S1 ann ann", "S2 rob bob")
    after = engine.store.conn.execute("SELECT * FROM users ORDER BY unique_id").fetchall()
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_each_user_names_the_imports_that_made_it(engine: Engine) -> None:
    """A user row tells which import created it, which changed it last, and the line it stood in."""
    people(engine, "S1 ann ann", "S2 bob bob")
    people(engine, ". x x", "S2 rob bob")
    rows = engine.store.conn.execute(
        "SELECT unique_id, created_import, import_id, import_line, created_at <= updated_at FROM users ORDER BY 1"
    )
    assert [("S1", 1, 1, 2, 1), ("S2", 1, 2, 3, 1)] == rows.fetchall()


def test_absent_columns_and_blank_cells_change_nothing(engine: Engine) -> None:
    """What a file does not say of a user stays as it was."""
    engine.file(f"{HEADER},city,phone_cell", "S1,OPSCOM,Ann,Lee,a@example.org,ann,Hull,555")
    assert (0, 1, 0) == counts(engine.file("unique_id,login_source,city,phone_cell", "S1,OPSCOM,,556"))
    assert {"S1": "Hull"} == engine.column("city")
    assert {"S1": "556"} == engine.column("phone_cell")
    assert (0, 0, 1) == counts(engine.file("unique_id,login_source", "S1,"[:-1] + ",OPSCOM"))


def test_a_b_a_ends_as_a(engine: Engine) -> None:
    """The same file again after another is a new intent, not a repetition."""
    people(engine, "S1 ann ann")
    people(engine, "S1 bob bob")
    assert (0, 1, 0) == counts(people(engine, "S1 ann ann"))
    assert {"S1": "ann@example.org"} == engine.column("email")


def test_users_belong_to_their_client(engine: Engine) -> None:
    """Another client may have the same ids, addresses and user names; no file reaches across."""
    people(engine, "S1 ann ann", "S2 bob bob")
    engine.settings(name="beta")
    assert (1, 0, 0) == counts(people(engine, "S1 ann bob"))
    engine.settings(name=CLIENT)
    assert (0, 0, 2) == counts(people(engine, "S1 ann ann", "S2 bob bob"))


def test_case_of_an_address_is_changed_and_counts_as_an_update(engine: Engine) -> None:
    """An address is stored as written; written otherwise it is updated, and stays the same address."""
    people(engine, "S1 ann ann")
    assert (0, 1, 0) == counts(people(engine, "S1 Ann ANN"))
    assert {"S1": "ANN"} == engine.column("user_name")


def test_both_lines_of_a_conflict_are_named(engine: Engine) -> None:
    """Of two rows that claim one address each says where the other is, in this file or recorded."""
    result = people(engine, "S1 Ann ann", "S2 Bob bob", "S3 ann cas")
    assert {2: "9019", 4: "9019"} == result.codes
    assert "Another user already has this address (line 4 of this file)." in result.reasons[2]
    assert "Another user already has this address (line 2 of this file)." in result.reasons[4]
    people(engine, "S1 Ann ann")
    again = people(engine, "S1 Ann .", "S4 ann .", "S5 bob dan", "S6 dan dan")
    assert "(unique_id S1)" in again.reasons[3]
    assert {3: "9019", 4: "9019; 9020", 5: "9020"} == again.codes
    assert "already recorded has this address (unique_id S2)" in again.reasons[4]
    assert "user name (line 5 of this file)" in again.reasons[4]
    assert "user name (line 4 of this file)" in again.reasons[5]


def test_lines_that_share_an_address_are_told_together(engine: Engine) -> None:
    """Result and mail say which lines belong together, and apart from them whose address is recorded."""
    people(engine, "S1 ann ann")
    lines = ["R1 x r1", "R2 y r2", "R3 x r3", "R4 y r4", "R5 ann r5", *(f"T{n} t{n} same" for n in range(11))]
    result = people(engine, *lines)
    assert "- These lines have the same address: 2, 4; 3, 5. Enter an address" in result.text
    assert "- Line 6: A user already recorded has this address." in result.text
    assert (
        "- 11 rows, first line 7: Other lines of this file have the same user name, such as lines 7 and 8."
        in result.text
    )
    assert "S1" not in result.text
    three = people(engine.emptied(), "R1 x r1", "R2 x r2", "R3 x r3")
    assert "- These lines have the same address: 2, 3, 4." in three.text


def test_an_address_recorded_for_an_id_with_zeros_is_told(engine: Engine) -> None:
    """Where ids differ by leading zeros alone, result and mail say so without the id."""
    people(engine, "00123 ann ann", "00124 bob bob")
    text = people(engine, "123 ann ann", "124 bob bob", "S9 cas cas", "S8 dan dan").text
    assert (
        "- Lines 2-3: A user already recorded has this address, and the same unique_id but for leading zeros." in text
    )


def test_lost_zeros_in_a_file_without_what_new_users_need(engine: Engine) -> None:
    """Such a file can only change users: that none of them is known is told by its cause, not as missing columns."""
    people(engine, "00123 ann ann", "00124 bob bob")
    result = engine.file("unique_id,first_name", "123,Anna", "124,Bob", "9,Cas", "S1,Dan")
    lacks = "9014; 9018; 9016"
    assert {2: "9033", 3: "9033", 4: lacks, 5: lacks} == result.codes
    assert "Lines 2-3: The unique_id is that of a recorded user, but for leading zeros." in result.text


def test_an_address_recorded_for_an_id_in_other_capitals_is_told(engine: Engine) -> None:
    """Ids that differ only in case are not reported as a change of the student system."""
    people(engine, "SA1 ann ann", "SA2 bob bob", "SA3 cas cas")
    result = people(engine, "sa1 ann ann", "sa2 bob bob", "sa3 cas cas")
    told = "- Lines 2-4: A user already recorded has this address, and the same unique_id in other capitals."
    assert told in result.text
    assert "Another user already has this address, recorded as SA1. Enter" in result.reasons[2]


def test_ids_that_are_broken_are_not_all_new(engine: Engine) -> None:
    """Where a program wrote .0 behind all ids they are to be corrected, and the student system is the old one."""
    rows = [f"{n}.0,OPSCOM,Ann{n},Lee,a{n}@example.org,u{n}" for n in range(1, 6)]
    engine.rows(*(row.replace(".0,", ",") for row in rows))
    result = engine.rows(*rows)
    assert ["9033/decimal", "9019/recorded", "9020/recorded"] == [each.reason.key for each in result.receipt.problems]


def new_ids(engine: Engine, *, prefix: str = "B", last_name: str = "LEE") -> Result:
    """Import ten users, then the same people with other ids, and one more."""
    engine.rows(*(f"A{n},OPSCOM,Ann{n},Lee,a{n}@example.org,u{n}" for n in range(10)))
    again = [f"{prefix}{n},OPSCOM,Ann{n},{last_name},a{n}@example.org,v{n}" for n in range(10)]
    return engine.rows(*again, "Z1,OPSCOM,Zoé,Roy,z@example.org,z")


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", "1. Has your student system changed? Write to us, and we move your users to the new unique_ids."),
        ("fr", "1. Votre système scolaire a-t-il changé? Écrivez-nous, et nous changerons les unique_id."),
    ],
)
def test_new_ids_for_everybody_are_told_as_such(engine: Engine, language: str, told: str) -> None:
    """Where nearly all rows are recorded users with another id, to correct the rows is not what to do."""
    result = new_ids(engine.settings(language=(language,)))
    assert [("9019/all_new", 10)] == [(each.reason.key, each.rows) for each in result.receipt.problems]
    assert told in result.text
    assert "Excel" not in result.text
    assert told in (result.mail.text if result.mail else "")
    assert "unique_id" in result.reasons[2]


def test_other_people_with_the_addresses_of_all_have_not_new_ids(engine: Engine) -> None:
    """Where the names differ the addresses are wrong, not the ids; where ids lack zeros, they are."""
    assert ["9019/recorded"] == [each.reason.key for each in new_ids(engine, last_name="Roy").receipt.problems]


@pytest.mark.parametrize("claimed", ["a{n}@example.org,v{n}", "b{n}@example.org,u{n}"])
def test_new_ids_for_everybody_among_many_new_people(engine: Engine, claimed: str) -> None:
    """At the change of a year and of the system four of ten are really new: the others are told as what they are."""
    engine.rows(*(f"A{n},OPSCOM,Ann{n},Lee,a{n}@example.org,u{n}" for n in range(6)))
    again = [f"B{n},OPSCOM,Ann{n},Lee,{claimed.format(n=n)}" for n in range(6)]
    result = engine.rows(*again, *(f"C{n},OPSCOM,Cas,Roy,c{n}@example.org,c{n}" for n in range(4)))
    assert ["all_new"] == [each.reason.key.partition("/")[2] for each in result.receipt.problems]
    assert "1. Has your student system changed?" in result.text


def test_new_ids_of_some_are_no_change_of_system(engine: Engine) -> None:
    """Where more than one row in ten is right, each of the others is told by itself."""
    engine.rows(*(f"A{n},OPSCOM,Ann,Lee,a{n}@example.org,u{n}" for n in range(10)))
    rows = [f"{'B' if n else 'A'}{n},OPSCOM,Ann,Lee,a{n}@example.org,u{n}" for n in range(6)]
    result = engine.rows(*rows)
    assert ["9019/recorded", "9020/recorded"] == [each.reason.key for each in result.receipt.problems]


def test_a_user_whom_the_file_changes_is_named_by_its_line(engine: Engine) -> None:
    """Where the other user is in the file as well, its line helps more than its id."""
    engine.rows("S1,OPSCOM,Ann,Lee,ann@example.org,ann")
    result = engine.rows("S1,OPSCOM,Anna,Lee,,", "S2,OPSCOM,Bob,Roy,ANN@example.org,bob")
    assert "Another user already has this address (line 2 of this file)." in result.reasons[3]
    assert "(line 2 of this file)" in result.text


@pytest.mark.parametrize(
    ("mine", "theirs"), [("ann ann", "ANN ."), ("zoé x", "ZOÉ ."), ("x ann", "y Ann"), ("x straße", "y STRASSE")]
)
@BOTH_WAYS
def test_addresses_and_user_names_are_unique_whatever_the_case(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, rows_per_probe: int, mine: str, theirs: str
) -> None:
    """An address or a user name that another user has, in any case, fails the row that takes it; its holder stays."""
    monkeypatch.setattr(recorder, "_ROWS_PER_PROBE", rows_per_probe)
    people(engine, f"S1 {mine}")
    result = people(engine, f"S1 {mine}", f"S2 {theirs}")
    assert {3: "9020" if {"x", "y"} & {mine[0], theirs[0]} else "9019"} == result.codes
    what = "user name" if {"x", "y"} & {mine[0], theirs[0]} else "address"
    told = (
        f"A user already recorded has this {what} (unique_id S1). If it is the same person, enter that unique_id, "
        f"with its leading zeros. If not, enter another {what}."
    )
    assert told == result.reasons[3]
    assert f"A user already recorded has this {what}. If it is the same person, enter the unique_id" in result.text
    assert "unique_id S1" not in result.text
    assert (0, 0, 1) == counts(result)


@BOTH_WAYS
def test_two_new_users_who_want_the_same_both_fail(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, rows_per_probe: int
) -> None:
    """Two rows that claim one new address both fail, and those that claim one new user name; nobody wins by order."""
    monkeypatch.setattr(recorder, "_ROWS_PER_PROBE", rows_per_probe)
    result = people(engine, "S1 new a", "S2 new b", "S3 c same", "S4 d same", "S5 e e")
    assert {2: "9019", 3: "9019", 4: "9020", 5: "9020"} == result.codes
    assert ["S5"] == list(engine.users())


@BOTH_WAYS
def test_what_counts_is_the_state_after_the_file(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, rows_per_probe: int
) -> None:
    """Users may swap addresses in one file, or hand them on, in any order of rows."""
    monkeypatch.setattr(recorder, "_ROWS_PER_PROBE", rows_per_probe)
    people(engine, "S1 ann ann", "S2 bob bob", "S3 cas cas")
    assert (1, 3, 0) == counts(people(engine, "S1 bob bob", "S2 ann cas", "S3 dan ann", "S4 cas dan"))
    assert {"S1": "bob", "S2": "cas", "S3": "ann", "S4": "dan"} == engine.column("user_name")


@BOTH_WAYS
def test_a_row_that_fails_frees_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch, rows_per_probe: int) -> None:
    """Whoever takes what a failed row would have left fails too, to the end of the chain; all are put back."""
    monkeypatch.setattr(recorder, "_ROWS_PER_PROBE", rows_per_probe)
    people(engine, *(f"S{n} a{n} u{n}" for n in range(1, 7)))
    before = engine.users()
    result = engine.rows(
        "S1,OPSCOM,Changed,Lee,bad address,u1",
        "S2,OPSCOM,Changed,Lee,a1@example.org,",
        "S3,OPSCOM,Changed,Lee,a2@example.org,new",
        "S4,OPSCOM,Changed,Lee,new@example.org,u3",
        "S5,OPSCOM,Changed,Lee,a4@example.org,",
        "S6,OPSCOM,Changed,Lee,a6@example.org,u6",
    )
    assert {2: "9033", 3: "9019", 4: "9019", 5: "9020", 6: "9019"} == result.codes
    assert before | {"S6": before["S6"] | {"first_name": "Changed"}} == engine.users()


def test_a_failed_row_tells_what_others_have_as_well(engine: Engine) -> None:
    """A row that fails for a reason of its own is told too when its address belongs to another user."""
    people(engine, "S1 ann ann")
    result = engine.rows("S2,CAS,Bob,Roy,ANN@example.org,ann")
    assert {2: "9015; 9019; 9020"} == result.codes


def test_a_row_told_twice_is_told_once(engine: Engine) -> None:
    """A row that two others contend with has each code once."""
    people(engine, "S1 ann ann")
    assert {2: "9019; 9020", 3: "9019; 9020"} == people(engine, "S2 ann ann", "S3 ann ann").codes


@BOTH_WAYS
def test_an_undone_row_is_put_back_to_the_letter(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, rows_per_probe: int
) -> None:
    """A row that is undone leaves its user exactly as it was, times and import included, and no new user at all."""
    monkeypatch.setattr(recorder, "_ROWS_PER_PROBE", rows_per_probe)
    people(engine, "S1 ann ann", "S2 bob bob")
    before = list(tables_of(engine.store).query("SELECT * FROM users ORDER BY unique_id"))
    result = engine.file(
        f"{HEADER},city", "S2,OPSCOM,Rob,Roy,ann@example.org,new,Hull", "S3,OPSCOM,A,B,c@example.org,ann,"
    )
    assert {2: "9019", 3: "9020"} == result.codes
    assert before == list(tables_of(engine.store).query("SELECT * FROM users ORDER BY unique_id"))


def test_an_undone_row_stands_whole_in_the_failed_csv(engine: Engine) -> None:
    """A row that only the end of the file proves wrong is in the failed CSV as uploaded, over several lines too."""
    people(engine, "S1 ann ann")
    result = engine.settings(unknown_columns="ignore").file(
        f"Notes,{HEADER}",
        '"two',
        'lines",S9,OPSCOM,Eve,Roy,eve@example.org,eve',
        '"a',
        'b",S2,OPSCOM,Bob,Roy,ANN@example.org,',
    )
    (row,) = result.failed_rows
    assert ("a\nb", "S2", "ANN@example.org", "4") == (row["Notes"], row["unique_id"], row["email"], row["import_line"])


@pytest.mark.sqlite
def test_a_large_first_file_is_loaded_and_settled_all_the_same(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's first file, loaded without indexes, is checked like any other; its indexes are there afterwards."""
    monkeypatch.setattr(new_users, "_LOAD_MIN_BYTES", 0)
    indexes = "SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'users' ORDER BY name"
    before = engine.store.conn.execute(indexes).fetchall()
    many = [f"U{n},OPSCOM,Ann,Lee,u{n}@example.org,u{n}" for n in range(3000)]
    result = engine.rows(
        *many[:2000],
        "U5,OPSCOM,Other,Lee,u5@example.org,u5",
        "V1,OPSCOM,Ann,Lee,U77@example.org,v1",
        *many[2000:],
        many[9],
        "V2,OPSCOM,Ann,Lee,v2@example.org,U2500",
    )
    assert {7: "9022", 79: "9019", 2002: "9022", 2003: "9019", 2504: "9020", 3005: "9020"} == result.codes
    assert (2997, 1) == (result.tally.created, result.tally.repeated)
    assert before == engine.store.conn.execute(indexes).fetchall()
    assert (-CACHE_KIB,) == engine.store.conn.execute("PRAGMA cache_size").fetchone()


@pytest.mark.parametrize("clear_token", ["", "-"])
def test_cells_of_a_first_file_may_be_blank_from_any_row_on(engine: Engine, clear_token: str) -> None:
    """A blank cell of a first file is NULL, whether its column is blank in all rows, the first or the last ones."""
    rows = 3000
    cities = ["" if n < 2000 else f"Town {n}" for n in range(rows)]
    streets = [f"{n} Bank Street" if n < 1000 else clear_token for n in range(rows)]
    sources = ["" if n % 2 else "OPSCOM" for n in range(rows)]
    result = engine.settings(clear_token=clear_token, login_source="OPSCOM").file(
        "unique_id,login_source,first_name,last_name,email,user_name,street,city,province",
        *(f"U{n},{sources[n]},Ann,Lee,u{n}@example.org,,{streets[n]},{cities[n]}," for n in range(rows)),
    )
    assert rows == result.tally.created
    recorded = engine.store.conn.execute(
        "SELECT login_source, street, city, province, user_name_key, email_key FROM users ORDER BY import_line"
    ).fetchall()
    expected = [
        ("OPSCOM", streets[n].strip("-") or None, cities[n] or None, None, None, f"u{n}@example.org")
        for n in range(rows)
    ]
    assert expected == recorded


@pytest.mark.sqlite
def test_a_failed_load_leaves_the_indexes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first file that is refused in its middle leaves the table empty and its indexes in place."""
    monkeypatch.setattr(new_users, "_LOAD_MIN_BYTES", 0)
    indexes = "SELECT count(*) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'users'"
    before = engine.store.conn.execute(indexes).fetchone()
    many = [f"U{n},OPSCOM,Ann,Lee,u{n}@example.org,u{n}" for n in range(3000)]
    assert "csv.quoting" == engine.rows(*many, 'S1,OPSCOM,"Ann"x,Lee,a@example.org,a').code
    assert ({}, before) == (engine.users(), engine.store.conn.execute(indexes).fetchone())


@pytest.mark.sqlite
def test_other_readers_see_all_or_nothing(engine: Engine) -> None:
    """While a file is imported another reader sees what was there before it."""
    people(engine, "S1 ann ann")
    reader = read_only(engine.folder / "rosterd.db")
    seen: list[int] = []

    def look() -> bool:
        seen.append(reader.execute("SELECT count(*) FROM users").fetchone()[0])
        return False

    content = "\n".join((HEADER, *(f"U{n},OPSCOM,Ann,Lee,u{n}@example.org,u{n}" for n in range(20_000)))) + "\n"
    with engine.claimed(content.encode()) as claim:
        engine.importer().import_file(claim, engine.client, stopping=look)
    assert ({1}, 20_001) == (set(seen), reader.execute("SELECT count(*) FROM users").fetchone()[0])
    reader.close()


def test_problems_are_recorded_line_by_line(engine: Engine) -> None:
    """import_problems has a row for each problem, without any cell value."""
    engine.rows("S1,CAS,Ann,Lee,secret@value,ann", "S2,OPSCOM,,Roy,b@example.org,b")
    rows = engine.store.conn.execute("SELECT import_id, line, code, field, detail FROM import_problems").fetchall()
    assert [(1, 2, "9015", "login_source"), (1, 2, "9033", "email"), (1, 3, "9017", "first_name")] == [
        r[:4] for r in rows
    ]
    assert not [row for row in rows if "secret" in row[4]]


@pytest.mark.sqlite
def test_the_table_of_users_is_strict(engine: Engine) -> None:
    """Nothing but text goes into an attribute: an id is never a number."""
    with pytest.raises(StoreError, match="constraint failed"):
        engine.store.conn.execute(
            "INSERT INTO users (client, unique_id, login_source) VALUES ('acme', x'00', 'OPSCOM')"
        )


def test_new_id_that_was_recorded_in_other_capitals(engine: Engine) -> None:
    """A new user whose id stood there before but for capitals is one of its own, with a warning."""
    engine.rows(
        "ab1,OPSCOM,Ann,Lee,ann@example.org,", "Cd1,OPSCOM,Cas,Roy,cas@example.org,", "12,OPSCOM,D,E,d@example.org,"
    )

    result = engine.rows(
        "AB1,OPSCOM,Bob,Roy,bob@example.org,",
        "cd1,OPSCOM,Dan,Roy,dan@example.org,",
        "ef1,OPSCOM,Eve,Roy,eve@example.org,",
        "13,OPSCOM,D,E,e@example.org,",
        "12,OPSCOM,D,May,d@example.org,",
    )

    assert (4, 1) == (result.tally.created, result.tally.updated)
    assert {"id.recorded_case": (2, 2)} == {
        code: (each.rows, each.first_line) for code, each in result.warnings.items()
    }
    assert "2 rows" in result.text


@pytest.mark.parametrize(
    ("recorded", "new", "told"),
    [
        ("McDonald1", "mcdonald1", "id.recorded_case"),
        ("mCdonald1", "McDonalD1", "id.recorded_case"),
        ("u1", "0u1", "id.recorded_case/zeros"),
        ("0000000000Ab1", "ab1", "id.recorded_case/zeros"),
        ("ab1", "ab10", ""),
        ("a0b1", "ab1", ""),
    ],
)
def test_a_new_id_with_letters_that_was_recorded_otherwise(engine: Engine, recorded: str, new: str, told: str) -> None:
    """Capitals in any place, and zeros before letters: the warning says which of them it is."""
    engine.rows(f"{recorded},OPSCOM,A,B,a@example.org,", "zz,OPSCOM,A,B,z@example.org,")
    result = engine.rows(f"{new},OPSCOM,C,D,c@example.org,", "other,OPSCOM,E,F,e@example.org,")
    assert [told] * bool(told) == [each.reason.key for each in result.warnings.values()]


def test_a_new_id_that_lacks_the_leading_zeros_of_a_recorded_one_is_told(engine: Engine) -> None:
    """Numbers that lost or got zeros at their front are other users, with a warning."""
    engine.rows("00123,OPSCOM,A,B,a@example.org,", "77,OPSCOM,A,B,b@example.org,", "00500,OPSCOM,A,B,c@example.org,")
    result = engine.rows(
        "123,OPSCOM,A,B,d@example.org,",
        "0077,OPSCOM,A,B,e@example.org,",
        "00500,OPSCOM,A,C,c@example.org,",
        "5,OPSCOM,A,B,f@example.org,",
        "A123,OPSCOM,A,B,g@example.org,",
        "0000500,OPSCOM,A,B,h@example.org,",
    )
    warning = result.warnings["id.recorded_case"]
    assert (5, "id.recorded_case/zeros", 3, 2) == (
        result.tally.created,
        warning.reason.key,
        warning.rows,
        warning.first_line,
    )
    assert "but for leading zeros" in result.text


def test_an_address_of_an_id_with_leading_zeros_is_told_so(engine: Engine) -> None:
    """A row whose address or user name the same number with zeros has is asked whether the zeros were dropped."""
    engine.rows("00123,OPSCOM,Ann,Lee,ann@example.org,ann", "9,OPSCOM,Bob,Roy,bob@example.org,bob")
    result = engine.rows("123,OPSCOM,Ann,Lee,ann@example.org,ann", "8,OPSCOM,Bob,Roy,bob@example.org,bob")
    zeros = "recorded as 00123. Were leading zeros dropped? Enter the unique_id as recorded."
    assert f"Another user already has this address, {zeros}" in result.reasons[2]
    assert "Another user already has this user name, recorded as 00123." in result.reasons[2]
    assert 1 == result.reasons[2].count("Were leading zeros dropped?"), "what to do about both is the same"
    assert "A user already recorded has this address (unique_id 9)." in result.reasons[3]
