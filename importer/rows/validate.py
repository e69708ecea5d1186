"""
A row to a user or to problems; pure.

There are two ways to the same result. The fast one, `ColumnScreen`, accepts of many rows at once those that are
certainly valid; the slow one, `Checker.explain`, goes cell by cell and finds everything that is wrong.
"""

from __future__ import annotations

import itertools
import unicodedata
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, cast

import msgspec

from importer.attributes import COLUMNS, INACTIVE, STATUS, Attribute, Rule
from importer.characters import SHOWN_CHARS, Cell, clean, is_plain, unguarded
from importer.file import closing
from importer.file.header import DELIMITERS, Header, delimiter_message
from importer.file.header_reasons import nameless, row_numbers
from importer.file.table import Row, Stretch
from importer.model import NAMED_LINES, FileWarning, Problem, message, printable
from importer.rows import damage, rules
from importer.rows.column_screen import Cells, ColumnScreen
from importer.rows.no_users import NoUsers
from importer.rows.shifts import Shifts
from importer.rows.values import addresses, kinds
from importer.settings import ClientSettings, ReferenceSettings

CLEARED: Final = "\0"  # in place of a value: the attribute is emptied. No accepted file contains NUL.

_LOST_DIGITS: Final = (damage.LOST_DIGITS, "unique_id")
_SHOWN_CELLS: Final = 5  # of those that are too many
# Keys of what is wrong with a row if there is no user with its id.
_UNLESS_KNOWN: Final = ("9003/closing", "9003/heading", *damage.UNLESS_KNOWN)
_KNOWN_CELLS: Final = 1000  # of one attribute, that may come again
_MOST_OTHERS: Final = 10_000  # after so many that are not among them, the next ones are kept in their place
_KNOWN_CHARS: Final = 100  # of such a cell

KEYS: Final = {"email": "email_key", "user_name": "user_name_key"}  # attribute -> column that makes it unique

# A user as the database takes it: the values of Checker.columns, None for "leave as it is", then the line.
User = tuple[str | int | None, ...]


class Users(msgspec.Struct):
    """Users by columns: for each of Checker.columns its values, "" for "leave as it is", and the lines."""

    columns: list[list[str]]
    lines: list[int]

    def add(self, user: User) -> None:
        """Add one user."""
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

    @property
    def is_for_known_user(self) -> bool:
        """Tell whether the row is applied all the same if there is a user with its id."""
        return self.user is not None and all(each.reason.key in _UNLESS_KNOWN for each in self.problems)


class Judged(msgspec.Struct, frozen=True):
    """The results of the rows of a stretch, by position: those in `others`, else those in `columns`."""

    lines: list[int]
    columns: list[Cells]  # of each attribute
    others: dict[int, User | Rejected]  # rows that had to be checked cell by cell, in their order


class _Warned(msgspec.Struct):
    """The rows that have the same warning."""

    rows: int = 0
    lines: list[int] = []  # the first few

    def note(self, line: int) -> None:
        """Add a row."""
        self.rows += 1
        if self.rows <= NAMED_LINES:
            self.lines.append(line)


# The value of an attribute, all that is wrong with it, and its warnings, each the code and the attribute.
_Judgement = tuple[str, list[Problem], list[tuple[str, str]]]


class _Field:
    """Judges the cells of one attribute."""

    def __init__(
        self, attribute: Attribute, columns: Sequence[int], judge: rules.Judge, client: ClientSettings
    ) -> None:
        self.attribute = attribute
        self.judge = judge
        self.at, *self._others = columns
        self._client = client
        self._clear_token = unicodedata.normalize("NFC", client.clear_token)
        self._limit = rules.limit_of(attribute, client)
        self._is_keyed = attribute.rule in damage.KEYED
        self.known: dict[str, _Judgement] = {}  # by cell; where many rows fail, many have the same ones
        self._others_seen = 0

    def judged(self, cells: list[str]) -> _Judgement:
        """Return what the cells of a row say of the attribute."""
        if known := self.known.get(cell := cells[self.at]):
            return known
        judgement = self._judged(cells)
        if len(cell) <= _KNOWN_CHARS and not self._others:
            self._keep(cell, judgement)
        return judgement

    def _keep(self, cell: str, judgement: _Judgement) -> None:
        """Keep what a cell says; where all cells differ that is in vain, and so only a few are kept."""
        if len(self.known) < _KNOWN_CELLS:
            self.known[cell] = judgement
            return
        self._others_seen = (self._others_seen + 1) % _MOST_OTHERS
        if not self._others_seen:
            self.known.clear()

    def _judged(self, cells: list[str]) -> _Judgement:
        attribute, rule, value = self.attribute, self.attribute.rule, cells[self.at]
        problems: list[Problem] = []
        warnings: Collection[str] = ()
        disagree: list[tuple[str, str]] = []
        if self._others or not is_plain(value):
            read, *others = (clean(attribute, unguarded(cells[index])) for index in (self.at, *self._others))
            if others:
                read, disagree = _first_of(attribute, [read, *others])
            value, problems, warnings = read.value, [*read.problems], read.warnings
        if not value or rule is Rule.STATUS:  # any word may be a status
            return _state(self.judge(value)) if value else ("", [], [])
        if value == self._clear_token:
            return (*_cleared(attribute, self._client), disagree)
        if self._is_keyed and not problems and (damaged := damage.problem_in(attribute, value)):
            problems.append(damaged)
        is_readable = not problems
        # A province or a date has one problem, not two: the remedy says how to write it.
        if len(value) > self._limit and rule not in (Rule.PROVINCE, Rule.DATE):
            problems.append(rules.too_long(attribute, value, self._limit))
        if is_readable:
            verdict = self.judge(value)
            if not isinstance(verdict, Problem):
                value = verdict
            else:
                refused = _refused(attribute, value, verdict, warnings, self._client)
                problems += [refused] if not problems or problems[0].code != refused.code else []
        # A row that fails has no warnings.
        return value, problems, [] if problems else [*_doubts(attribute, value, warnings), *disagree]


class Checker:
    """Judges the rows of one file."""

    def __init__(self, header: Header, client: ClientSettings, reference: ReferenceSettings) -> None:
        self._header = header
        self._client = client
        self.width = header.width  # the number of fields that a row has to have
        self._padded_width = header.written_width  # so many cells a row may have, if those beyond the names are blank
        self._secret = [index for index, title in enumerate(header.titles) if title in header.secret]
        self._fields = tuple(
            _Field(each, header.columns[name], rules.judge_of(each, reference, client.status), client)
            for name, each in COLUMNS.items()
            if name in header.columns
        )
        names = tuple(field.attribute.name for field in self._fields)
        self._keyed = tuple(name for name in KEYS if name in names)
        self.columns: tuple[str, ...] = (*names, *(KEYS[name] for name in self._keyed))
        self._status_at = names.index(STATUS.name) if STATUS.name in names else None
        self._needed = tuple(name for name in client.needed if name in names)
        self.absent = tuple(name for name in client.needed if name not in names)  # attributes without a column
        self.lacking = {  # the problem of a new user without the attribute
            name: rules.lacking(name, "/no_column" if name in self.absent else "", reference) for name in client.needed
        }
        self._warnings: dict[tuple[str, str], _Warned] = {}
        self.warned_lines = array("I")
        self.rows = 0  # so far, those included that are passed over
        self._has_full_number = False  # an id that would have lost digits, had a spreadsheet had it
        self.no_users = NoUsers(header, client)
        self._shifts = Shifts(header, reference)
        judges = {field.attribute.name: field.judge for field in self._fields}
        self._screen = ColumnScreen(header, client, judges, self.no_users, self._shifts)
        self.days = self._screen.days

    def allow_trailing(self, width: int) -> None:
        """Take rows of so many cells for whole if those beyond the header are blank: every row of the file has them."""
        self._padded_width = width

    def judge(self, stretch: Stretch) -> Judged:
        """
        Judge each row.

        Raises FileRejected header.unknown when a column without a name has content.
        """
        self.rows += len(stretch.lines)
        screened = self._screen.screened(stretch.records, has_line_feeds=stretch.has_line_feeds)
        others = {each: self.explain(stretch.row(each), screened.certain(each)) for each in sorted(screened.suspects)}
        if not self._screen.is_direct and "date_of_birth" in self.columns:
            self.days.update(_values(self.columns.index("date_of_birth"), others.values()))
        return Judged(stretch.lines, screened.columns, others)

    def users(self, judged: Judged, *, but: Collection[int]) -> Users:
        """Return all users but those in these positions; the rest must have passed the fast check."""
        columns, lines = [[*column] for column in judged.columns], [*judged.lines]
        for position in sorted(but, reverse=True):  # as a rule they are few
            del lines[position]
            for column in columns:
                del column[position]
        return self._with_keys(columns, lines)

    def users_at(self, judged: Judged, positions: Sequence[int]) -> Users:
        """Return the users in these positions, all of which must have passed the fast check."""
        columns = [[column[position] for position in positions] for column in judged.columns]
        return self._with_keys(columns, [judged.lines[position] for position in positions])

    def _with_keys(self, columns: list[list[str]], lines: list[int]) -> Users:
        for name in self._keyed:  # all at once: no value has a line break
            column = columns[self.columns.index(name)]
            columns.append("\n".join(column).casefold().split("\n") if column else [])
        if self._status_at is not None and INACTIVE in (states := columns[self._status_at]):
            for place in range(-len(self._keyed), 0):
                columns[place] = [
                    "" if state == INACTIVE else key for state, key in zip(states, columns[place], strict=True)
                ]
        return Users(columns, lines)

    def incomplete(self, judged: Judged) -> Iterator[int]:
        """Yield the positions of the users that lack something a new one needs."""
        if self.absent:
            yield from range(len(judged.lines))
        for column in (judged.columns[self.columns.index(name)] for name in self._needed):
            if "" in column:
                yield from (position for position, value in enumerate(column) if not value)

    def lacks(self, user: User) -> tuple[str, ...]:
        """Return the attributes without which the user cannot be created."""
        blank = (name for name in self._needed if not user[self.columns.index(name)])
        return (*blank, *self.absent)

    def warnings(self) -> list[FileWarning]:
        """Return the warnings about rows so far, one for each code and attribute."""
        return [
            _warning(code, field, warned, self._header)
            for (code, field), warned in sorted(self._warnings.items(), key=lambda item: item[1].lines[0])
            if damage.is_reported(code, warned.rows, self.rows)
            and not (code == damage.LOST_DIGITS and self._has_full_number)
        ]

    def explain(self, row: Row, certain: Sequence[str | None] = ()) -> User | Rejected:
        """Go over the cells but for `certain` values; return the user they describe, or all that is wrong with it."""
        cells = self._fitted(row)
        if isinstance(cells, Rejected):
            return cells
        values: list[str | None] = []
        problems: list[Problem] = []
        warnings: list[tuple[str, str]] = []
        for field, known in itertools.zip_longest(self._fields, certain):
            value, wrong, doubtful = field.judged(cells) if known is None else (known, [], [])
            values.append(value or None)
            problems += wrong
            warnings += doubtful
        if not self._has_full_number and damage.is_full_number(values[0] or ""):
            self._has_full_number = True
            self.warned_lines.append(row.line)  # a later file relies on all other lines being valid
        has_left = self._status_at is not None and values[self._status_at] == INACTIVE  # and holds no address
        for name in self._keyed:
            key = values[self.columns.index(name)]
            values.append(key.casefold() if key and not has_left else None)
        user = (*values, row.line)
        if not values[0]:
            problems.append(rules.required("unique_id"))
        if rejected := self._rejected(row.line, cells, problems, user):
            return rejected
        moved = self._shifts.warnings_in(values[0] or "", cells)
        warnings = [*dict.fromkeys((*kinds.unexplained(warnings, moved), *moved))]
        if self._has_full_number or self._warnings.get(_LOST_DIGITS, _Warned()).rows > damage.MOST_LOST:
            warnings = [each for each in warnings if each != _LOST_DIGITS]
        if warnings:
            self.warned_lines.append(row.line)
        for warning in warnings:
            self._warnings.setdefault(warning, _Warned()).note(row.line)
        return user

    def _fitted(self, row: Row) -> list[str] | Rejected:
        """Return exactly as many cells as the header has names, or the row rejected with 9003."""
        cells, width = row.cells, self.width
        if (kind := self.no_users.kind_of(cells)) and not self.no_users.may_be_user(cells):
            is_joined = kind == closing.ONE_CELL
            problem = _too_few_cells(cells, self._header) if is_joined else Problem("", message(f"9003/{kind}"))
            return self._misfit(row, 1 - width if is_joined else len(cells) - width, problem)
        _refuse_nameless(self._header, row)
        surplus = cells[width:]
        if surplus and len(cells) > self._padded_width and not any(map(str.strip, surplus)):
            return self._misfit(row, len(surplus), _blank_cells(self._header, cells))
        while surplus and not surplus[-1].strip():
            surplus.pop()
        if surplus:
            return self._misfit(row, len(surplus), _too_many_cells(self._header, cells, surplus))
        if len(cells) < width and self._client.short_rows == "refuse":
            return self._misfit(row, len(cells) - width, _too_few_cells(cells, self._header))
        return (cells + [""] * (width - len(cells)))[:width]

    def _rejected(self, line: int, cells: list[str], problems: list[Problem], user: User) -> Rejected | None:
        """Return a row that fails, with the cause of its problems where there is one."""
        if self.no_users.may_be_user(cells):
            return Rejected(line, cells, (Problem("", message("9003/closing")),), None if problems else user)
        if problems and (kind := self.no_users.kind_of_failed(line, cells, {each.field for each in problems})):
            return Rejected(line, cells, (Problem("", message(f"9003/{kind}")),))
        if cause := self._shifts.cause(cells, problems):
            others = (problem for problem in problems if problem.field not in cause.explained)
            return self._misfit(Row(line, cells), cause.by, cause.problem, *others)
        return Rejected(line, cells, tuple(problems), user, self.lacks(user)) if problems else None

    def _misfit(self, row: Row, surplus: int, *problems: Problem) -> Rejected:
        """Return the row rejected, without the cells that may be a secret moved there by what is too much or lacks."""
        cells, secret = row.cells, self._secret
        if secret:
            first, last = min(secret) + min(surplus, 0), max(secret) + max(surplus, 0)
            cells = ["" if first <= index <= last else cell for index, cell in enumerate(cells)]
        return Rejected(row.line, cells[: self.width], problems)


def _doubts(attribute: Attribute, value: str, warnings: Collection[str]) -> Iterable[tuple[str, str]]:
    codes = dict.fromkeys((*warnings, *damage.warnings_in(attribute, value)))
    return [(code, attribute.name) for code in damage.unexplained(codes)]


def _refused(
    attribute: Attribute, value: str, verdict: Problem, warnings: Collection[str], client: ClientSettings
) -> Problem:
    """Return why a value breaks the rule of its attribute, the verdict if nothing else is known."""
    if damage.has_marks(value):
        return damage.marks_in(attribute, value)
    if attribute.rule is Rule.DATE:
        warnings = [*warnings, *damage.warnings_in(attribute, value)]
    if "value.placeholder" in warnings and attribute.name not in ("unique_id", *client.needed):
        return damage.placeholder_in(attribute, value)
    return verdict


def _refuse_nameless(header: Header, row: Row) -> None:
    """Raise header.unknown when the row has a value in a column without a name."""
    if columns := [at for at in header.nameless if at < len(row.cells) and row.cells[at].strip()]:
        is_numbered = columns == [0] and row.cells[0].strip() in ("0", "1", "2")
        raise row_numbers(header.line, row.line) if is_numbered else nameless(columns, header.line, row.line)


def _values(place: int, verdicts: Iterable[User | Rejected]) -> Iterator[str]:
    """Yield the values of one column in rows that were looked at one by one."""
    users = (each.user if isinstance(each, Rejected) else each for each in verdicts)
    return (str(user[place] or "") for user in users if user)


def _state(verdict: str | Problem) -> _Judgement:
    return ("", [verdict], []) if isinstance(verdict, Problem) else (verdict, [], [])


def _cleared(attribute: Attribute, client: ClientSettings) -> tuple[str, list[Problem]]:
    if attribute.rule is Rule.KEY:
        return "", []  # as if it were blank
    is_required = attribute.name in ("login_source", *client.required)
    return CLEARED, [rules.required(attribute.name, "/cleared")] if is_required else []


def _first_of(attribute: Attribute, cells: list[Cell]) -> tuple[Cell, list[tuple[str, str]]]:
    """Return the first cell of several columns of one attribute that has a value, and whether they disagree."""
    filled = [cell for cell in cells if cell.value]
    values = {cell.value if attribute.rule is Rule.KEY else cell.value.casefold() for cell in filled}
    return next(iter(filled), cells[0]), [("columns.disagree", attribute.name)] if len(values) > 1 else []


def _warning(code: str, name: str, warned: _Warned, header: Header) -> FileWarning:
    rows, lines = warned.rows, tuple(warned.lines)
    if code == damage.LOST_DIGITS and rows > damage.MOST_LOST:
        reason = message(f"{code}_many", column=name, count=damage.MOST_LOST, line=str(lines[0]))
        return FileWarning(reason=reason, field=name, lines=lines[:1])
    if code == "columns.disagree":
        titles = (header.titles[index] for index in header.columns[name])
        reason = message(code, columns=tuple(printable(title.encode()) for title in titles))
    elif code in ("row.shifted", "row.shifted/one"):
        first, second = name.split()
        return FileWarning(reason=message(code, first=first, second=second), rows=rows, lines=lines)
    elif code.startswith(addresses.MISSPELT):
        reason = addresses.misspelling(code, name)
    elif code == "value.placeholder" and name in damage.NAMES:
        reason = message(f"{code}/name", column=name)
    else:
        reason = message(code, column=name)
    return FileWarning(reason=reason, field=name, rows=rows, lines=lines)


def _too_many_cells(header: Header, cells: list[str], surplus: list[str]) -> Problem:
    width, delimiter = header.width, delimiter_message(header.delimiter)
    if damage.has_split_marks(cells):
        return Problem("", message("9003/marks", width=width))
    if cells[width - 1].endswith(header.titles[0]) and (*map(str.strip, surplus),) == header.titles[1:]:
        return Problem("", message("9003/joined"))
    fields = width + len(surplus)
    if header.secret:
        precise = message("9003/more_secret!", fields=fields, width=width, delimiter=delimiter)
    else:
        shown = tuple(cell[:SHOWN_CHARS] for cell in surplus[:_SHOWN_CELLS])
        precise = message("9003/more!", fields=fields, width=width, surplus=shown, delimiter=delimiter)
    return Problem("", message("9003/more", width=width, delimiter=delimiter), precise)


def _blank_cells(header: Header, cells: list[str]) -> Problem:
    width, delimiter, fields = header.width, delimiter_message(header.delimiter), len(cells)
    if damage.has_split_marks(cells):
        return Problem("", message("9003/marks", width=width))
    return Problem(
        "",
        message("9003/blank", width=width, delimiter=delimiter),
        message("9003/blank!", fields=fields, width=width, delimiter=delimiter),
    )


def _too_few_cells(cells: list[str], header: Header) -> Problem:
    secret = "_secret" if header.secret else ""
    if not any(map(str.strip, cells[1:])) and any(delimiter in cells[0] for delimiter in DELIMITERS):
        delimiter = delimiter_message(header.delimiter)
        between = header.width - 1
        others = (each for each in DELIMITERS if each != header.delimiter and cells[0].count(each) == between)
        if not secret and (other := next(others, "")):
            return Problem("", message("9003/other", delimiter=delimiter, other=delimiter_message(other)))
        precise = message("9003/one_cell_secret!", delimiter=delimiter) if secret else None
        return Problem("", message("9003/one_cell", delimiter=delimiter), precise)
    precise = message(f"9003/fewer{secret}!", fields=len(cells), width=header.width)
    return Problem("", message("9003/fewer", width=header.width), precise)
