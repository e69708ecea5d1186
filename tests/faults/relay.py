"""A mail server that takes mail, until it is told to misbehave at a step of the conversation."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import socketserver
import ssl
import threading
from collections.abc import Iterator
from typing import Self

STEPS = ("greeting", "EHLO", "MAIL", "RCPT", "DATA", "content")
DRIP_S = 0.1

_USUAL = {
    "greeting": "220 relay",
    "EHLO": "250 relay",
    "HELO": "250 relay",
    "MAIL": "250 ok",
    "RCPT": "250 ok",
    "DATA": "354 go on",
    "content": "250 taken",
    "RSET": "250 ok",
    "QUIT": "221 bye",
}


@dataclasses.dataclass(frozen=True)
class Fault:
    """At `step` the server answers with `answer`: a line, or what it does in place of it."""

    step: str
    answer: str  # "451 ...", "drop", "hang", "drip"


class _Dropped(Exception):
    """The server has hung up."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One connection as files."""

    rfile: io.BufferedIOBase
    wfile: io.BufferedIOBase | io.RawIOBase


class Relay:
    """
    The server as a context manager. `mails` are those it has taken, whether it could say so or not.

    With `tls` it is spoken to by TLS from the first byte. On `port` 0 it takes any that is free.
    """

    def __init__(self, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self._asked_port = port
        self.tls = tls
        self.fault: Fault | None = None
        self.mails: list[bytes] = []
        self.ending = threading.Event()

    def __enter__(self) -> Self:
        relay = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(_Dropped, OSError):
                    if relay.tls is None:
                        relay.converse(Line(self.rfile, self.wfile))
                        return
                    with relay.tls.wrap_socket(self.request, server_side=True) as secured:
                        relay.converse(Line(secured.makefile("rb"), secured.makefile("wb", buffering=0)))

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True

        self._server = Server(("127.0.0.1", self._asked_port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """Return the port on 127.0.0.1."""
        return int(self._server.server_address[1])

    def converse(self, connection: Line) -> None:
        """Go through one conversation."""
        self._answer(connection, "greeting")
        for line in connection.rfile:
            verb = line.split(maxsplit=1)[0].decode().upper()
            self._answer(connection, verb)
            if verb == "QUIT":
                return
            if verb == "DATA" and not self._refuses("DATA"):
                self._take(connection)

    def _take(self, connection: Line) -> None:
        content = b"".join(_content(connection))
        if not (self._refuses("content") and self.fault and self.fault.answer[0].isdigit()):
            self.mails.append(content)
        self._answer(connection, "content")

    def _refuses(self, step: str) -> bool:
        return self.fault is not None and self.fault.step == step

    def _answer(self, connection: Line, step: str) -> None:
        answer = self.fault.answer if self.fault and self._refuses(step) else _USUAL[step]
        match answer:
            case "drop":
                raise _Dropped
            case "hang":
                self.ending.wait()
                raise _Dropped
            case "drip":
                while not self.ending.wait(DRIP_S):
                    connection.wfile.write(b"2")
            case _:
                connection.wfile.write(f"{answer}\r\n".encode())


def _content(connection: Line) -> Iterator[bytes]:
    for line in connection.rfile:
        if line == b".\r\n":
            return
        yield line.removeprefix(b".") if line.startswith(b"..") else line
    raise _Dropped
