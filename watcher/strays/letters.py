"""The mail to a client about strays."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime

from importer.answer.plain_text import WIDTH, wrapped
from importer.mail.letter import to_client
from importer.model import Letter, Message, message
from importer.settings import ClientSettings, MailSettings
from importer.wording.catalogue import Words, say_in_each, words
from watcher.health.overdue_mail import whom_to_ask


def letter(
    remedies: Mapping[str, Message], count: int, client: ClientSettings, mail: MailSettings, at: datetime
) -> Letter:
    """Return the mail about so many strays, of which some are named as `remedies` has them, with what to do."""
    name = next(iter(remedies))
    one, several = message("strays/subject/one", name=name), message("strays/subject", count=count)
    texts = ("\n".join(_lines(remedies, count, mail, words(language))) + "\n" for language in client.language)
    return to_client(
        client,
        mail,
        f"strays.{uuid.uuid4()}",
        say_in_each(client.language, one if count == 1 else several),
        f"\n{'-' * WIDTH}\n\n".join(texts),
        at,
    )


def _lines(remedies: Mapping[str, Message], count: int, mail: MailSettings, language: Words) -> Iterator[str]:
    """Yield the lines of the mail in one language."""
    yield from wrapped(language.say(message("strays", count=count)))
    yield from ("", language.say(message("overdue/steps")), "")
    for name, remedy in remedies.items():
        quoted = language.quoted(name)
        yield from wrapped(language.say(message("bullet", where=quoted, text=remedy)), (quoted,), "- ")
    if more := count - len(remedies):
        yield from ("", *wrapped(language.say(message("strays/more", count=more))))
    for each in (*whom_to_ask(mail), message("strays/once")):
        yield from ("", *wrapped(language.say(each)))
