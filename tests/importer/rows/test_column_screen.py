"""Tests of importer/rows/column_screen.py beyond what holds it and the close look together (test_validate.py)."""

from __future__ import annotations

import itertools

import pytest

from importer.file.table import STRETCH_ROWS
from tests.engine import Engine

_COLUMNS = "unique_id,login_source,first_name,last_name,email,city"


def test_a_clear_token_may_be_written_in_two_ways(engine: Engine) -> None:
    """A token with an accent empties whether configuration and file write the letter as one code point or as two."""
    engine.settings(clear_token="videe\u0301").file(_COLUMNS, "S1,OPSCOM,Ann,Lee,a@example.org,Ottawa")
    assert 1 == engine.file(_COLUMNS, "S1,OPSCOM,Ann,Lee,a@example.org,vide\xe9").tally.updated
    assert 1 == engine.file(_COLUMNS, "S1,OPSCOM,Ann,Lee,a@example.org,videe\u0301").tally.unchanged


@pytest.mark.parametrize("last_name", ["Lee", "Lee{}"], ids=["of few names", "of many names"])
def test_a_wrong_value_is_told_each_time_it_comes_again(engine: Engine, last_name: str) -> None:
    """Values that come again are looked at once, and only right ones are taken for right later."""
    last = [
        "".join(letters) for letters in itertools.islice(itertools.product("abcdefghij", repeat=4), 4 * STRETCH_ROWS)
    ]
    rows = [f"S1{n:04d},OPSCOM,Ann,{last_name.format(name)},a{n}@example.org,Ottawa" for n, name in enumerate(last)]
    lines = (5, 1500, 2500, 3800)
    for line in lines:
        rows[line - 2] = f"S1{line - 2:04d},OPSCOM,Ann,Lee@,b{line}@example.org,K1A 0B1"
    told = {each.field: each.lines for each in engine.file(_COLUMNS, *rows).receipt.warnings}
    assert lines == told["last_name"]
    assert lines == told["city"]
