"""What a server had confirmed, and another one that took over does not have: taken out of `.bak`, and queued again."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import structlog

from importer.model import printable
from importer.settings import ClientSettings
from importer.store.database import Store
from importer.store.errors import StoreError
from watcher.health.trouble import Troubles
from watcher.inbox.claim import claim_again
from watcher.inbox.layout import opened
from watcher.inbox.queue import Backlog
from watcher.inbox.work.committed import Committed, Record
from watcher.model import InboxUnusable

log = structlog.get_logger()


class LostClaims:
    """
    Compares the record with the ledger: at the start, and after any connection of this host was made again.

    That is for the loop. A thread with a new connection lets no file of a client pass while older ones are lost.
    """

    def __init__(self, state_dir: str, store: Store, backlog: Backlog, troubles: Troubles) -> None:
        self.record = Record(state_dir)
        with contextlib.suppress(StoreError):  # as before then; the first look tells of it
            self.record.forget_other(store.conn)  # before anybody notes in it that this host is there
        self._store = store
        self._backlog = backlog
        self._troubles = troubles
        self._conn: object = None  # that of the last look

    def find(self, clients: Mapping[str, ClientSettings]) -> None:
        """Queue what was lost before all else; of a client whose file is being processed, once that has ended."""
        conn = self._store.conn
        if conn is not self._conn:
            self._conn = conn
            self.record.doubt()
        compared = self.record.take_doubted(clients, without=self._backlog.running.clients())
        try:
            missing = self.record.missing(conn, compared)
        except StoreError:  # the next check of the database tells of it, and connects again
            self._conn = None
            return
        lost = [each for each in missing if self._is_taken(each, clients[each.client])]
        for each in reversed(lost):
            self._backlog.add(each.client, each.claim_id, is_oldest=True)
        if lost:
            self._troubles.report("store.rewound", files=str(len(lost)), first=lost[0].claim_id)

    def _is_taken(self, before: Committed, client: ClientSettings) -> bool:
        """Return whether an archived file has to be imported again; one on hold is put on hold again."""
        self._backlog.resume(before.claim_id)
        try:
            with opened(client.name, client.inbox) as inbox:
                is_lost = claim_again(inbox, before)
        except (OSError, InboxUnusable) as error:
            self._troubles.close_inbox(client.name, error)
            self._conn = None  # the next look finds it
            return False
        if is_lost:
            log.warning("file.lost", client=client.name, file=printable(before.name), claim_id=before.claim_id)
        return is_lost
