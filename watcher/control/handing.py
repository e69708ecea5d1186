"""
Files that are handed to the console, which may open no inbox: an archive, or the upload of a claim, to be read.

The thread of the control socket opens it, and waits neither for the work loop nor for the database.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from importer import fs
from importer.names import BAK, WORK
from importer.settings import ClientSettings
from watcher.control.client import ARCHIVED, CLAIMED, Order

HANDED: Final = (ARCHIVED, CLAIMED)


def opened(clients: Mapping[str, ClientSettings], order: Order) -> tuple[int, str]:
    """Return the handle of the file that is asked for, and its name, quoted as in the order. Raises OSError."""
    client, name = clients.get(order.client), unquote_to_bytes(order.file)
    if client is None or not _is_name(name):
        raise FileNotFoundError
    folder = BAK if order.do == ARCHIVED else WORK
    with fs.open_folder(client.inbox, flags=fs.OWN_FOLDER) as inbox_fd, fs.open_folder(folder, inbox_fd) as folder_fd:
        # In one of the client's anything could lie.
        if os.fstat(folder_fd).st_uid not in (os.geteuid(), 0):
            raise PermissionError
        if order.do == ARCHIVED:
            return _regular(name, folder_fd), order.file
        with fs.open_folder(name, folder_fd) as claim_fd:
            upload = _upload_in(claim_fd)
            return _regular(upload, claim_fd), quote_from_bytes(upload)


def _is_name(name: bytes) -> bool:
    return bool(name) and b"/" not in name and not name.startswith(b".")


def _upload_in(claim_fd: int) -> bytes:
    """Return the name of the upload; what is the service's own begins with a dot."""
    for name in sorted(os.listdir(claim_fd)):
        if not name.startswith("."):
            return os.fsencode(name)
    raise FileNotFoundError


def _regular(name: bytes, folder_fd: int) -> int:
    fd = os.open(name, fs.FILE, dir_fd=folder_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError
    return fd
