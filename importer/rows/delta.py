"""
What of a file stood the same in an earlier one: those lines need not be looked at again.

Tonight's file is last night's but for a few rows. Last night's is in `.bak`, the *baseline*, and the database holds
which of its lines are *odd*. All others are plain: a whole record on one line, applied without a warning, its id at the
front, written plainly and standing once in that file. If such a line stands in tonight's file as well, its user is as
the line says, unless another file has changed the user since.

So three kinds of lines are left to examine, and the rest of the import goes by them alone:

1. those that do not stand in the baseline, in the order of its lines, or are odd there;
2. those whose user was changed since;
3. those whose id stands in one of the lines above, too: the two may contradict each other.

Lines are compared as bytes; only those of the first kind are parsed to learn their ids. In any doubt, such as an
archive that is not what it was, the file is examined whole: `Incomparable`.
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
_LOST: Final = bytes(8)  # so many lines in a row that differ: lines were added or removed
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
    """What a file has beside what stood in the baseline."""

    lines: array[int]  # to be examined, ascending
    skippable: int  # how many other lines there are, each of them a user that the database has already


class Incomparable(Exception):
    """The file has to be examined whole."""


def is_comparable(found: Scan, header: Header) -> bool:
    """Tell whether a file can be compared with others."""
    return found.size_bytes >= MIN_BYTES and found.encoding == "utf-8" and header.columns["unique_id"] == (0,)


def is_skippable(unique_id: str, delimiter: str) -> bool:
    """Tell whether an id stands in a line in such a way that `_ids_at_the_front` finds it."""
    return unique_id.isascii() and '"' not in unique_id and delimiter not in unique_id


def compare(
    table: Table, archive: BinaryIO, baseline: Baseline, changed_ids: Sequence[str], excerpt: BinaryIO
) -> Difference:
    """
    Compare a file with the baseline, which `archive` holds; write the lines to be examined to `excerpt`.

    `changed_ids`: the users that other files have changed since. Raises Incomparable.
    """
    if len(changed_ids) > MOST_LINES:
        raise Incomparable("too many users were changed since")
    # Where the text of the old file begins and ends is its own affair: one may have a mark, or a 0x1A, the other not.
    start, end = text_bounds(archive)
    archive.seek(0)
    digest = hashlib.sha256(archive.read(start))
    old = _blocks(archive, end - start, digest)
    lines = _written(_differing(_blocks_of(table), old, baseline.recheck_lines, table.header.line), excerpt)
    for _ in old:  # for the digest
        pass
    digest.update(archive.read(2))  # a 0x1A, and what should not be there
    if digest.hexdigest() != baseline.sha256:
        raise Incomparable("the archive is not what was imported")
    ids = {*map(_folded, changed_ids), *_ids_in(table.excerpt(excerpt, lines))} - {b""}
    marks = _lines_with(ids, _blocks_of(table), table.header.delimiter)
    for line in lines:
        marks[line] = True
    if len(marks) - 1 - table.header.line > table.limits.max_rows:
        raise Incomparable("there may be too many rows")
    if marks.count(True) > len(lines):
        lines = _written(_marked(_blocks_of(table), marks), excerpt)
    return Difference(lines, len(marks) - 1 - len(lines))


def _written(lines: Iterable[tuple[int, bytes]], excerpt: BinaryIO) -> array[int]:
    """Write the lines in place of what stands there; return their numbers."""
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


def _ids_in(table: Table) -> Iterator[bytes]:
    try:
        for stretch in table.stretches():
            yield from (_folded(unique_id_in(record[0])) for record in stretch.records)
    except (Entangled, FileRejected):  # what is wrong with it is told of the file as a whole
        raise Incomparable("a record goes on in a line that stood in the baseline, or is broken") from None


def _folded(unique_id: str) -> bytes:
    """Return an id so that those which differ in case only are equal, as far as they are plain."""
    return unique_id.casefold().encode()


# Reading


def _blocks_of(table: Table) -> Iterator[bytes]:
    table.raw.seek(table.found.start)
    return _blocks(table.raw, table.found.end - table.found.start)


def _blocks(raw: BinaryIO, left: int | None, digest: _Hash | None = None) -> Iterator[bytes]:
    r"""
    Yield the bytes from where `raw` stands, `left` of them or all, in blocks that end where a line ends.

    Raises Incomparable where a line ends with "\r" alone: lines are told by "\n" here.
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
    """The next lines of a file; `at` is the number of the first of them."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._bytes = 0
        self.lines: _Lines = []
        self.at = 1

    def fill(self) -> bool:
        """Read on until there are as many lines as are ever looked at, or much text; return whether there are any."""
        while len(self.lines) < _ABREAST + _SEARCHED_LINES[-1] and self._bytes < _AHEAD_BYTES:
            block = next(self._blocks, b"")
            if not block:
                break
            self.lines += block.splitlines(keepends=True)
            self._bytes += len(block)
        return bool(self.lines)

    def drop(self, count: int) -> _Lines:
        """Leave so many lines behind; return them."""
        dropped = self.lines[:count]
        del self.lines[:count]
        self.at += count
        self._bytes -= sum(map(len, dropped))
        return dropped


# Comparing


def _differing(
    new: Iterator[bytes], old: Iterator[bytes], recheck_lines: array[int], header_line: int
) -> Iterator[tuple[int, bytes]]:
    """Yield the header of the new file, and its lines that are no plain lines of the old one, with their numbers."""
    ours, theirs = _Ahead(new), _Ahead(old)
    while ours.fill():
        is_over = not theirs.fill()
        same = bytearray(map(operator.eq, ours.lines[:_ABREAST], theirs.lines[:_ABREAST]))
        lost = same.find(_LOST)
        del same[len(same) if lost < 0 else lost :]
        first, last = (bisect_left(recheck_lines, theirs.at + offset) for offset in (0, len(same)))
        for line in recheck_lines[first:last]:
            same[line - theirs.at] = False
        # A header can equal a user of the old file; without it the excerpt would begin with a user.
        for place in range(min(header_line + 1 - ours.at, len(same))):
            same[place] = False
        yield from _unlike(same, ours)
        theirs.drop(len(same))
        if lost >= 0 or is_over:
            aside, passed = _next_match(ours.lines, theirs.lines)
            yield from _unlike(bytearray(aside), ours)
            theirs.drop(passed)


def _unlike(same: bytearray, ours: _Ahead) -> Iterator[tuple[int, bytes]]:
    """Leave as many lines behind as there are marks; yield those without one."""
    at = ours.at
    return ((at + place, line) for place, line in enumerate(ours.drop(len(same))) if not same[place])


def _next_match(ours: _Lines, theirs: _Lines) -> tuple[int, int]:
    """Return how many lines of each to pass over until they agree again; as far as was looked if they do not."""
    near = far = 0
    for span in _SEARCHED_LINES:
        places: dict[bytes, int] = {}
        for place, line in enumerate(theirs[:span]):
            places.setdefault(line, place)
        for near, line in enumerate(ours[:span]):
            if (far := places.get(line, -1)) >= 0:
                return near, far
    return min(len(ours), span), min(len(theirs), span)


def _lines_with(ids: set[bytes], blocks: Iterator[bytes], delimiter: str) -> bytearray:
    """Return for each line whether it has one of the ids at its front; there is no line 0."""
    marks = bytearray(1)
    for block in blocks:
        marks += bytes(map(ids.__contains__, _ids_at_the_front(block, delimiter.encode())))
    return marks


def _marked(blocks: Iterator[bytes], marks: bytearray) -> Iterator[tuple[int, bytes]]:
    lines = itertools.chain.from_iterable(block.splitlines(keepends=True) for block in blocks)
    return ((number, line) for number, line in enumerate(lines, 1) if marks[number])


def _ids_at_the_front(block: bytes, delimiter: bytes) -> list[bytes]:
    """Return the first cell of each line, in small letters, as it would be read if it is plain."""
    return [line.partition(delimiter)[0].strip(b' "') for line in block.lower().splitlines()]
