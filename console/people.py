"""People: who is recorded, with what values, and everything that happened to one of them."""

from __future__ import annotations

import urllib.parse
from typing import Any, Final

import msgspec
from litestar import Request, get
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.response import Template

from console.access.users import ConsoleUser
from console.reading import Installation, Reading, known_clients
from console.rendering import page
from importer.attributes import ATTRIBUTES
from importer.store import queries
from importer.store.queries import User
from importer.store.roster import history
from importer.store.roster.history import Change
from importer.store.searches import people as search

MOST: Final = 50
_MOST_CHARS: Final = 400
_KINDS: Final = {
    "created": "Recorded",
    "updated": "Changed",
    "deactivated": "Made inactive",
    "reinstated": "Made active again",
    "rekeyed": "Got another id",
    "undone": "Taken back",
    "erased": "Erased",
}
_INACTIVE_BY: Final = {
    "operator": "an operator made them inactive",
    "snapshot": "missing from the files of their feed",
    "status": "a file said so",
    "undo": "an import was taken back",
}


class Value(msgspec.Struct, frozen=True):
    """What was changed of one attribute."""

    name: str
    before: str
    after: str


class Event(msgspec.Struct, frozen=True):
    """What happened to a person at one time."""

    change: Change
    what: str
    values: tuple[Value, ...]


@get("/people", sync_to_thread=True)
def people(request: Request[Any, Any, State], state: State) -> Template:
    """Find people by the beginning of an id, an address or a user name; of one client also by name."""
    installation: Installation = state.installation
    text = request.query_params.get("q", "").strip()[:_MOST_CHARS]
    client = request.query_params.get("client", "").strip()[:_MOST_CHARS]
    with installation.reading(request.user) as reading:
        names = known_clients(reading)
        clients = [name for name in names if client in ("", name)]
        matches = found(reading, text, client, clients) if text and clients else []
    return page(
        request,
        "people",
        text=text,
        client=client,
        clients=names,
        found=matches[:MOST],
        is_cut=len(matches) > MOST,
        link=link,
    )


@get("/person", sync_to_thread=True)
def person(request: Request[Any, Any, State], state: State) -> Template:
    """Show one person, and their history, newest first."""
    installation: Installation = state.installation
    client, unique_id = (request.query_params.get(name, "")[:_MOST_CHARS] for name in ("client", "id"))
    user, changes = one_person(installation, request.user, client, unique_id)
    values = [(name, user[name]) for name in ATTRIBUTES if user[name]] if user else []
    return page(
        request,
        "person",
        client=client,
        unique_id=unique_id,
        name=_name(user) if user else "",
        person=user,
        inactive=_INACTIVE_BY.get(str(user["inactive_by"]), "") if user and user["inactive_by"] else "",
        values=values,
        events=[_event(each) for each in reversed(changes)],
    )


def link(user: User) -> str:
    """Return the address of a person's page."""
    return "/person?" + urllib.parse.urlencode({"client": user["client"], "id": user["unique_id"]})


def one_person(
    installation: Installation, reader: ConsoleUser, client: str, unique_id: str
) -> tuple[User | None, list[Change]]:
    """Return one person and their history. Raises NotFoundException, also if the reader may not see the client."""
    if not reader.sees(client):
        raise NotFoundException
    with installation.reading(reader) as reading:
        user = queries.find_user(reading.conn, client, unique_id)
        changes = history.story(reading.conn, client, unique_id)
    if user is None and not changes:
        raise NotFoundException
    return user, changes


def found(reading: Reading, text: str, client: str, clients: list[str]) -> list[User]:
    """Return people of these clients; of one `client`, if it is named, also by name. One more than are shown."""
    is_of_all = not client and reading.user.seen is None
    matches = search.begin_with(reading.conn, text, clients, is_of_all=is_of_all, limit=MOST + 1)
    if client and len(matches) <= MOST:
        known = {user["unique_id"] for user in matches}
        named = search.named(reading.conn, text, client, MOST + 1)
        matches += [user for user in named if user["unique_id"] not in known]
    return matches[: MOST + 1]


def _name(user: User) -> str:
    return " ".join(str(user[name]) for name in ("first_name", "last_name") if user[name])


def _event(change: Change) -> Event:
    values = (
        Value("state", "inactive" if old else "active", "inactive" if new else "active")
        if name == "inactive_by"
        else Value(name, old or "", new or "")
        for name, (old, new) in change.changes.items()
    )
    return Event(change, _KINDS.get(change.kind, change.kind), tuple(values))
