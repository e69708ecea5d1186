"""A file to batches of users and rejected rows; nothing here knows of the database."""

from __future__ import annotations

import functools
from array import array
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

import msgspec

from importer.file import closing
from importer.file.header import Header
from importer.file.scan import Scan
from importer.file.table import Row, Stretch, Table, size_of
from importer.model import NAMED_LINES, FileWarning, Message, Problem, message
from importer.rows.delta import MOST_LINES, is_comparable, is_skippable
from importer.rows.duplicates import Duplicates
from importer.rows.names_again import NamesAgain
from importer.rows.validate import Checker, Rejected, User, Users
from importer.rows.values import days, exchanged
from importer.settings import ClientSettings, FileSettings, ReferenceSettings

_BATCH_ROWS: Final = 500
_BATCH_BYTES: Final = 4 << 20  # of rows kept with their cells: one row can have 32 MiB in memory


class Batch(msgspec.Struct):
    """The results of some rows. `retracted` are ids whose row in an earlier batch must not count after all."""

    complete: Users  # could be created as they are
    partial: list[Rejected]  # fit to update a user, and lack something that a new one needs
    rejected: list[Rejected]
    retracted: list[str]
    size_bytes: int = 0  # of the cells of partial and rejected rows, in memory
    block: bytes = b""  # as many more complete users, as `copy_lines.CopyLines` has them
    block_rows: int = 0
    shared: list[tuple[str, str]] = []  # of those in blocks: a column and a value that another user may have as well

    def is_full(self) -> bool:
        """Tell whether the batch should be applied before it takes more memory."""
        rows = len(self.complete.lines) + len(self.partial) + len(self.rejected)
        return rows >= _BATCH_ROWS or self.size_bytes >= _BATCH_BYTES


class _DuplicateId(msgspec.Struct):
    """The rows of one id of which some were held."""

    content: int  # hash of the first row
    is_first_held: bool
    lines: list[int]  # the first few
    rows: int = 0
    differ: bool = False
    applied: bool = False  # one of them was applied before the duplicate was seen


class _Counted(msgspec.Struct):
    """Rows that are counted, and lines to be named about them."""

    rows: int = 0
    lines: list[int] = []

    def note(self, rows: int, lines: Iterable[int]) -> None:
        """Add rows. The lines come in no order: of many the first are kept."""
        self.rows += rows
        self.lines = sorted({*self.lines, *lines})[:NAMED_LINES]

    def named(self) -> tuple[int, ...]:
        """Return the lines in their order."""
        return tuple(self.lines)


class Terms(msgspec.Struct, frozen=True):
    """What the rows of a file are judged by."""

    scan: Scan
    limits: FileSettings
    client: ClientSettings
    reference: ReferenceSettings
    protected: tuple[str, ...] = ()  # ids of users whom no file changes, sorted


class Excerpt(msgspec.Struct, frozen=True):
    """Which lines of a file are examined, from a file of their own with the header above them."""

    header: Header
    lines: bytes  # their numbers, an array("I")
    passed_over: int  # how many others there are


class Findings(msgspec.Struct, frozen=True):
    """The results about all rows of a file, besides the batches."""

    repeated: int  # rows that equal an earlier one
    warnings: list[FileWarning]
    recheck_lines: bytes | None = None  # that later files must examine again, an array("I"); None: all of them
    same_day: int = 0  # how many rows have the most frequent day of birth


class Examination:
    """
    Reads and judges one file. `findings` are known once all batches were taken.

    Raises FileRejected from the constructor (header) and from `batches` (rows).
    """

    def __init__(self, raw: BinaryIO, terms: Terms, of: Excerpt | None = None) -> None:
        """`of`: what `raw` has if it is not the whole file."""
        self.raw = raw
        self.terms = terms
        self.of = of
        part = (of.header, array("I", of.lines)) if of else ()
        self.table = Table(raw, terms.scan, terms.limits, terms.client, *part)
        self.checker = Checker(self.table.header, terms.client, terms.reference)
        self.checker.rows = of.passed_over if of else 0
        self._duplicates = Duplicates(self.table.scan.size_bytes)
        self._case_variants = _Counted()  # rows whose id differs from another in case only
        self._zero_variants = _Counted()  # likewise in leading zeros
        self._repeated = _Counted()
        self._names_again = NamesAgain(self.table.header, terms.client)
        self._headers = _Counted()  # rows that are the header again
        self._exchanged: list[FileWarning] | None = None  # of columns; known after the first rows
        self.is_excerpt = self.table.is_excerpt
        # Whether blank cells at the end of rows are allowed depends on all rows of the file.
        is_whole = bool(self.table.header.trailing_width)
        self.is_comparable = self.is_excerpt or (is_comparable(terms.scan, self.table.header) and not is_whole)
        self._recheck_lines = array("I", range(1, self.table.header.line + 1)) if self.is_comparable else None
        self.findings = Findings(0, [])

    @functools.cached_property
    def _rechecker(self) -> Checker:
        """Return what looks at rows again: their warnings came at the first look."""
        return Checker(self.table.header, self.terms.client, self.terms.reference)

    def excerpt(self, raw: BinaryIO, lines: array[int], passed_over: int) -> Examination:
        """Return the examination of some lines of the file, which `raw` contains; `passed_over`: how many others."""
        return Examination(raw, self.terms, Excerpt(self.table.header, lines.tobytes(), passed_over))

    def batches(self) -> Iterator[Batch]:
        """Yield the rows of the file; rows whose id occurs earlier in the file come last."""
        if (width := self.table.header.trailing_width) and _all_rows_have(self.table, width):
            self.checker.allow_trailing(width)
            self._rechecker.allow_trailing(width)
        for stretch in self.table.stretches():
            yield self._first_look(stretch)
        yield from self._late_batches()
        self._note_recheck(self.checker.warned_lines)
        warnings = self._warnings()
        recheck_lines = None if self._recheck_lines is None else self._recheck_lines.tobytes()
        same_day = days.most_of_one_day(self.checker.days)
        self.findings = Findings(self._repeated.rows, warnings, recheck_lines, same_day)

    def _note_recheck(self, lines: Iterable[int]) -> None:
        if self._recheck_lines is not None:
            self._recheck_lines.extend(lines)
            if len(self._recheck_lines) > MOST_LINES:
                self._recheck_lines = None

    def _warnings(self) -> list[FileWarning]:
        warnings = self.checker.warnings()
        if rows := self._headers.rows:
            warnings.append(FileWarning(reason=message("header.again"), rows=rows, lines=self._headers.named()))
        # Some lines of a file tell nothing of all the others. So the next file is examined whole.
        if self._exchanged:
            warnings += self._exchanged
            self._recheck_lines = None
        if rows := self._repeated.rows:
            warnings.append(FileWarning(reason=message("row.repeated"), rows=rows, lines=self._repeated.named()))
        return [*warnings, *_variants(self._case_variants, "id.case"), *_variants(self._zero_variants, "id.case/zeros")]

    def _first_look(self, stretch: Stretch) -> Batch:
        """Judge the rows of a stretch; hold back those whose id may occur earlier in the file."""
        judged = self.checker.judge(stretch)
        if self._exchanged is None:
            columns = dict(zip(self.checker.columns, judged.columns, strict=False))
            self._exchanged = [] if self.is_excerpt else [*exchanged.warnings(columns)]
        others = judged.others
        ids = [*judged.columns[0]]
        for position, verdict in others.items():
            ids[position] = _id_and_hash(verdict)[0]
        again = self._names_again.taken_out(ids, stretch, others)
        self._headers.note(len(again), lines := [stretch.lines[position] for position in again])
        self._note_recheck(lines)
        self._note_recheck(stretch.recheck_lines)
        self._note_recheck(stretch.lines[position] for position in self._recheck_positions(ids, stretch, others))
        held = {*self._duplicates.held_back(ids, stretch.lines)}
        incomplete = sorted({*self.checker.incomplete(judged)} - others.keys() - {*again})
        batch = self._batch(self.checker.users(judged, but={*held, *others, *incomplete, *again}))
        if incomplete:
            others |= zip(incomplete, self.checker.users_at(judged, incomplete).rows(), strict=True)
        for position, verdict in others.items():
            if position not in held:
                self._add_verdict(stretch.row(position), verdict, batch)
        return batch

    def _batch(self, complete: Users | None = None) -> Batch:
        return Batch(complete or Users([[] for _ in self.checker.columns], []), [], [], [])

    def _recheck_positions(self, ids: list[str], stretch: Stretch, others: dict[int, User | Rejected]) -> Iterator[int]:
        """Yield the positions of rows that fail, and of those whose id is stored in another spelling."""
        for position, verdict in others.items():
            if isinstance(verdict, Rejected) or stretch.records[position][0] != verdict[0]:
                yield position
        delimiter = self.table.header.delimiter
        if not is_skippable("".join(ids), delimiter):
            yield from (position for position, unique_id in enumerate(ids) if not is_skippable(unique_id, delimiter))

    def _add_verdict(self, row: Row, verdict: User | Rejected, batch: Batch) -> None:
        if isinstance(verdict, Rejected):
            (batch.partial if verdict.is_for_known_user else batch.rejected).append(verdict)
        elif lacks := self.checker.lacks(verdict):
            is_heading = self.checker.no_users.is_heading(row.cells)
            problems, lacks = ((Problem("", message("9003/heading")),), ()) if is_heading else ((), lacks)
            batch.partial.append(Rejected(row.line, row.cells, problems, verdict, lacks))
        else:
            batch.complete.add(verdict)
            return
        batch.size_bytes += size_of(row.cells)

    def _late_batches(self) -> Iterator[Batch]:
        for lines in self._duplicates.released():
            yield from self._resolved(lines, {})
        for lines in self._duplicates.groups():
            by_id = self._duplicates_in(lines)
            batch = self._batch()
            for unique_id, duplicate in by_id.items():
                if duplicate.differ and duplicate.applied:
                    batch.retracted.append(unique_id)
                if not duplicate.differ and duplicate.rows > 1:
                    self._repeated.note(duplicate.rows - 1, duplicate.lines[1:])
            yield batch
            yield from self._resolved(lines, by_id)

    def _duplicates_in(self, lines: array[int]) -> dict[str, _DuplicateId]:
        """Look at the rows in these lines again; return what each id has there."""
        by_id: dict[str, _DuplicateId] = {}
        spellings: dict[str, str] = {}
        for (row, verdict), line in zip(self._judged_again(lines), lines, strict=True):
            unique_id, content = _id_and_hash(verdict)
            folded = unique_id.casefold()
            other = spellings.setdefault(folded.lstrip("0") or folded, unique_id)
            if unique_id not in by_id and other != unique_id:
                variants = self._case_variants if folded == other.casefold() else self._zero_variants
                variants.note(1, pair := (by_id[other].lines[0], row.line))
                self._note_recheck(pair)
            duplicate = by_id.setdefault(unique_id, _DuplicateId(content, line < 0, []))
            duplicate.rows += 1
            if duplicate.rows <= NAMED_LINES + 1:
                duplicate.lines.append(row.line)
            duplicate.differ |= content != duplicate.content
            duplicate.applied |= line > 0 and not isinstance(verdict, Rejected)
        return by_id

    def _resolved(self, lines: array[int], by_id: dict[str, _DuplicateId]) -> Iterator[Batch]:
        """Yield the rows of these lines that fail because of a duplicate id, and those that turned out to have none."""
        batch = self._batch()
        for row, verdict in self._judged_again(lines):
            duplicate = by_id.get(_id_and_hash(verdict)[0])
            if duplicate and duplicate.rows > 1:
                self._note_recheck((row.line,))
            if duplicate and duplicate.differ:
                self._add_verdict(row, self._with_duplicate_id(row, verdict, duplicate.lines), batch)
            elif not duplicate or (duplicate.is_first_held and row.line == duplicate.lines[0]):
                self._add_verdict(row, verdict, batch)
            if batch.is_full():
                yield batch
                batch = self._batch()
        yield batch

    def _judged_again(self, lines: array[int]) -> Iterator[tuple[Row, User | Rejected]]:
        """Yield the rows in these lines with their results."""
        for stretch in self.table.reread(map(abs, lines)):
            judged = self._rechecker.judge(stretch)
            users = iter(self._rechecker.users(judged, but=judged.others).rows())
            yield from ((row, judged.others.get(position) or next(users)) for position, row in enumerate(stretch.rows))

    def _with_duplicate_id(self, row: Row, verdict: User | Rejected, lines: list[int]) -> Rejected:
        """Return the row rejected, as `lines` have its id with other content; its own problems come first."""
        problem = Problem("unique_id", message("9022"), _all_of(lines))
        if isinstance(verdict, Rejected):
            return msgspec.structs.replace(verdict, problems=(*verdict.problems, problem))
        return Rejected(row.line, row.cells, (problem,), verdict, self.checker.lacks(verdict))


def _all_rows_have(table: Table, width: int) -> bool:
    return all(
        set(map(len, stretch.records)) <= {width}
        or all(len(cells) == width or closing.kind_of(cells) for cells in stretch.records)
        for stretch in table.stretches()
    )


def _variants(counted: _Counted, key: str) -> Iterator[FileWarning]:
    """Yield the warning of rows whose id differs little from another, if there are any; of one pair it names both."""
    lines = counted.named()
    if counted.rows == 1:
        key, first, last = f"{key}/lines", str(lines[0]), str(lines[-1])
        yield FileWarning(reason=message(key, first=first, last=last), field="unique_id", rows=1, lines=lines)
    elif counted.rows:
        yield FileWarning(reason=message(key), field="unique_id", rows=counted.rows, lines=lines)


def _all_of(lines: list[int]) -> Message:
    """Return the problem of rows in these lines that have the same id; it names all of a few."""
    if len(lines) > NAMED_LINES:
        return message("9022/many", first=", ".join(map(str, lines[:NAMED_LINES])))
    *others, last = map(str, lines)
    return message("9022/lines", first=", ".join(others), last=last)


def _id_and_hash(verdict: User | Rejected) -> tuple[str, int]:
    """Return the unique id of a row and a hash of all its values."""
    user = (verdict.user if isinstance(verdict, Rejected) else verdict) or ("",)
    return str(user[0] or ""), hash(user[:-1])
