"""What is to be sent: mail, and events for webhooks, to be tried again or dropped by the service."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
from litestar import Request, get, post
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.response import Redirect, Template
from litestar.status_codes import HTTP_303_SEE_OTHER

from console.orders import given, notice, operators_only
from console.reading import Installation, Reading
from console.rendering import page
from importer.store import queries
from importer.store.queries import QueuedMail
from importer.store.tables import hooks
from importer.store.tables.hooks import HookEvent
from watcher.control.client import Order

MOST: Final = 200
_PENDING: Final = ("dead", "waiting")


class Unsent(msgspec.Struct, frozen=True, kw_only=True):
    """What waits to be sent or was given up."""

    mails: list[QueuedMail]
    events: list[HookEvent]  # that a webhook has not taken; without their bodies


@get("/mail", sync_to_thread=True)
def mail(request: Request[Any, Any, State], state: State) -> Template:
    """List mail that waits or was given up, newest first; the latter before the former."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        found = unsent(reading)
    return page(
        request,
        "mail",
        mails=[(each, _addresses(each)) for each in found.mails],
        events=found.events,
        notice=notice(request),
        most=MOST,
    )


@post("/mail/{number:int}/{change:str}", guards=[operators_only], status_code=HTTP_303_SEE_OTHER, sync_to_thread=True)
def change_mail(request: Request[Any, Any, State], state: State, number: int, change: str) -> Template | Redirect:
    """Have the service try a mail again, or drop it."""
    if change not in ("retry", "drop"):
        raise NotFoundException
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        found = queries.find_mail(reading.conn, number) if 0 < number < 1 << 63 else None
    if found is None or not request.user.sees(found[0].client):
        raise NotFoundException
    order = Order(do=f"mail.{change}", id=str(number), client=found[0].client, by=request.user.name)
    return given(request, installation, order, "/mail")


@post("/hooks/{number:int}/{change:str}", guards=[operators_only], status_code=HTTP_303_SEE_OTHER, sync_to_thread=True)
def change_event(request: Request[Any, Any, State], state: State, number: int, change: str) -> Template | Redirect:
    """Have the service try an event for a webhook again, or drop it."""
    if change not in ("retry", "drop"):
        raise NotFoundException
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        event = hooks.find(reading.conn, number) if 0 < number < 1 << 63 else None
    if event is None or not request.user.sees(event.client):
        raise NotFoundException
    order = Order(do=f"hook.{change}", id=str(number), client=event.client, by=request.user.name)
    return given(request, installation, order, "/mail")


def unsent(reading: Reading) -> Unsent:
    """Return what of that the reader may see."""
    clients = [None] if reading.user.seen is None else [*reading.user.seen]
    found = [
        each for client in clients for each in queries.mails(reading.conn, client=client, states=_PENDING, limit=MOST)
    ]
    events = [
        msgspec.structs.replace(each, body="")
        for each in hooks.events(reading.conn, hook=None, states=_PENDING, limit=MOST)
        if each.last_error and reading.user.sees(each.client)
    ]
    mails = sorted(found, key=lambda each: (each.state != "dead", -each.id))[:MOST]
    return Unsent(mails=mails, events=events)


def _addresses(about: QueuedMail) -> str:
    return ", ".join(json.loads(about.recipients))
