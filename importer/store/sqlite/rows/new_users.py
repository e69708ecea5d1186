"""The users whom a file creates. A client's first large file is loaded without indexes, which are made at its end."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from importer.attributes import INACTIVE
from importer.rows.validate import User, Users
from importer.settings import ClientSettings
from importer.store.connection import Connection
from importer.store.roster.states import STATUS
from importer.store.sqlite.rows.merge import STATE

_LOAD_MIN_BYTES: Final = 4 << 20
_LOAD_BYTES_PER_ROW: Final = 400
# SQLite sorts as many keys at a time as fit into its page cache. Of 1 MiB, the least that it takes, they stay in the
# cache of the processor: the indexes of 1,000,000 users take a third less than with 16 MiB (measured).
_SORTED_KIB: Final = 1024
# A thread that sorts while another one reads the table: two thirds of the time by the clock, if a processor is free.
_SORTING_THREADS: Final = 1
_CLEARED_SQL: Final = "char(0)"


class NewUsers:
    """
    Inserts users, as `of_first_file` or, next to known ones, as `of_rows`.

    Binding NULL takes twice as long as binding a text, so that a first file, of which many cells may be blank, has ""
    bound, and columns that are blank so far left out: half the time where half of the columns are.
    """

    def __init__(
        self, conn: Connection, client: ClientSettings, columns: Sequence[str], same: Mapping[str, str]
    ) -> None:
        """`same`: values of columns that are the same for all."""
        self._conn = conn
        self._client = client
        self._columns = columns
        self._same = {name: quoted(value) for name, value in same.items()}
        self._statement = self._insert(columns, ())
        self._blank: set[int] = set()  # columns of a first file in which some row has nothing
        self._used: set[int] = set()  # those of them in which some row has something
        self._dropped: list[str] = []  # the statements of what is to be made again

    def of_rows(self, users: list[User]) -> None:
        """Insert users with None for what is blank."""
        self._conn.executemany(self._statement, users)

    def of_first_file(self, users: Users) -> None:
        """Insert users by columns with "" for what is blank."""
        if not users.lines:
            return
        columns, blank, used = users.columns, self._blank, self._used
        known = len(blank) + len(used)
        blank.update(at for at, column in enumerate(columns) if at not in blank and "" in column)
        used.update(at for at in blank - used if any(columns[at]))
        written = [at for at in range(len(columns)) if at in used or at not in blank]
        if known != len(blank) + len(used):
            names = [self._columns[at] for at in written]
            self._statement = self._insert(names, {self._columns[at] for at in blank})
        rows = zip(*(columns[at] for at in written), users.lines, strict=True)
        self._conn.executemany(self._statement, rows)

    def load(self, size_bytes: int, top: int) -> None:
        """
        Drop the indexes of all users if the file is large compared with the table, whose last rowid is `top`.

        And the trigger that only asks whether this is an import: it costs 0.25 us a row. An index of few users costs
        nothing meanwhile, and a look at each to make it.
        """
        if size_bytes <= max(_LOAD_MIN_BYTES, top * _LOAD_BYTES_PER_ROW):
            return
        query = """SELECT type, name, sql FROM sqlite_master WHERE tbl_name = 'users'
            AND (type = 'index' AND sql NOT LIKE '%WHERE%' OR name = 'users_inserted')"""
        for kind, name, statement in self._conn.execute(query).fetchall():
            self._conn.execute(f"DROP {kind} {quoted(name)}")
            self._dropped.append(statement)

    def finish_loading(self) -> None:
        """Make again what was dropped."""
        if not self._dropped:
            return
        (kept,) = self._conn.execute("PRAGMA cache_size").fetchone()
        self._conn.execute(f"PRAGMA cache_size = -{_SORTED_KIB}")
        self._conn.execute(f"PRAGMA threads = {_SORTING_THREADS}").fetchall()
        try:
            for statement in self._dropped:
                self._conn.execute(statement)
            self._dropped.clear()
        finally:
            self._conn.execute("PRAGMA threads = 0").fetchall()
            self._conn.execute(f"PRAGMA cache_size = {kept}")

    def _insert(self, columns: Sequence[str], blank: Collection[str]) -> str:
        """Return the INSERT of a row of these columns, and the line: of those in `blank` the value may be ''."""
        client = self._client
        default = quoted(client.login_source)
        values = {name: "nullif(?, '')" if name in blank else "?" for name in columns}
        if client.clear_token:
            values = {name: f"nullif({value}, {_CLEARED_SQL})" for name, value in values.items()}
        if STATE in values:
            values[STATE] = f"iif(? = '{INACTIVE}', '{STATUS}', NULL)"
        values["login_source"] = f"coalesce({values.get('login_source', 'NULL')}, {default})"
        values |= {"import_line": "?", **self._same}
        # FAIL in place of ABORT: as there are triggers, SQLite would keep what a statement has changed in order to undo
        # it, which costs 6 us for each user. Of a statement for one user nothing is left to undo.
        return f"INSERT OR FAIL INTO users ({', '.join(values)}) VALUES ({', '.join(values.values())})"


def quoted(text: str) -> str:
    """Return a text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"
