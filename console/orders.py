"""What a person has the service do: who may, how it is asked, and what is said of it on the next page."""

from __future__ import annotations

from typing import Any, BinaryIO, Final

import structlog
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.response import Redirect, Template
from litestar.status_codes import HTTP_303_SEE_OTHER, HTTP_409_CONFLICT

from console.access.gate import visit_of
from console.reading import Installation
from console.rendering import page
from watcher.control.client import NoAnswer, NotRunning, Order, ask, ask_for_file
from watcher.settings import Config

_HINTS: Final = {
    "StoreBusy": "Another program writes to the database: `fuser -v {database}` shows which. Try again later",
    "StoreFull": "The disk of the database is full: make room on that of {database}, and try again",
}

_NOT_RUNNING: Final = "not running: `systemctl start rosterd`"

log = structlog.get_logger()


class NotHandedOver(Exception):
    """There is no file to be had. The message says why."""


def operators_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """Raise PermissionDeniedException for whoever may only look."""
    if not connection.user.may_decide:
        raise PermissionDeniedException


def carried_out(installation: Installation, order: Order) -> tuple[bool, str]:
    """Give an order to the service; return whether it was carried out, and what is said of it."""
    try:
        answer = ask(installation.config().service.state_dir, order)
    except NotRunning:
        return False, f"The service is {_NOT_RUNNING}"
    except NoAnswer as error:
        return False, f"The service has not answered ({error}): see whether it was done before you try again"
    hint = next((hint for kind, hint in _HINTS.items() if not answer.done and f" {kind}: " in answer.text), "")
    return answer.done, hint.format(database=installation.config().service.database) or answer.text


def handed_over(config: Config, do: str, client: str, name: bytes) -> tuple[BinaryIO, bytes]:
    """Return a file that the service opens, and its name: the console opens no inbox. Raises NotHandedOver."""
    try:
        return ask_for_file(config.service.state_dir, do, client, name)
    except NotRunning:
        raise NotHandedOver(f"the service hands files over, and is {_NOT_RUNNING}") from None
    except NoAnswer as error:
        raise NotHandedOver(f"the service has not answered ({error}); load this page again") from None
    except FileNotFoundError:
        raise NotHandedOver("the service cannot open it; `rosterd verify`, run by root, says what is missing") from None


def given(
    request: Request[Any, Any, State],
    installation: Installation,
    order: Order,
    back: str,
    title: str = "Nothing was changed.",
) -> Template | Redirect:
    """Give an order, and go back to a page that says what was done; a page with this title says why it was not."""
    done, text = carried_out(installation, order)
    about = {"id": int(order.id)} if order.id else {"file": order.file}
    log.info("console.ordered", user=order.by, order=order.do, client=order.client, done=done, **about)
    if not done:
        return page(request, "trouble", status=HTTP_409_CONFLICT, title=title, remedy=f"{text}.")
    notify(request, "; ".join(line.strip() for line in text.splitlines()))
    return Redirect(back, status_code=HTTP_303_SEE_OTHER)


def notify(request: Request[Any, Any, State], text: str) -> None:
    """Have the next page say this, once."""
    if (session := visit_of(request.scope).session) is not None:
        session.notice = f"{text}."


def notice(request: Request[Any, Any, State]) -> str:
    """Return what is to be said once."""
    session = visit_of(request.scope).session
    if session is None:
        return ""
    text, session.notice = session.notice, ""
    return text
