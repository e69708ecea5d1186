"""What the pages draw of days: a strip of a client, bars of rows. The templates have the shapes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from console.reading import Reading
from importer.store.connection import Connection
from importer.store.searches import activity
from importer.store.searches.activity import Day
from importer.store.searches.imports import first_since
from operate.output import counted

DAYS: Final = 30
_HEIGHT: Final = 100


class Square(msgspec.Struct, frozen=True):
    """A client's day in its strip."""

    kind: str  # "none", "good", "failed" (some rows), "refused" (a file)
    words: str


class Bar(msgspec.Struct, frozen=True):
    """The rows of a day."""

    words: str
    height: int  # of 100
    failed: int  # likewise, those of the rows that failed


class RowsPerDay:
    """The rows of each day. Days that are over are counted once: of a large ledger that takes a while."""

    def __init__(self) -> None:
        self._counted: dict[tuple[tuple[str, ...] | None, datetime], Day] = {}

    def counts(self, reading: Reading, calendar: list[datetime]) -> list[Day]:
        """Return what came on each of these days, the last of which is today."""
        seen = reading.user.seen
        *over, today = calendar
        days = []
        for day in over:
            days.append(self._counted.get((seen, day)) or activity.of_day(reading.conn, day, seen))
            self._counted[seen, day] = days[-1]
        for key in [key for key in self._counted.copy() if key[1] < calendar[0]]:
            self._counted.pop(key, None)
        return [*days, activity.of_day(reading.conn, today, seen)]


def last_days(now: datetime) -> list[datetime]:
    """Return the starts of the last days, today's last."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return [today - timedelta(days=number) for number in reversed(range(DAYS))]


def days_of(conn: Connection, client: str) -> dict[str, Day]:
    """Return the last days on which anything came from a client: "2026-09-05" and what."""
    return activity.of_client(conn, client, first_since(conn, last_days(datetime.now(UTC))[0]))


def strip(days: dict[str, Day], calendar: list[datetime]) -> tuple[tuple[Square, ...], str]:
    """Return the strip of a client, and what it says in a sentence."""
    squares = tuple(_square(each, days.get(f"{each:%Y-%m-%d}", Day())) for each in calendar)
    files = sum(day.files for day in days.values())
    failed = sum(day.failed for day in days.values())
    rows = f"{failed:,} {'row' if failed == 1 else 'rows'} failed"
    return squares, f"{counted(files, 'file', 'files')} in {DAYS} days, {rows}" if files else f"no file in {DAYS} days"


def _square(day: datetime, came: Day) -> Square:
    name = f"{day.day} {day:%b}"
    if not came.files:
        return Square("none", f"{name}: no file")
    kind = "refused" if came.refused else "failed" if came.failed else "good"
    refused = f", {came.refused} refused" if came.refused else ""
    return Square(kind, f"{name}: {counted(came.files, 'file', 'files')}{refused}, {_rows(came)}")


def bars(calendar: list[datetime], came: list[Day]) -> list[Bar]:
    """Return a bar for each day, the highest of which is that with most rows."""
    most = max(day.rows for day in came)
    return [
        Bar(f"{day.day} {day:%b}: {_rows(each)}", _share(each.rows, most), _share(each.failed, most))
        for day, each in zip(calendar, came, strict=True)
    ]


def _rows(day: Day) -> str:
    return f"{day.rows:,} {'row' if day.rows == 1 else 'rows'}, {day.failed:,} failed"


def _share(count: int, most: int) -> int:
    """Return the height of a bar: what there is of it can be seen."""
    return max(1, round(_HEIGHT * count / most)) if count else 0
