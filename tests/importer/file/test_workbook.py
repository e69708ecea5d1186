"""A workbook is imported as a person sees it; what cannot be seen is told, and what cannot be read says what to do."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import xlsxwriter

from importer.model import Outcome
from tests.engine import HEADER, Engine, Result

NAMES = HEADER.split(",")
ANN = ["S1", "OPSCOM", "Ann", "Lee", "ann@example.org", "ann"]
WORKBOOK = "xl/workbook.xml"
SHEET = "xl/worksheets/sheet1.xml"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """Yield an importer on a database of its own."""
    made = Engine(tmp_path)
    yield made
    made.close()


def by_openpyxl(*rows: list[Any], **sheets: list[list[Any]]) -> bytes:
    """Return a workbook with these rows in its first sheet, and more sheets."""
    book = openpyxl.Workbook()
    for name, content in {"Users": rows, **sheets}.items():
        sheet = book.active if name == "Users" else book.create_sheet(name)
        sheet.title = name
        for row in content:
            sheet.append(row)
    return saved(book)


def saved(book: openpyxl.Workbook) -> bytes:
    """Return a workbook as a file."""
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def by_xlsxwriter(*rows: list[Any]) -> bytes:
    """Return the same as another program writes it."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out) as book:
        sheet = book.add_worksheet("Users")
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    return out.getvalue()


def by_hand(rows: str, *, more: str = "", workbook: str = "", **parts: str) -> bytes:
    """Return the least that is a workbook, with these elements as rows: no sizes, no styles, no texts of its own."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    rels = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {
            "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
            f'<Override PartName="/{WORKBOOK}" ContentType="{kind}.sheet.main+xml"/>'
            f'<Override PartName="/{SHEET}" ContentType="{kind}.worksheet+xml"/></Types>',
            WORKBOOK: f'<workbook xmlns="{main}" xmlns:r="{rels}">{workbook}'
            '<sheets><sheet name="Users" sheetId="1" r:id="rId1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
            f'<Relationship Id="rId1" Type="{rels}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
            SHEET: f'<worksheet xmlns="{main}">{more}<sheetData>{rows}</sheetData></worksheet>',
            **parts,
        }.items():
            archive.writestr(name, text)
    return out.getvalue()


def row(*values: str, number: int | None = None) -> str:
    """Return a row of inline texts."""
    cells = "".join(f'<c t="inlineStr"><is><t>{value}</t></is></c>' for value in values)
    return f"<row>{cells}</row>" if number is None else f'<row r="{number}">{cells}</row>'


def changed(workbook: bytes, part: str, change: Callable[[str], str]) -> bytes:
    """Return a workbook with another content of one of its parts."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook)) as before, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            content = before.read(name)
            after.writestr(name, change(content.decode()) if name == part else content)
    return out.getvalue()


MAKERS = {
    "openpyxl": by_openpyxl,
    "xlsxwriter": by_xlsxwriter,
    "by hand": lambda *rows: by_hand("".join(row(*each) for each in rows)),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_the_users_of_a_workbook_are_imported(engine: Engine, maker: str) -> None:
    """Whoever made it: rows are users, and the answer says which sheet was read."""
    result = engine.upload(MAKERS[maker](NAMES, ANN, ["S2", "OPSCOM", "Zoé", "O'Neil", "z@example.org", "z"]))  # type: ignore[no-untyped-call]
    assert Outcome.IMPORTED is result.receipt.outcome
    assert ("Zoé", "O'Neil") == (engine.users()["S2"]["first_name"], engine.users()["S2"]["last_name"])
    assert 'We read the sheet "Users"' in result.text


def shown(engine: Engine, column: str, *cells: tuple[Any, str]) -> list[str]:
    """Import values in one column, each in a format; return what was stored."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append([*NAMES, column])
    for number, (value, number_format) in enumerate(cells, 2):
        sheet.append([f"S{number}", "OPSCOM", "Ann", "Lee", f"a{number}@example.org", f"a{number}", value])
        sheet.cell(number, len(NAMES) + 1).number_format = number_format
    result = engine.upload(saved(book))
    assert {} == result.codes, result.text
    return [str(user[column]) for user in engine.users().values()]


def test_values_are_those_that_a_person_sees(engine: Engine) -> None:
    """Zeros in front stay where the format shows them, whole numbers have no .0, truth has words."""
    cells = [(42, "00000"), (42.0, "General"), (0.25, "0%"), (6135551234, "(000) 000-0000"), (True, "General")]
    assert ["00042", "42", "25%", "(613) 555-1234", "TRUE"] == shown(engine, "street", *cells)


def test_dates_are_iso(engine: Engine) -> None:
    """A date is a date, however it looks in the sheet."""
    cells = [(date(2001, 2, 3), "d/m/yy"), (datetime(2001, 2, 3), "mmm d, yyyy"), ("2001-02-03", "@")]  # noqa: DTZ001
    assert ["2001-02-03"] * 3 == shown(engine, "date_of_birth", *cells)


def test_times_are_as_they_look(engine: Engine) -> None:
    """A time has the hours of its format, more than 24 as well."""
    assert ["08:30", "30:15:00"] == shown(engine, "street", (time(8, 30), "hh:mm"), (1.2604166667, "[h]:mm:ss"))


BAD = {
    "an error": ("#N/A", "error value"),
    "a formula without a result": ("=A1", "formula"),
    "16 digits in an id": (1234567890123456, "shortened"),
    "a fraction as an id": (0.5, "formula"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_value_fails_its_row(engine: Engine, kind: str) -> None:
    """9033 says what is in the cell, and the rest is imported."""
    value, said = BAD[kind]
    book = openpyxl.load_workbook(io.BytesIO(by_openpyxl(NAMES, ANN, [value, *ANN[1:4], "b@example.org", "b"])))
    book.active["A3"].number_format = "# ?/?" if isinstance(value, float) else "General"
    result = engine.upload(saved(book))
    assert {3: "9033"} == result.codes
    assert said in result.text
    assert ["S1"] == [*engine.users()]


def test_a_result_that_was_never_calculated_is_not_believed(engine: Engine) -> None:
    """A program that calculates nothing writes 0, and that the spreadsheet is to calculate on opening."""
    book = io.BytesIO()
    with xlsxwriter.Workbook(book) as made:
        sheet = made.add_worksheet()
        sheet.write_row(0, 0, [*NAMES, "street"])
        sheet.write_row(1, 0, ANN)
        sheet.write_formula(1, 6, "=CONCATENATE(1,2)")
    result = engine.upload(book.getvalue())
    assert [2] == [*result.codes]


def test_a_stored_result_counts(engine: Engine) -> None:
    """Of a formula that was calculated the result is read."""
    book = io.BytesIO()
    with xlsxwriter.Workbook(book) as made:
        sheet = made.add_worksheet()
        sheet.write_row(0, 0, [*NAMES, "street"])
        sheet.write_row(1, 0, ANN)
        sheet.write_formula(1, 6, '="1 Main"', value="1 Main")
    engine.upload(book.getvalue())
    assert "1 Main" == engine.users()["S1"]["street"]


def test_lines_are_the_rows_of_the_sheet(engine: Engine) -> None:
    """Blank rows, and a line break in a cell, do not shift the numbers of those below."""
    rows = (
        row(*NAMES, number=2)
        + row(*ANN, number=5)
        + row("S2", "OPSCOM", "Bo\nBo", "Lee", "b@example.org", "b", number=7)
    )
    rows += row("S3", "NONE", "Cy", "Lee", "c@example.org", "c", number=9)
    result = engine.upload(by_hand(rows))
    assert [7, 9] == [*result.codes]


def test_what_is_hidden_is_imported_and_told(engine: Engine) -> None:
    """A filter hides rows, a person columns: both are read, and a warning says so."""
    book = openpyxl.load_workbook(io.BytesIO(by_openpyxl(NAMES, ANN, ["S2", *ANN[1:4], "b@example.org", "b"])))
    book.active.row_dimensions[3].hidden = True
    book.active.column_dimensions["D"].hidden = True
    result = engine.upload(saved(book))
    assert 2 == result.tally.created
    assert [(3,), ()] == [each.lines for each in result.receipt.warnings]
    assert '"D"' in result.text


def test_merged_cells_are_told(engine: Engine) -> None:
    """Only the first of them has a value."""
    book = openpyxl.load_workbook(io.BytesIO(by_openpyxl([*NAMES, "city"], [*ANN, "Hull"])))
    book.active.merge_cells("G2:G3")
    assert "G2:G3" in engine.upload(saved(book)).text


def test_the_sheet_with_the_names_is_chosen(engine: Engine) -> None:
    """Sheets without names of columns, and hidden ones, do not count."""
    upload = by_openpyxl(NAMES, ANN, Notes=[["Ask Ann"]], Codes=[["email"], ["x"]])
    assert 1 == engine.upload(upload).tally.created
    book = openpyxl.load_workbook(io.BytesIO(by_openpyxl(NAMES, ANN, Old=[NAMES, ANN])))
    book["Old"].sheet_state = "hidden"
    assert 1 == engine.upload(saved(book)).tally.unchanged


@pytest.mark.parametrize(
    ("upload", "code", "said"),
    [
        (by_openpyxl(NAMES, ANN, Staff=[NAMES, ANN]), "sheet.choice", '"Staff"'),
        (by_openpyxl(["Hello"], Staff=[["x"]]), "sheet.choice", '"Staff"'),
        (by_openpyxl(), "file.empty", "no rows"),
        (by_openpyxl(["Surname", *NAMES[1:]], ANN), "header.unknown", "Surname"),
        (by_hand(row(*NAMES) + "<row r='1'/>"), "wrap.damaged", "Save As"),
        (by_hand(row(*NAMES) + row(*ANN))[:-40], "upload.incomplete", "again"),
        (by_hand("<row><c t='s'><v>9</v></c></row>"), "wrap.damaged", "Save As"),
        (
            changed(by_hand(""), "[Content_Types].xml", lambda text: text.replace("sheet.main", "sheet.mann")),
            "wrap.damaged",
            "Save As",
        ),
        (by_hand(row(*NAMES) + row(*ANN), workbook="<sheets/>", **{SHEET: "<worksheet"}), "wrap.damaged", "Save As"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(engine: Engine, upload: bytes, code: str, said: str) -> None:
    """A refusal names the cause and the remedy, and no other form than that of the file."""
    result = engine.upload(upload, name="users.xlsx")
    assert "as CSV UTF-8 and upload it again" not in result.text
    assert code == result.code
    assert said in result.text


def test_200_sheets(engine: Engine) -> None:
    """Of many sheets the one with the users is found."""
    assert 1 == engine.upload(by_openpyxl(NAMES, ANN, **{f"S{n}": [["x"]] for n in range(200)})).tally.created


def test_cells_at_both_ends(engine: Engine) -> None:
    """A sheet that is nearly empty is not taken for one as large as it says it is."""
    far = '<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>x</t></is></c></row>'
    size = '<dimension ref="A1:XFD1048576"/>'
    assert engine.upload(by_hand(row("unique_id", number=1) + far, more=size)).receipt.outcome is Outcome.REFUSED
    assert 1 == engine.upload(by_hand(row(*NAMES) + row(*ANN), more=size)).tally.created


def test_rows_with_cells_far_out_do_not_grow(engine: Engine) -> None:
    """A small workbook whose every row has a cell in the last column is not written out with all that is between."""
    far = "".join(f'<row r="{n}"><c r="XFD{n}" t="inlineStr"><is><t>x</t></is></c></row>' for n in range(3, 2000))
    result = engine.upload(by_hand(row(*NAMES, number=1) + row(*ANN, number=2) + far), name="users.xlsx")
    assert "wrap.limit" == result.code
    assert "as far as column XFD" in result.text


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    + "]>"
)


def test_entities_do_not_grow(engine: Engine) -> None:
    """A part that grows when it is read is refused."""
    upload = changed(
        by_hand(row(*NAMES) + row("&#38;j;", *ANN[1:])), SHEET, lambda text: BOMB + text.replace("&#38;j;", "&j;")
    )
    assert engine.upload(upload).code in {"wrap.damaged", "wrap.limit"}


@pytest.mark.parametrize("part", [WORKBOOK, SHEET, "[Content_Types].xml", "xl/styles.xml"])
def test_parts_that_are_cut_off(engine: Engine, part: str) -> None:
    """Whatever part is damaged: a refusal, never an error of ours."""
    whole = by_openpyxl(NAMES, ANN)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        length = len(archive.read(part))
    for end in range(0, length, max(1, length // 4)):
        result = engine.upload(changed(whole, part, lambda text, end=end: text[:end]))  # type: ignore[misc]
        assert result.code in {"wrap.damaged", "file.empty", "sheet.choice"}


def test_mutated_workbooks(engine: Engine) -> None:
    """A workbook with other bytes in it is imported or refused, and nothing else."""
    whole = by_openpyxl(NAMES, ANN)
    dice = random.Random(18)  # noqa: S311 - dice
    for _ in range(20):
        upload = bytearray(whole)
        for _ in range(dice.randint(1, 40)):
            upload[dice.randrange(4, len(upload))] = dice.randrange(256)
        engine.upload(bytes(upload))


# -- what comes back -----------------------------------------------------------------------------------------------


def failed_workbook(result: Result, engine: Engine) -> openpyxl.Workbook:
    """Return the failed rows as the client opens them."""
    return openpyxl.load_workbook(engine.folder / result.receipt.claim.claim_id / ".failed.xlsx")


def test_failed_rows_come_back_as_a_workbook(engine: Engine) -> None:
    """All cells are text, those to be corrected are marked, and the corrected workbook is imported as it is."""
    rows: list[list[Any]] = [
        [*NAMES, "date_of_birth"],
        ["00042", "NONE", "Ann", "=1+1", "a@example.org", "a", date(2001, 2, 3)],
        [*ANN, ""],
    ]
    book = openpyxl.load_workbook(io.BytesIO(by_openpyxl(*rows)))
    book.active["D2"].data_type = "s"
    result = engine.upload(saved(book), name="users.xlsx")
    assert ["S1"] == [*engine.users()]
    assert "users.20261122T074205Z.failed.xlsx" in result.text
    answer = failed_workbook(result, engine)
    sheet = answer.active
    assert ["00042", "NONE", "Ann", "=1+1"] == [cell.value for cell in sheet[2]][:4]
    assert {"s"} == {cell.data_type for line in sheet for cell in line if cell.value is not None}
    assert ["B2"] == [cell.coordinate for cell in sheet[2] if cell.fill.fill_type == "solid"]
    sheet["B2"], sheet["D2"] = "OPSCOM", "Lee"
    corrected = engine.upload(saved(answer), name="users.xlsx")
    assert Outcome.IMPORTED is corrected.receipt.outcome
    assert ("Lee", "2001-02-03") == (engine.users()["00042"]["last_name"], engine.users()["00042"]["date_of_birth"])


def test_the_mail_has_the_workbook(engine: Engine) -> None:
    """Both forms are attached, and the steps speak of the workbook."""
    engine.settings(failed_import_email=("ann@example.org",))
    result = engine.upload(by_openpyxl(NAMES, ["S1", "NONE", *ANN[2:]]), name="users.xlsx")
    mail = result.mail
    assert mail is not None
    assert [".failed.csv", ".failed.xlsx"] == [name[name.index(".failed") :] for name in mail.attachments]
    assert "Open the attached workbook" in mail.text
    assert "CSV UTF-8" not in mail.text


def test_a_mail_with_part_of_the_rows_has_no_workbook(engine: Engine) -> None:
    """More rows than a mail has as CSV are in the workbook of the folder, and the steps say so."""
    engine.settings(failed_import_email=("ann@example.org",))
    rows = ([f"S{number}", "NONE", *ANN[2:4], f"a{number}@example.org", f"a{number}"] for number in range(1001))
    mail = engine.upload(by_xlsxwriter(NAMES, *rows), name="users.xlsx").mail
    assert mail is not None
    assert [".failed.csv"] == [name[name.index(".failed") :] for name in mail.attachments]
    assert "failed.xlsx, which is in the folder .bak" in " ".join(mail.text.split())
