"""
The request to a webhook: one call is one attempt.

Certificates are verified; no redirect is followed, no proxy of the environment is used, and of the answer only the
status is read, so that a receiver can neither lead elsewhere nor fill the memory.
"""

from __future__ import annotations

import contextlib
import http
import http.client
import ssl
import time
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import msgspec

from importer.hooks import signature
from importer.sending.connection import given_up_after, tls_context
from importer.settings import HookSettings
from importer.store.tables.hooks import HookEvent

ATTEMPT_TIME_OUTS: Final = 3  # to connect, to send, to answer
_GONE: Final = http.HTTPStatus.GONE
# Of those below 500 all others say the same of this event again.
_PASSING: Final = (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_EARLY, http.HTTPStatus.TOO_MANY_REQUESTS)


class HookUnusable(Exception):
    """Nothing can be sent to a hook; the text says what was found and what was expected."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended."""

    event: HookEvent
    reason: str = ""  # why the hook has not taken it, "" when it has
    is_permanent: bool = False  # it will say the same of this event again
    is_gone: bool = False  # it wants no event any more


def failed(event: HookEvent, reason: str) -> Attempt:
    """Return the result of an attempt that got no answer."""
    return Attempt(event=event, reason=reason)


class HookTransport:
    """Sends events to one hook."""

    def __init__(self, settings: HookSettings, secret: str) -> None:
        """`settings.ca_file` is absolute. Raises HookUnusable."""
        where = f"[[hook]] {settings.name}"
        try:
            self._key = signature.key_of(secret)
        except ValueError as error:
            raise HookUnusable(
                f"{where}: {error}, in the credential hook_{settings.name}, the variable "
                f"{settings.secret_variable} or secret_file"
            ) from None
        self._settings = settings
        self._parts = urlsplit(settings.url)
        self._tls: ssl.SSLContext | None = None
        if self._parts.scheme == "https":
            try:
                self._tls = tls_context(settings.ca_file)
            except OSError as error:
                raise HookUnusable(
                    f'{where} ca_file: cannot use "{settings.ca_file}" ({error}); expected certificates in PEM'
                ) from error

    def __call__(self, event: HookEvent) -> Attempt:
        """Send one event. Raises OSError, HTTPException."""
        with self._connection() as connection:
            body = event.body.encode()
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "rosterd",
                "Connection": "close",
                **signature.headers(self._key, event.event_id, int(time.time()), body),
            }
            target = self._parts.path or "/"
            connection.request("POST", f"{target}?{self._parts.query}" if self._parts.query else target, body, headers)
            with connection.getresponse() as answer:
                return _judged(event, answer.status)

    def connect(self) -> None:
        """Only connect, and verify the certificate. Raises OSError."""
        with self._connection() as connection:
            connection.connect()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[http.client.HTTPConnection]:
        """Yield a connection not yet made, which is cut when the block takes too long."""
        host, timeout_s = self._parts.hostname or "", self._settings.timeout_s
        connection = (
            http.client.HTTPConnection(host, self._parts.port, timeout=timeout_s)
            if self._tls is None
            else http.client.HTTPSConnection(host, self._parts.port, timeout=timeout_s, context=self._tls)
        )
        with contextlib.closing(connection), given_up_after(ATTEMPT_TIME_OUTS * timeout_s, lambda: connection.sock):
            yield connection


def _judged(event: HookEvent, status: int) -> Attempt:
    """Return what an answer with this status means. Source: RFC 9110 section 15, Standard Webhooks on 410."""
    if status // 100 == 2:  # noqa: PLR2004 - the number is the rule
        return Attempt(event=event)
    hint = ": redirects are not followed" if status // 100 == 3 else ""  # noqa: PLR2004 - likewise
    return Attempt(
        event=event,
        reason=f"HTTP {status}{hint}",
        is_permanent=status < http.HTTPStatus.INTERNAL_SERVER_ERROR and status not in _PASSING,
        is_gone=status == _GONE,
    )
