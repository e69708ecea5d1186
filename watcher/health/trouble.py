"""Problems: sorted by who must act, reported to the operator, and counted for the exit code of a single pass."""

from __future__ import annotations

import errno
import time
from typing import Final

from importer.durable import SyncFailed
from importer.store.errors import (
    StoreBusy,
    StoreCorrupt,
    StoreDiskFailed,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnreachable,
    StoreUnusable,
)
from watcher.exits import EXIT_IO_ERROR, EXIT_UNEXPECTED
from watcher.health.alerts import Alerts
from watcher.model import InboxUnusable

_OF_HOST: Final = (OSError, StoreUnavailable, InboxUnusable)
_EXPLAINED_ERRORS: Final = (OSError, StoreError, InboxUnusable)  # their texts quote nothing of a file
_SERVER: Final = "database server"  # the shared cause of all that follows from it
_SHARED_ERRORS: Final = (errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Troubles:
    """Reports problems and, in a single pass, remembers those that left files behind."""

    def __init__(self, alerts: Alerts, *, watching: bool) -> None:
        self._alerts = alerts
        self._watching = watching
        self._codes: dict[tuple[str, str], int] = {}  # by client and file, "" for the inbox

    def report(self, event: str, **about: str) -> None:
        """Report a problem that can affect only one client."""
        self._alerts.report(event, time.monotonic(), shared_cause="", exc_info=None, **about)

    def report_error(self, event: str, error: Exception, **about: str) -> None:
        """Report a problem that may affect all clients. Raises the error when it is fatal."""
        raise_if_fatal(error)
        self._report_server(error)
        about["reason"] = reason(error)
        bug = None if isinstance(error, _EXPLAINED_ERRORS) else error
        self._alerts.report(event, time.monotonic(), shared_cause=self._shared_cause(error), exc_info=bug, **about)

    def defer(self, client: str, what: str, error: Exception) -> None:
        """Report why a file or a claim must wait. Raises the error when it is fatal."""
        raise_if_fatal(error)
        self._report_server(error)
        is_hosts = is_of_host(error)
        if not self._watching:
            self._codes[client, what] = EXIT_IO_ERROR if is_hosts else EXIT_UNEXPECTED
        event = "file.deferred" if is_hosts else "file.failed"
        self._alerts.report(
            event,
            time.monotonic(),
            shared_cause=self._shared_cause(error),
            exc_info=None if is_hosts else error,
            client=client,
            reason=reason(error),
        )

    def report_database(self, why: str, *, is_server: bool) -> None:
        """Report why the database cannot be written."""
        shared = _SERVER if is_server else ""
        self._alerts.report("store.refused", time.monotonic(), shared_cause=shared, reason=why)

    def server_is_back(self) -> bool:
        """Note that the server of the database can be used; return whether it was reported that it could not."""
        return self._alerts.end_shared(_SERVER, "store.refused")

    def _shared_cause(self, error: Exception) -> str:
        """Return the cause of an error that can affect all clients; else ""."""
        if isinstance(error, StoreBusy) and self._alerts.is_shared(_SERVER):
            return _SERVER  # a server that does not answer may keep the locks of those who gave it up
        return _shared_cause(error)

    def _report_server(self, error: Exception) -> None:
        """Report it before what follows from it, whoever meets it first."""
        if is_server_away(error):
            self.report_database(reason(error), is_server=True)

    def close_inbox(self, client: str, error: Exception) -> None:
        """Report why an inbox cannot be used. Raises the error when it is fatal."""
        raise_if_fatal(error)
        is_hosts = is_of_host(error)
        if not self._watching:
            self._codes[client, ""] = EXIT_IO_ERROR if is_hosts else EXIT_UNEXPECTED
        self._alerts.report(
            "inbox.unusable",
            time.monotonic(),
            exc_info=None if is_hosts else error,
            client=client,
            reason=reason(error),
        )

    def resolve(self, client: str, what: str = "") -> None:
        """Note that a file or a claim could be processed, or an inbox be used."""
        self._codes.pop((client, what), None)

    def clear(self, event: str, client: str = "") -> bool:
        """Clear a problem, usually of a client; return whether it had been reported."""
        return self._alerts.clear(event, **({"client": client} if client else {}))

    def reason_for(self, event: str, client: str) -> str:
        """Return the last reported reason of a problem of a client, "" when there is none."""
        return self._alerts.reason_for(event, client)

    @property
    def exit_code(self) -> int:
        """Return 0 when no problem left a file behind."""
        return min(self._codes.values(), default=0)


def is_of_host(error: Exception) -> bool:
    """Return whether the host is the cause, and waiting may help; else it is a bug."""
    return isinstance(error, _OF_HOST)


def reason(error: Exception) -> str:
    """Return the cause without details of one file, so that equal causes compare equal, and without cell values."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{errno.errorcode.get(error.errno, error.errno)}: {error.strerror}"
    if isinstance(error, StoreError):
        return error.advice
    return str(error) if isinstance(error, _EXPLAINED_ERRORS) else type(error).__name__


def is_server_away(error: Exception) -> bool:
    """Return whether the database is on a server that cannot be used: one cause, whatever it says and who asks."""
    return isinstance(error, StoreUnreachable | StoreReadOnly) and bool(error.remedy)


def _shared_cause(error: Exception) -> str:
    """Return the cause of an error that can affect all clients: the disk, the process, the database; else ""."""
    if is_server_away(error):
        return _SERVER
    if isinstance(error, StoreUnavailable):
        return "ENOSPC" if isinstance(error, StoreFull) else str(error)
    if isinstance(error, OSError) and error.errno in _SHARED_ERRORS:
        return errno.errorcode[error.errno]
    return ""


def raise_if_fatal(error: Exception) -> None:
    """Raise for a disk that fails, or a database that is damaged: continuing would only make it worse."""
    if isinstance(error, SyncFailed | StoreUnusable | StoreDiskFailed):
        raise error
    if isinstance(error, StoreCorrupt):
        raise StoreUnusable(str(error)) from error
