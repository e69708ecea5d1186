"""Lines of column names below the header: the same are passed over, others refuse the file."""

from __future__ import annotations

import pytest

from importer.model import message
from importer.rows import delta, names_again, worker
from tests.engine import HEADER, Engine

ANN, BOB = "S1,OPSCOM,Ann,Lee,ann@example.org,ann", "S2,OPSCOM,Bob,Roy,bob@example.org,bob"


@pytest.mark.parametrize(
    "again",
    [
        HEADER,
        "\ufeff" + HEADER,
        HEADER.upper(),
        HEADER.replace("_", " ").title(),
        HEADER.replace(",", '","').join('""'),
        HEADER.replace(",", " , "),
        HEADER + ",,",
    ],
)
def test_the_same_names_are_passed_over_with_a_warning(engine: Engine, again: str) -> None:
    """The users around them are imported, and the lines of names are no rows."""
    result = engine.rows(ANN, again, BOB, again)
    assert (2, 0, 2) == (result.tally.created, result.tally.failed, result.tally.rows)
    [warning] = result.receipt.warnings
    assert ("header.again", 2, (3, 5)) == (warning.code, warning.rows, warning.lines)
    assert "Lines 3, 5" in result.text


def test_the_same_names_are_passed_over_where_they_look_like_data(engine: Engine) -> None:
    """A client may have columns with a year or an address in their names."""
    engine.settings(columns={"unique_id 2026": "unique_id", "mail@work": "email", "1": ""}, required=("email",))
    header = "unique_id 2026,login_source,mail@work,1"
    result = engine.rows("S1,OPSCOM,a@example.org,x", header, header=header)
    assert (["S1"], "header.again") == (list(engine.users()), result.receipt.warnings[0].code)


def test_the_same_names_are_passed_over_where_any_id_is_taken(engine: Engine) -> None:
    """Names that fit their columns make no user of that name."""
    engine.settings(required=(), login_source="OPSCOM")
    assert 1 == engine.rows("S1", "unique_id", header="unique_id").tally.created
    assert 1 == engine.rows("S2,Ann", "unique_id,first_name", header="unique_id,first_name").tally.created
    assert ["S1", "S2"] == list(engine.users())


def test_names_of_a_client_are_passed_over(engine: Engine) -> None:
    """Mapped names are names as well, wherever the id is."""
    engine.settings(columns={"Matricule no": "unique_id", "Prenom": "first_name", "Classe": ""})
    header = "Classe,Prenom,Matricule no,login_source,last_name,email"
    result = engine.rows("3A,Ann,S1,OPSCOM,Lee,ann@example.org", header, header.upper(), header=header)
    assert (1, 1, (3, 4)) == (result.tally.created, result.tally.rows, result.warnings["header.again"].lines)


@pytest.mark.parametrize(
    ("again", "kind"),
    [
        ("unique_id,login_source,last_name,first_name,email,user_name", "order"),
        ("email,user_name,unique_id,login_source,first_name,last_name", "order"),
        ("\ufeffLast Name,First Name,Unique ID,Login Source,Email,User Name", "order"),
        ("unique_id,login_source,first_name,last_name,user_name,street", "names"),
        ("unique_id,login_source,first_name,last_name,email,user_name,city", "names"),
        ("unique_id,first_name,last_name", "names"),
        ("Matricule,Source,Surname,Given Name,Courriel,Username", "names"),
        ("Kennung,Quelle,Nachname,Vorname,E-Mail,Benutzername", "names"),
        ("Identificador,Origen,Nombre,Apellidos,Correo electrónico,Usuario", "names"),
    ],
)
def test_other_columns_refuse_the_file(engine: Engine, again: str, kind: str) -> None:
    """What follows has other columns than the header says: none of it is recorded, and the line is told."""
    result = engine.rows(ANN, again, BOB)
    assert ((message(f"header.changed/{kind}", line="3"),), {}) == (result.refusal, engine.users())


def test_names_of_another_system_in_another_order_refuse_the_file(engine: Engine) -> None:
    """Also near below the header, where a row may describe the columns: names would be exchanged."""
    row = "S1,OPSCOM,Lee,Ann,ann@example.org,ann"
    again = "SIS_ID,AUTH_TYPE,LNAME,FNAME,MAIL_ADDR,NET_NAME"
    for rows in ((again, row), (row, again, row)):
        assert "header.changed" == engine.rows(*rows).code
    same = engine.rows("SIS_CD,AUTH_TYPE,FNAME,LNAME,MAILX,NET_NAME", row)
    assert (1, {2: "9003"}) == (same.tally.created, same.codes)


@pytest.mark.parametrize(
    "row",
    [
        "id,OPSCOM,City,Town,city@example.org,state",
        "mail,OPSCOM,Mail,Admin,mail@example.org,mail",
        "login,OPSCOM,Given,Last,given.last@example.org,",
        "kennung,OPSCOM,Nome,Cognome,nome@example.org,stadt",
    ],
)
def test_users_with_names_like_columns_are_users(engine: Engine, row: str) -> None:
    """An id that could be the name of a column makes no line of names, nor do names of people."""
    result = engine.rows(row)
    assert (1, {}) == (result.tally.created, result.warnings)


def test_names_as_labels_are_passed_over(engine: Engine) -> None:
    """A part of the file has them as its program shows them."""
    result = engine.rows(ANN, " Unique ID , Login Source,First Name,Last Name,Email,User Name")
    assert ({"header.again"}, {}) == ({*result.warnings}, result.codes)


def test_parts_that_were_joined_without_a_line_end_are_told(engine: Engine) -> None:
    """The names begin in the last cell of the row."""
    result = engine.rows(f"{ANN}{HEADER}", BOB)
    assert (["9003/joined"], 1) == ([each.reason.key for each in result.receipt.problems], result.tally.created)


def test_a_row_that_fails_with_a_word_for_an_id_is_no_line_of_names(engine: Engine) -> None:
    """Its values are those of a person."""
    assert {3: "9015; 9033"} == engine.rows(ANN, "jsmith,AD,John,Smith,none,stadt").codes


def test_a_short_row_is_no_line_of_names(engine: Engine) -> None:
    """A single word that could be a name of a column is a row with too few values."""
    assert {3: "9003"} == engine.rows(ANN, "id").codes


@pytest.mark.parametrize("again", [HEADER, "unique_id,login_source,last_name,first_name,email,user_name"])
def test_a_worker_tells_the_same(engine: Engine, monkeypatch: pytest.MonkeyPatch, again: str) -> None:
    """A large file is examined in a process of its own, whose answer is the same."""
    here = engine.rows(ANN, again, BOB)
    monkeypatch.setattr(worker, "_MIN_BYTES", 1)
    there = engine.emptied().rows(ANN, again, BOB)
    assert (here.refusal, here.receipt.warnings, here.tally) == (there.refusal, there.receipt.warnings, there.tally)
    assert again != HEADER or "header.again" in there.warnings


def test_the_next_nights_file_tells_the_same(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only what differs from the last file is looked at, lines of names are looked at all the same."""
    monkeypatch.setattr(delta, "MIN_BYTES", 1)
    rows = [f"S{number},OPSCOM,Ann,Lee,a{number}@example.org,a{number}" for number in range(100)]
    first = engine.rows(*rows[:50], HEADER, *rows[50:])
    second = engine.rows(*rows[:50], HEADER, *rows[50:], BOB.replace("S2", "S200"))
    assert ((100, 1), (52,)) == ((second.tally.unchanged, second.tally.created), second.warnings["header.again"].lines)
    assert first.receipt.warnings == second.receipt.warnings
    swapped = "unique_id,login_source,last_name,first_name,email,user_name"
    third = engine.rows(*rows[:50], swapped, *rows[50:])
    assert (message("header.changed/order", line="52"),) == third.refusal


def test_ids_that_are_names_of_columns_do_not_take_for_ever(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a file full of such ids only some rows are compared with all names, which takes 0.5 ms for a cell."""
    looks: list[str] = []
    monkeypatch.setattr(names_again, "nearest", looks.append)
    rows = [f"email,OPSCOM,{'x' * (number % 50)}a,b{number % 97},c,d" for number in range(2_000)]
    assert 0 == engine.rows(ANN, *rows).tally.repeated
    assert len(looks) == names_again.MOST_LOOKS


@pytest.mark.parametrize(
    ("below", "line"),
    [
        (("", "vehicle_id,plate,make", "V1,ABCD 12,Ford", "V2,ABCE 13,Kia"), 5),
        (("vehicle_id,plate,make", "V1,ABCD 12,Ford", "V2,ABCE 13,Kia"), 4),
        (("", "Vehicles", "plate,model", "ABCD 12,Focus", "ABCE 13,Rio"), 6),
        ((",,,,,", "Grade,Students,,,,", "9,120,,,,", "10,130,,,,"), 5),
        (("Plate,Make,Model,Colour,Owner,Year", "AB 1,Ford,Focus,red,S1,2012", "AB 2,Kia,Rio,red,S2,2013"), 4),
        (("", "Code,Description", "OPSCOM,Local", "AD,Directory"), 5),
    ],
)
def test_another_table_below_the_users_refuses_the_file(engine: Engine, below: tuple[str, ...], line: int) -> None:
    """It is told from where on, although none of its columns is one of a user."""
    result = engine.rows(ANN, BOB, *below)
    assert ((message("header.changed/table", line=str(line)),), {}) == (result.refusal, engine.users())


def test_another_table_is_told_where_the_rows_are_read_in_stretches(engine: Engine) -> None:
    """Also if its names end a stretch, and its rows begin the next one."""
    users = [f"S{n},OPSCOM,Ann,Lee,ann{n}@example.org,ann{n}" for n in range(999)]
    result = engine.rows(*users, "plate,make", "AB 1,Ford", "AB 2,Kia")
    assert (message("header.changed/table", line="1001"),) == result.refusal


@pytest.mark.parametrize(
    "rows",
    [
        (ANN, "", "Grade,Students", BOB),
        (ANN, "Marie,Roy", "Zoe,Roy", "Luc,Roy", BOB),
        (ANN, "S3,OPSCOM,Eve", "Hart,eve@example.org,eve", "S4,OPSCOM,Sam", "Cole,sam@example.org,sam"),
        (ANN, "", "Questions, ask", "the office"),
        ("Vehicle,Plate", "V1,AB 1", ANN),
    ],
)
def test_rows_that_fail_are_no_table_without_two_below_its_names(engine: Engine, rows: tuple[str, ...]) -> None:
    """Each of them is told, and the users around them are imported."""
    assert ("", True) == ((result := engine.rows(*rows)).code, result.tally.created > 0)


def test_a_file_whose_rows_all_fail_is_no_table(engine: Engine) -> None:
    """Words in columns that take none are told as such."""
    result = engine.file("unique_id,user_type_id", "", "asmith,Teacher", "bjones,Student", "croy,Student")
    assert ("", [3, 4, 5]) == (result.code, [*result.codes])


def test_users_who_all_fail_are_no_table_although_the_first_has_words_alone(engine: Engine) -> None:
    """Each row is answered: a street without a number is not taken for a column name."""
    result = engine.file(
        "unique_id,first_name,last_name,user_type_id,street,city,email",
        "Sx,Ann,Roy,Student,Main Street,Ottawa,",
        "S2,Bob,Lee,Student,12 Elm Road,Toronto,",
        "S3,Eve,Kim,Student,34 Elm Road,Toronto,",
    )
    assert ("", [2, 3, 4]) == (result.code, [*result.codes])
