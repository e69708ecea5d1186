"""
The rejected rows of one file, kept in a temporary table until the report is written.

Every rejected row counts, in the tally and in its groups of problems; what is written of them is bounded for a file.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from importer.attributes import ATTRIBUTES
from importer.disk_space import MOST_FAILED_BYTES, MOST_FAILED_ROWS, MOST_PROBLEMS
from importer.file.table import Table
from importer.model import NAMED_LINES, Message, Problem, ProblemGroup, Tally, message, most_rows_first
from importer.rows.validate import Checker, Rejected
from importer.settings import ClientSettings
from importer.store.connection import Connection
from importer.store.recording import FULL_ROWS, FailedRow
from importer.store.sqlite.rows import taken
from importer.wording.catalogue import text_bytes, words

_KEPT: Final = ("unique_id", "email_key", "user_name_key")  # of the user that a rejected row describes
_REPORT_BYTES: Final = 8  # of punctuation of one problem in the failed CSV
_ID_BYTES: Final = 4 * ATTRIBUTES["unique_id"].limit  # the longest id of another user
_MOST_SETS: Final = 1000  # of problems that rows have together, held in memory: most files have few
_LONGER_BYTES: Final = 40  # by which the sentence with a value at hand is longer than the one without, the value aside
_AS_ABOVE_BYTES: Final = 60  # of the sentence that refers to an earlier row, in any language
_CELL_BYTES: Final = 4  # of quotation marks, delimiter and guard around a cell

_ENGLISH: Final = words("en")  # for the operator
_PRECISE: Final = msgspec.json.Decoder(list[Message | None])

TAKEN: Final = {
    "email_key": Problem("email", message("9019")),
    "user_name_key": Problem("user_name", message("9020")),
}

# Some listed rows that claim what another user has: where that one is, in this file or recorded.
_OTHERS: Final = """
    SELECT failed.line, failed.problems, failed.precise,
      CASE WHEN theirs.unique_id IS NULL THEN (
        SELECT line FROM (
          SELECT other.line, other.unique_id FROM temp.failed AS other
          WHERE other.{key} = failed.{key} AND other.line <> failed.line ORDER BY other.line LIMIT 10)
        WHERE unique_id IS NOT failed.unique_id LIMIT 1)
      WHEN theirs.import_id = :import_id THEN theirs.import_line END,
      theirs.unique_id, failed.unique_id
    FROM temp.failed LEFT JOIN users AS theirs
      ON theirs.client = :client AND theirs.{key} = failed.{key} AND theirs.unique_id IS NOT failed.unique_id
    WHERE failed.line > :line AND failed.cells <> x'' AND failed.{key} IS NOT NULL
      AND EXISTS (SELECT 1 FROM json_each(failed.problems) WHERE value = :kind)
    ORDER BY failed.line LIMIT 500"""
# cells: x'' where they are not known, or are left out of the failed CSV. problems: ids, see RejectedRows. precise: what
# the failed CSV says in place of the reasons of the first problems. lacks: a bit for each attribute of
# ClientSettings.needed.
FAILED_COLUMNS: Final = """line INTEGER PRIMARY KEY, cells BLOB NOT NULL, problems TEXT NOT NULL, precise TEXT NOT NULL,
    lacks INTEGER NOT NULL, unique_id TEXT, email_key TEXT, user_name_key TEXT"""
_Other = tuple[int, str, str, int | None, str | None, str | None]


class _Told(msgspec.Struct, frozen=True):
    """How many bytes a problem takes in the failed CSV: what it is, and each sentence that says what to do."""

    problem_bytes: int
    reason_bytes: int  # of its parameters
    remedies: tuple[tuple[str, str], ...]  # language and sentence


class _Set(msgspec.Struct):
    """Kinds of problems that rows have together: as JSON, and their bytes in the first rows and in later ones."""

    ids: str
    full_bytes: int
    short_bytes: int
    is_full: bool = True


class _Room:
    """The room of the failed CSV, and how much of it kinds of problems take; their ids are those of RejectedRows."""

    def __init__(self, languages: Sequence[str], checker: Checker) -> None:
        self._languages = languages
        self._width = checker.width
        self._lacking = checker.lacking
        self._lacking_bytes: dict[tuple[str, ...], tuple[int, int]] = {}
        self._lacking_rows = 0
        self._told: list[_Told] = []  # of each kind
        self._full_rows: list[int] = []  # of each kind: rows that say what to do
        self._sets: dict[tuple[int, ...], _Set] = {}
        self.rows_left, self._bytes_left = MOST_FAILED_ROWS, MOST_FAILED_BYTES

    def add_kind(self, problem: Problem) -> None:
        """Add the next kind of problem."""
        self._told.append(_told(self._languages, problem))
        self._full_rows.append(0)

    def ids(self, kinds: tuple[int, ...]) -> str:
        """Return the ids of some kinds as JSON."""
        return self._set(kinds).ids

    def _set(self, kinds: tuple[int, ...]) -> _Set:
        known = self._sets.get(kinds)
        if not known:
            if len(self._sets) >= _MOST_SETS:
                self._sets.clear()
            told_bytes = _together([self._told[kind] for kind in kinds])
            known = self._sets[kinds] = _Set(msgspec.json.encode(kinds).decode(), *told_bytes)
        return known

    def told_bytes(self, kinds: tuple[int, ...]) -> int:
        """Return how many bytes these problems of a row take: many rows before it say what to do about them, or few."""
        known = self._set(kinds)
        if not known.is_full:
            return known.short_bytes
        for kind in kinds:
            self._full_rows[kind] += 1
        known.is_full = any(self._full_rows[kind] <= FULL_ROWS for kind in kinds)
        return known.full_bytes

    def own_bytes(self, kinds: Sequence[int], precise: Iterable[Message | None]) -> int:
        """Return how many bytes problems take that are about their row alone."""
        pairs = ((self._told[kind].reason_bytes, each) for kind, each in zip(kinds, precise, strict=True) if each)
        return sum(max(0, text_bytes(each) - known + _LONGER_BYTES) for known, each in pairs)

    def lacking_bytes(self, lacks: tuple[str, ...]) -> int:
        """Return how many bytes it takes that a user lacks these attributes, which is told once all rows are known."""
        if not lacks:
            return 0
        if lacks not in self._lacking_bytes:
            self._lacking_bytes[lacks] = _together([_told(self._languages, self._lacking[name]) for name in lacks])
        self._lacking_rows += 1
        return self._lacking_bytes[lacks][self._lacking_rows > FULL_ROWS]

    def taken(self, cells: list[str], problem_bytes: int) -> bytes:
        """Return the cells as they are kept for the failed CSV, b"" from the first row on that it has no room for."""
        stored = msgspec.json.encode(cells) if self.rows_left else b""
        self._bytes_left -= len(stored) + problem_bytes + self._width * _CELL_BYTES
        self.rows_left = self.rows_left - 1 if self._bytes_left > 0 and stored else 0
        return stored if self._bytes_left > 0 else b""


class RejectedRows:
    """The rejected rows: added as they come, completed at the end, then counted and read."""

    def __init__(self, conn: Connection, client: ClientSettings, checker: Checker) -> None:
        self._conn = conn
        self._client = client
        self._checker = checker
        self._kept = [checker.columns.index(name) if name in checker.columns else None for name in _KEPT]
        self._kinds: dict[tuple[str, Message], int] = {}  # field and reason of each problem, and its id
        self._room = _Room(client.language, checker)
        self._names_at: dict[str, int] = {}  # the columns of first and last name
        self.recheck_lines: list[int] = []
        self._is_empty = True  # as of most files: then nothing is asked of the table
        self.has_taken = False  # whether any row has one of the problems in TAKEN

    def add(self, rejected: Iterable[Rejected]) -> None:
        """Keep rejected rows; of a line that was kept before the later row counts. No cells: read them later."""
        first = next(each := iter(rejected), None)
        if first is None:
            return
        self._is_empty = False
        self._conn.executemany(
            "INSERT OR REPLACE INTO temp.failed VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    row.line,
                    *self._listed(row.cells, row.problems, row.lacks),
                    sum(1 << self._client.needed.index(name) for name in row.lacks),
                    *(None if row.user is None or place is None else row.user[place] for place in self._kept),
                )
                for row in itertools.chain([first], each)
            ),
        )

    def _listed(self, cells: list[str], problems: Sequence[Problem], lacks: tuple[str, ...]) -> tuple[bytes, str, str]:
        """Return `cells`, `problems` and `precise` of a rejected row: only the problems when there is no more room."""
        kinds = tuple(map(self.kind, problems))
        ids = self._room.ids(kinds)
        if not self._room.rows_left:
            return b"", ids, ""
        problem_bytes = self._room.told_bytes(kinds) + self._room.lacking_bytes(lacks)
        precise = [problem.precise for problem in problems]
        is_precise = any(precise)
        if is_precise:
            problem_bytes += len(self._client.language) * self._room.own_bytes(kinds, precise)
        stored_cells = self._room.taken(cells, problem_bytes) if cells else b""
        return stored_cells, ids, msgspec.json.encode(precise).decode() if is_precise and stored_cells else ""

    def kind(self, problem: Problem) -> int:
        """Return the id of a problem; there are few, as no reason has anything of a row in it."""
        key = (problem.field, problem.reason)
        id_ = self._kinds.get(key)
        if id_ is None:
            id_ = self._kinds[key] = len(self._kinds)
            self._room.add_kind(problem)
        return id_

    def fill_in_cells(self, table: Table) -> None:
        """Read again the rows that were applied and then undone, as far as the failed CSV has room for them."""
        if self._is_empty:
            return
        self._names_at = {name: columns[0] for name, columns in table.header.columns.items() if name in taken.NAMES}
        kinds = tuple(map(self.kind, TAKEN.values()))
        query = "SELECT line FROM temp.failed WHERE cells = x'' ORDER BY line LIMIT ?"
        with contextlib.closing(self._conn.execute(query, (self._room.rows_left,))) as lines:
            for stretch in table.reread(line for (line,) in lines):
                self._conn.executemany(
                    "UPDATE temp.failed SET cells = ? WHERE line = ?",
                    [(self._room.taken(row.cells, self._room.told_bytes(kinds)), row.line) for row in stretch.rows],
                )

    def complete_problems(self) -> None:
        """Add the problems that only the table shows: what a new user lacks, what another user has."""
        if self._is_empty:
            return
        needed = self._client.needed
        known = "SELECT 1 FROM users WHERE users.client = :client AND users.unique_id = failed.unique_id"
        absent = sum(1 << needed.index(name) for name in self._checker.absent)
        lost = f"lacks AND NOT lacks & ~{absent} AND NOT EXISTS ({known}) AND {taken.LOST_ZEROS}"
        if absent and self._add_problem(Problem("unique_id", message("9033/zeros")), lost):
            self._conn.execute(f"UPDATE temp.failed SET lacks = 0 WHERE {lost}", {"client": self._client.name})
        for place, name in enumerate(needed):
            is_absent = name in self._checker.absent
            # Without an id it is not known whether the user is new: then only a blank cell is reported.
            self._add_problem(
                self._checker.lacking[name],
                f"lacks & {1 << place} AND (unique_id IS NOT NULL OR NOT {is_absent}) AND NOT EXISTS ({known})",
            )
        for key, problem in TAKEN.items():
            self.has_taken |= self._add_problem(problem, taken.CLAIMED.format(key=key))

    def _add_problem(self, problem: Problem, condition: str) -> bool:
        """Add the problem to the rows that fulfil the condition and do not have it yet; tell whether there are any."""
        added = self.kind(problem)
        alike = (
            str(id_)
            for (field, reason), id_ in self._kinds.items()
            if (field, reason.code) == (problem.field, problem.code)
        )
        changed = self._conn.execute(
            f"""UPDATE temp.failed SET problems = json_insert(problems, '$[#]', {added})
                WHERE {condition} AND NOT EXISTS (
                  SELECT 1 FROM json_each(problems) WHERE value IN ({", ".join(alike)}))""",
            {"client": self._client.name},
        )
        return changed.rowcount > 0

    def add_undone(self) -> None:
        """Add the rows whose users are about to be undone, as what they claim is taken."""
        self.has_taken, self._is_empty = True, False
        self._conn.execute(
            """INSERT INTO temp.failed
               SELECT import_line, x'', problems, '', 0, unique_id, email_key, user_name_key
               FROM temp.undone JOIN users ON users.rowid = undone.id"""
        )

    def count(self) -> int:
        """Return how many rows were rejected."""
        return 0 if self._is_empty else int(self._conn.execute("SELECT count(*) FROM temp.failed").fetchone()[0])

    def count_listed(self) -> int:
        """Return how many of them the failed CSV has room for."""
        if self._is_empty:
            return 0
        return int(self._conn.execute("SELECT count(*) FROM temp.failed WHERE cells <> x''").fetchone()[0])

    def lines(self) -> list[int]:
        """Return the lines of the rejected rows."""
        return [line for (line,) in self._conn.execute("SELECT line FROM temp.failed").fetchall()]

    @contextlib.contextmanager
    def listed(self) -> Iterator[Iterator[FailedRow]]:
        """Give the rejected rows that the failed CSV has room for, in file order."""
        kinds = [Problem(*kind) for kind in self._kinds]
        query = "SELECT line, cells, problems, precise FROM temp.failed WHERE cells <> x'' ORDER BY line"
        with contextlib.closing(self._conn.execute(query)) as rows:
            yield (
                FailedRow(
                    line,
                    msgspec.json.decode(cells, type=list[str]),
                    _problems_in(kinds, _ids(ids), precise),
                    "" if precise else ids,
                )
                for line, cells, ids, precise in rows
            )

    def record_problems(self, import_id: int, tally: Tally) -> tuple[ProblemGroup, ...]:
        """Write the problems to import_problems, as many as it has room for; return all grouped, most rows first."""
        if self._is_empty:
            return ()
        rows, lines = _count_problems(self._conn, len(self._kinds))
        wrong_ids = sum(rows[kind] for (field, _), kind in self._kinds.items() if field == "unique_id")
        rows_of_file, known = tally.applied + tally.failed, tally.applied - tally.created
        all_rows = taken.AllRows(rows_of_file, known, wrong_ids, self._client.name, self._names_at)
        groups = most_rows_first(
            ProblemGroup(field=field, reason=reason, rows=rows[kind], lines=tuple(lines[kind]))
            for (field, reason), kind in self._kinds.items()
            if rows[kind]
        )
        groups = most_rows_first(
            each
            for group in groups
            for each in _precise_groups(self._conn, group, self._kinds[group.field, group.reason], all_rows)
        )
        texts = [(reason.code, field, _ENGLISH.explained(reason)) for field, reason in self._kinds]
        with contextlib.closing(self._problems()) as problems:
            self._conn.executemany(
                f"INSERT INTO import_problems VALUES ({import_id}, ?, ?, ?, ?)",
                ((line, *texts[kind]) for line, kind in itertools.islice(problems, MOST_PROBLEMS)),
            )
        return tuple(groups)

    def _problems(self) -> Generator[tuple[int, int], None, None]:
        """Yield the line and the id of each problem, in file order."""
        query = "SELECT line, problems FROM temp.failed ORDER BY line"
        with contextlib.closing(self._conn.execute(query)) as rows:
            yield from ((line, kind) for line, ids in rows for kind in _ids(ids))


def _told(languages: Sequence[str], problem: Problem) -> _Told:
    """Return what a problem takes in all languages at most; what is taken is told later, by another user's id."""
    reason = problem.reason
    if reason.code not in {each.code for each in TAKEN.values()}:
        pairs = {language: [words(language).sentences(reason)] for language in languages}
        longer = 0
    else:
        keys = [f"{reason.code}{case}" for case in ("", "/line", "/zeros!", "/case!", "/recorded!")]
        pairs = {language: [words(language).unfilled(key) for key in keys] for language in languages}
        longer = _ID_BYTES
    problem_bytes = sum(max(len(problem.encode()) for problem, _ in pairs[language]) + longer for language in languages)
    remedies = tuple((language, max((remedy for _, remedy in pairs[language]), key=len)) for language in languages)
    problem_bytes += len(reason.code) + len(problem.field) + _REPORT_BYTES
    return _Told(problem_bytes, text_bytes(reason), remedies)


def _together(told: Sequence[_Told]) -> tuple[int, int]:
    """Return how many bytes problems of one row take, in full and where an earlier row says what to do."""
    remedies = [text.encode() for _, text in {each for one in told for each in one.remedies}]
    problem_bytes = sum(each.problem_bytes for each in told)
    short = (min(len(text), _AS_ABOVE_BYTES) for text in remedies)
    return problem_bytes + sum(map(len, remedies)), problem_bytes + sum(short)


def _count_problems(conn: Connection, kinds: int) -> tuple[list[int], list[list[int]]]:
    """Return of each of so many kinds of problems how many rows have it, and the first of their lines."""
    rows = [0] * kinds
    lines: list[list[int]] = [[] for _ in range(kinds)]
    sets: Counter[str] = Counter()

    def add_sets() -> None:
        for ids, count in sets.items():
            for kind in _ids(ids):
                rows[kind] += count
        sets.clear()

    with contextlib.closing(conn.execute("SELECT line, problems FROM temp.failed ORDER BY line")) as failed:
        for line, ids in failed:
            sets[ids] += 1
            if sets[ids] <= NAMED_LINES:  # what is among the first of a kind is among the first of its set
                for kind in _ids(ids):
                    if len(lines[kind]) < NAMED_LINES:
                        lines[kind].append(line)
            if len(sets) > _MOST_SETS:
                add_sets()
    add_sets()
    return rows, lines


def name_others(conn: Connection, scope: Mapping[str, str | int], rejected: RejectedRows) -> None:
    """Add to each listed row with another user's value where that user is."""
    for key, problem in TAKEN.items() if rejected.has_taken else ():
        conn.execute(f"CREATE INDEX temp.failed_by_value ON failed ({key}) WHERE {key} IS NOT NULL")
        kind, line = rejected.kind(problem), 0
        query = _OTHERS.format(key=key)
        while rows := conn.execute(query, {**scope, "kind": kind, "line": line}).fetchall():
            conn.executemany("UPDATE temp.failed SET precise = ? WHERE line = ?", _with_others(rows, problem, kind))
            line = rows[-1][0]
        conn.execute("DROP INDEX temp.failed_by_value")


def _with_others(rows: Iterable[_Other], problem: Problem, kind: int) -> Iterator[tuple[str, int]]:
    """Yield what is precise of each row, and its line."""
    for line, ids, precise, other_line, unique_id, own_id in rows:
        each = problem.reason.code
        if other_line:
            detail = message(f"{each}/line", line=str(other_line))
        elif unique_id:
            detail = message(f"{each}/{_difference(unique_id, own_id or '')}!", unique_id=unique_id)
        else:
            continue
        kinds = _ids(ids)
        texts = _padded(precise, len(kinds))
        texts[kinds.index(kind)] = detail
        yield msgspec.json.encode(texts).decode(), line


def _difference(recorded: str, own_id: str) -> str:
    """Return, as the end of a key, how the id of a recorded user is the one of a row, "recorded" if it is another."""
    if recorded.lstrip("0") == own_id.lstrip("0"):
        return "zeros"
    return "case" if recorded.lower() == own_id.lower() else "recorded"


def _padded(precise: str, length: int) -> list[Message | None]:
    texts = _PRECISE.decode(precise) if precise else []
    return [*texts, *[None] * (length - len(texts))]


def _precise_groups(conn: Connection, group: ProblemGroup, kind: int, all_rows: taken.AllRows) -> list[ProblemGroup]:
    """Return a group as precise as its rows are, several if their values are those of users in different places."""
    for key, problem in TAKEN.items():
        if problem == Problem(group.field, group.reason):
            return taken.split_by_place(conn, group, kind, key, all_rows)
    return [_as_precise(conn, group, kind)]


def _as_precise(conn: Connection, group: ProblemGroup, kind: int) -> ProblemGroup:
    """Return a group of a few rows as precise as all of them are, if that names no value of a cell."""
    if group.rows > len(group.lines):
        return group
    query = f"SELECT problems, precise FROM temp.failed WHERE line IN ({', '.join('?' * len(group.lines))})"
    reasons = set()
    for problems, precise in conn.execute(query, group.lines).fetchall():
        ids = _ids(problems)
        reasons.add(_padded(precise, len(ids))[ids.index(kind)])
    if len(reasons) > 1 or (reason := reasons.pop()) is None or reason.key.endswith("!"):
        return group
    return msgspec.structs.replace(group, reason=reason)


def _problems_in(kinds: list[Problem], ids: Sequence[int], precise: str) -> list[Problem]:
    """Return the problems of a row as the failed CSV has them."""
    problems = [kinds[kind] for kind in ids]
    for place, each in enumerate(_PRECISE.decode(precise) if precise else ()):
        if each:
            problems[place] = Problem(problems[place].field, problems[place].reason, each)
    return problems


@functools.lru_cache(1000)
def _ids(problems: str) -> tuple[int, ...]:
    return msgspec.json.decode(problems, type=tuple[int, ...])
