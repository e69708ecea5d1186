"""Who would change, and how, if what is on hold were approved now."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import BinaryIO, TextIO

from importer.characters import guarded
from importer.dry_run import DryRun
from importer.durable import SyncFailed
from importer.model import OnHold
from importer.roster.protection import ListUnusable, protected_users
from importer.settings import ClientSettings
from importer.store.connection import Connection
from importer.store.errors import StoreError
from importer.store.roster import removal
from importer.store.roster.counts import ChangedValue
from watcher.settings import Config


class NotPreviewable(Exception):
    """It cannot be known. The message says why."""


def missing(config: Config, conn: Connection, held: OnHold) -> list[ChangedValue]:
    """Return who would be deactivated once removals are approved. Raises NotPreviewable."""
    client = _client(config, held)
    try:
        protected = protected_users(client)
    except ListUnusable as error:
        raise NotPreviewable(str(error)) from None
    feeds = [each for each in client.feed if each.name == held.feed]
    return [left for feed in feeds for left in removal.missing(conn, held.client, feed, protected)]


def claimed_file(config: Config, held: OnHold) -> tuple[BinaryIO, bytes]:
    """Open the file of a claim; return it and its name. Raises NotPreviewable, OSError."""
    folder = Path(_client(config, held).inbox, ".work", held.claim_id)
    uploads = [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.exists() else []
    if not uploads:
        raise NotPreviewable(f"{folder}: has no file; was it decided on just now?")
    return uploads[0].open("rb", buffering=0), os.fsencode(uploads[0].name)


def by_the_file(
    config: Config, held: OnHold, upload: Callable[[Config, OnHold], tuple[BinaryIO, bytes]] = claimed_file
) -> Generator[ChangedValue, None, None]:
    """
    Import the file into a copy of the users as they are now, and yield each value that would be another.

    In order of the lines. `upload` opens it. Raises NotPreviewable, PermissionError.
    """
    client = _client(config, held)
    dry_run = DryRun(file=config.file, reference=config.reference, database=config.service.place)
    try:
        raw, name = upload(config, held)
        with raw:
            yield from dry_run.changed_values(raw, name, client)
    except PermissionError:
        raise
    except (OSError, SyncFailed, StoreError) as error:
        raise NotPreviewable(f"{held.file}: cannot be previewed: {error}") from None


def write_csv(to: TextIO, changes: Iterable[ChangedValue]) -> None:
    """Write the values as CSV that a spreadsheet can open without running anything."""
    out = csv.writer(to, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    out.writerow(("line", "unique_id", "change", "column", "before", "after"))
    for each in changes:
        values = (each.unique_id, str(each.kind), each.field, each.old, each.new)
        out.writerow((each.line or "", *(guarded(value or "") for value in values)))


def _client(config: Config, held: OnHold) -> ClientSettings:
    client = config.clients_by_name.get(held.client)
    if client is None:
        raise NotPreviewable(f"{held.client}: is not configured any more")
    return client
