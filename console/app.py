"""The application: its pages, what they share, and what is answered when one fails."""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

import structlog
from litestar import Litestar, MediaType, Request, Response, get
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import State
from litestar.exceptions import HTTPException, InternalServerException, NotFoundException
from litestar.status_codes import HTTP_500_INTERNAL_SERVER_ERROR, HTTP_503_SERVICE_UNAVAILABLE

from console import api, clients, entrance, imports, mail, on_hold, overview, people
from console.access.attempts import Attempts
from console.access.gate import Forms, Gate, door_of
from console.access.sessions import Sessions
from console.access.users import Directory
from console.charts import RowsPerDay
from console.reading import DatabaseUnreadable, Installation
from console.rendering import STATIC, page, template_config
from watcher.settings import Config

log = structlog.get_logger()

_TYPES: Final = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_MAX_BODY_BYTES: Final = 64 << 10
_TROUBLES: Final = {
    403: ("You may not do that.", "If you came from a page that was open for long, go back, reload it and try again."),
    404: ("There is no such page.", "What it showed may be decided, or purged, or of a client whom you do not see."),
    405: ("There is no such page.", ""),
    413: ("The request is too large.", ""),
}
HANDLERS: Final = (
    *(entrance.login_page, entrance.login, entrance.logout, entrance.logout_everywhere, entrance.account),
    overview.overview,
    *(imports.imports, imports.one_import, imports.download, imports.replay, imports.undo_preview, imports.undo),
    *(people.people, people.person),
    *(clients.clients, clients.client, clients.end_hold, clients.guide, clients.guide_file),
    *(mail.mail, mail.change_mail, mail.change_event),
    *(on_hold.on_hold, on_hold.one_on_hold, on_hold.all_changes, on_hold.decide),
)


@get("/static/{name:str}", media_type=MediaType.TEXT, sync_to_thread=False)
def static(name: str) -> Response[bytes]:
    """Return one of our own files."""
    if name not in STATIC:
        raise NotFoundException
    kind = _TYPES[name.rpartition(".")[2]]
    return Response(STATIC[name], media_type=kind, headers={"cache-control": "max-age=86400"})


def make_app(config: Config) -> Gate:
    """Return the application for an installation."""
    settings = config.console
    door = door_of(settings)
    sessions = Sessions(time.monotonic, idle_s=settings.idle_s, most_s=settings.max_session_s)
    directory = Directory(config.service.state_dir)
    state = {
        "attempts": Attempts(time.monotonic),
        "directory": directory,
        "door": door,
        "installation": Installation(config),
        "rows_per_day": RowsPerDay(),
        "sessions": sessions,
    }
    forms = CSRFConfig(
        secret=secrets.token_urlsafe(32),
        cookie_name=door.csrf_cookie,
        cookie_httponly=True,
        cookie_samesite="lax",
        cookie_secure=door.is_secure,
    )
    app = Litestar(
        [static, *HANDLERS, api.ROUTER],
        csrf_config=forms,
        exception_handlers={
            DatabaseUnreadable: _unreadable,
            HTTPException: _failed,
            HTTP_500_INTERNAL_SERVER_ERROR: _broken,
        },
        logging_config=None,
        include_in_schema=False,
        openapi_config=api.schema(),
        request_max_body_size=_MAX_BODY_BYTES,
        state=State(state),
        template_config=template_config(),
    )
    return Gate(Forms(app, forms), door, sessions, directory)


def _unreadable(request: Request[Any, Any, Any], error: DatabaseUnreadable) -> Response[Any]:
    return _trouble(
        request,
        HTTP_503_SERVICE_UNAVAILABLE,
        "The database cannot be read.",
        f"{error}. Nothing can be shown until it can; `rosterd doctor`, run by root, says what to do.",
    )


def _failed(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    title, remedy = _TROUBLES.get(error.status_code, ("This request cannot be understood.", error.detail))
    return _trouble(request, error.status_code, title, remedy)


def _broken(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    if type(error) is not InternalServerException:  # Litestar's own: the browser went away in the middle of a request
        log.error("console.failed", path=request.url.path, exc_info=error)
    return _trouble(
        request,
        HTTP_500_INTERNAL_SERVER_ERROR,
        "This page has failed.",
        "The log of the console says why; please report it.",
    )


def _trouble(request: Request[Any, Any, Any], status: int, title: str, remedy: str) -> Response[Any]:
    if request.url.path.startswith("/api/"):
        return Response({"error": title, "remedy": remedy}, status_code=status)
    return page(request, "trouble", status=status, title=title, remedy=remedy)
