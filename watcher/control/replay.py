"""A file put into an inbox, as if its client had uploaded it; and the order that does so with one from the archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import BinaryIO, Final

import structlog

from importer.durable import unfinished_name, write_durably
from importer.fs import open_file
from importer.model import printable
from importer.names import as_uploaded
from importer.store import integrity
from importer.store.database import Store
from importer.store.tables import replays
from watcher.control.client import Order
from watcher.control.server import Handler, Refused
from watcher.inbox.layout import move, opened
from watcher.model import InboxUnusable
from watcher.settings import Config

log = structlog.get_logger()

MOST_BYTES: Final = 64 << 20  # the work loop copies it: a fraction of a second
_CHUNK_BYTES: Final = 1 << 20


def deliver(
    source: BinaryIO,
    inbox_fd: int,
    name: bytes,
    *,
    progress: Callable[[int], None] = lambda _: None,
    before: Callable[[os.stat_result], None] = lambda _: None,
) -> os.stat_result:
    """
    Put a complete copy into the inbox at once; return its identity there, which `before` is told first.

    Raises FileExistsError, other OSError, and SyncFailed.
    """
    hidden = unfinished_name().encode()
    write_durably(inbox_fd, hidden, _chunks(source, progress))
    info = os.stat(hidden, dir_fd=inbox_fd, follow_symlinks=False)
    try:
        before(info)
        move(inbox_fd, hidden, inbox_fd, name)
    except BaseException:
        os.unlink(hidden, dir_fd=inbox_fd)
        raise
    return info


def _chunks(source: BinaryIO, progress: Callable[[int], None]) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK_BYTES):
        yield chunk
        progress(source.tell())


def replay_orders(store: Store, config: Callable[[], Config]) -> dict[str, Handler]:
    """Return the order; `config` is called for each: the one before it may have been a reload."""

    def replay(order: Order) -> str:
        client = config().clients_by_name.get(order.client)
        record = integrity.find(store.conn, order.client, order.id)
        if client is None or record is None or record.is_purged or not record.is_archived:
            raise Refused(f"{order.client}: there is no archive of import {order.id}")
        name = as_uploaded(record.archive)

        def note(info: os.stat_result) -> None:
            replays.add(store.conn, client.name, info.st_ino, info.st_mtime_ns, order.by, datetime.now(UTC))

        try:
            with opened(client.name, client.inbox) as inbox, open_file(record.archive, inbox.bak_fd) as source:
                if os.fstat(source.fileno()).st_size > MOST_BYTES:
                    raise Refused(f"the file is larger than {MOST_BYTES >> 20} MB: `rosterd replay {order.id}`")
                deliver(source, inbox.fd, name, before=note)
        except FileExistsError:
            raise Refused(f"a file {printable(name)} of {client.name} waits already; try again later") from None
        except (OSError, InboxUnusable) as error:
            raise Refused(f"{printable(record.archive)} of {client.name} cannot be imported again: {error}") from None
        log.info("file.replayed", client=client.name, file=printable(name), id=record.id, by=order.by)
        return f"{printable(name)} of {client.name} is imported again, as if it had been uploaded"

    return {"file.replay": replay}
