"""The names in the inboxes of this host that are never imported, each until it has been gone for a while."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from importer.store.connection import Connection, stamp


class Stray(msgspec.Struct, frozen=True, kw_only=True):
    """One name in the inbox of a client. Times are whole seconds."""

    path: bytes  # relative to the inbox
    seen_at: datetime  # the first time since it was last gone
    gone_at: datetime | None = None  # None: it is there, as far as is known
    mailed_at: datetime | None = None  # when the client was told


def known(conn: Connection, client: str) -> dict[bytes, Stray]:
    """Return the names of a client by their paths."""
    rows = conn.execute(
        "SELECT path, seen_at, gone_at, mailed_at FROM strays WHERE client = ? AND host = ?", (client, conn.host)
    ).fetchall()
    return {
        path: Stray(
            path=path,
            seen_at=datetime.fromisoformat(seen_at),
            gone_at=datetime.fromisoformat(gone_at) if gone_at else None,
            mailed_at=datetime.fromisoformat(mailed_at) if mailed_at else None,
        )
        for path, seen_at, gone_at, mailed_at in rows
    }


def put(conn: Connection, client: str, strays: Iterable[Stray]) -> None:
    """Record names as they are now, inside the caller's transaction."""
    conn.executemany(
        """INSERT INTO strays (client, host, path, seen_at, gone_at, mailed_at) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT (client, host, path) DO UPDATE
           SET seen_at = excluded.seen_at, gone_at = excluded.gone_at, mailed_at = excluded.mailed_at""",
        [
            (
                client,
                conn.host,
                each.path,
                stamp(each.seen_at),
                stamp(each.gone_at) if each.gone_at else None,
                stamp(each.mailed_at) if each.mailed_at else None,
            )
            for each in strays
        ],
    )


def drop(conn: Connection, client: str, paths: Iterable[bytes]) -> None:
    """Forget names, inside the caller's transaction."""
    conn.executemany(
        "DELETE FROM strays WHERE client = ? AND host = ? AND path = ?", [(client, conn.host, path) for path in paths]
    )


def clients(conn: Connection) -> set[str]:
    """Return whose names are known."""
    return {
        client
        for (client,) in conn.execute("SELECT DISTINCT client FROM strays WHERE host = ?", (conn.host,)).fetchall()
    }


def drop_client(conn: Connection, client: str) -> None:
    """Forget the names of a client, inside the caller's transaction."""
    conn.execute("DELETE FROM strays WHERE client = ? AND host = ?", (client, conn.host))
