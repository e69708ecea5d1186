"""
A row to a user or to problems; pure.

There is one answer for a row and two ways to it. The short way, `ColumnScreen`, accepts of many rows at once those that
are right beyond doubt; the long way, `Checker.explain`, goes cell by cell and finds everything that is wrong.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Collection, Iterator, Sequence
from typing import Final, cast

import msgspec

from importer.attributes import ATTRIBUTES, Attribute, Rule
from importer.characters import clean, unguarded
from importer.file.header import DELIMITERS, Header, delimiter_name
from importer.file.table import Row, Stretch
from importer.model import FileRejected, FileWarning, Problem
from importer.rows import rules
from importer.rows.column_screen import Cells, ColumnScreen
from importer.settings import ClientSettings, ReferenceSettings

CLEARED: Final = "\0"  # in place of a value: the attribute is emptied. NUL never stands in a file that was let in.

KEYS: Final = {"email": "email_key", "user_name": "user_name_key"}  # attribute -> column that makes it unique

# A user as the database takes it: the values of Checker.columns, None for "leave as it is", then the line.
User = tuple[str | int | None, ...]


class Users(msgspec.Struct):
    """Users by columns: for each of Checker.columns its values, "" for "leave as it is", and the lines."""

    columns: list[list[str]]
    lines: list[int]

    def add(self, user: User) -> None:
        """Add one that stands by itself."""
        for column, value in zip(self.columns, user, strict=False):
            column.append(str(value or ""))
        self.lines.append(cast("int", user[-1]))

    def rows(self) -> list[User]:
        """Return the users one by one."""
        columns = [[value or None for value in column] if "" in column else column for column in self.columns]
        return list(zip(*columns, self.lines, strict=True))


class Rejected(msgspec.Struct, frozen=True):
    """A row that is not applied."""

    line: int
    cells: list[str]
    problems: tuple[Problem, ...]
    user: User | None = None  # what could be read of it; None for a row with the wrong number of fields
    lacks: tuple[str, ...] = ()  # attributes that a new user would need


class Judged(msgspec.Struct, frozen=True):
    """What the rows of a stretch come to, by their positions in it: `others` tells first, then `columns`."""

    lines: list[int]
    columns: list[Cells]  # of each attribute
    others: dict[int, User | Rejected]  # rows that had to be looked at closely, in their order


class Checker:
    """Judges the rows of one file."""

    def __init__(self, header: Header, client: ClientSettings, reference: ReferenceSettings) -> None:
        self._header = header
        self._client = client
        self._width = header.width
        self._secret = [index for index, title in enumerate(header.titles) if title in header.secret]
        self._clear_token = unicodedata.normalize("NFC", client.clear_token)
        self._attributes = tuple(ATTRIBUTES[name] for name in ATTRIBUTES if name in header.columns)
        names = tuple(attribute.name for attribute in self._attributes)
        self._keyed = tuple(name for name in KEYS if name in names)
        self.columns: tuple[str, ...] = (*names, *(KEYS[name] for name in self._keyed))
        judges = rules.judges(reference)
        self._judges = {attribute.name: judges.get(attribute.rule, str) for attribute in self._attributes}
        self._needed = tuple(name for name in client.needed if name in names)
        self._absent = tuple(name for name in client.needed if name not in names)
        self._warnings: dict[tuple[str, str], tuple[int, int]] = {}
        self.warned_lines = array("I")
        self._glance = ColumnScreen(header, client, self._judges)

    @property
    def width(self) -> int:
        """Return the number of fields a row has to have."""
        return self._width

    def judge(self, stretch: Stretch) -> Judged:
        """
        Say what each row comes to.

        Raises FileRejected header.unknown when a column without a name has content.
        """
        columns, suspects = self._glance.columns(stretch.records)
        others = {position: self.explain(stretch.row(position)) for position in sorted(suspects)}
        return Judged(stretch.lines, columns, others)

    def users(self, judged: Judged, *, but: Collection[int]) -> Users:
        """Return all users but those in these positions; none of the rest may need a close look."""
        columns, lines = [[*column] for column in judged.columns], [*judged.lines]
        for position in sorted(but, reverse=True):  # as a rule they are few
            del lines[position]
            for column in columns:
                del column[position]
        return self._with_keys(columns, lines)

    def users_at(self, judged: Judged, positions: Sequence[int]) -> Users:
        """Return the users in these positions; none of them may need a close look."""
        columns = [[column[position] for position in positions] for column in judged.columns]
        return self._with_keys(columns, [judged.lines[position] for position in positions])

    def _with_keys(self, columns: list[list[str]], lines: list[int]) -> Users:
        for name in self._keyed:  # all at once: no value has a line break
            column = columns[self.columns.index(name)]
            columns.append("\n".join(column).casefold().split("\n") if column else [])
        return Users(columns, lines)

    def incomplete(self, judged: Judged) -> Iterator[int]:
        """Yield the positions of the users that lack something a new one needs."""
        if self._absent:
            yield from range(len(judged.lines))
        for column in (judged.columns[self.columns.index(name)] for name in self._needed):
            if "" in column:
                yield from (position for position, value in enumerate(column) if not value)

    def lacks(self, user: User) -> tuple[str, ...]:
        """Return the attributes without which the user cannot be created."""
        blank = (name for name in self._needed if not user[self.columns.index(name)])
        return (*blank, *self._absent)

    def is_absent(self, name: str) -> bool:
        """Tell whether a required attribute has no column in the file."""
        return name in self._absent

    def warnings(self) -> list[FileWarning]:
        """Return the warnings about rows so far, one for each code and attribute."""
        return [
            FileWarning(code=code, field=field, detail="", rows=rows, first_line=line)
            for (code, field), (rows, line) in sorted(self._warnings.items(), key=lambda item: item[1][1])
        ]

    def explain(self, row: Row) -> User | Rejected:
        """Go over a row cell by cell; return the user it describes, or all that is wrong with it."""
        cells = self._fitted(row)
        if isinstance(cells, Rejected):
            return cells
        values: list[str | None] = []
        problems: list[Problem] = []
        warnings: list[tuple[str, str]] = []
        for attribute in self._attributes:
            value, wrong, doubtful = self._value(attribute, cells)
            values.append(value or None)
            problems += wrong
            warnings += [(code, attribute.name) for code in doubtful]
        for name in self._keyed:
            key = values[self.columns.index(name)]
            values.append(key.casefold() if key else None)
        user = (*values, row.line)
        if not values[0]:
            problems.append(rules.required("unique_id"))
        if problems:
            return Rejected(row.line, cells, tuple(problems), user, self.lacks(user))
        if warnings:
            self.warned_lines.append(row.line)
        for warning in warnings:
            rows, first = self._warnings.get(warning, (0, row.line))
            self._warnings[warning] = (rows + 1, first)
        return user

    def _fitted(self, row: Row) -> list[str] | Rejected:
        """Return exactly as many cells as the header has names, or the row rejected with 9003."""
        cells, width = row.cells, self._width
        if columns := [_letters(i) for i in self._header.nameless if i < len(cells) and cells[i].strip()]:
            has = f"column {columns[0]} has" if len(columns) == 1 else f"columns {', '.join(columns)} have"
            it = "the column" if len(columns) == 1 else "each"
            raise FileRejected(
                "header.unknown",
                f"line {row.line}: {has} content but no name in the header. Name {it}, or remove it.",
                line=row.line,
            )
        surplus = cells[width:]
        while surplus and not surplus[-1].strip():
            surplus.pop()
        if surplus:
            return self._misfit(row, len(surplus), _too_many_fields(self._header, surplus))
        if len(cells) < width and self._client.short_rows == "refuse":
            return self._misfit(row, len(cells) - width, _too_few_fields(cells, self._header))
        return (cells + [""] * (width - len(cells)))[:width]

    def _misfit(self, row: Row, surplus: int, problem: Problem) -> Rejected:
        """Return the row rejected, without the cells that may be a secret moved there by what is too much or lacks."""
        cells, secret = row.cells, self._secret
        if secret:
            first, last = min(secret) + min(surplus, 0), max(secret) + max(surplus, 0)
            cells = ["" if first <= index <= last else cell for index, cell in enumerate(cells)]
            told = problem.precise or problem.detail
            problem = msgspec.structs.replace(problem, precise=f"{told}; what may be a secret is left out here")
        return Rejected(row.line, cells[: self._width], (problem,))

    def _value(self, attribute: Attribute, cells: list[str]) -> tuple[str, list[Problem], list[str]]:
        """Return the value of one attribute, all that is wrong with it, and the codes of what is doubtful."""
        name = attribute.name
        found = [clean(attribute, unguarded(cells[index])) for index in self._header.columns[name]]
        cell = found[0] if found[0].value else next((each for each in found if each.value), found[0])
        value, problems, warnings = cell.value, list(cell.problems), list(cell.warnings)
        if not value:
            return "", [], []
        is_open = len(found) > 1 and _disagree(attribute, [each.value for each in found if each.value])
        disagree = ["columns.disagree"] if is_open else []
        if value == self._clear_token:
            return (*self._cleared(attribute), disagree)
        limit = rules.limit_of(attribute, self._client)
        # A province or a date has one problem, not two: the remedy says how to write it.
        if attribute.rule not in (Rule.PROVINCE, Rule.DATE) and (problem := rules.too_long(attribute, value, limit)):
            problems.append(problem)
        if not cell.problems:
            verdict = self._judges[name](value)
            if not isinstance(verdict, Problem):
                value = verdict
            elif "value.placeholder" in warnings and name not in ("unique_id", *self._client.needed):
                problems.append(Problem(verdict.code, name, "is a word that means nothing; leave the cell blank"))
            elif verdict.code not in {problem.code for problem in problems}:
                problems.append(msgspec.structs.replace(verdict, field=name))
        return value, problems, [*warnings, *disagree]

    def _cleared(self, attribute: Attribute) -> tuple[str, list[Problem]]:
        if attribute.rule is Rule.KEY:
            return "", []  # as if it were blank
        is_required = attribute.name in ("login_source", *self._client.required)
        return CLEARED, [rules.required(attribute.name, cleared=True)] if is_required else []


def _disagree(attribute: Attribute, values: list[str]) -> bool:
    """Tell whether the columns of one attribute say different things; the case counts in a unique id alone."""
    return len(set(values if attribute.rule is Rule.KEY else map(str.casefold, values))) > 1


def _too_many_fields(header: Header, surplus: list[str]) -> Problem:
    width, holds = header.width, f"a value that holds {delimiter_name(header.delimiter)}"
    detail = f"the row has more fields than the header's {width}; {holds} must stand in quotation marks"
    precise = f"the row has {width + len(surplus)} fields, the header {width}"
    if not header.secret:
        precise += "; too many: " + ", ".join(f'"{cell[:80]}"' for cell in surplus[:5])
    return Problem(
        "9003", "", detail, f"{precise}; {holds} was probably taken for two: bring each value back to its column"
    )


def _too_few_fields(cells: list[str], header: Header) -> Problem:
    if len(cells) == 1 and any(delimiter in cells[0] for delimiter in DELIMITERS):
        remedy = f"separate its values by {delimiter_name(header.delimiter)}, outside quotation marks"
        return Problem("9003", "", f"the whole row stands in one cell; {remedy}, or delete the row if it is no user")
    remedy = "add the missing ones, blank if need be, or delete the row if it is no user"
    fields = "1 field" if len(cells) == 1 else f"{len(cells)} fields"
    detail = f"the row has fewer fields than the header's {header.width}; {remedy}"
    return Problem("9003", "", detail, f"the row has {fields}, the header {header.width}; {remedy}")


def _letters(index: int) -> str:
    """Return the column as a spreadsheet names it: 0 is A, 26 is AA."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
