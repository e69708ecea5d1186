"""The ledger: imports that fit a filter, one import with all there is about it, and its files."""

from __future__ import annotations

import urllib.parse
from datetime import MAXYEAR, UTC, date, datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, get, post
from litestar.datastructures import State
from litestar.exceptions import NotFoundException
from litestar.response import Redirect, Stream, Template
from litestar.status_codes import HTTP_303_SEE_OTHER, HTTP_409_CONFLICT

from console.orders import NotHandedOver, carried_out, given, handed_over, notice, operators_only
from console.reading import Installation, Reading, known_clients
from console.rendering import attached, page, shown
from importer import names
from importer.model import printable
from importer.store import queries
from importer.store.queries import Import
from importer.store.searches.imports import Wanted, search
from operate.records import ImportDetails, details_of
from watcher.control.client import ARCHIVED, Order
from watcher.control.roster import ONLY_TRIED

log = structlog.get_logger()

PAGE: Final = 50
_MOST_CHARS: Final = 200
OUTCOMES: Final = ("imported", "partly", "refused", "on_hold")
COUNTS: Final = {
    "created": "new",
    "updated": "changed",
    "reinstated": "active again",
    "unchanged": "unchanged",
    "deactivated": "deactivated",
    "failed": "failed",
}


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """What was typed into the filter, as it was typed."""

    client: str = ""
    outcome: str = ""
    since: str = ""
    until: str = ""
    file: str = ""
    code: str = ""

    @property
    def is_set(self) -> bool:
        """Tell whether anything is left out by it."""
        return self != Filter()

    @property
    def trouble(self) -> str:
        """Return what of it cannot be used, in a sentence."""
        days = [text for text in (self.since, self.until) if text and _day(text) is None]
        return f'"{shown(days[0])}" is not a day; expected one such as 2026-09-05.' if days else ""

    def link(self, *, before: int) -> str:
        """Return the address of the page of older imports."""
        fields = {name: value for name, value in msgspec.structs.asdict(self).items() if value}
        return f"/imports?{urllib.parse.urlencode({**fields, 'before': before})}"


class ArchivedFile(msgspec.Struct, frozen=True, kw_only=True):
    """The upload, or an answer to it."""

    number: int
    what: str
    name: str
    place: str  # "there", "unknown" where only the service can look, or why it is not

    @property
    def is_there(self) -> bool:
        """Tell whether it can be asked for."""
        return self.place in ("there", "unknown")


@get("/imports", sync_to_thread=True)
def imports(request: Request[Any, Any, State], state: State) -> Template:
    """List the imports that fit the filter, newest first."""
    installation: Installation = state.installation
    asked = filter_of(request.query_params)
    with installation.reading(request.user) as reading:
        looked_for = wanted(reading, asked, request.query_params.get("before", ""))
        found = [] if asked.trouble else search(reading.conn, looked_for, PAGE + 1)
        clients = known_clients(reading)
    return page(
        request,
        "imports",
        asked=asked,
        clients=clients,
        entries=found[:PAGE],
        is_later=bool(looked_for.before),
        older=asked.link(before=found[PAGE - 1].id) if len(found) > PAGE else "",
        outcomes=OUTCOMES,
    )


@get("/imports/{number:int}", sync_to_thread=True)
def one_import(request: Request[Any, Any, State], state: State, number: int) -> Template:
    """Show everything about one import."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        details = details_for(reading, number)
        files = _files(reading, details)
    entry = details.entry
    may_decide = request.user.may_decide
    return page(
        request,
        "import",
        details=details,
        entry=entry,
        files=files,
        summary=summary_of(entry),
        notice=notice(request),
        may_replay=may_decide and entry.kind == "file" and entry.archived_at and not entry.purged_at,
        may_undo=may_decide
        and entry.kind != "erase"
        and entry.outcome != "on_hold"
        and any((entry.created, entry.updated, entry.reinstated, entry.deactivated)),
    )


@get("/imports/{number:int}/files/{index:int}", sync_to_thread=True)
def download(request: Request[Any, Any, State], state: State, number: int, index: int) -> Stream | Template:
    """Return an upload, or an answer to it, as a file to save: never as something that a browser shows."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        entry = details_for(reading, number).entry
        known = _names(reading, entry)
        client = reading.config.clients_by_name.get(entry.client)
    if client is None or not 0 <= index < len(known):
        raise NotFoundException
    name = known[index]
    try:
        file, _ = handed_over(reading.config, ARCHIVED, client.name, name)
    except NotHandedOver as error:
        title = f"{printable(name)} cannot be downloaded."
        return page(request, "trouble", status=HTTP_409_CONFLICT, title=title, remedy=f"The reason: {error}.")
    log.info("console.downloaded", user=request.user.name, client=entry.client, id=entry.id, file=printable(name))
    return attached(printable(name), file)


# A path of its own: of two handlers of a path Litestar 2.25 wraps one that runs in a thread twice, and answers 500.
@get("/imports/{number:int}/undo-preview", guards=[operators_only], sync_to_thread=True)
def undo_preview(request: Request[Any, Any, State], state: State, number: int) -> Template:
    """Show what would be taken back: the service tries it, and changes nothing."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        entry = details_for(reading, number).entry
    order = Order(do="roster.undo", id=str(number), client=entry.client, by=request.user.name, is_applied=False)
    done, text = carried_out(installation, order)
    if not done:
        return page(request, "trouble", status=HTTP_409_CONFLICT, title="It cannot be undone.", remedy=f"{text}.")
    lines = [line for line in text.splitlines() if line != ONLY_TRIED]
    return page(request, "undo", entry=entry, lines=lines)


@post("/imports/{number:int}/replay", guards=[operators_only], status_code=HTTP_303_SEE_OTHER, sync_to_thread=True)
def replay(request: Request[Any, Any, State], state: State, number: int) -> Template | Redirect:
    """Have the service import a file again."""
    return _change(request, state.installation, number, "file.replay")


@post("/imports/{number:int}/undo", guards=[operators_only], status_code=HTTP_303_SEE_OTHER, sync_to_thread=True)
def undo(request: Request[Any, Any, State], state: State, number: int) -> Template | Redirect:
    """Have the service take back what an import did."""
    return _change(request, state.installation, number, "roster.undo")


def _change(request: Request[Any, Any, State], installation: Installation, number: int, do: str) -> Template | Redirect:
    with installation.reading(request.user) as reading:
        entry = details_for(reading, number).entry
    order = Order(do=do, id=str(number), client=entry.client, by=request.user.name)
    return given(request, installation, order, f"/imports/{number}")


def summary_of(entry: Import) -> str:
    """Return in a sentence what an import did."""
    if entry.outcome == "on_hold":
        return "Nothing of it is applied until somebody decides."
    if entry.outcome == "refused":
        return "Nothing of it was applied."
    return f"{counts}." if (counts := counts_of(entry)) else "It had no users."


def counts_of(entry: Import) -> str:
    """Return how many users an import made, changed and so on, or would."""
    return ", ".join(f"{count:,} {what}" for name, what in COUNTS.items() if (count := getattr(entry, name)))


def filter_of(query: Any) -> Filter:  # noqa: ANN401 - a mapping of Litestar
    """Return the filter in the query of a request."""
    return Filter(**{name: str(query.get(name, ""))[:_MOST_CHARS].strip() for name in Filter.__struct_fields__})


def wanted(reading: Reading, asked: Filter, before: str) -> Wanted:
    """Return which imports that are, of those that the reader may see; older ones than `before`, a number in text."""
    since, until = _day(asked.since), _day(asked.until)
    clients = reading.user.seen
    if asked.client:
        clients = (asked.client,) if reading.user.sees(asked.client) else ()
    return Wanted(
        clients=clients,
        outcome=asked.outcome,
        since=since,
        until=until + timedelta(days=1) if until and until.year < MAXYEAR else None,
        file=asked.file,
        code=asked.code,
        before=int(before) if before.isascii() and before.isdigit() and len(before) < 18 else 0,  # noqa: PLR2004 - digits
    )


def _day(text: str) -> datetime | None:
    try:
        day = date.fromisoformat(text)
        return datetime(day.year, day.month, day.day, tzinfo=UTC)
    except ValueError:
        return None


def details_for(reading: Reading, number: int) -> ImportDetails:
    """Return an import; one that the reader may not see is as if it were not there."""
    details = details_of(reading.config, reading.conn, str(number)) if number > 0 else None
    if details is None or not reading.user.sees(details.entry.client):
        raise NotFoundException
    return details


def _names(reading: Reading, entry: Import) -> list[bytes]:
    """Return the names in `.bak` of an upload and its answers, as bytes."""
    if entry.kind != "file":
        return []
    archive = queries.archive_name(reading.conn, entry.id)
    return [archive, *names.due_answers(archive, entry.failed)]


def _files(reading: Reading, details: ImportDetails) -> list[ArchivedFile]:
    kinds = {names.RESULT_TXT: "Result text", names.FAILED_CSV: "Failed rows"}
    files = []
    for index, (name, place) in enumerate(zip(_names(reading, details.entry), details.files.values(), strict=True)):
        what = next((what for ending, what in kinds.items() if index and name.endswith(ending)), "Upload")
        files.append(ArchivedFile(number=index, what=what, name=printable(name), place=place))
    return files
