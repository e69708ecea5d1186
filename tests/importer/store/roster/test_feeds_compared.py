"""Snapshots by comparison with the last file, against looking at every line: the same users, the same answers."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest

from importer.rows import delta
from importer.settings import FeedSettings
from tests.engine import HEADER, Engine

pytestmark = pytest.mark.usefixtures("both_databases")

HISTORIES, FILES = 30, 8
_TABLES = (
    "SELECT unique_id, first_name, email, email_key, inactive_by, feeds, missed, import_id FROM users ORDER BY 1",
    "SELECT import_id, unique_id, kind, changes FROM user_changes ORDER BY 1, 2",
)


def row(number: int, dice: random.Random) -> str:
    """Return the row of a user, now and then one that fails, is spoiled, stands on two lines or is somebody else's."""
    first, email, unique_id = "Ann", f"s{number}@example.org", f"S{number:02}"
    match dice.randrange(60):
        case 0:
            email = "no address"
        case 1:
            email = f"s{number + 1}@example.org"
        case 2:
            first = f"Ann{dice.randrange(3)}"
        case 3:
            first = '"Ann\nBea"'
        case 4:
            unique_id = f'"{unique_id}"'
        case 5:
            return unique_id
        case 6:
            return f"{unique_id},OPSCOM,Bob,Roy,bob{number}@example.org,"
        case 7:
            first = "undefined"
    return f"{unique_id},OPSCOM,{first},Lee,{email},"


def file_of(dice: random.Random, feed: str) -> list[str]:
    """Return a file of a feed: most of its users, in about the same order."""
    numbers = list(range(0 if feed == "a" else 20, 50 if feed == "b" else 32))
    numbers = [number for number in numbers if dice.randrange(25)]
    if not dice.randrange(8):
        numbers = numbers[: len(numbers) // 2]
    if not dice.randrange(4):
        numbers.insert(0, numbers.pop())
    rows = [row(number, dice) for number in numbers]
    if not dice.randrange(10):
        rows.append(dice.choice(("Total: 30", ",OPSCOM,Ann,Lee,x@example.org,", rows[0])))
    header = HEADER if dice.randrange(9) else f"{HEADER},import_line"
    return [header, *rows] if header == HEADER else [header, *(f"{each},7" for each in rows[:3])]


def history(engine: Engine, seed: int) -> list[object]:
    """Import some files; return all that is seen of them, and of the users after each."""
    dice = random.Random(seed)  # noqa: S311 - a test
    names = dice.choice((("a",), ("a", "b"), ("a", "b")))
    engine.settings(
        feed=tuple(
            FeedSettings(
                name=name,
                files="*" if len(names) == 1 else f"{name}*",
                mode="snapshot" if name == "a" or dice.randrange(3) else "upsert",
                misses=dice.choice((1, 1, 2)),
            )
            for name in names
        )
    )
    seen: list[object] = []
    for _ in range(FILES):
        feed = dice.choice(names)
        result = engine.file(*file_of(dice, feed), name=f"{feed}{dice.randrange(2)}.csv")
        if not dice.randrange(6):
            engine.store.conn.execute(
                "UPDATE users SET inactive_by = 'operator', email_key = NULL WHERE unique_id = ?",
                (f"S{dice.randrange(20, 50)}",),
            )
        seen += [result.receipt.tally, result.receipt.warnings, result.codes]
        seen += [engine.store.conn.execute(query).fetchall() for query in _TABLES]
    return seen


@pytest.mark.sqlite
def test_nobody_can_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users, their feeds and misses, history and answers are those of a look at every line."""
    compared = 0
    marked = delta.Difference

    def noted(*parts: object) -> delta.Difference:
        nonlocal compared
        compared += 1
        return marked(*parts)  # type: ignore[arg-type]

    monkeypatch.setattr(delta, "Difference", noted)
    for seed in range(HISTORIES):
        seen = []
        for least in (0, 1 << 30):
            monkeypatch.setattr(delta, "MIN_BYTES", least)
            folder = tmp_path / f"{seed}-{least}"
            folder.mkdir()
            with contextlib.closing(Engine(folder)) as engine:
                seen.append(history(engine, seed))
        assert seen[0] == seen[1], seed
    assert compared > HISTORIES


def test_a_line_inside_a_record_is_nobodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whose line is inside a quoted cell now is missing, whether the file is compared or not."""
    rows = [f"S{number},OPSCOM,Ann,Lee,s{number}@example.org," for number in range(4)]
    seen = []
    for least in (0, 1 << 30):
        monkeypatch.setattr(delta, "MIN_BYTES", least)
        (tmp_path / str(least)).mkdir()
        with contextlib.closing(Engine(tmp_path / str(least))) as engine:
            engine.settings(feed=(FeedSettings(name="a", files="*", mode="snapshot"),))
            engine.rows(*rows)
            engine.rows(rows[0], '"X', *rows[1:3], 'y"', rows[3])
            seen.append(engine.store.conn.execute(_TABLES[0]).fetchall())
    assert seen[0] == seen[1]
    assert ["S1", "S2"] == [user[0] for user in seen[0] if user[4] == "snapshot"]


def test_a_user_whose_id_is_the_title_of_the_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The header of the last file, which differs from this one's rows, says nothing of a user with that id."""
    monkeypatch.setattr(delta, "MIN_BYTES", 0)
    with contextlib.closing(Engine(tmp_path)) as engine:
        engine.settings(required=(), login_source="OPSCOM", feed=(FeedSettings(name="a", files="*", mode="snapshot"),))
        for _ in range(2):
            result = engine.rows("S1,Ann", "unique_id,Bob", "S2,Cas", header='"unique_id",first_name')
        assert (3, 0) == (result.tally.unchanged, result.tally.deactivated)
