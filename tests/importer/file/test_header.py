"""The header: possible names, mappings, and the help that is given when it does not fit."""

from __future__ import annotations

import pytest

from importer.attributes import ATTRIBUTES, POSSIBLE_NAMES
from tests.engine import HEADER, Engine, without_report

ROW = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"

SPECIFIED = {
    "unique_id": 50,
    "login_source": 20,
    "first_name": 50,
    "last_name": 50,
    "user_name": 50,
    "email": 100,
    "street": 255,
    "city": 50,
    "province": 2,
    "postal_code": 20,
    "street2": 20,
    "city2": 50,
    "province2": 2,
    "postal_code2": 20,
    "phone_cell": 20,
    "employ_no": 50,
    "employee_phone": 20,
    "student_phone": 20,
    "student_no": 50,
    "driver_licence_num": 50,
    "driver_licence_prov": 2,
}
WITHOUT_LIMIT = {"user_type_id", "locker_user_type_id", "date_of_birth"}  # their rules say how long they are
ALIASES = {
    "province": "state",
    "postal_code": "zip",
    "province2": "state2",
    "postal_code2": "zip2",
    "driver_licence_num": "driver_license_num",
    "driver_licence_prov": "driver_license_state",
}


def test_the_table_is_the_published_one() -> None:
    """Every attribute has the published limit and the published second name, and there are no others."""
    limits = {name: each.limit for name, each in ATTRIBUTES.items() if name not in WITHOUT_LIMIT}
    assert limits == SPECIFIED
    assert set(ATTRIBUTES) == set(SPECIFIED) | WITHOUT_LIMIT
    assert {name: each.also for name, each in ATTRIBUTES.items() if each.also} == ALIASES


@pytest.mark.parametrize("name", POSSIBLE_NAMES)
def test_every_possible_name_is_taken(engine: Engine, name: str) -> None:
    """A file may name each attribute by each of its possible names."""
    needed = [each for each in ("unique_id",) if each != name]
    assert "" == engine.file(",".join((*needed, name)), ",".join("x" for _ in (*needed, name))).code


def test_every_attribute_is_stored_under_its_own_name(engine: Engine) -> None:
    """Whatever name the file uses, the value stands in the column named like the attribute."""
    values = {
        "unique_id": "S1",
        "login_source": "OPSCOM",
        "first_name": "Zoé",
        "last_name": "Tremblay",
        "user_name": "ztremblay",
        "email": "zoe@example.org",
        "street": "1 Main St, Unit 2",
        "city": "Ottawa",
        "state": "on",
        "zip": "K1A 0B1",
        "street2": "2 Rue",
        "city2": "Gatineau",
        "state2": "Qc",
        "zip2": "J8X 1A1",
        "phone_cell": "+1 613 555-0100 x2",
        "user_type_id": "12",
        "employ_no": "0042",
        "employee_phone": "613 555 0101",
        "student_phone": "613 555 0102",
        "student_no": "000123",
        "driver_license_num": "L1234-56789",
        "driver_license_state": "ny",
        "date_of_birth": "2001-05-23",
        "locker_user_type_id": "3",
    }
    engine.file("\t".join(values), "\t".join(values.values()))
    stored = {POSSIBLE_NAMES[name].name: value for name, value in values.items()}
    assert {"S1": stored | {"province": "ON", "province2": "QC", "driver_licence_prov": "NY"}} == engine.users()


def test_names_are_trimmed_and_may_be_quoted(engine: Engine) -> None:
    """Blanks and invisible characters around a name do not count, nor do its quotation marks."""
    header = '\ufeff\ufeffunique_id, login_source ,\tfirst_name,last_name\xa0,"email\u200b",user_name'
    assert 1 == engine.file(header, ROW).tally.created


@pytest.mark.parametrize("written", ["Email", "courriel"])
def test_a_name_whose_right_spelling_is_there_already(engine: Engine, written: str) -> None:
    """A second column for what is there already is to be removed; put right, it would be refused as repeated."""
    result = engine.file(f"{HEADER},{written}", "S1,OPSCOM,Ann,Lee,ann@example.org,ann,x")
    assert "header.unknown" == result.code
    assert f'"{written}"' in result.detail
    assert "there already: remove one of the two columns" in result.detail


def test_all_columns_without_a_name_that_have_content_are_told(engine: Engine) -> None:
    """A row that has content below several blank names tells of all of them."""
    result = engine.file(f"{HEADER},,city,,", "S1,OPSCOM,Ann,Lee,ann@example.org,ann,x,Hull,y,")
    assert "header.unknown" == result.code
    assert "columns G, I have content but no name" in result.detail


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("UserUUID", "unique_id"),
        ("username", "user_name"),
        ("firstName", "first_name"),
        ("lastName", "last_name"),
        ("UserTypeID", "user_type_id"),
        ("prov", "province"),
        ("employee_no", "employ_no"),
        ("student_number", "student_no"),
        ("postalcode", "postal_code"),
        ("dob", "date_of_birth"),
        ("cell_phone", "phone_cell"),
        ("driver_license_prov", "driver_licence_prov"),
        ("driver_licence_state", "driver_licence_prov"),
        ("drivers_license", "driver_licence_num"),
        ("E-Mail Address", "email"),
        ("Prénom", "first_name"),
        ("Nom de famille", "last_name"),
        ("Code postal", "postal_code"),
        ("emial", "email"),
        ("last_nmae", "last_name"),
    ],
)
def test_near_misses_are_answered_with_the_name_meant(engine: Engine, written: str, meant: str) -> None:
    """A name that people write instead, or mistype, is refused with the possible name it most likely means."""
    result = engine.file(f"unique_id,login_source,{written}", "S1,OPSCOM,x")
    assert "header.unknown" == result.code
    assert POSSIBLE_NAMES[meant].name in {
        POSSIBLE_NAMES[name].name for name in POSSIBLE_NAMES if f'"{name}"' in result.detail.partition(written)[2]
    }


@pytest.mark.parametrize("written", ["faculty", "Grade", "Homeroom", "Notes", "Parking permit", "x"])
def test_nothing_is_proposed_where_nothing_is_near(engine: Engine, written: str) -> None:
    """A column of another kind is refused without a guess, and with what can be done about it."""
    result = engine.file(f"unique_id,login_source,{written}", "S1,OPSCOM,x")
    assert f'"{written}" is not known. Correct this line' in result.detail
    assert "A column that is not known: rename it, remove it, or ask us to map its name." in result.detail


def test_a_proposal_is_the_whole_remedy(engine: Engine) -> None:
    """Where each unknown name has a proposal nothing more is said of what to do."""
    assert "rename it" not in engine.file("unique_id,login_source,dob", "S1,OPSCOM,x").detail


@pytest.mark.parametrize("written", ["Email", "EMAIL", "e-mail", "First Name", "first-name", "last name", "prénom"])
@pytest.mark.parametrize("unknown_columns", ["refuse", "ignore"])
def test_spelling_counts(engine: Engine, written: str, unknown_columns: str) -> None:
    """Case, blanks, hyphens and accents: not exact, and refused with the exact name; ignoring would lose the data."""
    result = engine.settings(unknown_columns=unknown_columns).file(f"unique_id,login_source,{written}", "S1,OPSCOM,x")
    if written == "prénom" and unknown_columns == "ignore":
        assert "" == result.code  # another word, not another spelling
        return
    assert "header.unknown" == result.code
    assert any(f'"{name}"' in result.detail for name in ("email", "first_name", "last_name"))


def test_all_problems_of_a_header_are_in_one_answer(engine: Engine) -> None:
    """Unknown, misspelt, repeated, forbidden and missing names are told at once."""
    result = engine.file("UserUUID,First Name,email,email,password,Homeroom,street", "1,2,3,4,5,6,7")
    assert "header.unknown" == result.code
    for part in (
        '"UserUUID" is not known (did you mean "unique_id"?); ',
        '"First Name" must be written "first_name"',
        '"email" stands twice',
        '"password" holds passwords, and passwords are never imported: remove the column',
        '"Homeroom" is not known;',
    ):
        assert part in result.detail
    assert "is missing" not in result.detail


def test_a_repeated_name_is_refused(engine: Engine) -> None:
    """Two columns of one name leave open which counts."""
    result = engine.file(f"{HEADER},city, city", f"{ROW},Hull,Ottawa")
    assert "header.repeated" == result.code
    assert '"city" stands twice: remove or rename one of the two. Correct this line' in result.detail


def test_a_name_repeated_often_is_told_once(engine: Engine) -> None:
    """However often a name stands there, the answer names it once, with the number."""
    detail = engine.file(f"{HEADER},city,city,city,x,x", ROW).detail
    assert '"city" stands 3 times: remove or rename all but one; "x" stands twice' in detail
    assert (1, 1) == (detail.count('"city"'), detail.count('"x" is not known'))


def test_the_line_to_correct_is_the_one_named(engine: Engine) -> None:
    """Below blank lines, or `sep=`, the line to correct is not the first."""
    detail = engine.file("sep=,", "", f"{HEADER},Homeroom", ROW).detail
    assert detail.startswith("line 3, ")
    assert "Correct this line and" in detail


def test_required_columns(engine: Engine) -> None:
    """A file needs unique_id, and no other column."""
    assert '"unique_id" is missing: add the column' in engine.file("login_source,email", "OPSCOM,a@example.org").detail
    assert "" == engine.file("unique_id", "S1").code


def test_a_title_above_the_header_is_told_to_be_deleted(engine: Engine) -> None:
    """A report's title lines above the header: the answer names the lines to delete."""
    result = engine.file("Active users,,", "Printed 2026-11-22 07:42,,", "", HEADER, ROW)
    assert "header.missing" == result.code
    assert "line 4 looks like the header: delete lines 1-3 and upload the file again" in result.detail


@pytest.mark.parametrize(
    ("title", "header"),
    [
        ("email,list,of,today,,", HEADER),
        ("Active users", HEADER.replace("unique_id", "Unique ID")),
        (",Name,,Contact,,", HEADER),
    ],
    ids=["a known word in it", "misspelt header", "merged cells"],
)
def test_a_title_is_told_from_a_header_by_the_id(engine: Engine, title: str, header: str) -> None:
    """A line without the id's name is a title when one of the next lines has it, spelt as it may be."""
    assert "line 2 looks like the header: delete line 1 and" in engine.file(title, header, ROW).detail


def test_a_whole_line_in_quotation_marks_is_told(engine: Engine) -> None:
    """A spreadsheet that took each line for one cell quotes the whole line: the answer says so."""
    detail = engine.file(f'"{HEADER}"', f'"{ROW}"').detail
    assert "read with quotation marks around the whole line, which make it one name" in detail


def test_a_type_line_of_powershell_is_told_to_be_deleted(engine: Engine) -> None:
    """Export-Csv of Windows PowerShell writes a line of its own first."""
    header = '"' + HEADER.replace(",", '","') + '"'
    result = engine.file("#TYPE Selected.Microsoft.ActiveDirectory.Management.ADUser", header, ROW)
    assert "line 2 looks like the header: delete line 1 and" in result.detail


def test_a_header_further_below_is_not_looked_for(engine: Engine) -> None:
    """Only the next ten lines are searched for a header."""
    assert "looks like the header" in engine.file("Users", *["x"] * 9, HEADER, ROW).detail
    assert "looks like the header" not in engine.file("Users", *["x"] * 10, HEADER, ROW).detail


def test_blank_lines_above_the_header_are_skipped(engine: Engine) -> None:
    """Blank lines, and rows a spreadsheet left empty, may stand above the header; they count as lines."""
    assert {6: "9015"} == engine.file("", ",,,,,", " ", ",,", HEADER, "S1,X,Ann,Lee,a@example.org,a").codes


@pytest.mark.parametrize(
    "row",
    [
        "S1,OPSCOM,Ann,Towne,ann@example.org,ann",
        "1001;OPSCOM;Ann;Lee;;",
        "1001\tAnn\tLee\t1999-02-03",
    ],
)
def test_a_file_without_header_is_answered_with_the_line_to_paste(engine: Engine, row: str) -> None:
    """When the first line is a user, the answer says so and gives a line of names in the file's delimiter."""
    result = engine.file(row, row)
    delimiter = next(each for each in ",;\t" if each in row)
    assert "header.missing" == result.code
    assert "line 1 looks like a user, not like column names" in result.detail
    assert delimiter.join(("unique_id", "login_source", "first_name", "last_name", "email")) in result.detail


def test_the_line_to_paste_has_a_name_for_each_column(engine: Engine) -> None:
    """The answer says how many names the line needs, and that there are more of them than it gives."""
    detail = engine.file("S1,OPSCOM,Ann,Lee,ann@example.org,1 Main St,Hull").detail
    assert "one for each of your 7 columns and in their order, such as: unique_id,login_source,first_name" in detail
    assert detail.endswith("email,...")


def test_a_user_without_digits_is_told_by_its_login_source(engine: Engine) -> None:
    """A first line that holds OPSCOM is a user, though it has neither address nor number."""
    assert "line 1 looks like a user" in engine.file("ann,OPSCOM,Ann,Lee", "bob,OPSCOM,Bob,Roy").detail


def test_an_unknown_header_is_not_taken_for_a_user(engine: Engine) -> None:
    """A header of another system's names is refused name by name."""
    assert "header.unknown" == engine.file("UserUUID;Name;Date (DD/MM/YYYY);Phone/Fax", "1;2;3;4").code


def test_client_columns_map_foreign_names(engine: Engine) -> None:
    """The client's own names are mapped to attributes, or ignored, as configured."""
    engine.settings(columns={"Student ID": "unique_id", "Grade": "", "Courriel": "email", "Source": "login_source"})
    result = engine.file("Student ID,Grade,Courriel,Source,first_name,last_name", "S1,12,a@example.org,OPSCOM,A,B")
    assert 1 == result.tally.created
    assert {"S1": "a@example.org"} == engine.column("email")


def test_a_mapped_name_and_the_possible_name_count_as_two_names_of_one_attribute(engine: Engine) -> None:
    """A mapped column beside the attribute's own: the attribute's own name counts first."""
    engine.settings(columns={"Courriel": "email"})
    engine.file(f"Courriel,{HEADER}", f"b@example.org,{ROW}", "c@example.org,S2,OPSCOM,Bob,Roy,,b")
    assert {"S1": "ann@example.org", "S2": "c@example.org"} == engine.column("email")


@pytest.mark.parametrize("unknown_columns", ["refuse", "ignore"])
def test_the_spelling_of_mapped_names_counts(engine: Engine, unknown_columns: str) -> None:
    """A name mapped for the client is answered by its exact spelling, never by something near it, nor ignored."""
    engine.settings(columns={"Student ID": "unique_id", "Mobile": "phone_cell"}, unknown_columns=unknown_columns)
    detail = engine.file("Student Id,login_source,mobile", "S1,OPSCOM,555").detail
    assert '"Student Id" must be written "Student ID"; "mobile" must be written "Mobile"' in detail


def test_a_mapping_to_no_attribute_is_told(engine: Engine) -> None:
    """A mapping that leads nowhere is for the operator to correct, and the answer says so."""
    result = engine.settings(columns={"Grade": "grade"}).file("unique_id,login_source,Grade", "S1,OPSCOM,x")
    assert '"Grade" is mapped to "grade", which is no attribute: ask us to correct the mapping' in result.detail


def test_unknown_columns_are_ignored_where_that_is_set(engine: Engine) -> None:
    """With unknown_columns = "ignore" foreign columns are left out, and stand in the failed CSV all the same."""
    result = engine.settings(unknown_columns="ignore").file(
        f"Grade,{HEADER}", f"12,{ROW}", "11,S2,X,A,B,b@example.org,"
    )
    assert (1, "11") == (result.tally.created, result.failed_rows[0]["Grade"])


def test_a_column_without_a_name_must_stay_empty(engine: Engine) -> None:
    """A nameless column is fine while it is empty; content in it refuses the file by the column's letter."""
    assert (
        1
        == engine.file(
            "unique_id,login_source,first_name,,last_name,email,,", "S1,OPSCOM,A,,B,a@example.org,,"
        ).tally.created
    )
    inside = engine.file(
        "unique_id,login_source,first_name,,last_name,email", "S2,OPSCOM,A,,B,b@example.org", "S3,OPSCOM,A,x,B,"
    )
    assert ("header.unknown", True) == (inside.code, "line 3: column D has content but no name" in inside.detail)
    behind = engine.file("unique_id,login_source,", "S2,OPSCOM,", "S3,OPSCOM,x")
    assert ("header.unknown", True) == (behind.code, "line 3: column C" in behind.detail)
    assert ["S1"] == list(engine.users())


def test_reports_own_columns_are_recognised_and_ignored(engine: Engine) -> None:
    """The four columns that a failed CSV adds may stay in it."""
    report = "import_line,import_code,import_field,import_reason"
    result = engine.file(f"{HEADER},{report}", f"{ROW},7,9033,email,email is bad")
    assert (1, {}) == (result.tally.created, result.warnings)


@pytest.mark.parametrize("unknown_columns", ["refuse", "ignore"])
def test_letters_composed_or_not_are_the_same_name(engine: Engine, unknown_columns: str) -> None:
    """A mapped name that a Mac wrote with its accents apart looks the same, and is the same."""
    engine.settings(columns={"Pr\u00e9nom": "first_name"}, unknown_columns=unknown_columns)
    result = engine.file("unique_id,login_source,Pre\u0301nom,last_name,email", "S1,OPSCOM,Ann,Lee,ann@example.org")
    assert ("", {"S1": "Ann"}) == (result.code, engine.column("first_name"))


@pytest.mark.parametrize("title", ["api_token", "API Token", "apitoken", "access-token", "API key"])
def test_token_columns_are_refused_or_left_out(engine: Engine, title: str) -> None:
    """A column of tokens by another name refuses the file; where it would be ignored it is a secret all the same."""
    refused = engine.file(f"{HEADER},{title}", f"{ROW},tok-1")
    assert f'"{title}" holds tokens, and tokens are never imported: remove the column' in refused.detail
    for setting in ({"columns": {title: ""}}, {"unknown_columns": "ignore"}):
        result = engine.settings(**setting).file(f"{HEADER},{title}", "S2,X,A,B,b@example.org,,tok-2")
        assert (title, False) == (result.warnings["column.secret"].field, b"tok-2" in result.failed)


@pytest.mark.parametrize("title", ["password", "Password", "user_pwd", "Mot de passe", "passwd_hash", "PIN", "Pass"])
def test_password_columns_are_refused_with_a_sentence_of_their_own(engine: Engine, title: str) -> None:
    """A column of passwords refuses the file: passwords are never imported."""
    result = engine.file(f"{HEADER},{title}", f"{ROW},hunter2")
    assert f'"{title}" holds passwords, and passwords are never imported: remove the column' in result.detail


def test_secrets_are_left_out_of_everything_sent_back(engine: Engine) -> None:
    """Columns of tokens, and of passwords where unknown columns are ignored, are told, never stored, never echoed."""
    engine.settings(unknown_columns="ignore")
    result = engine.file(f"apiToken,{HEADER},password", f"tok-1,{ROW},hunter2", "tok-2,S2,X,,,,,hunter3")
    assert {"apiToken", "password"} == {each.field for each in result.receipt.warnings}
    assert "a secret was uploaded" in result.text
    assert "change what it held" in result.text
    assert result.mail is not None
    everything = (
        result.failed.decode() + result.text + result.mail.text + "".join(map(str, engine.store.conn.iterdump()))
    )
    assert not [secret for secret in ("tok-", "hunter") if secret in everything]


SECRETIVE = "unique_id,login_source,last_name,apiToken,password,email,city"


@pytest.mark.parametrize(
    ("row", "left"),
    [
        ("S1,OPSCOM,Lee, Jr,tok-1,hunter2,a@example.org,Hull", ["S1", "OPSCOM", "Lee", "", "a@example.org"]),
        ("S1,OPSCOM,Lee, Jr,PhD,tok-1,hunter2,a@example.org,Hull", ["S1", "OPSCOM", "Lee", "", ""]),
        ("S1,Lee,tok-1,hunter2,a@example.org,Hull", ["S1", "Lee", "", "Hull", ""]),
        ("S1,tok-1,hunter2,a@example.org,Hull", ["S1", "", "", "", ""]),
        ('"S1,OPSCOM,Lee,tok-1,hunter2,a@example.org,Hull"', ["", "", "", "", ""]),
    ],
    ids=["one too many", "two too many", "one too few", "two too few", "one cell"],
)
def test_a_secret_in_the_wrong_column_is_left_out_too(engine: Engine, row: str, left: list[str]) -> None:
    """Where a cell too many or too few moves a secret into a column that is sent back, the cell is blank there."""
    result = engine.settings(unknown_columns="ignore", required=()).file(SECRETIVE, row)
    assert left == without_report(result.failed_rows[0])
    assert "what may be a secret is left out here" in result.reasons[2]
    assert "9003" == result.codes[2]
    assert not [secret for secret in ("tok-", "hunter") if secret in result.failed.decode() + result.text]


def test_a_secret_beyond_the_last_column_is_left_out_too(engine: Engine) -> None:
    """What a row has too many is not told where it may be a secret."""
    result = engine.settings(unknown_columns="ignore").file(f"{HEADER},password", "S1,OPSCOM,A,B,a@x.org,a,b,hunter2")
    assert "hunter" not in result.failed.decode()


def test_names_in_answers_are_printable(engine: Engine) -> None:
    """A name with a line break or control characters is shown escaped, and cut where it is very long."""
    result = engine.file('unique_id,login_source,"Student\nID"', "S1,OPSCOM,x")
    assert r'"Student\nID"' in result.detail
    assert "\x1b" not in engine.file("unique_id,login_source,\x1b[31mred", "S1,OPSCOM,x").detail
    assert 500 > len(engine.file(f"unique_id,login_source,{'x' * 5000}", "S1,OPSCOM,x").detail)
