"""A file to batches of users and rejected rows; nothing here knows of the database."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

import msgspec

from importer.file.scan import Scan
from importer.file.table import Row, Stretch, Table, size_of
from importer.model import FileWarning, Problem
from importer.rows.delta import MOST_LINES, is_comparable, is_skippable
from importer.rows.duplicates import Duplicates
from importer.rows.validate import Checker, Rejected, User, Users
from importer.settings import ClientSettings, FileSettings, ReferenceSettings

_BATCH_ROWS: Final = 500
_BATCH_BYTES: Final = 4 << 20  # of rows kept with their cells: one row can have 32 MiB in memory
_NAMED_LINES: Final = 10


class Batch(msgspec.Struct):
    """What some rows of a file come to. `retracted` are ids whose row of an earlier batch must not count after all."""

    complete: Users  # could be created as they are
    partial: list[Rejected]  # fit to update a user, and lack something that a new one needs
    rejected: list[Rejected]
    retracted: list[str]
    size_bytes: int = 0  # of the cells of partial and rejected rows, in memory

    def is_full(self) -> bool:
        """Tell whether the batch should be applied before it takes more memory."""
        rows = len(self.complete.lines) + len(self.partial) + len(self.rejected)
        return rows >= _BATCH_ROWS or self.size_bytes >= _BATCH_BYTES


class _Standing(msgspec.Struct):
    """The rows of one id of which some were held."""

    content: int  # hash of the first row
    is_first_held: bool
    lines: list[int]  # where they stand, the first few
    rows: int = 0
    differ: bool = False
    applied: bool = False  # one of them went through before the repetition was seen


class Terms(msgspec.Struct, frozen=True):
    """By what a file is judged."""

    found: Scan
    limits: FileSettings
    client: ClientSettings
    reference: ReferenceSettings


class Findings(msgspec.Struct, frozen=True):
    """What there is to say about the rows of a file beside the batches."""

    repeated: int  # rows that equal an earlier one
    warnings: list[FileWarning]
    recheck_lines: bytes | None = None  # that no later file may pass over, an array("I"); None: it has to look at all


class Examination:
    """
    Reads and judges one file. `findings` are known once all batches were taken.

    Raises FileRejected from the constructor (header) and from `batches` (rows).
    """

    def __init__(self, raw: BinaryIO, terms: Terms, table: Table | None = None) -> None:
        """`table`: what to examine if not the whole file."""
        self.raw = raw
        self.terms = terms
        self.table = table or Table(raw, terms.found, terms.limits, terms.client)
        self.checker = Checker(self.table.header, terms.client, terms.reference)
        self._second_look = Checker(self.table.header, terms.client, terms.reference)  # warnings came at the first look
        self._repeats = Duplicates()
        self._two_cases = (0, 0)  # rows whose id differs from another in case only, first line
        self._repeated = (0, 0)  # rows, first line
        self.is_excerpt = self.table.is_excerpt
        self.is_comparable = self.is_excerpt or is_comparable(terms.found, self.table.header)
        self._recheck_lines = array("I", range(1, self.table.header.line + 1)) if self.is_comparable else None
        self.findings = Findings(0, [])

    def excerpt(self, raw: BinaryIO, lines: array[int]) -> Examination:
        """Return the examination of these lines of the file alone, which stand in `raw`."""
        return Examination(raw, self.terms, self.table.excerpt(raw, lines))

    def batches(self) -> Iterator[Batch]:
        """Yield the rows of the file; rows whose id stands in the file before come last."""
        for stretch in self.table.stretches():
            yield self._first_look(stretch)
        yield from self._late_batches()
        self._note_recheck(self.checker.warned_lines)
        recheck_lines = None if self._recheck_lines is None else self._recheck_lines.tobytes()
        self.findings = Findings(self._repeated[0], self._warnings(), recheck_lines)

    def _note_recheck(self, lines: Iterable[int]) -> None:
        if self._recheck_lines is not None:
            self._recheck_lines.extend(lines)
            if len(self._recheck_lines) > MOST_LINES:
                self._recheck_lines = None

    def _warnings(self) -> list[FileWarning]:
        found = self.checker.warnings()
        if self._repeated[0]:
            rows, line = self._repeated
            found.append(FileWarning(code="row.repeated", detail="", rows=rows, first_line=line))
        if self._two_cases[0]:
            rows, line = self._two_cases
            found.append(FileWarning(code="id.case", detail="", field="unique_id", rows=rows, first_line=line))
        return found

    def _first_look(self, stretch: Stretch) -> Batch:
        """Judge the rows of a stretch; hold back those whose id may stand in the file before."""
        judged = self.checker.judge(stretch)
        others = judged.others
        ids = [*judged.columns[0]]
        for position, verdict in others.items():
            ids[position] = _identity(verdict)[0]
        self._note_recheck(stretch.recheck_lines)
        self._note_recheck(stretch.lines[position] for position in self._odd_positions(ids, stretch, others))
        held = {*self._repeats.held_back(ids, stretch.lines)}
        incomplete = sorted({*self.checker.incomplete(judged)} - others.keys())
        batch = self._batch(self.checker.users(judged, but={*held, *others, *incomplete}))
        if incomplete:
            others |= zip(incomplete, self.checker.users_at(judged, incomplete).rows(), strict=True)
        for position, verdict in others.items():
            if position not in held:
                self._sort(stretch.row(position), verdict, batch)
        return batch

    def _batch(self, complete: Users | None = None) -> Batch:
        return Batch(complete or Users([[] for _ in self.checker.columns], []), [], [], [])

    def _odd_positions(self, ids: list[str], stretch: Stretch, others: dict[int, User | Rejected]) -> Iterator[int]:
        """Yield the positions of rows that fail, and of those whose id is not stored as it stands there."""
        for position, verdict in others.items():
            if isinstance(verdict, Rejected) or stretch.records[position][0] != verdict[0]:
                yield position
        delimiter = self.table.header.delimiter
        if not is_skippable("".join(ids), delimiter):
            yield from (position for position, unique_id in enumerate(ids) if not is_skippable(unique_id, delimiter))

    def _sort(self, row: Row, verdict: User | Rejected, batch: Batch) -> None:
        if isinstance(verdict, Rejected):
            batch.rejected.append(verdict)
        elif lacks := self.checker.lacks(verdict):
            batch.partial.append(Rejected(row.line, row.cells, (), verdict, lacks))
        else:
            batch.complete.add(verdict)
            return
        batch.size_bytes += size_of(row.cells)

    def _late_batches(self) -> Iterator[Batch]:
        for lines in self._repeats.groups():
            standings = self._standings(lines)
            batch = self._batch()
            for unique_id, standing in standings.items():
                if standing.differ and standing.applied:
                    batch.retracted.append(unique_id)
                if not standing.differ and standing.rows > 1:
                    self._repeated = _with_more(self._repeated, standing.rows - 1, standing.lines[1])
            yield batch
            yield from self._settled(lines, standings)

    def _standings(self, lines: array[int]) -> dict[str, _Standing]:
        """Look at the rows in these lines again; return where each id stands."""
        standings: dict[str, _Standing] = {}
        spellings: dict[str, str] = {}
        for (row, verdict), line in zip(self._judged_again(lines), lines, strict=True):
            unique_id, content = _identity(verdict)
            if unique_id not in standings and spellings.setdefault(unique_id.casefold(), unique_id) != unique_id:
                self._two_cases = _with_more(self._two_cases, 1, row.line)
                self._note_recheck((row.line,))
            standing = standings.setdefault(unique_id, _Standing(content, line < 0, []))
            standing.rows += 1
            if standing.rows <= _NAMED_LINES + 1:
                standing.lines.append(row.line)
            standing.differ |= content != standing.content
            standing.applied |= line > 0 and not isinstance(verdict, Rejected)
        return standings

    def _settled(self, lines: array[int], standings: dict[str, _Standing]) -> Iterator[Batch]:
        """Yield the rows of these lines that fail because their id repeats, and those that were held in vain."""
        batch = self._batch()
        for row, verdict in self._judged_again(lines):
            standing = standings[_identity(verdict)[0]]
            if standing.rows > 1:
                self._note_recheck((row.line,))
            if standing.differ:
                self._sort(row, self._clash(row, verdict, standing.lines), batch)
            elif standing.is_first_held and row.line == standing.lines[0]:
                self._sort(row, verdict, batch)
            if batch.is_full():
                yield batch
                batch = self._batch()
        yield batch

    def _judged_again(self, lines: array[int]) -> Iterator[tuple[Row, User | Rejected]]:
        """Yield the rows in these lines and what each comes to."""
        for stretch in self.table.reread(map(abs, lines)):
            judged = self._second_look.judge(stretch)
            users = iter(self._second_look.users(judged, but=judged.others).rows())
            yield from ((row, judged.others.get(position) or next(users)) for position, row in enumerate(stretch.rows))

    def _clash(self, row: Row, verdict: User | Rejected, lines: list[int]) -> Rejected:
        """Return the row rejected as its id stands in `lines` with different content; its own problems come first."""
        named = ", ".join(map(str, lines[:_NAMED_LINES])) + (", ..." if len(lines) > _NAMED_LINES else "")
        detail = "stands in the file more than once with different content; keep one row for each unique id"
        precise = f"stands in lines {named} with different content; keep one of them"
        problem = Problem("9022", "unique_id", detail, precise)
        if isinstance(verdict, Rejected):
            return msgspec.structs.replace(verdict, problems=(*verdict.problems, problem))
        return Rejected(row.line, row.cells, (problem,), verdict, self.checker.lacks(verdict))


def _with_more(noted: tuple[int, int], rows: int, line: int) -> tuple[int, int]:
    """Return how many rows were noted, and the first line of all, after some more."""
    return noted[0] + rows, min(line, noted[1] or line)


def _identity(verdict: User | Rejected) -> tuple[str, int]:
    """Return the unique id of a row and a hash of all that it says."""
    user = (verdict.user if isinstance(verdict, Rejected) else verdict) or ("",)
    return str(user[0] or ""), hash(user[:-1])
