"""Right files of real people stay without a warning."""

from __future__ import annotations

import pytest

from bench import generate, roster
from tests.engine import Engine

pytestmark = pytest.mark.no_cover  # other tests reach the same, and it takes twice as long

ROWS = 50_000
MOST_IN = 10_000  # rows for one false alarm


def test_names_from_everywhere_raise_no_alarm(engine: Engine) -> None:
    """Of a roster of 50,000 people with names from everywhere no row fails, and at most one in 10,000 is warned of."""
    path = engine.folder / "roster.csv"
    roster.write_file(path, ROWS)
    result = engine.upload(path.read_bytes())
    assert (ROWS, 0) == (result.tally.created, result.tally.failed)
    alarms = {(each.code, each.field): each.rows for each in result.receipt.warnings}
    assert sum(alarms.values()) <= ROWS / MOST_IN, alarms


def test_made_up_rows_raise_no_alarm(engine: Engine) -> None:
    """Of the rows that measure the speed, those that were spoiled on purpose fail, and hardly one is warned of."""
    path = engine.folder / "users.csv"
    generate.write_file(path, ROWS)
    warnings = engine.upload(path.read_bytes()).receipt.warnings
    alarms = {(each.code, each.field): each.rows for each in warnings if each.code != "row.repeated"}  # on purpose
    assert sum(alarms.values()) <= ROWS / MOST_IN, alarms
