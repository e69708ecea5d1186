"""From values to HTML: the templates, and how they write times, numbers and names. Everything is escaped."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import jinja2
from litestar import Request, Response
from litestar.background_tasks import BackgroundTask
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Stream, Template
from litestar.status_codes import HTTP_200_OK
from litestar.template.config import TemplateConfig
from markupsafe import Markup, escape

from console.access.gate import visit_of
from importer.model import printable
from importer.settings import FeedSettings
from operate.output import age, counted, shown_size

_HERE: Final = Path(__file__).parent
_CODE: Final = re.compile(r"`([^`]+)`")
_PIECE_BYTES: Final = 256 << 10
_OUTCOMES: Final = {
    "imported": "imported",
    "partly": "partly imported",
    "refused": "refused",
    "on_hold": "on hold",
}
STATIC: Final = {name: (_HERE / "static" / name).read_bytes() for name in ("console.css", "console.js", "icon.svg")}
_VERSION: Final = hashlib.sha256(b"".join(STATIC.values())).hexdigest()[:12]


def page(request: Request[Any, Any, Any], template: str, *, status: int = HTTP_200_OK, **values: object) -> Template:
    """Return a page as the answer to a request."""
    shared = {
        "user": request.scope.get("user"),
        "is_by_proxy": visit_of(request.scope).is_by_proxy,
        "path": request.url.path,
        "now": datetime.now(UTC),
    }
    return Template(template_name=f"{template}.html", context={**shared, **values}, status_code=status)


def markup(html: str) -> Markup:
    """Return HTML that is escaped already, such as that of the guide."""
    return Markup(html)  # noqa: S704 - operate/pages/markup escapes all it writes


def attachment(name: str, content: bytes) -> Response[bytes]:
    """Return a file to save, never one that a browser shows."""
    return Response(content, media_type="application/octet-stream", headers=_saved_as(name))


def attached(name: str, file: BinaryIO) -> Stream:
    """Return an open file to save, piece by piece, as large as it is now; it is closed at the end, whoever ends it."""
    size_bytes = os.fstat(file.fileno()).st_size
    headers = {**_saved_as(name), "content-length": str(size_bytes)}
    closing = BackgroundTask(file.close)  # a generator that nobody asks further would keep it open
    return Stream(_pieces(file, size_bytes), media_type="application/octet-stream", headers=headers, background=closing)


def _saved_as(name: str) -> dict[str, str]:
    return {"content-disposition": f"attachment; filename*=UTF-8''{urllib.parse.quote(name, safe='')}"}


def _pieces(file: BinaryIO, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    while left and (piece := file.read(min(left, _PIECE_BYTES))):
        left -= len(piece)
        yield piece


def template_config() -> TemplateConfig[JinjaTemplateEngine]:
    """Return the templates, for the application."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "age": age,
        "codes": with_codes,
        "day": shown_day,
        "feed": feed_words,
        "moment": lambda text: shown_time(datetime.fromisoformat(text)),
        "number": shown_number,
        "outcome": lambda value: _OUTCOMES.get(value, value),
        "shown": shown,
        "size": shown_size,
        "subject": lambda text: shown(text.replace("\u00a0", " ")),  # French has some, and no reader looks for them
        "time": shown_time,
    }
    environment.globals |= {"counted": counted, "version": _VERSION}
    return TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment))


def shown(text: object) -> str:
    """Return a text without what could reorder or hide the text around it."""
    return printable(str(text).encode("utf-8", "backslashreplace"))


def with_codes(sentence: str) -> Markup:
    """Return a sentence with what stands between back quotes marked as something to type."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(shown(sentence)))))  # noqa: S704 - it is escaped here


def feed_words(feed: FeedSettings) -> str:
    """Return what a file of a feed means."""
    if not feed.is_snapshot:
        return "adds and changes users"
    return "states all users" if feed.misses == 1 else f"states all users; {feed.misses} in a row must lack who left"


def shown_time(at: datetime) -> Markup:
    """Return a time for a browser, which shows it in its own zone if it runs our script; in UTC else."""
    at = at.astimezone(UTC)
    text = f"{at.day} {at:%b %Y, %H:%M} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        f"{at:%Y-%m-%dT%H:%M:%SZ}", f"{at:%Y-%m-%d %H:%M:%S} UTC", text
    )


def shown_day(at: datetime) -> str:
    """Return a day: "5 Sep 2026"."""
    return f"{at.day} {at:%b %Y}"


def shown_number(number: int) -> str:
    """Return a number with its thousands apart."""
    return f"{number:,}"
