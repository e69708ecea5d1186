"""How much mail may wait for a client, and the one mail that is sent in place of the rest."""

from __future__ import annotations

import hashlib
import json
from typing import Final

import msgspec

from importer.model import Letter, for_operator, message, message_id_of
from importer.wording.catalogue import say_in_each

MAX_WAITING_MAILS: Final = 100  # as a rule one digest
MAX_WAITING_BYTES: Final = 32 << 20

_FOR_OPERATOR: Final = (
    "There are more reports to the operator than wait to be mailed: at most {mails}, or {mib} MiB. This mail replaces "
    "all further ones of the hour from {hour} on.\n\nThe log has all of them, and `rosterd status` says what is wrong "
    "now."
)


def overflow_letter(letter: Letter) -> Letter:
    """Return what is sent in place of all letters of an hour that exceed the limit, always the same."""
    hour = f"{letter.written_at:%Y-%m-%d %H}:00 UTC"
    to = hashlib.sha256(json.dumps((letter.client, letter.sender, letter.recipients)).encode()).hexdigest()[:16]
    limits = {"mails": MAX_WAITING_MAILS, "mib": MAX_WAITING_BYTES >> 20}
    subject, text = (
        (
            say_in_each(letter.languages, message("overflow_subject")),
            say_in_each(letter.languages, message("overflow", hour=hour, **limits), between="\n\n"),
        )
        if letter.client
        else (for_operator("more reports to the operator than are mailed"), _FOR_OPERATOR.format(hour=hour, **limits))
    )
    return msgspec.structs.replace(
        letter,
        message_id=message_id_of(f"overflow.{letter.written_at:%Y%m%dT%H}.{to}", letter.sender),
        claim_id="",
        subject=subject,
        text=f"{text}\n",
        html="",
        attachments=(),
    )
