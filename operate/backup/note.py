"""Who is to know that a backup was made: the running service, and monitoring."""

from __future__ import annotations

import contextlib
from pathlib import Path

from operate.backup.manifest import Manifest
from watcher.control.client import NoAnswer, NotRunning, Order, ask
from watcher.health.checks.results import BACKUP, record_run
from watcher.settings import Config


def note_backup(config: Config, file: Path, manifest: Manifest) -> None:
    """
    Tell the service, if it runs, and keep the time for the metrics: as the user of the service from then on.

    Raises OSError.
    """
    with contextlib.suppress(NotRunning, NoAnswer):
        ask(config.service.state_dir, Order(do="backup.note", file=str(file), id=str(manifest.last_import)))
    record_run(config.service.state_dir, BACKUP, {})
