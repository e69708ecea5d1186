"""
What a file changes of known users, counted once all its rows are applied, before the commit.

From the images that the import keeps of users it changed (`sqlite/rows/conflicts`), so that it costs nothing where
nobody gets another name, address or birth date. Letters in another case are no other value.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from importer.attributes import ATTRIBUTES
from importer.model import NAMED_LINES, Change, FileWarning, Tally, message
from importer.roster import guards
from importer.roster.guards import PERSONAL
from importer.rows.values import days
from importer.settings import GuardSettings
from importer.store.connection import Connection
from importer.store.sqlite.rows.others import Others


class Kind(enum.StrEnum):
    """What becomes of a user by a file."""

    NEW = "new"
    CHANGED = "changed"
    DEACTIVATED = "deactivated"


class ChangedValue(msgspec.Struct, frozen=True):
    """
    One value of one user that a file gives; `old` is None for a new user, and for a value that was empty.

    Of a user who is deactivated, because no line has it or by its status, the field is "name".
    """

    line: int  # 0: none
    unique_id: str
    kind: Kind
    field: str
    old: str | None
    new: str | None


MOST_LINES: Final = 20  # of each kind of change

# SQLite compares letters of ASCII alone without regard to case; it is asked first, as that is fast.
_OTHER: Final = "ifnull(old.{0} <> now.{0} COLLATE NOCASE AND casefolded(old.{0}) <> casefolded(now.{0}), 0)"
_COLUMNS: Final = ", ".join(f"{_OTHER.format(name)} AS {name}" for name in PERSONAL)
_EXCHANGED: Final = """ifnull(old.first_name <> now.first_name COLLATE NOCASE AND old.last_name <> now.last_name
    COLLATE NOCASE AND casefolded(old.first_name) = casefolded(now.last_name)
    AND casefolded(old.last_name) = casefolded(now.first_name), 0)"""
_COUNTED: Final = f"""
    CREATE TEMP TABLE changed AS SELECT * FROM (
      SELECT now.import_line AS line, {_COLUMNS}, {_EXCHANGED} AS exchanged
      FROM temp.before AS old CROSS JOIN users AS now ON now.rowid = old.id WHERE now.import_id = :import_id)
    WHERE {" + ".join(PERSONAL)} > 0"""

# Kind of change, attribute, condition. Somebody who marries gets another last name and another address.
_KINDS: Final = (
    ("identity", "", f"{' + '.join(PERSONAL)} >= 2"),
    *(("attribute", name, name) for name in PERSONAL),
    ("reassigned", "", "first_name AND last_name AND (email OR date_of_birth) AND NOT exchanged"),
    ("exchanged", "", "exchanged"),
)


def changes_of(
    conn: Connection,
    scope: Mapping[str, str | int],
    tally: Tally,
    changed: Mapping[tuple[str, ...], int],
    settings: GuardSettings,
    others: Others | None,
) -> Iterator[Change]:
    """
    Yield what a file changes of its users; `changed`: the columns that rows have written, and how many rows.

    `others`: users who are not in the table. None: nobody was recorded before.
    """
    known = tally.updated + tally.reinstated + tally.unchanged
    if guards.may_matter(changed, known, settings):
        yield from _of_known_users(conn, scope, tally)
    if others and (tally.updated or tally.reinstated or tally.deactivated) and guards.limit_of("undone", settings):
        yield from _of_undone(conn, scope, others)
    # To count all users of the client takes some ms for 100,000: those in the file are known to be there.
    limit = guards.limit_of("created", settings)
    if limit and others and limit.is_share_exceeded(tally.created, known):
        yield _of_new_users(conn, scope, tally, others)


def _of_known_users(conn: Connection, scope: Mapping[str, str | int], tally: Tally) -> list[Change]:
    """Return what the import of this transaction changes of users who were recorded, by kind."""
    conn.execute("DROP TABLE IF EXISTS temp.changed")
    conn.execute(_COUNTED, scope)
    counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for _, _, condition in _KINDS)
    found = conn.execute(f"SELECT {counts} FROM temp.changed").fetchone()
    known = tally.updated + tally.reinstated + tally.unchanged
    return [
        Change(guard=guard, field=field, count=count, of=known, lines=_lines(conn, f"temp.changed WHERE {condition}"))
        for (guard, field, condition), count in zip(_KINDS, found, strict=True)
        if count
    ]


def _of_new_users(conn: Connection, scope: Mapping[str, str | int], tally: Tally, others: Others) -> Change:
    """Return how many users are new, of how many that were recorded."""
    (recorded,) = conn.execute("SELECT count(*) FROM users WHERE client = :client AND rowid <= :top", scope).fetchone()
    created = f"(SELECT import_line AS line FROM users WHERE rowid > {scope['top']:d})"
    return Change(guard="created", count=tally.created, of=recorded + others.recorded(), lines=_lines(conn, created))


UNDOS: Final = "SELECT id FROM imports WHERE client = :client AND kind = 'undo' ORDER BY id DESC LIMIT 20"
_BY_NAME: Final = " ".join(f"WHEN '{name}' THEN {{table}}.{name}" for name in (*ATTRIBUTES, "inactive_by"))
_AGAIN: Final = f"""
    SELECT now.import_line AS line FROM temp.before AS old CROSS JOIN users AS now ON now.rowid = old.id
    CROSS JOIN user_changes AS undone ON undone.import_id = {{undo}} AND undone.unique_id = now.unique_id
    CROSS JOIN json_each(undone.changes) AS value
    WHERE now.import_id = :import_id
      AND (CASE value.key {_BY_NAME.format(table="now")} END) IS json_extract(value.value, '$[0]')
      AND (CASE value.key {_BY_NAME.format(table="old")} END) IS json_extract(value.value, '$[1]')"""


def _of_undone(conn: Connection, scope: Mapping[str, str | int], others: Others) -> Iterator[Change]:
    """Yield how many values the import of this transaction gives again, of the undo of which they are the most."""
    found = []
    for (undo,) in conn.execute(UNDOS, scope).fetchall():
        again = _AGAIN.format(undo=undo)
        (count,) = conn.execute(f"SELECT count(*) FROM ({again})", scope).fetchone()
        if count:
            found.append((count, others.values_of(undo), again))
    if found:
        count, of, again = max(found, key=lambda each: each[0] / each[1])
        lines = conn.execute(f"SELECT DISTINCT line FROM ({again}) ORDER BY 1 LIMIT {MOST_LINES}", scope).fetchall()
        yield Change(guard="undone", count=count, of=of, lines=tuple(line for (line,) in lines))


def _lines(conn: Connection, source: str) -> tuple[int, ...]:
    rows = conn.execute(f"SELECT line FROM {source} ORDER BY line LIMIT {MOST_LINES}").fetchall()
    return tuple(line for (line,) in rows)


NAME: Final = "trim(ifnull(first_name, '') || ' ' || ifnull(last_name, ''))"
_OF_LAST: Final = "now.client = :client AND now.import_id = (SELECT max(id) FROM imports)"
_CHANGED_VALUES: Final = " UNION ALL ".join(
    (
        f"""SELECT import_line, unique_id, '{Kind.DEACTIVATED}', 'name', {NAME}, NULL
            FROM (SELECT now.* FROM temp.before AS old CROSS JOIN users AS now ON now.rowid = old.id
                  WHERE {_OF_LAST} AND old.inactive_by IS NULL AND now.inactive_by IS NOT NULL)""",
        *(
            f"""SELECT now.import_line, now.unique_id, iif(old.id IS NULL, '{Kind.NEW}', '{Kind.CHANGED}'), '{name}',
                  old.{name}, now.{name}
                FROM users AS now LEFT JOIN temp.before AS old ON old.id = now.rowid
                WHERE {_OF_LAST} AND old.{name} IS NOT now.{name}"""
            for name in ATTRIBUTES
        ),
    )
)


def changed_in(conn: Connection, client: str) -> Iterator[ChangedValue]:
    """Yield what the last import on this connection gave the users of a client, in the order of lines."""
    with contextlib.closing(conn.execute(f"{_CHANGED_VALUES} ORDER BY 1", {"client": client})) as rows:
        for line, unique_id, kind, field, old, new in rows:
            yield ChangedValue(line, unique_id, Kind(kind), field, old, new)


def of_common_days(others: Others, scope: Mapping[str, str | int], rows: int, same_day: int) -> FileWarning | None:
    """
    Return the warning that too many of the users that the import created or changed have the same day of birth.

    `rows`: how many these are; `same_day`: how many rows of the file have one day at most. An import that compares with
    an earlier file looks at no others.
    """
    if not days.is_common(same_day, rows):
        return None
    conn, born = others.days_of_birth()
    counts = f"SELECT day, count(*) FROM ({born}) AS born WHERE day IS NOT NULL GROUP BY day"
    common = days.common(dict(conn.execute(counts, scope).fetchall()), rows)
    if not common:
        return None
    named = {f"day{place}": day for place, day in enumerate(common)}
    having = f"SELECT line FROM ({born}) AS born WHERE day IN ({', '.join(f':{name}' for name in named)}) ORDER BY line"
    lines = [line for (line,) in conn.execute(having, {**scope, **named}).fetchall()]
    reason = message("value.placeholder/common_day", column="date_of_birth")
    return FileWarning(reason=reason, field="date_of_birth", rows=len(lines), lines=tuple(lines[:NAMED_LINES]))
