"""
The heartbeat for a dead man's switch: a URL that is requested after each successful round of sweeps.

The monitor at the URL alerts when no request comes, so that even a host that is down is noticed. The URL is a secret:
whoever knows it can pretend that all is well. Only its host name is ever logged.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

import structlog

from importer.durations import back_off_s
from watcher.config import ConfigError, ping_url
from watcher.settings import ServiceSettings

log = structlog.get_logger()

_TIME_OUT_S: Final = 10.0
_FIRST_PAUSE_S: Final = 5.0
_LAST_PAUSE_S: Final = 300.0
_FRESH_S: Final = 300.0  # the result of an older round is not sent
_PATIENCE_S: Final = 2.0  # for the current request, after a signal to stop


class Heartbeat:
    """
    Requests the URL on a separate thread, so that the work loop never waits for an answer.

    Failures are retried with exponential back-off, and logged once until it works again. Without a URL it does
    nothing. One thread uses the methods.
    """

    def __init__(self, url: str, *, trouble: str = "") -> None:
        self.url = url
        self._swept: set[str] = set()
        self._swept_at = -math.inf
        self.trouble = trouble  # why the last request failed, or why there is none
        self._asked = threading.Event()
        self._over = threading.Event()
        # A daemon thread: a server that never ends its answer must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="ping", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self.url:
            self._thread.start()

    def note_sweep(self, client: str, clients: Collection[str], unusable: Collection[str] = ()) -> None:
        """
        Note that the inbox of one of `clients` was swept successfully; after the last one the URL is requested.

        An inbox that became `unusable` after its sweep needs another sweep.
        """
        self._swept.add(client)
        self._swept.difference_update(unusable)
        if self._swept.issuperset(clients):
            self._swept.clear()
            self._swept_at = time.monotonic()
            self._asked.set()

    def close(self) -> None:
        """Stop; a completed round is still reported, if that is quick."""
        self._over.set()
        self._asked.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)

    def _work(self) -> None:
        reported_at, failures = -math.inf, 0
        while self._asked.wait():
            self._asked.clear()
            if (swept_at := self._swept_at) > max(reported_at, time.monotonic() - _FRESH_S):
                reason = request(self.url)
                self._log(reason, failures)
                self.trouble = reason
                failures = failures + 1 if reason else 0
                reported_at = reported_at if reason else swept_at
            if self._over.wait(pause_s(failures)):
                return
            if failures:
                self._asked.set()

    def _log(self, reason: str, failures: int) -> None:
        host = urlsplit(self.url).hostname
        if reason and not failures:
            log.error("ping.failed", host=host, reason=reason)
        elif failures and not reason:
            log.info("ping.restored", host=host, failures=failures)


def heartbeat_of(service: ServiceSettings) -> Heartbeat:
    """Return the heartbeat that is configured; one with `trouble` if the secret cannot be read."""
    try:
        return Heartbeat(ping_url(service))
    except ConfigError as error:
        log.error("ping.failed", host="", reason=str(error))
        return Heartbeat("", trouble=str(error))


def pause_s(failures: int) -> float:
    """Return how long to wait after so many failures in a row: 5 s doubling to 5 min."""
    return back_off_s(failures, first_s=_FIRST_PAUSE_S, last_s=_LAST_PAUSE_S)


def request(url: str) -> str:
    """Request the URL and follow redirects; return why that failed, without any part of the URL, or ""."""
    import http.client  # with urllib.request 5 ms: only where there is a URL
    import urllib.error
    import urllib.request

    opener = urllib.request.OpenerDirector()
    # Only those for HTTP: the default ones also open files and FTP.
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,  # verifies certificate and name
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    try:
        opener.open(urllib.request.Request(url, headers={"User-Agent": "rosterd"}), timeout=_TIME_OUT_S).close()  # noqa: S310 - of http and https only, see the handlers
    except urllib.error.HTTPError as error:
        error.close()
        return f"HTTP {error.code}"
    except urllib.error.URLError as error:
        return str(error.reason) if isinstance(error.reason, OSError) else "not a URL of http or https"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return str(error) if isinstance(error, OSError) else type(error).__name__
    return ""
