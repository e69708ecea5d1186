"""What every way for a mail to leave has in common: it takes a mail, and says how the attempt ended."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from importer.model import Mail


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended."""

    mail: Mail
    refused: tuple[str, ...] = ()  # recipients who still lack the mail; none: everybody has it
    reason: str = ""  # what the server said, or class of the error; of a mail that was not refused: where it is instead
    permanent: bool = False  # the server will say the same of this mail again


Transport = Callable[[Mail], Delivery]  # raises OSError; SyncFailed


def failed(mail: Mail, reason: str, *, permanent: bool = False) -> Delivery:
    """Return the result of an attempt that reached no recipient."""
    return Delivery(mail=mail, refused=mail.recipients, reason=reason, permanent=permanent)
