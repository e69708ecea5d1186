"""Damage that programs do to values: what fails its row, and what is told."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from tests.engine import Engine, Result

COLUMNS = "unique_id,login_source,first_name,last_name,email"


def one(engine: Engine, unique_id: str) -> Result:
    """Import a user with this id."""
    quoted = unique_id.replace('"', '""')
    return engine.file(COLUMNS, f'"{quoted}",OPSCOM,Ann,Lee,ann@example.org')


# -- ids -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        *("undefined", "nan", "NaN", "NA", "unknown", "Unknown", "TBD", "?", "#", "[object Object]", "TRUE", "pending"),
        *("n/d", "S/O", "[NULL]", "<null>", "(none)", "DBNull", "Not assigned", "aucun", "null null", "...", "?????"),
        *("{{id}}", "${id}", "1.#IND", "-nan(ind)", "Infinity", "00000000-0000-0000-0000-000000000000"),
        *(
            "Loading...",
            "wird geladen...",
            "WAHR",
            "n/c",
            "N.A",
            "n.d.",
            "TBC",
            "Nothing",
            "NoneType",
            "See office",
            "not enrolled",
            "Sans objet",
            "%id%",
            "<id>",
        ),
        *("[object Promise]", "System.Int32", "Error 2042", "(auto)", "<generated>", "<DBNULL>", "[unique_id]"),
        *("$unique_id", ":unique_id", "@unique_id", "{00000000-0000-0000-0000-000000000000}"),
    ],
)
def test_a_word_is_not_an_id(engine: Engine, value: str) -> None:
    """What programs write where they have no id fails the row, and the answer says what it is."""
    result = one(engine, value)
    assert {2: "9033"} == result.codes
    assert f'unique_id has "{value}", which is not a unique_id.' in result.reasons[2]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("123456.0", 'has "123456.0", a number that a program wrote with .0 at its end. Enter the number without .0'),
        ("00123.00", 'has "00123.00", a number that a program wrote with .0'),
        ("123456,0", 'has "123456,0", a number that a program wrote with .0'),
        ("1,234", 'has "1,234", a number with a comma between its thousands. Enter the number without commas.'),
        ("12,345,678", "a number with a comma between its thousands"),
        *((value, "a number with signs between its thousands") for value in ("1'234", "12\u2019345", "1.234,00")),
        *((value, "a number with spaces between its thousands") for value in ("1\u00a0234", "1\u2009234\u2009567")),
        ("1,234.00", "a number with a comma between its thousands"),
        ("$1,234", 'has "$1,234", a number with a sign that a spreadsheet added. Enter the number alone.'),
        *((value, "a number with a sign that a spreadsheet added") for value in ("12%", "1234 €", "£1234", "(1234)")),
    ],
)
def test_an_id_that_a_program_wrote_as_a_number_fails(engine: Engine, value: str, reason: str) -> None:
    """An id with decimals or thousands apart would become another user."""
    result = one(engine, value)
    assert {2: "9033"} == result.codes
    assert reason in result.reasons[2]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("2-Jan", "date"),
        ("Mar-15", "date"),
        ("2-Jan-15", "date"),
        ("2-janv", "date"),
        ("2-févr.", "date"),
        *((value, "date") for value in ("01.02.2003", "2. Mrz", "02. Jan", "Okt 15", "3-Dez")),
        ("2015-03-01 00:00:00", "date"),
        ("3/1/2015", "date"),
        ("12 345", "spaces"),
        ("1234567890123450", "digits"),
        ("1234567890123450000", "digits"),
    ],
)
def test_an_id_that_may_be_meant_is_told(engine: Engine, value: str, key: str) -> None:
    """A date, spaces, or zeros at the end of a long number are stored, with a warning that has line and field."""
    result = one(engine, value)
    warning = result.warnings["value.damaged"]
    assert (f"value.damaged/{key}", "unique_id", (2,), 1) == (
        warning.reason.key,
        warning.field,
        warning.lines,
        warning.rows,
    )
    assert [value] == [*engine.column("email")]


@pytest.mark.parametrize(
    "value", ["NEW", "New", "temp", "Test", "0", "00000", "9999999", "-1", "ND", "nc", "deleted", "Sample", "idem"]
)
def test_what_is_hardly_an_id_is_told(engine: Engine, value: str) -> None:
    """It could be that of an account, so it is stored, and the answer says what to do with the user."""
    result = one(engine, value)
    assert ({}, [value]) == (result.codes, [*engine.users()])
    assert ["value.placeholder/id"] == [each.reason.key for each in result.receipt.warnings]
    assert "write to us to remove the user whom the file has made" in result.text


@pytest.mark.parametrize(
    "value",
    ["Nan01", "nAn", "UNIT-2", "S1.0", "12.05", "12,34", "1234,567", "JAN15", "2-JAN", "2-1", "K1A 0B1", "123450000"],
)
def test_ids_that_only_look_like_damage(engine: Engine, value: str) -> None:
    """An id that no program made is taken without a word."""
    assert ({}, {}) == (one(engine, value).codes, one(engine, value).warnings)


def test_long_ids_that_end_in_zeros_among_others(engine: Engine) -> None:
    """Where one long id has all its digits those that end in zeros are right, also in the next file."""
    rows = [f"{10**15 + number},OPSCOM,Ann,Lee,a{number}@example.org" for number in range(30)]
    assert {} == engine.file(COLUMNS, *rows).warnings
    rows[4] = rows[4].replace("Ann", "Eva")
    again = engine.file(COLUMNS, *rows)
    assert (1, {}) == (again.tally.updated, again.warnings)


def test_other_numbers_with_decimals_are_told(engine: Engine) -> None:
    """A phone number that went through a program for numbers is stored with a warning."""
    result = engine.file(f"{COLUMNS},phone_cell", "S1,OPSCOM,Ann,Lee,ann@example.org,6135550100.0")
    warning = result.warnings["value.damaged"]
    assert ("value.damaged/decimal", "phone_cell") == (warning.reason.key, warning.field)
    assert "6135550100.0" == engine.column("phone_cell")["S1"]


@pytest.mark.parametrize("name", ["student_no", "employ_no"])
@pytest.mark.parametrize(
    ("value", "key"),
    [("2-Jan", "date"), ("1/2/2026", "date"), ("10:30", "date"), ("12 345", "spaces"), ("1,234", "number")],
)
def test_other_numbers_of_people_are_told(engine: Engine, name: str, value: str, key: str) -> None:
    """What a spreadsheet makes of the number of a student or an employee is stored with a warning."""
    result = engine.file(f"{COLUMNS},{name}", f'S1,OPSCOM,Ann,Lee,ann@example.org,"{value}"')
    warning = result.warnings["value.damaged"]
    assert (f"value.damaged/{key}", name, (2,)) == (warning.reason.key, warning.field, warning.lines)


# -- words in place of a value -------------------------------------------------------------------------------------


NO_VALUES = [
    *("undefined", "Unknown", "INCONNU", "inconnue", "NaN", "[object Object]", "?", "#", "...", "!!!", ".", "n/d"),
    *("(aucun)", "(blank)", "(vide)", "<NA>", "[NULL]", "<null>", "Not available", "not assigned", "(none)", "XXXX"),
    *("à déterminer", "null null", "undefined undefined", "{{name}}", "no name", "unassigned", "Non disponible"),
]
NO_NAMES = [
    "Vacant",
    "DO NOT USE",
    "No First Name",
    "not provided",
    "sans nom",
    "TBD",
    "tba",
    "aucun",
    "Aucune",
    "To be determined",
    "S/O",
    "System.Object",
    "DBNull",
    "FNU",
    "LNU",
]
NO_NUMBERS = ["TBD", "FALSE", "no", "0", "000000", "x", "pending", "undef"]
NO_PHONES = ["000-000-0000", "(999) 999-9999", "5555555555", "111-111-1111", "123-456-7890", "+1 000 000 0000"]
NAMES = ["Nan", "True", "Na", "Nd", "Al", "Blank", "So", "Vide", "Test", "X", "Void", "Inc.", "Unger", "Noone", "Nils"]


@pytest.mark.parametrize(
    ("attribute", "words"),
    [
        ("last_name", NO_VALUES + NO_NAMES),
        ("city", NO_VALUES),
        ("phone_cell", NO_VALUES + NO_NUMBERS + NO_PHONES),
        ("student_no", NO_VALUES + NO_NUMBERS),
        ("user_name", NO_VALUES),
    ],
)
def test_a_word_for_no_value_is_told(engine: Engine, attribute: str, words: list[str]) -> None:
    """What programs and people write where they have no value is stored with a warning; there are more in names."""
    user = {"last_name": "Lee", "city": "Ottawa", "phone_cell": "613-555-0101", "student_no": "7", "user_name": "alee"}
    header = "unique_id,login_source,first_name,email," + ",".join(user)
    for word in words:
        row = "S1,OPSCOM,Ann,ann@example.org," + ",".join((user | {attribute: word}).values())
        warning = engine.emptied().file(header, row).warnings["value.placeholder"]
        assert (attribute, 1, (2,)) == (warning.field, warning.rows, warning.lines), word


@pytest.mark.parametrize(("name", "value"), [("phone_cell", "000-000-0000"), ("student_no", "0")])
def test_a_number_of_nobody_is_told_as_one(engine: Engine, name: str, value: str) -> None:
    """It is no word, and the answer says so in both languages."""
    engine.settings(language=("en", "fr"))
    result = engine.file(f"{COLUMNS},{name}", f"S1,OPSCOM,Ann,Lee,ann@example.org,{value}")
    assert "value.placeholder/number" == result.warnings["value.placeholder"].reason.key
    assert f"{name} has a number such as 0 or 000-000-0000" in result.text
    assert f"{name} contient un numéro comme 0 ou 000-000-0000" in result.text.replace("\n  ", "")


def test_names_that_are_words_are_names(engine: Engine) -> None:
    """People are called so."""
    rows = [f"S{n},OPSCOM,Ann,{name},ann{n}@example.org" for n, name in enumerate(NAMES)]
    assert {} == engine.file(COLUMNS, *rows).warnings


@pytest.mark.parametrize("value", ["unknown", "TBD", "?", "inconnu", "n/d", "undefined"])
def test_a_word_for_no_date_is_answered_with_a_blank_cell(engine: Engine, value: str) -> None:
    """The remedy is not to write the word as a date."""
    result = engine.file(f"{COLUMNS},date_of_birth", f"S1,OPSCOM,Ann,Lee,ann@example.org,{value}")
    assert "Empty the cell." in result.reasons[2]


@pytest.mark.parametrize("value", ["1901-01-01", "1904-01-01", "1911-11-11"])
def test_a_day_of_birth_of_nobody_who_lives_is_told(engine: Engine, value: str) -> None:
    """Nobody is so old: the day has another meaning."""
    result = engine.file(f"{COLUMNS},date_of_birth", f"S1,OPSCOM,Ann,Lee,ann@example.org,{value}")
    warning = result.warnings["value.placeholder"]
    assert ("value.placeholder/old", (2,)) == (warning.reason.key, warning.lines)


# -- marks ---------------------------------------------------------------------------------------------------------

MARKED = [
    *("'00123'", '"A1"', "“A1”", "„A1“", "\u2018A1\u2019", "«A1»", 'A1"', r"O\'Brien", r"A\"B"),
    *("\u2039A1\u203a", "\xb4A1\xb4", "`A1`"),
    *("\u2032A1\u2032", "\u2033A1\u2033", "b'A1'", "['A1']", '("A1",)', '{"A1"}', "''A1''"),
]


@pytest.mark.parametrize("value", [*MARKED, "'00123", "A1'", "A1\u2019", "“A1"])
@pytest.mark.parametrize("attribute", ["unique_id", "user_name"])
def test_marks_in_what_identifies_a_user_fail_the_row(engine: Engine, attribute: str, value: str) -> None:
    """Quotation marks around an id or a user name, or a backslash before one, would make another user of it."""
    user = {"unique_id": "S1", "user_name": "ann", attribute: value}
    cells = (f'"{each}"' for each in (text.replace('"', '""') for text in user.values()))
    result = engine.file(
        f"{','.join(user)},{COLUMNS.partition(',')[2]}", f"{','.join(cells)},OPSCOM,Ann,Lee,a@example.org"
    )
    assert {2: "9033"} == result.codes
    assert f'{attribute} has "{value}", with quotation marks or a \\ that we do not expect.' in result.reasons[2]


@pytest.mark.parametrize("value", ["'ann@example.org", "'ann@example.org'", "“ann@example.org”"])
def test_marks_around_an_address_fail_the_row(engine: Engine, value: str) -> None:
    """An address in quotation marks is not one."""
    result = engine.file(COLUMNS, f"S1,OPSCOM,Ann,Lee,{value}")
    assert "email has" in result.reasons[2]
    assert "with quotation marks" in result.reasons[2]


@pytest.mark.parametrize(
    "value",
    [*(each for each in MARKED if each != 'A1"'), "'00123", "“Lee", "Lee”", 'Lee"', '"Lee', "O''Brien"],
)
def test_marks_around_other_values_are_told(engine: Engine, value: str) -> None:
    """Elsewhere they are stored, with a warning that has line and field."""
    quoted = value.replace('"', '""')
    result = engine.file(COLUMNS, f'S1,OPSCOM,Ann,"{quoted}",ann@example.org')
    assert ("last_name", 1, (2,)) == (
        result.warnings["value.marks"].field,
        result.warnings["value.marks"].rows,
        result.warnings["value.marks"].lines,
    )
    assert value == engine.column("last_name")["S1"]


@pytest.mark.parametrize(
    "value",
    [
        "'s-Gravendijk",
        "'t Hooft",
        "O\u2019Neill",
        "D'",
        'Will "Bill" Lee',
        "Will “Bill” Lee",
        "\u2018Abd",
        "Ka\u2018imi",
        "O\xb4Brien",
        "Keali`i",
    ],
)
def test_marks_that_belong_to_a_name(engine: Engine, value: str) -> None:
    """An apostrophe at the front of a name, and a nickname in quotation marks, are names."""
    quoted = value.replace('"', '""')
    assert {} == engine.file(COLUMNS, f'S1,OPSCOM,Ann,"{quoted}",ann@example.org').warnings


# -- words and days for what is not known, and values in the wrong place ---------------------------------------------


def test_the_day_of_a_program_is_told(engine: Engine) -> None:
    """1900-01-01 is stored with a warning, 1970-01-01 once five people have it."""
    days = [*["1970-01-01"] * 4, "1900-01-01", "1999-12-31"]
    rows = [f"S{n},OPSCOM,Ann,Lee,a{n}@example.org,{day}" for n, day in enumerate(days)]
    warnings = engine.file(f"{COLUMNS},date_of_birth", *rows).receipt.warnings
    assert [("value.placeholder/day", (6,))] == [(each.reason.key, each.lines) for each in warnings]
    rows.append("S9,OPSCOM,Ann,Lee,a9@example.org,1970-01-01")
    warnings = engine.file(f"{COLUMNS},date_of_birth", *rows).receipt.warnings
    assert ("value.placeholder/epoch", (2, 3, 4, 5, 8)) == (warnings[0].reason.key, warnings[0].lines)
    assert "date_of_birth" == warnings[0].field


def born(engine: Engine, *days: str) -> Result:
    """Import users born on these days."""
    rows = [f"S{n},OPSCOM,Ann,Lee,a{n}@example.org,{day}" for n, day in enumerate(days)]
    return engine.file(f"{COLUMNS},date_of_birth", *rows)


def distinct(count: int) -> list[str]:
    """Return so many days of birth, no two of them alike."""
    return [f"{date(1990, 1, 1) + timedelta(days=number)}" for number in range(count)]


@pytest.mark.parametrize(
    ("rows", "of"), [(5, 5), (5, 8), (6, 12), (10, 60), (10, 500), (20, 1000), (40, 2000)], ids=lambda each: f"{each}"
)
def test_a_day_that_many_people_have_is_told(engine: Engine, rows: int, of: int) -> None:
    """A date of birth that is repeated more often than people are born together is stored with a warning."""
    result = born(engine, *distinct(of - rows), *["2000-01-01"] * rows)
    (warning,) = result.receipt.warnings
    assert ("value.placeholder/common_day", "date_of_birth", rows) == (warning.reason.key, warning.field, warning.rows)
    assert tuple(range(of - rows + 2, of + 2))[:10] == warning.lines
    assert "2000-01-01" not in result.text


def test_a_day_that_many_people_have_is_told_beside_two_columns_of_one_attribute(engine: Engine) -> None:
    """The rows of such a file are looked at one by one, and their days are counted all the same."""
    rows = [f"S{n},OPSCOM,Ann,Lee,a{n}@example.org,2000-01-01,ON,ON" for n in range(6)]
    rows += ["S8,OPSCOM,Ann,Lee,a8@example.org,1999-01-01,ON,QC", "S9,OPSCOM,Ann,Lee,a9@example.org,,ON,ON"]
    warnings = engine.file(f"{COLUMNS},date_of_birth,province,state", *rows).receipt.warnings
    assert {"columns.disagree": 1, "value.placeholder/common_day": 6} == {
        each.reason.key: each.rows for each in warnings
    }


@pytest.mark.parametrize(("rows", "of"), [(4, 4), (5, 11), (9, 60), (19, 1000), (39, 2000)], ids=lambda each: f"{each}")
def test_a_day_that_some_people_have_is_not_told(engine: Engine, rows: int, of: int) -> None:
    """As many as this may be born on one day."""
    assert {} == born(engine, *distinct(of - rows), *["2000-01-01"] * rows).warnings


def test_only_new_and_changed_users_count_for_a_common_day(engine: Engine) -> None:
    """What stood the same before is no reason: the same file again is not told, four more of that day are not."""
    days = [*distinct(3), *["2000-01-01"] * 8]
    assert {"value.placeholder"} == {*born(engine, *days).warnings}
    assert {} == born(engine, *days).warnings
    assert {} == born(engine, *days, *["2000-01-01"] * 4).warnings
    assert {"value.placeholder"} == {*born(engine, *days, *["2000-01-01"] * 9).warnings}


def test_two_days_that_many_people_have_are_one_warning(engine: Engine) -> None:
    """Together with the day that programs have the answer has two."""
    result = born(engine, *(["2000-01-01", "1999-01-01"] * 10), *["1900-01-01"] * 3)
    keys = [(each.reason.key, each.rows) for each in result.receipt.warnings]
    assert [("value.placeholder/day", 3), ("value.placeholder/common_day", 20)] == keys


@pytest.mark.parametrize(
    "value",
    [
        *("0000-00-00", "00/00/0000", "0001-01-01", "0", "00000000", "0000-00-00 00:00:00", "1899-12-30", "1753-01-01"),
        *("1900-01-00", "9999-12-31", "00.00.0000", "1900-00-00", "9999-99-99", "1111-11-11"),
    ],
)
def test_a_day_that_none_is_is_answered_with_a_blank_cell(engine: Engine, value: str) -> None:
    """What a database has for no day fails the row, and the remedy is to empty the cell."""
    result = engine.file(f"{COLUMNS},date_of_birth", f"S1,OPSCOM,Ann,Lee,ann@example.org,{value}")
    assert "Empty the cell." in result.reasons[2]


@pytest.mark.parametrize(
    "value",
    ["rené@example.org", "o\u2019neil@example.org", "a@example\uff0eorg", "a@ex\u0430mple.org"],
)
def test_letters_that_few_addresses_have_are_told(engine: Engine, value: str) -> None:
    """Accents and curly apostrophes in an address are stored with a warning; a domain may have accents."""
    result = engine.file(COLUMNS, f"S1,OPSCOM,Ann,Lee,{value}", "S2,OPSCOM,Ann,Lee,ann@école.example.org")
    assert ("email", (2,)) == (result.warnings["email.letters"].field, result.warnings["email.letters"].lines)


@pytest.mark.parametrize(
    "value",
    [
        *("none@none.com", "noemail@school.ca", "noreply@school.ca", "no_reply@school.ca"),
        *("no.mail@school.ca", "a@na.na", "test@test.com", "ann@noemail.com", "x@xxx.com"),
        *("temp@temp.ca", "x@x.com", "zzz@zzz.zz"),
    ],
)
def test_an_address_of_nobody_is_told(engine: Engine, value: str) -> None:
    """What people enter who have no address is stored with a warning."""
    warnings = engine.file(COLUMNS, f"S1,OPSCOM,Ann,Lee,{value}").receipt.warnings
    assert [("value.placeholder/address", "email", (2,))] == [
        (each.reason.key, each.field, each.lines) for each in warnings
    ]


@pytest.mark.parametrize(
    "value",
    [
        "nora@example.org",
        "no@school.ca",
        "noel.reply@x.ca",
        "mail@unknown.example.org",
        "norm@testing.com",
        "ann@q.com",
    ],
)
def test_an_address_that_only_looks_like_nobodys(engine: Engine, value: str) -> None:
    """People are called Nora."""
    assert () == engine.file(COLUMNS, f"S1,OPSCOM,Ann,Lee,{value}").receipt.warnings


@pytest.mark.parametrize(
    "value",
    [
        "ann@example.org",
        "12345",
        "613-555-0101",
        "(613) 555-0101",
        "+1 613 555 0101",
        "Ann <a@example.org>",
        "#12",
        "12 Main St",
        "S0009",
        "2-Mar",
        "S2",
        "ab-7",
        "http://example.org",
        "www.example.org",
    ],
)
@pytest.mark.parametrize("attribute", ["first_name", "last_name"])
def test_an_address_or_a_number_is_not_a_name(engine: Engine, attribute: str, value: str) -> None:
    """It is stored with a warning that has line and field."""
    names = {"first_name": "Ann", "last_name": "Lee", attribute: value}
    result = engine.file(COLUMNS, f"S1,OPSCOM,{names['first_name']},{names['last_name']},a@example.org")
    warning = result.warnings["name.doubtful"]
    assert (attribute, 1, (2,)) == (warning.field, warning.rows, warning.lines)


def test_what_to_write_for_a_person_with_one_name(engine: Engine) -> None:
    """The answer about a missing name says what to do if there is none."""
    result = engine.file(COLUMNS, "S1,OPSCOM,Sukarno,,s@example.org", "S2,OPSCOM,,Teller,t@example.org")
    told = "if it is in {}, move it; if there is only one name, enter it in both columns."
    reasons = zip(("first_name", "last_name"), result.reasons.values(), strict=True)
    assert [True, True] == [told.format(other) in reason for other, reason in reasons]


# -- letters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("Ren√©", ""),
        ("Zo茅", ""),
        ("Hﾃｩlﾃｨne", ""),
        ("Zoe \u0301", ""),
        ("Ren├®", ""),
        ("Ren├⌐", ""),
        ("RenĂ©", ""),
        ("DÔÇÖArcy", ""),
        ("Ren&eacute;", "/markup"),
        ("O&#39;Brien", "/markup"),
        ("1 Main<br/>Apt 2", "/markup"),
        ("<b>Ann</b>", "/markup"),
        (r"Ren\u00e9", "/escaped"),
        ("Ren=C3=A9", "/escaped"),
        ("Ren%C3%A9", "/escaped"),
        ("O%27Brien", "/escaped"),
        ("Ren+AOk-", "/escaped"),
        ("Ren+AOk", "/escaped"),
        (r"Ren\351", "/escaped"),
        ("Ren%u00e9", "/escaped"),
        ("Ren%E9", "/escaped"),
        ("Ren=E9e", "/escaped"),
        ("Ren<U+00E9>", "/escaped"),
        ("Ren<e9>e", "/escaped"),
        (r"12 Main St\nOttawa", "/escaped"),
        ("=?utf-8?B?UmVuw6k=?=", "/escaped"),
        (r"Ren\u{e9}", "/escaped"),
        (r"O\/Brien", "/escaped"),
        ("Zo_x00EB_", "/escaped"),
        ("茅ric", ""),
        ("Ren&eacute", "/markup"),
        ("<![CDATA[Ann]]>", "/markup"),
        ("Nguyá»…n", ""),
        ("Tráº§n", ""),
        ("Ð\u02dcÐ\xb2Ð°Ð½", ""),
        ("Ù…Ø\xadÙ…Ø¯", ""),
        ("çŽ\u2039ä¼Ÿ", ""),
        ("Ren\u0419", ""),
        ("Franã§Ois", "/older"),
        ("Renã©e", "/older"),
        ("M\xb3ller", "/older"),
        ("Bj÷rk", "/older"),
        ("OÆBrien", "/older"),
        ("GagnÃ", "/older"),
        ("ZoÇ", "/older"),
        ("LÇvesque", "/older"),
        ("BÄlanger", "/older"),
        ("Èâàíîâ", ""),
        ("Èâàí", ""),
        ("Ðáðáäüðïõëïò", ""),
        ("ùøä", ""),
        ("йЧБО", ""),
        ("Хвяхђ№ютр", ""),
        ("йѓъшэр", ""),
        ("Zoรฉ", ""),
        ("AnnÂ Lee", "/older"),
        ("Rene\xb4", "/older"),
        ("RenÚ", "/older"),
        ("Fran*ois", "/lost"),
        ("Fran#ois", "/lost"),
        ("Fran_ois", "/lost"),
        ("C^ote", "/lost"),
        ("\uf0b7Ann", "/lost"),
        ("An\u200bn", "/invisible"),
        ("An\ufeffn", "/invisible"),
        ("An\u200en", "/invisible"),
        ("Ren?", "/lost"),
        ("?lise", "/lost"),
        ("Ren□", "/lost"),
        ("C¿t¿", "/lost"),
        ("\u202eeeL", "/invisible"),
        ("Mar\u00adtin", "/invisible"),
    ],
)
def test_spoiled_letters_are_told(engine: Engine, value: str, key: str) -> None:
    """Letters that a program spoiled are stored with a warning that has line and field, in each family."""
    result = engine.file(COLUMNS, f"S1,OPSCOM,{value},Lee,ann@example.org")
    warning = result.warnings["encoding.garbled"]
    assert (f"encoding.garbled{key}", "first_name", (2,), 1) == (
        warning.reason.key,
        warning.field,
        warning.lines,
        warning.rows,
    )
    assert value == engine.column("first_name")["S1"]


@pytest.mark.parametrize(
    "value",
    ["Ren\u201a", "C“t\u201a", "H\u201alŠne", "Fran‡ois", "L¢pez", "Pe¤a", "BenoŒt", "Lo\u2039c", "JoÆo", "K”nig"],
)
def test_letters_of_dos_that_windows_read_are_told(engine: Engine, value: str) -> None:
    """Letters of code page 850 as Windows-1252 has them are signs, or capitals behind a small letter."""
    warning = engine.file(COLUMNS, f"S1,OPSCOM,{value},Lee,ann@example.org").warnings["encoding.garbled"]
    assert ("encoding.garbled/older", "first_name", 1) == (warning.reason.key, warning.field, warning.rows)


@pytest.mark.parametrize(
    "value", ["AndrŽ", "C™tŽ", "LŽa", "Ch‰teau", "Fran\u008dois", "Lo•c", "No\u2018l", "ƒMILE", "DÕARCY"]
)
def test_letters_of_a_mac_that_windows_read_are_told(engine: Engine, value: str) -> None:
    """So are those of Mac Roman; what becomes a control character fails its row."""
    result = engine.file(COLUMNS, f"S1,OPSCOM,{value},Lee,ann@example.org")
    assert "encoding.garbled" in result.warnings or "has a damaged letter" in result.reasons[2]


@pytest.mark.parametrize(
    "value",
    [
        *(
            "Mu\u2013oz",
            "Nu\u2013ez",
            "Garc\u2019a",
            "Mart\u2019n",
            "Rodr\u2019guez",
            "Joaqu\u2019n",
            "R\u2019os",
            "Zo\u2018",
        ),
        *("J\u0161rg", "M\u0161ller", "Schr\u0161der", "Ao\u017et", "Jes\u0153s", "Ra\u0153l", "çngel"),
        *("RenÈ", "NoÎl", "HÈlËne", "FranÁois", "CÙtÈ", "BenoÓt", "M\xb8ller", "Hern\xb7ndez", "Ra\u02d9l"),
    ],
)
def test_one_letter_in_the_wrong_code_page_is_told(engine: Engine, value: str) -> None:
    """A sign or letter that is right elsewhere is found where no name has it, if it is the only one of the file."""
    rows = [f"S1,OPSCOM,{value},Lee,ann@example.org", "S2,OPSCOM,Bob,Roy,bob@example.org"]
    warning = engine.file(COLUMNS, *rows).warnings["encoding.garbled"]
    assert ("encoding.garbled/older", "first_name", 1) == (warning.reason.key, warning.field, warning.rows)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "Qu\u2019Appelle",
            "Sa\u2019id",
            "N\u2019Diaye",
            "M\u2019hamed",
            "Xi\u2019an",
            "Val-d\u2019Or",
            "D\u2019Angelo",
        ),
        *(
            "Jean\u2013Luc",
            "Dušan",
            "Pšenička",
            "Vršič",
            "Koštál",
            "Božena",
            "Schœn",
            "Phœbé",
            "Nœud",
            "Ça va",
            "ça va",
        ),
        *("Uí hÓgáin", "MacÍomhair", "Gal\xb7la", "Île-aux-Noix", "Brooklyn\u2013to\u2013Queens", "DeÂngelis"),
        *(
            "Šárka",
            "Žofie",
            "Œuvray",
            "Ægir",
            "Cœur",
            "Ka\u2018imi",
            "O\u2019Neill",
            "Lebœuf",
            "McŁ",
            "Ćwik",
            "ŠŤASTNÝ",
        ),
        *(
            "ÖÆ",
            "Rivière\u2013du\u2013Loup",
            "Voilà…",
            "Suite «\u00a0B\u00a0»",
            "N°\u00a05",
            "10\u00a0€",
            "Will „Bill“ Lee",
            "SIMÕES",
        ),
    ],
)
def test_letters_that_are_right_where_they_are(engine: Engine, value: str) -> None:
    """The same signs and capitals in their own place are stored without a word."""
    assert {} == engine.file(f"{COLUMNS},street", f"S1,OPSCOM,Ann,Lee,ann@example.org,{value}").warnings


@pytest.mark.parametrize(
    ("attribute", "value", "key"),
    [
        ("unique_id", "Ren&eacute;1", "/markup"),
        ("unique_id", "Ren\u201a1", "/older"),
        ("unique_id", "A%20B1", "/escaped"),
        ("unique_id", "√©1", ""),
        ("user_name", "ren?", "/lost"),
        ("user_name", "ren=C3=A9", "/escaped"),
        ("user_name", "ren+AOk-", "/escaped"),
        ("email", "o%27brien@example.org", "/escaped"),
        ("email", "ren+AOk-@example.org", "/escaped"),
        ("email", "ren?@example.org", "/lost"),
        ("email", "renÃ©@example.org", ""),
    ],
)
def test_spoiled_letters_in_what_identifies_a_user_are_told(
    engine: Engine, attribute: str, value: str, key: str
) -> None:
    """Ids, user names and addresses are stored as they are as well, with a warning that has line and field."""
    user = {"unique_id": "S1", "user_name": "ann", "email": "ann@example.org", attribute: value}
    result = engine.file(
        "login_source,first_name,last_name," + ",".join(user), "OPSCOM,Ann,Lee," + ",".join(user.values())
    )
    warning = result.warnings["encoding.garbled"]
    assert (f"encoding.garbled{key}", attribute, (2,), 1) == (
        warning.reason.key,
        warning.field,
        warning.lines,
        warning.rows,
    )
    assert [value] == list({*engine.users()} if attribute == "unique_id" else engine.column(attribute).values())


@pytest.mark.parametrize("value", ["ann+alumni-2@example.org", "ann+ALUMNI-2@example.org", "ann%b@example.org"])
def test_addresses_that_only_look_spoiled(engine: Engine, value: str) -> None:
    """What an address may have in front of its @ is stored without a word."""
    assert {} == engine.file(COLUMNS, f"S1,OPSCOM,Ann,Lee,{value}").warnings


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("ann%40example.org", "a code or another sign in place of @, such as %40 or (at). Enter @."),
        ("ann(at)example.org", "in place of @"),
        ("ann[at]example.org", "in place of @"),
        ("ann\uff20example.org", "in place of @"),
        ("ann@example.org (home)", "email has more than the address. Enter the address alone."),
        ("http://ann@example.org", "email has more than the address. Enter the address alone."),
        ("ann@example dot org", "Enter an address such as name@example.org."),
        ("o&#39;neil@example.org", "email has a code of a web page, such as &amp; or &#39;."),
    ],
)
def test_an_address_that_a_program_wrote_in_codes_fails(engine: Engine, value: str, told: str) -> None:
    """Where that makes it no address the answer names the cause."""
    result = engine.file(COLUMNS, f"S1,OPSCOM,Ann,Lee,{value}")
    assert {2: "9033"} == result.codes
    assert told in result.reasons[2]


@pytest.mark.parametrize("value", ["Smith & Co", "A&W; B", "Lăşcău", "VĹČA", "Jean+Luc", "Ann (?)", "a < b"])
def test_letters_that_only_look_spoiled(engine: Engine, value: str) -> None:
    """What people write is stored without a word."""
    assert {} == engine.file(COLUMNS, f"S1,OPSCOM,Ann,{value},ann@example.org").warnings


@pytest.mark.parametrize(
    "row", ["“S1”,OPSCOM,“Ann”,“Lee, Jr.”", "'S1','OPSCOM','Lee, Jr.','Ann'", "S1,x,« Lee, Jr. »,Ann"]
)
def test_a_value_that_is_split_between_other_marks_names_them(engine: Engine, row: str) -> None:
    """Only straight double marks keep a delimiter inside a value."""
    engine.settings(required=())
    rows = (row, "S2,OPSCOM,O'Neil,'t Hooft,Ann", "S3,OPSCOM,Lee,Ann")
    result = engine.rows(*rows, header="unique_id,login_source,last_name,first_name")
    assert {2: "9003/marks", 3: "9003/more"} == {each.first_line: each.reason.key for each in result.receipt.problems}
    assert 'Set the export to quote values with " only.' in result.reasons[2]


# -- letters in place of which another sign is -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["Fran_ois", "Fran/ois", "Fran!ois", "Andr_", "_lodie", "L~vesque", "Fran__ois", "Fran$ois"]
)
def test_signs_in_place_of_letters_are_told(engine: Engine, value: str) -> None:
    """A program that could not write a letter wrote a sign, which no name has there."""
    warning = engine.file(COLUMNS, f"S1,OPSCOM,{value},Lee,ann@example.org").warnings["encoding.garbled"]
    assert ("encoding.garbled/lost", "first_name", (2,)) == (warning.reason.key, warning.field, warning.lines)


def test_dots_in_place_of_letters_are_told_if_several_rows_have_some(engine: Engine) -> None:
    """A dot inside a name may be a slip in one row; in several it is in place of letters."""
    names = ["Fran.ois", "Ann", "L.vesque", "H..l.ne", "Fr..d", "St. John", "J.P.", "Jr.", "M.A.Roy"]
    rows = [f"S{at},OPSCOM,{name},Lee,a{at}@example.org" for at, name in enumerate(names)]
    warning = engine.file(COLUMNS, *rows).warnings["encoding.garbled"]
    assert ("encoding.garbled/dots", (2, 4, 5, 6)) == (warning.reason.key, warning.lines)
    assert {} == engine.emptied().file(COLUMNS, *rows[:2]).warnings


@pytest.mark.parametrize("value", ["\uff11\uff12\uff13\uff14", "S\uff11\uff10", "\uff33100"])
def test_full_width_characters_in_an_id_fail(engine: Engine, value: str) -> None:
    """An Asian keyboard writes other digits, which make another user of the same person."""
    result = one(engine, value)
    assert {2: "9033"} == result.codes
    assert f'unique_id has "{value}" in full-width digits or letters.' in result.reasons[2]


def test_full_width_characters_elsewhere_are_told(engine: Engine) -> None:
    """They are stored, with a warning."""
    result = engine.file(f"{COLUMNS},phone_cell", "S1,OPSCOM,Ann,Lee,ann@example.org,\uff16\uff11\uff13-555-0199")
    assert ["value.damaged/full_width"] == [each.reason.key for each in result.receipt.warnings]


@pytest.mark.parametrize("value", ["Anne Roy", "Roy, Anne", "Mary-Ann O'Neil", "DE LA CRUZ"])
def test_words_in_place_of_an_id_are_told(engine: Engine, value: str) -> None:
    """A name in the column of ids is stored, as somebody may have such ids, with a warning."""
    result = one(engine, value)
    assert ["value.placeholder/id_words"] == [each.reason.key for each in result.receipt.warnings]


@pytest.mark.parametrize("value", ["Anne", "a.roy", "S 100", "K1A 0B1", "Room 5", "MAIN OFFICE 2"])
def test_words_that_may_be_an_id(engine: Engine, value: str) -> None:
    """A single word and words with a number are taken without a word."""
    assert {} == one(engine, value).warnings


def test_codes_of_letters_are_told_once(engine: Engine) -> None:
    """A sign that belongs to a code is not taken for one in place of a letter as well."""
    for first in ("A&lt;b&gt;n", "Ren&#233;e"):
        result = engine.emptied().file(COLUMNS, f"S1,OPSCOM,{first},Fran%C3%A7ois,ann@example.org")
        keys = [(each.reason.key, each.field) for each in result.receipt.warnings]
        assert [("encoding.garbled/markup", "first_name"), ("encoding.garbled/escaped", "last_name")] == keys


@pytest.mark.parametrize(
    "value", ["\u0420\u0452\u0420\u0405\u0420\u0405\u0420\xb0", "\u0420\u0098\u0420\u0406".replace("\x98", "\xa0")]
)
def test_cyrillic_letters_in_the_wrong_code_page_are_told(engine: Engine, value: str) -> None:
    """UTF-8 that was read as Windows-1251 has a capital before each letter."""
    warning = engine.file(COLUMNS, f"S1,OPSCOM,{value},Lee,ann@example.org").warnings["encoding.garbled"]
    assert ("first_name", (2,)) == (warning.field, warning.lines)


@pytest.mark.parametrize("value", ["Рёрих", "Сірко", "СЕРГЕЙ", "Анна", "Рівне", "Џорџ", "Ђорђе"])
def test_cyrillic_names_are_right(engine: Engine, value: str) -> None:
    """Russian, Ukrainian and Serbian names have no such letters."""
    assert {} == engine.file(COLUMNS, f"S1,OPSCOM,{value},Lee,ann@example.org").warnings
