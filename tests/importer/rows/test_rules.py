"""Values: how each attribute judges them, and what the author of a wrong one reads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from email_validator import EmailNotValidError, validate_email
from hypothesis import given
from hypothesis import strategies as st

from importer.attributes import ATTRIBUTES, Rule
from importer.model import Problem
from importer.rows import rules
from importer.settings import ReferenceSettings
from tests.engine import Engine

COLUMNS = ("unique_id", "login_source", "first_name", "last_name", "email")
GOOD = ("S1", "OPSCOM", "Ann", "Lee", "ann@example.org")


def judged(engine: Engine, attribute: str, value: str) -> tuple[str, str]:
    """Import one user with this value; return what is stored, and "<code> <reason>" of what is wrong with it."""
    cells = {**dict(zip(COLUMNS, GOOD, strict=True)), attribute: value}
    quoted = ",".join('"' + cell.replace('"', '""') + '"' for cell in cells.values())
    result = engine.file(",".join(cells), quoted)
    if result.failed_rows:
        row = result.failed_rows[0]
        return "", f"{row['import_code']} {row['import_reason']}"
    (user,) = engine.users().values()
    return user.get(attribute, ""), ""


def test_values_are_trimmed_and_normalised(engine: Engine) -> None:
    """Blanks of any script and invisible characters at the edges go; letters are stored composed."""
    assert ("Zoe\u0301 B".replace("e\u0301", "é"), "") == judged(
        engine, "first_name", "\xa0\u3000\u200bZoe\u0301 B \u2060\ufeff "
    )


@pytest.mark.parametrize("value", ["", "   ", "\xa0", "\u200b\ufeff", "\t"])
def test_a_cell_of_blanks_is_blank(engine: Engine, value: str) -> None:
    """A cell of nothing but blanks says nothing."""
    assert ("", "") == judged(engine, "city", value)
    assert "9013 Enter the unique_id." in judged(engine.emptied(), "unique_id", value)[1]


@pytest.mark.parametrize("attribute", ["street", "user_name", "driver_licence_num", "phone_cell"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("12 Main\nOttawa", "has a line break or a tab inside"),
        ("12 Main\r\nOttawa", "has a line break or a tab inside"),
        ("12\tMain", "has a line break or a tab inside"),
        ("12\u2028Main", "has a line break or a tab inside"),
        ("12\x07Main", "has an invisible control character (U+0007)"),
        ("12 Main\x1f", "has an invisible control character (U+001F)"),
        ("12\x1eMain", "has an invisible control character (U+001E)"),
        ("12\x7fMain", "has an invisible control character (U+007F)"),
        ("12\x85Main", "has a damaged letter (U+0085)"),
        ("\xc3\x81lvarez", "has a damaged letter (U+0081)"),
        ("Ren\ufffd", "has \ufffd in place of a letter"),
        ("#REF!", 'has "#REF!", an error value of a spreadsheet'),
        ("#N/A", "an error value of a spreadsheet"),
        ("Err:502", "an error value of a spreadsheet"),
        ("#DIV/0!", "an error value of a spreadsheet"),
        ("#NOM?", "an error value of a spreadsheet"),
        ("#VALEUR!", "an error value of a spreadsheet"),
        ("#NV", "an error value of a spreadsheet"),
        ("#¡REF!", "an error value of a spreadsheet"),
        ("########", "an error value of a spreadsheet"),
        ("#GETTING_DATA", "an error value of a spreadsheet"),
        ('="0123"', 'is written as a formula (="...")'),
    ],
)
def test_characters_that_cannot_be_meant(engine: Engine, attribute: str, value: str, reason: str) -> None:
    """A control character, a lost letter, an error value or a formula fails the row, not the file, in any attribute."""
    stored, problem = judged(engine, attribute, value)
    assert ("", f"9033 {attribute}") == (stored, problem[: len(f"9033 {attribute}")])
    assert reason in problem


@pytest.mark.parametrize(
    "value", ["#1 Main St", "Apt #4", "=SUM(A1)", "+1 613", "-", "@home", "C# dev", "'s-Gravenhage"]
)
def test_what_only_looks_wrong_is_stored(engine: Engine, value: str) -> None:
    """Text that begins or goes on oddly is stored as it is, formulas included."""
    assert (value, "") == judged(engine, "street", value)


@pytest.mark.parametrize("attribute", ["unique_id", "user_name", "email"])
@pytest.mark.parametrize(
    ("char", "name"), [("\u200b", "U+200B"), ("\xa0", "U+00A0"), ("\u200e", "U+200E"), ("\u00ad", "U+00AD")]
)
def test_invisible_characters_inside_what_identifies(engine: Engine, attribute: str, char: str, name: str) -> None:
    """Inside an id, a user name or an address what nobody sees is an error, written so that one can."""
    value = "a" + char + ("b@example.org" if attribute == "email" else "b")
    assert (
        f"9033 {attribute} has an invisible character ({name}). Delete the cell and type the value again."
        == judged(engine, attribute, value)[1]
    )


def test_invisible_characters_inside_other_text_are_kept(engine: Engine) -> None:
    """A street may hold a no-break space, a name a zero width joiner."""
    assert ("1\xa0Main", "") == judged(engine, "street", "1\xa0Main")


@pytest.mark.parametrize("value", ["1.2E+05", "1,23457E+11", "2E+08", "-1.5e+10"])
def test_numbers_damaged_by_a_spreadsheet(engine: Engine, value: str) -> None:
    """1.2E+05 fails the row as a unique id, and is a warning anywhere else."""
    _, problem = judged(engine, "unique_id", value)
    assert problem.startswith(f'9033 unique_id has "{value}", a long number that a spreadsheet shortened.')
    result = engine.file(f"{','.join(COLUMNS)},phone_cell", f'{",".join(GOOD)},"{value}"')
    assert ("value.damaged", "phone_cell", 1) == (
        result.receipt.warnings[0].code,
        result.receipt.warnings[0].field,
        result.receipt.warnings[0].rows,
    )


@pytest.mark.parametrize("value", ["1E5", "E+05", "12E+", "1.2E+05a", "1e-5"])
def test_ids_that_are_no_damaged_numbers(engine: Engine, value: str) -> None:
    """Only what a spreadsheet writes counts as its damage."""
    assert (value, "") == judged(engine, "unique_id", value)


@pytest.mark.parametrize("value", ["NULL", "null", "N/A", "n/a", "-", "--", "none", "(null)", r"\N"])
def test_placeholders(engine: Engine, value: str) -> None:
    """A word that means nothing fails as a unique id and where a rule refuses it; else it is stored, with a warning."""
    assert "9033 unique_id" in judged(engine, "unique_id", value)[1]
    assert "9033 email" in judged(engine, "email", value)[1]
    assert "9033 date_of_birth" in judged(engine, "date_of_birth", value)[1]
    rows = [",".join((f"P{n}", "OPSCOM", "Ann", value, f"p{n}@example.org", value)) for n in range(2)]
    result = engine.file(",".join((*COLUMNS, "city")), *rows)
    assert {"P0": value, "P1": value} == engine.column("last_name")
    assert [("value.placeholder", "last_name", 2, 2), ("value.placeholder", "city", 2, 2)] == [
        (each.code, each.field, each.rows, each.first_line) for each in result.receipt.warnings
    ]


@pytest.mark.parametrize("attribute", ["province", "date_of_birth", "user_type_id"])
def test_a_refused_placeholder_is_answered_with_a_blank_cell(engine: Engine, attribute: str) -> None:
    """Where an attribute may be left out, the remedy of a word that means nothing is to leave the cell blank."""
    assert f"9033 {attribute} has a word for a missing value. Empty the cell." == judged(engine, attribute, "N/A")[1]
    assert f"9033 {attribute} has a word for a missing value. Empty the cell." == judged(engine, attribute, "-")[1]


def test_a_required_value_is_not_answered_with_a_blank_cell(engine: Engine) -> None:
    """Where a value is required, its own remedy stands against a word that means nothing."""
    told = "9033 email has no @. Enter an address such as name@example.org. If somebody has none, write to us."
    assert told == judged(engine, "email", "N/A")[1]
    assert "9015 login_source is not a login source" in judged(engine, "login_source", "none")[1]
    engine.settings(required=(), login_source="OPSCOM")
    assert "Empty the cell." in judged(engine, "email", "N/A")[1]
    assert "Empty the cell." in judged(engine, "login_source", "none")[1]


def test_a_refused_placeholder_is_no_warning_too(engine: Engine) -> None:
    """Warnings are about rows that were applied: a row that failed says all in its reasons."""
    result = engine.file(",".join(COLUMNS), "S1,OPSCOM,Null,N/A,none")
    assert ({2: "9033"}, {}) == (result.codes, result.warnings)


def test_text_decoded_twice_is_a_warning(engine: Engine) -> None:
    """Letters like those of UTF-8 read as Windows-1252 are told by line and field, and stored."""
    result = engine.file(",".join(COLUMNS), "S1,OPSCOM,RenÃ©,Lee,a@example.org", "S2,OPSCOM,Â,São,b@example.org")
    assert ("first_name", 2, 1) == (
        result.warnings["encoding.garbled"].field,
        result.warnings["encoding.garbled"].first_line,
        result.warnings["encoding.garbled"].rows,
    )
    assert "RenÃ©" == engine.column("first_name")["S1"]


@pytest.mark.parametrize("value", ["RenÃ© Müller", "Éva RenÃ©e", "Dâ€™Arcy", "«RenÃ©»", "12Â°", "LebÅ“uf"])
def test_one_garbled_letter_among_good_ones_is_told(engine: Engine, value: str) -> None:
    """Letters wrongly decoded are found beside letters that are right."""
    result = engine.file(",".join(COLUMNS), f"S1,OPSCOM,{value},Lee,a@example.org")
    assert ("first_name", 1) == (result.warnings["encoding.garbled"].field, result.warnings["encoding.garbled"].rows)


@pytest.mark.parametrize("value", ["Âge", "João Ã", "Château", "â Ü", "SÃO"])
def test_letters_that_garbled_text_begins_with_are_letters(engine: Engine, value: str) -> None:
    """Words that hold such a letter by right are not told."""
    assert {} == engine.file(",".join(COLUMNS), f"S1,OPSCOM,{value},Lee,a@example.org").warnings


@pytest.mark.parametrize(
    ("name", "limit"), [(n, a.limit) for n, a in ATTRIBUTES.items() if a.rule in (Rule.TEXT, Rule.KEY, Rule.USER_NAME)]
)
def test_lengths(engine: Engine, name: str, limit: int) -> None:
    """A value may be as long as its limit in characters, not bytes; one over it fails and is never cut."""
    assert ("é" * limit, "") == judged(engine, name, "é" * limit)
    problem = judged(engine.emptied(), name, "é" * (limit + 1))[1]
    assert f"9030 {name} has {limit + 1} characters. It must be {limit} or fewer. Shorten the value." == problem


@pytest.mark.parametrize(
    ("attribute", "value", "problem"),
    [
        (
            "login_source",
            "C" * 21,
            "9015 login_source is not a login source that we have set up. Check that each value",
        ),
        ("user_type_id", "student " * 3, "9033 user_type_id must have only digits."),
        ("email", "ann@example.org; " * 7, "9033 email has more than one address"),
    ],
)
def test_a_value_too_long_is_judged_all_the_same(engine: Engine, attribute: str, value: str, problem: str) -> None:
    """To be told to shorten what will not do when it is short helps nobody: both problems are named."""
    code, _, reason = problem.partition(" ")
    told = judged(engine, attribute, value)[1]
    assert told.startswith(f"9030; {code} {attribute} has {len(value.strip())} characters")
    assert reason in told


def test_an_address_longer_than_any_is_one_problem(engine: Engine) -> None:
    """No address has more than 254 characters, whatever the client's limit; its length is told once."""
    value = f"{'a' * 250}@example.org"
    assert (
        "9030 email has 262 characters. It must be 100 or fewer. Shorten the value."
        == judged(engine, "email", value)[1]
    )
    engine.settings(limits={"email": 300})
    assert (
        "9030 email has more than 254 characters, which no address has. Correct the address."
        == judged(engine, "email", value)[1]
    )


def test_limits_of_a_client(engine: Engine) -> None:
    """A client may have limits of its own."""
    engine.settings(limits={"street2": 60, "city": 3})
    assert ("x" * 60, "") == judged(engine, "street2", "x" * 60)
    assert "9030 city" in judged(engine, "city", "Hull")[1]


# -- provinces -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["province", "province2", "driver_licence_prov"])
@pytest.mark.parametrize("value", ["ON", "on", "qC", " bc ", "NU", "ny", "DC", "PR", "ae", "GU"])
def test_codes_of_provinces_and_states(engine: Engine, attribute: str, value: str) -> None:
    """Canadian provinces and territories, US states, territories and military codes, in any case, stored upper."""
    assert (value.strip().upper(), "") == judged(engine, attribute, value)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("Ontario", "ON"),
        ("ontario ", "ON"),
        ("PQ", "QC"),
        ("Québec", "QC"),
        ("NF", "NL"),
        ("Newfoundland", "NL"),
        ("Nouvelle-Écosse", "NS"),
        ("new york", "NY"),
        ("P.E.I.", "PE"),
        ("Ont.", "ON"),
        ("B.C.", "BC"),
        ("d.c.", "DC"),
        ("C.-B.", "BC"),
        ("T.-N.-L.", "NL"),
        ("\u00ce.-P.-\u00c9.", "PE"),
        ("CA-ON", "ON"),
        ("us-ny", "NY"),
        ("Newfoundland & Labrador", "NL"),
        ("Ile du Prince Edouard", "PE"),
        ("Armed Forces Europe", "AE"),
        ("P.Q.", "QC"),
        ("Qu\u00e9.", "QC"),
        ("Nfld. & Lab.", "NL"),
        ("Terre-Neuve et Labrador", "NL"),
        ("Colombie Britannique", "BC"),
        ("Territoires du N.-O.", "NT"),
        ("Calif.", "CA"),
        ("Caroline du Nord", "NC"),
        ("Ontario (ON)", "ON"),
        ("ON - Ontario", "ON"),
        ("Ontario, Canada", "ON"),
        ("Quebec/Qu\u00e9bec", "QC"),
    ],
)
def test_names_of_provinces_are_answered_with_their_code(engine: Engine, value: str, code: str) -> None:
    """A name or an old code is one problem, and the reason gives the code to write."""
    assert (
        f'9033 province has "{value.strip()}". It must be a two-letter code. Enter {code}.'
        == judged(engine, "province", value)[1]
    )


@pytest.mark.parametrize(
    "value",
    [
        "XX",
        "O",
        "Bavaria",
        "12",
        "ONN",
        "1234567890" * 30,
        "Canada",
        "ON/QC",
        "Ontario, Toronto",
        "T.N.",
        "T.-N.",
        "T.-N., Canada",
        "\u0131l",
    ],
)
def test_other_words_are_no_provinces(engine: Engine, value: str) -> None:
    """What is no code is one problem, even when it is too long as well."""
    problem = judged(engine, "province", value)[1]
    assert problem.startswith("9033 province ")
    assert "It must be a two-letter code, such as ON. Enter the code of the province, territory or state." in problem
    assert 1 == problem.count("9033")


# -- dates ---------------------------------------------------------------------------------------------------------


def test_dates_from_1900_to_today(engine: Engine) -> None:
    """A real day from 1900 to today, by the clock of UTC, is taken."""
    today = datetime.now(UTC).date()
    for good in ("1900-01-01", "2000-02-29", f"{today}"):
        assert (good, "") == judged(engine, "date_of_birth", good)
    for bad in ("1899-12-31", f"{today + timedelta(days=2)}"):
        assert (
            "9033 date_of_birth must be a day from 1900-01-01 to today. Correct the date."
            == judged(engine, "date_of_birth", bad)[1]
        )


@pytest.mark.parametrize("value", ["2001-02-29", "2001-13-01", "2001-00-10", "1900-02-29", "0000-01-01"])
def test_days_that_do_not_exist(engine: Engine, value: str) -> None:
    """A day that no calendar has is told as such."""
    assert (
        "9033 date_of_birth is a day that does not exist. Correct the date."
        == judged(engine, "date_of_birth", value)[1]
    )


@pytest.mark.parametrize(
    "value",
    [
        "03/04/2001",
        "4.3.2001",
        "2001/03/04",
        "20010304",
        "010304",
        "2001",
        "2001-3-4",
        "04-Mar-2001",
        "2001-03-04 00:00:00",
        "\uff12\uff10\uff10\uff11-03-04",
    ],
)
def test_dates_written_otherwise(engine: Engine, value: str) -> None:
    """A date near the format is one problem; which number is the day is never guessed."""
    problem = judged(engine, "date_of_birth", value)[1]
    assert problem.startswith(
        "9033 date_of_birth must be a date written YYYY-MM-DD, such as 2001-05-23. Enter it in that form"
    )


@pytest.mark.parametrize("value", ["36982", "36982.5", "36982,0"])
def test_day_numbers_of_excel(engine: Engine, value: str) -> None:
    """A number in place of a date is told to be Excel's day number, and how to save the date itself."""
    assert (
        "has the day number of a spreadsheet in place of a date such as 2001-05-23. Enter it in that form, in a "
        "cell with the format Text. For many rows, format the column of your own workbook: Format Cells > Custom > "
        "yyyy-mm-dd." in judged(engine, "date_of_birth", value)[1]
    )


# -- codes of this installation ------------------------------------------------------------------------------------


def test_login_sources(engine: Engine) -> None:
    """OPSCOM and the configured login sources are taken, letter for letter; the reason lists them."""
    engine.reference = ReferenceSettings(login_sources=("LDAP", "SAML"))
    assert ["LDAP", "OPSCOM"] == [judged(engine, "login_source", source)[0] for source in ("LDAP", "OPSCOM")]
    for wrong in ("ldap", "Opscom", "CAS"):
        assert (
            "9015 login_source is not a login source that we have set up. Check that each value of the row is in its "
            'column. Then enter one of: "LDAP", "OPSCOM", "SAML".' == judged(engine, "login_source", wrong)[1]
        )


def test_many_login_sources(engine: Engine) -> None:
    """Of many login sources the reason lists twenty, and that there are more."""
    engine.reference = ReferenceSettings(login_sources=tuple(f"S{n:02}" for n in range(30)))
    problem = judged(engine, "login_source", "CAS")[1]
    assert problem.endswith(', "S17", "S18".')
    assert 19 == problem.count('"S')
    assert "Then enter one of ours, such as" in problem


@pytest.mark.parametrize("attribute", ["user_type_id", "locker_user_type_id"])
def test_type_ids_are_digits(engine: Engine, attribute: str) -> None:
    """Where no types are configured, a type is any digits."""
    assert [("3", ""), ("007", "")] == [judged(engine, attribute, value) for value in ("3", "007")]
    for wrong in ("x", "3.0", "-3", "٣", "3 4"):
        assert (
            f"9033 {attribute} must have only digits. Enter the number of the type."
            == judged(engine, attribute, wrong)[1]
        )


def test_the_only_choice_is_named_as_such(engine: Engine) -> None:
    """Where just one value is possible, the remedy is to enter it, not to choose from a list of one."""
    engine.reference = msgspec.convert({"user_types": ["7"]}, ReferenceSettings)
    assert "9033 user_type_id is not a type that we have set up. Enter 7." == judged(engine, "user_type_id", "8")[1]
    assert judged(engine, "login_source", "CAS")[1].endswith(" Then enter OPSCOM.")


@pytest.mark.parametrize(
    ("attribute", "setting"), [("user_type_id", "user_types"), ("locker_user_type_id", "locker_types")]
)
def test_configured_type_ids(engine: Engine, attribute: str, setting: str) -> None:
    """Where types are configured a value is one of them, as text; the reason lists twenty at most."""
    engine.reference = msgspec.convert({setting: [str(n) for n in range(1, 31)]}, ReferenceSettings)
    assert ("12", "") == judged(engine, attribute, "12")
    listed = ", ".join(f'"{n}"' for n in range(1, 21))
    for wrong in ("012", "31", "x"):
        problem = judged(engine, attribute, wrong)[1]
        assert f"9033 {attribute} is not a type that we have set up. Enter one of ours, such as {listed}." == problem


# -- e-mail --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("ann@example.org; bob@example.org", "more than one address"),
        ("ann@example.org,bob@example.org", "more than one address"),
        ("ann@@example.org", "more than one @"),
        ("Ann Lee <ann@example.org>", "Enter only the part between < and >."),
        ("mailto:ann@example.org", 'begins with "mailto:"'),
        ("MAILTO:ann@example.org", 'begins with "mailto:"'),
        ("ann.example.org", "has no @"),
        ("ann@example", "is not an e-mail address."),
        ("<ann@example.org>", "Enter only the part between < and >."),
        ("ann@exam ple.org", "has a space inside. Delete the space."),
        ("ann lee@example.org", "has a space inside. Delete the space."),
        ("ann@example.org,", "ends with a punctuation mark. Delete the punctuation mark."),
        ("ann@example.org;", "ends with a punctuation mark. Delete the punctuation mark."),
        ("alee@corp.local", "has a domain that no mail can reach"),
        ("ann@LOCALHOST", "has a domain that no mail can reach"),
        ("ann..lee@example.org", "is not an e-mail address."),
        (".ann@example.org", "is not an e-mail address."),
        ("ann@example.org.", "ends with a punctuation mark. Delete the punctuation mark."),
        ("ann@-example.org", "is not an e-mail address."),
        ("ann@[127.0.0.1]", "is not an e-mail address."),
        ("@example.org", "is not an e-mail address."),
        ("ann@", "is not an e-mail address."),
        ('"ann"@example.org', "with quotation marks"),
        ("a" * 90 + "@example.org", "has 102 characters. It must be 100 or fewer."),
    ],
)
def test_addresses_that_are_refused(engine: Engine, value: str, remedy: str) -> None:
    """Each way to write no address, or more than one, has a remedy of its own."""
    problem = judged(engine, "email", value)[1]
    assert problem.startswith(("9033 email ", "9030 email "))
    assert remedy in problem


@pytest.mark.parametrize(
    "value", ["ann@example.org", "Ann.O'Neil+x@Example.ORG", "zoé@example.org", "ann@exämple.org", "a_b-c@x.co"]
)
def test_addresses_are_stored_as_written(engine: Engine, value: str) -> None:
    """A valid address stays letter for letter."""
    assert (value, "") == judged(engine, "email", value)


addresses = st.emails() | st.from_regex(
    r"[a-zA-Z0-9.+'_-]{1,70}@[a-z0-9.-]{1,20}\.(org|COM|ca|test|c|local)", fullmatch=True
)


@given(text=addresses)
def test_the_quick_way_decides_as_the_library_does(text: str) -> None:
    """An address is taken when email-validator takes it, whichever way it was judged."""
    try:
        validate_email(text, check_deliverability=False)
    except EmailNotValidError:
        assert isinstance(rules.EmailJudge()(text), Problem)
    else:
        assert text == rules.EmailJudge()(text)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the texts that reach the library."""
    texts: list[str] = []

    def note(text: str, *, check_deliverability: bool) -> None:
        texts.append(text)
        validate_email(text, check_deliverability=check_deliverability)

    monkeypatch.setattr("email_validator.validate_email", note)
    return iter([texts])


def test_a_domain_is_asked_for_once(asked: Iterator[list[str]]) -> None:
    """The library is asked once for each domain that is not plain, and for no plain address at one that it knows."""
    judge = rules.EmailJudge()
    texts = next(asked)
    for number in range(1000):
        judge(f"user{number}@example.org")
        judge(f"user{number}@no.such")
    assert ["a@no.such"] == texts


@pytest.mark.parametrize(
    "junk", ["x" * 100_000, "@" * 100_000, "a." * 50_000, "(" * 100_000, "a@" + "b." * 50_000, "<" * 100_000]
)
def test_junk_never_reaches_the_library(asked: Iterator[list[str]], junk: str) -> None:
    """100 kB in a cell are judged by their length alone."""
    assert isinstance(rules.EmailJudge()(junk), Problem)
    assert [] == next(asked)


def test_a_cell_of_junk_fails_its_row_by_its_length(engine: Engine) -> None:
    """60,000 characters in place of an address are one problem, told by their number."""
    assert (
        "9030 email has 60,000 characters. It must be 100 or fewer. Shorten the value."
        == judged(engine, "email", "(" * 60_000)[1]
    )


def test_a_memo_forgets_before_it_grows(asked: Iterator[list[str]]) -> None:
    """Many different domains do not fill the memory."""
    memo = rules.Memo(str.upper)
    for number in range(50_000):
        assert f"X{number}" == memo[f"x{number}"]
    assert 40_000 >= len(memo)
    assert [] == next(asked)
