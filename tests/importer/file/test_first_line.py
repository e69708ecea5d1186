"""What the answer says when the first line has no names of columns between delimiters that we know."""

from __future__ import annotations

import pytest

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
