"""The header: possible names, mappings, and the help that is given when it does not fit."""

from __future__ import annotations

import time

import pytest

from importer.attributes import ATTRIBUTES, POSSIBLE_NAMES
from importer.file.header import delimiter_message
from importer.model import Message, message
from tests.engine import HEADER, Engine, without_report

MOST_SECONDS = 5.0  # of the processor; in quadratic time it is a minute
ROW = "S1,OPSCOM,Ann,Lee,ann@example.org,ann"
BELOW_A_TITLE = message("header.missing/title", line="2", first="1", last="1")

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
    assert (message("header.unknown/already", name=written, expected="email"),) == result.refusal


def test_all_columns_without_a_name_that_have_content_are_told(engine: Engine) -> None:
    """A row that has content below several blank names tells of all of them."""
    result = engine.file(f"{HEADER},,city,,", "S1,OPSCOM,Ann,Lee,ann@example.org,ann,x,Hull,y,")
    assert (message("header.unknown/nameless_many", columns="G, I", line="1", first="2"),) == result.refusal


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
    assert (message("header.unknown/strange", names=(written,)),) == result.refusal


def test_names_that_nobody_knows_are_told_at_once(engine: Engine) -> None:
    """All of them are in one sentence, very many by their number."""
    names = tuple(f"x{number}" for number in range(60))
    told = engine.file(f"unique_id,{','.join(names[:50])}", "S1").refusal
    assert (message("header.unknown/strange_many", names=names[:50]),) == told
    told = engine.file(f"unique_id,{','.join(names)}", "S1").refusal
    assert (message("header.unknown/strange_more", names=names[:50], count=10),) == told


def test_names_that_mean_the_same_are_told_together(engine: Engine) -> None:
    """To rename each as proposed would make two columns of one name."""
    told = engine.file("unique_id,Email,courriel,mail", "S1").refusal
    assert (message("header.unknown/several", names=("Email", "courriel", "mail"), expected="email"),) == told


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
        message("header.unknown/did_you_mean", line="1", name="UserUUID", expected="unique_id"),
        message("header.unknown/spelling", line="1", name="First Name", expected="first_name"),
        message("header.repeated", name="email", first="C", second="D"),
        message("header.unknown/passwords", name="password"),
        message("header.unknown/strange", names=("Homeroom",)),
        message("header.missing/source", names=("login_source", "last_name")),
    ):
        assert part in result.refusal
    assert 6 == len(result.refusal), "unique_id is not missing, but has another name"


def test_a_repeated_name_is_refused(engine: Engine) -> None:
    """Two columns of one name leave open which counts."""
    result = engine.file(f"{HEADER},city, city", f"{ROW},Hull,Ottawa")
    assert (message("header.repeated", name="city", first="G", second="H"),) == result.refusal
    assert 'Two columns are called "city". Delete column G or column H.' == result.detail


def test_a_name_repeated_often_is_told_once(engine: Engine) -> None:
    """However often a name stands there, the answer names it once, with the number."""
    assert (
        message("header.unknown/strange", names=("x",)),
        message("header.repeated/many", name="city", columns="G, H, I", count=3),
        message("header.repeated", name="x", first="J", second="K"),
    ) == engine.file(f"{HEADER},city,city,city,x,x", ROW).refusal


def test_the_line_to_correct_is_the_one_named(engine: Engine) -> None:
    """Below blank lines, or `sep=`, the line to correct is not the first."""
    assert engine.file("sep=,", "", f"{HEADER},dob", ROW).detail.startswith(
        'Line 3 has a column name that we do not know: "dob".'
    )


def test_required_columns(engine: Engine) -> None:
    """A file needs unique_id, and no other column."""
    assert (message("header.missing"),) == engine.file("login_source", "OPSCOM").refusal
    assert "" == engine.file("unique_id", "S1").code


@pytest.mark.parametrize(
    ("header", "missing"),
    [
        ("uid,first_name,last_name,email", message("header.missing/source", names=("login_source",))),
        ("uid,login_source,Prénom,Nom", message("header.missing/needed", names=("email",))),
        ("fname,lname", message("header.missing/source", names=("login_source", "email"))),
        ("'unique_id','first_name','last_name','email'", message("header.missing/source", names=("login_source",))),
    ],
)
def test_what_new_users_need_is_told_with_wrong_names(engine: Engine, header: str, missing: Message) -> None:
    """A roster that is refused for its names would be told at the next upload which column it lacks besides."""
    assert missing == engine.file(header, "1,2,3,4").refusal[-1]
    with_default = engine.settings(login_source="OPSCOM").file(header, "1,2,3,4").refusal
    assert ("login_source" not in str(missing.params)) == (missing == with_default[-1])


@pytest.mark.parametrize("header", ["unique_id,phone_cell,Homeroom", "unique_id,email,Homeroom"])
def test_what_new_users_need_is_not_told_of_a_file_about_known_ones(engine: Engine, header: str) -> None:
    """A file with few of these columns is about users that we know."""
    assert (message("header.unknown/strange", names=("Homeroom",)),) == engine.file(header, "1,2,3").refusal


def test_several_numbers_that_may_be_the_id_are_told_together(engine: Engine) -> None:
    """No proposal says to rename one of them to another name before it is known which of them is the id."""
    refusal = engine.file("Student ID,Employee ID,login_source,first_name,last_name,email", "1,2,3,4,5,6").refusal
    assert (message("header.missing/which", names=("Student ID", "Employee ID")),) == refusal


def test_a_title_above_the_header_is_told_to_be_deleted(engine: Engine) -> None:
    """A report's title lines above the header: the answer names the lines to delete."""
    result = engine.file("Active users,,", "Printed 2026-11-22 07:42,,", "", HEADER, ROW)
    assert (message("header.missing/titles", line="4", first="1", last="3"),) == result.refusal


def test_a_title_above_names_of_another_system(engine: Engine) -> None:
    """The names are told together with the lines above them, and not one line of the title after the other."""
    lines = (
        "Lakeside School",
        "Students as of today",
        "",
        "Student Number;First Name;Last Name;Courriel",
        "1;A;B;a@x.ca",
    )
    title, *names = engine.file(*lines).refusal
    assert message("header.missing/titles", line="4", first="1", last="3") == title
    assert {"header.unknown", "header.missing"} >= {each.code for each in names} > set()


@pytest.mark.parametrize(
    ("title", "header"),
    [
        ("email,list,of,today,,", HEADER),
        (",Name,,Contact,,", HEADER),
    ],
    ids=["a known word in it", "merged cells"],
)
def test_a_title_is_told_from_a_header_by_the_id(engine: Engine, title: str, header: str) -> None:
    """A line without the id's name is a title when one of the next lines has it, spelt as it may be."""
    assert (BELOW_A_TITLE,) == engine.file(title, header, ROW).refusal


def test_wrong_names_below_a_title_are_told_with_it(engine: Engine) -> None:
    """Or they would be the next answer."""
    refusal = engine.file("Active users", "Unique ID,fname,last_name,email,,", ROW).refusal
    assert BELOW_A_TITLE == refusal[0]
    assert ["spelling", "did_you_mean", "source"] == [each.key.rpartition("/")[2] for each in refusal[1:]]


def test_a_whole_line_in_quotation_marks_is_told(engine: Engine) -> None:
    """A spreadsheet that took each line for one cell quotes the whole line: the answer says so, and nothing else."""
    expected = (message("header.unknown/quoted_line", line="1"),)
    assert expected == engine.file(f'"{HEADER}"', f'"{ROW}"').refusal
    assert expected == engine.settings(unknown_columns="ignore").file(f'"{HEADER}"', f'"{ROW}"').refusal


def test_a_type_line_of_powershell_is_told_to_be_deleted(engine: Engine) -> None:
    """Export-Csv of Windows PowerShell writes a line of its own first."""
    header = '"' + HEADER.replace(",", '","') + '"'
    result = engine.file("#TYPE Selected.Microsoft.ActiveDirectory.Management.ADUser", header, ROW)
    assert (BELOW_A_TITLE,) == result.refusal


def test_a_header_far_below_titles_is_found(engine: Engine) -> None:
    """Its line is named, however many lines are above it; names of other systems are looked for in fifty lines."""
    expected = message("header.missing/titles", line="62", first="1", last="61")
    assert (expected,) == engine.file("Users", *["x"] * 60, HEADER, ROW).refusal
    others = "Student ID,Source,First Name,Last Name,E-mail,Username"
    assert "header.missing" == engine.file("Users", *["x"] * 49, others, ROW).code
    refusal = engine.file("Users", *["x"] * 60, others, ROW)
    assert "header.unknown" == refusal.code
    assert "Delete the lines above the column names" in refusal.detail


def test_a_header_below_its_users_is_told_to_be_moved(engine: Engine) -> None:
    """To delete the lines above it would delete the users."""
    rows = [f"S{number},OPSCOM,Ann,Lee,a{number}@example.org,a{number}" for number in range(70)]
    for above in (rows[:1], rows):
        expected = message("header.missing/below", line=str(len(above) + 1))
        assert (expected,) == engine.file(*above, HEADER).refusal


def test_blank_lines_above_the_header_are_skipped(engine: Engine) -> None:
    """Blank lines, and rows a spreadsheet left empty, may stand above the header; they count as lines."""
    assert {6: "9015"} == engine.file("", ",,,,,", " ", ",,", HEADER, "S1,X,Ann,Lee,a@example.org,a").codes


@pytest.mark.parametrize(
    "row",
    [
        "S1,OPSCOM,Ann,Towne,ann@example.org,ann",
        "1001;OPSCOM;Ann;Lee;;",
        "1001\tAnn\tLee\t1999-02-03",
        pytest.param("STU-12345,OPSCOM,Ann,Lee,ann@example.org", id="an id like ORA-12345"),
        pytest.param("1001,OPSCOM,Ann,Lee,Fatal Error Rd: CA-90210", id="an address like an error message"),
    ],
)
def test_a_file_without_header_is_answered_with_the_line_to_paste(engine: Engine, row: str) -> None:
    """When the first line is a user, the answer says so and gives a line of names in the file's delimiter."""
    result = engine.file(row, row)
    delimiter = next(each for each in ",;\t" if each in row)
    assert "header.missing" == result.code
    assert "Line 1 is a user. We expect column names there." in result.detail
    assert delimiter.join(("unique_id", "login_source", "first_name", "last_name")) in result.detail


def test_the_line_to_paste_has_a_name_for_each_column(engine: Engine) -> None:
    """The answer has as many names as the file has columns, or says how many it needs and that there are more."""
    names = "unique_id,login_source,first_name,last_name,email"
    exact = engine.file("S1,OPSCOM,Ann,ann@example.org").refusal
    assert (message("header.missing/user", line="1", count=4, names=names.rpartition(",")[0]),) == exact
    more = engine.file("S1,OPSCOM,Ann,Lee,ann@example.org,1 Main St,Hull").refusal
    assert (message("header.missing/user_more", line="1", count=7, names=f"{names},..."),) == more


@pytest.mark.parametrize(
    "text",
    [
        "ERROR 1045 (28000): Access denied for user",
        "Error: session expired, please log in again",
        "ORA-00942: table or view does not exist",
        "ORA-01017: invalid username/password; logon denied",
        "SP2-0640: Not connected",
        "Msg 208, Level 16, State 1, Server SQL01, Line 1",
        "System.Data.SqlClient.SqlException (0x80131904): Login failed",
        "Fatal error: Uncaught PDOException: SQLSTATE[HY000] [2002] Connection refused in /srv/export.php:12",
        "Unable to connect to the database",
        "Erreur : la session a expiré",
        "bash: sqlplus: command not found",
        "Access Denied",
        "Quota exceeded",
        "503 Service Unavailable",
        "Invalid username or password",
        "No data found",
        "Aucune donnée trouvée",
        "La connexion a échoué",
        "Le service est temporairement indisponible.",
        "Error, session expired, log in again",
    ],
)
def test_an_error_message_is_told_as_one(engine: Engine, text: str) -> None:
    """What an export wrote instead of users is neither a user nor a line of names, whatever commas it has."""
    assert (message("file.not_csv/error", text=text[:80]),) == engine.file(text).refusal
    assert "file.not_csv" == engine.file("", text, "", "at line 1, column 2").code


@pytest.mark.parametrize("names", ["Error,Code,Failed", "Failed logins;Error count;Name", "Error: Notes"])
def test_names_of_errors_are_no_error_messages(engine: Engine, names: str) -> None:
    """Columns may be called so."""
    assert "header.unknown" == engine.file(names, "1,2,3").code


def test_an_error_message_above_the_names_is_a_title(engine: Engine) -> None:
    """Where users follow, the line is what is to be deleted."""
    assert (BELOW_A_TITLE,) == engine.file("Warning: ORA-28002: the password will expire", HEADER, ROW).refusal


@pytest.mark.parametrize("name", [f"a{' ' * 60_000}b", f"(max 1{' ' * 60_000}b", f"a{':' * 60_000}b"])
def test_a_long_name_takes_no_long_time(engine: Engine, name: str) -> None:
    """One client cannot stop the service for all by a name that is searched again and again."""
    begin = time.thread_time()
    assert "header.unknown" == engine.file(name, "1").code
    assert "header.unknown" == engine.file(f"{name},x", "1,2").code
    assert time.thread_time() - begin < MOST_SECONDS


@pytest.mark.parametrize("marks", ["[]", "<>", "{}", "{{}}", "{%%}"])
@pytest.mark.parametrize("names", [("unique_id", "email"), ("Unique ID", "E-mail"), ('"unique_id"', '"email"')])
def test_names_in_brackets_are_told_name_by_name(engine: Engine, marks: str, names: tuple[str, str]) -> None:
    """Names as a database or a template shows them are names, not JSON or XML."""
    opening, closing = marks[: len(marks) // 2], marks[len(marks) // 2 :]
    written = [f"{opening}{name}{closing}" for name in names]
    assert [("header.unknown/spelling", written[0], "unique_id"), ("header.unknown/spelling", written[1], "email")] == [
        (reason.key, dict(reason.params)["name"], dict(reason.params)["expected"])
        for reason in engine.file(",".join(written), "S1,a@example.org").refusal
    ]


@pytest.mark.parametrize("name", ["[01]Student_Number", "<Student ID>", "{student}", '["id"]', "[[id]]"])
def test_names_in_brackets_can_be_a_clients_own(engine: Engine, name: str) -> None:
    """What is mapped for a client is taken, brackets or not."""
    engine.settings(columns={name: "unique_id"})
    result = engine.file(f"{name},login_source,first_name,last_name,email", "S1,OPSCOM,Ann,Lee,ann@example.org")
    assert (1, ["S1"]) == (result.tally.created, list(engine.users()))


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ('[{"unique_id": "1"}]', "JSON"),
        ('{"users": [{"unique_id": "1"}]}', "JSON"),
        ('[["unique_id", "email"], ["1", "a@example.org"]]', "JSON"),
        ('["unique_id", "email"]\n["1", "a@example.org"]', "JSON"),
        ("[]", "JSON"),
        ("{ }", "JSON"),
        ('<users count="1">', "XML"),
        ("<users>\n<user>", "XML"),
        ("-- MySQL dump 10.13\nINSERT INTO `users` VALUES ('1');", "SQL"),
        ("COPY users (unique_id, email) FROM stdin;\nS1\ta@example.org", "SQL"),
        ("BEGIN:VCARD\nFN:Ann Lee", "vCard"),
        ("BEGIN:VCALENDAR\nVERSION:2.0", "iCalendar"),
        ("- unique_id: S1\n  email: a@example.org", "YAML"),
        ("From: a@example.org\nTo: b@example.org\n\nunique_id,email", "e-mail"),
        ("MIME-Version: 1.0\nContent-Type: multipart/related", "e-mail"),
        ("A" * 76 + "\n" + "B" * 76, "Base64"),
        ("unique+AF8-id,login+AF8-source,email", "UTF-7"),
        ("dn: uid=alee,dc=example\nuid: alee", "LDIF"),
    ],
)
def test_other_kinds_in_brackets_are_told(engine: Engine, content: str, kind: str) -> None:
    """JSON and XML are named when that is what follows the bracket."""
    assert (message("file.not_csv/data", kind=kind),) == engine.file(content).refusal


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQ==", "file.not_csv/key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "file.not_csv/key"),
        ("-----BEGIN CERTIFICATE-----\nMIIB", "file.not_csv/key"),
        ("age-encryption.org/v1\n-> X25519 a", "file.not_csv/encrypted_other"),
        ("U2FsdGVkX1+abcdef", "file.not_csv/encrypted_other"),
        ("<br />\n<b>Warning</b>: mysql_connect()", "file.not_csv/html"),
        ("<!-- saved from -->\n<html>", "file.not_csv/html"),
        ("[InternetShortcut]\nURL=https://example.org/users.csv", "file.not_csv/link"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:a", "file.not_csv/link"),
        ("Unauthorized", "file.not_csv/error"),
        ("java.lang.NullPointerException\n\tat a.b.C(C.java:1)", "file.not_csv/error"),
        ("Aucun enregistrement trouvé", "file.not_csv/error"),
        ("\x03y\x0b\x01" + "\0" * 60, "file.not_csv/database"),
    ],
)
def test_other_kinds_are_told_by_how_they_begin(engine: Engine, content: str, key: str) -> None:
    """What is no file of users at all is named."""
    assert [key] == [each.key for each in engine.file(content).refusal]


def test_a_user_without_digits_is_told_by_its_login_source(engine: Engine) -> None:
    """A first line that holds OPSCOM is a user, though it has neither address nor number."""
    assert "Line 1 is a user." in engine.file("ann,OPSCOM,Ann,Lee", "bob,OPSCOM,Bob,Roy").detail


@pytest.mark.parametrize("marks", ["''", "\u201c\u201d", "``"])
def test_names_in_other_quotation_marks_are_one_cause(engine: Engine, marks: str) -> None:
    """Where all names are in marks that CSV does not know, the answer names the mark, not each name."""
    lines = (
        ",".join(f"{marks[0]}{cell}{marks[1]}" for cell in line.split(",")) for line in ("unique_id,email", "S1,a")
    )
    assert (message("header.unknown/marks", line="1", mark=marks[0]),) == engine.file(*lines).refusal


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
    assert (
        message("header.unknown/spelling", line="1", name="Student Id", expected="Student ID"),
        message("header.unknown/spelling", line="1", name="mobile", expected="Mobile"),
    ) == engine.file("Student Id,login_source,mobile", "S1,OPSCOM,555").refusal


def test_a_mapping_to_no_attribute_is_told(engine: Engine) -> None:
    """A mapping that leads nowhere is for the operator to correct, and the answer says so."""
    result = engine.settings(columns={"Grade": "grade"}).file("unique_id,login_source,Grade", "S1,OPSCOM,x")
    assert (message("header.unknown/mapping", name="Grade", expected="grade"),) == result.refusal


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
    assert (message("header.unknown/nameless", columns="D", line="1", first="3"),) == inside.refusal
    behind = engine.file("unique_id,login_source,", "S2,OPSCOM,", "S3,OPSCOM,x")
    assert (message("header.unknown/nameless", columns="C", line="1", first="3"),) == behind.refusal
    assert ["S1"] == list(engine.users())


@pytest.mark.parametrize("blank", ["", '""', " "])
@pytest.mark.parametrize("first", [0, 1])
def test_a_nameless_column_of_row_numbers_is_told(engine: Engine, blank: str, first: int) -> None:
    """What a program that analyses data writes in front of the columns is to be left out, not named."""
    rows = (f"{number},S{number},OPSCOM,Ann,Lee,a{number}@example.org,a{number}" for number in range(first, first + 3))
    result = engine.file(f"{blank},{HEADER}", *rows)
    assert (message("header.unknown/row_numbers", line="1", first="2"),) == result.refusal


def test_row_numbers_below_a_header_without_their_column_are_told(engine: Engine) -> None:
    """R writes no name at all for them."""
    rows = [f"{number},S{number},OPSCOM,Ann,Lee,a{number}@example.org,a{number}" for number in range(1, 4)]
    assert (message("header.unknown/row_numbers", line="1", first="2"),) == engine.file(HEADER, *rows).refusal


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_header_that_is_one_name_short_is_told(engine: Engine, delimiter: str) -> None:
    """Where each row has one value more, a name is missing, and no row is what needs correcting."""
    rows = [
        f"S{number},OPSCOM,Ann,Lee,a{number}@example.org,a{number},{city}" for number, city in enumerate(("", "Hull"))
    ]
    result = engine.file(*(line.replace(",", delimiter) for line in (HEADER, "", *rows)))
    expected = message("header.unknown/too_few", line="1", count=7, width=6, delimiter=delimiter_message(delimiter))
    assert ((expected,), {}) == (result.refusal, engine.users())


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(("S1,OPSCOM,Ann,Lee,a@example.org,a,x",), id="a single row"),
        pytest.param(("S1,OPSCOM,Ann,Lee,a@example.org,a,x", "S2,OPSCOM,Ann,Lee,b@example.org,b"), id="not all"),
        pytest.param(("S1,OPSCOM,Ann,Lee,a@example.org,a,x", "S2,OPSCOM,A,B,b@example.org,b,x,"), id="different"),
    ],
)
def test_no_name_is_missing_where_rows_differ(engine: Engine, rows: tuple[str, ...]) -> None:
    """Unless all of several rows have as many values, it is the rows that need correcting."""
    assert "9003" == engine.rows(*rows).codes[2]


def test_a_header_that_is_two_names_short_is_told(engine: Engine) -> None:
    """So is one that lacks more names, if all rows have as many values."""
    rows = [f"S{n},OPSCOM,Ann,Lee,ann{n}@example.org,613-555-0101,Ottawa" for n in range(3)]
    [reason] = engine.file("unique_id,login_source,first_name,last_name,email", *rows).refusal
    assert ("header.unknown/too_few", 7, 5) == (reason.key, dict(reason.params)["count"], dict(reason.params)["width"])


def test_a_shifted_first_row_does_not_fail_the_others(engine: Engine) -> None:
    """Where each row ends with a delimiter, the one whose value was split fails alone, wherever it is."""
    rows = [f"S{n},OPSCOM,Bob,Roy,bob{n}@example.org,{n} Main St," for n in range(2, 7)]
    split = "S1,OPSCOM,Ann,Lee,ann@example.org,1 Main St, Apt 4"
    for each in ([split, *rows], [*rows, split]):
        result = engine.emptied().rows(*each, header="unique_id,login_source,first_name,last_name,email,street")
        assert (5, ["9003"]) == (result.tally.created, [*result.codes.values()])


@pytest.mark.parametrize("marks", ["«»", "\u2039\u203a", "\u2032\u2032", "\u2033\u2033", "\xb4\xb4"])
def test_names_in_marks_of_other_languages_are_one_cause(engine: Engine, marks: str) -> None:
    """The answer names the mark once, not each name."""
    names = ",".join(f"{marks[0]}{name}{marks[1]}" for name in HEADER.split(","))
    assert ["header.unknown/marks"] == [each.key for each in engine.file(names, ROW).refusal]


def test_a_mark_of_the_encoding_that_was_misread_is_no_part_of_a_name(engine: Engine) -> None:
    """The proposal is the name without it."""
    [reason] = engine.file(
        "ï»¿unique_id,login_source,first_name,last_name,email", "S1,OPSCOM,A,L,a@example.org"
    ).refusal
    assert ("header.unknown/did_you_mean", "unique_id") == (reason.key, dict(reason.params)["expected"])


@pytest.mark.parametrize("end", ["<br>", "%0A", "##", "\xb6", "~"])
def test_lines_that_end_in_other_signs_are_one_line(engine: Engine, end: str) -> None:
    """A single line with names and addresses is a whole file."""
    lines = ("unique_id,login_source,first_name,last_name,email", "S1,OPSCOM,Ann,Lee,ann@example.org", "")
    assert ["header.unknown/one_line"] == [each.key for each in engine.upload(end.join(lines).encode()).refusal]


def test_a_delimiter_at_the_end_of_each_row_makes_no_name_missing(engine: Engine) -> None:
    """What is blank in each row is no column."""
    assert 2 == engine.rows("S1,OPSCOM,A,B,a@example.org,a,", "S2,OPSCOM,A,B,b@example.org,b,").tally.created


def test_a_file_that_is_cut_off_in_its_last_row_has_a_name_missing_all_the_same(engine: Engine) -> None:
    """The last row may lack its end."""
    rows = [f"S{number},OPSCOM,Ann,Lee,a{number}@example.org,a{number},x" for number in range(3)]
    content = "\n".join((HEADER, *rows, "S9,OPS")).encode()
    assert "header.unknown/too_few" == engine.upload(content).refusal[0].key


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
    assert (message("header.unknown/tokens", name=title),) == refused.refusal
    for setting in ({"columns": {title: ""}}, {"unknown_columns": "ignore"}):
        result = engine.settings(**setting).file(f"{HEADER},{title}", "S2,X,A,B,b@example.org,,tok-2")
        assert (title, False) == (result.warnings["column.secret"].field, b"tok-2" in result.failed)


@pytest.mark.parametrize("title", ["password", "Password", "user_pwd", "Mot de passe", "passwd_hash", "PIN", "Pass"])
def test_password_columns_are_refused_with_a_sentence_of_their_own(engine: Engine, title: str) -> None:
    """A column of passwords refuses the file: passwords are never imported."""
    result = engine.file(f"{HEADER},{title}", f"{ROW},hunter2")
    assert (message("header.unknown/passwords", name=title),) == result.refusal


def test_secrets_are_left_out_of_everything_sent_back(engine: Engine) -> None:
    """Columns of tokens, and of passwords where unknown columns are ignored, are told, never stored, never echoed."""
    engine.settings(unknown_columns="ignore")
    result = engine.file(f"apiToken,{HEADER},password", f"tok-1,{ROW},hunter2", "tok-2,S2,X,,,,,hunter3")
    assert {"apiToken", "password"} == {each.field for each in result.receipt.warnings}
    assert "has passwords or tokens. We did not store them" in result.text
    assert "change the passwords or tokens" in result.text
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
    assert "We left out " in result.reasons[2]
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


def test_boxes_of_a_report_are_told_apart_from_columns(engine: Engine) -> None:
    """Nobody gave them a name in the report, so none can be proposed."""
    result = engine.file("unique_id1,Textbox12,Bus,Textbox3", "S1,a,b,c")
    assert [
        message("header.unknown/did_you_mean", line="1", name="unique_id1", expected="unique_id"),
        message("header.unknown/boxes", names=("Textbox12", "Textbox3")),
        message("header.unknown/strange", names=("Bus",)),
    ] == [*result.refusal]
