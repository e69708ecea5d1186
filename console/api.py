"""The pages for programs: the same as JSON, in the structs that `--json` prints, described at /api/openapi.json."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Router, get
from litestar.datastructures import State
from litestar.exceptions import ValidationException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import Parameter

from console.imports import PAGE, details_for, filter_of, wanted
from console.overview import summary_for
from console.people import found, one_person
from console.reading import Installation, known_clients
from importer.store.queries import Import, User
from importer.store.roster.history import Change
from importer.store.searches.imports import search
from operate.overview import ServiceSummary
from operate.records import ImportDetails

SCHEMA: Final = OpenAPIConfig(title="rosterd console", version="1", path="/api", render_plugins=[JsonRenderPlugin()])


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """How everything is going."""

    concerns: list[str]  # what needs attention, in sentences; empty: all is well
    summary: ServiceSummary


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """One person, and their history, oldest first."""

    user: User | None  # None: nobody has this id any more
    history: list[Change]


@get("/overview", sync_to_thread=True)
def overview(request: Request[Any, Any, State], state: State) -> Overview:
    """Return how everything is going, as `rosterd status --json`; what is on hold is part of it."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        summary = summary_for(reading)
    return Overview(concerns=summary.concerns, summary=summary)


@get("/imports", sync_to_thread=True)
def imports(request: Request[Any, Any, State], state: State, before: str = "") -> list[Import]:
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
        return search(reading.conn, wanted(reading, asked, before), PAGE)


@get("/imports/{number:int}", sync_to_thread=True)
def one_import(request: Request[Any, Any, State], state: State, number: int) -> ImportDetails:
    """Return everything about one import, as `rosterd show --json`."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        return details_for(reading, number)


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


ROUTER: Final = Router("/api", route_handlers=[overview, imports, one_import, people, person], include_in_schema=True)
