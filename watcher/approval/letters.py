"""Mail to a client that answers no file: uploads that approve nothing, decisions about removals, freezes of feeds."""

from __future__ import annotations

import textwrap
import uuid
from datetime import datetime

from importer.mail.letter import to_client
from importer.model import Letter, Message, message
from importer.settings import ClientSettings, MailSettings
from importer.store.roster.pauses import Freeze
from importer.store.roster.removal import Decision
from importer.wording.catalogue import say_in_each, words

_WIDTH = 72


def answer_to_wrong_code(name: str, client: ClientSettings, mail: MailSettings, at: datetime) -> Letter:
    """Return the mail about the upload with this name, which was to approve something."""
    key = "approval/wrong" if "client" in client.guard.approve_by else "approval/not_allowed"
    subject, text = message("approval/subject", name=name), message(key, name=name)
    return _letter(f"approval.{uuid.uuid4()}", subject, text, client, mail, at)


def removals_decided(decision: Decision, users: int, client: ClientSettings, mail: MailSettings) -> Letter:
    """Return the mail that says what becomes of the users whom a snapshot lacks; so many were deactivated."""
    held, verdict = decision.held, decision.verdict
    key = f"removals/{verdict}" if users or verdict != "approved" else "removals/none"
    subject = message("removals/subject", file=held.file)
    if decision.reason:
        text = message(f"{key}/why", file=held.file, reason=(decision.reason,))
    else:
        text = message(key, file=held.file, count=users)
    return _letter(f"{held.claim_id}.removals.{verdict}", subject, text, client, mail, decision.at)


def freeze_ended(feed: str, client: ClientSettings, mail: MailSettings, at: datetime) -> Letter:
    """Return the mail that says that files of a feed are imported again, earlier than was announced."""
    if not feed:
        subject, text = message("freeze_ended/subject"), message("freeze_ended/text")
    else:
        subject = message("freeze_ended/subject/feed", feed=feed)
        text = message("freeze_ended/text/feed", files=_files_of(feed, client))
    return _letter(f"freeze.{uuid.uuid4()}", subject, text, client, mail, at)


def _files_of(feed: str, client: ClientSettings) -> tuple[str, ...]:
    return tuple(each.files for each in client.feed if each.name == feed)


def freeze_announced(freeze: Freeze, client: ClientSettings, mail: MailSettings, at: datetime) -> Letter:
    """Return the mail that says from when through when no files of a feed are imported."""
    first, last = freeze.days(mail.timezone)
    if not freeze.feed:
        subject = message("freeze/subject", first=first, last=last)
        text = message("freeze/text", first=first, last=last)
    else:
        subject = message("freeze/subject/feed", feed=freeze.feed, first=first, last=last)
        text = message("freeze/text/feed", files=_files_of(freeze.feed, client), first=first, last=last)
    return _letter(f"freeze.{uuid.uuid4()}", subject, text, client, mail, at)


def _letter(
    name: str, subject: Message, text: Message, client: ClientSettings, mail: MailSettings, at: datetime
) -> Letter:
    texts = (textwrap.fill(words(each).say(text), _WIDTH) for each in client.language)
    return to_client(
        client,
        mail,
        name,
        say_in_each(client.language, subject),
        f"\n\n{'-' * _WIDTH}\n\n".join(texts) + "\n",
        at,
    )
