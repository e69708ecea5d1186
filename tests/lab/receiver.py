"""The receiver of a webhook on 127.0.0.1: it checks each signature, writes down what came, and can misbehave."""

from __future__ import annotations

import base64
import contextlib
import enum
import hashlib
import hmac
import json
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from tests.lab.sshd import HOST

SECRET = "whsec_" + base64.b64encode(b"of the tests, 24 bytes..").decode()
_FLOOD_BYTES = 64 << 20


class Mode(enum.Enum):
    """What the receiver does with a request that it has written down."""

    TAKE = enum.auto()
    FAIL = enum.auto()  # 500
    REFUSE = enum.auto()  # 400
    LEAVE = enum.auto()  # 410
    REDIRECT = enum.auto()  # to another path of itself
    LISTEN = enum.auto()  # and say nothing
    DRIP = enum.auto()  # a byte of the answer now and then
    FLOOD = enum.auto()  # an answer without end
    HANG_UP = enum.auto()


_STATUS = {Mode.TAKE: 204, Mode.FAIL: 500, Mode.REFUSE: 400, Mode.LEAVE: 410}


class Request(NamedTuple):
    """One request: its id, whether its signature is right, and its body."""

    id: str
    is_genuine: bool
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """Return the body as an object."""
        event: dict[str, Any] = json.loads(self.body)
        return event


class Receiver:
    """The receiver as a context manager. `requests` holds what came, oldest first."""

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.mode = Mode.TAKE
        self.requests: list[Request] = []
        self.paths: list[str] = []
        self._over = threading.Event()
        self._server = ThreadingHTTPServer((HOST, port), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_port
        self.url = f"http{'s' if tls else ''}://{HOST}:{self.port}/in?token=t0ken"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of_type(self, event: str) -> list[Request]:
        """Return the requests about an event."""
        return [request for request in list(self.requests) if request.event["type"] == event]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size_bytes = int(self.headers["Content-Length"])
                body = self.rfile.read(size_bytes)
                if len(body) < size_bytes:  # who sends it was killed
                    return
                receiver.paths.append(self.path)
                receiver.requests.append(Request(self.headers["webhook-id"], _is_genuine(self.headers, body), body))
                with contextlib.suppress(OSError):
                    receiver._answer(self)

            def do_GET(self) -> None:
                receiver.paths.append(self.path)
                self.send_error(405)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        if self.mode is Mode.LISTEN:
            self._over.wait()
        elif self.mode is Mode.DRIP:
            for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100_000:
                request.wfile.write(bytes([byte]))
                if self._over.wait(0.05):
                    return
        elif self.mode is Mode.FLOOD:
            _send(request, 200, **{"Content-Length": str(_FLOOD_BYTES)})
            for _ in range(_FLOOD_BYTES >> 20):
                request.wfile.write(bytes(1 << 20))
        elif self.mode is Mode.REDIRECT:
            _send(request, 302, Location="/elsewhere")
        elif self.mode is not Mode.HANG_UP:
            _send(request, _STATUS[self.mode])


def _send(request: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()


def _is_genuine(headers: Any, body: bytes) -> bool:  # noqa: ANN401 - of the library
    """Check a signature as docs/webhooks.md has it."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = b"%s.%s.%s" % (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body)
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(expected, headers["webhook-signature"])
