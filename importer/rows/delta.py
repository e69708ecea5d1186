"""
Which lines of a file must be examined: those that an earlier file had, too, need not be.

Tonight's file is last night's but for a few rows. Last night's is in `.bak`, the *baseline*, and the database holds
which of its lines are *odd*. All others are plain: a whole record on one line, applied without a warning, its id at the
front, written plainly and only once in that file. If tonight's file has the same line, its user is as the line says,
unless another file has changed the user since.

So three kinds of lines are left to examine, and the rest of the import sees only these:

1. those that are not in the baseline, in the order of its lines, or are odd there;
2. those whose user was changed since;
3. those whose id is also in one of the lines above: the two may contradict each other.

Lines are compared as bytes; only those of the first kind are parsed to learn their ids. If anything is uncertain, such
as an archive that was changed, the whole file is examined: `Incomparable`.

Of a file that has the bytes of the baseline only the lines that are odd, or of changed users, are examined: lines that
have the same id, or ids that differ in case or leading zeros only, are all odd.
"""

from __future__ import annotations

import hashlib
import itertools
import operator
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

import msgspec

from importer.characters import unique_id_in
from importer.file.header import Header
from importer.file.scan import CHUNK_BYTES, Scan, text_bounds
from importer.file.table import Entangled, Table
from importer.model import FileRejected

if TYPE_CHECKING:
    from hashlib import _Hash

# Smaller files are examined whole: that is quick, and a corrected failed CSV never is the baseline of the next night.
MIN_BYTES: Final = 1 << 20
MOST_LINES: Final = 250_000  # that are odd, or differ: 1 MB in the database, some 25 MB of ids
_MOST_BYTES: Final = 64 << 20  # of lines that differ, in the temporary file
_AHEAD_BYTES: Final = 8 << 20  # read ahead of each file: a line can have 1 MiB
_ABREAST: Final = 1_000  # lines compared at a time
_KEPT_BLOCKS: Final = 32  # whose lines the other file may have: more than are ever read ahead
_DIVERGED: Final = bytes(8)  # so many lines in a row that differ: lines were added or removed
_SEARCHED_LINES: Final = (64, 4_000)  # how far to look for where the files agree again

_Lines = list[bytes]
_T = TypeVar("_T")


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """An earlier file of the client, of which something was applied."""

    import_id: int
    archive: bytes  # name in `.bak`
    sha256: str
    recheck_lines: array[int]  # ascending


class Difference(msgspec.Struct, frozen=True):
    """What a file has that its baseline has not."""

    lines: array[int]  # to be examined, ascending
    skippable: int  # how many other lines there are, each of them a user that the database has already
    gone: Sequence[str] = ()  # ids in lines of the baseline that the file has not; of some it has another line


class Incomparable(Exception):
    """The whole file must be examined."""


def is_comparable(scan: Scan, header: Header) -> bool:
    """Tell whether a file can be compared with others."""
    return scan.size_bytes >= MIN_BYTES and scan.encoding == "utf-8" and header.columns["unique_id"] == (0,)


def is_skippable(unique_id: str, delimiter: str) -> bool:
    """Tell whether an id is written so that `_ids_at_the_front` finds it in its line."""
    return unique_id.isascii() and '"' not in unique_id and delimiter not in unique_id


def compare(
    table: Table,
    archive: BinaryIO,
    baseline: Baseline,
    changed_ids: Sequence[str],
    excerpt: BinaryIO,
    gone: BinaryIO | None = None,
) -> Difference:
    """
    Compare a file with the baseline, which `archive` holds; write the lines to be examined to `excerpt`.

    `changed_ids`: the users that other files have changed since. `gone`: a temporary file, if lines that vanished
    matter. Raises Incomparable.
    """
    if len(changed_ids) > MOST_LINES:
        raise Incomparable("too many users were changed since")
    is_same = table.scan.sha256 == baseline.sha256
    if is_same and not changed_ids:
        numbered = _Numbered(_blocks_of(table))
        lines = _written(numbered.picked(baseline.recheck_lines), excerpt)
        return Difference(lines, numbered.count - len(lines), ())
    if is_same:  # lines that contradict each other are all odd
        lines, ids, gone_ids = baseline.recheck_lines, set[bytes](), list[str]()
    else:
        lines, ids, gone_ids = _compared(table, archive, baseline, excerpt, gone)
    marks = _lines_with((ids | {*map(_folded, changed_ids)}) - {b""}, _blocks_of(table), table.header.delimiter)
    for line in lines:
        marks[line] = True
    if len(marks) - 1 - table.header.line > table.limits.max_rows:
        raise Incomparable("there may be too many rows")
    if is_same or marks.count(True) > len(lines):
        picked = itertools.compress(itertools.count(), marks)
        lines = _written(_Numbered(_blocks_of(table)).picked(picked), excerpt)
    skippable = len(marks) - 1 - len(lines)
    return Difference(lines, skippable, gone_ids)


def _compared(
    table: Table, archive: BinaryIO, baseline: Baseline, excerpt: BinaryIO, gone: BinaryIO | None
) -> tuple[array[int], set[bytes], list[str]]:
    """Write the lines that are not in the baseline, or odd; return them, ids of other lines, and ids that are gone."""
    # The old file is read by its own bounds: it may have a byte order mark, or a 0x1A, and the new one not.
    start, end = text_bounds(archive)
    archive.seek(0)
    digest = hashlib.sha256(archive.read(start))
    old = _blocks(archive, end - start, digest)
    vanished = _Vanished(gone, table.header.line, table.header.delimiter)
    lines = _written(_differing(_blocks_of(table), old, baseline.recheck_lines, table.header.line, vanished), excerpt)
    for _ in old:  # for the digest
        pass
    digest.update(archive.read(2))  # a 0x1A, and what should not be there
    if digest.hexdigest() != baseline.sha256:
        raise Incomparable("the archive is not what was imported")
    inner: set[str] | None = None if gone is None else set()
    ids = {*_ids_in(table.excerpt(excerpt, lines), inner)}
    gone_ids = [*vanished.ids(table), *(inner or ())]
    # Somebody may have an id that is gone as part of something else, such as of a header.
    return lines, ids | {*map(_folded, gone_ids)}, gone_ids


class _Vanished:
    """The lines of the baseline that the file has not, in a temporary file; None: they do not matter."""

    def __init__(self, raw: BinaryIO | None, header_line: int, delimiter: str) -> None:
        self._raw = raw
        self._delimiter = delimiter.encode()
        self._count = self._above = header_line
        if raw is not None:
            raw.write(b"\n" * header_line)

    def add(self, lines: Iterable[bytes]) -> None:
        """Add lines. Raises Incomparable when they become too many."""
        if self._raw is None:
            return
        for line in lines:
            self._count += 1
            self._raw.write(line)
            if self._count > MOST_LINES + self._above or self._raw.tell() > _MOST_BYTES:
                raise Incomparable("too much differs")

    def add_changed(self, old: Iterable[bytes], new: Iterable[bytes]) -> None:
        """Add the old lines but those whose ids are in the new lines, which are examined anyway."""
        if self._raw is not None:
            fronts = {*map(self._front, new)} - {b""}
            self.add(line for line in old if self._front(line) not in fronts)

    def _front(self, line: bytes) -> bytes:
        """Return the id of a line, b"" if it is not plain."""
        front = line.partition(self._delimiter)[0]
        return b"" if b'"' in front else front

    def add_rest(self, lines: _Ahead) -> None:
        """Add all lines that are left."""
        while self._raw is not None and lines.fill():
            self.add(lines.drop(len(lines.lines)))

    def ids(self, table: Table) -> list[str]:
        """Return the ids in them, read as those of the file. Raises Incomparable."""
        if self._raw is None:
            return []
        self._raw.flush()
        ids = []
        for record in _records_in(table.excerpt(self._raw, range(1, self._count + 1))):
            if any("\n" in cell for cell in record):  # another of its lines may still be there
                raise Incomparable("a record of several lines is gone")
            ids.append(unique_id_in(record[0]))
        return ids


def _written(lines: Iterable[tuple[int, bytes]], excerpt: BinaryIO) -> array[int]:
    """Replace the content of the file by the lines; return their numbers."""
    excerpt.seek(0)
    excerpt.truncate()
    numbers = array("I")
    for number, line in _limited(lines):
        numbers.append(number)
        excerpt.write(line)
        if excerpt.tell() > _MOST_BYTES:
            raise Incomparable("too much differs")
    excerpt.flush()
    return numbers


def _limited(things: Iterable[_T]) -> Iterator[_T]:
    """Yield the same; raise Incomparable when there are too many."""
    for count, thing in enumerate(things):
        if count == MOST_LINES:
            raise Incomparable("too much differs")
        yield thing


def _ids_in(table: Table, inner: set[str] | None = None) -> Iterator[bytes]:
    """
    Yield the ids of the records.

    Add to `inner` what looks like an id inside a record of several lines: if a line there is one of the baseline, its
    user is gone.
    """
    for record in _records_in(table):
        yield _folded(unique_id_in(record[0]))
        if inner is not None:
            further = (line for cell in record if "\n" in cell for line in cell.split("\n")[1:])
            inner.update(unique_id_in(line.partition(table.header.delimiter)[0]) for line in further)


def _records_in(table: Table) -> Iterator[list[str]]:
    try:
        for stretch in table.stretches():
            yield from stretch.records
    except (Entangled, FileRejected):  # it is reported when the whole file is examined
        raise Incomparable("a record continues in a line of the baseline, or is broken") from None


def _folded(unique_id: str) -> bytes:
    """Return an id so that those which differ in case or leading zeros only are equal, as far as they are plain."""
    return _without_zeros(unique_id.casefold().encode())


def _without_zeros(unique_id: bytes) -> bytes:
    return unique_id.lstrip(b"0") or unique_id[:1]


# Reading


def _blocks_of(table: Table) -> Iterator[bytes]:
    table.raw.seek(table.scan.start)
    return _blocks(table.raw, table.scan.end - table.scan.start)


def _blocks(raw: BinaryIO, left: int | None, digest: _Hash | None = None) -> Iterator[bytes]:
    r"""
    Yield the bytes from the position of `raw`, `left` of them or all, in blocks that end where a line ends.

    Raises Incomparable where a line ends with "\r" alone: lines end with "\n" here.
    """
    carry = b""
    while chunk := raw.read(CHUNK_BYTES if left is None else min(left, CHUNK_BYTES)):
        if left is not None:
            left -= len(chunk)
        if digest is not None:
            digest.update(chunk)
        block = carry + chunk
        cut = block.rfind(b"\n") + 1
        block, carry = block[:cut], block[cut:]
        if b"\r" in block and block.count(b"\r") != block.count(b"\r\n"):
            raise Incomparable("lines end with CR")
        if block:
            yield block
    if b"\r" in carry:
        raise Incomparable("lines end with CR")
    if carry:
        yield carry


class _Ahead:
    """
    The next lines of a file; `at` is the number of the first of them.

    `other` is the file that it is compared with. As a rule most blocks of both are the same: these are split once.
    """

    def __init__(self, blocks: Iterator[bytes], other: _Ahead | None = None) -> None:
        self._blocks = enumerate(blocks)
        self._other = other
        self._split: dict[int, tuple[bytes, _Lines]] = {}
        self._bytes = 0
        self.lines: _Lines = []
        self.at = 1

    def fill(self) -> bool:
        """Read on until there are as many lines as are ever looked at, or much text; return whether there are any."""
        while len(self.lines) < _ABREAST + _SEARCHED_LINES[-1] and self._bytes < _AHEAD_BYTES:
            number, block = next(self._blocks, (0, b""))
            if not block:
                break
            self.lines += self._lines_of(number, block)
            self._bytes += len(block)
        return bool(self.lines)

    def _lines_of(self, number: int, block: bytes) -> _Lines:
        if self._other is not None:
            same, lines = self._other._split.pop(number, (b"", []))  # noqa: SLF001 - of its own class
            return lines if block == same else block.splitlines(keepends=True)
        lines = block.splitlines(keepends=True)
        self._split[number] = block, lines
        self._split.pop(number - _KEPT_BLOCKS, None)
        return lines

    def drop(self, count: int) -> _Lines:
        """Remove and return this many lines."""
        dropped = self.lines[:count]
        del self.lines[:count]
        self.at += count
        self._bytes -= sum(map(len, dropped))
        return dropped


# Comparing


def _differing(
    new: Iterator[bytes], old: Iterator[bytes], recheck_lines: array[int], header_line: int, vanished: _Vanished
) -> Iterator[tuple[int, bytes]]:
    """Yield the header of the new file, and its lines that are no plain lines of the old one, with their numbers."""
    new_lines = _Ahead(new)
    old_lines = _Ahead(old, new_lines)
    while new_lines.fill():
        is_over = not old_lines.fill()
        same = bytearray(map(operator.eq, new_lines.lines[:_ABREAST], old_lines.lines[:_ABREAST]))
        diverged_at = same.find(_DIVERGED)
        del same[len(same) if diverged_at < 0 else diverged_at :]
        first, last = (bisect_left(recheck_lines, old_lines.at + offset) for offset in (0, len(same)))
        for line in recheck_lines[first:last]:
            same[line - old_lines.at] = False
        # A header can equal a user of the old file; without it the excerpt would begin with a user.
        for place in range(min(header_line + 1 - new_lines.at, len(same))):
            same[place] = False
        differs = bytes(map(operator.not_, same))
        vanished.add_changed(
            itertools.compress(old_lines.drop(len(same)), differs), itertools.compress(new_lines.lines, differs)
        )
        yield from _unmatched(same, new_lines)
        if diverged_at >= 0 or is_over:
            unmatched, dropped = _next_match(new_lines.lines, old_lines.lines)
            vanished.add_changed(old_lines.drop(dropped), new_lines.lines[:unmatched])
            yield from _unmatched(bytearray(unmatched), new_lines)
    vanished.add_rest(old_lines)


def _unmatched(same: bytearray, new_lines: _Ahead) -> Iterator[tuple[int, bytes]]:
    """Remove as many lines as `same` has marks; yield those that are not marked."""
    at = new_lines.at
    return ((at + place, line) for place, line in enumerate(new_lines.drop(len(same))) if not same[place])


def _next_match(new_lines: _Lines, old_lines: _Lines) -> tuple[int, int]:
    """Return how many lines of each to pass over until they agree again; as many as were searched if they do not."""
    new_index = old_index = 0
    for span in _SEARCHED_LINES:
        places: dict[bytes, int] = {}
        for place, line in enumerate(old_lines[:span]):
            places.setdefault(line, place)
        for new_index, line in enumerate(new_lines[:span]):
            if (old_index := places.get(line, -1)) >= 0:
                return new_index, old_index
    return min(len(new_lines), span), min(len(old_lines), span)


def _lines_with(ids: set[bytes], blocks: Iterator[bytes], delimiter: str) -> bytearray:
    """Return for each line whether it has one of the ids at its front; there is no line 0."""
    marks = bytearray(1)
    for block in blocks:
        if not ids:
            marks += bytes(block.count(b"\n") + (not block.endswith(b"\n")))
            continue
        marks += bytes(map(ids.__contains__, _ids_at_the_front(block, delimiter.encode())))
    return marks


class _Numbered:
    """The lines of a file by their numbers; `count` is how many it has, once all were gone through."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self.count = 0

    def picked(self, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the lines of these numbers, which ascend."""
        wanted = iter(numbers)
        number = next(wanted, 0)
        for block in self._blocks:
            lines, above = block.splitlines(keepends=True), self.count
            self.count += len(lines)
            while above < number <= self.count:
                yield number, lines[number - above - 1]
                number = next(wanted, 0)


def _ids_at_the_front(block: bytes, delimiter: bytes) -> list[bytes]:
    """Return the first cell of each line, in small letters and without leading zeros; right for plain lines."""
    lines = block.splitlines()
    return [line.partition(delimiter)[0].strip(b' "').lstrip(b"0").lower() or b"0" for line in lines]
