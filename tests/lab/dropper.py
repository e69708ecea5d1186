"""A proxy in front of a PostgreSQL server that loses the connection at a COMMIT: before, at or after the answer."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.lab import MEMORY

_COMMIT = b"COMMIT\0"
_HEAD = struct.Struct(">I")
WHENS = ("before", "at", "after", "late")


class Dropper:
    """
    Passes on what client and server say; `when` says at which moment the COMMIT of an import loses its client.

    "before": the server never gets it. "at": it gets it, and no client. "after": it has answered. "late": it gets it
    only when `release` is called, as a server does that is slow while its client has given up already.
    """

    def __init__(self, server: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rosterd-pg-", dir=MEMORY))
        self.when = ""
        self.dropped = 0
        self._server = str(server / ".s.PGSQL.5432")
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.folder / ".s.PGSQL.5432"))
        self._listening.listen()
        self._late: Callable[[], None] | None = None
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in self._open:
            each.close()
        os.unlink(self.folder / ".s.PGSQL.5432")
        os.rmdir(self.folder)

    def release(self) -> None:
        """Let the server have the COMMIT that was kept from it, and wait for its answer."""
        late, self._late = self._late, None
        assert late is not None
        late()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._open += [client, server]
                for target in (self._to_server, self._to_client):
                    thread = threading.Thread(target=target, args=(client, server))
                    self._threads.append(thread)
                    thread.start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            server.sendall(_message(client))  # the first one has no type
            is_import = False  # else it is one that takes an id
            while True:
                kind = _exactly(client, 1)
                body = _message(client)
                is_import = is_import or b"INSERT INTO imports" in body or b"INSERT INTO hook_events" in body
                if kind == b"Q" and body[4:] == _COMMIT and self.when and is_import:
                    self._drop(client, server, kind + body)
                    return
                server.sendall(kind + body)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _drop(self, client: socket.socket, server: socket.socket, commit: bytes) -> None:
        when, self.when = self.when, ""
        self.dropped += 1
        if when == "late":
            self._late = lambda: self._send(server, commit)
        client_is_gone = when in ("at", "late")
        if client_is_gone:
            client.shutdown(socket.SHUT_RDWR)
        if when in ("at", "after"):
            self._send(server, commit)
        if not client_is_gone:
            client.shutdown(socket.SHUT_RDWR)
        if when == "before":
            server.shutdown(socket.SHUT_RDWR)

    def _send(self, server: socket.socket, commit: bytes) -> None:
        """Send the COMMIT, and wait until it is answered; nobody gets the answer."""
        answered = threading.Event()
        self._answered = answered
        server.sendall(commit)
        assert answered.wait(30)
        server.shutdown(socket.SHUT_RDWR)

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        gone = False
        with contextlib.suppress(OSError):
            while some := server.recv(65_536):
                if not gone:
                    try:
                        client.sendall(some)
                    except OSError:
                        gone = True
                if b"COMMIT\0" in some and (answered := getattr(self, "_answered", None)):
                    answered.set()
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


def _message(peer: socket.socket) -> bytes:
    """Return the next message: its length, which counts itself, and what follows."""
    head = _exactly(peer, _HEAD.size)
    return head + _exactly(peer, _HEAD.unpack(head)[0] - _HEAD.size)


def _exactly(peer: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        some = peer.recv(size - len(parts))
        if not some:
            raise EOFError
        parts += some
    return parts
