"""Workbooks that LibreOffice made are imported as a person sees them there, or refused with what to do."""

from __future__ import annotations

import pytest

from importer.model import Outcome
from tests import REPOSITORY
from tests.engine import Engine, Result

WORKBOOKS = REPOSITORY / "tests" / "data" / "workbooks"
ANSWER = "users.20261122T074205Z.failed.xlsx"


def uploaded(engine: Engine, name: str) -> Result:
    """Import one of the workbooks."""
    return engine.upload((WORKBOOKS / name).read_bytes(), name=name)


def column(engine: Engine, name: str) -> dict[str, str]:
    """Return an attribute of all users by their ids."""
    return {user_id: user.get(name, "") for user_id, user in engine.users().items()}


def test_ids(engine: Engine) -> None:
    """Zeros that only the format shows are part of an id; one of more digits than a spreadsheet keeps is not an id."""
    result = uploaded(engine, "ids.xlsx")
    assert {"00042", "00043", "44", "123456789012345", "S-0007"} == {*engine.users()}
    assert {7: "9033"} == result.codes


def test_dates(engine: Engine) -> None:
    """A date is ISO whatever its format and country, also as the result of a formula."""
    uploaded(engine, "dates.xlsx")
    assert {f"S{number}": "2001-02-03" for number in range(1, 8)} == column(engine, "date_of_birth")


def test_dates_from_1904(engine: Engine) -> None:
    """The day from which a workbook counts is that of the workbook."""
    uploaded(engine, "from-1904.xlsx")
    assert {"S1": "2001-02-03"} == column(engine, "date_of_birth")


def test_numbers(engine: Engine) -> None:
    """Percent, money, times of more than a day, truth and telephone numbers are what the sheet shows."""
    result = uploaded(engine, "numbers.xlsx")
    assert {
        "S1": "25%",
        "S2": "12.34%",
        "S3": "30:15:00",
        "S4": "08:30",
        "S5": "1,234.50",
        "S6": "TRUE",
        "S7": "(613) 555-1234",
        "S8": "42",
        "S10": "1.23E+06",
    } == column(engine, "street")
    assert {10: "9033"} == result.codes
    assert "a format that we cannot show" in result.text


def test_formulas(engine: Engine) -> None:
    """The stored result counts; an error is an error."""
    result = uploaded(engine, "formulas.xlsx")
    assert {"S1": "1 Main", "S4": "42", "S5": ""} == column(engine, "street")
    assert {3: "9033", 4: "9033"} == result.codes


def test_texts(engine: Engine) -> None:
    """Letters of all scripts arrive; blanks around a value do not; a line break in it is told with its line."""
    result = uploaded(engine, "texts.xlsx")
    assert [("Bo", "Łódź 日本 😀")] == [(user["first_name"], user["street"]) for user in engine.users().values()]
    assert {2: "9033"} == result.codes
    assert "line break" in result.text


@pytest.mark.parametrize(
    ("name", "said"),
    [("merged.xlsx", '"G2:G3"'), ("hidden.xlsx", "Line 3: These rows are hidden"), ("hidden.xlsx", '"D"')],
)
def test_what_a_person_does_not_see(engine: Engine, name: str, said: str) -> None:
    """What is merged or hidden is imported, and told."""
    result = uploaded(engine, name)
    assert (Outcome.IMPORTED, 3) == (result.receipt.outcome, result.tally.created)
    assert said in result.text


@pytest.mark.parametrize("name", ["sheets.xlsx", "protected.xlsx", "formatted.xlsx"])
def test_what_makes_no_difference(engine: Engine, name: str) -> None:
    """Other sheets, a protected sheet, and thousands of coloured rows without a value."""
    result = uploaded(engine, name)
    assert (Outcome.IMPORTED, 1) == (result.receipt.outcome, result.tally.created)
    assert () == result.receipt.warnings


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("password.xlsx", "wrap.locked", "Encrypt with Password, delete the password"),
        ("old.xls", "file.not_csv", "an old Excel workbook (.xls)"),
        ("old-as.xlsx", "file.not_csv", "an old Excel workbook (.xls)"),
        ("open.ods", "file.not_csv", "Open the file in LibreOffice, choose File > Save As"),
        ("open-as.xlsx", "file.not_csv", "Open the file in LibreOffice, choose File > Save As"),
    ],
)
def test_what_is_refused(engine: Engine, name: str, code: str, said: str) -> None:
    """The answer says what the file is and what to do, whatever its name."""
    result = uploaded(engine, name)
    assert (Outcome.REFUSED, code) == (result.receipt.outcome, result.code)
    assert said in result.text


def test_the_way_through_a_spreadsheet_and_back(engine: Engine) -> None:
    """The failed workbook, corrected and saved by LibreOffice: what was right in it is untouched."""
    result = uploaded(engine, "bad-rows.xlsx")
    assert {2: "9015", 3: "9015", 4: "9015"} == result.codes
    answer = engine.folder / result.receipt.claim.claim_id / ".failed.xlsx"
    assert answer.read_bytes().startswith(b"PK")

    corrected = engine.upload((WORKBOOKS / "corrected.xlsx").read_bytes(), name=ANSWER)
    assert (Outcome.IMPORTED, 3) == (corrected.receipt.outcome, corrected.tally.created)
    names = ("last_name", "date_of_birth", "street")
    assert {
        "00042": ("Roy", "2001-02-03", "0613"),
        "007": ("Lee", "2002-03-10", "1E5"),
        "3": ("Lee", "2003-04-05", "2"),
        "S4": ("Lee", "2001-02-03", "1 Main"),
    } == {user_id: tuple(user[name] for name in names) for user_id, user in engine.users().items()}
