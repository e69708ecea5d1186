"""
The operator's end of the socket to the running daemon: an order, and its answer. See `server.py` for the other end.

It needs nothing but the standard library and msgspec, so that commands which give orders start fast.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import Final

import msgspec

from importer.store.errors import StoreError

SOCKET_NAME: Final = "control.sock"
MAX_LINE_BYTES: Final = 64 << 10
PEER_PATIENCE_S: Final = 5.0  # for the line of a caller
LOOP_PATIENCE_S: Final = 60.0  # for the work loop, which may have a big file in hand
ASK_PATIENCE_S: Final = LOOP_PATIENCE_S + 2 * PEER_PATIENCE_S  # somebody else's order may come first


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be done, `do`, and to what."""

    do: str  # "mail.retry"
    id: str = ""
    client: str = ""
    file: str = ""
    unique_id: str = ""  # of a person: never logged


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order, in a sentence for the operator."""

    done: bool
    text: str
    state: str = ""  # of the file that was asked about
    hold_reason: str = ""  # of a held one


class NotRunning(Exception):
    """No daemon listens."""


class NoAnswer(Exception):
    """The daemon has not answered in time, or its answer was lost."""


def ask(state_dir: str, order: Order) -> Answer:
    """
    Give an order to the running daemon and return its answer.

    Raises NotRunning; NoAnswer when it is not known whether the order was carried out; PermissionError.
    """
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection, short(state_dir) as folder:
        connection.settimeout(PEER_PATIENCE_S)
        try:
            connection.connect(os.path.join(folder, SOCKET_NAME))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning from None
        except PermissionError as error:  # names no path, or one that only we know
            raise PermissionError(error.errno, error.strerror, os.path.join(state_dir, SOCKET_NAME)) from None
        try:
            write_line(connection, msgspec.json.encode(order))
            return msgspec.json.decode(read_line(connection, ASK_PATIENCE_S), type=Answer)
        except (OSError, msgspec.DecodeError) as error:
            raise NoAnswer(name_of(error)) from None


# What both ends do


@contextlib.contextmanager
def short(folder: str) -> Iterator[str]:
    """Yield a short path to the folder: an address of a Unix socket has 108 bytes at most. Raises NotRunning."""
    try:
        fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotRunning from None
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def read_line(connection: socket.socket, patience_s: float) -> bytes:
    """Return what comes up to a line end, or the end. Raises TimeoutError after `patience_s` in all, or OSError."""
    until = time.monotonic() + patience_s
    line = b""
    while b"\n" not in line and len(line) < MAX_LINE_BYTES:
        connection.settimeout(max(until - time.monotonic(), 0.001))
        piece = connection.recv(MAX_LINE_BYTES)
        if not piece:
            break
        line += piece
    return line


def write_line(connection: socket.socket, line: bytes) -> None:
    """Send a line whole. Raises OSError."""
    connection.settimeout(PEER_PATIENCE_S)
    connection.sendall(line + b"\n")


def name_of(error: Exception) -> str:
    """Return what kind of error it was; the text only of those that quote no data."""
    telling = isinstance(error, OSError | StoreError)
    return f"{type(error).__name__}: {error}" if telling and str(error) else type(error).__name__
