"""Serving the console: the socket it listens on, and uvicorn."""

from __future__ import annotations

import os
import signal
import socket
from typing import Final

import structlog
import uvicorn

from console.access.gate import MAX_HEAD_BYTES
from console.access.patience import PatientProtocol
from console.app import make_app
from importer.fs import OWN_FOLDER
from watcher.settings import Config

log = structlog.get_logger()

_MOST_CONNECTIONS: Final = 512
_KEEP_ALIVE_S: Final = 5
_GRACE_S: Final = 5
_BACKLOG: Final = 128
_SOCKET_MODE: Final = 0o660


def listener(listen: str) -> socket.socket:
    """Return a socket that listens on an address and port, or at a path. Raises OSError."""
    if listen.startswith("/"):
        return _unix_listener(listen)
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family, _, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family, backlog=_BACKLOG)


def _unix_listener(path: str) -> socket.socket:
    """Return a socket at a path, in place of one that a former process left: for the proxy's group."""
    os.close(os.open(os.path.dirname(path), OWN_FOLDER))  # or the error names no path
    listening = socket.socket(socket.AF_UNIX)
    try:
        if os.path.lexists(path) and not _is_served(path):
            os.unlink(path)
        listening.bind(path)
        os.chmod(path, _SOCKET_MODE)  # whatever the umask is; nobody can connect before it listens
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _is_served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def serve(config: Config, listening: socket.socket) -> None:
    """Answer requests until the process is told to stop; pages that are under way are finished."""
    server = server_of(config)
    # uvicorn sends itself the signal again once it has stopped: that is no reason to end by it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    log.info("console.started", address=_name_of(listening))
    server.run(sockets=[listening])
    log.info("console.stopped")


def server_of(config: Config) -> uvicorn.Server:
    """Return the server: what a peer may send, how slowly, and how many peers at a time, is bounded."""
    return uvicorn.Server(
        uvicorn.Config(
            make_app(config),
            access_log=False,
            backlog=_BACKLOG,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            http=PatientProtocol,
            lifespan="off",
            limit_concurrency=_MOST_CONNECTIONS,
            log_config=None,
            loop="asyncio",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
            timeout_keep_alive=_KEEP_ALIVE_S,
            ws="none",
        )
    )


def _name_of(listening: socket.socket) -> str:
    name = listening.getsockname()
    return str(name) if isinstance(name, str) else f"{name[0]}:{name[1]}"
