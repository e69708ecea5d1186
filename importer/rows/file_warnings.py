"""What a client should know of a file as a whole, once it was read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import BinaryIO, Final

from importer.attributes import ATTRIBUTES, Attribute
from importer.file.scan import line_of
from importer.file.table import Row
from importer.model import FileRejected, FileWarning, Tally, printable
from importer.rows.batches import Examination

_FALLBACK_SAMPLES: Final = 5


def warnings(raw: BinaryIO, examination: Examination, tally: Tally) -> Iterator[FileWarning]:
    """Yield what the client should know although the file was imported; `raw` is the whole of it."""
    found = examination.terms.found
    if not tally.rows:
        yield FileWarning(code="file.no_users", detail="")
    if found.fallback:
        yield FileWarning(code="encoding.fallback", detail=_samples(examination, found.encoding))
    if found.substitute:
        yield FileWarning(code="file.substitute", detail="")
    if not found.ends_line:
        line = line_of(raw, found.start, found.end, found.encoding)
        yield FileWarning(code="file.unterminated", detail="", rows=1, first_line=line)
    for title in examination.table.header.secret:
        yield FileWarning(code="column.secret", detail="", field=title)
    yield from examination.findings.warnings


def _samples(examination: Examination, encoding: str) -> str:
    """Say how the file was read, with the first letters beyond ASCII, so that a person sees whether rightly."""
    header = examination.table.header
    names = {index: name for name, columns in header.columns.items() for index in columns}
    cells = (
        _sample(row.line, ATTRIBUTES[names[index]], cell)
        for row in itertools.chain((Row(header.line, [*header.titles]),), examination.table.rows())
        if not any(row.cells[header.width :])  # else who knows in which column a cell belongs
        for index, cell in enumerate(row.cells)
        if index in names and not cell.isascii()
    )
    samples = ", ".join(itertools.islice(cells, _FALLBACK_SAMPLES))
    check = f"Check these: {samples}. " if samples else ""
    return f'the file is not UTF-8 and was read as {encoding}. {check}Better, save it as "CSV UTF-8"'


def _sample(line: int, attribute: Attribute, cell: str) -> str:
    return (
        f"line {line} {attribute.name}" if attribute.is_personal else f'line {line} "{printable(cell[:40].encode())}"'
    )


def cut_off(examination: Examination) -> FileRejected:
    """Return the refusal of a file that ends in the middle of a row."""
    found = examination.terms.found
    line = line_of(examination.raw, found.start, found.end, found.encoding)
    return FileRejected(
        "upload.incomplete",
        f"line {line}: the file ends in the middle of a row: the line does not end and has fewer fields than the "
        f"header's {examination.table.header.width}. The upload was probably cut off. Upload the whole file again.",
        line=line,
    )
