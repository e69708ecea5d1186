"""The first page: is all well, what waits for a person, what came from whom."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.datastructures import State
from litestar.response import Template

from console.access.users import ConsoleUser
from console.reading import Installation, Reading
from console.rendering import page, shown_day
from importer.store.connection import Connection
from importer.store.searches import activity
from importer.store.searches.activity import Day
from importer.store.searches.imports import first_since
from operate.output import counted
from operate.overview import ClientSummary, FileOnHold, ServiceSummary, summary_of

DAYS: Final = 30
_MOST_CLIENTS: Final = 50
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


class ClientLine(msgspec.Struct, frozen=True):
    """What the page says of a client."""

    summary: ClientSummary
    needs_attention: bool
    strip: tuple[Square, ...]
    words: str  # the strip in a sentence


@get("/", sync_to_thread=True)
def overview(request: Request[Any, Any, State], state: State) -> Template:
    """Show how everything is going."""
    installation: Installation = state.installation
    rows_per_day: RowsPerDay = state.rows_per_day
    calendar = _calendar(datetime.now(UTC))
    with installation.reading(request.user) as reading:
        summary = summary_for(reading)
        clients = in_order(summary)
        first = first_since(reading.conn, calendar[0])
        lines = [_line(reading.conn, client, summary, first, calendar) for client in clients[:_MOST_CLIENTS]]
        came = rows_per_day.counts(reading, calendar)
    return page(
        request,
        "overview",
        headline=headline(summary),
        summary=summary,
        lines=lines,
        more=max(0, len(clients) - _MOST_CLIENTS),
        bars=_bars(calendar, came),
        rows=sum(day.rows for day in came),
        failed=sum(day.failed for day in came),
        since_words=f"{shown_day(calendar[0])} to {shown_day(calendar[-1])}",
    )


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


def _calendar(now: datetime) -> list[datetime]:
    """Return the starts of the last days, today's last."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return [today - timedelta(days=number) for number in reversed(range(DAYS))]


def summary_for(reading: Reading) -> ServiceSummary:
    """Return how everything is, as far as this reader may know."""
    summary = summary_of(reading.config, reading.conn, looks_into_inboxes=False)
    if reading.user.seen is None:
        return summary
    # Counts and findings of the whole host would tell of other clients.
    status = summary.status
    seen = tuple(each for each in status.clients if reading.user.sees(each.client)) if status else ()
    return msgspec.structs.replace(
        summary,
        status=msgspec.structs.replace(status, clients=seen) if status else None,
        on_hold=_seen(reading.user, summary.on_hold),
        pauses=tuple(each for each in summary.pauses if reading.user.sees(each.client)),
        frozen=tuple(each for each in summary.frozen if reading.user.sees(each.client)),
        doctor=None,
        mail_waiting=0,
        mail_failing=0,
        mail_trouble="",
        mail_causes={},
        mail_dead=0,
        unarchived=0,
    )


def _seen(user: ConsoleUser, files: Iterable[FileOnHold]) -> tuple[FileOnHold, ...]:
    return tuple(file for file in files if user.sees(file.client))


def headline(summary: ServiceSummary) -> str:
    """Return the one sentence for whoever has time for one."""
    waiting, troubles = len(summary.on_hold), len(summary.troubles)
    if not summary.is_running:
        return "The service is not running."
    if waiting and troubles:
        decisions = counted(waiting, "decision waits for you", "decisions wait for you")
        return f"{decisions}, and {counted(troubles, 'thing needs', 'things need')} attention."
    if waiting:
        return f"{counted(waiting, 'decision waits', 'decisions wait')} for you."
    if troubles:
        return f"{counted(troubles, 'thing needs', 'things need')} attention."
    return "All is well."


def in_order(summary: ServiceSummary) -> list[ClientSummary]:
    """Return the clients, those that need attention first."""
    waiting = {file.client for file in summary.on_hold}
    return sorted(
        summary.clients, key=lambda each: (not _needs_attention(each, waiting, summary.at), each.client.casefold())
    )


def _line(
    conn: Connection, client: ClientSummary, summary: ServiceSummary, first: int, calendar: list[datetime]
) -> ClientLine:
    waiting = {file.client for file in summary.on_hold}
    strip, words = _strip(activity.of_client(conn, client.client, first), calendar)
    return ClientLine(client, _needs_attention(client, waiting, summary.at), strip, words)


def _needs_attention(client: ClientSummary, waiting: set[str], at: datetime) -> bool:
    return client.client in waiting or bool(_trouble_of(client, at))


def _trouble_of(client: ClientSummary, at: datetime) -> str:
    status = client.status
    return (status.trouble or status.deferred if status else "") or client.overdue_sentence(at)


def _strip(days: dict[str, Day], calendar: list[datetime]) -> tuple[tuple[Square, ...], str]:
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


def _bars(calendar: list[datetime], came: list[Day]) -> list[Bar]:
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
