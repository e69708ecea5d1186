"""The batches of a file until it is known whom they concern, in a temporary file, and what of them is looked up."""

from __future__ import annotations

import marshal
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import repeat
from typing import Final

from importer.characters import unique_id_in
from importer.fs import temporary_folder
from importer.rows.batches import Batch, Examination
from importer.rows.copy_lines import lines_of
from importer.rows.validate import CLEARED, KEYS, Rejected
from importer.rows.worker import packed, unpacked
from importer.store.postgresql.rows.copying import Row

_BLOCK_BYTES: Final = 1 << 18
_MARSHAL_VERSION: Final = 2


class Lines:
    """Rows in a temporary file, as COPY takes them."""

    def __init__(self, stamp: Sequence[str]) -> None:
        """`stamp`: with what each line begins."""
        self._stamp = "".join(f"{each}\t" for each in stamp)
        self._file = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115 - until `close`
        self.count = 0

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows."""
        if rows:
            text = lines_of(rows).replace(CLEARED, "")
            self._file.write("".join([self._stamp + line for line in text.splitlines(keepends=True)]).encode())
            self.count += len(rows)

    def taken(self, known: Collection[int] = ()) -> Iterator[bytes]:
        """Yield the lines, and forget them; those in `known`, by `hash_of` their values, are left out."""
        self._file.seek(0)
        start = len(self._stamp.encode())
        while block := self._file.readlines(_BLOCK_BYTES):
            yield b"".join([line for line in block if hash(line[start:-1]) not in known] if known else block)
        self._file.seek(0)
        self._file.truncate()
        self.count = 0

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def hash_of(values: Row) -> int:
    """Return what stands for the values of a row."""
    return hash("\t".join(values).encode())


class Waiting:
    """Keeps batches as they come, and the id and the keys of each row as COPY takes them."""

    def __init__(self, examination: Examination, stamp: Sequence[str]) -> None:
        """`stamp`: as in `Lines`."""
        checker = examination.checker
        self.ids, self.keys = Lines(stamp), Lines(stamp)
        self._id_at = checker.columns.index("unique_id")
        self._keys_at = [checker.columns.index(key) if key in checker.columns else None for key in KEYS.values()]
        self._id_place = examination.table.header.columns["unique_id"][0]
        self._lose_zeros = bool(checker.absent)  # a spreadsheet drops those of ids: see `taken.LOST_ZEROS`
        self._batches = tempfile.TemporaryFile(dir=temporary_folder())  # noqa: SIM115 - until `close`

    def add(self, batch: Batch) -> None:
        """Keep a batch."""
        marshal.dump(packed(batch), self._batches, _MARSHAL_VERSION)
        columns = batch.complete.columns
        ids = columns[self._id_at]
        keys = [repeat("") if at is None else columns[at] for at in self._keys_at]
        self.note(zip(ids, *keys, strict=False))
        self.note_others((*batch.partial, *batch.rejected))

    def note_others(self, rows: Iterable[Rejected]) -> None:
        """Keep what is to be looked up of rows that may fail."""
        self.note(self._of_others(rows))

    def note(self, rows: Iterable[Row]) -> None:
        """Keep ids and keys that are to be looked up."""
        noted = [*rows]
        self.ids.write([(row[0], "", "") for row in noted])
        self.keys.write([row for row in noted if row[1] or row[2]])

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

    def batches(self) -> Iterator[Batch]:
        """Yield the batches once more."""
        end = self._batches.tell()
        self._batches.seek(0)
        while self._batches.tell() < end:
            yield unpacked(marshal.load(self._batches))  # noqa: S302 - written above

    def close(self) -> None:
        """Remove the temporary files."""
        for each in (self._batches, self.ids, self.keys):
            each.close()


def _padded(unique_id: str) -> Iterator[str]:
    return ("0" * zeros + unique_id for zeros in range(1, 9))
