"""The first page: is all well, what waits for a person, what came from whom."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.datastructures import State
from litestar.response import Template

from console.access.users import ConsoleUser
from console.charts import RowsPerDay, Square, bars, last_days, strip
from console.reading import Installation, Reading
from console.rendering import page, shown_day
from importer.store.connection import Connection
from importer.store.searches import activity
from importer.store.searches.imports import first_since
from operate.output import counted
from operate.overview import ClientSummary, FileOnHold, ServiceSummary, summary_of
from watcher.health.status import State as FileState

_MOST_CLIENTS: Final = 50


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
    days = last_days(datetime.now(UTC))
    with installation.reading(request.user) as reading:
        summary = summary_for(reading)
        clients = in_order(summary)
        first = first_since(reading.conn, days[0])
        lines = [_line(reading.conn, client, summary, first, days) for client in clients[:_MOST_CLIENTS]]
        came = rows_per_day.counts(reading, days)
    return page(
        request,
        "overview",
        headline=headline(summary),
        summary=summary,
        troubles=[(sentence, leads_to(sentence, summary)) for sentence in summary.troubles],
        lines=lines,
        more=max(0, len(clients) - _MOST_CLIENTS),
        bars=bars(days, came),
        rows=sum(day.rows for day in came),
        failed=sum(day.failed for day in came),
        since_words=f"{shown_day(days[0])} to {shown_day(days[-1])}",
    )


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
        status=msgspec.structs.replace(status, clients=seen, hook_trouble="", reload_trouble="") if status else None,
        on_hold=_seen(reading.user, summary.on_hold),
        pauses=tuple(each for each in summary.pauses if reading.user.sees(each.client)),
        frozen=tuple(each for each in summary.frozen if reading.user.sees(each.client)),
        doctor=None,
        mail_waiting=0,
        mail_failing=0,
        mail_trouble="",
        mail_causes={},
        mail_dead=0,
        hook_failing={},
        hook_dead={},
        unarchived=0,
    )


def _seen(user: ConsoleUser, files: Iterable[FileOnHold]) -> tuple[FileOnHold, ...]:
    return tuple(file for file in files if user.sees(file.client))


def leads_to(sentence: str, summary: ServiceSummary) -> str:
    """Return the address of the page where something is done about it, "" where only a shell helps."""
    client = sentence.partition(": ")[0]
    if any(each.client == client for each in summary.clients):
        return f"/clients/{client}"
    return "/mail" if "`rosterd mail list`" in sentence or "`rosterd hook list`" in sentence else ""


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
        summary.clients, key=lambda each: (not needs_attention(each, waiting, summary.at), each.client.casefold())
    )


def _line(
    conn: Connection, client: ClientSummary, summary: ServiceSummary, first: int, days: list[datetime]
) -> ClientLine:
    waiting = {file.client for file in summary.on_hold}
    squares, words = strip(activity.of_client(conn, client.client, first), days)
    return ClientLine(client, needs_attention(client, waiting, summary.at), squares, words)


def needs_attention(client: ClientSummary, waiting: set[str], at: datetime) -> bool:
    """Tell whether a person has to do something about a client."""
    is_held = client.status is not None and bool(client.status.counts.get(FileState.HELD))
    return client.client in waiting or is_held or bool(_trouble_of(client, at))


def _trouble_of(client: ClientSummary, at: datetime) -> str:
    status = client.status
    return (status.trouble or status.deferred if status else "") or client.overdue_sentence(at)
