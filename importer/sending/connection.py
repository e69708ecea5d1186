"""What every connection to another host needs: verified certificates, and an end."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

# A time-out counts from byte to byte: a server that drips one at a time would hold up everything behind it for ever.
ATTEMPT_TIME_OUTS = 10


def tls_context(ca_file: str) -> ssl.SSLContext:
    """
    Return a context that verifies certificate and host name; with the system's authorities if `ca_file` is "".

    From 3.13 on Python refuses authorities without a key usage, as plain `openssl req -x509` makes them. The operator
    names this one on purpose: chain and name count, the formalities of RFC 5280 do not. Raises OSError.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    if ca_file:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@contextlib.contextmanager
def given_up_after(seconds: float, connected: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Cut the connection when the block takes longer; what reads from it then raises an OSError, or sees its end."""

    def cut() -> None:
        with contextlib.suppress(OSError):  # it ends by itself
            if connection := connected():
                connection.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
