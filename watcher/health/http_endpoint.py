"""
One page by HTTP: an endpoint that cannot exhaust the resources of the service.

It has one thread for all connections. Their number and time are limited: above MAX_CONNECTIONS the
oldest is closed, so that idle ones do not exclude others.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

PATH: Final = b"/metrics"
MAX_CONNECTIONS: Final = 16
TIME_OUT_S: Final = 5.0  # of a connection, from its first byte to its last
_MAX_REQUEST_BYTES: Final = 16 << 10

_REFUSED: Final = (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class Endpoint:
    """
    Answers a GET of PATH with the page; `page` returns it, None when it is not available.

    One thread uses the methods; `page` is called on another.
    """

    def __init__(self, page: Callable[[], bytes | None], content_type: str) -> None:
        self._page = page
        self._content_type = content_type
        self._connections: dict[asyncio.Task[None], None] = {}  # oldest first
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self.port = 0  # where it listens

    def start(self, host: str, port: int) -> None:
        """Start listening. Raises OSError."""
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, dualstack_ipv6=family == socket.AF_INET6)
        self.port = listener.getsockname()[1]
        serve = partial(self._loop.run_until_complete, self._serve(listener))
        self._thread = threading.Thread(target=serve, name="metrics-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and close all connections."""
        if self.port:
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join()
        self._loop.close()

    async def _serve(self, listener: socket.socket) -> None:
        server = await asyncio.start_server(self._answer, sock=listener, limit=_MAX_REQUEST_BYTES)
        await self._over.wait()
        server.close()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await asyncio.sleep(0)  # for the sockets to be closed

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        if connection is None:
            raise AssertionError
        self._connections[connection] = None
        if len(self._connections) > MAX_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.cancel()
        try:
            with contextlib.suppress(*_REFUSED):
                async with asyncio.timeout(TIME_OUT_S):
                    request = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._response(request))
                    writer.close()
                    await writer.wait_closed()
        finally:
            self._connections.pop(connection, None)
            writer.transport.abort()

    def _response(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "text/plain", b"expected GET\n")
        if re.split(rb"[ ?]", rest, maxsplit=1)[0] != PATH:
            return _response("404 Not Found", "text/plain", b"only %s is here\n" % PATH)
        page = self._page()
        if page is None:
            return _response("503 Service Unavailable", "text/plain", b"not now; the log of the service says why\n")
        response = _response("200 OK", self._content_type, page)
        return response if method == b"GET" else response.removesuffix(page)


def _response(status: str, content_type: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
