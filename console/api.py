"""The pages for programs: the same as JSON, in the structs that `--json` prints, described at /api/openapi.json."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Router, get
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import NotFoundException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import Parameter

from console.clients import ClientDetails
from console.clients import details_for as client_details
from console.imports import PAGE, details_for, filter_of, wanted
from console.mail import Unsent, unsent
from console.on_hold import counted, held_for, waiting_for, without_code
from console.overview import in_order, summary_for
from console.people import found, one_person
from console.reading import Installation, known_clients
from importer.model import OnHold
from importer.store.queries import Import, User
from importer.store.roster.history import Change
from importer.store.searches.imports import search
from operate.overview import ClientSummary, ServiceSummary
from operate.records import ImportDetails


def _only_what_is_there(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Answer for a path that does not exist as all others do: Litestar would show a page of its own."""
    if connection.path_params:
        raise NotFoundException


def schema() -> OpenAPIConfig:
    """Return where the description is, for one application."""
    router = Router("/api", route_handlers=[], guards=[_only_what_is_there], include_in_schema=False)
    plugins = [JsonRenderPlugin()]
    return OpenAPIConfig(
        title="rosterd console", version="1", path="/api", render_plugins=plugins, openapi_router=router
    )


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """How everything is going."""

    concerns: list[str]  # what needs attention, in sentences; empty: all is well
    summary: ServiceSummary


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """One person, and their history, oldest first."""

    user: User | None  # None: nobody has this id any more
    history: list[Change]


class HeldDetails(OnHold, frozen=True, kw_only=True):
    """What waits as one import, and how many of its users it would make, change and so on: counted when it came."""

    counts: dict[str, int]  # as in the ledger; of removals none


@get("/overview", sync_to_thread=True)
def overview(request: Request[Any, Any, State], state: State) -> Overview:
    """Return how everything is going, as `rosterd status --json`; what is on hold is part of it."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        summary = summary_for(reading)
    return Overview(concerns=summary.concerns, summary=summary)


@get("/imports", sync_to_thread=True)
def imports(
    request: Request[Any, Any, State], state: State, before: Annotated[int, Parameter(ge=0, lt=10**18)] = 0
) -> list[Import]:
    """
    Return the newest imports that fit, as `rosterd imports --json`; 50 at most.

    The filter is that of the page: `client`, `outcome`, `since`, `until`, `file`, `code`. `before` is the number of the
    last import of the answer before.
    """
    installation: Installation = state.installation
    asked = filter_of(request.query_params)
    if asked.trouble:
        raise ValidationException(asked.trouble)
    with installation.reading(request.user) as reading:
        return search(reading.conn, wanted(reading, asked, str(before)), PAGE)


@get("/imports/{number:int}", sync_to_thread=True)
def one_import(request: Request[Any, Any, State], state: State, number: int) -> ImportDetails:
    """Return everything about one import, as `rosterd show --json`."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        return details_for(reading, number)


@get("/clients", sync_to_thread=True)
def clients(request: Request[Any, Any, State], state: State) -> list[ClientSummary]:
    """Return all clients, those that need attention first."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        return in_order(summary_for(reading))


@get("/clients/{name:str}", sync_to_thread=True)
def client(request: Request[Any, Any, State], state: State, name: str) -> ClientDetails:
    """Return how a client is, its settings in force, and what came from it in the last 30 days."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        return client_details(reading, name)[0]


@get("/on-hold", sync_to_thread=True)
def on_hold(request: Request[Any, Any, State], state: State) -> list[OnHold]:
    """Return what waits for a decision, oldest first."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        return [without_code(held) for held in waiting_for(reading)]


@get("/on-hold/{number:int}", sync_to_thread=True)
def one_on_hold(request: Request[Any, Any, State], state: State, number: int) -> HeldDetails:
    """Return what waits as this import."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        held = without_code(held_for(reading, number))
        return HeldDetails(**msgspec.structs.asdict(held), counts=counted(reading, held))


@get("/mail", sync_to_thread=True)
def mail(request: Request[Any, Any, State], state: State) -> Unsent:
    """Return mail, and events for webhooks, that wait or were given up; the latter before the former, 200 at most."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        return unsent(reading)


@get("/people", sync_to_thread=True)
def people(request: Request[Any, Any, State], state: State, q: str, client: str = "") -> list[User]:
    """Return people whose id, address or user name begins so, 51 at most; with a client also whose name does."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        clients = [name for name in known_clients(reading) if client in ("", name)]
        return found(reading, q, client, clients) if q and clients else []


@get("/person", sync_to_thread=True)
def person(
    request: Request[Any, Any, State],
    state: State,
    client: str,
    unique_id: Annotated[str, Parameter(query="id")],
) -> Person:
    """Return one person and their history, as `rosterd history --json`."""
    installation: Installation = state.installation
    user, changes = one_person(installation, request.user, client, unique_id)
    return Person(user=user, history=changes)


ROUTER: Final = Router(
    "/api",
    route_handlers=[overview, on_hold, one_on_hold, imports, one_import, clients, client, people, person, mail],
    include_in_schema=True,
)
