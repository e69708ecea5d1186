"""The first page: is all well, what waits for a person, what came from whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.datastructures import State
from litestar.response import Template

from console.reading import Installation, Reading
from console.rendering import page, shown_day
from console.users import ConsoleUser
from importer.store.searches import activity
from importer.store.searches.activity import Day
from operate.output import counted
from operate.overview import ClientSummary, FileOnHold, ServiceSummary, summary_of

DAYS: Final = 30
_MOST_CLIENTS: Final = 50
_HEIGHT: Final = 100


class Square(msgspec.Struct, frozen=True):
    """A client's day in its strip."""

    day: str
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
    with installation.reading(request.user) as reading:
        summary = summary_for(reading)
        since = datetime.now(UTC).replace(hour=0, minute=0, second=0) - timedelta(days=DAYS - 1)
        came = [day for day in activity.days(reading.conn, since) if reading.user.sees(day.client)]
    calendar = [since.date() + timedelta(days=number) for number in range(DAYS)]
    lines = _lines(summary, came, calendar)
    return page(
        request,
        "overview",
        headline=headline(summary),
        summary=summary,
        lines=lines[:_MOST_CLIENTS],
        more=max(0, len(lines) - _MOST_CLIENTS),
        bars=_bars(came, calendar),
        rows=sum(day.rows for day in came),
        failed=sum(day.failed for day in came),
        since_words=f"{shown_day(since)} to {shown_day(summary.at)}",
    )


def summary_for(reading: Reading) -> ServiceSummary:
    """Return how everything is, as far as this reader may know."""
    summary = summary_of(reading.config, reading.conn, looks_into_inboxes=False)
    if reading.user.seen is None:
        return summary
    # Counts and findings of the whole host would tell of other clients.
    return msgspec.structs.replace(
        summary,
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


def _lines(summary: ServiceSummary, came: list[Day], calendar: list[date]) -> list[ClientLine]:
    """Return the clients, those that need attention first."""
    by_client: dict[str, dict[str, Day]] = {}
    for day in came:
        by_client.setdefault(day.client, {})[day.day] = day
    waiting = {file.client for file in summary.on_hold}
    lines = [
        ClientLine(
            client,
            client.client in waiting or bool(_trouble_of(client, summary.at)),
            *_strip(by_client.get(client.client, {}), calendar),
        )
        for client in summary.clients
    ]
    return sorted(lines, key=lambda line: (not line.needs_attention, line.summary.client.casefold()))


def _trouble_of(client: ClientSummary, at: datetime) -> str:
    status = client.status
    return (status.trouble or status.deferred if status else "") or client.overdue_sentence(at)


def _strip(days: dict[str, Day], calendar: list[date]) -> tuple[tuple[Square, ...], str]:
    squares = tuple(_square(each, days.get(each.isoformat())) for each in calendar)
    files = sum(day.files for day in days.values())
    failed = sum(day.failed for day in days.values())
    words = (
        f"{counted(files, 'file', 'files')} in {DAYS} days, {failed:,} rows failed" if files else "no file in 30 days"
    )
    return squares, words


def _square(day: date, came: Day | None) -> Square:
    name = f"{day.day} {day:%b}"
    if came is None:
        return Square(day.isoformat(), "none", f"{name}: no file")
    kind = "refused" if came.refused else "failed" if came.failed else "good"
    refused = f", {came.refused} refused" if came.refused else ""
    words = f"{name}: {counted(came.files, 'file', 'files')}{refused}, {came.rows:,} rows, {came.failed:,} failed"
    return Square(day.isoformat(), kind, words)


def _bars(came: list[Day], calendar: list[date]) -> list[Bar]:
    rows, failed = Counter[str](), Counter[str]()
    for day in came:
        rows[day.day] += day.rows
        failed[day.day] += day.failed
    most = max(rows.values(), default=0)
    return [
        Bar(
            f"{each.day} {each:%b}: {rows[each.isoformat()]:,} rows, {failed[each.isoformat()]:,} failed",
            _share(rows[each.isoformat()], most),
            _share(failed[each.isoformat()], most),
        )
        for each in calendar
    ]


def _share(count: int, most: int) -> int:
    """Return the height of a bar: what there is of it can be seen."""
    return max(1, round(_HEIGHT * count / most)) if count else 0
