"""Rows that claim an address or a user name of another user: what the client is told of all of them together."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from importer.attributes import ATTRIBUTES
from importer.characters import clean
from importer.model import NAMED_LINES, Message, ProblemGroup, message
from importer.store.connection import Connection

NAMES: Final = ("first_name", "last_name")
_FEWEST: Final = 3  # rows of which it can be said that all ids are new
_MOST: Final = 0.9  # of these rows claim what a recorded user has
_HALF: Final = 0.5  # of the rows of a file: the others may be new people
_KNOWN: Final = 9  # such rows for one whose id is known: with more of them, only some got new ids
_ALIKE: Final = 0.8  # of the rows looked at have the names of the user who has their address
_COMPARED: Final = 500  # rows
_PRECISE: Final = msgspec.json.Decoder(list[Message | None])


# Whether a failed row has the address or the user name of a recorded user.
CLAIMED: Final = """{key} IS NOT NULL AND EXISTS (
    SELECT 1 FROM users WHERE users.client = :client AND users.{key} = failed.{key}
    AND users.unique_id IS NOT failed.unique_id)"""
# Whether a failed row has the id of a recorded user but for leading zeros, which a spreadsheet drops; at most eight.
_PADDED: Final = ", ".join(f"'{'0' * zeros}' || failed.unique_id" for zeros in range(1, 9))
LOST_ZEROS: Final = f"""
    failed.unique_id NOT GLOB '*[^0-9]*' AND EXISTS (
      SELECT 1 FROM users AS theirs WHERE theirs.client = :client
      AND theirs.unique_id IN (ltrim(failed.unique_id, '0'), {_PADDED}))"""


class AllRows(msgspec.Struct, frozen=True):
    """What tells whether all ids of a file are new."""

    rows: int  # of the file
    known: int  # of them, applied to a user recorded before
    wrong_ids: int  # rows that have a problem with their unique_id as well
    client: str
    names_at: Mapping[str, int]  # in which columns the names are


class _Rows(msgspec.Struct):
    """Rows whose counterparts are in the same kind of place, and the first lines of both."""

    rows: int = 0
    lines: list[int] = []
    others: list[str] = []  # lines of the counterparts, as the messages have them

    def note(self, line: int, other: str) -> None:
        """Add a row."""
        self.rows += 1
        if self.rows <= NAMED_LINES:
            self.lines.append(line)
            self.others.append(other)


def split_by_place(conn: Connection, group: ProblemGroup, kind: int, key: str, all_rows: AllRows) -> list[ProblemGroup]:
    """
    Split a group of problems by where the counterparts are: in the file, recorded, or not looked up.

    `kind` is the id of the problem in temp.failed, `key` the column that makes the value unique. No reason has the
    value of a cell.
    """
    groups = _by_place(conn, group, kind)
    if _are_most(groups, group, all_rows) and _have_same_names(conn, key, all_rows):
        return [msgspec.structs.replace(group, reason=message(f"{group.code}/all_new"))]
    return groups


def _by_place(conn: Connection, group: ProblemGroup, kind: int) -> list[ProblemGroup]:
    places: dict[str, _Rows] = {}
    query = f"""SELECT line, problems, precise FROM temp.failed
                WHERE EXISTS (SELECT 1 FROM json_each(problems) WHERE value = {kind}) ORDER BY line"""
    with contextlib.closing(conn.execute(query)) as rows:
        for line, problems, precise in rows:
            reasons = _PRECISE.decode(precise) if precise else []
            place = msgspec.json.decode(problems, type=list[int]).index(kind)
            reason = reasons[place] if place < len(reasons) else None
            key, other = (reason.key.rstrip("!"), str(reason.params[0][1])) if reason else (group.reason.key, "")
            places.setdefault(key, _Rows()).note(line, other)
    return [
        ProblemGroup(field=group.field, reason=_reason(key, each), rows=each.rows, lines=tuple(each.lines))
        for key, each in places.items()
    ]


def _reason(key: str, each: _Rows) -> Message:
    if not key.endswith("/line"):
        return message(key)
    if each.rows > len(each.lines):
        return message(f"{key}_many", first=str(each.lines[0]), other=each.others[0])
    if len(set(each.others)) == 1:
        return message(key, line=each.others[0])
    sets = _sets(zip(each.lines, map(int, each.others), strict=True))
    return message(f"{key}s", lines="; ".join(", ".join(map(str, lines)) for lines in sets))


def _sets(pairs: zip[tuple[int, int]]) -> list[list[int]]:
    """Return the lines that belong together, in their order."""
    sets: list[set[int]] = []
    for pair in pairs:
        joined = {*pair}.union(*(each for each in sets if not each.isdisjoint(pair)))
        sets = [*(each for each in sets if each.isdisjoint(pair)), joined]
    return sorted(map(sorted, sets))


def _are_most(groups: Sequence[ProblemGroup], whole: ProblemGroup, all_rows: AllRows) -> bool:
    """Tell whether most rows of the file claim what users have who were recorded before, and hardly any id is known."""
    recorded = sum(each.rows for each in groups if each.reason.key.endswith("/recorded"))
    looked_up = sum(each.rows for each in groups if each.reason != whole.reason)
    if recorded < max(_FEWEST, _MOST * looked_up) or all_rows.known * _KNOWN > whole.rows:
        return False
    return whole.rows - all_rows.wrong_ids >= _HALF * all_rows.rows


def _have_same_names(conn: Connection, key: str, all_rows: AllRows) -> bool:
    """Tell whether rows have the names of the users who have their value of `key`."""
    columns = all_rows.names_at
    if not columns:
        return False
    query = f"""SELECT cells, {", ".join(f"users.{name}" for name in columns)} FROM temp.failed JOIN users
                ON users.client = ? AND users.{key} = failed.{key} AND users.unique_id IS NOT failed.unique_id
                WHERE cells <> x'' LIMIT {_COMPARED}"""
    rows = conn.execute(query, (all_rows.client,)).fetchall()
    alike = sum(_are_alike(msgspec.json.decode(cells, type=list[str]), columns, names) for cells, *names in rows)
    return alike >= _ALIKE * len(rows)


def _are_alike(cells: list[str], columns: Mapping[str, int], names: Sequence[str | None]) -> bool:
    written = (
        clean(ATTRIBUTES[name], cells[index]).value if index < len(cells) else "" for name, index in columns.items()
    )
    return all(ours.casefold() == (theirs or "").casefold() for ours, theirs in zip(written, names, strict=True))
