"""A line between clients and a server that can be slow, and stand still for a while."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import socket
import threading
import time
from typing import Self

from tests.lab.clients import Visit
from tests.lab.sshd import HOST

CHUNK_BYTES = 1 << 14
PATIENCE_S = 60.0


class Line:
    """
    Takes connections on a port of its own and passes them on to `port`; a context manager.

    What clients send is held to `bytes_per_s`, and waits while `flows` is cleared. Answers pass freely.
    """

    def __init__(self, port: int, bytes_per_s: float = math.inf) -> None:
        self.bytes_per_s = bytes_per_s
        self.flows = threading.Event()
        self.flows.set()
        self._server_port = port
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="line")]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.flows.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(PATIENCE_S)
        self._listener.close()
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(PATIENCE_S)
        for end in self._ends:
            end.close()

    def visit(self, visit: Visit) -> Visit:
        """Return the same client, connected by this line."""
        sshd = copy.copy(visit.sshd)
        known = f"[{HOST}]:{sshd.port}"
        host_key = next(line for line in sshd.known_hosts.read_text().splitlines() if line.startswith(known))
        with sshd.known_hosts.open("a") as file:
            file.write(host_key.replace(known, f"[{HOST}]:{self.port}") + "\n")
        sshd.port = self.port
        return dataclasses.replace(visit, sshd=sshd)

    def direct(self, visit: Visit) -> Visit:
        """Return a client of this line without it."""
        sshd = copy.copy(visit.sshd)
        sshd.port = self._server_port
        return dataclasses.replace(visit, sshd=sshd)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection((HOST, self._server_port))
            self._ends += [client, server]
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else small writes wait for one another
            for sender, receiver, is_upward in ((client, server, True), (server, client, False)):
                thread = threading.Thread(target=self._pass_on, args=(sender, receiver, is_upward), name="line")
                self._threads.append(thread)
                thread.start()

    def _pass_on(self, sender: socket.socket, receiver: socket.socket, is_upward: bool) -> None:  # noqa: FBT001
        with contextlib.suppress(OSError):
            while chunk := sender.recv(CHUNK_BYTES):
                if is_upward:
                    self.flows.wait()
                    time.sleep(len(chunk) / self.bytes_per_s)
                receiver.sendall(chunk)
        for end in (sender, receiver):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
