"""What statements say in PostgreSQL's own way, and the work tables that it has in its own way."""

from __future__ import annotations

from collections.abc import Sequence


class Dialect:
    """A part of a connection."""

    def seconds_between(self, earlier: str, later: str) -> str:
        """Return what counts the seconds between two columns with times, 0 for a clock that was set back."""
        return f"greatest(0, extract(epoch FROM CAST({later} AS TIMESTAMPTZ) - CAST({earlier} AS TIMESTAMPTZ)))"

    def in_json(self, column: str, *path: str | int) -> str:
        """Return what reads the text at a place of a column with JSON."""
        return f"(CAST({column} AS JSONB) #>> '{{{','.join(map(str, path))}}}')"

    def pair_in_json(self, first: str, second: str) -> str:
        """Return what writes two columns with texts as a list in JSON in a statement."""
        one, other = (f"coalesce(CAST(to_json({column}) AS TEXT), 'null')" for column in (first, second))
        return f"('[' || {one} || ',' || {other} || ']')"

    def same_client(self, table: str, client: str) -> str:
        """Return the condition that what imports left in a table is of a client, who is first in its key."""
        return f"{table}.client = {client}"

    def with_client(self, client: str, columns: str) -> str:
        """Return columns, or values, of a row that an import leaves there, with the client."""
        return f"{client}, {columns}"

    def make_work_table(self, name: str, columns: Sequence[str]) -> None:
        """Leave it to the migrations, which have made it: not all that speak PostgreSQL have temporary tables."""

    def in_its_order(self, table: str) -> str:
        """Return the table: PostgreSQL knows which way is faster, and has the users of all clients."""
        return table
