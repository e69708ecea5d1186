"""The feed for other systems: complete, ordered, repeatable; whoever follows it ends with the users there are."""

from __future__ import annotations

import contextlib
import random
import re
import sqlite3
from pathlib import Path
from typing import Final

import pytest

from importer.store import personal_data
from importer.store.queries import USER_COLUMNS
from importer.store.roster import changes, deactivation, ids
from importer.store.roster.undo import undo
from tests import REPOSITORY
from tests.engine import CLIENT, Engine
from tests.tables import tables_of

pytestmark = pytest.mark.usefixtures("both_databases")

Key = tuple[str, str]
ROW: Final = "S{0},OPSCOM,{1},Lee,{0}{1}@example.org,n{0}{1}"


class Crashed(Exception):
    """The consumer was killed."""


class Consumer:
    """Another system's copy of the users; it stores what it has taken in, with its cursor, every few lines."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._stored: tuple[int, dict[Key, object]] = (0, {})

    def follow(self, engine: Engine) -> dict[Key, object]:
        """Read until there is nothing new, through any number of crashes; return the copy."""
        while True:
            try:
                self._read(engine)
            except Crashed:
                continue
            return self._stored[1]

    def _read(self, engine: Engine) -> None:
        cursor, users = self._stored[0], dict(self._stored[1])
        step, taken, last = self._dice.choice((1, 2, 5, 1000)), 0, cursor
        newest = changes.newest(engine.store.conn)
        for line in changes.since(engine.store.conn, cursor, None):
            assert line.import_id >= last
            if line.import_id > last and taken >= step:
                self._stored, taken = (last, dict(users)), 0
            last, taken = line.import_id, taken + 1
            if self._dice.random() < 0.1:
                raise Crashed
            key = (line.client, line.unique_id)
            if line.user is None:
                users.pop(key, None)
            else:
                users[key] = line.user
        self._stored = newest, users


def recorded(engine: Engine) -> dict[Key, object]:
    columns = ", ".join(USER_COLUMNS)
    rows = tables_of(engine.store).query(f"SELECT {columns} FROM users")  # noqa: S608
    return {(row["client"], row["unique_id"]): row for row in rows}


def happen(engine: Engine, dice: random.Random) -> None:
    """Let an import, or something that the operator does, change a few users."""
    known = [unique_id for _, unique_id in recorded(engine)]
    event = dice.randrange(7) if known else 0
    if event <= 1:
        engine.rows(*(ROW.format(number, dice.choice("abc")) for number in dice.sample(range(9), 3)))
    elif event == 2:
        personal_data.erase(engine.store, CLIENT, dice.choice(known))
    elif event == 3:
        deactivation.deactivate(engine.store, CLIENT, [dice.choice(known)])
    elif event == 4:
        chosen = dice.sample(known, min(len(known), 2))
        ids.rekey(engine.store, CLIENT, zip(chosen, reversed(chosen), strict=True), is_applied=True)
    elif event == 5 and (free := sorted({f"S{number}" for number in range(9)} - {*known})):
        ids.rekey(engine.store, CLIENT, [(dice.choice(known), dice.choice(free))], is_applied=True)
    elif engine.store.conn.execute("SELECT kind FROM imports ORDER BY id DESC").fetchone()[0] != "erase":
        undo(engine.store, changes.newest(engine.store.conn), is_applied=True)


@pytest.mark.parametrize("seed", range(8))
def test_who_follows_ends_with_the_users(engine: Engine, seed: int) -> None:
    """Consumers that read in steps of any size, each at times of its own, and crash anywhere, have the same users."""
    dice = random.Random(seed)  # noqa: S311 - dice
    consumers = [Consumer(dice) for _ in range(3)]
    for _ in range(12):
        happen(engine, dice)
        consumer = dice.choice(consumers)
        assert recorded(engine) == consumer.follow(engine)
    assert [recorded(engine)] * 3 == [consumer.follow(engine) for consumer in consumers]


def test_kinds_and_order(engine: Engine) -> None:
    """A user stands once, by the import that changed it last, with all that happened since; the erased by id alone."""
    engine.rows(*(ROW.format(number, "a") for number in range(4)))
    engine.rows(ROW.format(1, "b"), ROW.format(2, "b"), ROW.format(5, "a"))
    engine.rows(ROW.format(1, "c"))
    personal_data.erase(engine.store, CLIENT, "S2")
    ids.rekey(engine.store, CLIENT, [("S3", "N3")], is_applied=True)
    told = [(each.import_id, each.unique_id, each.kinds) for each in changes.since(engine.store.conn, 1, CLIENT)]
    assert [
        (2, "S5", ("created",)),
        (3, "S1", ("updated",)),
        (4, "S2", ("erased",)),
        (5, "N3", ("rekeyed",)),
        (5, "S3", ("rekeyed",)),
    ] == told
    assert [None, None] == [each.user for each in changes.since(engine.store.conn, 1, None) if not each.user]
    assert [] == [*changes.since(engine.store.conn, 5, None)]
    assert [] == [*changes.since(engine.store.conn, 0, "another")]


@pytest.mark.parametrize("cursor", [1, 9])
def test_a_cursor_from_which_nobody_can_go_on(engine: Engine, cursor: int) -> None:
    """One before what the history has, and one of another database, are refused; 0 always has an answer."""
    for letter in "abcd":
        engine.rows(ROW.format(1, letter))
    engine.store.conn.execute("UPDATE retention SET history_from = 3")
    with pytest.raises(changes.CursorUnusable):
        next(changes.since(engine.store.conn, cursor, None))
    assert [1, 1] == [len([*changes.since(engine.store.conn, usable, None)]) for usable in (0, 2)]


@pytest.mark.sqlite
def test_the_sql_of_the_document(engine: Engine, tmp_path: Path) -> None:
    """The statements that the document shows take over what was created, changed, erased and given another id."""
    page = (REPOSITORY / "docs" / "history.md").read_text()
    (script,) = re.findall(r"^```sql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    with contextlib.closing(sqlite3.connect(f"file:{tmp_path / 'copy.db'}", uri=True, isolation_level=None)) as copy:
        copy.execute("CREATE TABLE users (client, unique_id, email, inactive_by, PRIMARY KEY (client, unique_id))")
        copy.executescript("CREATE TABLE cursor (at); INSERT INTO cursor VALUES (0)")
        dice = random.Random(3)  # noqa: S311 - dice
        for _ in range(15):
            happen(engine, dice)
            copy.executescript(script.replace("/var/lib/rosterd", str(tmp_path)))
            copy.execute("DETACH rosterd")
            query = "SELECT client, unique_id, email, inactive_by FROM users ORDER BY 1, 2"
            assert engine.store.conn.execute(query).fetchall() == copy.execute(query).fetchall()
