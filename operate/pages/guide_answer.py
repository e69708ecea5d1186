"""The part of a client's guide about what comes back: our answer, how to correct a file, contacts, each code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from importer.disk_space import MOST_FAILED_BYTES, MOST_FAILED_ROWS
from importer.model import message
from importer.wording.codes import CODE_PARTS, CODES
from importer.wording.template import Level
from operate.pages.guide_context import Guide
from operate.pages.markup import Block, Heading, Items, Text
from watcher.settings import IntakeSettings

_STEPS: Final = ("get", "open", "load", "cells", "above", "save", "upload")


def answering(guide: Guide) -> Iterator[Block]:
    """Yield what we answer, and where."""
    yield guide.heading("answer")
    yield Text(_mail_sentence(guide))
    yield guide.text("bak")
    yield guide.items("bak_result", "bak_failed", "bak_upload")
    yield guide.text("partly")


def _mail_sentence(guide: Guide) -> str:
    addresses = guide.config.mail.recipients_of(guide.client)
    if not addresses:
        return guide.say("mail_never")
    return guide.say("mail_always" if guide.client.receipts else "mail_problems", addresses=", ".join(addresses))


def correcting(guide: Guide) -> Iterator[Block]:
    """Yield how to correct what was not imported, and what to do about a file without an answer."""
    yield guide.heading("correct")
    yield guide.text("correct_source")
    yield guide.text("correct_failed")
    yield guide.steps(*(f"correct_{step}" for step in _STEPS))
    yield guide.text("correct_many", rows=MOST_FAILED_ROWS, size=MOST_FAILED_BYTES >> 20)
    yield guide.heading("waiting")
    yield Items(tuple(_waiting(guide)))


def _waiting(guide: Guide) -> Iterator[str]:
    intake = guide.config.intake
    yield guide.say("waiting_open")
    yield guide.say("waiting_cut", count=max(1, round(intake.resume_grace_s / 60)))
    yield guide.say("waiting_on_hold")
    if guide.client.guard.fewer_rows != "off":
        yield guide.say("waiting_fewer_rows")
    if intake.pattern == IntakeSettings().pattern:
        yield guide.say("waiting_csv", endings=", ".join(f"`.{each}`" for each in ("csv", *guide.config.file.accept)))
    else:
        yield guide.say("waiting_name", pattern=intake.pattern)
    if guide.config.mail.recipients_of(guide.client):
        yield guide.say("waiting_strays", count=max(1, round(intake.stray_grace_s / 60)))


def asking(guide: Guide) -> Iterator[Block]:
    """Yield who answers questions."""
    mail = guide.config.mail
    yield guide.heading("questions")
    match bool(mail.contact), bool(mail.questions_to):
        case True, True:
            yield guide.text("ask_both", contact=mail.contact, address=mail.questions_to)
        case True, False:
            yield guide.text("ask_person", contact=mail.contact)
        case False, True:
            yield guide.text("ask_address", address=mail.questions_to)
        case _:
            yield guide.text("ask_nobody")


def codes(guide: Guide) -> Iterator[Block]:
    """Yield a paragraph for each code, with the code as its anchor."""
    yield guide.heading("codes")
    yield guide.text("codes_what")
    for level in Level:
        yield guide.heading(f"codes/{level.value}", 3)
        for code in CODES.values():
            if code.level is level:
                title, cause, example, remedy = (
                    guide.words.say(message(f"code/{code.code}/{part}")) for part in CODE_PARTS
                )
                yield Heading(f"{title} ({code.code})", 4, f"{guide.anchors}{code.code}")
                yield Text(cause)
                yield Items((guide.say("codes_example", text=example), guide.say("codes_remedy", text=remedy)))
