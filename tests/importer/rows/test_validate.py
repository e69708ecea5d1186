"""Rows: how they fit the header, what is reported of them, and that both ways to judge one agree."""

from __future__ import annotations

import itertools
import string
from array import array
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from importer.attributes import POSSIBLE_NAMES
from importer.file import header as headers
from importer.file.table import Row, Stretch
from importer.model import FileRejected, FileWarning, message
from importer.rows.validate import Checker, Rejected, User
from importer.settings import ClientSettings, ReferenceSettings, StatusSettings
from importer.wording.catalogue import words
from tests.conftest import unsynced
from tests.engine import HEADER, Engine, corrected, table, without_report

CLIENT = ClientSettings(name="acme", inbox="/srv/sftp/acme", unknown_columns="ignore")


def test_all_problems_of_a_row_are_reported(engine: Engine) -> None:
    """A row lists everything wrong with it, each code beside its field and its reason."""
    result = engine.file(
        f"{HEADER},province,date_of_birth,phone_cell",
        f"S1,CAS,,Lee,ann(at)example.org,ann,Ontario,03/04/2001,{'5' * 21}",
    )
    (row,) = result.failed_rows
    assert "9015; 9033; 9033; 9030; 9033; 9017" == row["import_code"]
    assert "login_source; email; province; phone_cell; date_of_birth; first_name" == row["import_field"]
    for reason in (
        "Check that each value of the row is in its column. Then enter OPSCOM.",
        "in place of @",
        'has "Ontario". It must be a two-letter code. Enter ON.',
        "has 21 characters",
        "Enter the first name; if it is in last_name, move it; if there is only one name, enter it in both columns.",
    ):
        assert reason in row["import_reason"]
    assert "2" == row["import_line"]


def test_a_row_applies_wholly_or_not_at_all(engine: Engine) -> None:
    """One wrong value keeps every other value of its row out, and no value of another row."""
    engine.rows("S1,OPSCOM,Ann,Lee,ann@example.org,ann", "S2,OPSCOM,Bob,Roy,bob@example.org,bob")
    result = engine.rows("S1,OPSCOM,Anna,Li,anna@example,anna", "S2,OPSCOM,Rob,Roy,bob@example.org,rob")
    assert ("partly", 1, 1) == (result.receipt.outcome, result.tally.failed, result.tally.updated)
    assert ("Ann", "Lee", "ann@example.org", "ann") == tuple(
        engine.users("first_name", "last_name", "email", "user_name")["S1"].values()
    )
    assert "Rob" == engine.column("first_name")["S2"]


def test_too_many_or_too_few_fields(engine: Engine) -> None:
    """A row with other than the header's number of fields fails by that alone: nothing else of it is judged."""
    result = engine.rows(
        "S1,CAS,Lee, Ann,Lee,bad,ann,5",
        "S2,CAS,Ann,Lee",
        "S1,OPSCOM,Ann,Lee,ann@example.org,ann",
    )
    assert {2: "9003", 3: "9003"} == result.codes
    assert (
        'The row has 8 cells, more than the file has columns (6). Too many: "ann", "5". Bring each value back to its '
        "column: one with a comma inside was probably split in two."
    ) == result.reasons[2]
    assert "more cells than the file has columns (6). Bring each value back to its column:" in result.text
    assert (
        "The row has only 4 of 6 cells. If the row is not a user, such as a total or a note, delete it. "
        "If it is, put each value in its column."
    ) == result.reasons[3]
    assert ["S1"] == list(engine.users())  # its id in line 2 took part in nothing


def test_a_note_below_the_users_is_answered_as_one_field(engine: Engine) -> None:
    """A line of text, such as a note at the end, has one field, and may be deleted."""
    reason = engine.rows("S1,OPSCOM,Ann,Lee,ann@example.org,ann", "Remarks").reasons[3]
    assert reason.startswith("The row has only 1 of 6 cells. If the row is not a user, such as a total or a note, ")


@pytest.mark.parametrize("row", ['"S1,OPSCOM,Ann,Lee,ann@example.org,ann"', "S1;OPSCOM;Ann Lee"])
def test_a_row_in_one_cell_is_told(engine: Engine, row: str) -> None:
    """A line quoted as a whole, or with some delimiters that the header does not have, is told to need cells."""
    result = engine.rows(row)
    assert {2: "9003"} == result.codes
    assert (
        "The whole row is in one cell. Put each value into a cell of its own, or delete the row if it is not a user."
    ) == result.reasons[2]


def test_a_row_with_too_many_fields_is_cut_in_the_failed_csv(engine: Engine) -> None:
    """The failed CSV has as many fields as the header in every row; what was too much stands in the reason."""
    result = engine.rows("S1,OPSCOM,Lee, Ann,a@example.org,ann,surplus")
    assert ["S1", "OPSCOM", "Lee", "Ann", "a@example.org", "ann"] == without_report(result.failed_rows[0])
    assert '"surplus"' in result.reasons[2]


def test_blank_cells_below_empty_names_are_dropped(engine: Engine) -> None:
    """A spreadsheet pads the header and some of the rows: blank cells are no fields as far as the header line goes."""
    rows = ("S1,OPSCOM,Ann,Lee,a@example.org,ann,, ", "S2,OPSCOM,Bob,Roy,b@example.org,bob", 'S3,OPSCOM,C,D,,c,""')
    result = engine.rows(*rows, header=f"{HEADER},,")
    assert {4: "9016"} == result.codes
    assert (
        "The row has 7 cells, more than the file has columns (6). Too many: "
        in engine.rows("S1,OPSCOM,L,A,B,c,d,,").reasons[2]
    )


@pytest.mark.parametrize("ending", [",", ", ,", ',""'])
def test_a_delimiter_at_the_end_of_every_row_is_dropped(engine: Engine, ending: str) -> None:
    """Where every row has as many cells as the first, blank cells beyond the header are no fields."""
    rows = [f"S{n},OPSCOM,Ann,Lee,a{n}@example.org,ann{n}{ending}" for n in range(9)]
    assert (9, {}) == (engine.rows(*rows, "", "").tally.created, engine.rows(*rows).codes)


@pytest.mark.parametrize("first", [0, 1, 1500, 2999])
def test_blank_cells_that_not_every_row_has_may_hide_a_shifted_row(engine: Engine, first: int) -> None:
    """A row in which a delimiter split a value is longer than others, though its last cells are blank: it fails."""
    rows = [f"S{n},OPSCOM,Ann,Lee,a{n}@example.org,1 Main,Ottawa,,{n}" for n in range(3000)]
    header = "unique_id,login_source,first_name,last_name,email,street,city,phone_cell,student_no"
    rows[first] = "S,OPSCOM,Ann,Lee,a@example.org,1 Main, Apt 4,Ottawa,,"
    result = engine.rows(*rows, header=header)
    assert ({first + 2: "9003"}, 2999) == (result.codes, result.tally.created)
    assert (
        "The row has 10 cells, the last ones empty: more than the file has columns (9). Look whether a value with a "
        "comma inside was split in two: bring each value back to its column. If none was, delete the empty cells at "
        "the end."
    ) == result.reasons[first + 2]
    assert 9 == len(without_report(result.failed_rows[0]))


def test_a_row_without_the_delimiter_that_others_end_with(engine: Engine) -> None:
    """If one row ends without the delimiter of all others, the longer ones fail: any of them may be shifted."""
    rows = [f"S{n},OPSCOM,Ann,Lee,a{n}@example.org,ann{n}," for n in range(3)]
    assert {2: "9003", 3: "9003", 4: "9003"} == engine.rows(*rows, "T,OPSCOM,Ann,Lee,t@example.org,t").codes
    assert {2, 3, 4, 5} == {*engine.rows(*rows, "T,OPSCOM,Ann,Lee,t@example.org,t,,").codes}


def test_short_rows_are_padded_where_that_is_set(engine: Engine) -> None:
    """Excel drops empty cells at the end of a row: a client may be set to have them added."""
    engine.settings(short_rows="pad")
    assert 1 == engine.rows("S1,OPSCOM,Ann,Lee,a@example.org").tally.created
    assert {2: "9016"} == engine.rows("S2,OPSCOM,Ann,Lee").codes


def test_required_values(engine: Engine) -> None:
    """Each required value has a code of its own, and all that are missing are told."""
    result = engine.rows(",,,,,ann")
    assert {2: "9013; 9014; 9017; 9018; 9016"} == result.codes


def test_a_required_column_that_is_absent_fails_new_users_only(engine: Engine) -> None:
    """Without the column of a required attribute old users are updated, new ones fail, and the answer says so once."""
    engine.rows("S1,OPSCOM,Ann,Lee,a@example.org,ann")
    result = engine.file("unique_id,login_source,phone_cell", "S1,OPSCOM,555", "S2,OPSCOM,556", "S3,OPSCOM,557")
    assert {3: "9017; 9018; 9016", 4: "9017; 9018; 9016"} == result.codes
    assert "555" == engine.column("phone_cell")["S1"]
    told = "Lines 3-4: A new user needs an e-mail address, but the file has no column email. Add the column."
    assert 1 == result.text.count(told)


def test_a_row_without_id_is_not_called_new(engine: Engine) -> None:
    """Nobody knows whether a user without an id is new: absent columns are not held against it."""
    assert {2: "9013"} == engine.file("unique_id,login_source,phone_cell", ",OPSCOM,555").codes


def test_what_is_required_can_be_set(engine: Engine) -> None:
    """A client may require other attributes of new users, or none."""
    engine.settings(required=("city",))
    result = engine.file("unique_id,login_source,city", "S1,OPSCOM,Hull", "S2,OPSCOM,")
    assert (1, {3: "9033"}) == (result.tally.created, result.codes)
    assert "Enter a value for city." in result.reasons[3]


def test_default_login_source(engine: Engine) -> None:
    """A default stands in for a blank login source, and for an absent column, when a user is created; never later."""
    engine.reference = ReferenceSettings(login_sources=("LDAP", "SAML"))
    engine.settings(login_source="LDAP", required=())
    engine.file("unique_id,login_source", "S1,", "S2,SAML")
    engine.file("unique_id", "S3")
    assert {"S1": "LDAP", "S2": "SAML", "S3": "LDAP"} == engine.column("login_source")
    engine.settings(login_source="OPSCOM")
    result = engine.file("unique_id,login_source,city", "S2,,Hull", "S3,,")
    assert (1, 1) == (result.tally.updated, result.tally.unchanged)
    assert {"S1": "LDAP", "S2": "SAML", "S3": "LDAP"} == engine.column("login_source")


def test_login_source_is_asked_for_new_users_only(engine: Engine) -> None:
    """Without the column, or with a blank cell, known users are updated and keep theirs; new ones fail with 9014."""
    engine.reference = ReferenceSettings(login_sources=("LDAP",))
    engine.settings(required=())
    engine.file("unique_id,login_source", "S1,LDAP", "S2,OPSCOM")
    absent = engine.file("unique_id,city", "S1,Hull", "S2,Hull", "S3,Hull", "S4,Hull", ",Hull")
    assert (2, {4: "9014", 5: "9014", 6: "9013"}) == (absent.tally.updated, absent.codes)
    told = 'Lines 4-5: A new user needs a login source ("LDAP", "OPSCOM"), but the file has no column login_source.'
    assert 1 == absent.text.count("login_source") == absent.text.count(told)
    blank = engine.file("unique_id,login_source,city", "S1,,Ottawa", "S2,OPSCOM,Hull", "S3,,Hull", ",,Hull")
    assert (1, 1, {4: "9014", 5: "9013; 9014"}) == (blank.tally.updated, blank.tally.unchanged, blank.codes)
    assert 'Enter the login source; possible values: "LDAP", "OPSCOM". If' in blank.reasons[4]
    assert {"S1": "LDAP", "S2": "OPSCOM"} == engine.column("login_source")
    assert {"S1": "Ottawa", "S2": "Hull"} == engine.column("city")


def test_a_login_source_cannot_be_emptied(engine: Engine) -> None:
    """A cell that would empty it fails the row, of a known user as well."""
    engine.settings(clear_token="NONE", login_source="OPSCOM", required=())
    engine.file("unique_id", "S1")
    assert {2: "9014", 3: "9014"} == engine.file("unique_id,login_source", "S1,NONE", "S2,NONE").codes


def _disagreeing(field: str, columns: tuple[str, ...], line: int) -> FileWarning:
    return FileWarning(reason=message("columns.disagree", columns=columns), field=field, rows=1, lines=(line,))


def test_two_names_of_one_attribute(engine: Engine) -> None:
    """Of two names the first that is not blank counts, in the order of the table, whatever the order of the columns."""
    header = f"{HEADER},state,province,zip,postal_code"
    rows = ("on,,x,y", ",qc,x,", "on,ON,,y", "on,qc,x,x")
    result = engine.file(header, *(f"S{n},OPSCOM,A,B,s{n}@example.org,s{n},{row}" for n, row in enumerate(rows, 1)))
    assert {"S1": "ON", "S2": "QC", "S3": "ON", "S4": "QC"} == engine.column("province")
    assert {"S1": "y", "S2": "x", "S3": "y", "S4": "x"} == engine.column("postal_code")
    assert [
        _disagreeing("postal_code", ("postal_code", "zip"), 2),
        _disagreeing("province", ("province", "state"), 5),
    ] == list(result.receipt.warnings)


def test_the_case_of_two_names_of_one_attribute(engine: Engine) -> None:
    """Two columns that differ in case agree, unless they hold the unique id: there the case counts."""
    engine.settings(columns={"Student ID": "unique_id"})
    row = "S1,OPSCOM,A,B,a@example.org,a,k1a,K1A"
    result = engine.file(f"Student ID,{HEADER},zip,postal_code", f"S1,{row}", f"s2,{row.replace('1', '2')}")
    assert [_disagreeing("unique_id", ("unique_id", "Student ID"), 3)] == list(result.receipt.warnings)


def test_a_clear_token_disagrees_with_a_value(engine: Engine) -> None:
    """Of two names one says to empty the attribute and the other gives a value: the first counts, with a warning."""
    engine.settings(clear_token="CLEAR")
    result = engine.file(f"{HEADER},zip,postal_code", "S1,OPSCOM,A,B,a@example.org,a,K1A,CLEAR")
    assert ({"S1": None}, "postal_code") == (
        engine.column("postal_code"),
        result.warnings["columns.disagree"].field,
    )


def test_the_first_of_two_names_is_judged_alone(engine: Engine) -> None:
    """When the first name's value is wrong, the second's is not taken in its place."""
    result = engine.file(f"{HEADER},province,state", "S1,OPSCOM,A,B,a@example.org,a,Ontario,ON")
    assert {2: "9033"} == result.codes


@pytest.mark.parametrize("token", ["CLEAR", "-", "*", "=0", "é"])
def test_a_clear_token_empties(engine: Engine, token: str) -> None:
    """A cell equal to the clear token empties its attribute, blanks around it or not; on create it leaves it empty."""
    header = f"{HEADER},city,zip,postal_code"
    engine.file(header, "S1,OPSCOM,Ann,Lee,a@example.org,ann,Hull,,K1A")
    engine.settings(clear_token=token)
    result = engine.file(
        header,
        f"S1,OPSCOM,Ann,Lee,a@example.org, {token} ,{token}\xa0,{token},",
        f"S2,OPSCOM,Bob,Roy,b@example.org,{token},x{token},,",
    )
    assert ({}, 1, 1) == (result.codes, result.tally.updated, result.tally.created)
    users = engine.users("user_name", "city", "postal_code")
    assert {"S1": {}, "S2": {"city": f"x{token}"}} == users
    again = engine.file(header, f"S1,OPSCOM,Ann,Lee,a@example.org,{token},{token},,{token}")
    assert 1 == again.tally.unchanged


def test_a_cleared_user_name_is_free(engine: Engine) -> None:
    """Two users may both have none, and a third may take the name that was cleared."""
    engine.settings(clear_token="CLEAR").rows("S1,OPSCOM,A,B,a@example.org,ann", "S2,OPSCOM,A,B,b@example.org,bob")
    result = engine.rows("S1,OPSCOM,,,,CLEAR", "S2,OPSCOM,,,,CLEAR", "S3,OPSCOM,A,B,c@example.org,ANN")
    assert (2, 1) == (result.tally.updated, result.tally.created)


def test_a_clear_token_cannot_empty_what_is_required(engine: Engine) -> None:
    """What is required is told to be, once, when the clear token stands in its place."""
    engine.settings(clear_token="CLEAR").rows("S1,OPSCOM,Ann,Lee,a@example.org,ann")
    result = engine.rows("CLEAR,CLEAR,CLEAR,CLEAR,CLEAR,CLEAR", "S1,OPSCOM,Ann,CLEAR,,")
    assert ["9013", "9014", "9016", "9017", "9018"] == sorted(result.codes[2].split("; "))
    assert "9018" == result.codes[3]
    assert "last_name is required and cannot be emptied. Enter a value." == result.reasons[3]


def test_a_token_is_text_where_it_is_off(engine: Engine) -> None:
    """Nothing empties an attribute unless a clear token is set; a blank cell never does."""
    engine.rows("S1,OPSCOM,Ann,Lee,a@example.org,CLEAR")
    engine.rows("S1,OPSCOM,,,,")
    assert {"S1": "CLEAR"} == engine.column("user_name")


# -- the guard against spreadsheets --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        *("=1+1", "+1 613 555", "-5", "@home", "'=x", "''=x", "'s-Gravenhage", "'", "''x", "x=1"),
        *("\uff1d1", "'\uff0bx", "\u200b=1", "'\u200b=1", "\xa0-x", " '=x", "a,=1", "a,'=1", 'a;"=1', "a|''@", "a, -5"),
    ],
)
def test_what_a_corrected_failed_csv_stores(engine: Engine, value: str) -> None:
    """A row corrected in the failed CSV ends as the row would have that was right at once, guarded cells included."""
    header = ["unique_id", "login_source", "first_name", "last_name", "email", "street"]
    engine.upload(table([header, ["S1", "OPSCOM", "Ann", "Lee", "a@example.org", value]]).encode())
    failed = engine.upload(table([header, ["S2", "OPSCOM", "Bob", "Roy", "b@example", value]]).encode())
    cell = failed.failed_rows[0]["street"]
    assert not cell.startswith(("=", "+", "-", "@"))
    assert 1 == engine.upload(corrected(failed, email="b@example.org")).tally.created
    streets = engine.column("street")
    assert streets["S1"] == streets["S2"]


@pytest.fixture
def quick(fleeting: Path) -> Iterator[Engine]:
    """Yield an engine for many examples, which asks for nothing of new users."""
    engine = Engine(fleeting, required=(), login_source="OPSCOM")
    with unsynced(engine.settings(failed_import_email=())):
        yield engine


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(values=st.lists(st.text("'=+-@\uff1d\t,;|\" \u200b\ufeff\xa0a", min_size=1, max_size=7), min_size=5, max_size=5))
def test_any_value_of_a_corrected_failed_csv(quick: Engine, values: list[str]) -> None:
    """Whatever a cell looks like, correcting another one of its row stores what the upload would have stored."""
    header = ["unique_id", "email", "street"]
    quick.emptied().upload(table([header, *([f"S{n}", "", value] for n, value in enumerate(values))]).encode())
    right = quick.column("street")
    wrong = table([header, *([f"S{n}", "bad", value] for n, value in enumerate(values))])
    failed = quick.emptied().upload(wrong.encode())
    quick.upload(corrected(failed, email=""))
    assert right == quick.column("street")


# -- two ways, one answer ------------------------------------------------------------------------------------------

NAMES = st.lists(st.sampled_from(sorted({*POSSIBLE_NAMES, "apiToken", "Grade", ""})), max_size=8, unique=True).map(
    lambda names: ["unique_id", *(name for name in names if name != "unique_id")]
)
SIGNS = string.punctuation + "\xd7\xf7"
ODD_CELLS = [
    "", " ", "a", "A1", "é", "e\u0301", "OPSCOM", "CAS", "on", "QC", "Ontario", "2001-05-23", "2001-5-3", "12",
    "ann@example.org", "Ann@example.org", "zoé@example.org", "a@b", "a b@c.org", "CLEAR", " CLEAR", "CLEAR\xa0",
    "=1", "'=1", "''-", "'s", "a,'=1", "a;'-", "'\u200b=1", "\uff1d1", "'\uff1d1",
    "#REF!", "##", "#1", '="1"', "1.2E+05", "NULL", "n/a", "-", "--", "none", r"\N",
    "RenÃ©", "Err:502", "a\nb", "a\tb", "\tb", "a\x1eb", "\x1f", "a\x85b", "a\u200bb", "\u200ba", "a\xa0b", "\u2028",
    "undefined", "NaN", "[object Object]", "12.0", "1,234", "12 345", "2-Jan", "1" * 15 + "0", "1" * 16, "1/2/2015",
    "1,234.5", "$12", "12%", "12 €", "(12)", "10:30", "(a)", "Mu\u2013oz", "J\u0161rg", "RenÈ", "çn", "Jes\u0153s",
    "'A'", '"A"', 'A"', "A'", "`", "A`", "O\\'B", "“A”", "A”", "\u2018A\u2019", "'12",
    "1900-01-01", "1970-01-01", "0000-00-00", "a@b.ca", "1a",
    "Ren├®", "RenĂ©", "&eacute;", "<br>", "\\u00e9", "=C3=A9", "a=C3=A9", "%C3%A9", "a+AOk-", "R?", "?R",
    "a\xadb", "ÔÇÖ", "Total", "Total: 2", "(2 rows)", "Dept: Sales", "Error: no users", "EOF", "==", "a b",
    "12 Main St", "Apt 4", "Ottawa", "OTTAWA", "K1A 0B1", "613-555-0101", "5550101 poste 12", "none",
    "x" * 51, "x" * 256, "\ufffd", "\u0131", "ﬀ", "\ud7ff", "😀", "\uff21",
]  # fmt: skip
GRADES = StatusSettings(
    column="Grade", active=("a", "A1", "=1", "é", "a b", "CLEAR"), inactive=("-", "12", "NULL", "x" * 51, "n/a", "#1")
)
CELLS = st.one_of(
    st.sampled_from(ODD_CELLS),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6),
)


@settings(max_examples=500)
@given(
    names=NAMES,
    rows=st.lists(st.lists(CELLS, min_size=1, max_size=10), min_size=1, max_size=6),
    clear=st.sampled_from(["", "CLEAR", "-", "é"]),
    source=st.sampled_from(["", "OPSCOM"]),
    short_rows=st.sampled_from(["refuse", "pad"]),
    city_chars=st.sampled_from([0, 1, 300]),
)
@example(["unique_id", "city"], [["S1", "a\x1eb"]], "", "OPSCOM", "refuse", 0)
@example(["unique_id", "city"], [["S1", "e\u0301"]], "é", "OPSCOM", "refuse", 0)
@example(["unique_id", "city"], [[f"S{n}", cell] for n, cell in enumerate(ODD_CELLS)], "", "OPSCOM", "refuse", 0)
@example(["unique_id", "Grade"], [[f"S{n}", cell] for n, cell in enumerate(ODD_CELLS)], "é", "OPSCOM", "refuse", 0)
@example(["unique_id", "city"], [[cell, ""] for cell in ODD_CELLS], "", "OPSCOM", "refuse", 0)
@example(
    ["unique_id", "street", "city", "postal_code", "phone_cell"],
    [["S1", *row] for row in itertools.product(["", "12 Main", "Ottawa", "K1A 0B1", "613-555-0101", "ON"], repeat=4)],
    "", "OPSCOM", "refuse", 0,
)  # fmt: skip
@example(["unique_id", "email"], [["1", "x" * 65 + "@example.org"]], "", "OPSCOM", "refuse", 0)
@example(["unique_id"], [[a + b] for a, b in itertools.product(["", *SIGNS], repeat=2)], "", "OPSCOM", "refuse", 0)
def test_the_first_look_agrees_with_the_close_one(
    names: list[str], rows: list[list[str]], clear: str, source: str, short_rows: str, city_chars: int
) -> None:
    """A row that passes the first look is what the close look makes of it, whatever its cells and the settings."""
    client = msgspec.convert(
        {
            **msgspec.structs.asdict(CLIENT),
            "clear_token": clear,
            "login_source": source,
            "short_rows": short_rows,
            "limits": {"city": city_chars} if city_chars else {},
            "status": GRADES if source else StatusSettings(),
        },
        ClientSettings,
    )
    try:
        header = headers.read(table([names]), client, 256)
    except FileRejected:
        return
    # As many cells as the header has, most of the time.
    records = [(row * 10)[: header.width] if len(row) % 3 else row for row in rows]
    records = [row for row in records if any(map(str.strip, row))]
    stretch = Stretch(list(range(2, 2 + len(records))), records, array("I"))
    assert _closely(Checker(header, client, ReferenceSettings()), stretch) == _at_once(
        Checker(header, client, ReferenceSettings()), stretch
    )


def test_the_first_look_is_enough_for_the_usual_row() -> None:
    """Rows of which nothing can be said, letters beyond ASCII included, need no close look."""
    header = headers.read(f"{HEADER},province,date_of_birth\n", CLIENT, 256)
    records = [
        ["S1", "OPSCOM", "Zoé", "Müller-Lüdenscheidt", "zoe@example.org", "zoe", "ON", "2001-05-23"],
        ["S2", "OPSCOM", "Jean-Luc", "O'Neil", "J.L@Example.org", "", "qc", ""],
    ]
    checker = Checker(header, CLIENT, ReferenceSettings())
    judged = checker.judge(Stretch([2, 3], records, array("I")))
    assert {} == judged.others
    assert ["ON", "QC"] == [user[6] for user in checker.users_at(judged, (0, 1)).rows()]


def _closely(checker: Checker, stretch: Stretch) -> tuple[list[User | Rejected], list[FileWarning]] | str:
    try:
        found = [checker.explain(Row(line, cells)) for line, cells in zip(stretch.lines, stretch.records, strict=True)]
    except FileRejected as rejected:
        return words().refusal(rejected)
    return found, checker.warnings()


def _at_once(checker: Checker, stretch: Stretch) -> tuple[list[User | Rejected], list[FileWarning]] | str:
    try:
        judged = checker.judge(Stretch(stretch.lines, [list(cells) for cells in stretch.records], array("I")))
    except FileRejected as rejected:
        return words().refusal(rejected)
    users = iter(checker.users(judged, but=judged.others).rows())
    found = [judged.others.get(at) or next(users) for at, _ in enumerate(judged.lines)]
    return found, checker.warnings()


@pytest.mark.parametrize(("delimiter", "named"), [(";", "a semicolon"), ("\t", "a tab"), ("|", "a vertical bar (|)")])
def test_rows_with_another_delimiter_than_the_first_line(engine: Engine, delimiter: str, named: str) -> None:
    """Two programs wrote the file; the answer names both delimiters."""
    row = "S1,OPSCOM,Ann,Lee,ann@example.org,ann".replace(",", delimiter)
    told = f"The row has {named} between its values, but the first line has a comma between the names."
    assert told in engine.rows(row).reasons[2]
