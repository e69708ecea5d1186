"""A sheet as plain text, wrapped for any window: the result text, the plain part of a mail, the answer of a check."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from importer.answer.sheet import ListedProblem, Sheet
from importer.model import message
from importer.wording.catalogue import Words, words

WIDTH: Final = 72
_QUOTED: Final = re.compile(r'"[^"]*"|«[^»]*»')
_BLANK: Final = "\x1f"  # in place of one that must not become a line break; no text has it, as all are printable


def text(sheets: Sequence[Sheet], *, titled: bool) -> str:
    """Return the answer in one language after the other; without titles below a subject that says the same."""
    return f"\n{'-' * WIDTH}\n\n".join("\n".join(_lines(each, titled=titled)) + "\n" for each in sheets)


def _lines(sheet: Sheet, *, titled: bool) -> Iterator[str]:
    say = words(sheet.language)
    if titled:
        yield from (*wrapped(sheet.title, sheet.names), "")
    yield from wrapped(sheet.summary, sheet.names)
    if sheet.steps:
        yield from _heading(say, "heading/steps")
        for number, step in enumerate(sheet.steps, 1):
            yield from wrapped(step, sheet.names, f"{number}. ")
    if sheet.problems:
        yield from _heading(say, "heading/problems")
        yield from _bullets(say, sheet.problems, sheet)
        if sheet.more_problems:
            more = say.say(message("more/problems", count=sheet.more_problems))
            yield from wrapped(f"{more} {sheet.see}", sheet.names)
    if sheet.warnings:
        yield from _heading(say, "heading/warnings")
        yield from _bullets(say, sheet.warnings, sheet)
        if sheet.more_warnings:
            yield from wrapped(say.say(message("more/warnings", count=sheet.more_warnings)), sheet.names)
    if sheet.support:
        yield from _heading(say, "heading/support")
        for line in sheet.support:
            shown = say.say(message("bullet", where=line.text, text=line.url)) if line.url else line.text
            yield from wrapped(shown, sheet.names, "- ")


def _heading(say: Words, key: str) -> Iterator[str]:
    yield from ("", say.say(message(key)), "")


def _bullets(say: Words, problems: Iterable[ListedProblem], sheet: Sheet) -> Iterator[str]:
    for each in problems:
        shown = say.say(message("bullet", where=each.where, text=each.text)) if each.where else each.text
        yield from wrapped(shown, sheet.names, "- ")


def wrapped(text: str, names: Iterable[str] = (), mark: str = "") -> list[str]:
    """Break a text between words, but in no quotation and none of these names of files."""
    if 0 < len(mark) + len(text) <= WIDTH and text.isprintable() and text.strip() == text:  # as most
        return [mark + text]
    for name in names:
        text = text.replace(name, name.replace(" ", _BLANK))
    text = _QUOTED.sub(lambda quoted: quoted[0].replace(" ", _BLANK), text)
    lines = textwrap.wrap(
        text,
        WIDTH,
        initial_indent=mark,
        subsequent_indent=" " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_BLANK, " ") for line in lines]
