"""
What every request passes before it reaches a page, and every answer on its way back.

By itself, so that no page can forget it: which names of this host are answered, how large the head of a request may be,
who asks, and the headers that keep a browser from doing more than the page says.
"""

from __future__ import annotations

import hmac
import ipaddress
import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final, cast

import msgspec
import structlog
from litestar.config.csrf import CSRFConfig
from litestar.middleware.csrf import CSRF_SECRET_LENGTH, generate_csrf_hash

from console.access.sessions import Session, Sessions
from console.access.users import Directory, UsersUnreadable
from watcher.settings import ConsoleSettings

log = structlog.get_logger()

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

OPEN_PATHS: Final = ("/login", "/static/")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
_NOT_LET_IN: Final = (
    "The proxy has named nobody who may log in, by one header {header}.\n"
    "`rosterd console user list` says who may, `rosterd console user add NAME --role ROLE --no-password` adds one.\n"
)
_RENEWAL: Final = "x-renewal"  # our script asks, and not a person: the session lasts no longer for that
MAX_HEAD_BYTES: Final = 32 << 10  # uvicorn counts only one that comes in pieces
_MAX_COOKIE_CHARS: Final = 4096
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_NOT_STORED: Final = {"cache-control": "no-store"}


class Visit(msgspec.Struct, frozen=True):
    """Who asks, and from where."""

    session: Session | None
    token: str  # what the cookie has, whatever that is
    address: str
    is_by_proxy: bool = False  # which has let the user in, and logs out
    undone_at: str | None = None  # the page of a form that nobody sent who is logged in


def visit_of(scope: object) -> Visit:
    """Return who asks by a request that has passed the gate."""
    return cast("dict[str, Visit]", scope)["visit"]


class Door(msgspec.Struct, frozen=True):
    """How browsers reach the console: what follows from its settings."""

    is_secure: bool  # only by HTTPS
    hosts: tuple[str, ...]  # what else than names of this host itself is answered
    is_socket: bool  # a proxy alone can reach it, and says in a header from where
    user_header: str = ""  # the header in which the proxy says who asks; "": whoever knows a password

    @property
    def cookie(self) -> str:
        """Return the name of the cookie; browsers keep that with the prefix from all other hosts and paths."""
        return "__Host-rosterd" if self.is_secure else "rosterd"

    @property
    def csrf_cookie(self) -> str:
        """Return the name of the other cookie, which every form has to match."""
        return f"{self.cookie}-form"


def door_of(settings: ConsoleSettings) -> Door:
    """Return how browsers reach the console."""
    netloc = urllib.parse.urlsplit(settings.url).netloc.lower()
    is_socket = settings.listen.startswith("/")
    host = settings.listen.rpartition(":")[0]
    hosts = (netloc,) if netloc else () if is_socket else (settings.listen.lower(), host.lower())
    is_secure = bool(netloc) or not (is_socket or is_loopback(host))
    return Door(is_secure, hosts, is_socket, settings.proxy_user_header.lower() if is_socket else "")


def is_loopback(host: str) -> bool:
    """Tell whether nobody on another host can reach this address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Gate:
    """The application, guarded."""

    def __init__(self, app: App, door: Door, sessions: Sessions, directory: Directory) -> None:
        self._app = app
        self._door = door
        self._sessions = sessions
        self._directory = directory

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request, as an ASGI application does."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        path = scope["path"]
        guarded = _with_headers(send, {} if path.startswith("/static/") else _NOT_STORED)
        if not self._is_ours(headers.get("host", "")):
            await _answer(guarded, 421, "This is not the name of this host. See [console] url in config.toml.\n")
            return
        if _head_bytes(scope) > MAX_HEAD_BYTES:
            await _answer(guarded, 431, "The head of the request is too large.\n")
            return
        token = self._token(headers.get("cookie", ""))
        address = self._address(scope, headers)
        try:
            if self._door.user_header:
                session = self._named_by_proxy(scope, address)
            else:
                session = self._session(token, is_used=_RENEWAL not in headers)
        except (UsersUnreadable, OSError) as error:
            log.error("console.closed", reason=str(error))
            await _answer(guarded, 503, f"Nobody can log in: {error}\n")
            return
        scope["visit"] = Visit(session, token, address, is_by_proxy=bool(self._door.user_header))
        scope["user"] = session.user if session else None
        if session is None and self._door.user_header and not path.startswith("/static/"):
            await _answer(guarded, 403, _NOT_LET_IN.format(header=self._door.user_header))
            return
        if session is None and not path.startswith(OPEN_PATHS):
            if path.startswith("/api") or scope["method"] in ("GET", "HEAD"):
                await self._send_away(scope, guarded)
                return
            scope = _told_to_log_in(scope, headers.get("referer", ""))
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # uvicorn leaves the body out, by what it has kept
        await self._app(scope, receive, guarded)

    def _is_ours(self, host: str) -> bool:
        """Tell whether a request is for us: a page elsewhere whose name leads to this address is not."""
        host = host.lower()
        name, _, port = host.rpartition(":") if not host.endswith("]") and ":" in host else (host, "", "")
        is_local = name in _LOOPBACK and (not port or port.isdigit())
        return host in self._door.hosts or (is_local and not self._door.is_socket)

    def _token(self, cookie: str) -> str:
        try:
            morsel = SimpleCookie(cookie[:_MAX_COOKIE_CHARS]).get(self._door.cookie)
        except CookieError:
            return ""
        return morsel.value if morsel else ""

    def _session(self, token: str, *, is_used: bool) -> Session | None:
        users = self._directory.users()  # also for nobody: or a password would be typed in vain
        return self._sessions.find(token, users, is_used=is_used) if token else None

    def _named_by_proxy(self, scope: _Message, address: str) -> Session | None:
        """Return the session of whom the proxy names; a header that is there twice may be the browser's own."""
        wanted = self._door.user_header.encode()
        names = [value.decode("latin-1").strip() for name, value in scope["headers"] if name.lower() == wanted]
        user = self._directory.users().get(names[0]) if len(names) == 1 else None
        if user is None:
            return None
        session, is_new = self._sessions.of_proxy(user)
        if is_new:
            log.info("console.entered", user=user.name, address=address)
        return session

    def _address(self, scope: _Message, headers: dict[str, str]) -> str:
        """Return who asks. Behind a socket only the proxy knows it; elsewhere anybody could write that header."""
        if self._door.is_socket:
            return headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        return str(scope["client"][0]) if scope.get("client") else ""

    @staticmethod
    async def _send_away(scope: _Message, send: _Send) -> None:
        path = scope["path"]
        if path.startswith("/api"):
            await _answer(send, 401, "Log in first.\n")
            return
        query = scope.get("query_string", b"").decode("latin-1")
        wanted = urllib.parse.quote(path) + (f"?{query}" if query else "")
        target = "/login" if wanted == "/" else f"/login?next={urllib.parse.quote(wanted, safe='')}"
        await _answer(send, 303, "", ("location", target))


class Forms:
    """
    The application, without tokens of forms that it has not signed, such as those of before a restart.

    Litestar would show one in all forms, as the browser has it, and refuse each: nobody could log in there again.
    """

    def __init__(self, app: App, config: CSRFConfig) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer one request, as an ASGI application does."""
        if scope["type"] == "http":
            headers = [
                (name, self._without_stale(value) if name == b"cookie" else value) for name, value in scope["headers"]
            ]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)

    def _without_stale(self, cookies: bytes) -> bytes:
        prefix = f"{self._config.cookie_name}=".encode()
        parts = (part.strip() for part in cookies.split(b";"))
        kept = (part for part in parts if not part.startswith(prefix) or self._is_signed(part.removeprefix(prefix)))
        return b"; ".join(kept)

    def _is_signed(self, token: bytes) -> bool:
        text = token.decode("latin-1")
        signature = generate_csrf_hash(text[:CSRF_SECRET_LENGTH], self._config.secret)
        return hmac.compare_digest(signature.encode(), token[CSRF_SECRET_LENGTH:])


def _told_to_log_in(scope: _Message, page: str) -> _Message:
    """Return a request for the form to log in, in place of one that changes something on a page."""
    path = page.partition("://")[2].partition("/")[2]
    visit = msgspec.structs.replace(visit_of(scope), undone_at=f"/{path}")
    asked = {"method": "GET", "path": "/login", "raw_path": b"/login", "query_string": b""}
    return {**scope, **asked, "visit": visit}


def _head_bytes(scope: _Message) -> int:
    fields = sum(len(name) + len(value) for name, value in scope["headers"])
    return fields + len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")


def _with_headers(send: _Send, more: dict[str, str]) -> _Send:
    ours = [(name.encode(), value.encode()) for name, value in {**_HEADERS, **more}.items()]
    names = {name for name, _ in ours}

    async def sending(message: _Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in names]
            message["headers"] = [*kept, *ours]
        await send(message)

    return sending


async def _answer(send: _Send, status: int, text: str, *headers: tuple[str, str]) -> None:
    fields = (("content-type", "text/plain; charset=utf-8"), *headers)
    encoded = [(name.encode(), value.encode("latin-1", "replace")) for name, value in fields]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": text.encode()})
