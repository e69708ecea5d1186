"""How much mail may wait for a client, and the one mail that is sent in place of the rest."""

from __future__ import annotations

import hashlib
import json
from typing import Final

import msgspec

from importer.model import Letter, for_operator, message_id_of

MAX_WAITING_MAILS: Final = 100  # as a rule one digest
MAX_WAITING_BYTES: Final = 32 << 20


def overflow_letter(letter: Letter) -> Letter:
    """Return what is sent in place of all letters of an hour for which there is no room, always the same."""
    hour = f"{letter.written_at:%Y-%m-%d %H}:00"
    to = hashlib.sha256(json.dumps((letter.client, letter.sender, letter.recipients)).encode()).hexdigest()[:16]
    about = f"reports about files of {letter.client}" if letter.client else "reports to the operator"
    where = (
        "The files were processed all the same, and no result is lost: the folder .bak has one for each file, and the "
        "failed CSV where rows were not imported."
        if letter.client
        else "The log has all of them, and `rosterd status` says what is wrong now."
    )
    return msgspec.structs.replace(
        letter,
        message_id=message_id_of(f"overflow.{letter.written_at:%Y%m%dT%H}.{to}", letter.sender),
        claim_id="",
        subject=f"rosterd: more {about} than are mailed"
        if letter.client
        else for_operator(f"more {about} than are mailed"),
        text=f"There are more {about} than wait to be mailed: at most {MAX_WAITING_MAILS}, or "
        f"{MAX_WAITING_BYTES >> 20} MiB. This mail replaces all further ones of the hour from {hour} UTC on.\n\n"
        f"{where}\n",
        attachments=(),
    )
