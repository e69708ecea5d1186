"""Users whom nobody is, ids unlike all others, and values that are two."""

from __future__ import annotations

import pytest

from importer.rows.values import addresses, remarks
from tests.engine import HEADER, Engine

ROWS = [f"S{n},OPSCOM,Ann,Lee,ann{n}@school.ca,ann{n}" for n in range(10, 17)]


def keys(engine: Engine, first: str, last: str, address: str = "a@school.ca", unique_id: str = "S1") -> list[str]:
    """Return the warnings of a user, each the end of its key and its column."""
    result = engine.emptied().rows(f'{unique_id},OPSCOM,"{first}","{last}",{address},', *ROWS)
    assert 8 == result.tally.created
    assert all((2,) == each.lines for each in result.receipt.warnings)
    return [f"{each.reason.key.rpartition('/')[2]} {each.field}" for each in result.receipt.warnings]


@pytest.mark.parametrize(
    ("first", "last"),
    [
        *(("First", "Last"), ("Test", "User"), ("TEST", "STUDENT"), ("test", "test"), ("Sample", "Student")),
        *(("Demo", "User"), ("New", "Employee"), ("Guest", "Account"), ("Foo", "Bar"), ("Do Not", "Use")),
        *(("Max", "Mustermann"), ("Lorem", "Ipsum"), ("Élève", "Test"), ("Student", "One"), ("string", "string")),
    ],
)
def test_users_of_samples_and_tests_are_told(engine: Engine, first: str, last: str) -> None:
    """Names that nobody has together are those of a template that somebody uploaded with the users."""
    assert ["sample last_name"] == keys(engine, first, last)


def test_john_doe_is_a_sample_with_an_example_address(engine: Engine) -> None:
    """With another address it may be somebody's name."""
    assert ["sample last_name"] == keys(engine, "Jane", "Doe", "jane.doe@example.com")
    assert [] == keys(engine, "Jane", "Doe", "jane.doe@school.ca")


@pytest.mark.parametrize(
    ("first", "last"),
    [
        *(("Grace", "Student"), ("Ann", "Test"), ("Will", "Last"), ("Joe", "One"), ("John", "Test"), ("May", "User")),
        *(("AB", "Lee"), ("ANN", "ON"), ("Ma", "On"), ("Al", "Al Sayed"), ("João", "São João"), ("Ben", "Ben Saïd")),
        *(("Ann", "Annan Lee"), ("Lee", "Lee"), ("Ann", "Lee Roy"), ("Mary Jane", "Lee")),
    ],
)
def test_names_of_people_are_not_told(engine: Engine, first: str, last: str) -> None:
    """Each of the two is also one of a sample, of a province, or a part of the other."""
    assert [] == keys(engine, first, last)


@pytest.mark.parametrize(
    ("first", "last", "column"), [("ON", "Lee", "first_name"), ("Ann", "ON", "last_name"), ("Ann", "BC", "last_name")]
)
def test_the_code_of_a_province_is_no_name(engine: Engine, first: str, last: str, column: str) -> None:
    """It is in the wrong column, unless all names are in capitals."""
    assert [f"province {column}"] == keys(engine, first, last)


@pytest.mark.parametrize(
    ("first", "last"), [("Ann", "Ann Lee"), ("Ann", "Lee Ann"), ("Ann", "Lee, Ann"), ("Mary Jane", "Mary Jane Lee")]
)
def test_the_whole_name_in_the_last_name_is_told(engine: Engine, first: str, last: str) -> None:
    """As is that in the first name."""
    assert "whole last_name" in keys(engine, first, last)


@pytest.mark.parametrize(
    "unique_id",
    ["S2 and S3", "S2/S3", "S2;S3", "S2 & S3", "1001/1002", "1001;1002", "1001+1002", "1001 or 1002", "1001 et 1002"],
)
def test_two_ids_in_one_cell_are_told(engine: Engine, unique_id: str) -> None:
    """They are stored as the one of one user."""
    assert ["two unique_id"] == keys(engine, "Eve", "Hart", unique_id=unique_id)


def test_ids_that_all_have_a_sign_between_numbers_are_not_told(engine: Engine) -> None:
    """They are made of the year and a number."""
    rows = [f"2024/00{n},OPSCOM,Ann,Lee,ann{n}@school.ca,ann{n}" for n in range(10, 15)]
    assert {} == engine.rows(*rows).warnings
    assert remarks.is_two_reported(1, 2)
    assert not remarks.is_two_reported(2, 3)


def test_a_line_of_names_or_a_closing_line_is_no_word_for_an_id(engine: Engine) -> None:
    """The row is told as what it is."""
    result = engine.rows(*ROWS, HEADER, "Total,,,,,")
    assert ({"header.again"}, {10: "9003"}) == ({*result.warnings}, result.codes)


@pytest.mark.parametrize(
    "local",
    [
        *("test", "test1", "testuser", "unknown", "none", "noemail", "noemail2", "na", "n/a", "null", "undefined"),
        *("email", "example", "first.last", "firstname.lastname", "null.null", "sans.courriel", "inconnu", "temp"),
    ],
)
def test_made_up_addresses_are_told(engine: Engine, local: str) -> None:
    """Once, whatever their domain is."""
    assert ["address email"] == keys(engine, "Eve", "Hart", f"{local}@school.ca")


@pytest.mark.parametrize("local", ["natalie", "na.li", "nonet", "testa", "emailia", "nullmann", "dummett"])
def test_addresses_that_only_begin_like_them_are_not_told(local: str) -> None:
    """As names do."""
    assert "" == addresses.doubt_of(f"{local}@school.ca")
