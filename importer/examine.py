"""A file to batches of users and rejected rows; nothing here knows of the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec

from importer.model import Notice, Problem
from importer.parse import Row, Survey, Table
from importer.repeats import Repeats
from importer.settings import ClientSettings, FileSettings, ReferenceSettings
from importer.validate import Checker, Rejected, User

BATCH_ROWS: Final = 500
_NAMED_LINES: Final = 10


class Batch(msgspec.Struct, frozen=True):
    """What some rows of a file come to. `retracted` are ids whose row of an earlier batch must not count after all."""

    complete: list[User]  # could be created as they are
    partial: list[Rejected]  # fit to update a user, and lack something that a new one needs
    rejected: list[Rejected]
    retracted: list[str]

    @classmethod
    def empty(cls) -> Batch:
        """Return a batch to fill."""
        return cls([], [], [], [])

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.complete) + len(self.partial) + len(self.rejected)


class _Standing(msgspec.Struct):
    """Where one id stands in the file, and how many different rows it has there."""

    lines: list[int]
    contents: set[int]
    applied: bool = False  # one of the rows went through before the repetition was seen


class Examination:
    """
    Reads and judges one file.

    Raises FileRejected from the constructor (header) and from `batches` (rows).
    """

    def __init__(
        self,
        raw: BinaryIO,
        found: Survey,
        limits: FileSettings,
        client: ClientSettings,
        reference: ReferenceSettings,
    ) -> None:
        self.table = Table(raw, found, limits, client)
        self.checker = Checker(self.table.header, client, reference)
        self._second_look = Checker(self.table.header, client, reference)  # its warnings were given at the first look
        self._repeats = Repeats()
        self._ids_in_two_cases: list[int] = []
        self.repeated: list[int] = [0, 0]  # rows, first line

    def batches(self) -> Iterator[Batch]:
        """Yield the rows of the file; rows whose id stands in the file before come last."""
        batch = Batch.empty()
        for row in self.table.rows():
            verdict = self.checker.check(row)
            user = verdict.user if isinstance(verdict, Rejected) else verdict
            if user and user[0] and self._repeats.must_wait(str(user[0]), row.line):
                continue
            self._sort(row, verdict, batch)
            if len(batch) >= BATCH_ROWS:
                yield batch
                batch = Batch.empty()
        yield batch
        yield from self._late_batches()

    def notices(self) -> list[Notice]:
        """Return the warnings about rows."""
        found = self.checker.notices()
        if self.repeated[0]:
            rows, line = self.repeated
            found.append(Notice(code="row.repeated", detail="", rows=rows, first_line=line))
        if lines := self._ids_in_two_cases:
            found.append(Notice(code="id.case", detail="", field="unique_id", rows=len(lines), first_line=min(lines)))
        return found

    def _sort(self, row: Row, verdict: User | Rejected, batch: Batch) -> None:
        if isinstance(verdict, Rejected):
            batch.rejected.append(verdict)
        elif self.checker.is_complete(verdict):
            batch.complete.append(verdict)
        else:
            batch.partial.append(Rejected(row.line, row.cells, (), verdict, self.checker.lacks(verdict)))

    def _late_batches(self) -> Iterator[Batch]:
        for held in self._repeats.groups():
            standings = self._standings(held)
            batch = Batch.empty()
            let_in: set[int] = set()
            clashing: dict[int, list[int]] = {}
            for unique_id, standing in standings.items():
                first, *rest = standing.lines
                if len(standing.contents) > 1:
                    clashing |= dict.fromkeys(standing.lines, standing.lines)
                    if standing.applied:
                        batch.retracted.append(unique_id)
                    continue
                if rest:
                    self.repeated = [self.repeated[0] + len(rest), min(rest[0], self.repeated[1] or rest[0])]
                if held[first]:
                    let_in.add(first)
            yield batch
            yield from self._reread(let_in, clashing)

    def _standings(self, held: dict[int, bool]) -> dict[str, _Standing]:
        """Look at the rows in these lines again; return where each id stands."""
        standings: dict[str, _Standing] = {}
        spellings: dict[str, str] = {}
        for row in self.table.reread(sorted(held)):
            verdict = self._second_look.check(row)
            user = (verdict.user if isinstance(verdict, Rejected) else verdict) or ()
            unique_id = str(user[0])
            if unique_id not in standings and spellings.setdefault(unique_id.casefold(), unique_id) != unique_id:
                self._ids_in_two_cases.append(row.line)
            standing = standings.setdefault(unique_id, _Standing([], set()))
            standing.lines.append(row.line)
            standing.contents.add(hash(user[:-1]))
            standing.applied |= not held[row.line] and not isinstance(verdict, Rejected)
        return standings

    def _reread(self, let_in: set[int], clashing: dict[int, list[int]]) -> Iterator[Batch]:
        batch = Batch.empty()
        for row in self.table.reread(sorted(let_in | clashing.keys())):
            verdict = self._second_look.check(row)
            if row.line in clashing:
                verdict = _clash(row, verdict, clashing[row.line])
            self._sort(row, verdict, batch)
            if len(batch) >= BATCH_ROWS:
                yield batch
                batch = Batch.empty()
        yield batch


def _clash(row: Row, verdict: User | Rejected, lines: list[int]) -> Rejected:
    """Return the row rejected because its id stands in `lines` with different content, with its own problems too."""
    named = ", ".join(map(str, lines[:_NAMED_LINES])) + (", ..." if len(lines) > _NAMED_LINES else "")
    detail = "stands in the file more than once with different content; keep one row for each unique id"
    problem = Problem("9022", "unique_id", detail, f"stands in lines {named} with different content; keep one of them")
    if isinstance(verdict, Rejected):
        return msgspec.structs.replace(verdict, problems=(*verdict.problems, problem))
    return Rejected(row.line, row.cells, (problem,), verdict)
