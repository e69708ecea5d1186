"""What statements say in SQLite's own way."""

from __future__ import annotations


class Dialect:
    """A part of a connection."""

    def seconds_between(self, earlier: str, later: str) -> str:
        """Return what counts the seconds between two columns with times, 0 for a clock that was set back."""
        return f"max(0, (julianday({later}) - julianday({earlier})) * 86400)"

    def in_json(self, column: str, *path: str | int) -> str:
        """Return what reads the text at a place of a column with JSON: `->>` is not in each SQLite that we support."""
        places = (f"[{place}]" if isinstance(place, int) else f".{place}" for place in path)
        return f"json_extract({column}, '${''.join(places)}')"

    def pair_in_json(self, first: str, second: str) -> str:
        """Return what writes two columns with texts as a list in JSON in a statement."""
        return f"json_array({first}, {second})"

    def same_client(self, _table: str, _client: str) -> str:
        """
        Return what is always true: in SQLite, which is never distributed by client, the id of the import tells it.

        A column would make the history larger, and `client` ambiguous in what others ask of it and `imports`.
        """
        return "1 = 1"

    def with_client(self, _client: str, columns: str) -> str:
        """Return the columns, or values, as they are: the table has no client."""
        return columns

    def in_its_order(self, table: str) -> str:
        """Return what reads a table by no index, of which each row would be a look-up of its own."""
        return f"{table} NOT INDEXED"
