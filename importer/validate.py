"""
A row to a user or to problems; pure.

`Checker.check` has one answer for a row and two ways to it. The short way takes a row of which a few cheap tests show
that nothing can be said against it; the long way, `_explain`, goes cell by cell and finds all there is to say.
A property test holds the two together.
"""

from __future__ import annotations

import operator
import re
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from importer import rules
from importer.attributes import ATTRIBUTES, Attribute, Rule
from importer.header import Header, unguarded
from importer.model import FileRejected, Notice, Problem
from importer.parse import Row
from importer.settings import ClientSettings, ReferenceSettings

# A user as it crosses to the database: the values of Checker.columns, None for "leave as it is", then the line.
User = tuple[str | int | None, ...]
CLEARED: Final = "\0"  # in place of a value: the attribute is emptied. NUL never stands in a file that was let in.

# What must be looked at closely, found in the cells of a row joined by \x1e. Each alternative hangs on one leading
# character, so that the search runs at about 2 ns a character.
_UNTIDY: Final = re.compile(
    r"""[\x00-\x1f\x7f#\ +](?:
        (?<=[\x00-\x1d\x1f\x7f#])                                     # a control character, or "#REF!"
      | (?<=\ )\x1e                                                   # a blank at the end of a cell
      | (?<=\x1e)(?:\ |'+[=+\-@]|="|-+\x1e|(?:null|\(null\)|none|nil|n/a|\\n)\x1e)   # blank, guard, placeholder
      | (?<=[eE]\+)\d                                                 # 1.2E+05
    )""",
    re.VERBOSE | re.IGNORECASE,
)

KEYS: Final = {"email": "email_key", "user_name": "user_name_key"}  # attribute -> column that makes it unique


class Rejected(msgspec.Struct, frozen=True):
    """A row that is not applied."""

    line: int
    cells: list[str]
    problems: tuple[Problem, ...]
    user: User | None = None  # what could be read of it; None for a row with the wrong number of fields
    lacks: tuple[str, ...] = ()  # attributes that a new user would need


class Checker:
    """Judges the rows of one file."""

    def __init__(self, header: Header, client: ClientSettings, reference: ReferenceSettings) -> None:
        self._header = header
        self._client = client
        self._width = header.width
        self._attributes = tuple(ATTRIBUTES[name] for name in ATTRIBUTES if name in header.columns)
        names = tuple(attribute.name for attribute in self._attributes)
        self._keyed = tuple(name for name in KEYS if name in names)
        self.columns: tuple[str, ...] = (*names, *(KEYS[name] for name in self._keyed))
        judges = rules.judges(reference)
        self._judges = {attribute.name: judges.get(attribute.rule, str) for attribute in self._attributes}
        self._needed = tuple(name for name in client.required if name in names)
        self._absent = tuple(name for name in client.required if name not in names)
        self._notices: dict[tuple[str, str], tuple[int, int]] = {}
        self._prepare_short_way()

    def _prepare_short_way(self) -> None:
        first = {attribute.name: self._header.columns[attribute.name][0] for attribute in self._attributes}
        self._direct = all(len(columns) == 1 for columns in self._header.columns.values())
        self._must_be_blank = tuple(index for index in self._header.nameless if index < self._width)
        self._pick = operator.itemgetter(*first.values()) if len(first) > 1 else lambda cells: (cells[0],)
        self._attribute_at = {first[attribute.name]: attribute for attribute in self._attributes}
        self._memos = tuple(
            (first[attribute.name], rules.Memo(self._judges[attribute.name]))
            for attribute in self._attributes
            if attribute.rule in (Rule.LOGIN_SOURCE, Rule.PROVINCE, Rule.USER_TYPE, Rule.LOCKER_TYPE, Rule.DATE)
        )
        self._email_at = first.get("email", -1)
        self._key_positions = tuple(list(first).index(name) for name in self._keyed)
        self._needed_positions = tuple(list(first).index(name) for name in self._needed)
        always = ["unique_id"] if self._client.login_source else ["unique_id", "login_source"]
        self._always_positions = tuple(list(first).index(name) for name in always if name in first)
        self._shape = self._struct_of_lengths()

    def _struct_of_lengths(self) -> Any:  # noqa: ANN401 - a struct type made at run time
        """Return a struct type, one field a column, that msgspec converts a row of fitting lengths into."""
        fields: list[tuple[str, Any]] = []
        for index in range(self._width):
            attribute = self._attribute_at.get(index)
            limit = rules.limit_of(attribute, self._client) if attribute else 0
            kind: Any = Annotated[str, Meta(max_length=limit)] if attribute else str
            fields.append((f"c{index}", kind))
        return msgspec.defstruct("Lengths", fields, array_like=True, gc=False)

    def check(self, row: Row) -> User | Rejected:
        """
        Return the user a row describes, or all that is wrong with it.

        Raises FileRejected header.unknown when a column without a name has content.
        """
        user = self._short_way(row.cells)
        return (*user, row.line) if user is not None else self._explain(row)

    def is_complete(self, user: User) -> bool:
        """Tell whether the user has all that is required to create it."""
        return not self._absent and all(user[position] for position in self._needed_positions)

    def lacks(self, user: User) -> tuple[str, ...]:
        """Return the required attributes that keep the user from being created."""
        blank = (name for name in self._needed if not user[self.columns.index(name)])
        return (*blank, *self._absent)

    def is_absent(self, name: str) -> bool:
        """Tell whether a required attribute has no column in the file."""
        return name in self._absent

    def notices(self) -> list[Notice]:
        """Return the warnings about rows so far, one for each code and attribute."""
        return [
            Notice(code=code, field=field, detail="", rows=rows, first_line=line)
            for (code, field), (rows, line) in sorted(self._notices.items(), key=lambda item: item[1][1])
        ]

    # One straight line of tests, each 0.05 to 0.6 us: a function for each would cost more than the test.
    def _short_way(self, cells: list[str]) -> User | None:  # noqa: C901, PLR0911, PLR0912
        """Return the user of a row that a few tests show to be right; None when it needs a closer look."""
        if len(cells) != self._width or not self._direct:
            return None
        joined = "\x1e".join(("", *cells, ""))
        if _UNTIDY.search(joined) or (self._client.clear_token and self._client.clear_token in cells):
            return None
        if not joined.isascii():
            cells = self._with_clean_letters(cells)
        try:
            msgspec.convert(cells, self._shape)
        except msgspec.ValidationError:
            return None
        for index in self._must_be_blank:
            if cells[index]:
                return None
        for index, memo in self._memos:
            if text := cells[index]:
                verdict = memo[text]
                if not isinstance(verdict, str):
                    return None
                if verdict is not text:
                    cells = [*cells[:index], verdict, *cells[index + 1 :]]
        email = cells[self._email_at] if self._email_at >= 0 else ""
        if email and not isinstance(self._judges["email"](email), str):
            return None
        values: list[str | None] = [cell or None for cell in self._pick(cells)]
        for position in self._always_positions:
            if not values[position]:
                return None
        for position in self._key_positions:
            key = values[position]
            values.append(key.casefold() if key else None)
        return tuple(values)

    def _with_clean_letters(self, cells: list[str]) -> list[str]:
        """Return the cells with letters beyond ASCII normalised; [] when one of them needs a closer look."""
        out = list(cells)
        for index, cell in enumerate(cells):
            if cell.isascii():
                continue
            attribute = self._attribute_at.get(index)
            if attribute is None:
                continue
            cleaned = rules.clean(attribute, cell)
            if cleaned.problems or cleaned.warnings:
                return []
            out[index] = cleaned.value
        return out

    def _explain(self, row: Row) -> User | Rejected:
        """Go over the row cell by cell."""
        cells = self._fitted(row)
        if isinstance(cells, Rejected):
            return cells
        values: list[str | None] = []
        problems: list[Problem] = []
        for attribute in self._attributes:
            value, wrong = self._value(attribute, cells, row.line)
            values.append(value or None)
            problems += wrong
        for name in self._keyed:
            key = values[self.columns.index(name)]
            values.append(key.casefold() if key else None)
        user = (*values, row.line)
        problems += self._blank_where_required(user)
        if problems:
            return Rejected(row.line, row.cells, tuple(problems), user, self.lacks(user))
        return user

    def _fitted(self, row: Row) -> list[str] | Rejected:
        """Return exactly as many cells as the header has names, or the row rejected with 9003."""
        cells, width = row.cells, self._width
        for index in self._header.nameless:
            if index < len(cells) and cells[index].strip():
                raise FileRejected(
                    "header.unknown",
                    f"line {row.line}: column {_letters(index)} has content but no name in the header. "
                    "Name the column, or remove it.",
                    line=row.line,
                )
        surplus = [cell for cell in cells[width:] if cell.strip()]
        if surplus:
            detail = f"the row has more fields than the header's {width}; quote a value that holds a delimiter"
            precise = f"the row has {len(cells)} fields, the header {width}; too many: " + ", ".join(
                f'"{cell[:80]}"' for cell in surplus[:5]
            )
            return Rejected(row.line, cells, (Problem("9003", "", detail, precise),))
        if len(cells) < width and self._client.short_rows == "refuse":
            detail = f"the row has fewer fields than the header's {width}; add the missing ones, blank if need be"
            precise = f"the row has {len(cells)} fields, the header {width}; add the missing ones, blank if need be"
            return Rejected(row.line, cells, (Problem("9003", "", detail, precise),))
        return (cells + [""] * (width - len(cells)))[:width]

    def _value(self, attribute: Attribute, cells: list[str], line: int) -> tuple[str, list[Problem]]:
        """Return the value of one attribute and all that is wrong with it."""
        name = attribute.name
        if self._client.clear_token and cells[self._header.columns[name][0]].strip() == self._client.clear_token:
            return self._cleared(attribute)
        found = [rules.clean(attribute, unguarded(cells[index])) for index in self._header.columns[name]]
        cell = next((each for each in found if each.value), found[0])
        value, problems = cell.value, list(cell.problems)
        if not value:
            return "", []
        for code in cell.warnings:
            self._note(code, name, line)
        limit = rules.limit_of(attribute, self._client)
        # A province has one problem, not two: the remedy names the code to write.
        if attribute.rule is not Rule.PROVINCE and (problem := rules.too_long(attribute, value, limit)):
            problems.append(problem)
        if not problems:
            verdict = self._judges[name](value)
            if isinstance(verdict, Problem):
                problems.append(msgspec.structs.replace(verdict, field=name))
            else:
                value = verdict
        if any(each.value and each.value.upper() != value.upper() for each in found):
            self._note("columns.disagree", name, line)
        return value, problems

    def _cleared(self, attribute: Attribute) -> tuple[str, list[Problem]]:
        if attribute.name in ("unique_id", "login_source", *self._client.required):
            return "", [rules.required(attribute.name)]
        return CLEARED, []

    def _blank_where_required(self, user: User) -> list[Problem]:
        always = ["unique_id"] if self._client.login_source else ["unique_id", "login_source"]
        return [rules.required(name) for name in always if not user[self.columns.index(name)]]

    def _note(self, code: str, field: str, line: int) -> None:
        rows, first = self._notices.get((code, field), (0, line))
        self._notices[code, field] = (rows + 1, min(first, line))


def _letters(index: int) -> str:
    """Return the column as a spreadsheet names it: 0 is A, 26 is AA."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
