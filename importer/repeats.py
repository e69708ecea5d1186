"""Which unique ids stand in a file more than once, in constant memory."""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final, cast

# One bit for each value of 26 bits of the hash: 8 MiB. At 1M rows 1.5 % of the rows are held back in vain, at 5M 7 %;
# each costs one more look at the end.
_BITS: Final = 26
_MASK: Final = (1 << _BITS) - 1
_FLUSH_ENTRIES: Final = 1 << 15
_GROUP: Final = 50_000  # ids that are settled in one pass over the log, some 25 MiB


class Repeats:
    """
    Remembers the id and line of each row, and holds back rows whose id may have been seen before.

    Ids that differ in case only count as the same here; whoever asks compares them. The log of hashes lies in an
    unnamed temporary file, 16 bytes a row; a held row stands there with its line negated.
    """

    def __init__(self) -> None:
        self._seen = bytearray(1 << (_BITS - 3))
        self._log = array("q")
        self._file: BinaryIO | None = None
        self._held = array("q")  # hashes

    def held_back(self, unique_ids: Iterable[str], lines: Iterable[int]) -> list[int]:
        """Note the rows; return the positions of those that have to wait for `groups`. Rows without an id never do."""
        seen, log, held = self._seen, self._log, []
        for position, (unique_id, line) in enumerate(zip(unique_ids, lines, strict=True)):
            if not unique_id:
                continue
            hashed = hash(unique_id.casefold())
            slot, bit = (hashed & _MASK) >> 3, 1 << (hashed & 7)
            if seen[slot] & bit:
                held.append(position)
                self._held.append(hashed)
                log.extend((hashed, -line))
            else:
                seen[slot] |= bit
                log.extend((hashed, line))
        if len(log) >= _FLUSH_ENTRIES:
            self._flush()
        return held

    def groups(self) -> Iterator[array[int]]:
        """Yield, for some 50,000 ids that were held at a time, the lines they stand in; those of held rows negated."""
        groups = 1 + len(self._held) // _GROUP
        for group in range(groups):
            if wanted := {hashed for hashed in self._held if hashed % groups == group}:
                yield array("q", (line for hashed, line in self._entries() if hashed in wanted))

    def __del__(self) -> None:
        """Give the temporary file back."""
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        if self._file is None:
            self._file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - lives as long as this object
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
