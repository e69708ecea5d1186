"""What is asked of users of the client who are not in the table that a file is recorded in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from importer.model import FileWarning, message
from importer.store.connection import Connection

# New users with letters in their ids, in other capitals or with other zeros at the beginning than recorded ones. All of
# these are gone through once, and each is looked up among the few new ones.
_WITH_LETTERS: Final = """
    WITH mine AS MATERIALIZED (SELECT ltrim(lower(unique_id), '0') AS folded, lower(unique_id) AS small, import_line
                               FROM users WHERE {is_new} AND ltrim(unique_id, '0123456789') <> ''),
      pairs AS (SELECT mine.import_line, CASE WHEN lower(theirs.unique_id) = small THEN 'id.recorded_case'
                                    ELSE 'id.recorded_case/zeros' END AS kind
                FROM users AS theirs CROSS JOIN mine
                WHERE theirs.client = :client AND {was_there} AND folded = ltrim(lower(theirs.unique_id), '0')
                AND EXISTS (SELECT 1 FROM mine AS any_of_them))
    SELECT kind, count(DISTINCT import_line), min(import_line) FROM pairs GROUP BY kind"""

# The same of ids that are digits: a spreadsheet drops zeros, a program adds some. Up to eight zeros are compared, by
# the index of ids.
_PADDED: Final = ", ".join(f"'{'0' * zeros}' || ltrim(mine.unique_id, '0')" for zeros in range(9))
_OF_DIGITS: Final = f"""
    SELECT 'id.recorded_case/zeros', count(*), min(import_line) FROM users AS mine
    WHERE {{is_new}} AND ltrim(unique_id, '0123456789') = '' AND EXISTS (
      SELECT 1 FROM users AS theirs WHERE theirs.client = :client AND {{was_there}}
      AND theirs.unique_id <> mine.unique_id AND theirs.unique_id IN ({_PADDED}))"""


_DAYS_OF_BIRTH: Final = """
    SELECT date_of_birth AS day, import_line AS line FROM users WHERE rowid > :top
    UNION ALL
    SELECT users.date_of_birth, users.import_line FROM temp.before CROSS JOIN users ON users.rowid = before.id
    WHERE users.import_id = :import_id"""


class Others:
    """Nobody: all users of the client are in the table, which is in this database."""

    exist = False

    def __init__(self, conn: Connection) -> None:
        self.conn = conn

    def recorded(self) -> int:
        """Return how many there are."""
        return 0

    def active(self) -> int:
        """Return how many of them are active, and in the feed of the file if the feeds of users are kept."""
        return 0

    def values_of(self, undo: int) -> int:
        """Return how many values an undo has changed, of all users."""
        query = "SELECT count(*) FROM user_changes, json_each(changes) WHERE import_id = ?"
        return int(self.conn.execute(query, (undo,)).fetchone()[0])

    def days_of_birth(self) -> tuple[Connection, str]:
        """Return where to ask for `day` and `line` of users whom the import has created or changed, and what."""
        return self.conn, _DAYS_OF_BIRTH

    def other_spellings(self, scope: Mapping[str, str | int]) -> Iterator[FileWarning]:
        """Yield the warnings that new users have the id of a recorded one in another spelling."""
        yield from spelled_otherwise(self.conn, scope, is_new="rowid > :top", was_there="theirs.rowid <= :top")


def spelled_otherwise(
    conn: Connection, scope: Mapping[str, str | int], *, is_new: str, was_there: str
) -> Iterator[FileWarning]:
    """Yield these warnings; conditions say who of `users` is new, and who of `theirs` was there before."""
    found: dict[str, list[tuple[int, int]]] = {}
    for query in (_WITH_LETTERS, _OF_DIGITS):
        for kind, rows, line in conn.execute(query.format(is_new=is_new, was_there=was_there), scope).fetchall():
            if rows:
                found.setdefault(kind, []).append((rows, line))
    for kind, counts in sorted(found.items()):
        rows, lines = zip(*counts, strict=True)
        yield FileWarning(reason=message(kind), field="unique_id", rows=sum(rows), lines=(min(lines),))
