"""The clients: what is configured for one, how its inbox is, what came from it, and the guide that it gets."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.params import Body
from litestar.response import Redirect, Template
from litestar.status_codes import HTTP_303_SEE_OTHER

from console.charts import bars, days_of, last_days, strip
from console.orders import given, notice, operators_only
from console.overview import in_order, needs_attention, summary_for
from console.reading import Installation, Reading, known_clients
from console.rendering import attachment, markup, page
from importer.settings import ClientSettings
from importer.store import queries
from importer.store.searches.activity import Day
from operate.output import shown
from operate.overview import ClientSummary, ServiceSummary
from operate.pages.guide import guide_parts
from operate.pages.guide_context import Access
from operate.pages.markup import as_html, as_section
from operate.provision.keys import host_keys
from watcher.control.client import Order
from watcher.settings import Config

PAGE: Final = 100
_LONG: Final = 12  # clients, more than anybody finds at a glance
_MOST_CHARS: Final = 200
_SSH_PORT: Final = 22
_HOST: Final = re.compile(r"\A[A-Za-z0-9.:-]{1,253}\Z")
_PORT: Final = re.compile(r"\A[1-9][0-9]{0,4}\Z")
_APART: Final = ("name", "inbox", "feed", "guard")  # what the page has elsewhere, or in tables of its own


class ClientDetails(msgspec.Struct, frozen=True, kw_only=True):
    """One client: how it is, and what is configured for it."""

    name: str
    concerns: list[str]  # what needs attention, in sentences; empty: all is well
    summary: ClientSummary | None  # None: it is not configured any more
    next_expected_at: datetime | None  # when an upload is overdue; None: none is expected
    settings: ClientSettings | None  # those in force, defaults too
    days: dict[str, Day]  # of the last 30, those on which anything came


class Line(msgspec.Struct, frozen=True):
    """What the list says of a client."""

    summary: ClientSummary
    needs_attention: bool
    inbox: str
    next_at: datetime | None


class HeldForm(msgspec.Struct, frozen=True):
    """Which file is meant."""

    file: str = ""


_Form = Annotated[HeldForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


@get("/clients", sync_to_thread=True)
def clients(request: Request[Any, Any, State], state: State) -> Template:
    """List the clients, those that need attention first."""
    installation: Installation = state.installation
    text = request.query_params.get("q", "").strip()[:_MOST_CHARS]
    with installation.reading(request.user) as reading:
        summary = summary_for(reading)
    waiting = {file.client for file in summary.on_hold}
    matching = [each for each in in_order(summary) if text.casefold() in each.client.casefold()]
    lines = [
        Line(each, needs_attention(each, waiting, summary.at), inbox_words(each), next_expected(each))
        for each in matching[:PAGE]
    ]
    return page(
        request,
        "clients",
        text=text,
        lines=lines,
        more=max(0, len(matching) - PAGE),
        is_any=bool(summary.clients),
        is_long=len(summary.clients) > _LONG,
    )


@get("/clients/{name:str}", sync_to_thread=True)
def client(request: Request[Any, Any, State], state: State, name: str) -> Template:
    """Show one client."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        details, summary = details_for(reading, name)
        entries = queries.imports(reading.conn, client=name, since=None, failed=False, limit=5)
    calendar = last_days(datetime.now(UTC))
    came = [details.days.get(f"{day:%Y-%m-%d}", Day()) for day in calendar]
    settings = details.settings
    return page(
        request,
        "client",
        bars=bars(calendar, came),
        details=details,
        entries=entries,
        feeds=settings.feed if settings else (),
        frozen={each.feed: each for each in summary.frozen},
        inbox=inbox_words(details.summary) if details.summary else "",
        is_running=summary.is_running,
        notice=notice(request),
        on_hold=summary.on_hold,
        own=[*_listed(settings, is_own=True)] if settings else [],
        pauses=summary.pauses,
        rows=sum(day.rows for day in came),
        squares=strip(details.days, calendar),
        troubles=summary.troubles,
        others=[*_listed(settings, is_own=False)] if settings else [],
    )


@post(
    "/clients/{name:str}/held/{decision:str}",
    guards=[operators_only],
    status_code=HTTP_303_SEE_OTHER,
    sync_to_thread=True,
)
def end_hold(
    request: Request[Any, Any, State], state: State, name: str, decision: str, data: _Form
) -> Template | Redirect:
    """Have the service import a file that looks cut off as it is, or refuse it."""
    installation: Installation = state.installation
    if decision not in ("release", "refuse") or not request.user.sees(name):
        raise NotFoundException
    order = Order(do=f"file.{decision}", client=name, file=data.file, by=request.user.name)
    return given(request, installation, order, f"/clients/{name}")


@get("/clients/{name:str}/guide", sync_to_thread=True)
def guide(request: Request[Any, Any, State], state: State, name: str) -> Template:
    """Show what the client is told about uploading, in one of its languages."""
    settings, config, used = _about(request, state, name)
    asked, access = request.query_params.get("language", ""), _access(request, name)
    language = asked if asked in settings.language else settings.language[0]
    parts = guide_parts(settings, access, config, used=used, languages=[language])
    content = markup(as_section(parts[language]))
    return page(
        request,
        "guide",
        name=name,
        access=access,
        language=language,
        languages=settings.language,
        content=content,
    )


@get("/clients/{name:str}/guide.html", sync_to_thread=True)
def guide_file(request: Request[Any, Any, State], state: State, name: str) -> Response[bytes]:
    """Return the same, in all languages of the client, as a file to send to it."""
    settings, config, used = _about(request, state, name)
    parts = guide_parts(settings, _access(request, name), config, used=used)
    return attachment(f"{name}.html", as_html(parts).encode())


def details_for(reading: Reading, name: str) -> tuple[ClientDetails, ServiceSummary]:
    """Return a client, and how the service is as far as it concerns it; NotFoundException if there is none."""
    if name not in known_clients(reading):
        raise NotFoundException
    alone = reading.of_one(name)
    summary = summary_for(alone)
    own = next(iter(summary.clients), None)
    details = ClientDetails(
        name=name,
        concerns=summary.concerns,
        summary=own,
        next_expected_at=next_expected(own) if own else None,
        settings=next(iter(alone.config.clients), None),
        days=days_of(reading.conn, name),
    )
    return details, summary


def next_expected(client: ClientSummary) -> datetime | None:
    """Return by when an upload is expected; None when none is, or none came yet."""
    if client.expected_s is None or client.last_import is None:
        return None
    return client.last_import.finished_at + timedelta(seconds=client.expected_s)


def inbox_words(client: ClientSummary) -> str:
    """Return how an inbox is, in a word or two."""
    status = client.status
    if status is None:
        return "unknown: the service is not running"
    if status.trouble:
        return "unusable"
    return "watched" if status.is_watched else "swept only"


def _listed(settings: ClientSettings, *, is_own: bool) -> Iterator[tuple[str, str]]:
    """Yield settings as the configuration has them: those that are not as they come, or the others."""
    usual = ClientSettings(name=settings.name, inbox="")
    for prefix, each, default in (("", settings, usual), ("guard.", settings.guard, usual.guard)):
        for name in each.__struct_fields__:
            value = getattr(each, name)
            if not (prefix == "" and name in _APART) and is_own == (value != getattr(default, name)):
                yield prefix + name, _written(value)


def _written(value: object) -> str:
    if isinstance(value, msgspec.Struct):
        return _written({name: each for name, each in msgspec.structs.asdict(value).items() if each})
    return shown(value, limit=None) or "none"


def _about(
    request: Request[Any, Any, State], state: State, name: str
) -> tuple[ClientSettings, Config, tuple[str, ...]]:
    """Return a client, and the attributes that it has sent."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        settings = reading.config.clients_by_name.get(name)
        if settings is None:
            raise NotFoundException
        return settings, reading.config, queries.used_attributes(reading.conn, name)


def _access(request: Request[Any, Any, State], name: str) -> Access:
    """Return where clients upload: what was typed, or what this host knows of itself."""
    host, port = (request.query_params.get(each, "").strip() for each in ("host", "port"))
    return Access(
        host=host if _HOST.match(host) else socket.getfqdn(),
        port=int(port) if _PORT.match(port) else _SSH_PORT,
        login=name,
        host_keys=tuple(host_keys()),
    )
