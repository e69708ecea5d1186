"""Rows whose values moved to other columns although the number of cells is right: warned of, with their columns."""

from __future__ import annotations

import pytest

from importer.model import message
from tests.engine import Engine

HEADER = "unique_id,login_source,first_name,last_name,email,phone_cell,street,city,province,postal_code,student_no"
RIGHT = "S{n},OPSCOM,Ann,Lee,ann{n}@example.org,613-555-0101,12 Main St,Ottawa,ON,K1A 0B1,"


@pytest.mark.parametrize(
    ("header", "row", "columns"),
    [
        (HEADER, "12 Main St,Ottawa,ON,,,", ("phone_cell", "city")),
        (HEADER, "12 Main St,Ottawa,QC,,K1A 0B1,", ("phone_cell", "city")),
        (HEADER, "101 rue Sainte-Anne,Hull,QC,,,", ("phone_cell", "city")),
        (HEADER, "Apt 4,12 Main St,K1A 0B1,,Ottawa,", ("city", "postal_code")),
        # one value, whose own column is empty next to it
        (HEADER, ",Ottawa,ON,,K1A 0B1,", ("street", "city")),
        (HEADER, ",12 Main St,ON,,K1A 0B1,", ("city", "province", "/one")),
        ("city,postal_code,phone_cell,student_no", "Ottawa,,K1A 0B1,6135550101", ("phone_cell", "postal_code", "/one")),
        ("street2,city2,postal_code2", "Hull,J8X 1A1,", ("street2", "city2")),
        ("street,city,phone_cell", "12 Main St,613-555-0101,", ("city", "phone_cell", "/one")),
        # exchanged
        (HEADER, "613-555-0101,Ottawa,12 Main St,ON,K1A 0B1,", ("street", "city")),
        (HEADER, "K1A 0B1,12 Main St,Ottawa,ON,613-555-0101,", ("phone_cell", "postal_code")),
        ("postal_code,phone_cell", "613-555-0101,K1A 0B1", ("postal_code", "phone_cell")),
        ("city,postal_code,phone_cell", "K1A 0B1,Ottawa,613-555-0101", ("city", "postal_code")),
        ("city,postal_code,phone_cell", "SW1A 1AA,London,+44 20 7946 0018", ("city", "postal_code")),
        ("city,zip,phone_cell", "12207,Albany,518-555-0101", ("city", "postal_code")),
        ("street,city,postal_code,phone_cell,student_no", "12 Main St,Apt 4,Ottawa,K1A 0B1,", ("city", "postal_code")),
        ("street,city,postal_code,phone_cell,student_no", "12 Main St, Apt 4,OTTAWA,k1a0b1,", ("city", "phone_cell")),
        ("city,postal_code,phone_cell,employ_no", "K1A 0B1,613-555-0101,,", ("city", "postal_code")),
        ("street,city,postal_code,phone_cell", "Ottawa,K1A 0B1,613-555-0101,", ("street", "city")),
        ("phone_cell,employee_phone,city,postal_code", "613-555-0101,Ottawa,K1A 0B1,", ("employee_phone", "city")),
        (
            "street2,street,city,phone_cell,postal_code",
            "12 Main St,Apt 4,613-555-0101,K1A 0B1,",
            ("city", "phone_cell"),
        ),
    ],
)
def test_values_that_moved_are_warned_of(
    engine: Engine, header: str, row: str, columns: tuple[str, ...] | None
) -> None:
    """Two values in the form of what belongs as many columns away are enough; the row is applied, its line named."""
    names, cells = (header, f"S1,OPSCOM,Ann,Lee,ann@example.org,{row}")
    if header != HEADER:
        names = f"unique_id,login_source,first_name,last_name,email,{header}"
    result = engine.rows(*(cells.replace("S1", f"S{n}").replace("ann@", f"ann{n}@") for n in (1, 2)), header=names)
    assert 2 == result.tally.created
    told = {each.reason: (each.rows, each.lines) for each in result.receipt.warnings}
    expected = {}
    if columns:
        expected[message("row.shifted" + "".join(columns[2:]), first=columns[0], second=columns[1])] = (2, (2, 3))
    assert expected == told


FIVE = "unique_id,login_source,first_name,last_name,email"
TEN = f"{FIVE},street,city,province,postal_code,phone_cell"


@pytest.mark.parametrize(
    ("header", "row", "key", "column"),
    [
        (TEN, "S1,OPSCOM,Ann,Lee, Jr.,ann@example.org,1 Main St,Ottawa,ON,K1A 0B1", "9003/right", "email"),
        (TEN, "S1,OPSCOM,Ann,Lee,ann@example.org,1 Main St, Apt 4,Ottawa,ON,K1A 0B1", "9003/right", "city"),
        (TEN, "S1,OPSCOM,Ann,Lee, Jr., PhD,ann@example.org,1 Main St,Ottawa,ON", "9003/right_many", "email"),
        (TEN, "S1,OPSCOM,Lee,ann@example.org,1 Main St,Ottawa,ON,K1A 0B1,613-555-0101,", "9003/left", "last_name"),
        (TEN, "S1,OPSCOM,ann@example.org,1 Main St,Ottawa,ON,K1A 0B1,613-555-0101,,", "9003/left_many", "first_name"),
        (FIVE, "S1,Ann,Lee,ann@example.org,", "9003/left", "login_source"),
        (FIVE, "OPSCOM,Ann,Lee,ann@example.org,", "9003/left", "unique_id"),
        (FIVE, "S1,OPSCOM,Lee,ann@example.org,", "9003/left", "last_name"),
        (FIVE, "1,S1,OPSCOM,Ann,Lee", "9003/right", "login_source"),
        (f"{FIVE},date_of_birth", "S1,OPSCOM,Ann,Lee, Jr.,ann@example.org", "9003/right", "email"),
        (f"{FIVE},phone_cell", "S1,OPSCOM,Ann,“Lee, Jr.”,ann@example.org", "9003/marks_moved", None),
        (f"{FIVE},phone_cell", "S1,OPSCOM,Ann,`Lee, Jr.`,ann@example.org", "9003/marks_moved", None),
    ],
)
def test_a_row_that_fails_is_told_that_its_values_moved(
    engine: Engine, header: str, row: str, key: str, column: str | None
) -> None:
    """The cause is told in place of the rules that it breaks, with the first column from which on it is so."""
    result = engine.rows(row, "S2,OPSCOM,Bob,Roy,bob@example.org" + "," * (header.count(",") - 4), header=header)
    (problem,) = result.receipt.problems
    assert (key, column) == (problem.reason.key, dict(problem.reason.params).get("column"))
    assert (1, {2: "9003"}) == (result.tally.created, result.codes)


def test_problems_in_front_of_moved_values_are_told_as_well(engine: Engine) -> None:
    """What is wrong for another reason is not hidden."""
    row = "S1,CAS,Ann,Lee,ann@example.org,1 Main St, Apt 4,Ottawa,ON,K1A 0B1"
    assert ["9003", "9015"] == sorted(each.code for each in engine.rows(row, header=TEN).receipt.problems)


@pytest.mark.parametrize(
    "row",
    [
        "S1,OPSCOM,Ann,Lee,ann.example.org,1 Main St,Ottawa,Ontario,K1A 0B1,",
        "S1,OPSCOM,Ann,Lee,ann@example.org,1 Main St,ON,Ottawa,K1A 0B1,",
        "S1,OPSCOM,Ann,Lee,ann@example.org,1 Main St,,Ottawa,K1A 0B1,",
        "S1,Google,Ann,Lee,ann@example.org,1 Main St,Ottawa,Ottawa,K1A 0B1,",
    ],
)
def test_wrong_values_in_their_place_are_told_by_their_rules(engine: Engine, row: str) -> None:
    """A spelled-out province, a town in place of it or a word that fits elsewhere do not make a moved row."""
    assert {"9033", "9015"} >= {each.code for each in engine.rows(row, header=TEN).receipt.problems}


def test_a_secret_that_moved_is_not_sent_back(engine: Engine) -> None:
    """The cell in which a token may be now is left out of the failed CSV."""
    header = f"{FIVE},apiToken,phone_cell,city"
    result = engine.rows("S1,OPSCOM,Ann,Lee, Jr.,ann@example.org,t0psecret,Ottawa", header=header)
    assert ("9003", "") == (result.codes[2], result.failed_rows[0]["phone_cell"])
    assert b"t0psecret" not in result.failed


MARKED = (
    "'{}'",
    "\u2018{}\u2019",
    "“{}”",
    "„{}“",
    "«{}»",
    "\u2039{}\u203a",
    "`{}`",
    "`{}\u00b4",
    "''{}''",
)


@pytest.mark.parametrize("marks", MARKED)
@pytest.mark.parametrize("first", [0, 1])
def test_a_row_in_marks_is_told_so_once(engine: Engine, marks: str, first: int) -> None:
    """Where values are in a pair of marks, the marks are the one problem, whether or not the id has them, too."""
    cells = ["S1", "OPSCOM", "Ann", "Lee", "ann@example.org", "2001-05-23", "ON"]
    row = ",".join([*cells[:first], *map(marks.format, cells[first:])])
    (problem,) = engine.rows(row, header=f"{FIVE},date_of_birth,province").receipt.problems
    assert message("9033/in_marks", mark=marks[0]) == problem.reason
    assert problem.field == ("" if first else "unique_id")


def test_a_row_quoted_twice_is_told_so(engine: Engine) -> None:
    """Values in marks of their own inside those of CSV come from a program that quoted them twice."""
    row = ",".join(f'"""{each}"""' for each in ("S1", "OPSCOM", "Ann", "Lee", "ann@example.org"))
    assert [message("9033/quoted_twice")] == [each.reason for each in engine.rows(row, header=FIVE).receipt.problems]


@pytest.mark.parametrize(
    ("name", "value"), [("date_of_birth", "'2001-05-23"), ("province", "“ON”"), ("user_type_id", "'3'")]
)
def test_marks_around_one_value_are_told_as_such(engine: Engine, name: str, value: str) -> None:
    """Not that the value breaks its rule, which it keeps but for the marks."""
    result = engine.rows(f"S1,OPSCOM,Ann,Lee,ann@example.org,{value}", header=f"{FIVE},{name}")
    assert [message("9033/marks", column=name)] == [each.reason for each in result.receipt.problems]


@pytest.mark.parametrize(
    "row",
    [
        "613-555-0101 x. 4711,12 Main St,Ottawa,ON,K1A 0B1,",
        "none,none,none,,none,",
        "unknown,,unknown,ON,unknown,",
        "6135550101,King Edward Ave,100 Mile House,BC,V0K 2E0,12",
        "5550101 poste 12,Ottawa,Delta,BC,V4C 1A1,",
        "+33 1 42 68 53 00,10 Downing Street,London,,SW1A 2AA,",
        ",K1A 0B1,Ottawa,ON,,",
        "12345,Bell House,100 Mile House,BC,V0K 2E0,",
        "613-555-0101,Ottawa,Hull,QC,J8X 1A1,",
        ",London,,ON,N6A 1A1,",
    ],
)
def test_unusual_values_in_their_place_are_not(engine: Engine, row: str) -> None:
    """A single strange value, a placeholder or a town with a number does not count as a shifted row."""
    result = engine.rows(f"S1,OPSCOM,Ann,Lee,ann@example.org,{row}", header=HEADER)
    assert (1, False) == (result.tally.created, "row.shifted" in result.warnings)


def test_a_login_source_as_an_id_is_warned_of(engine: Engine) -> None:
    """No person has such an id."""
    result = engine.rows(RIGHT.format(n=1), "OPSCOM,OPSCOM,Lee,Lee,lee@example.org,,,,,,", header=HEADER)
    warning = result.warnings["row.shifted"]
    assert ("row.shifted/id", "unique_id", (3,)) == (warning.reason.key, warning.field, warning.lines)


def test_the_answer_names_line_and_columns(engine: Engine) -> None:
    """Both languages say where to look."""
    engine.settings(language=("en", "fr"))
    text = engine.rows("S1,OPSCOM,Ann,Lee,ann@example.org,12 Main St,Ottawa,ON,,,", header=HEADER).text
    assert "Line 2: phone_cell, city and perhaps more have values that seem to belong in other columns" in text
    assert "Ligne 2 : phone_cell, city et peut-être" in text


@pytest.mark.parametrize(
    ("row", "first", "second"),
    [
        ("S1,OPSCOM,Ann,ann@example.org,Lee", "email", "last_name"),
        ("S1,OPSCOM,ann@example.org,Lee,Ann", "email", "first_name"),
        ("OPSCOM,S1,Ann,Lee,ann@example.org", "unique_id", "login_source"),
        ("ann@example.org,OPSCOM,Ann,Lee,S1", "email", "unique_id"),
    ],
)
def test_two_exchanged_values_of_a_row_that_fails_are_told(engine: Engine, row: str, first: str, second: str) -> None:
    """They are one problem, which says what to exchange, in place of the rules that they break."""
    result = engine.file("unique_id,login_source,first_name,last_name,email", row)
    assert {2: "9003"} == result.codes
    assert result.reasons[2].startswith(f"{first} and {second} seem to have each other's value.")


def test_an_address_that_is_a_user_name_is_not_exchanged(engine: Engine) -> None:
    """User names and ids may be addresses."""
    wrong = engine.file(
        "unique_id,login_source,first_name,last_name,email", "ann@example.org,OPSCOM,Ann,Lee,6135550101"
    )
    assert {2: "9033"} == wrong.codes
    result = engine.file(
        "unique_id,login_source,first_name,last_name,email,user_name", "S1,OPSCOM,Ann,Lee,none,ann@example.org"
    )
    assert {2: "9033"} == result.codes


@pytest.mark.parametrize("city", ["ON", "12 Main St", "4 Elm Avenue E", "12 rue Main"])
def test_a_street_or_a_province_alone_is_no_town(engine: Engine, city: str) -> None:
    """It is told also where its own column has a value."""
    header = "unique_id,login_source,first_name,last_name,email,street,city,province"
    result = engine.rows(f"S1,OPSCOM,Ann,Lee,ann@example.org,1 Elm St,{city},ON", header=header)
    assert ["row.shifted/other city"] == [f"{each.reason.key} {each.field}" for each in result.receipt.warnings]
    for town in ("100 Mile House", "Street", "St. John's", "Avenue", "On"):
        row = f"S1,OPSCOM,Ann,Lee,ann@example.org,1 Elm St,{town},ON"
        assert {} == engine.emptied().rows(row, header=header).warnings
