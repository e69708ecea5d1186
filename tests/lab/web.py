"""An HTTP server on 127.0.0.1 that writes down what is requested, and can refuse, redirect and be silent."""

from __future__ import annotations

import enum
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.lab.sshd import HOST


class Mode(enum.Enum):
    """What the server does with a request."""

    ANSWER = enum.auto()
    REFUSE = enum.auto()
    REDIRECT = enum.auto()  # to the same path below /moved
    LISTEN = enum.auto()  # and say nothing


class WebServer:
    """The server as a context manager. `paths` holds what was requested, oldest first."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.mode = Mode.ANSWER
        self.paths: list[str] = []
        self._silence = threading.Event()
        self._server = ThreadingHTTPServer((HOST, 0), self._handler())
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._silence.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.paths.append(self.path)
                match server.mode:
                    case Mode.LISTEN:
                        server._silence.wait()
                    case Mode.REDIRECT if not self.path.startswith("/moved"):
                        self.send_response(302)
                        self.send_header("Location", f"/moved{self.path}")
                        self.end_headers()
                    case Mode.REFUSE:
                        self.send_error(503)
                    case _:
                        self.send_response(204)
                        self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
