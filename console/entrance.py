"""Logging in and out, and the page about one's own account."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Final

import anyio
import msgspec
import structlog
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie, State
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Redirect, Template
from litestar.status_codes import HTTP_303_SEE_OTHER, HTTP_401_UNAUTHORIZED, HTTP_429_TOO_MANY_REQUESTS

from console.access.attempts import Attempts
from console.access.gate import Door, visit_of
from console.access.sessions import Sessions
from console.access.users import MOST_CHARS, Directory, is_password
from console.rendering import page

log = structlog.get_logger()

_MINUTE_S: Final = 60
_LONGEST_TARGET: Final = 2000
_AT_ONCE: Final = anyio.CapacityLimiter(2)  # each try takes 32 MiB for a while


class LoginForm(msgspec.Struct, frozen=True):
    """What a person types."""

    name: str = ""
    password: str = ""
    next: str = ""


_Form = Annotated[LoginForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


@get("/login", sync_to_thread=False)
def login_page(request: Request[Any, Any, State]) -> Template | Redirect:
    """Ask who wants in."""
    visit = visit_of(request.scope)
    if visit.undone_at is not None:
        trouble = "You are logged out, so nothing was done. Log in, and do it again."
        return page(
            request, "login", status=HTTP_401_UNAUTHORIZED, target=inside(visit.undone_at), trouble=trouble, name=""
        )
    target = inside(request.query_params.get("next", ""))
    if visit.session is not None:
        return Redirect(target, status_code=HTTP_303_SEE_OTHER)
    return page(request, "login", target=target, trouble="", name="")


@post("/login", status_code=HTTP_303_SEE_OTHER)
async def login(request: Request[Any, Any, State], state: State, data: _Form) -> Response[Any]:
    """Let a person in: with a new session, whatever session the browser had before."""
    attempts: Attempts = state.attempts
    sessions: Sessions = state.sessions
    directory: Directory = state.directory
    address, name = visit_of(request.scope).address, data.name.strip()
    if wait_s := attempts.wait_s(name, address):
        minutes = max(1, round(wait_s / _MINUTE_S))
        trouble = f"There were too many tries. Try again in {minutes} {'minute' if minutes == 1 else 'minutes'}."
        answer = page(
            request, "login", status=HTTP_429_TOO_MANY_REQUESTS, target=inside(data.next), trouble=trouble, name=""
        )
        answer.set_header("retry-after", str(int(wait_s)))
        return answer
    # Counted before it is looked at, or a hundred tries at a time would be one.
    attempts.note_failure(name, address)
    user = directory.users().get(name)
    check = functools.partial(is_password, user, data.password[: MOST_CHARS + 1])
    if not await anyio.to_thread.run_sync(check, limiter=_AT_ONCE) or user is None:
        # A name that nobody has may be a password in the wrong field.
        log.warning("console.rejected", user=name if user else "", address=address)
        trouble = "This name and password do not fit together."
        return page(
            request, "login", status=HTTP_401_UNAUTHORIZED, target=inside(data.next), trouble=trouble, name=name
        )
    attempts.note_success(name, address)
    sessions.end(visit_of(request.scope).token)
    log.info("console.entered", user=name, address=address)
    cookie = _cookie(state.door, sessions.begin(user))
    return Redirect(inside(data.next), status_code=HTTP_303_SEE_OTHER, cookies=[cookie])


@post("/logout", status_code=HTTP_303_SEE_OTHER, sync_to_thread=False)
def logout(request: Request[Any, Any, State], state: State) -> Response[Any]:
    """End this session."""
    state.sessions.end(visit_of(request.scope).token)
    log.info("console.left", user=request.user.name, sessions=1)
    return _outside(state)


@post("/logout/everywhere", status_code=HTTP_303_SEE_OTHER, sync_to_thread=False)
def logout_everywhere(request: Request[Any, Any, State], state: State) -> Response[Any]:
    """End all sessions of this person."""
    log.info("console.left", user=request.user.name, sessions=state.sessions.end_all(request.user.name))
    return _outside(state)


@get("/account", sync_to_thread=False)
def account(request: Request[Any, Any, State], state: State) -> Template:
    """Show who is logged in, and where else."""
    return page(request, "account", sessions=state.sessions.count(request.user.name))


def _outside(state: State) -> Response[Any]:
    # Not by delete_cookie: a cookie with the prefix __Host- is kept unless what ends it is Secure, too.
    ended = _cookie(state.door, "", max_age=0)
    return Redirect("/login", status_code=HTTP_303_SEE_OTHER, cookies=[ended])


def _cookie(door: Door, value: str, *, max_age: int | None = None) -> Cookie:
    return Cookie(
        key=door.cookie,
        value=value,
        max_age=max_age,
        path="/",
        httponly=True,
        samesite="lax",
        secure=door.is_secure,
    )


def inside(target: str) -> str:
    """Return where to go after the login: a path here, never an address elsewhere."""
    is_path = target.startswith("/") and not target.startswith(("//", "/\\"))
    is_plain = target.isprintable() and target.isascii() and len(target) <= _LONGEST_TARGET and "\\" not in target
    return target if is_path and is_plain else "/"
