"""A copy of the database as it is at one moment, and what the ledger in it says of files."""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from importer import fs
from importer.store.errors import StoreCorrupt
from importer.store.sqlite.connection import connect, read_only
from importer.store.sqlite.damage import damages

_MAX_DAMAGES: Final = 1  # the first says enough


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of a file whose archive is kept."""

    client: str
    claim_id: str
    archive: bytes  # name in `.bak`
    inode: int
    mtime_ns: int
    claimed_at: datetime
    is_archived: bool
    is_on_hold: bool


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger of a copy says."""

    last_import: int  # id; 0 for none
    users: int
    uploads: tuple[Upload, ...]


def copy_database(database: Path, target: Path) -> None:
    """
    Copy the database to a new private file by SQLite's backup, in one step: all of it is of one moment.

    The service can write meanwhile, to its log. Raises StoreError; StoreCorrupt for a damaged database; OSError.
    """
    os.close(os.open(target, fs.NEW_FILE, 0o600))
    with contextlib.closing(read_only(database)) as source, contextlib.closing(connect(target.as_uri())) as copy:
        source.backup(copy)
        if lines := damages(copy, quick=True, at_most=_MAX_DAMAGES):
            raise StoreCorrupt(f"the database is damaged: {lines[0]}")


def ledger(database: Path) -> Ledger:
    """Return what the ledger of a copy says. Raises StoreError."""
    with contextlib.closing(read_only(database)) as conn:
        (last_import,) = conn.execute("SELECT coalesce(max(id), 0) FROM imports").fetchone()
        (users,) = conn.execute("SELECT count(*) FROM users").fetchone()
        rows = conn.execute(
            """SELECT client, claim_id, archive, inode, mtime_ns, claimed_at, archived_at IS NOT NULL,
                 outcome = 'on_hold' FROM imports WHERE kind = 'file' AND purged_at IS NULL ORDER BY id"""
        ).fetchall()
    uploads = (dict(zip(Upload.__struct_fields__, row, strict=True)) for row in rows)
    return Ledger(
        last_import=last_import,
        users=users,
        uploads=tuple(msgspec.convert(upload, Upload, strict=False) for upload in uploads),
    )
