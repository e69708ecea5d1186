"""
A sheet as the HTML part of a mail: one file that needs nothing else and fetches nothing.

It is made for the mail programs that people have. Outlook for Windows lays out by tables and attributes and knows
neither flex nor max-width, so it gets a table of 600 pixels of its own; Gmail clips what is longer than 102 KB; dark
modes change all colours, so none means anything.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Final

from importer.answer.sheet import ListedProblem, Sheet, SupportLine
from importer.model import message
from importer.wording.catalogue import Words, words

_MOST_BYTES: Final = 80_000  # of the page, without what is always in it

_MOST_CHARS: Final = 3000  # of a text in a table

_FONT: Final = "font-family:Segoe UI,Helvetica,Arial,sans-serif;color:#1b1f24;"
_BREAK: Final = "word-break:break-word;overflow-wrap:anywhere;"
_TITLE: Final = f"{_FONT}font-size:20px;line-height:28px;margin:0 0 12px 0;{_BREAK}"
_HEADING: Final = f"{_FONT}font-size:16px;line-height:24px;margin:20px 0 8px 0;"
_TEXT: Final = f"{_FONT}font-size:15px;line-height:22px;margin:0 0 12px 0;{_BREAK}"
_LIST: Final = "padding:0 0 0 24px;"
_SMALL: Final = f"{_FONT}font-size:13px;line-height:20px;margin:0;{_BREAK}"
_PADDING: Final = "padding:20px 16px;border-bottom:1px solid #d0d5db;"
_CELL: Final = (
    f"{_FONT}font-size:14px;line-height:20px;text-align:left;vertical-align:top;padding:8px 12px 8px 0;"
    "border-bottom:1px solid #d0d5db;"
)
_WIDTHS: Final = {"heading/lines": ' width="16%"', "heading/column": ' width="18%"'}
_DATE: Final = re.compile(r"\b\w{4}-\w\w-\w\w\b")  # or the form of one
_LONG_WORD: Final = 24  # letters, such as only a foreign name has: it may be broken, others make a column as wide
# On a phone the cells of a row are one below the other. Outlook for Windows and some others ignore this.
_PHONE: Final = (
    "@media (max-width:480px){.head{display:none !important}"
    ".cell{display:block !important;border-bottom:0 !important;padding:0 0 2px 0 !important}"
    ".cell:first-child{font-weight:bold !important}"
    ".last{border-bottom:1px solid #d0d5db !important;padding-bottom:8px !important;margin-bottom:8px !important}}"
)
_TABLE: Final = "border-collapse:collapse;margin:0 0 12px 0;"
_FULL: Final = 'width="100%" cellpadding="0" cellspacing="0" border="0"'
_PAGE: Final = (
    '<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>'
    "<style>{phone}</style></head>\n"
    '<body style="margin:0;padding:0;background-color:#eef0f2;">\n'
    f'<table role="presentation" {_FULL} bgcolor="#eef0f2"><tr><td align="center" style="padding:12px 8px;">\n'
    '<!--[if mso]><table role="presentation" width="600" cellpadding="0" cellspacing="0" border="0"><tr><td>'
    "<![endif]-->\n"
    f'<table role="presentation" {_FULL} bgcolor="#ffffff" style="max-width:600px;background-color:#ffffff;">\n'
    "{body}</table>\n"
    "<!--[if mso]></td></tr></table><![endif]-->\n</td></tr></table>\n</body></html>\n"
)


def page(sheets: Sequence[Sheet]) -> str:
    """Return the answer in one language after the other, in less than 90 KB whatever the file."""
    room = _MOST_BYTES // len(sheets)
    return _PAGE.format(
        language=sheets[0].language,
        title=html.escape(sheets[0].subject),
        phone=_PHONE,
        body="".join(
            f'<tr lang="{each.language}"><td style="{_PADDING}">{_body(each, room)}</td></tr>\n' for each in sheets
        ),
    )


def _body(sheet: Sheet, room: int) -> str:
    say = words(sheet.language)
    steps = "".join(f'<li style="margin:0 0 6px 0;">{html.escape(step)}</li>' for step in sheet.steps)
    support = "<br>".join(map(_support_line, sheet.support))
    before = (
        f'<h1 style="{_TITLE}">{html.escape(sheet.title)}</h1>\n'
        + _paragraph(sheet.summary)
        + _section(say, "heading/steps", f'<ol style="{_TEXT}{_LIST}">{steps}</ol>\n' if steps else "")
    )
    after = _section(say, "heading/support", f'<p style="{_SMALL}">{support}</p>\n' if support else "")
    room -= len(before.encode()) + len(after.encode())
    problems, more = _table(say, sheet.problems, room)
    if more := more + sheet.more_problems:
        problems += _paragraph(f"{say.say(message('more/problems', count=more))} {sheet.see}")
    warnings, more = _table(say, sheet.warnings, room - len(problems.encode()))
    if more := more + sheet.more_warnings:
        warnings += _paragraph(say.say(message("more/warnings", count=more)))
    return before + _section(say, "heading/problems", problems) + _section(say, "heading/warnings", warnings) + after


def _paragraph(text: str) -> str:
    return f'<p style="{_TEXT}">{html.escape(text)}</p>\n'


def _section(say: Words, heading: str, content: str) -> str:
    return f'<h2 style="{_HEADING}">{html.escape(say.say(message(heading)))}</h2>\n{content}' if content else ""


def _support_line(line: SupportLine) -> str:
    text = _shown(line.text)
    return f'<a href="{html.escape(line.url)}" style="color:#0b57d0;">{text}</a>' if line.url else text


def _table(say: Words, problems: Sequence[ListedProblem], room: int) -> tuple[str, int]:
    """Return a table of the problems for which there is room, without empty columns, and how many others there are."""
    columns = {
        "heading/lines": [each.where for each in problems],
        "heading/column": [each.column for each in problems],
        "heading/problem": [each.problem for each in problems],
        "heading/remedy": [each.remedy for each in problems],
    }
    columns = {heading: texts for heading, texts in columns.items() if any(texts)}
    head = (
        f'<th scope="col" style="{_CELL}"{_WIDTHS.get(each, "")}>{html.escape(say.say(message(each)))}</th>'
        for each in columns
    )
    rows: list[str] = []
    for texts in zip(*columns.values(), strict=True):
        *before, last = map(_clipped, texts)
        row = "".join((*(_cell(text, "cell") for text in before), _cell(last, "cell last")))
        room -= len(row.encode())
        if room < 0:
            break
        rows.append(f"<tr>{row}</tr>\n")
    shown = f'<table {_FULL} style="{_TABLE}">\n<tr class="head">{"".join(head)}</tr>\n{"".join(rows)}</table>\n'
    return shown if rows else "", len(problems) - len(rows)


def _shown(text: str) -> str:
    """Return a text as HTML, with its dates in one piece."""
    return _DATE.sub(r'<span style="white-space:nowrap;">\g<0></span>', html.escape(text))


def _cell(text: str, kind: str) -> str:
    style = _CELL + _BREAK if any(len(word) > _LONG_WORD for word in text.split()) else _CELL
    return f'<td class="{kind}" style="{style}">{_shown(text)}</td>'


def _clipped(text: str) -> str:
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}..."
