"""Runs the daemon on a configuration, up to its exit code: lock, database, metrics, and the end of each."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import structlog

from importer.durable import discard_unfinished
from importer.durations import back_off_s
from importer.store.database import Store
from importer.store.errors import StoreBusy, StoreFull, StoreUnavailable, StoreUnreachable
from watcher import notify
from watcher.daemon import Daemon
from watcher.exits import EXIT_NOT_PERMITTED, EXIT_RUNNING_ALREADY
from watcher.health.patience import Patience, tell_of_wait
from watcher.inbox.events import EventQueue
from watcher.inbox.queue import FIRST_RETRY_S, LAST_RETRY_S
from watcher.lock import RESTORED, RunningAlready, locked
from watcher.owner import check_access, permission_sentence
from watcher.settings import Config
from watcher.signals import Signals
from watcher.single_pass import SinglePass

log = structlog.get_logger()


def run_daemon(config: Config) -> int:
    """
    Watch the inboxes until a signal to stop; return the exit code.

    Raises StoreUnusable; OSError, SyncFailed or StoreError when state directory, database or a disk cannot be used.
    """
    return _run(config, watching=True)


def sweep_once(config: Config) -> int:
    """Import what is in the inboxes now; return the exit code. Raises like `run_daemon`."""
    return _run(config, watching=False)


def _run(config: Config, *, watching: bool) -> int:
    try:
        with contextlib.ExitStack() as running:
            return _run_in(running, config, watching=watching)
    except RunningAlready:
        log.error("daemon.refused", reason="another instance runs", state_dir=config.service.state_dir)
        return EXIT_RUNNING_ALREADY


def _run_in(running: contextlib.ExitStack, config: Config, *, watching: bool) -> int:
    events = EventQueue()
    signals = Signals(events.wake)
    running.enter_context(signals.handled())
    database = config.service.place
    try:
        running.enter_context(locked(config.service.state_dir))
        discard_unfinished(config.service.state_dir)
        check_access(database, os.O_RDWR)
        _tell_of_restore(config.service.state_dir)
    except PermissionError as error:
        log.error("daemon.refused", reason=permission_sentence(error))
        return EXIT_NOT_PERMITTED
    store = _open_patiently(config, events, signals) if watching else database.open()
    if store is None:
        log.info("daemon.stopped")
        return 0
    running.enter_context(contextlib.closing(store))
    if not watching:
        return running.enter_context(contextlib.closing(SinglePass(config, store, events, signals))).run()
    daemon = running.enter_context(contextlib.closing(Daemon(config, store, events, signals)))
    if config.metrics.listen or config.metrics.textfile:
        from watcher.health.prometheus import Exporter  # imports the Prometheus library, 20 ms

        exporter = Exporter(config.metrics, daemon.source)
        exporter.start()
        running.enter_context(contextlib.closing(exporter))
    running.enter_context(contextlib.closing(Patience()))
    daemon.run()
    log.info("daemon.stopped")
    return 0


def _tell_of_restore(state_dir: str) -> None:
    """Log that the installation was restored since the last start, once."""
    note = Path(state_dir, RESTORED)
    with contextlib.suppress(FileNotFoundError, ValueError):
        backup = json.loads(note.read_text(encoding="utf-8"))
        log.warning("backup.restored", made_at=backup["made_at"], host=backup["host"], backup=backup["backup"])
    note.unlink(missing_ok=True)


def _open_patiently(config: Config, events: EventQueue, signals: Signals) -> Store | None:
    """
    Open the database; while another process locks it, its disk is full, or its server is away or only read, retry.

    Returns None after a signal to stop.

    The service manager would give up after some minutes of failed starts.
    """
    failures, logged = 0, ""
    while not signals.stop_asked:
        try:
            return config.service.place.open(tell_of_wait)
        except StoreUnavailable as error:
            if not (error.remedy or isinstance(error, StoreBusy | StoreFull | StoreUnreachable)):
                raise
            if logged != (logged := error.advice):
                log.error("store.refused", reason=logged)
        notify.extend_start(LAST_RETRY_S)
        failures += 1
        events.wait(back_off_s(failures, first_s=FIRST_RETRY_S, last_s=LAST_RETRY_S))
    return None
