"""What the importer asks of whatever records the rows of a file, whichever database it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import msgspec

from importer.file.table import Table
from importer.model import Change, FileWarning, Leaving, Problem, ProblemGroup, Tally
from importer.rows.batches import Batch
from importer.rows.copy_lines import CopyLines

FULL_ROWS: Final = 1000  # that say what to do about the same problem; later rows of the failed CSV refer to the first


class FailedRow(msgspec.Struct, frozen=True):
    """A rejected row as the report needs it."""

    line: int
    cells: list[str]
    problems: Sequence[Problem]
    kinds: str = ""  # the same for all rows with these problems; "" if something of the row itself is in one


class Rejections(Protocol):
    """The rejected rows of a file, once all are known."""

    recheck_lines: list[int]  # of rows that were applied, to be looked at in the next file, too

    def count_listed(self) -> int:
        """Return how many rejected rows the failed CSV has room for."""
        ...

    def lines(self) -> list[int]:
        """Return the lines of the rejected rows."""
        ...

    def listed(self) -> AbstractContextManager[Iterator[FailedRow]]:
        """Give the rejected rows that the failed CSV has room for, in file order."""
        ...

    def record_problems(self, import_id: int, tally: Tally) -> tuple[ProblemGroup, ...]:
        """Write the problems to import_problems, as many as it has room for; return all grouped, most rows first."""
        ...


class Recorder(Protocol):
    """Records one file, inside the caller's transaction: `apply` each batch, then `resolve_conflicts`."""

    @property
    def form(self) -> CopyLines | None:
        """Return as what it takes complete users, None: by columns."""
        ...

    @property
    def rejected(self) -> Rejections:
        """Return the rows that were not applied."""
        ...

    @property
    def leaving(self) -> Leaving:
        """Return how many users leave, or would."""
        ...

    def apply(self, batch: Batch) -> None:
        """Apply the rows of a batch, keep the rejected ones for the report."""
        ...

    def resolve_conflicts(self, table: Table, passed_over: int) -> None:
        """
        Undo the rows that claim what another user has, and complete what is said of all rejected rows.

        `passed_over`: how many rows equal the table and were skipped.
        """
        ...

    def tally(self, repeated: int, passed_over: int) -> Tally:
        """Return how many rows ended how; `passed_over`: how many more rows equal the table and were skipped."""
        ...

    def changes(self, tally: Tally) -> Iterator[Change]:
        """Yield what the file changes of the roster, for guards; nothing of a client without users."""
        ...

    def warnings(self, changes: Iterable[Change], same_day: int) -> Iterator[FileWarning]:
        """Yield the warnings that only the table shows; `same_day`: how many rows have one day of birth at most."""
        ...
