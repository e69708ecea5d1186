"""What a file changes of known users, counted from the images that the import keeps."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from importer.model import Change
from importer.settings import GuardSettings
from tests.engine import Engine, Result

pytestmark = pytest.mark.usefixtures("both_databases")

HEADER = "unique_id,login_source,first_name,last_name,email,user_name,date_of_birth,phone_cell"


def row(number: int, **values: str) -> str:
    user = {
        "unique_id": f"S{number:06}",
        "login_source": "OPSCOM",
        "first_name": f"First{number}",
        "last_name": f"Last{number}",
        "email": f"u{number}@example.org",
        "user_name": f"u{number}",
        "date_of_birth": f"{1980 + number % 30}-02-{number % 27 + 1:02}",
        "phone_cell": "613 555 0100",
        **values,
    }
    return ",".join(user.values())


def counts(result: Result) -> dict[str, tuple[int, int, int]]:
    """Return count, total and first line by kind of change."""
    return {
        f"{each.guard} {each.field}".strip(): (each.count, each.of, each.lines[0]) for each in result.receipt.changes
    }


def test_changes_are_counted_by_kind(engine: Engine) -> None:
    """From one value to another counts; other letters case, a first value, a cleared one and other columns do not."""
    engine.settings(clear_token="-", guard=GuardSettings())
    engine.rows(*map(row, range(10)), row(10, user_name=""), header=HEADER)
    result = engine.rows(
        row(0),
        row(1, phone_cell="1"),
        row(2, last_name="Roy"),  # one attribute
        row(3, last_name="Roy", email="roy@example.org"),  # married
        row(4, last_name="LAST4", email="U4@Example.org"),  # another case
        row(5, first_name="Last5", last_name="First5"),  # exchanged
        row(6, first_name="Eve", last_name="Kim", email="kim@example.org"),  # somebody else
        row(7, first_name="Eve", last_name="Kim", date_of_birth="1999-09-09"),  # somebody else
        row(8, user_name="-", date_of_birth=""),
        row(10, user_name="new"),
        row(11),
        header=HEADER,
    )
    assert {
        "identity": (4, 10, 5),
        "attribute first_name": (3, 10, 7),
        "attribute last_name": (5, 10, 4),
        "attribute email": (2, 10, 5),
        "attribute date_of_birth": (1, 10, 9),
        "reassigned": (2, 10, 8),
        "exchanged": (1, 10, 7),
    } == counts(result)
    assert {"changes.many": (4, (5, 7, 8, 9)), "id.reassigned": (2, (8, 9)), "name.exchanged": (1, (7,))} == {
        code: (each.rows, each.lines) for code, each in result.warnings.items() if code != "name.doubtful"
    }
    assert "Kim" not in result.text


def test_rows_that_are_undone_count_for_nothing(engine: Engine) -> None:
    """Whoever keeps his values as somebody else has the address does not change."""
    engine.settings(guard=GuardSettings())
    engine.rows(*map(row, range(6)), header=HEADER)
    taken = [row(n, last_name="Roy", email=f"u{n + 1}@example.org") for n in range(5)]
    result = engine.rows(*taken, row(5), header=HEADER)
    assert (5, {}) == (result.tally.failed, counts(result))
    swapped = engine.rows(row(0, email="u1@example.org"), row(1, email="u0@example.org"), header=HEADER)
    assert {"attribute email": (2, 2, 2)} == counts(swapped)


def test_new_users_are_counted_against_those_that_were_there(engine: Engine) -> None:
    """Of a client without users nothing counts; later all users of the client do, in the file or not."""
    engine.settings(guard=GuardSettings())
    assert () == engine.rows(*map(row, range(60)), header=HEADER).receipt.changes
    assert () == engine.rows(*map(row, range(100, 160)), header=HEADER).receipt.changes[1:]
    result = engine.rows(*map(row, range(200, 325)), header=HEADER)
    assert (Change(guard="created", count=125, of=120, lines=tuple(range(2, 22))),) == result.receipt.changes


@pytest.mark.parametrize("size", ["small", "worker"])
def test_all_paths_count_alike(tmp_path: Path, size: str) -> None:
    """A file compared with the last one, one examined whole and one of a worker process have the same counts."""
    users, padding = (8_000, "x" * 60) if size == "small" else (15_000, "x" * 250)
    chance = random.Random(7)  # noqa: S311 - not for secrets
    first = "\n".join((HEADER.replace("phone_cell", "street"), *(row(n, phone_cell=padding) for n in range(users)), ""))
    changed = chance.sample(range(users), 900)
    second = "\n".join(
        (
            HEADER.replace("phone_cell", "street"),
            *(
                row(
                    n,
                    phone_cell=padding,
                    **({"last_name": "Roy", "email": f"n{n}@example.org"} if n in changed else {}),
                )
                for n in range(users)
            ),
            "",
        )
    )
    found = []
    for name, keeps in (("delta", True), ("whole", False)):
        folder = tmp_path / name
        folder.mkdir()
        engine = Engine(folder, guard=GuardSettings(identity="1 %", identity_floor=1_000))
        engine.upload(first.encode())
        if not keeps:
            engine.store.conn.execute("DELETE FROM baselines")
        result = engine.upload(second.encode())
        engine.close()
        found.append((result.receipt.changes, msgspec.structs.astuple(result.tally)))
    assert 900 == found[0][0][0].count
    assert found[0] == found[1]
