"""What the answer says when the first line has no names of columns between delimiters that we know."""

from __future__ import annotations

import pytest

from importer.model import message
from tests.engine import Engine

COLUMNS = "unique_id,login_source,first_name,last_name,email"
USERS = ("S1,OPSCOM,Ann,Lee,ann@example.org", "S2,OPSCOM,Bob,Roy,bob@example.org", "S3,OPSCOM,Zoé,Côté,z@example.org")


def keys(engine: Engine, *lines: str, encoding: str = "utf-8") -> list[str]:
    """Return what a file of these lines is refused for."""
    content = "".join(f"{line}\n" for line in lines).encode(encoding)
    return [each.key for each in engine.upload(content).refusal]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "names", [COLUMNS, "Student ID,Source,First Name,Last Name,E-mail", "employee,login_source,first_name,last_name,x"]
)
def test_users_in_columns_are_told(engine: Engine, names: str, delimiter: str) -> None:
    """A table with a line for each attribute is named as that, in our names and in those of others."""
    table = zip(names.split(","), *(user.split(",") for user in USERS), strict=True)
    assert ["header.unknown/transposed"] == keys(engine, *map(delimiter.join, table))


def test_a_few_users_with_ids_like_names_are_not_taken_for_columns(engine: Engine) -> None:
    """The first column of a file with names of columns is not looked at."""
    assert [] == keys(engine, COLUMNS, *(f"{each},OPSCOM,Ann,Lee,{each}@example.org" for each in ("s1", "s2", "s3")))


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
@pytest.mark.parametrize(
    ("separator", "key"),
    [
        *((separator, "separator") for separator in ("\xfe", "\xa7", "\xa6")),
        *((separator, "separator_other") for separator in ("\x14", r"\t")),
    ],
)
def test_other_separators_are_named(engine: Engine, separator: str, key: str, encoding: str) -> None:
    """Those that are letters, too, and in a file that is not UTF-8 because of them."""
    lines = [line.replace(",", separator) for line in (COLUMNS, *USERS[:2])]
    assert [f"header.unknown/{key}"] == keys(engine, *lines, encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_the_marks_of_concordance_are_named(engine: Engine, encoding: str) -> None:
    """They are a thorn around each value, and a control character between two of them."""
    lines = ["\x14".join(f"\xfe{value}\xfe" for value in line.split(",")) for line in (COLUMNS, *USERS)]
    assert ["header.unknown/separator_other"] == keys(engine, *lines, encoding=encoding)


@pytest.mark.parametrize(
    ("line", "kind"),
    [("ISA*00*          *00*          *ZZ*A~", "EDI"), ("UNA:+.? 'UNB+UNOA:1+A+B'", "EDI"), (r"MSH|^~\&|A|B", "HL7")],
)
def test_messages_between_systems_are_named(engine: Engine, line: str, kind: str) -> None:
    """EDI and HL7 have other separators, and no names."""
    assert kind in engine.file(line, line).detail


def test_lists_of_a_program_are_named(engine: Engine) -> None:
    """Who prints a list in Python uploads no CSV."""
    assert "Python" in engine.file(str(COLUMNS.split(",")), str(USERS[0].split(","))).detail


@pytest.mark.parametrize(("opening", "closing"), ["~~", "||", "^^", "''", "``", "[]", "{}", "()"])
def test_marks_around_all_values_are_named(engine: Engine, opening: str, closing: str) -> None:
    """One answer says that the export quotes by other marks, whether the names are in them, too, or the rows alone."""
    names, *users = (",".join(f"{opening}{value}{closing}" for value in line.split(",")) for line in (COLUMNS, *USERS))
    mark = opening if opening == closing else opening + closing
    assert (message("header.unknown/marks", line="1", mark=mark),) == engine.file(names, *users).refusal
    reasons = engine.file(COLUMNS, *users).reasons
    assert 3 == len(reasons)
    assert all(f"in marks that we do not expect: {mark}." in reason for reason in reasons.values())


def test_names_alone_in_brackets_are_told_one_by_one(engine: Engine) -> None:
    """As SQL Server shows them: the values need no change."""
    names = ",".join(f"[{name}]" for name in COLUMNS.split(","))
    assert ["header.unknown/spelling"] * 5 == keys(engine, names, *USERS)


@pytest.mark.parametrize("name", ["Unnamed: 0", "No", "#", "Nr.", "Lfd. Nr.", "Index", "N°", "$CASENUM"])
def test_a_column_that_numbers_the_rows_is_told(engine: Engine, name: str) -> None:
    """What to delete is named; a column of other numbers is only unknown."""
    numbered = [f"{number},{user}" for number, user in enumerate(USERS, 1)]
    assert (message("header.unknown/numbered", name=name),) == engine.file(f"{name},{COLUMNS}", *numbered).refusal
    others = [f"{number},{user}" for number, user in zip((4711, 23, 815), USERS, strict=True)]
    assert ["header.unknown/strange"] == keys(engine, f"{name},{COLUMNS}", *others)


@pytest.mark.parametrize("name", ["Index", "Unnamed: 0"])
def test_numbers_of_some_rows_are_told_by_their_name(engine: Engine, name: str) -> None:
    """As in a table from which rows were taken."""
    rows = [f"{number},{user}" for number, user in zip((3, 7, 12), USERS, strict=True)]
    assert ["header.unknown/numbered"] == keys(engine, f"{name},{COLUMNS}", *rows)


@pytest.mark.parametrize("between", [" : ", "=", ": "])
def test_a_list_of_values_is_told(engine: Engine, between: str) -> None:
    """As PowerShell and mysql show a few users; a title above it changes nothing."""
    names = COLUMNS.split(",")
    lines = [f"{name}{between}{value}" for user in USERS for name, value in zip(names, user.split(","), strict=True)]
    assert ["header.unknown/list"] == keys(engine, "**** 1. row ****", *lines)


def test_names_in_each_row_are_told(engine: Engine) -> None:
    """Crystal Reports repeats titles and names in each row; no value of a user is quoted as a column."""
    lines = [f'"Users","unique_id","first_name","{number}","Ann"' for number in ("S0001", "S0002")]
    result = engine.file(*lines)
    assert (message("header.unknown/each_line", line="1"),) == result.refusal
    assert "S0001" not in result.text


def test_a_missing_name_is_told_where_it_is_that_of_the_id(engine: Engine) -> None:
    """Each row has a value more than there are names: none of them has to be renamed."""
    assert ["header.unknown/too_few"] == keys(engine, COLUMNS.removeprefix("unique_id,"), *USERS)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        ("ID;PWXL;N;E\r\nP;PGeneral", "SYLK"),
        ('TABLE\r\n0,1\r\n"EXCEL"', "DIF"),
        ("@{unique_id=S1; first_name=Ann}", "PowerShell"),
        ('"ClassId2e4f51ef21dd47e99d3c952918aff9cd","pageHeaderEntry"', "PowerShell"),
    ],
)
def test_other_kinds_of_tables_are_named(engine: Engine, first: str, kind: str) -> None:
    """They are text, and were read as names or users."""
    assert (message("file.not_csv/data", kind=kind),) == engine.file(first, 'C;Y1;X1;K"unique_id"', COLUMNS).refusal


@pytest.mark.parametrize("value", ["#REF!", "#N/A", "#Name?", "#ERROR!"])
def test_an_error_value_in_place_of_users_is_an_error(engine: Engine, value: str) -> None:
    """Of a spreadsheet or a database whose source is gone."""
    assert ["file.not_csv/error"] == keys(engine, value)
    assert ["file.not_csv/error"] == keys(engine, ",".join([value] * 3))


@pytest.mark.parametrize("padding", ["", ",,,,"])
def test_rows_in_one_cell_are_told(engine: Engine, padding: str) -> None:
    """Quoted as a whole, with or without the blank cells that Excel adds."""
    result = engine.file(COLUMNS, *(f'"{user}"{padding}' for user in USERS))
    assert all("The whole row is in one cell." in reason for reason in result.reasons.values())
    assert 3 == result.tally.failed
