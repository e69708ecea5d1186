"""Tests of importer/rows/column_screen.py beyond what holds it and the close look together (test_validate.py)."""

from __future__ import annotations

from tests.engine import Engine


def test_a_clear_token_may_be_written_in_two_ways(engine: Engine) -> None:
    """A token with an accent empties whether configuration and file write the letter as one code point or as two."""
    columns = "unique_id,login_source,first_name,last_name,email,city"
    engine.settings(clear_token="videe\u0301").file(columns, "S1,OPSCOM,Ann,Lee,a@example.org,Ottawa")
    assert 1 == engine.file(columns, "S1,OPSCOM,Ann,Lee,a@example.org,vide\xe9").tally.updated
    assert 1 == engine.file(columns, "S1,OPSCOM,Ann,Lee,a@example.org,videe\u0301").tally.unchanged
