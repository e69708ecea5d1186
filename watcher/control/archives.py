"""Changes of archives long after their import: purged by age, rewritten without a person."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from importer.model import Interrupted
from importer.redact import NotRewritable, Rewriter
from importer.settings import ClientSettings
from importer.store import integrity, queries, retention
from importer.store.database import Store
from importer.store.errors import StoreError
from watcher.checking.cleaning import remove_expired
from watcher.control.client import Order
from watcher.control.replay import replay_orders
from watcher.control.server import Handler, Refused
from watcher.health.trouble import is_of_host, raise_if_fatal, reason
from watcher.inbox.layout import opened, opened_check
from watcher.model import InboxUnusable
from watcher.settings import Config

log = structlog.get_logger()

LOOK_INTERVAL_S: Final = 3600.0  # whether a day has passed since the last pass


class Purging:
    """Purges by age, one import or a few mails at a time, so that no upload waits for it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pass: Iterator[bool] | None = None
        self._look_at = -math.inf

    def step(self, config: Config, now: float) -> bool:
        """
        Do the next piece of a pass that is due; return whether there was any.

        Raises StoreError; the pass is restarted within the hour.
        """
        if self._pass is None:
            if now < self._look_at:
                return False
            self._look_at = now + LOOK_INTERVAL_S
            self._pass = self._pieces(config)
        if not next(self._pass, False):
            self._pass = None
        return self._pass is not None

    def _pieces(self, config: Config) -> Iterator[bool]:
        began_at = datetime.now(UTC)
        at = retention.clock(self._store, began_at)
        if at is None:
            return
        clients = config.clients_by_name
        for name in sorted({*clients, *retention.clients(self._store.conn)}):
            client = clients.get(name)
            if days := retention.days_of(client, config.retention):
                yield from self._pieces_of(name, client, at - timedelta(days=days))
                yield True  # to ask about 10,000 clients takes a server most of a minute
        for client in config.clients:
            if client.check_folder:
                yield from self._pieces_of_check(client, at - timedelta(days=client.check_keep_days))
        if days := config.retention.days:
            yield from self._pieces_of_events(at - timedelta(days=days))
        if days := config.retention.history_days:
            yield from self._pieces_of_history(at - timedelta(days=days))
        retention.note_pass(self._store, began_at)

    def _pieces_of_check(self, client: ClientSettings, before: datetime) -> Iterator[bool]:
        """Remove from the folder `check` of a client what is that old."""
        files = 0
        try:
            while True:
                with opened(client.name, client.inbox) as inbox, opened_check(inbox, client.inbox) as uploads:
                    removed = remove_expired(uploads, before)
                if not removed:
                    break
                files += removed
                yield True
        except Exception as error:  # noqa: BLE001 - as with archives
            raise_if_fatal(error)
            _log_deferred(client.name, error)
        if files:
            log.info("check.purged", client=client.name, files=files)

    def _pieces_of_history(self, before: datetime) -> Iterator[bool]:
        changes, first = 0, retention.begin_history(self._store, before)
        for client in queries.clients(self._store.conn):
            while removed := retention.forget_history(self._store, client, first):
                changes += removed
                yield True
            yield True
        if changes:
            log.info("history.purged", changes=changes)

    def _pieces_of_events(self, before: datetime) -> Iterator[bool]:
        while retention.forget_hook_events(self._store, before):
            yield True

    def _pieces_of(self, name: str, client: ClientSettings | None, before: datetime) -> Iterator[bool]:
        archives = problems = mails = 0
        try:
            while client is not None and (expired := retention.due(self._store.conn, name, before)) is not None:
                with opened(name, client.inbox) as inbox:
                    archives += retention.purge(self._store, inbox.bak_fd, expired, datetime.now(UTC))
                yield True
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - the archives of one client must not stop the purge of others
            raise_if_fatal(error)
            _log_deferred(name, error)
        while client is None and (removed := retention.forget_problems(self._store, name, before)):
            problems += removed
            yield True
        while emptied := retention.forget_mails(self._store, name, before):
            mails += emptied
            yield True
        if archives or problems or mails:
            log.info("retention.purged", client=name, archives=archives, problems=problems, mails=mails)


def _log_deferred(client: str, error: Exception) -> None:
    bug = None if is_of_host(error) else error
    log.error("retention.deferred", client=client, reason=reason(error), exc_info=bug)


def archive_orders(
    store: Store, config: Callable[[], Config], stopping: Callable[[], bool] = lambda: False
) -> dict[str, Handler]:
    """
    Return the orders about archives.

    `config` is called for each order: the one before it may have been a reload. `stopping` is called regularly; it says
    whether to leave the current order unfinished.
    """

    def rewrite(order: Order) -> str:
        client = config().clients_by_name.get(order.client)
        record = integrity.find(store.conn, order.client, order.id)
        if client is None or record is None or record.is_purged or not record.is_archived:
            raise Refused(f"{order.client}: there is no archive of import {order.id}")
        rewriter = Rewriter(store, client, config().file, stopping)
        try:
            with opened(client.name, client.inbox) as inbox:
                return rewriter.take_out(order.unique_id, record, inbox.work_fd, inbox.bak_fd)
        except Interrupted:
            raise Refused(f"{record}: the service is stopping; its archive was not changed") from None
        except (OSError, InboxUnusable, NotRewritable) as error:
            raise Refused(f"{record}: its archive was not changed: {error}") from None

    return {"archive.rewrite": rewrite, **replay_orders(store, config)}
