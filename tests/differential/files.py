"""Users files as real ones are, few values in them, so that they meet again; and what can happen to such a file."""

from __future__ import annotations

import codecs
import copy
import dataclasses
import io
import random
from collections.abc import Callable

UNIQUE_ID = "unique_id"
_THEIR_ID = "Student ID"  # which the settings may map
STATUS = "Enrolment"  # which the settings may know
_USUAL_IDS = ("S1", "s1", "S2", "S3", "S4", "S5", "S6", "T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9")
_IDS = (
    *_USUAL_IDS,
    *(
        "s2",
        "'=S4",
        "=S4",
        "S5 ",
        " S5",
        "\u200bS6",
        "é7",
        "É7",
        "e\u03017",
        "\u017f1",
        "\u212a1",
        "k1",
        "ß1",
        "ss1",
        "SS1",
    ),
    *(
        "İ1",
        "i\u03071",
        "NULL",
        "1.2E+05",
        "#N/A",
        "",
        "S 8",
        "S  8",
        'S"9',
        "0012",
        "12",
        "-1",
        "+1",
        "@x",
        "ﬁ1",
        "fi1",
    ),
    *("Ω1", "\u21261", UNIQUE_ID, _THEIR_ID),
)
_NAMES = (
    *("Ann", "Bob", "Zoé", "Zoe\u0301", "", "", "RenÃ©", "N/A", "-", "1.2E+05", "=1+1", "'=1+1", "x" * 60, "a\ufffdb"),
    *("Ann ", "  Bob", "~", "o'Hara", "'s-G", "a,b", 'q"q', "a\nb", "~~"),
)
_PLACES = ("ON", "on", "QC", "Ontario", "XX", "", "", "~", "NU")
_VALUES: dict[str, tuple[str, ...]] = {
    UNIQUE_ID: _IDS,
    _THEIR_ID: _IDS,
    "login_source": (*["OPSCOM"] * 20, "LDAP", "", "BAD", "opscom"),
    "first_name": (*_NAMES[:3] * 30, *_NAMES),
    "last_name": (*_NAMES[:3] * 30, *_NAMES),
    "email": (
        *[f"a{number}@x.ca" for number in range(9)] * 10,
        *(
            "A1@x.ca",
            "é@x.ca",
            "É@x.ca",
            "ß@x.ca",
            "ss@x.ca",
            "bad",
            "",
            "",
            "<a1@x.ca>",
            "\u0131@x.ca",
            "I@x.ca",
            "i@x.ca",
        ),
    ),
    "user_name": (
        *("u1", "U1", "u2", "u3", "u4", "u5", "u6", "u7", "u8", "ﬁ", "fi", "", "", "ß", "ss", "Straße", "STRASSE", "İ"),
        "i\u0307",
    ),
    "province": _PLACES,
    "state": _PLACES,
    "date_of_birth": ("2001-05-23", "1999-12-31", "", "", "2001-02-30", "23/05/2001", "36000", "~"),
    "user_type_id": ("1", "2", "", "9", "x", "~"),
    "street": _NAMES,
    "postal_code": ("K1A", "0012", "", "~"),
    "zip": ("K1A", "K1B", ""),
    "Grade": ("1", "2", "", "x"),
    STATUS: ("A", "a ", "I", "LEFT", "left", "On\u00a0leave", "", "x", "~"),
    "apiToken": ("t", "", "u"),
    "import_line": ("3", ""),
    "import_reason": ("why", ""),
    "": ("", "", " ", "z"),
}
_USUAL_VALUES: dict[str, tuple[str, ...]] = {
    "login_source": ("OPSCOM",),
    "first_name": ("Ann", "Bob", "Zoé"),
    "last_name": ("Smith", "Roy"),
    "province": ("ON", "on", ""),
    "state": ("ON",),
    "date_of_birth": ("", "2001-05-23"),
    "user_type_id": ("", "1"),
    "street": ("", "1 Main"),
    "postal_code": ("K1A",),
    "zip": ("K1A",),
    "Grade": ("1",),
    STATUS: ("A", "A", "I", ""),
}
_USUAL = ("login_source", "first_name", "last_name", "email")
_LINE_ENDS = ("\n", "\n", "\n", "\r\n")


@dataclasses.dataclass
class UsersFile:
    """A file in lines with their ends; a cell may go on in the next one."""

    columns: list[str]
    delimiter: str
    mark: bool  # a byte order mark at the front
    above: list[str]  # a "sep=" line, blank ones
    header: str
    lines: list[str]
    tail: str = ""  # what follows the last line

    def encoded(self, encoding: str) -> bytes:
        """Return its bytes."""
        text = "".join([*self.above, self.header, *self.lines]) + self.tail
        return codecs.BOM_UTF8 * (self.mark and encoding == "utf-8") + text.encode(encoding, "replace")


class Author:
    """Writes files and changes them, as the dice fall. Each author knows some of the changes, and makes them often."""

    def __init__(self, dice: random.Random, *, is_bare: bool) -> None:
        """`is_bare`: the files hold ids and little else."""
        self._dice = dice
        self._is_bare = is_bare
        known = dice.sample([*_CHANGES], dice.choice((1, 2, 3, 6, len(_CHANGES))))
        self._changes = {change: _CHANGES[change] for change in known}

    def new(self) -> UsersFile:
        """Return a new file."""
        dice = self._dice
        columns = [UNIQUE_ID if self._happens(0.95) else _THEIR_ID]
        if self._is_bare:
            rest = ["first_name"]
        else:
            rest = [name for name in _USUAL if self._happens(0.97)]
            others = [name for name in _VALUES if name not in (UNIQUE_ID, _THEIR_ID, *_USUAL)]
            rest += [name for name in others if self._happens(0.4 if name == STATUS else 0.1)]
        if self._happens(0.3):
            dice.shuffle(rest)
        columns += rest
        if self._happens(0.04):
            dice.shuffle(columns)
        file = UsersFile(columns, dice.choice(",,,,;\t|"), self._happens(0.1), [], "", [])
        self._head_anew(file)
        for unique_id in dice.sample(_USUAL_IDS, dice.choice((0, 1, 3, 8, 12, 16, 16, 16))):
            file.lines += self._lines(file, unique_id if self._happens(0.9) else None)
        return file

    def changed(self, file: UsersFile) -> UsersFile:
        """Return the file of the next night."""
        file = copy.deepcopy(file)
        count = self._dice.choice((0, 1, 1, 1, 2, 2, 3, 5))
        for change in self._dice.choices([*self._changes], [*self._changes.values()], k=count):
            change(self, file)
        return file

    def _happens(self, probability: float) -> bool:
        return self._dice.random() < probability

    # -- rows

    def _lines(self, file: UsersFile, unique_id: str | None = None) -> list[str]:
        """Return a row as lines."""
        dice = self._dice
        if unique_id is None:
            unique_id = dice.choice(_USUAL_IDS if self._happens(0.8) else _IDS)
        is_usual = self._happens(0.8)
        cells = [self._cell(name, unique_id, is_usual=is_usual) for name in file.columns]
        if self._happens(0.015 if is_usual else 0.06):
            cells = dice.choice(([*cells, "surplus"], cells[:-1], [*cells, "", ""]))
        share = dice.choice((0, 0, 0, 0, 0.2, 1))
        text = file.delimiter.join(self._quoted(cell, file.delimiter, share) for cell in cells)
        return _split(text + dice.choice(_LINE_ENDS))

    def _cell(self, name: str, unique_id: str, *, is_usual: bool) -> str:
        if name in (UNIQUE_ID, _THEIR_ID):
            return unique_id
        if not is_usual:
            return self._dice.choice(_VALUES[name])
        if name == "email":
            return f"{unique_id}@x.ca" if unique_id.isascii() and unique_id.isalnum() else ""
        if name == "user_name":
            return self._dice.choice(("", f"n{unique_id}"))
        return self._dice.choice(_USUAL_VALUES.get(name, ("",)))

    def _quoted(self, cell: str, delimiter: str, share: float) -> str:
        if cell.startswith('"') or {delimiter, "\n", "\r"} & {*cell} or self._happens(share):
            return " " * self._happens(0.03) + '"' + cell.replace('"', '""') + '"'
        return cell

    # -- changes: of a line, of several, of the whole file

    def _replace(self, file: UsersFile) -> None:
        place = self._place(file)
        file.lines[place : place + 1] = self._lines(file)

    def _insert(self, file: UsersFile) -> None:
        place = self._place(file)
        file.lines[place:place] = self._lines(file)

    def _insert_many(self, file: UsersFile) -> None:
        place = self._place(file)
        file.lines[place:place] = [line for _ in range(10) for line in self._lines(file)]

    def _remove(self, file: UsersFile) -> None:
        place = self._place(file)
        del file.lines[place : place + 1]

    def _remove_first_ones(self, file: UsersFile) -> None:
        del file.lines[: self._place(file) + 1]

    def _repeat(self, file: UsersFile) -> None:
        one, other = self._place(file), self._place(file)
        file.lines[other:other] = file.lines[one : one + 1]

    def _swap(self, file: UsersFile) -> None:
        one, other = self._place(file), self._place(file)
        file.lines[one : one + 1], file.lines[other : other + 1] = (
            file.lines[other : other + 1],
            file.lines[one : one + 1],
        )

    def _swap_cells(self, file: UsersFile) -> None:
        if not file.lines:
            return
        one, other = self._place(file), self._place(file)
        ours, theirs = (file.lines[place].split(file.delimiter) for place in (one, other))
        if len(ours) == len(theirs) > 1:
            cell = self._dice.randrange(1, len(ours))
            ours[cell], theirs[cell] = theirs[cell], ours[cell]
            file.lines[one], file.lines[other] = file.delimiter.join(ours), file.delimiter.join(theirs)

    def _change_case(self, file: UsersFile) -> None:
        self._edit(file, self._dice.choice((str.swapcase, str.lower, lambda line: line.replace("S", "s"))))

    def _change_end(self, file: UsersFile) -> None:
        end = self._dice.choice((*_LINE_ENDS, "\r"))
        self._edit(file, lambda line: line.rstrip("\r\n") + end)

    def _indent(self, file: UsersFile) -> None:
        self._edit(file, lambda line: " " + line)

    def _open_quote(self, file: UsersFile) -> None:
        self._edit(file, lambda line: '"' + line)

    def _insert_blank(self, file: UsersFile) -> None:
        file.lines.insert(self._place(file), self._dice.choice(_LINE_ENDS))

    def _insert_long_record(self, file: UsersFile) -> None:
        place, between = self._place(file), self._dice.choice((0, 0, 2))
        file.lines[place:place] = ['"S1' + file.delimiter * (between > 0) + "\n"]
        end = place + 1 + between
        file.lines[end:end] = ['x"' + file.delimiter + "y\n"]

    def _double_header(self, file: UsersFile) -> None:
        if UNIQUE_ID in "".join(file.lines[:1]):
            file.header = file.lines.pop(0)
        elif self._happens(0.2):
            file.lines.insert(self._place(file), self._header(file))
        else:
            file.lines.insert(0, file.header)
            file.header = self._header(file)

    def _reverse(self, file: UsersFile) -> None:
        file.lines.reverse()

    def _shuffle(self, file: UsersFile) -> None:
        self._dice.shuffle(file.lines)

    def _end_anew(self, file: UsersFile) -> None:
        if file.lines and self._happens(0.7):
            file.lines[-1] = file.lines[-1].rstrip("\r\n")
        file.tail = self._dice.choice(("", "\r", "\n")) if self._happens(0.3) else file.tail + "\x1a"

    def _toggle_mark(self, file: UsersFile) -> None:
        file.mark = not file.mark

    def _head_anew(self, file: UsersFile) -> None:
        end = self._dice.choice(_LINE_ENDS)
        file.above = [f"sep={file.delimiter}{end}"] * self._happens(0.05) + [end] * self._happens(0.5)
        file.header = self._header(file)

    def _header(self, file: UsersFile) -> str:
        share = self._dice.choice((0, 0, 0, 0.3, 1))
        titles = (f'"{name}"' if self._happens(share) else name for name in file.columns)
        return file.delimiter.join(titles) + self._dice.choice(_LINE_ENDS)

    def _place(self, file: UsersFile) -> int:
        return self._dice.randrange(len(file.lines) or 1)

    def _edit(self, file: UsersFile, change: Callable[[str], str]) -> None:
        if file.lines:
            place = self._place(file)
            file.lines[place : place + 1] = _split(change(file.lines[place]))


_CHANGES: dict[Callable[[Author, UsersFile], None], int] = {
    Author._replace: 30,
    Author._insert: 12,
    Author._insert_many: 2,
    Author._remove: 12,
    Author._remove_first_ones: 2,
    Author._repeat: 6,
    Author._swap: 6,
    Author._swap_cells: 4,
    Author._change_case: 4,
    Author._change_end: 3,
    Author._indent: 1,
    Author._open_quote: 2,
    Author._insert_blank: 2,
    Author._insert_long_record: 2,
    Author._double_header: 20,
    Author._reverse: 2,
    Author._shuffle: 2,
    Author._end_anew: 30,
    Author._toggle_mark: 20,
    Author._head_anew: 15,
}


def _split(text: str) -> list[str]:
    return list(io.StringIO(text, newline=""))
