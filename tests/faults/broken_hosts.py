"""Mistakes that only show where several hosts share a database, as `broken` has those of one."""

from __future__ import annotations

from collections.abc import Callable

from importer.store import mail_queue as table


def send_unleased() -> None:
    """Send a mail without telling the other hosts."""
    table.lease = lambda *_, **__: True


def import_beside_other_hosts() -> None:
    """Do not wait for other hosts that import files of the same client."""
    from importer.store.postgresql.connection import PostgresqlConnection  # noqa: PLC0415 - takes libpq

    PostgresqlConnection.lock = lambda *_, **__: True  # type: ignore[method-assign]


def miss_no_commits() -> None:
    """Do not compare what was committed with the ledger of another server."""
    from watcher.inbox.work.committed import Record  # noqa: PLC0415 - as above

    Record.missing = lambda *_: []  # type: ignore[method-assign]


MISTAKES: dict[str, Callable[[], None]] = {
    "lost commits not missed": miss_no_commits,
    "mail not leased": send_unleased,
    "beside other hosts": import_beside_other_hosts,
}
