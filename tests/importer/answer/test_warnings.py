"""Warnings are mailed when they are news, and not with every file."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from importer.model import message
from tests.engine import HEADER, Engine

pytestmark = pytest.mark.usefixtures("both_databases")

SOUND = f"{HEADER}\nS1,OPSCOM,Ann,Lee,ann@example.org,ann\n".encode()
WARNED = {
    "encoding.garbled": SOUND.replace(b"Ann", "ZoÃ©".encode()),
    "encoding.fallback": SOUND.replace(b"Ann", "Zoé".encode("cp1252")),
    "column.secret": b"\n".join(line + end for line, end in zip(SOUND.splitlines(), (b",password", b",x"), strict=True))
    + b"\n",
    "columns.ignored": SOUND.replace(b"email,user_name", b"email,Homeroom"),
    "id.case": SOUND + b"s1,OPSCOM,Bob,Roy,bob@example.org,bob\n",
    "value.damaged": SOUND.replace(b"user_name", b"student_no").replace(b",ann\n", b",1.2E+05\n"),
    "email.letters": SOUND.replace(b"ann@", "é@".encode()),
    "email.misspelt": SOUND.replace(b"example.org", b"gmial.com"),
    "name.doubtful": SOUND.replace(b"Ann", b"12345"),
    "value.marks": SOUND.replace(b"Ann", b"'Ann'"),
    "row.shifted": SOUND.replace(b"S1,", b"OPSCOM,").replace(b"ann", b"x"),
}


def is_mailed(engine: Engine, content: bytes) -> bool:
    return engine.upload(content).letter is not None


@pytest.mark.parametrize("code", WARNED)
def test_a_warning_is_mailed_once_until_it_goes_away(tmp_path: Path, code: str) -> None:
    """The first file with it is mailed, the next ones are not, a restart changes nothing; later it is news again."""
    settings = {"fallback_encoding": "cp1252", "unknown_columns": "ignore"}
    with contextlib.closing(Engine(tmp_path, **settings)) as engine:
        result = engine.upload(WARNED[code])
        assert code in result.warnings
        assert result.mail is not None
        assert "Your user file users.csv was imported with 1 warning" == result.mail.subject
        assert "Warnings - " in result.mail.text
        assert not is_mailed(engine, WARNED[code])
    with contextlib.closing(Engine(tmp_path, **settings)) as engine:
        engine._files = 2
        mailed = [is_mailed(engine, content) for content in (WARNED[code], SOUND, SOUND, WARNED[code], WARNED[code])]
    assert [False, False, False, True, False] == mailed


def test_ignored_columns_are_named(engine: Engine) -> None:
    """A warning names the columns that nobody knows, not those that the client's settings ignore knowingly."""
    engine.settings(unknown_columns="ignore", columns={"Bus": ""})
    result = engine.file(f"{HEADER},Homeroom,Bus,,Grade", "S1,OPSCOM,Ann,Lee,ann@example.org,ann,1,2,,3")
    assert (
        'We ignored columns that we do not know: "Homeroom", "Grade". If we should import one of them, rename it, or '
        "write to us and we will set up its name."
    ) in result.text
    many = engine.file(",".join((HEADER, *(f"x{n}" for n in range(60)))), "S1,OPSCOM,Ann,Lee,ann@example.org,ann")
    assert '"x49" and 10 more.' in many.text


def test_ignored_columns_that_may_be_ours_are_told_by_their_names(engine: Engine) -> None:
    """A column that may be an attribute is told with its name, unless the file has that attribute."""
    engine.settings(unknown_columns="ignore")
    result = engine.file(f"{HEADER},Cell Phone,Birth Date,Mail,Grade", "S1,OPSCOM,Ann,Lee,ann@example.org,ann,1,,x,2")
    assert 1 == result.tally.created
    assert [
        message("columns.ignored/did_you_mean", name="Cell Phone", expected="phone_cell"),
        message("columns.ignored/did_you_mean", name="Birth Date", expected="date_of_birth"),
        message("columns.ignored", names=("Mail", "Grade")),
    ] == [each.reason for each in result.receipt.warnings]
    [only] = engine.file(f"{HEADER},student.phone_cell", "S1,OPSCOM,Ann,Lee,ann@example.org,ann,1").receipt.warnings
    assert message("columns.ignored/did_you_mean", name="student.phone_cell", expected="phone_cell") == only.reason
    assert 'We ignored the column "Cell Phone", which may be "phone_cell". If it is, rename' in result.text


def test_a_column_with_secrets_is_named_as_it_can_be_shown(engine: Engine) -> None:
    """Its name is cut where it is long, and has no mark that turns round what follows, as all names in answers."""
    title = "password\u202e" + "x" * 100
    result = engine.settings(unknown_columns="ignore", columns={title: ""}).file(
        f"{HEADER},{title}", "S1,OPSCOM,Ann,Lee,ann@example.org,ann,1"
    )
    assert "password\\u202e" + "x" * 71 == result.warnings["column.secret"].field
    assert result.mail is not None
    assert "\u202e" not in result.text + result.mail.html


def test_each_kind_is_news_of_its_own(engine: Engine) -> None:
    """A second warning is mailed though the first one is still there, with both; that one went away is not mailed."""
    both = WARNED["encoding.garbled"] + b"s1,OPSCOM,Bob,Roy,bob@example.org,bob\n"
    mailed = [is_mailed(engine, content) for content in (WARNED["encoding.garbled"], both, WARNED["encoding.garbled"])]
    assert [True, True, False] == mailed


def test_a_file_that_could_not_be_read_says_nothing_of_warnings(engine: Engine) -> None:
    """A refused file in between makes no warning news."""
    garbled = WARNED["encoding.garbled"]
    assert [True, True, False] == [is_mailed(engine, content) for content in (garbled, b"nonsense\nS1\n", garbled)]


def test_warnings_of_others_are_no_news(engine: Engine) -> None:
    """Each client has warnings of its own; what nobody has to look at is never mailed."""
    assert is_mailed(engine, WARNED["encoding.garbled"])
    assert is_mailed(engine.settings(name="beta"), WARNED["encoding.garbled"])
    assert not is_mailed(engine.settings(name="gamma"), SOUND + SOUND.splitlines()[1] + b"\n")


def test_each_file_of_a_client_has_warnings_of_its_own(engine: Engine) -> None:
    """A client that uploads several files, or a correction in between, is not mailed the same warning each time."""
    garbled, mailed = WARNED["encoding.garbled"], []
    for name, content in [("pupils.csv", garbled), ("staff.csv", SOUND)] * 2 + [("pupils.csv", SOUND)]:
        mailed.append(engine.upload(content, name=name).letter is not None)
    assert [True, False, False, False, False] == mailed
    assert is_mailed(engine, garbled), "of a new name: the last file had none"
