"""The batches of a file until it is known whom they concern, in a temporary file, and what of them is looked up."""

from __future__ import annotations

import marshal
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Final

from importer.characters import unique_id_in
from importer.fs import temporary_folder
from importer.rows.batches import Batch, Examination
from importer.rows.validate import CLEARED, KEYS, Rejected
from importer.rows.worker import packed, unpacked
from importer.store.postgresql.rows.copying import Row, lines_of

_BLOCK_BYTES: Final = 1 << 18
_MARSHAL_VERSION: Final = 2


class Waiting:
    """Keeps batches as they come, and the id and the keys of each row as COPY takes them."""

    def __init__(self, examination: Examination, stamp: Sequence[str]) -> None:
        """`stamp`: with what each line begins."""
        checker = examination.checker
        self._stamp = tuple(stamp)
        self._id_at = checker.columns.index("unique_id")
        self._keys_at = [checker.columns.index(key) if key in checker.columns else None for key in KEYS.values()]
        self._id_place = examination.table.header.columns["unique_id"][0]
        self._lose_zeros = bool(checker.absent)  # a spreadsheet drops those of ids: see `taken.LOST_ZEROS`
        self._batches, self._lines = (tempfile.TemporaryFile(dir=temporary_folder()) for _ in range(2))  # noqa: SIM115
        self.rows = 0

    def add(self, batch: Batch) -> None:
        """Keep a batch."""
        marshal.dump(packed(batch), self._batches, _MARSHAL_VERSION)
        columns = batch.complete.columns
        ids = columns[self._id_at]
        keys = [repeat("") if at is None else columns[at] for at in self._keys_at]
        self.note(zip(ids, *keys, strict=False))
        self.note(self._of_others([*batch.partial, *batch.rejected]))

    def note(self, rows: Iterable[Row]) -> None:
        """Keep ids and keys that are to be looked up."""
        if stamped := [(*self._stamp, *row) for row in rows]:
            self._lines.write(lines_of(stamped).replace(CLEARED, "").encode())
            self.rows += len(stamped)

    def _of_others(self, rows: Iterable[Rejected]) -> Iterator[Row]:
        for row in rows:
            unique_id, *keys = self._values(row)
            yield (unique_id, *keys)
            if self._lose_zeros and row.lacks and not unique_id.lstrip("0123456789"):
                yield from ((each, "", "") for each in (unique_id.lstrip("0"), *_padded(unique_id)))

    def _values(self, row: Rejected) -> Row:
        user = row.user
        if user is None:
            place = self._id_place
            return (unique_id_in(row.cells[place]) if place < len(row.cells) else "", "", "")
        return [str(user[at] or "") if at is not None else "" for at in (self._id_at, *self._keys_at)]

    def lines(self) -> Iterator[bytes]:
        """Yield what COPY takes."""
        self._lines.seek(0)
        while block := self._lines.read(_BLOCK_BYTES):
            yield block
        self._lines.seek(0)
        self._lines.truncate()
        self.rows = 0

    def batches(self) -> Iterator[Batch]:
        """Yield the batches once more."""
        end = self._batches.tell()
        self._batches.seek(0)
        while self._batches.tell() < end:
            yield unpacked(marshal.load(self._batches))  # noqa: S302 - written above

    def close(self) -> None:
        """Remove the temporary files."""
        self._batches.close()
        self._lines.close()


def _padded(unique_id: str) -> Iterator[str]:
    return ("0" * zeros + unique_id for zeros in range(1, 9))
