"""Columns of a file that have each other's values."""

from __future__ import annotations

import pytest

from tests.engine import HEADER, Engine

PEOPLE = (("Marie", "Gagnon"), ("Jean", "Roy"), ("Luc", "Bouchard"), ("Guy", "Morin"), ("Lise", "Hart"), ("Ann", "Lee"))
OTHERS = (("Siobhan", "Byrne"), ("Arjun", "Patel"), ("Wei", "Zhang"), ("Noor", "Khan"), ("Olu", "Bello"))


def keys(engine: Engine, rows: list[str]) -> list[str]:
    """Return the keys of the warnings."""
    engine.emptied().settings(required=("first_name", "last_name"))
    return [each.reason.key for each in engine.rows(*rows).receipt.warnings]


def test_first_names_in_the_column_of_last_names_are_told(engine: Engine) -> None:
    """As far as they are names that hardly anybody has as a last name."""
    rows = [f"S{n},OPSCOM,{last},{first},u{n}@school.ca,u{n}" for n, (first, last) in enumerate(PEOPLE)]
    assert ["name.exchanged/columns"] == keys(engine, rows)
    assert ["name.exchanged/columns"] == [each.reason.key for each in engine.rows(*rows).receipt.warnings]
    assert [] == keys(engine, [f"S{n},OPSCOM,{first},{last},," for n, (first, last) in enumerate(PEOPLE)])


def test_last_names_in_capitals_tell_where_they_are(engine: Engine) -> None:
    """Of the two columns they are the last names."""
    rows = [f"S{n},OPSCOM,{last.upper()},{first},," for n, (first, last) in enumerate(OTHERS)]
    assert ["name.exchanged/columns"] == keys(engine, rows)
    assert [] == keys(engine, [f"S{n},OPSCOM,{first},{last.upper()},," for n, (first, last) in enumerate(OTHERS)])


@pytest.mark.parametrize("place", ["{0}@school.ca,", ",{0}"])
def test_accounts_tell_which_name_is_the_first(engine: Engine, place: str) -> None:
    """They begin with its initial, and end with the last name."""
    accounts = [place.format(f"{first[0]}{last}".lower()) for first, last in OTHERS]
    both = [*zip(OTHERS, accounts, strict=True)]
    rows = [f"S{n},OPSCOM,{last},{first},{account}" for n, ((first, last), account) in enumerate(both)]
    assert ["name.exchanged/columns"] == keys(engine, rows)
    rows = [f"S{n},OPSCOM,{first},{last},{account}" for n, ((first, last), account) in enumerate(both)]
    assert [] == keys(engine, rows)


def test_addresses_in_the_column_of_user_names_are_told_where_there_are_no_others(engine: Engine) -> None:
    """Users who need no address were recorded without one, and with a user name that is none."""
    rows = [f"S{n},OPSCOM,{first},{last},,u{n}@school.ca" for n, (first, last) in enumerate(PEOPLE)]
    assert ["row.shifted/column"] == keys(engine, rows)
    header = HEADER.replace("email,", "")
    assert {} == engine.rows(*(row.replace(",,", ",") for row in rows), header=header).warnings
