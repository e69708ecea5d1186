"""Inboxes of before, in which claims may be left."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from watcher.health.trouble import reason
from watcher.inbox.claim import unfinished_claims
from watcher.inbox.layout import opened, was_inbox
from watcher.inbox.queue import Backlog
from watcher.model import InboxUnusable
from watcher.settings import Config

log = structlog.get_logger()


class EarlierInboxes:
    """Folders that are no longer inboxes, and the claims in them; `folders`: client and path where some may be left."""

    def __init__(self, backlog: Backlog) -> None:
        self.folders: tuple[tuple[str, str], ...] = ()
        self._backlog = backlog
        self._paths: dict[str, str] = {}  # of claims

    def find(self, config: Config, before: Config, former: Iterable[tuple[str, str]] = ()) -> None:
        """Queue the claims in folders that are no longer inboxes: those of the previous configuration, and `former`."""
        inboxes = {client.inbox for client in config.clients}
        known = {*self.folders, *former, *((client.name, client.inbox) for client in before.clients)}
        self.folders = tuple(
            (client, path)
            for client, path in sorted(known)
            if path not in inboxes and was_inbox(path) and self._find_in(client, path, config)
        )

    def _find_in(self, client: str, path: str, config: Config) -> bool:
        """Queue the claims in a folder; return whether there may be any."""
        try:
            with opened(client, path) as inbox:
                claim_ids = unfinished_claims(inbox, self._backlog.running.claims)
        except (OSError, InboxUnusable) as error:
            log.warning("claims.unreachable", client=client, inbox=path, reason=reason(error))
            return True
        if claim_ids and client not in config.clients_by_name:
            log.warning("claims.left", client=client, inbox=path, files=len(claim_ids))
        elif claim_ids:
            log.info("claims.followed", client=client, inbox=path, files=len(claim_ids))
            for claim_id in claim_ids:
                self._paths[claim_id] = path
                self._backlog.add(client, claim_id)
        return bool(claim_ids)

    def path_of(self, claim_id: str) -> str | None:
        """Return the earlier inbox that contains a claim."""
        return self._paths.get(claim_id)

    def forget(self, claim_id: str) -> None:
        """Note that a claim is done, or in the inbox of its client."""
        self._paths.pop(claim_id, None)
