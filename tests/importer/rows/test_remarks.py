"""Signs and remarks with ids and names, and values of another kind than their column has: what fails, what is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.engine import Engine, Result

COLUMNS = "unique_id,login_source,first_name,last_name,email"
USER = {"unique_id": "S1", "login_source": "OPSCOM", "first_name": "Ann", "last_name": "Lee", "email": "a@example.org"}


def one(engine: Engine, **values: str) -> Result:
    """Import a user with these values, above another one."""
    user = USER | values
    cells = ('"' + each.replace('"', '""') + '"' for each in user.values())
    return engine.file(",".join(user), ",".join(cells), "S9,OPSCOM,Bob,Roy,b@example.org" + "," * (len(user) - 5))


def keys(result: Result) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return key, field and lines of the warnings."""
    return [(each.reason.key, each.field, each.lines) for each in result.receipt.warnings]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            ["(S2)", "[S2]", "{S2}", "<S2>", "~S2~", "|S2|", "*S2*", "^S2^", "##S2##"],
            "brackets or signs around the value",
        ),
        (["S2*", "S2;", "S2,", "*S2", "=S2", "S2?", "S2\\", "(S2", "S2)", "S2:", "102,"], "a sign before or behind"),
        (
            [
                "ID: 102",
                "No. 102",
                "ID:102",
                "n° 102",
                "№ 102",
                "Nr. 102",
                "ID=102",
                "Student ID 102",
                "EMPLID: 7",
                "Emp#12",
                "I.D. 7",
            ],
            "a word such as ID or No. in front",
        ),
        (["\u04052", "S000\u0430", "\u0391100"], "Cyrillic or Greek letters that look like Latin ones"),
        (["S\u20112", "S\u20132", "\u22122", "\xb23", "S2\u2122", "\xbd", "\u2163"], "a sign that no keyboard has"),
        (["\u2460", "\ufb012", "\U0001d7d82"], "full-width digits or letters"),
    ],
)
def test_an_id_with_something_that_no_id_has_fails(engine: Engine, values: list[str], told: str) -> None:
    """It would make another user of the same person; the answer shows the value and what is wrong."""
    for value in values:
        result = one(engine.emptied(), unique_id=value)
        assert {2: "9033"} == result.codes, value
        assert f'unique_id has "{value}"' in result.reasons[2]
        assert told in result.reasons[2]


def test_the_answer_about_signs_is_in_both_languages(engine: Engine) -> None:
    """French says the same."""
    text = one(engine.settings(language=("en", "fr")), unique_id="(S2)").text.replace("\n  ", "")
    assert "unique_id has brackets or signs around the value. Enter the value alone." in text
    assert "unique_id contient des parenthèses ou des signes autour de la valeur. Entrez la valeur seule." in text


@pytest.mark.parametrize("value", ["(S2)", "S2*", "ID: 102", "\u04052", "S\u20132"])
def test_an_id_that_is_recorded_so_is_taken(engine: Engine, value: str) -> None:
    """A user whom an earlier version recorded with such an id is updated."""
    engine.file(COLUMNS, "S1,OPSCOM,Ann,Lee,a@example.org")
    engine.store.conn.execute("UPDATE users SET unique_id = ?", [value])
    result = one(engine, unique_id=value, last_name="Li")
    assert ({}, 1, "Li") == (result.codes, result.tally.updated, engine.column("last_name")[value])


@pytest.mark.parametrize(
    ("key", "values"),
    [
        (
            "value.marks/sign",
            ["#100", "+123", "S2.", "-S2", "@S2", "&S2", "S2%", "S2;T", "S2|T"],
        ),
        ("value.marks/two", ["S2;S3", "S2,S3", "S2|S3", "S2 / S3", "S2 & S3"]),
        (
            "value.marks/remark",
            [
                "S2 (old)",
                "S2-old",
                "S2_OLD",
                "S2 - inactive",
                "S2 (2)",
                "copy of S2",
                "zz_S2",
                "zzS2",
                "S2.bak",
                "Ann Lee (S2)",
            ],
        ),
        ("value.placeholder/id", ["PENDING-1", "TEMP-123", "TEMP123", "TBD-2", "NEW-3", "new1", "XXXX1", "test2"]),
        ("value.damaged/dots", ["1.234", "12.345.678"]),
    ],
)
def test_an_id_that_may_be_meant_is_told(engine: Engine, key: str, values: list[str]) -> None:
    """It is stored with a warning that has line and field; of a file in which all are so there is one warning."""
    for value in values:
        assert [(key, "unique_id", (2,))] == keys(one(engine.emptied(), unique_id=value)), value
    rows = [f"#{n},OPSCOM,Ann,Lee,a{n}@example.org" for n in range(100, 140)]
    assert [40] == [each.rows for each in engine.emptied().file(COLUMNS, *rows).receipt.warnings]


@pytest.mark.parametrize(
    "value",
    [
        *("{6F9619FF-8B86-D011-B42D-00C04FC964FF}", "6f9619ff-8b86-d011-b42d-00c04fc964ff", "alee@example.org"),
        *("ACME\\alee", "+16135550101", "12-34", "S2/3", "a.b", "12.3456", "Gold2", "a-gold", "IDA 7", "Nova 7", "id7"),
        *("Template1", "Newton2", "_svc", "S(2)b", "0.123", "D(4)"),
        # The id of an account at Microsoft, in base 64.
        *("kL9x+wQh0kmPz7cVb1nE2A==", "+9aBcD3fGhIjKlMnOpQrSg==", "/0aBcD3fGhIjKlMnOpQrSw==", "VXNlcjoxMA=="),
    ],
)
def test_ids_that_only_look_like_it(engine: Engine, value: str) -> None:
    """They are taken without a word."""
    result = one(engine, unique_id=value)
    assert ({}, []) == (result.codes, keys(result))


@pytest.mark.parametrize("value", ["(alee)", "alee*", "~alee~", "al\u0435e"])
def test_signs_in_a_user_name_fail_the_row(engine: Engine, value: str) -> None:
    """Nobody could log in with it."""
    result = one(engine, user_name=value)
    assert {2: "9033"} == result.codes
    assert f'user_name has "{value}"' in result.reasons[2]


@pytest.mark.parametrize(("value", "key"), [("#alee", "sign"), ("alee_old", "remark"), ("zz_alee", "remark")])
def test_a_doubtful_user_name_is_told(engine: Engine, value: str, key: str) -> None:
    """It may be meant."""
    assert [(f"value.marks/{key}", "user_name", (2,))] == keys(one(engine, user_name=value))


def test_addresses_and_links_in_place_of_names_are_told_once(engine: Engine) -> None:
    """Their dots do not stand for letters."""
    rows = [f"S{n},OPSCOM,{name},Lee,a{n}@example.org" for n, name in enumerate(("ann@x.ca", "www.x.ca", "bo@x.ca"))]
    assert [("name.doubtful", "first_name", (2, 3, 4))] == keys(engine.file(COLUMNS, *rows))


REMARKS = [
    *("Kim (deceased)", "Kim - inactive", "Kim [old]", "zzKim", "ZZ Kim", "Kim - DO NOT USE", "Kim DECEASED"),
    *("Kim (Duplicate)", "Kim (décédée)", "Kim (he/him)", "Kim (Withdrawn)", "Kim *inactive*", "DUP - Kim"),
    *("Kim (on leave)", "Kim [EXT]", "Kim (Guest)", "Kim-DUP", "DUP Kim", "DO NOT USE Kim", "Kim (Ret.)"),
]
SIGNS = [
    "*Kim",
    "Kim*",
    "Kim,",
    ",Kim",
    "[Kim]",
    "(Kim)",
    "{Kim}",
    "<Kim",
    "Kim|Roy",
    "Kim;Roy",
    "-Kim",
    "Kim-",
    "Kim\\",
]


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("value.marks/remark", REMARKS),
        ("value.marks/sign", SIGNS),
        ("name.doubtful", ["Kim 2", "Student 1", "Grade 5 Kim"]),
        ("name.doubtful/whole", ["Lee, Ann", "Lee,Ann", "de la Cruz, Ana"]),
        ("encoding.garbled/blank", ["Ann\xa0Lou", "Ann\u2009Lou", "Ki\xa0m"]),
        ("encoding.garbled/alphabet", ["\u0410nn", "Ann\u0430"]),
        ("encoding.garbled/older", ["Mu\xb1oz", "C\xdaline", "R\xc8mi"]),
        ("encoding.garbled/invisible", ["An\u200bn"]),
        ("value.damaged/full_width", ["\ufb01ona", "\U0001d400nn"]),
        ("row.shifted/source", ["OPSCOM"]),
        (
            "value.placeholder/name",
            [
                *("First Name", "last_name", "Inactive", "Unknown Unknown", "Jr.", "asdf", "Kim undefined", "Mr."),
                *("System.String[]", "ADPropertyValueCollection"),
            ],
        ),
    ],
)
@pytest.mark.parametrize("name", ["first_name", "last_name"])
def test_what_is_no_part_of_a_name_is_told(engine: Engine, name: str, key: str, values: list[str]) -> None:
    """It is stored with one warning, which says what it is."""
    for value in values:
        assert [(key, name, (2,))] == keys(one(engine.emptied(), **{name: value})), value


@pytest.mark.parametrize("mark", ["'", "`"])
def test_a_value_that_a_comma_split_between_marks_is_told(engine: Engine, mark: str) -> None:
    """Also where the row has as many values as the file has columns, as one is missing at its end."""
    rows = [f"S1,OPSCOM,{mark}Ann,Lee{mark},a@example.org,", "S2,OPSCOM,Jan,'t Hooft,b@example.org,Hull"]
    result = engine.file(f"{COLUMNS},city", *rows)
    assert {("value.marks", name, (2,)) for name in ("first_name", "last_name")} == {*keys(result)}


@pytest.mark.parametrize(("days", "told"), [(0, 1), (400, 1), (1200, 0)])
def test_a_day_of_birth_of_an_infant_is_told(engine: Engine, days: int, told: int) -> None:
    """A program wrote the day of the export, or of the enrolment."""
    day = (datetime.now(UTC) - timedelta(days)).date().isoformat()
    expected = [("value.placeholder/young", "date_of_birth", (2,))]
    assert expected * told == keys(one(engine, date_of_birth=day))


@pytest.mark.parametrize("last", ["Ann Roy", "Roy"])
def test_a_whole_name_in_the_first_one_is_told(engine: Engine, last: str) -> None:
    """The last name again, or all of it in both columns."""
    assert [("name.doubtful/whole", "first_name", (2,))] == keys(one(engine, first_name="Ann Roy", last_name=last))


@pytest.mark.parametrize(
    "value",
    [
        *(
            "Lee, Jr.",
            "Lee, PhD",
            "Smith 3rd",
            "Kim (Jim)",
            "Kim (née Roy)",
            "Old Bear",
            "Goldman",
            "Zizi",
            "Xxavier"[1:],
        ),
        *(
            "Jean - Luc",
            "Test",
            "Retired",
            "Brown (Ann)",
            "McKay II",
            "O",
            "Al Sayed",
            "A/P Kumar",
            "佐藤\u3000健太",
            "Иван",
        ),
        *("Left Hand", "Dupont", "Zz"[:1], "Mª", "Heather", "Sherry", "'t Hooft", "N\xda\xd1EZ", "\xdarsula"),
        *("MacÚra", "L'\xc8ve"),
    ],
)
def test_names_that_only_look_like_it(engine: Engine, value: str) -> None:
    """People are called so."""
    assert [] == keys(one(engine, last_name=value))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        (
            "value.marks/remark",
            ["kim@ex-am.ca.old", "kim@example.ca.x", "kim@example.org.Inactive", "zz_kim@example.ca"],
        ),
        ("value.marks/sign", ["*kim@example.ca", "#kim@example.ca", "kim_x.ca#EXT#@school.ca"]),
        (
            "value.placeholder/address",
            ["donotreply@school.ca", "nobody@school.ca", "no-one@school.ca", "0@0.com", "a@domain.com", "a@a.a"],
        ),
        ("email.misspelt", ["kim@school.com.com", "kim@school.ca.ca", "kim@www.school.ca"]),
        ("email.letters", ["kim@example.\u0441\u0430"]),
    ],
)
def test_an_address_that_is_hardly_right_is_told(engine: Engine, key: str, values: list[str]) -> None:
    """It is stored with one warning."""
    for value in values:
        assert [(key, "email", (2,))] == keys(one(engine.emptied(), email=value)), value


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            [
                "kim@example.ca (old)",
                "[kim@example.ca]",
                "smtp:kim@example.ca",
                "kim@example.ca ext",
                "kim@example.ca?cc=b",
            ],
            "more than the address",
        ),
        (["#mailto:kim@example.ca#", "kim@example.ca_old"], "more than the address"),
        (["kim@gmail,com", "kim@example, ca"], "a comma in place of a dot"),
    ],
)
def test_an_address_with_something_else_fails(engine: Engine, values: list[str], told: str) -> None:
    """The answer says what is wrong."""
    for value in values:
        result = one(engine.emptied(), email=value)
        assert {2: "9033"} == result.codes
        assert told in result.reasons[2], value


NO_PHONES = [
    *("2001-05-23", "23/05/2001", "2001-05-23 00:00", "2-Jan", "ann@example.org", "Ann Lee", "Ann O'Neil", "K1A 0B1"),
    *("Ottawa", "same", "unlisted", "call mother", "613-555-O101", "S00002", "OPSCOM", "12 Main St", "911 King Road"),
]


@pytest.mark.parametrize("name", ["phone_cell", "employee_phone", "student_phone"])
def test_what_is_no_phone_is_told(engine: Engine, name: str) -> None:
    """A date, an address or a word in place of a number is stored with a warning."""
    for value in NO_PHONES:
        assert [("row.shifted/phone", name, (2,))] == keys(one(engine.emptied(), **{name: value})), value


@pytest.mark.parametrize(
    "value",
    [
        *("613-555-0101", "(613) 555-0101 ext 5", "x4521", "poste 4521", "1-800-FLOWERS", "4521", "+33 1 42 68 53 00"),
        *("cell: 613-555-0101", "613.555.0101", "H6135550101", "204-555-0101", "1 (613) 555-01", "5550101 home"),
    ],
)
def test_phones_are_right_as_people_write_them(engine: Engine, value: str) -> None:
    """With letters of an extension, or in words."""
    assert [] == keys(one(engine, phone_cell=value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("student_no", value) for value in ("613-555-0101", "(613) 555-0101", "ann@example.org")),
        *(("city", value) for value in ("ann@example.org", "2001-05-23", "613-555-0101", "K1A 0B1")),
        *(("postal_code", value) for value in ("2001-05-23", "23/05/2001", "ann@example.org", "Ottawa")),
        *(("street", value) for value in ("ann@example.org",)),
    ],
)
def test_a_value_of_another_kind_is_told(engine: Engine, name: str, value: str) -> None:
    """So is one in another column."""
    assert [("row.shifted/other", name, (2,))] == keys(one(engine, **{name: value}))


def test_two_values_of_other_kinds_are_both_told(engine: Engine) -> None:
    """A date in the column of the phone, and the phone in that of the student number."""
    told = keys(one(engine, phone_cell="2001-05-23", student_no="613-555-0101"))
    assert [("row.shifted/phone", "phone_cell", (2,)), ("row.shifted/other", "student_no", (2,))] == told


def test_a_row_that_fails_has_no_warnings(engine: Engine) -> None:
    """Nothing of it is stored, also where only the table shows that it fails: a new user lacks a name."""
    rows = [
        "S1,OPSCOM,,Ann Lee (old),a@example.org",
        "S2,OPSCOM,Bo,Roy (old),b@example.org",
        "0,OPSCOM,,Li,c@example.org",
    ]
    result = engine.file(COLUMNS, *rows)
    assert [("value.marks/remark", "last_name", (3,))] == keys(result)
    assert [1] == [each.rows for each in result.receipt.warnings]


def test_each_word_with_a_number_is_told_as_the_only_one_of_its_file(engine: Engine) -> None:
    """A column without signs and some letters is looked at no further; each of these words has one of them."""
    words = (
        "pending temp temporary tmp tba tbc tbd test dummy sample unknown undefined null none placeholder xxx xxxx "
        "xxxxx new noid default fake nouveau inconnu provisoire attente"
    )
    for word in words.split():
        for spelt in (word, word.upper(), word.capitalize()):
            result = one(engine.emptied(), unique_id=f"{spelt}12")
            assert [("value.placeholder/id", "unique_id", (2,))] == keys(result), spelt
