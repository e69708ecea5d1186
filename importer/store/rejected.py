"""
The rejected rows of one file, kept in a temporary table until the report is written.

Every rejected row counts, in the tally and in its groups of problems; what is written of them is bounded for a file.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from importer.disk_space import MOST_FAILED_BYTES, MOST_FAILED_ROWS, MOST_PROBLEMS
from importer.file.table import Table
from importer.model import Problem, ProblemGroup, most_rows_first
from importer.rows import rules
from importer.rows.validate import Checker, Rejected, User
from importer.settings import ClientSettings
from importer.store.connection import Connection

_KEPT: Final = ("unique_id", "email_key", "user_name_key")  # of the user that a rejected row describes
_REPORT_BYTES: Final = 64  # of code, field and punctuation of one problem in the failed CSV
_UNDONE_BYTES: Final = 512  # of the two problems that a row can have which is undone
_CELL_BYTES: Final = 4  # of quotation marks, delimiter and guard around a cell

_TAKEN_TEXT: Final = "belongs to another user, of this file or recorded before; no two users may have the same {}"
TAKEN: Final = {
    "email_key": Problem("9019", "email", _TAKEN_TEXT.format("address")),
    "user_name_key": Problem("9020", "user_name", _TAKEN_TEXT.format("user name")),
}


class FailedRow(msgspec.Struct, frozen=True):
    """A rejected row as the report needs it."""

    line: int
    cells: list[str]
    problems: list[Problem]


class RejectedRows:
    """The rejected rows: added as they come, completed at the end, then counted and read."""

    def __init__(self, conn: Connection, client: ClientSettings, checker: Checker) -> None:
        self._conn = conn
        self._client = client
        self._checker = checker
        self._columns = checker.columns
        self._kinds: dict[Problem, int] = {}  # each problem without what is particular to a row, and its id
        self._rows_left, self._bytes_left = MOST_FAILED_ROWS, MOST_FAILED_BYTES
        # cells: x'' where they are not known, or are left out of the failed CSV. problems: ids, see _kinds. precise:
        # what the failed CSV says in place of the details of the first problems. lacks: a bit for each attribute of
        # ClientSettings.needed.
        conn.execute("DROP TABLE IF EXISTS temp.failed")
        conn.execute(
            """CREATE TEMP TABLE failed (line INTEGER PRIMARY KEY, cells BLOB NOT NULL, problems TEXT NOT NULL,
               precise TEXT NOT NULL, lacks INTEGER NOT NULL, unique_id TEXT, email_key TEXT, user_name_key TEXT)"""
        )

    def add(self, rejected: Iterable[Rejected]) -> None:
        """Keep rejected rows; of a line that was kept before the later row counts."""
        self._conn.executemany(
            "INSERT OR REPLACE INTO temp.failed VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    row.line,
                    *self._listed(row.cells, row.problems),
                    sum(1 << self._client.needed.index(name) for name in row.lacks),
                    *(_value(row.user, self._columns, column) for column in _KEPT),
                )
                for row in rejected
            ),
        )

    def _listed(self, cells: list[str], problems: Sequence[Problem]) -> tuple[bytes, str, str]:
        """Return `cells`, `problems` and `precise` of a rejected row: only the problems when there is no more room."""
        ids = msgspec.json.encode([self.kind(problem) for problem in problems]).decode()
        told_bytes = sum(len((each.precise or each.detail).encode()) + _REPORT_BYTES for each in problems)
        kept = self._within(cells, told_bytes)
        is_precise = kept and any(problem.precise for problem in problems)
        return kept, ids, msgspec.json.encode([each.precise for each in problems]).decode() if is_precise else ""

    def _within(self, cells: list[str], told_bytes: int) -> bytes:
        """Return the cells as they are kept for the failed CSV, b"" from the first row on that it has no room for."""
        kept = msgspec.json.encode(cells) if self._rows_left else b""
        self._bytes_left -= len(kept) + told_bytes + self._checker.width * _CELL_BYTES
        self._rows_left = self._rows_left - 1 if self._bytes_left > 0 and kept else 0
        return kept if self._bytes_left > 0 else b""

    def kind(self, problem: Problem) -> int:
        """Return the id of a problem; there are few, as no detail has anything of a row in it."""
        about = msgspec.structs.replace(problem, precise="") if problem.precise else problem
        return self._kinds.setdefault(about, len(self._kinds))

    def fill_in_cells(self, table: Table) -> None:
        """Read again the rows that were applied and then undone, as far as the failed CSV has room for them."""
        query = "SELECT line FROM temp.failed WHERE cells = x'' ORDER BY line LIMIT ?"
        with contextlib.closing(self._conn.execute(query, (self._rows_left,))) as lines:
            for stretch in table.reread(line for (line,) in lines):
                self._conn.executemany(
                    "UPDATE temp.failed SET cells = ? WHERE line = ?",
                    [(self._within(row.cells, _UNDONE_BYTES), row.line) for row in stretch.rows],
                )

    def complete_problems(self) -> None:
        """Add to the rejected rows what only the table tells: what a new user lacks, what another user has."""
        for place, name in enumerate(self._client.needed):
            is_absent = self._checker.is_absent(name)
            # Without an id nobody knows whether the user is new: then only a blank cell is worth a word.
            self._add_problem(
                rules.required(name, absent=is_absent),
                f"""lacks & {1 << place} AND (unique_id IS NOT NULL OR NOT {is_absent}) AND NOT EXISTS (
                      SELECT 1 FROM users WHERE users.client = :client AND users.unique_id = failed.unique_id)""",
            )
        for key, problem in TAKEN.items():
            self._add_problem(
                problem,
                f"""{key} IS NOT NULL AND EXISTS (
                      SELECT 1 FROM users WHERE users.client = :client AND users.{key} = failed.{key}
                      AND users.unique_id IS NOT failed.unique_id)""",
            )

    def _add_problem(self, problem: Problem, condition: str) -> None:
        """Add the problem to the rejected rows that fulfil the condition and do not have it yet."""
        added = self.kind(problem)
        alike = (
            str(id_) for each, id_ in self._kinds.items() if (each.code, each.field) == (problem.code, problem.field)
        )
        self._conn.execute(
            f"""UPDATE temp.failed SET problems = json_insert(problems, '$[#]', {added})
                WHERE {condition} AND NOT EXISTS (
                  SELECT 1 FROM json_each(problems) WHERE value IN ({", ".join(alike)}))""",
            {"client": self._client.name},
        )

    def add_undone(self) -> None:
        """Add the rows whose users are about to be undone."""
        self._conn.execute(
            """INSERT INTO temp.failed
               SELECT import_line, x'', problems, '', 0, unique_id, email_key, user_name_key
               FROM temp.undone JOIN users ON users.rowid = undone.id"""
        )

    def count(self) -> int:
        """Return how many rows were rejected."""
        return int(self._conn.execute("SELECT count(*) FROM temp.failed").fetchone()[0])

    def count_listed(self) -> int:
        """Return how many of them the failed CSV has room for."""
        return int(self._conn.execute("SELECT count(*) FROM temp.failed WHERE cells <> x''").fetchone()[0])

    def lines(self) -> list[int]:
        """Return the lines of the rejected rows."""
        return [line for (line,) in self._conn.execute("SELECT line FROM temp.failed").fetchall()]

    @contextlib.contextmanager
    def listed(self) -> Iterator[Iterator[FailedRow]]:
        """Give the rejected rows that the failed CSV has room for, in file order."""
        kinds = [*self._kinds]
        query = "SELECT line, cells, problems, precise FROM temp.failed WHERE cells <> x'' ORDER BY line"
        with contextlib.closing(self._conn.execute(query)) as rows:
            yield (
                FailedRow(line, msgspec.json.decode(cells, type=list[str]), _told(kinds, _ids(ids), precise))
                for line, cells, ids, precise in rows
            )

    def record_problems(self, import_id: int) -> tuple[ProblemGroup, ...]:
        """Write the problems to import_problems, as many as it has room for; return all grouped, most rows first."""
        kinds = [*self._kinds]
        rows: Counter[int] = Counter()
        first: dict[int, int] = {}
        with contextlib.closing(self._problems()) as problems:
            for line, kind in problems:
                rows[kind] += 1
                first.setdefault(kind, line)
        groups = (
            ProblemGroup(
                code=about.code, field=about.field, detail=about.detail, rows=rows[kind], first_line=first[kind]
            )
            for kind, about in enumerate(kinds)
            if rows[kind]
        )
        with contextlib.closing(self._problems()) as problems:
            self._conn.executemany(
                f"INSERT INTO import_problems VALUES ({import_id}, ?, ?, ?, ?)",
                (
                    (line, kinds[kind].code, kinds[kind].field, kinds[kind].detail)
                    for line, kind in itertools.islice(problems, MOST_PROBLEMS)
                ),
            )
        return tuple(most_rows_first(groups))

    def _problems(self) -> Generator[tuple[int, int], None, None]:
        """Yield the line and the id of each problem, in file order."""
        query = "SELECT line, problems FROM temp.failed ORDER BY line"
        with contextlib.closing(self._conn.execute(query)) as rows:
            yield from ((line, kind) for line, ids in rows for kind in _ids(ids))


def _value(user: User | None, columns: Sequence[str], column: str) -> str | int | None:
    return None if user is None or column not in columns else user[columns.index(column)]


def _told(kinds: list[Problem], ids: list[int], precise: str) -> list[Problem]:
    """Return the problems of a row as the failed CSV tells them."""
    texts = msgspec.json.decode(precise, type=list[str]) if precise else []
    texts += [""] * (len(ids) - len(texts))
    return [msgspec.structs.replace(kinds[kind], precise=text) for kind, text in zip(ids, texts, strict=True)]


def _ids(problems: str) -> list[int]:
    return msgspec.json.decode(problems, type=list[int])
