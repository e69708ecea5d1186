"""The mail to operator and client about an overdue upload."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from importer.durations import in_words
from importer.mail.letter import to_client, to_operator
from importer.model import Letter, Message, message
from importer.settings import ClientSettings, MailSettings
from importer.wording.catalogue import Words, say_in_each, words
from importer.wording.times import local_time

_WIDTH: Final = 72
_STEPS: Final = ("by_hand", "by_program", "uploaded")


class OverdueUpload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload that should have come by now."""

    client: ClientSettings
    last_at: datetime | None  # when the last one was dealt with; None: there never was one

    @property
    def name(self) -> str:
        """Return what identifies it."""
        return f"{self.client.name}.{self.last_at:%Y%m%dT%H%M%SZ}" if self.last_at else f"{self.client.name}.never"


def letters(overdue: OverdueUpload, mail: MailSettings, at: datetime) -> Iterator[Letter]:
    """Yield the letters about an overdue upload that the client's `late_mail` asks for."""
    letter = {"operator": _to_operator, "client": _to_client}
    return (letter[recipient](overdue, mail, at) for recipient in overdue.client.late_mail)


def _to_operator(overdue: OverdueUpload, mail: MailSettings, at: datetime) -> Letter:
    name = overdue.client.name
    since = f"since {overdue.last_at:%Y-%m-%d %H:%M} UTC" if overdue.last_at else "yet"
    every = in_words(overdue.client.expect_every).removeprefix("1 ")
    return to_operator(
        mail,
        f"late.operator.{overdue.name}",
        f"{name}: no file of users has come {since}",
        f"No file of users has come from {name} {since}. One is expected at least every {every}.\n\n"
        "Please ask them whether their export and its upload still run. `rosterd status` says whether a file waits "
        f"in their inbox, `rosterd doctor` whether they can log in, `rosterd imports --client {name}` what came "
        "before.\n\nYou get this mail once. After the next file you get another one only if a file is overdue "
        "again.\n",
        at,
    )


def _to_client(overdue: OverdueUpload, mail: MailSettings, at: datetime) -> Letter:
    client = overdue.client
    return to_client(
        client,
        mail,
        f"late.client.{overdue.name}",
        say_in_each(client.language, _message("overdue/subject", overdue, mail)),
        f"\n{'-' * _WIDTH}\n\n".join(_text(overdue, mail, words(language)) for language in client.language),
        at,
    )


def _text(overdue: OverdueUpload, mail: MailSettings, language: Words) -> str:
    """Return the mail to the client in one language."""
    count, unit = re.fullmatch(r"(\d+)(\w+)", overdue.client.expect_every).groups()  # type: ignore[union-attr]
    situation = (
        _message("overdue", overdue, mail),
        message(f"overdue/every/{unit}", count=int(count)),
        message("overdue/stays"),
    )
    steps = (
        textwrap.fill(
            language.say(message(f"overdue/{step}")), _WIDTH, initial_indent=f"{number}. ", subsequent_indent="   "
        )
        for number, step in enumerate(_STEPS, 1)
    )
    paragraphs = (
        textwrap.fill(" ".join(map(language.say, situation)), _WIDTH),
        language.say(message("overdue/steps")),
        "\n".join(steps),
        *(textwrap.fill(language.say(each), _WIDTH) for each in (*whom_to_ask(mail), message("overdue/once"))),
    )
    return "\n\n".join(paragraphs) + "\n"


def _message(key: str, overdue: OverdueUpload, mail: MailSettings) -> Message:
    if overdue.last_at is None:
        return message(f"{key}/never")
    return message(f"{key}/since", since=local_time(overdue.last_at, mail.timezone))


def whom_to_ask(mail: MailSettings) -> Iterator[Message]:
    """Yield who answers questions, if that is set."""
    if mail.contact and mail.questions_to:
        yield message("overdue/ask_or_reply", contact=mail.contact)
    elif mail.contact:
        yield message("overdue/ask", contact=mail.contact)
    elif mail.questions_to:
        yield message("overdue/reply")
