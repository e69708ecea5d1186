"""
The last claims that this host had committed by a server: what an asynchronous standby lost, it lost silently.

A line is written before the commit and becomes durable with the claim. Once the upload is in `.bak` the commit was
seen; if the ledger of the server that answers now does not have the claim, it has lost it. The file is in the state
directory, next to the lock; while that is held nobody else writes it. Threads and the loop share a record.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection
from typing import Final

import msgspec

from importer.durable import write_durably
from importer.model import Claim, Message
from importer.store import ledger
from importer.store.connection import Connection
from importer.store.tables import hosts

_FILE: Final = "committed.jsonl"
_MOST: Final = 2000  # claims: far more than a standby lags behind


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """A claim, as far as it takes to import it again."""

    claim_id: str
    client: str
    name: bytes
    archive: bytes
    refusal: Message | None = None
    is_released: bool = False


class Record:
    """The claims, oldest first, and the clients whose claims are to be compared with the ledger."""

    def __init__(self, state_dir: str) -> None:
        self._folder = state_dir
        self._lock = threading.Lock()
        self._claims: dict[str, Committed] = {}
        with contextlib.suppress(FileNotFoundError), open(os.path.join(state_dir, _FILE), "rb") as file:
            for line in file:
                with contextlib.suppress(msgspec.DecodeError):  # cut off
                    self._keep(msgspec.json.decode(line, type=Committed))
        self._fd = -1
        self._doubted: set[str] = set()

    def note(self, claim: Claim) -> None:
        """Write a claim that is about to be imported; what makes it durable is `claim.unsynced`. Raises OSError."""
        fields = {name: getattr(claim, name) for name in Committed.__struct_fields__}
        known = Committed(**fields)
        with self._lock:
            if self._fd < 0 or len(self._claims) > 2 * _MOST:
                self._begin()
            if self._claims.get(known.claim_id) != known:
                os.write(self._fd, msgspec.json.encode(known) + b"\n")
                self._keep(known)
            claim.unsynced.add(self._fd)

    def forget_other(self, conn: Connection) -> None:
        """Forget all claims if the database has never seen this host: it is another one. Raises StoreError, OSError."""
        if self._claims and not hosts.is_known(conn) and not ledger.knows_host(conn):
            self._claims.clear()
            os.unlink(os.path.join(self._folder, _FILE))

    def doubt(self) -> None:
        """Have all claims compared: another server may answer now."""
        with self._lock:
            self._doubted = {claim.client for claim in self._claims.values()}

    def take_doubted(self, clients: Collection[str], *, without: Collection[str]) -> set[str]:
        """Return which of the clients, `without` some, are to be compared, and take them for compared."""
        with self._lock:
            doubted = {client for client in self._doubted if client in clients and client not in without}
            self._doubted -= doubted
        return doubted

    def missing(self, conn: Connection, clients: Collection[str]) -> list[Committed]:
        """Return the claims of these clients that the ledger does not have. Raises StoreError."""
        with self._lock:
            claims = [claim for claim in self._claims.values() if claim.client in clients]
        if not claims:
            return []
        known = ledger.recorded(conn, [claim.claim_id for claim in claims])
        return [claim for claim in claims if claim.claim_id not in known]

    def _keep(self, claim: Committed) -> None:
        self._claims.pop(claim.claim_id, None)
        self._claims[claim.claim_id] = claim

    def _begin(self) -> None:
        """Write the file anew, with the newest claims alone."""
        self._claims = dict(list(self._claims.items())[-_MOST:])
        folder_fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            lines = [msgspec.json.encode(claim) + b"\n" for claim in self._claims.values()]
            write_durably(folder_fd, os.fsencode(_FILE), lines, mode=0o600)
            fd = os.open(_FILE, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, dir_fd=folder_fd)
        finally:
            os.close(folder_fd)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
