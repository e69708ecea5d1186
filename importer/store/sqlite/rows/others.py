"""What is asked of users of the client who are not in the table that a file is recorded in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from importer.model import FileWarning, message
from importer.store.connection import Connection

# New users whose id, in capitals, in small letters or with one capital at its beginning, was recorded before.
_OTHER_CASE: Final = """
    SELECT count(*), min(import_line) FROM users AS mine
    WHERE {is_new} AND upper(unique_id) <> lower(unique_id) AND EXISTS (
      SELECT 1 FROM users AS theirs WHERE theirs.client = :client AND {was_there}
      AND theirs.unique_id IN (upper(mine.unique_id), lower(mine.unique_id),
                               upper(substr(mine.unique_id, 1, 1)) || lower(substr(mine.unique_id, 2))))"""

# The same but for leading zeros: a spreadsheet drops them. At most eight are compared.
_PADDED: Final = ", ".join(f"'{'0' * zeros}' || mine.unique_id" for zeros in range(1, 9))
_OTHER_ZEROS: Final = f"""
    SELECT count(*), min(import_line) FROM users AS mine
    WHERE {{is_new}} AND ltrim(unique_id, '0123456789') = '' AND EXISTS (
      SELECT 1 FROM users AS theirs WHERE theirs.client = :client AND {{was_there}}
      AND theirs.unique_id <> mine.unique_id AND theirs.unique_id IN (ltrim(mine.unique_id, '0'), {_PADDED}))"""
_OTHER_SPELLINGS: Final = {"id.recorded_case": _OTHER_CASE, "id.recorded_case/zeros": _OTHER_ZEROS}


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

    def other_spellings(self, scope: Mapping[str, str | int]) -> Iterator[FileWarning]:
        """Yield the warnings that new users have the id of a recorded one in another spelling."""
        yield from spelled_otherwise(self.conn, scope, is_new="rowid > :top", was_there="theirs.rowid <= :top")


def spelled_otherwise(
    conn: Connection, scope: Mapping[str, str | int], *, is_new: str, was_there: str
) -> Iterator[FileWarning]:
    """Yield these warnings; conditions say who of `users` is new, and who of `theirs` was there before."""
    for key, query in _OTHER_SPELLINGS.items():
        rows, line = conn.execute(query.format(is_new=is_new, was_there=was_there), scope).fetchone()
        if rows:
            yield FileWarning(reason=message(key), field="unique_id", rows=rows, lines=(line,))
