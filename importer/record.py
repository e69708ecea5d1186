"""
The rows of one file to the table of users, inside the caller's transaction.

Rows are applied as they come; what only the state after the whole file can tell is settled at the end: addresses and
user names that two users would share. A row that turns out not to count is undone from its image in `before`.
The rejected rows of the file wait in `failed` until the report is written. All helpers are temporary tables, so that
memory stays the same for any number of rows.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from importer import rules
from importer.attributes import ATTRIBUTES
from importer.examine import Batch
from importer.model import Notice, Problem, ProblemGroup, Tally
from importer.settings import ClientSettings
from importer.store import KEY_INDEXES
from importer.table import Table
from importer.validate import CLEARED, KEYS, Checker, Rejected, User

# To look up the key of a changed row takes as long as to pass over so many rows of the index.
_ROWS_PER_PROBE: Final = 10
# A client's first file, when it is large beside the table, is loaded without indexes; they are made at the end.
_LOAD_MIN_BYTES: Final = 4 << 20
_LOAD_BYTES_PER_ROW: Final = 400
_GROUPS_TOLD: Final = 100
_CLEARED_SQL: Final = "char(0)"

_TEMPORARY_TABLES: Final = {
    "failed": """line INTEGER PRIMARY KEY, cells BLOB NOT NULL, problems TEXT NOT NULL, lacks TEXT NOT NULL,
                 unique_id TEXT, email_key TEXT, user_name_key TEXT""",
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
        conn: sqlite3.Connection,
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
        self._dropped: list[str] = []  # the statements of indexes that are to be made anew
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

    def record_problems(self) -> tuple[ProblemGroup, ...]:
        """Write the problems to import_problems; return them grouped, most rows first."""
        self._conn.execute(
            """INSERT INTO import_problems (import_id, line, code, field, detail)
               SELECT :import_id, failed.line, problem.value ->> 0, problem.value ->> 1, problem.value ->> 2
               FROM temp.failed, json_each(failed.problems) AS problem ORDER BY failed.line""",
            self._names,
        )
        rows = self._conn.execute(
            """SELECT code, field, detail, count(DISTINCT line), min(line) FROM import_problems
               WHERE import_id = :import_id GROUP BY code, field, detail
               ORDER BY count(DISTINCT line) DESC, min(line) LIMIT :groups""",
            {**self._names, "groups": _GROUPS_TOLD},
        ).fetchall()
        return tuple(
            ProblemGroup(code=code, field=field, detail=detail, rows=count, first_line=line)
            for code, field, detail, count, line in rows
        )

    def failed_lines(self) -> list[int]:
        """Return the lines of the rejected rows."""
        return [line for (line,) in self._conn.execute("SELECT line FROM temp.failed").fetchall()]

    @contextlib.contextmanager
    def failed_rows(self) -> Iterator[Iterator[FailedRow]]:
        """Give the rejected rows in file order."""
        query = "SELECT line, cells, problems FROM temp.failed ORDER BY line"
        with contextlib.closing(self._conn.execute(query)) as rows:
            yield (
                FailedRow(line, msgspec.json.decode(cells, type=list[str]), _decoded(problems))
                for line, cells, problems in rows
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
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'users' AND sql IS NOT NULL"
        for name, statement in self._conn.execute(query).fetchall():
            self._conn.execute(f"DROP INDEX {_quoted(name)}")
            self._dropped.append(statement)

    def _finish_loading(self) -> None:
        if self._is_loading:
            for statement in self._dropped:
                self._conn.execute(statement)
            self._is_loading = False

    # -- rejected rows -------------------------------------------------------------------------------------------

    def _keep(self, rejected: Iterable[Rejected]) -> None:
        self._conn.executemany(
            "INSERT OR REPLACE INTO temp.failed VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    row.line,
                    msgspec.json.encode(row.cells),
                    msgspec.json.encode([_fields(problem) for problem in row.problems]).decode(),
                    msgspec.json.encode(row.lacks).decode(),
                    *(self._of(row.user, column) for column in ("unique_id", "email_key", "user_name_key")),
                )
                for row in rejected
            ),
        )

    def _of(self, user: User | None, column: str) -> str | int | None:
        return None if user is None or column not in self._columns else user[self._columns.index(column)]

    def _fill_in_cells(self, table: Table) -> None:
        """Read again the rows that were applied and then undone."""
        query = "SELECT line FROM temp.failed WHERE cells = x'' ORDER BY line"
        with contextlib.closing(self._conn.execute(query)) as lines:
            for stretch in table.reread(line for (line,) in lines):
                self._conn.executemany(
                    "UPDATE temp.failed SET cells = ? WHERE line = ?",
                    [(msgspec.json.encode(row.cells), row.line) for row in stretch.rows],
                )

    def _complete_problems(self) -> None:
        """Add to the rejected rows what only the table tells: what a new user lacks, what another user has."""
        for name in self._client.required:
            is_absent = self._checker.is_absent(name)
            # Without an id nobody knows whether the user is new: then only a blank cell is worth a word.
            self._add_problem(
                rules.required(name, absent=is_absent),
                f"""EXISTS (SELECT 1 FROM json_each(lacks) WHERE value = {_quoted(name)})
                    AND (unique_id IS NOT NULL OR NOT {is_absent}) AND NOT EXISTS (
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
        self._conn.execute(
            f"""UPDATE temp.failed SET problems = json_insert(problems, '$[#]', json(:problem))
                WHERE {condition} AND NOT EXISTS (
                  SELECT 1 FROM json_each(problems) WHERE value ->> 0 = :code AND value ->> 1 = :field)""",
            {**self._names, "problem": _encoded(problem), "code": problem.code, "field": problem.field},
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
                    f"INSERT INTO temp.undone SELECT id, json_array(json(:problem)) FROM ({claimants}) "
                    "WHERE true ON CONFLICT DO UPDATE SET problems = json_insert(problems, '$[#]', json(:problem))",
                    {**self._names, "problem": _encoded(problem)},
                )
            self._conn.execute(
                """INSERT INTO temp.failed SELECT import_line, x'', problems, '[]', unique_id, email_key, user_name_key
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


def _fields(problem: Problem) -> tuple[str, str, str, str]:
    return (problem.code, problem.field, problem.detail, problem.precise)


def _encoded(problem: Problem) -> str:
    return msgspec.json.encode(_fields(problem)).decode()


def _decoded(problems: str) -> list[Problem]:
    return [Problem(*each) for each in msgspec.json.decode(problems, type=list[tuple[str, str, str, str]])]
