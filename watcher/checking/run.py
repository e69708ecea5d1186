"""Checks one file: a dry run of the import, and its answer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from importer.answer import trial
from importer.dry_run import DryRun, claim_of
from importer.file.upload import Upload
from importer.model import Receipt, message
from importer.store.database import Store
from watcher.checking.answers import Answering
from watcher.checking.folder import beginning, objection
from watcher.checking.pace import TooLong
from watcher.health.room import Room
from watcher.health.trouble import Troubles
from watcher.inbox import entries
from watcher.inbox.layout import Uploads
from watcher.inbox.settle import Names
from watcher.model import Identity
from watcher.settings import Config


class Run:
    """What files are checked by. Its scratch folder has nothing that outlives a check, or a killed process."""

    def __init__(self, config: Config, store: Store, troubles: Troubles, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._room = Room(store, troubles, stopping)
        self._scratch = Path(config.service.state_dir, "checks")
        shutil.rmtree(self._scratch, ignore_errors=True)  # copies of users that a killed process left
        self.use(config)

    def use(self, config: Config) -> None:
        """Use this configuration from now on."""
        self._config = config
        self._names = Names(config.intake.pattern)
        self._room.use(config)

    def check(self, uploads: Uploads, name: bytes, identity: Identity, ask: Callable[[int], None]) -> Receipt | None:
        """
        Check a file and answer it; return None if it was changed meanwhile, and is not answered.

        `ask` is called now and then. Raises what it raises, but for TooLong: then the answer says so. Raises OSError,
        StoreError and SyncFailed when the host fails.
        """
        client = self._config.clients_by_name[uploads.client]
        answering = Answering(uploads, self._store, client, self._config.mail)
        archive = beginning(name, identity.ctime_ns) + b".csv"
        with Upload(name, lambda: ask(0), folder_fd=uploads.fd) as raw:
            if entries.identity_of(os.fstat(raw.fileno())) != identity:
                return None
            claim = claim_of(raw, name, archive, client.name, uploads.fd, datetime.now(UTC))
            if reason := objection(name, self._names, self._config):
                return self._answered(answering, trial.refused(claim, client, reason), uploads, identity)
            try:
                with self._dry_run(ask).trial(raw, name, client, archive=archive) as tried:
                    if not _is_unchanged(uploads, name, identity):
                        return None
                    answering.write(tried.receipt, identity, tried.folder_fd)
                    return tried.receipt
            except TooLong as error:
                error.with_traceback(None)
            receipt = trial.refused(claim, client, message("check.time"))
            return self._answered(answering, receipt, uploads, identity)

    def _answered(self, answering: Answering, receipt: Receipt, uploads: Uploads, identity: Identity) -> Receipt | None:
        """Answer a file that was not imported; return None if it was changed meanwhile, and is not answered."""
        if not _is_unchanged(uploads, receipt.claim.name, identity):
            return None
        answering.write(receipt, identity, None)
        return receipt

    def _dry_run(self, ask: Callable[[int], None]) -> DryRun:
        self._scratch.mkdir(mode=0o700, exist_ok=True)
        return DryRun(
            file=self._config.file,
            reference=self._config.reference,
            database=self._config.service.place,
            progress=ask,
            scratch=self._scratch,
            check_room=self._room.check_trial,
        )


def _is_unchanged(uploads: Uploads, name: bytes, identity: Identity) -> bool:
    return entries.find_identity(uploads, name) == identity
