"""Days of birth that mean that nobody entered one: those of programs, and one that many people have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from importer.patterns import regex

# What programs have for a day of birth that was not entered, and the day that Unix counts from, which can be meant.
_NO_DAY: Final = regex(
    r"(?:0{1,8}|\d{4}([-/.])00(?:\1)00|00([-/.])00\2(?:0000|00)|0001-01-01|1[67]\d\d-01-01|1899-12-30|1900-01-00|9999-12-31"
    r"|\d{4}-99-99|1111-11-11)"
    r"(?:[T ]00:00(?::00)?)?\Z",
    re.ASCII,
)
_DUMMY_DAYS: Final = {"1900-01-01": "value.placeholder/day", "1970-01-01": "value.placeholder/epoch"}
_OLDEST: Final = "1915"  # the year in which nobody who lives was born yet, but for a handful
_YOUNGEST: Final = 2  # years, of a user
_FEWEST, _ONE_IN = 5, 100  # rows with the day that Unix counts from: fewer people may be born then
# Rows with any other day. Of people born in one year a fiftieth shares a day only by design, in a file of 500 and more.
_FEWEST_OF_MANY, _ONE_OF_MANY_IN = 10, 50


def is_none(value: str) -> bool:
    """Tell whether a value is a day that never was, in place of one."""
    return bool(_NO_DAY.match(value))


def doubt_of(value: str) -> str:
    """Return the code of what is doubtful about a day of birth, "" if nothing is."""
    if value in _DUMMY_DAYS or len(value) != len("1900-01-01"):
        return _DUMMY_DAYS.get(value, "")
    if "1900" < value < _OLDEST:
        return "value.placeholder/old"
    now = datetime.now(UTC)
    if value < str(now.year - _YOUNGEST):  # most are through with here: to write a day takes longer than all else
        return ""
    first = f"{now.year - _YOUNGEST}{now:-%m-%d}"  # compared as text, as 2025-02-29 is none
    return "value.placeholder/young" if first < value <= f"{now:%Y-%m-%d}" else ""


def is_dummy(value: str) -> bool:
    """Tell whether a value may be the day of a program, in place of a day of birth."""
    return bool(doubt_of(value))


def is_reported(key: str, rows: int, rows_of_file: int) -> bool:
    """Tell whether this number of rows is enough for a warning."""
    return key != "value.placeholder/epoch" or (rows >= _FEWEST and rows * _ONE_IN >= rows_of_file)


def most_of_one_day(days: Mapping[str, int]) -> int:
    """Return how many rows have the most frequent day of birth."""
    return max((count for day, count in days.items() if day and day not in _DUMMY_DAYS), default=0)


def is_common(count: int, rows: int) -> bool:
    """Tell whether so many of these rows have a day of birth that it cannot be meant."""
    return count >= max(_FEWEST, min(_FEWEST_OF_MANY, rows / 2), rows / _ONE_OF_MANY_IN)


def common(days: Mapping[str, int], rows: int) -> set[str]:
    """Return the days of birth that more of these rows have than can be meant."""
    return {day for day, count in days.items() if is_common(count, rows) and day not in _DUMMY_DAYS}
