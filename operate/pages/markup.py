"""
A page of headings, paragraphs, lists, code and tables, as Markdown or as one HTML file.

In a text `x` is code, **x** is what a program shows to click on, and [x](#y) leads to the heading with the anchor y.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

_CODE: Final = re.compile(r"`([^`]+)`")
_LINK: Final = re.compile(r"\[([^\]]+)\]\((#[^)]+)\)")
_STRONG: Final = re.compile(r"\*\*([^*]+)\*\*")
# A phone shows a table as a list of its cells, each below the name of its column.
_STYLE: Final = (
    ":root{color-scheme:light dark;--text:#1b1f24;--back:#fff;--code:#f0f2f4;--line:#d8dce1}"
    "@media(prefers-color-scheme:dark){:root{--text:#e6e8eb;--back:#16191d;--code:#262b31;--line:#3b424a}}"
    "body{font:17px/1.5 system-ui,sans-serif;max-width:44rem;margin:1.5rem auto;padding:0 1rem;"
    "color:var(--text);background:var(--back);overflow-wrap:break-word;-webkit-text-size-adjust:100%}"
    "h1{font-size:1.6rem;line-height:1.25}h2{font-size:1.3rem;margin-top:2.2rem}h3{font-size:1.1rem;margin-top:1.6rem}"
    "h4{font-size:1rem;margin:1.4rem 0 0}h4+p{margin-top:.2rem}li{margin:.35rem 0}ul,ol{padding-left:1.5rem}"
    "code,pre{font:.88em/1.45 ui-monospace,monospace;background:var(--code);border-radius:4px}"
    "code{padding:.1rem .25rem;overflow-wrap:anywhere}pre{padding:.75rem;white-space:pre-wrap;overflow-wrap:anywhere}"
    "pre code{padding:0;font-size:1em}section+section{border-top:3px solid var(--line);margin-top:3rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .8rem .4rem 0;"
    "border-bottom:1px solid var(--line);vertical-align:top}"
    "@media(max-width:34rem){thead{position:absolute;left:-999rem}tr,td{display:block}"
    "tr{padding:.5rem 0;border-bottom:1px solid var(--line)}td{border:0;padding:.1rem 0}"
    'td::before{content:attr(data-label)": "}td:first-child{font-weight:bold}td:first-child::before{content:none}}'
)


class Heading(msgspec.Struct, frozen=True, tag=True):
    """A heading; `level` 1 is the title. A link can lead to its anchor, if it has one."""

    text: str
    level: int = 2
    anchor: str = ""


class Text(msgspec.Struct, frozen=True, tag=True):
    """A paragraph."""

    text: str


class Items(msgspec.Struct, frozen=True, tag=True):
    """A list."""

    texts: tuple[str, ...]


class Steps(msgspec.Struct, frozen=True, tag=True):
    """A list of what to do, one after the other."""

    texts: tuple[str, ...]


class Code(msgspec.Struct, frozen=True, tag=True):
    """Lines shown as they are."""

    text: str


class Table(msgspec.Struct, frozen=True, tag=True):
    """A table of texts."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Text | Items | Steps | Code | Table


def as_markdown(blocks: Iterable[Block]) -> str:
    """Return the page as Markdown."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Heading(text, level, anchor):
            return f"{_anchor(anchor)}{'#' * level} {text}"
        case Text(text):
            return text
        case Items(texts):
            return "\n".join(f"- {text}" for text in texts)
        case Steps(texts):
            return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
        case Code(text):
            return f"```\n{text.rstrip()}\n```"
        case Table(header, rows):
            lines = [header, tuple("---" for _ in header), *rows]
            return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _anchor(name: str) -> str:
    return f'<a id="{html.escape(name)}"></a>\n\n' if name else ""


def as_html(parts: Mapping[str, Sequence[Block]]) -> str:
    """
    Return the page as a file that needs nothing else: no script, nothing fetched.

    `parts` has what to show by its language, "en" or "fr".
    """
    language, blocks = next(iter(parts.items()))
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style>"
    )
    body = "\n".join(f'<section lang="{each}">\n{as_section(part)}\n</section>' for each, part in parts.items())
    return f'<!DOCTYPE html>\n<html lang="{language}"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def as_section(blocks: Iterable[Block]) -> str:
    """Return the elements of a page, for a page that has a head of its own."""
    return "\n".join(map(_html, blocks))


def _html(block: Block) -> str:
    match block:
        case Heading(text, level, anchor):
            id_ = f' id="{html.escape(anchor)}"' if anchor else ""
            return f"<h{level}{id_}>{_inline(text)}</h{level}>"
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Items(texts):
            return f"<ul>{_html_items(texts)}</ul>"
        case Steps(texts):
            return f"<ol>{_html_items(texts)}</ol>"
        case Code(text):
            return f"<pre><code>{html.escape(text.rstrip())}</code></pre>"
        case Table(header, rows):
            names = "".join(f'<th scope="col">{_inline(name)}</th>' for name in header)
            body = "".join(f"<tr>{_html_cells(header, row)}</tr>" for row in rows)
            return f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"


def _html_items(texts: Iterable[str]) -> str:
    return "".join(f"<li>{_inline(text)}</li>" for text in texts)


def _html_cells(header: Iterable[str], row: Iterable[str]) -> str:
    return "".join(
        f'<td data-label="{html.escape(name)}">{_inline(cell)}</td>' for name, cell in zip(header, row, strict=True)
    )


def _inline(text: str) -> str:
    linked = _LINK.sub(r'<a href="\2">\1</a>', html.escape(text))
    return _STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", linked))
