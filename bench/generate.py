"""
Makes files of users: all 24 attributes, some 240 bytes a row, ids in random order, the same for the same seed.

One row in ten has letters beyond ASCII, one in twenty a quoted cell. One in a hundred is bad, in one of the ways of
`_SPOILERS`; every row keeps its 24 fields, so that the peers can load the file as well. Alone it writes one file:
`python -m bench.generate ROWS FILE`.
"""

from __future__ import annotations

import itertools
import random
import sys
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from importer.attributes import ATTRIBUTES

COLUMNS: Final = tuple(ATTRIBUTES)
SEED: Final = 20261122
_LINES_A_WRITE: Final = 5_000
_MASK: Final = (1 << 64) - 1

_FIRST: Final = (
    *("Ann", "Bob", "Carla", "David", "Emma", "Frank", "Grace", "Henry", "Isla", "James", "Karen", "Liam", "Maria"),
    *("Noah", "Olivia", "Peter", "Quinn", "Rosa", "Samuel", "Tara", "Victor", "Wendy", "Xavier", "Yasmin", "Alexander"),
    *("Francis", "Chloe", "Zoé"),
)
_LAST: Final = (
    *("Smith", "Brown", "Tremblay", "Martin", "Roy", "Gagnon", "Lee", "Wilson", "Johnson", "MacDonald", "Taylor"),
    *("Campbell", "Anderson", "Jones", "Leblanc", "Williams", "Miller", "Thompson", "White", "Young", "Scott", "Clark"),
    *("Stewart", "Robinson", "Wright", "Morrison", "Fraser", "Singh", "Nguyen", "Patel", "Bouchard", "Cheng"),
    *("Côté", "Lévesque"),
)
_STREETS: Final = ("Main Street", "Queen Street West", "Rideau Lane", "King Edward Avenue", "Bank Street", "Elm Road")
_CITIES: Final = ("Ottawa", "Toronto", "Kingston", "Montreal", "Halifax", "Vancouver", "Calgary", "Winnipeg")
_PROVINCES: Final = ("ON", "ON", "ON", "QC", "NS", "BC", "AB", "MB")
_DOMAINS: Final = tuple(
    f"{name}.university.example.{end}" for name in ("mail", "students", "staff", "alumni") for end in ("org", "com")
)
_ASCII: Final = str.maketrans("éèçëôÉ", "eeceoE")

_Cells = list[str]


def _number(user: int, salt: int) -> int:
    """Return 64 bits that look random, the same for the same user (splitmix64)."""
    mixed = (user * 0x9E3779B97F4A7C15 + salt * 0xD1B54A32D192ED03) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)


def _user(user: int) -> _Cells:
    """Return the cells of a user, all of them right."""
    dice = _number(user, 1)
    first, last = _FIRST[dice % len(_FIRST)], _LAST[(dice >> 8) % len(_LAST)]
    place = (dice >> 16) & 7
    plain = f"{first[:6]}.{last}".lower().translate(_ASCII)
    second = (dice >> 20) & 3 == 0
    street = f"{(dice >> 24) % 4000} {_STREETS[(dice >> 36) % len(_STREETS)]}"
    return [
        f"S{user:07d}",
        "OPSCOM",
        first,
        last,
        f"{plain[:3]}{user}",
        f"{plain}{user}@{_DOMAINS[(dice >> 40) & 7]}",
        f'"{street}, Unit {place}"' if (dice >> 43) % 20 == 0 else street,
        _CITIES[place],
        _PROVINCES[place],
        f"K{place}A {(dice >> 30) & 7}B{(dice >> 33) & 7}",
        "Residence 4" if second else "",
        "Gatineau" if second else "",
        "QC" if second else "",
        "J8X 1A1" if second else "",
        f"613-555-{dice % 10_000:04d}",
        str(1 + (dice >> 12) % 9),
        f"E{user % 1_000_000:06d}",
        f"613-556-{(dice >> 5) % 10_000:04d}",
        f"819-557-{(dice >> 9) % 10_000:04d}",
        f"{300_000_000 + user}",
        f"L{(dice >> 7) % 10_000:04d}-{(dice >> 17) % 100_000:05d}-{(dice >> 27) % 100_000:05d}",
        _PROVINCES[place],
        f"{1960 + (dice >> 13) % 46}-{1 + (dice >> 19) % 12:02d}-{1 + (dice >> 23) % 28:02d}",
        str(1 + (dice >> 29) % 4),
    ]


def _put(column: str, text: str) -> Callable[[_Cells, _Cells], None]:
    index = COLUMNS.index(column)

    def spoil(cells: _Cells, _other: _Cells) -> None:
        cells[index] = text

    return spoil


def _take(column: str) -> Callable[[_Cells, _Cells], None]:
    index = COLUMNS.index(column)

    def spoil(cells: _Cells, other: _Cells) -> None:
        cells[index] = other[index]

    return spoil


def _repeat(cells: _Cells, other: _Cells) -> None:
    cells[:] = other


# How a row is spoilt; the second argument is another user of the same file.
_SPOILERS: Final = (
    _put("date_of_birth", "2001-02-30"),
    _put("date_of_birth", "23/05/2001"),
    _put("province", "Ontario"),
    _put("last_name", ""),
    _put("email", "nobody at example.org"),
    _put("email", "nobody@example"),
    _put("login_source", "UNKNOWN"),
    _put("phone_cell", "613-555-0199 extension 4711"),
    _put("student_no", "#REF!"),
    _put("user_type_id", "staff"),
    _take("email"),
    _take("user_name"),
    _take("unique_id"),
    _repeat,
)
_BAD_ONE_IN: Final = 100
_CHANGED_ONE_IN: Final = 10


def _cells(user: int, users: int, *, changed: bool) -> _Cells:
    cells = _user(user)
    dice = _number(user, 2)
    if dice % _BAD_ONE_IN == 0:
        _SPOILERS[(dice >> 8) % len(_SPOILERS)](cells, _user((user + 1 + (dice >> 16) % (users - 1)) % users))
    elif changed and (dice >> 32) % _CHANGED_ONE_IN == 0:
        cells[COLUMNS.index("phone_cell")] = f"343-555-{(dice >> 40) % 10_000:04d}"
        cells[COLUMNS.index("city")] = "Sudbury"
    return cells


def _lines(rows: int, *, changed: bool, first: int) -> Iterator[str]:
    yield ",".join(COLUMNS) + "\n"
    order = array("I", range(first, first + rows))
    random.Random(SEED).shuffle(order)  # noqa: S311 - the same order each time is the point
    for user in order:
        yield ",".join(_cells(user, first + rows, changed=changed)) + "\n"


def write_file(path: Path, rows: int, *, changed: bool = False, first: int = 0) -> None:
    """Write a file of the users from number `first` on; `changed`: a tenth of them have moved since."""
    lines = _lines(rows, changed=changed, first=first)
    with path.open("w", encoding="utf-8", newline="") as file:
        while block := "".join(itertools.islice(lines, _LINES_A_WRITE)):
            file.write(block)


if __name__ == "__main__":
    write_file(Path(sys.argv[2]), int(sys.argv[1]))
