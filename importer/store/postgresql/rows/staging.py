"""What is put on the server for the time of one import, and what is fetched by it: in a few statements for any file."""

from __future__ import annotations

import contextlib
import itertools
import operator
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from importer.roster.guards import PERSONAL
from importer.rows.batches import Examination
from importer.rows.validate import KEYS
from importer.settings import FeedSettings
from importer.store.postgresql.connection import PostgresqlConnection
from importer.store.postgresql.rows.copying import Row, copy_in, copy_out
from importer.store.postgresql.rows.waiting import Waiting, hash_of
from importer.store.postgresql.rows.working_copy import add, complete, lines
from importer.store.roster.feeds import word_of
from importer.store.sqlite.connection import SqliteConnection

_IDS: Final = ("unique_id", *KEYS.values())
_COLUMNS: Final = ("client", "import_id", *_IDS)
_MOST_KNOWN: Final = 1 << 18  # rows whose keys are compared here: 20 MiB
STAGED: Final = "work_rows WHERE work_rows.client = :client AND work_rows.import_id = :import_id"
IS_STAGED: Final = f"unique_id IN (SELECT unique_id FROM {STAGED} AND unique_id IS NOT NULL)"
# Who has the value of another row, or of one without id.
HOLDERS: Final = " UNION ALL ".join(
    f"""SELECT users.* FROM work_rows AS staged JOIN users ON users.client = :client AND users.{key} = staged.{key}
          AND users.unique_id IS NOT staged.unique_id
        WHERE staged.client = :client AND staged.import_id = :import_id"""
    for key in KEYS.values()
)
_NEEDED: Final = ("login_source", "first_name", "last_name", *KEYS, *KEYS.values(), *PERSONAL)
_PLAIN: Final = ("updated_at", "import_id", "import_line", "inactive_by", "feeds", "missed")
# What the working copy has to have, and nothing asks.
_CONSTANTS: Final = {"created_at": "'-'", "created_import": "0"}


class File(msgspec.Struct, frozen=True):
    """What is recorded."""

    examination: Examination
    feed: FeedSettings
    import_id: int

    @property
    def named(self) -> dict[str, str | int]:
        """Return what statements name."""
        named: dict[str, str | int] = {"client": self.examination.terms.client.name, "import_id": self.import_id}
        return {**named, "feed": word_of(self.feed)}

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of users that the file may change, or by which it is decided what it changes."""
        columns = dict.fromkeys((*self.examination.checker.columns, *_NEEDED, *_PLAIN, "unique_id"))
        return tuple(columns)

    @property
    def keeps_feeds(self) -> bool:
        """Tell whether it is known of each user which feeds state it."""
        return self.examination.terms.client.keeps_feeds

    @property
    def is_snapshot(self) -> bool:
        """Tell whether users may be missing from it."""
        return self.feed.is_snapshot and not self.examination.table.header.is_failed_csv


class Staging:
    """The rows of one file on the server, and what goes between that and the working copy."""

    def __init__(self, conn: PostgresqlConnection, copy: SqliteConnection, file: File) -> None:
        self.conn = conn
        self._copy = copy
        self.file = file
        self.named: Final = file.named

    def stage(self, waiting: Waiting) -> bool:
        """Put ids and keys on the server; tell whether there were any."""
        if not waiting.ids.count:
            return False
        copy_in(self.conn, "work_rows", _COLUMNS, itertools.chain(waiting.ids.taken(), waiting.keys.taken()))
        return True

    def stage_ids(self, waiting: Waiting) -> None:
        """Put ids on the server, without keys."""
        if waiting.ids.count:
            copy_in(self.conn, "work_rows", _COLUMNS, waiting.ids.taken())

    def stage_keys(self, waiting: Waiting, known: Collection[int]) -> bool:
        """Put keys on the server, but for those that are `known` to be the user's own; tell whether there were any."""
        blocks = filter(None, waiting.keys.taken(known))
        if (first := next(blocks, None)) is None:
            return False
        copy_in(self.conn, "work_rows", _COLUMNS, itertools.chain((first,), blocks))
        return True

    def forget(self) -> None:
        """Remove all of that."""
        self.conn.execute_later(f"DELETE FROM {STAGED}", self.named)

    def fetch(self, source: str) -> Collection[int]:
        """
        Add users to the working copy, but for those that are in it; `source`: which, as SQL.

        Return what keys they have, by `hash_of` them and the id, of as many as there is room for.
        """
        columns = self.file.columns
        selected = ", ".join((*(f"users.{column}" for column in (*columns, "client")), *_CONSTANTS.values()))
        rows = copy_out(self.conn, f"SELECT {selected} FROM {source}", self.named)
        known: set[int] = set()
        add(self._copy, "users", (*columns, "client", *_CONSTANTS), _noting(rows, columns, known))
        return known

    def complete(self) -> None:
        """Complete the working copy, once all users are there."""
        complete(self._copy)

    def hand_over(
        self, table: str, columns: Sequence[str], source: str, values: Mapping[str, str] = MappingProxyType({})
    ) -> bool:
        """Copy a part of the working copy into a table; tell whether there was any. `values` of columns it lacks."""
        blocks = lines(self._copy, [values.get(column, column) for column in columns], source, self.named)
        with contextlib.closing(blocks):
            if (first := next(blocks, None)) is None:
                return False
            copy_in(self.conn, table, columns, itertools.chain((first,), blocks))
        return True


def _noting(rows: Iterable[Row], columns: Sequence[str], known: set[int]) -> Iterator[Row]:
    values = operator.itemgetter(*map(columns.index, _IDS))
    for row in rows:
        if len(known) < _MOST_KNOWN:
            known.add(hash_of(values(row)))
        yield row
