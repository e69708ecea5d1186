"""What waits for a decision: what it would change, and the decision, which the service carries out."""

from __future__ import annotations

import contextlib
import io
import itertools
import tempfile
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Annotated, Any, BinaryIO, Final, TypeVar

import msgspec
import structlog
from litestar import Request, get, post
from litestar.datastructures import State
from litestar.enums import RequestEncodingType
from litestar.exceptions import NotFoundException
from litestar.params import Body
from litestar.response import Redirect, Stream, Template
from litestar.status_codes import HTTP_303_SEE_OTHER, HTTP_409_CONFLICT

from console.imports import COUNTS, counts_of
from console.orders import NotHandedOver, given, handed_over, notice, operators_only
from console.reading import Installation, Reading
from console.rendering import attached, page, shown
from importer.answer.sheet import ranges
from importer.model import OnHold
from importer.roster import guards
from importer.store import queries
from importer.store.roster import held_files
from importer.store.roster.counts import ChangedValue
from importer.wording.catalogue import words
from operate.roster.held_changes import NotPreviewable, by_the_file, missing, write_csv
from watcher.control.client import CLAIMED, MOST_REASON_CHARS, Order
from watcher.settings import Config

log = structlog.get_logger()
_Taken = TypeVar("_Taken")

EXAMPLES: Final = 20
_AT_A_TIME: Final = threading.BoundedSemaphore(2)  # each reads a file in a process of its own
_PATIENCE_S: Final = 5.0
_AT_ONCE_BYTES: Final = 1 << 20  # a larger file is read for its examples only when somebody asks: seconds of work


class Reason(msgspec.Struct, frozen=True):
    """A kind of change that was counted."""

    words: str
    is_over: bool  # its limit
    lines: str


@get("/on-hold", sync_to_thread=True)
def on_hold(request: Request[Any, Any, State], state: State) -> Template:
    """List what waits."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        waiting = waiting_for(reading)
    lines = [(held, _until(held), _reasons(held)[0]) for held in waiting]
    return page(request, "on_hold", lines=lines, notice=notice(request))


@get("/on-hold/{number:int}", sync_to_thread=True)
def one_on_hold(request: Request[Any, Any, State], state: State, number: int) -> Template:
    """Show what would change."""
    installation: Installation = state.installation
    is_asked = "examples" in request.query_params
    with installation.reading(request.user) as reading:
        held = held_for(reading, number)
        entry = queries.find_import(reading.conn, str(held.import_id))
        is_small = held.is_of_removals or (entry is not None and entry.size_bytes <= _AT_ONCE_BYTES)
        examples, trouble = _missing(reading, held) if held.is_of_removals else ([], "")
    if not held.is_of_removals and (is_small or is_asked):
        first, trouble = _by_the_file(reading, held, _first)
        examples = first or []
    return page(
        request,
        "held",
        held=held,
        counts=counts_of(entry) if entry and not held.is_of_removals else "",
        most_chars=MOST_REASON_CHARS,
        until=_until(held),
        reasons=_reasons(held),
        examples=examples[:EXAMPLES],
        is_cut=len(examples) > EXAMPLES,
        is_left_out=not (is_small or is_asked),
        trouble=trouble,
    )


@get("/on-hold/{number:int}/changes.csv", sync_to_thread=True)
def all_changes(request: Request[Any, Any, State], state: State, number: int) -> Stream | Template:
    """Return who would change, and how, as a file to save: all of it, as `rosterd preview --csv` prints it."""
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        held = held_for(reading, number)
        left, trouble = _missing(reading, held) if held.is_of_removals else ([], "")
    file: BinaryIO | None = None
    try:
        if not held.is_of_removals:
            file, trouble = _by_the_file(reading, held, _in_a_file)
        elif not trouble:
            file = _in_a_file(left)
    except OSError as error:
        trouble = f"{tempfile.gettempdir()}: {error.strerror}"
    if file is None:
        return page(
            request, "trouble", status=HTTP_409_CONFLICT, title="It cannot be saved.", remedy=f"The reason: {trouble}."
        )
    name = f"{shown(held.file)}.changes.csv"
    log.info("console.downloaded", user=request.user.name, client=held.client, id=held.import_id, file=name)
    return attached(name, file)


class DecisionForm(msgspec.Struct, frozen=True):
    """Why a file is rejected; of an approval nothing."""

    reason: str = ""


_Form = Annotated[DecisionForm, Body(media_type=RequestEncodingType.URL_ENCODED)]


@post(
    "/on-hold/{number:int}/{decision:str}", guards=[operators_only], status_code=HTTP_303_SEE_OTHER, sync_to_thread=True
)
def decide(
    request: Request[Any, Any, State], state: State, number: int, decision: str, data: _Form
) -> Template | Redirect:
    """Have the service approve or reject what the person has seen; should another preview wait by now, neither."""
    if decision not in ("approve", "reject"):
        raise NotFoundException
    installation: Installation = state.installation
    with installation.reading(request.user) as reading:
        held = held_for(reading, number)
    order = Order(
        do=f"file.{decision}",
        file=held.file,
        id=str(held.import_id),
        client=held.client,
        by=request.user.name,
        reason=data.reason if decision == "reject" else "",
    )
    return given(request, installation, order, "/on-hold", title="Nothing was decided.")


def waiting_for(reading: Reading) -> list[OnHold]:
    """Return what waits, as far as the reader may see it, oldest first."""
    return [held for held in held_files.waiting(reading.conn) if reading.user.sees(held.client)]


def without_code(held: OnHold) -> OnHold:
    """Return it without what approves it: whoever may only look could upload a file of that name."""
    return msgspec.structs.replace(held, code="")


def counted(reading: Reading, held: OnHold) -> dict[str, int]:
    """Return how many users a file would make, change and so on, as it was counted when it came; none of removals."""
    entry = None if held.is_of_removals else queries.find_import(reading.conn, str(held.import_id))
    return {name: getattr(entry, name) for name in COUNTS} if entry else {}


def held_for(reading: Reading, number: int) -> OnHold:
    """Return what waits under this number; what the reader may not see is as if it were not there."""
    for held in waiting_for(reading):
        if held.import_id == number:
            return held
    raise NotFoundException


def _until(held: OnHold) -> datetime:
    return held.held_at + timedelta(days=held.approval_days)


def _reasons(held: OnHold) -> list[Reason]:
    """Return what was counted, what is over its limit first."""
    return [
        Reason(words().say(guards.told(each)), each in held.tripped, _lines(each.lines, each.count))
        for each in sorted(held.changes, key=lambda change: change not in held.tripped)
    ]


def _lines(lines: tuple[int, ...], count: int) -> str:
    if not lines:
        return ""
    return f"{'line' if count == 1 else 'lines'} {ranges(lines)}{' and more' if count > len(lines) else ''}"


def _missing(reading: Reading, held: OnHold) -> tuple[list[ChangedValue], str]:
    """Return who would be deactivated, or why that is not known."""
    try:
        return missing(reading.config, reading.conn, held), ""
    except NotPreviewable as error:
        return [], str(error)


def _first(values: Iterable[ChangedValue]) -> list[ChangedValue]:
    """Return the first values, one more than is shown."""
    return [*itertools.islice(values, EXAMPLES + 1)]


def _in_a_file(values: Iterable[ChangedValue]) -> BinaryIO:
    """Return all values as CSV in a file without a name: nothing is sent before all of it is known."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it is sent
    try:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        write_csv(text, values)
        text.detach()
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _upload(config: Config, held: OnHold) -> tuple[BinaryIO, bytes]:
    return handed_over(config, CLAIMED, held.client, held.claim_id.encode())


def _by_the_file(
    reading: Reading, held: OnHold, take: Callable[[Iterable[ChangedValue]], _Taken]
) -> tuple[_Taken | None, str]:
    """Return what `take` makes of the values that would be others, or why they are not known."""
    if not _AT_A_TIME.acquire(timeout=_PATIENCE_S):
        return None, "other files on hold are being read; load this page again in a moment"
    try:
        with contextlib.closing(by_the_file(reading.config, held, _upload)) as values:
            return take(values), ""
    except (NotPreviewable, NotHandedOver) as error:
        return None, str(error)
    finally:
        _AT_A_TIME.release()
