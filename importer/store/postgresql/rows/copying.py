"""COPY as text. Of users an empty value is NULL: none of their columns holds an empty text, nor NUL."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, cast

import psycopg
from psycopg.abc import PQGen

from importer.store.connection import Values
from importer.store.postgresql import connection
from importer.store.postgresql.connection import PostgresqlConnection, translating
from importer.store.postgresql.statements import for_psycopg

Row = Sequence[str]
_OF_USERS: Final = ("users", "work_users", "work_rows")
_AT_ONCE: Final = 500  # rows
_READ: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


def into(table: str, columns: Sequence[str]) -> str:
    """Return the statement that adds rows to a table; other tables than those of users take no NULL."""
    null = "''" if table in _OF_USERS else r"'\N'"
    return f"COPY {table} ({', '.join(columns)}) FROM STDIN WITH (NULL {null})"


@contextlib.contextmanager
def copying(conn: PostgresqlConnection, statement: str, values: Values = ()) -> Iterator[psycopg.Copy]:
    """Give what the statement copies with."""
    conn.flush()
    connection.begin(conn)
    with translating():
        cursor = cast("psycopg.ClientCursor[Any]", conn.raw.cursor())
        with cursor.copy(cast("Any", cursor.mogrify(cast("Any", for_psycopg(statement)), values))) as copy:
            yield copy


def copy_in(conn: PostgresqlConnection, table: str, columns: Sequence[str], blocks: Iterable[str | bytes]) -> None:
    """Add rows, in the form of `copy_lines.lines_of`, to a table."""
    with copying(conn, into(table, columns)) as copy:
        for block in blocks:
            copy.write(block)


def copy_out(conn: PostgresqlConnection, query: str, values: Values) -> Iterator[Row]:
    """Yield the rows of a query, as texts."""
    with copying(conn, f"COPY ({query}) TO STDOUT WITH (NULL '')", values) as copy:
        while lines := conn.raw.wait(_some(copy)):
            for line in lines:
                row = line.split("\t")
                yield row if "\\" not in line else [_ESCAPED.sub(_character, value) for value in row]


def _some(copy: psycopg.Copy) -> PQGen[list[str]]:
    """Read some rows, none at the end: to wait for each of them, most of which are here already, takes 5 us."""
    lines: list[str] = []
    while len(lines) < _AT_ONCE and (row := (yield from copy._read_gen())):  # noqa: SLF001 - what `read` waits for
        lines.append(str(row, "utf-8")[:-1])
    return lines


def _character(match: re.Match[str]) -> str:
    return _READ.get(match[1], match[1])
