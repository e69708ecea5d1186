"""Warnings about a whole file, once it was read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, Final

import msgspec

from importer.attributes import COLUMNS
from importer.file import header_reasons
from importer.file.header import with_wrong_names
from importer.file.scan import Scan, line_of, scan
from importer.file.table import Row
from importer.file.truncation import is_closed, is_cut_off
from importer.model import FileRejected, FileWarning, Tally, message, printable
from importer.rows.batches import Examination
from importer.settings import ClientSettings, FileSettings

_FALLBACK_SAMPLES: Final = 5
_SAMPLE_CHARS: Final = 40


def warnings(
    raw: BinaryIO, examination: Examination, tally: Tally, failed: Callable[[], Iterable[int]]
) -> Iterator[FileWarning]:
    """
    Yield what the client should know although the file was imported.

    `raw` is the whole of it; `failed` returns the lines of the rows that are not applied.
    """
    scan = examination.terms.scan
    if not tally.rows:
        yield FileWarning(reason=message("file.no_users"))
    if scan.fallback:
        yield _read_in_fallback(examination, scan.encoding)
    if scan.substitute:
        yield FileWarning(reason=message("file.substitute"))
    if not (scan.ends_line or is_closed(examination.table)):
        line = line_of(raw, scan.start, scan.end, scan.encoding)
        yield FileWarning(reason=message("file.unterminated"), rows=1, lines=(line,))
    for title in examination.table.header.secret:
        shown = header_reasons.shown_name(title)
        yield FileWarning(reason=message("column.secret", title=shown), field=shown)
    header = examination.table.header
    yield from (FileWarning(reason=reason) for reason in header_reasons.ignored(header.ignored, header.columns))
    found = examination.findings.warnings
    yield from _of_applied(found, failed()) if found and tally.failed else found


def _of_applied(found: Sequence[FileWarning], failed: Iterable[int]) -> Iterator[FileWarning]:
    """Yield the warnings without rows that fail, of which nothing is stored, as far as all their lines are known."""
    lost = {line for each in found if _tells_of_values(each) for line in each.lines}.intersection(failed)
    for each in found:
        if not _tells_of_values(each):
            yield each
        elif lines := tuple(line for line in each.lines if line not in lost):
            yield msgspec.structs.replace(each, rows=len(lines), lines=lines)


def _tells_of_values(warning: FileWarning) -> bool:
    is_of_columns = warning.code == "columns.disagree" or not warning.field
    return not is_of_columns and warning.rows == len(warning.lines)


def _read_in_fallback(examination: Examination, encoding: str) -> FileWarning:
    """Return the warning with the first letters beyond ASCII and their lines, so that a person sees whether rightly."""
    samples = [*itertools.islice(_samples(examination), _FALLBACK_SAMPLES)]
    texts = tuple(text for _, text in samples)
    reason = message("encoding.fallback", encoding=encoding)
    if texts:
        reason = message("encoding.fallback/samples", encoding=encoding, samples=texts)
    return FileWarning(reason=reason, lines=tuple(dict.fromkeys(line for line, _ in samples)))


def _samples(examination: Examination) -> Iterator[tuple[int, str]]:
    """Yield line and text of the cells beyond ASCII that are not personal."""
    header = examination.table.header
    names = {index: name for name, columns in header.columns.items() for index in columns}
    for row in itertools.chain((Row(header.line, [*header.titles]),), examination.table.rows()):
        if any(row.cells[header.width :]):  # the columns of its cells are not known
            continue
        for index, cell in enumerate(row.cells):
            if index in names and not cell.isascii() and not COLUMNS[names[index]].is_personal:
                yield row.line, printable(cell[:_SAMPLE_CHARS].encode())


def scanned(raw: BinaryIO, limits: FileSettings, client: ClientSettings) -> Scan:
    """
    Return what the first pass over a file tells.

    Raises FileRejected as `scan` does; that of its letters tells what is wrong with the names of the columns, too.
    """
    try:
        return scan(raw, limits, client.fallback_encoding)
    except FileRejected as rejected:
        raise with_wrong_names(rejected, raw, client, limits.max_columns) from None


def refuse_cut_off(examination: Examination) -> None:
    """Raise FileRejected when a file that does not end its last line ends in the middle of a row."""
    if is_cut_off(examination.table, examination.terms.client):
        scan = examination.terms.scan
        line = line_of(examination.raw, scan.start, scan.end, scan.encoding)
        raise FileRejected(message("upload.incomplete/row", line=str(line)), line=line)
