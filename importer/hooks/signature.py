"""
The signature of a request, by which its receiver knows that it is ours and new.

As https://www.standardwebhooks.com has it: HMAC-SHA256 over id, time and body, with a secret that both know.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

_PREFIX: Final = "whsec_"  # before a key in Base64
_MIN_CHARS: Final = 16


def key_of(secret: str) -> bytes:
    """Return the key that a secret is: `whsec_` and Base64, or else the text itself. Raises ValueError."""
    if len(secret) < _MIN_CHARS:
        raise ValueError(f"got a secret of {len(secret)} characters; expected at least {_MIN_CHARS}")
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError(f"got a secret that begins with {_PREFIX}; expected Base64 after it") from None


def headers(key: bytes, event_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that sign a request; `timestamp` is of this try, in seconds since 1970."""
    signed = b"%s.%d.%s" % (event_id.encode(), timestamp, body)
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {"webhook-id": event_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{signature}"}
