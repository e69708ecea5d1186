"""
The client of the control socket: sends an order to the running daemon and receives its answer. See `server.py`.

It imports only the standard library and msgspec, so that commands which send orders start fast.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from typing import BinaryIO, Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from importer.store.errors import StoreError

SOCKET_NAME: Final = "control.sock"
ARCHIVED: Final = "archive.open"  # orders that a file is handed over for: of `.bak`, of a claim
CLAIMED: Final = "claim.open"
OTHERS: Final = ("client", "operator", "pause")  # what the ledger has for deciders without a name
MAX_LINE_BYTES: Final = 8 << 20  # some 200,000 new ids
MOST_REASON_CHARS: Final = 500
_MOST_DIGITS: Final = 18  # of a number that a database can hold
_PIECE_BYTES: Final = 64 << 10
PEER_PATIENCE_S: Final = 5.0  # for the line of a caller
LOOP_PATIENCE_S: Final = 60.0  # for the work loop, which may be importing a large file
ASK_PATIENCE_S: Final = LOOP_PATIENCE_S + 2 * PEER_PATIENCE_S  # other orders may be first


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to do, `do`, and the object of it."""

    do: str  # "mail.retry"
    id: str = ""
    client: str = ""
    file: str = ""
    feed: str = ""
    guards: tuple[str, ...] = ()
    since: str = ""  # a time
    until: str = ""  # a day, "2026-09-05", or a time
    unique_id: str = ""  # of a person: never logged
    unique_ids: tuple[str, ...] = ()  # likewise
    new_ids: tuple[tuple[str, str], ...] = ()  # old and new, likewise
    by: str = ""  # who decides, if that is known: a user of the console
    reason: str = ""  # why something is rejected, for its client: never logged
    is_applied: bool = True  # else only tried: nothing is changed

    @property
    def number(self) -> int | None:
        """Return the id as a number; None when it is none, or no database could have it."""
        is_number = self.id.isascii() and self.id.isdigit() and len(self.id) <= _MOST_DIGITS
        return int(self.id) if is_number else None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an order, in a sentence for the operator."""

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
    Send an order to the running daemon and return its answer.

    Raises NotRunning; NoAnswer when it is not known whether the order was carried out; PermissionError.
    """
    with _connected(state_dir) as connection:
        try:
            write_line(connection, msgspec.json.encode(order))
            return msgspec.json.decode(read_line(connection, ASK_PATIENCE_S), type=Answer)
        except (OSError, msgspec.DecodeError) as error:
            raise NoAnswer(name_of(error)) from None


def ask_for_file(state_dir: str, do: str, client: str, name: bytes) -> tuple[BinaryIO, bytes]:
    """
    Have the running daemon open an archive, or the upload of a claim; return the file and its name.

    Raises as `ask`, and FileNotFoundError.
    """
    order = Order(do=do, client=client, file=quote_from_bytes(name))
    with _connected(state_dir) as connection:
        try:
            write_line(connection, msgspec.json.encode(order))
            connection.settimeout(ASK_PATIENCE_S)
            line, handles, _, _ = socket.recv_fds(connection, _PIECE_BYTES, 1)
        except OSError as error:
            raise NoAnswer(name_of(error)) from None
    if not handles:
        raise FileNotFoundError
    return os.fdopen(handles[0], "rb"), unquote_to_bytes(msgspec.json.decode(line, type=Answer).text)


@contextlib.contextmanager
def _connected(state_dir: str) -> Iterator[socket.socket]:
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection, short(state_dir) as folder:
        connection.settimeout(PEER_PATIENCE_S)
        try:
            connection.connect(os.path.join(folder, SOCKET_NAME))
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning from None
        except PermissionError as error:  # contains no path, or one that only we know
            raise PermissionError(error.errno, error.strerror, os.path.join(state_dir, SOCKET_NAME)) from None
        yield connection


# For both ends


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
    """Read up to a line end, or the end. Raises TimeoutError after `patience_s` in all, or OSError."""
    until = time.monotonic() + patience_s
    line = bytearray()
    while len(line) < MAX_LINE_BYTES:
        connection.settimeout(max(until - time.monotonic(), 0.001))
        piece = connection.recv(_PIECE_BYTES)
        line += piece
        if not piece or b"\n" in piece:
            break
    return bytes(line)


def write_line(connection: socket.socket, line: bytes) -> None:
    """Send a whole line. Raises OSError."""
    connection.settimeout(PEER_PATIENCE_S)
    connection.sendall(line + b"\n")


def name_of(error: Exception) -> str:
    """Return the type of an error; its text only if that type quotes no data."""
    is_explained = isinstance(error, OSError | StoreError)
    return f"{type(error).__name__}: {error}" if is_explained and str(error) else type(error).__name__
