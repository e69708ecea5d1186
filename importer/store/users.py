"""
The rows of one file to the table of users, inside the caller's transaction.

Rows are applied as they come; what only the state after the whole file can tell is settled at the end: addresses and
user names that two users would share. A row that turns out not to count is undone from its image in `before`.
The rejected rows of the file wait in `failed` until the report is written. All helpers are temporary tables, so that
memory stays the same for any number of rows.

Every rejected row counts, in the tally and in its groups of problems; what is written of them is bounded for a file.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from importer.attributes import ATTRIBUTES
from importer.disk_space import MOST_FAILED_BYTES, MOST_FAILED_ROWS, MOST_PROBLEMS
from importer.file.table import Table
from importer.model import Notice, Problem, ProblemGroup, Tally
from importer.rows import rules
from importer.rows.batches import Batch
from importer.rows.validate import CLEARED, KEYS, Checker, Rejected, User
from importer.settings import ClientSettings
from importer.store.connection import Connection
from importer.store.schema import KEY_INDEXES

# To look up the key of a changed row takes as long as to pass over so many rows of the index.
_ROWS_PER_PROBE: Final = 10
# A client's first file, when it is large beside the table, is loaded without indexes; they are made at the end.
_LOAD_MIN_BYTES: Final = 4 << 20
_LOAD_BYTES_PER_ROW: Final = 400
_GROUPS_TOLD: Final = 100
_REPORT_BYTES: Final = 64  # of code, field and punctuation of one problem in the failed CSV
_UNDONE_BYTES: Final = 512  # of the two problems that a row can have which is undone
_CELL_BYTES: Final = 4  # of quotation marks, delimiter and guard around a cell
_CLEARED_SQL: Final = "char(0)"

_TEMPORARY_TABLES: Final = {
    # cells: x'' where they are not known, or are left out of the failed CSV. problems: ids, see Recorder._kinds.
    # precise: what the failed CSV says in place of the details of the first problems. lacks: a bit for each attribute
    # of ClientSettings.needed.
    "failed": """line INTEGER PRIMARY KEY, cells BLOB NOT NULL, problems TEXT NOT NULL, precise TEXT NOT NULL,
                 lacks INTEGER NOT NULL, unique_id TEXT, email_key TEXT, user_name_key TEXT""",
    "shared": "field TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (field, value)",
    "undone": "id INTEGER PRIMARY KEY, problems TEXT NOT NULL",
}
_RESTORED: Final = ", ".join((*ATTRIBUTES, *KEYS.values(), "updated_at", "import_id", "import_line"))

# Which values of {key} have more than one user now? Before the file none had.
_SHARED_BY_SCAN: Final = """
    SELECT {key} AS value FROM users INDEXED BY {index}
    WHERE client = :client AND {key} > '' GROUP BY {key} HAVING count(*) > 1"""
_HAS_OTHER_USER: Final = """
    EXISTS (SELECT 1 FROM users AS theirs WHERE theirs.client = :client AND theirs.{key} = mine.{key}
            AND theirs.rowid <> mine.rowid)"""
_SHARED_BY_PROBE: Final = f"""
    SELECT {{key}} AS value FROM users AS mine
    WHERE (rowid > :top OR rowid IN (SELECT id FROM temp.before WHERE is_rekeyed)) AND {_HAS_OTHER_USER}"""
_SHARED_AFTER_UNDO: Final = f"""
    SELECT {{key}} AS value FROM users AS mine WHERE rowid IN (SELECT id FROM temp.undone) AND {_HAS_OTHER_USER}"""
# The users to whom this file gave a shared value: new ones, and those that had another value before.
_CLAIMANTS: Final = """
    SELECT users.rowid AS id FROM temp.shared CROSS JOIN users ON users.client = :client AND users.{key} = shared.value
    LEFT JOIN temp.before ON before.id = users.rowid
    WHERE shared.field = '{key}' AND users.import_id = :import_id
      AND (users.rowid > :top OR before.{key} IS NOT users.{key})"""
# New users whose id, in capitals, in small letters or with one capital at its beginning, was recorded before.
_OTHER_CASE: Final = """
    SELECT count(*), min(import_line) FROM users AS mine
    WHERE rowid > :top AND upper(unique_id) <> lower(unique_id) AND EXISTS (
      SELECT 1 FROM users AS theirs WHERE theirs.client = :client AND theirs.rowid <= :top
      AND theirs.unique_id IN (upper(mine.unique_id), lower(mine.unique_id),
                               upper(substr(mine.unique_id, 1, 1)) || lower(substr(mine.unique_id, 2))))"""
_TAKEN_TEXT: Final = "belongs to another user, of this file or recorded before; no two users may have the same {}"
_TAKEN: Final = {
    "email_key": Problem("9019", "email", _TAKEN_TEXT.format("address")),
    "user_name_key": Problem("9020", "user_name", _TAKEN_TEXT.format("user name")),
}


class FailedRow(msgspec.Struct, frozen=True):
    """A rejected row as the report needs it."""

    line: int
    cells: list[str]
    problems: list[Problem]


class Recorder:
    """Applies one file: `apply` each batch, then `settle`, then counts and reports."""

    def __init__(
        self,
        conn: Connection,
        client: ClientSettings,
        checker: Checker,
        *,
        import_id: int,
        at: str,
        size_bytes: int,
    ) -> None:
        self._conn = conn
        self._client = client
        self._checker = checker
        self._columns = checker.columns
        self._id_at = self._columns.index("unique_id")
        self._created = self._updated = self._unchanged = 0
        self._rekeyed = 0  # updated with a new address or user name
        self._kinds: dict[Problem, int] = {}  # each problem without what is particular to a row, and its id
        self._rows_left, self._bytes_left = MOST_FAILED_ROWS, MOST_FAILED_BYTES
        for name, columns in _TEMPORARY_TABLES.items():
            conn.execute(f"DROP TABLE IF EXISTS temp.{name}")
            conn.execute(f"CREATE TEMP TABLE {name} ({columns})")
        conn.execute("DROP TABLE IF EXISTS temp.before")
        users = ", ".join(name for (name,) in conn.execute("SELECT name FROM pragma_table_info('users')").fetchall())
        conn.execute(f"CREATE TEMP TABLE before (id INTEGER PRIMARY KEY, is_rekeyed INTEGER, {users})")
        top = conn.execute("SELECT coalesce(max(rowid), 0) FROM users").fetchone()[0]
        known = conn.execute("SELECT EXISTS (SELECT 1 FROM users WHERE client = ?)", (client.name,)).fetchone()[0]
        self._is_first = not known
        self._is_loading = self._is_first and size_bytes > max(_LOAD_MIN_BYTES, top * _LOAD_BYTES_PER_ROW)
        self._dropped: list[str] = []  # the statements of what is to be made again
        if self._is_loading:
            self._drop_indexes()
        self._names = {"client": client.name, "import_id": import_id, "top": top}
        self._insert = self._insert_statement(import_id, at)
        self._changed_by = f"import_id = {import_id}, updated_at = {_quoted(at)}"

    def apply(self, batch: Batch) -> None:
        """Apply the rows of a batch, keep the rejected ones for the report."""
        if batch.retracted:
            self._retract(batch.retracted)
        self._keep(batch.rejected)
        if self._is_first:
            self._create(batch.complete.rows())
            self._keep(batch.partial)
        else:
            self._merge(batch)

    def settle(self, table: Table) -> None:
        """Undo the rows that claim what another user has, and complete what is said of all rejected rows."""
        self._finish_loading()
        self._undo_claims()
        self._fill_in_cells(table)
        self._complete_problems()

    def tally(self, repeated: int, passed_over: int) -> Tally:
        """Return how many rows ended how; `passed_over`: so many more are users as they stand in the table."""
        failed = self._conn.execute("SELECT count(*) FROM temp.failed").fetchone()[0]
        return Tally(
            created=self._created,
            updated=self._updated,
            unchanged=self._unchanged + passed_over,
            failed=failed,
            repeated=repeated,
        )

    def notices(self) -> Iterator[Notice]:
        """Yield what only the table tells of rows that were applied."""
        if self._created and not self._is_first:
            rows, line = self._conn.execute(_OTHER_CASE, self._names).fetchone()
            if rows:
                yield Notice(code="id.recorded_case", detail="", field="unique_id", rows=rows, first_line=line)

    def listed(self) -> int:
        """Return how many of the rejected rows the failed CSV has room for."""
        return int(self._conn.execute("SELECT count(*) FROM temp.failed WHERE cells <> x''").fetchone()[0])

    def record_problems(self) -> tuple[ProblemGroup, ...]:
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
                f"INSERT INTO import_problems VALUES ({self._names['import_id']}, ?, ?, ?, ?)",
                (
                    (line, kinds[kind].code, kinds[kind].field, kinds[kind].detail)
                    for line, kind in itertools.islice(problems, MOST_PROBLEMS)
                ),
            )
        return tuple(sorted(groups, key=lambda group: (-group.rows, group.first_line))[:_GROUPS_TOLD])

    def _problems(self) -> Generator[tuple[int, int], None, None]:
        """Yield the line and the id of each problem, in file order."""
        query = "SELECT line, problems FROM temp.failed ORDER BY line"
        with contextlib.closing(self._conn.execute(query)) as rows:
            yield from ((line, kind) for line, ids in rows for kind in _ids(ids))

    def failed_lines(self) -> list[int]:
        """Return the lines of the rejected rows."""
        return [line for (line,) in self._conn.execute("SELECT line FROM temp.failed").fetchall()]

    @contextlib.contextmanager
    def failed_rows(self) -> Iterator[Iterator[FailedRow]]:
        """Give the rejected rows that the failed CSV has room for, in file order."""
        kinds = [*self._kinds]
        query = "SELECT line, cells, problems, precise FROM temp.failed WHERE cells <> x'' ORDER BY line"
        with contextlib.closing(self._conn.execute(query)) as rows:
            yield (
                FailedRow(line, msgspec.json.decode(cells, type=list[str]), _told(kinds, _ids(ids), precise))
                for line, cells, ids, precise in rows
            )

    # -- applying ------------------------------------------------------------------------------------------------

    def _insert_statement(self, import_id: int, at: str) -> str:
        """Return the INSERT that takes a User as it is: what is the same for all stands in the statement."""
        default = _quoted(self._client.login_source)
        value = f"nullif(?, {_CLEARED_SQL})" if self._client.clear_token else "?"
        values = {**dict.fromkeys(self._columns, value), "import_line": "?"}
        values["login_source"] = f"coalesce(?, {default})" if "login_source" in values else default
        values |= {"client": _quoted(self._client.name), "created_at": _quoted(at), "updated_at": _quoted(at)}
        values |= {"created_import": str(import_id), "import_id": str(import_id)}
        # FAIL in place of ABORT: as there are triggers, SQLite would keep what a statement has changed in order to undo
        # it, which costs 6 us for each user. Of a statement for one user nothing is left to undo.
        return f"INSERT OR FAIL INTO users ({', '.join(values)}) VALUES ({', '.join(values.values())})"

    def _create(self, users: list[User]) -> None:
        self._conn.executemany(self._insert, users)
        self._created += len(users)

    def _merge(self, batch: Batch) -> None:
        """Create, update or leave alone each user, as the table has it. A blank cell leaves the old value."""
        partial = {row.line: row for row in batch.partial}
        users = [*batch.complete.rows(), *(row.user for row in batch.partial if row.user)]
        known = self._known([user[self._id_at] for user in users])
        new: list[User] = []
        # By the columns that change: SQLite writes to each index of which a column is set, whatever to.
        changed: dict[tuple[str, ...], list[User]] = {}
        for user in users:
            standing = known.get(user[self._id_at])
            if standing is None:
                new.append(user)
                continue
            rowid, old = standing
            differs = [now is not None and now != was for now, was in zip(user, old, strict=False)]
            values = [None if now == CLEARED else now for now in itertools.compress(user, differs)]
            if any(differs) and values != list(itertools.compress(old, differs)):
                columns = tuple(itertools.compress(self._columns, differs))
                changed.setdefault(columns, []).append((*values, user[-1], rowid))
            else:
                self._unchanged += 1
        for columns, rows in changed.items():
            self._change(columns, rows)
        self._create([user for user in new if user[-1] not in partial])
        self._keep(partial[line] for user in new if isinstance(line := user[-1], int) and line in partial)

    def _change(self, columns: tuple[str, ...], rows: list[User]) -> None:
        """Give users, named by the rowid at the end of each row, new values in these columns."""
        is_rekeyed = not _TAKEN.keys().isdisjoint(columns)
        self._conn.executemany(
            f"INSERT INTO temp.before SELECT rowid, {is_rekeyed:d}, * FROM users WHERE rowid = ?",
            [(row[-1],) for row in rows],
        )
        values = ", ".join(f"{column} = ?" for column in columns)
        self._conn.executemany(
            f"UPDATE OR FAIL users SET {values}, import_line = ?, {self._changed_by} WHERE rowid = ?", rows
        )
        self._updated += len(rows)
        self._rekeyed += is_rekeyed * len(rows)

    def _known(self, unique_ids: list[str | int | None]) -> dict[str | int | None, tuple[int, User]]:
        """Return rowid and the values in the file's columns of those users that exist."""
        query = (
            f"SELECT rowid, {', '.join(self._columns)} FROM users "
            f"WHERE client = ? AND unique_id IN ({', '.join('?' * len(unique_ids))})"
        )
        rows = self._conn.execute(query, (self._client.name, *unique_ids)).fetchall()
        return {row[1 + self._id_at]: (row[0], row[1:]) for row in rows}

    def _drop_indexes(self) -> None:
        """Drop the indexes, and the trigger that only asks whether this is an import, which costs 0.25 us a row."""
        query = """SELECT type, name, sql FROM sqlite_master
            WHERE tbl_name = 'users' AND sql IS NOT NULL AND (type = 'index' OR name = 'users_inserted')"""
        for kind, name, statement in self._conn.execute(query).fetchall():
            self._conn.execute(f"DROP {kind} {_quoted(name)}")
            self._dropped.append(statement)

    def _finish_loading(self) -> None:
        if self._is_loading:
            for statement in self._dropped:
                self._conn.execute(statement)
            self._is_loading = False

    # -- rejected rows -------------------------------------------------------------------------------------------

    def _keep(self, rejected: Iterable[Rejected]) -> None:
        self._conn.executemany(
            "INSERT OR REPLACE INTO temp.failed VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    row.line,
                    *self._listed(row.cells, row.problems),
                    sum(1 << self._client.needed.index(name) for name in row.lacks),
                    *(self._of(row.user, column) for column in ("unique_id", "email_key", "user_name_key")),
                )
                for row in rejected
            ),
        )

    def _listed(self, cells: list[str], problems: Sequence[Problem]) -> tuple[bytes, str, str]:
        """Return `cells`, `problems` and `precise` of a rejected row: only the problems when there is no more room."""
        ids = msgspec.json.encode([self._kind(problem) for problem in problems]).decode()
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

    def _kind(self, problem: Problem) -> int:
        """Return the id of a problem; there are few, as no detail has anything of a row in it."""
        about = msgspec.structs.replace(problem, precise="") if problem.precise else problem
        return self._kinds.setdefault(about, len(self._kinds))

    def _of(self, user: User | None, column: str) -> str | int | None:
        return None if user is None or column not in self._columns else user[self._columns.index(column)]

    def _fill_in_cells(self, table: Table) -> None:
        """Read again the rows that were applied and then undone, as far as the failed CSV has room for them."""
        query = "SELECT line FROM temp.failed WHERE cells = x'' ORDER BY line LIMIT ?"
        with contextlib.closing(self._conn.execute(query, (self._rows_left,))) as lines:
            for stretch in table.reread(line for (line,) in lines):
                self._conn.executemany(
                    "UPDATE temp.failed SET cells = ? WHERE line = ?",
                    [(self._within(row.cells, _UNDONE_BYTES), row.line) for row in stretch.rows],
                )

    def _complete_problems(self) -> None:
        """Add to the rejected rows what only the table tells: what a new user lacks, what another user has."""
        for place, name in enumerate(self._client.needed):
            is_absent = self._checker.is_absent(name)
            # Without an id nobody knows whether the user is new: then only a blank cell is worth a word.
            self._add_problem(
                rules.required(name, absent=is_absent),
                f"""lacks & {1 << place} AND (unique_id IS NOT NULL OR NOT {is_absent}) AND NOT EXISTS (
                      SELECT 1 FROM users WHERE users.client = :client AND users.unique_id = failed.unique_id)""",
            )
        for key, problem in _TAKEN.items():
            self._add_problem(
                problem,
                f"""{key} IS NOT NULL AND EXISTS (
                      SELECT 1 FROM users WHERE users.client = :client AND users.{key} = failed.{key}
                      AND users.unique_id IS NOT failed.unique_id)""",
            )

    def _add_problem(self, problem: Problem, condition: str) -> None:
        """Add the problem to the rejected rows that fulfil the condition and do not have it yet."""
        added = self._kind(problem)
        alike = (
            str(id_) for each, id_ in self._kinds.items() if (each.code, each.field) == (problem.code, problem.field)
        )
        self._conn.execute(
            f"""UPDATE temp.failed SET problems = json_insert(problems, '$[#]', {added})
                WHERE {condition} AND NOT EXISTS (
                  SELECT 1 FROM json_each(problems) WHERE value IN ({", ".join(alike)}))""",
            self._names,
        )

    # -- settling ------------------------------------------------------------------------------------------------

    def _undo_claims(self) -> None:
        """
        Undo every row that claims an address or a user name which another user has as well.

        To a fixed point: a row undone has its old address again, which another row may have taken meanwhile.
        """
        many = (self._created + self._rekeyed) * _ROWS_PER_PROBE > self._names["top"] + self._created
        query = _SHARED_BY_SCAN if many else _SHARED_BY_PROBE
        while self._find_shared(query):
            self._conn.execute("DELETE FROM temp.undone")
            for key, problem in _TAKEN.items():
                claimants = _CLAIMANTS.format(key=key)
                self._conn.execute(
                    f"INSERT INTO temp.undone SELECT id, json_array(:kind) FROM ({claimants}) "
                    "WHERE true ON CONFLICT DO UPDATE SET problems = json_insert(problems, '$[#]', :kind)",
                    {**self._names, "kind": self._kind(problem)},
                )
            self._conn.execute(
                """INSERT INTO temp.failed
                   SELECT import_line, x'', problems, '', 0, unique_id, email_key, user_name_key
                   FROM temp.undone JOIN users ON users.rowid = undone.id"""
            )
            self._undo()
            query = _SHARED_AFTER_UNDO

    def _find_shared(self, query: str) -> bool:
        """Note the addresses and user names that more than one user has now; tell whether there are any."""
        self._conn.execute("DELETE FROM temp.shared")
        for key, index in KEY_INDEXES.items():
            values = query.format(key=key, index=index)
            self._conn.execute(f"INSERT OR IGNORE INTO temp.shared SELECT '{key}', value FROM ({values})", self._names)
        return bool(self._conn.execute("SELECT EXISTS (SELECT 1 FROM temp.shared)").fetchone()[0])

    def _retract(self, unique_ids: list[str]) -> None:
        """Take back the rows of these ids that were applied from earlier batches."""
        self._finish_loading()
        self._conn.execute("DELETE FROM temp.undone")
        self._conn.executemany(
            "INSERT INTO temp.undone SELECT rowid, '[]' FROM users WHERE client = ? AND unique_id = ?",
            [(self._client.name, unique_id) for unique_id in unique_ids],
        )
        standing = self._conn.execute("SELECT count(*) FROM temp.undone").fetchone()[0]
        self._unchanged -= standing - self._undo()

    def _undo(self) -> int:
        """Bring the users in `undone` back to what they were before this file; return how many it had changed."""
        deleted = self._conn.execute(
            "DELETE FROM users WHERE rowid > :top AND rowid IN (SELECT id FROM temp.undone)", self._names
        ).rowcount
        restored = self._conn.execute(
            f"""UPDATE users SET ({_RESTORED}) = (SELECT {_RESTORED} FROM temp.before WHERE before.id = users.rowid)
                WHERE rowid IN (SELECT id FROM temp.undone) AND import_id = :import_id""",
            self._names,
        ).rowcount
        self._created -= deleted
        self._updated -= restored
        return deleted + restored


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _told(kinds: list[Problem], ids: list[int], precise: str) -> list[Problem]:
    """Return the problems of a row as the failed CSV tells them."""
    texts = msgspec.json.decode(precise, type=list[str]) if precise else []
    texts += [""] * (len(ids) - len(texts))
    return [msgspec.structs.replace(kinds[kind], precise=text) for kind, text in zip(ids, texts, strict=True)]


def _ids(problems: str) -> list[int]:
    return msgspec.json.decode(problems, type=list[int])
