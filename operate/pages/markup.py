"""A page of headings, paragraphs, lists, code and tables, as Markdown or as one HTML file. `x` in a text is code."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

_CODE: Final = re.compile(r"`([^`]+)`")
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}"
    "h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem}"
    "code,pre{font:14px/1.45 ui-monospace,monospace;background:#f3f4f6;border-radius:4px}"
    "code{padding:.1rem .25rem}pre{padding:.75rem;overflow-x:auto}pre code{padding:0}"
    "table{border-collapse:collapse;font-size:.95rem}th,td{text-align:left;padding:.3rem .8rem .3rem 0;"
    "border-bottom:1px solid #d8dce1;vertical-align:top}"
)


class Heading(msgspec.Struct, frozen=True, tag=True):
    """A heading; `level` 1 is the title."""

    text: str
    level: int = 2


class Text(msgspec.Struct, frozen=True, tag=True):
    """A paragraph."""

    text: str


class Items(msgspec.Struct, frozen=True, tag=True):
    """A list."""

    texts: tuple[str, ...]


class Code(msgspec.Struct, frozen=True, tag=True):
    """Lines to be taken as they are."""

    text: str


class Table(msgspec.Struct, frozen=True, tag=True):
    """A table of texts."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Text | Items | Code | Table


def as_markdown(blocks: Iterable[Block]) -> str:
    """Return the page as Markdown."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Items(texts):
            return "\n".join(f"- {text}" for text in texts)
        case Code(text):
            return f"```\n{text.rstrip()}\n```"
        case Table(header, rows):
            lines = [header, tuple("---" for _ in header), *rows]
            return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def as_html(blocks: Sequence[Block]) -> str:
    """Return the page as a file that needs nothing else: no script, nothing fetched."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    body = "\n".join(map(_html, blocks))
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{_inline(text)}</h{level}>"
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Items(texts):
            return f"<ul>{''.join(f'<li>{_inline(text)}</li>' for text in texts)}</ul>"
        case Code(text):
            return f"<pre><code>{html.escape(text.rstrip())}</code></pre>"
        case Table(header, rows):
            return f"<table>{_html_row('th', header)}{''.join(_html_row('td', row) for row in rows)}</table>"


def _html_row(tag: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_inline(cell)}</{tag}>' for cell in cells)}</tr>"


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", html.escape(text))
