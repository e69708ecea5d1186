"""Which unique ids a file has more than once, in constant memory."""

from __future__ import annotations

import itertools
import mmap
import tempfile
from array import array
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, cast

from importer.fs import temporary_folder

# A Bloom filter in words of 64 bits, 8 MiB: 20 bits of a hash choose the word, the others three bits of it.
_WORDS: Final = 1 << 20
# For a small file 64 KiB: each row of it would touch a page of its own of the large one, a tenth of a small import.
_FEW_WORDS: Final = 1 << 13
_FEW_BYTES: Final = 256 << 10
_MASKS: Final = tuple(
    sum(1 << bit for bit in bits) for bits in itertools.islice(itertools.combinations(range(64), 3), 0, None, 10)
)
_FLUSH_ENTRIES: Final = 1 << 15
_GROUP: Final = 8_000  # ids that are settled in one pass over the log and two over the file, some 5 MiB
_LARGE_GROUP: Final = 1 << 17  # ids that are counted in one pass over the log, some 14 MiB
_MOST_GROUPS: Final = 32  # a file that holds all its rows twice would take hours


class Duplicates:
    """
    Remembers the id and line of each row, and holds back rows whose id may have been seen before.

    Once all rows are noted, `released` gives back those that were held in vain, if they are many, `groups` the others.

    Ids that differ in case or leading zeros only count as the same here; the caller compares them. The log of hashes is
    an unnamed temporary file, 16 bytes a row; the line of a held row is negated in it.
    """

    def __init__(self, size_bytes: int) -> None:
        """`size_bytes`: of the file."""
        # Of a mapping, pages that no row touches are never filled with zeros: that alone would take 1 to 3 ms.
        words = bytearray(8 * _FEW_WORDS) if size_bytes <= _FEW_BYTES else mmap.mmap(-1, 8 * _WORDS)
        self._seen = memoryview(words).cast("Q")
        self._log = array("q")
        self._file: BinaryIO | None = None
        self._held = array("q")  # hashes

    def held_back(self, unique_ids: Sequence[str], lines: Sequence[int]) -> list[int]:
        """Note the rows; return the positions of those that have to wait. Rows without an id never do."""
        seen, masks, most, held, last = self._seen, _MASKS, len(_MASKS), [], len(self._seen) - 1
        hashes, marked = array("q", map(hash, _alike(unique_ids))), array("q", lines)
        for position, hashed in enumerate(hashes):
            slot, mask = hashed & last, masks[(hashed >> 20) % most]
            word = seen[slot]
            if word & mask != mask:
                seen[slot] = word | mask
            elif unique_ids[position]:
                held.append(position)
                self._held.append(hashed)
                marked[position] = -marked[position]
        entries = array("q", bytes(2 * len(hashes) * hashes.itemsize))
        entries[::2], entries[1::2] = hashes, marked
        self._log.extend(entries)
        if len(self._log) >= _FLUSH_ENTRIES:
            self._flush()
        return held

    def released(self) -> Iterator[array[int]]:
        """
        Yield the lines of held rows whose id no other row has.

        Of 1,000,000 rows some 200 are held in vain and left to `groups`; of 10,000,000 190,000, for which the file
        would be read 50 times. After it no more rows can be noted.
        """
        del self._seen  # 8 MiB that whoever takes rows back needs for the indexes
        if len(self._held) <= _GROUP:
            return
        shared = array("q")
        for wanted in self._held_ids(_LARGE_GROUP):
            line_of: dict[int, int] = {}
            for hashed, line in self._entries():
                if hashed in wanted:
                    line_of[hashed] = 0 if hashed in line_of else -line
            shared.extend(hashed for hashed, line in line_of.items() if not line)
            yield array("q", filter(None, line_of.values()))
        self._held = shared

    def groups(self) -> Iterator[array[int]]:
        """Yield, for some thousand of the held ids at a time, the lines that have them; those of held rows negated."""
        for wanted in self._held_ids(_GROUP):
            yield array("q", (line for hashed, line in self._entries() if hashed in wanted))

    def _held_ids(self, size: int) -> Iterator[set[int]]:
        """Yield the hashes of the held ids, some `size` of them at a time."""
        groups = min(1 + len(self._held) // size, _MOST_GROUPS)
        for group in range(groups):
            if wanted := {hashed for hashed in self._held if hashed % groups == group}:
                yield wanted

    def __del__(self) -> None:
        """Give the temporary file back."""
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        if self._file is None:
            self._file = cast("BinaryIO", tempfile.TemporaryFile(dir=temporary_folder()))  # noqa: SIM115 - lives as long as this object
        self._log.tofile(self._file)
        del self._log[:]

    def _entries(self) -> Iterator[tuple[int, int]]:
        for chunk in self._chunks():
            pairs = iter(chunk)
            yield from zip(pairs, pairs, strict=True)

    def _chunks(self) -> Iterator[array[int]]:
        if self._file is not None:
            self._file.seek(0)
            while raw := self._file.read(_FLUSH_ENTRIES * 8):
                yield array("q", raw)
            self._file.seek(0, 2)
        yield self._log


class SeenBefore:
    """Remembers values, and tells which it may have had before: those, and of a million others some hundred."""

    def __init__(self) -> None:
        self._seen = memoryview(mmap.mmap(-1, 8 * _WORDS)).cast("Q")

    def again(self, values: Sequence[str]) -> list[str]:
        """Note values; return those that may have been noted before. Blank ones never were."""
        seen, masks, most, again = self._seen, _MASKS, len(_MASKS), []
        for value, hashed in zip(values, map(hash, values), strict=True):
            slot, mask = hashed & (_WORDS - 1), masks[(hashed >> 20) % most]
            word = seen[slot]
            if word & mask != mask:
                seen[slot] = word | mask
            elif value:
                again.append(value)
        return again


def _alike(unique_ids: Sequence[str]) -> list[str]:
    """Return the ids without what does not make them differ: case and leading zeros."""
    joined = "\n".join(unique_ids).casefold()  # at once, which is faster
    folded = joined.split("\n")
    if len(folded) != len(unique_ids):  # there are line feeds in them
        folded = [unique_id.casefold() for unique_id in unique_ids]
    has_zeros = joined.startswith("0") or "\n0" in joined
    return [each.lstrip("0") or each for each in folded] if has_zeros else folded
