"""
A first look at many rows at once: which of them are right beyond doubt, and what users they describe.

It goes column by column, because one call over a column of some hundred cells costs a tenth of as many calls: 5 us a
row of 24 cells instead of 12. What a test stumbles over is only suspect; `Checker.explain` decides. What passes here
must come out of `explain` just the same; a property test holds the two together.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from importer.attributes import ATTRIBUTES, Attribute, Rule
from importer.file.header import Header
from importer.model import Problem
from importer.rows import rules
from importer.settings import ClientSettings

Cells = Sequence[str]

# The cells of a column are searched as one text in which each stands between two line feeds.
# In order wherever they stand: printable ASCII, and letters that are one code point each.
_ODD: Final = re.compile("[^\n -~\xc0-\u024f\u0391-\u03a1\u03a3-\u03c9\u0410-\u044f\u1e00-\u1eff\u4e00-\u9fff]+")
_TIDY_ASCII: Final = b"\n" + bytes(range(0x20, 0x7F))
_GARBLED: Final = re.compile("[ÂÃÄÅÎâ](?=[\u0152-\u017e])")
_BLANK_END: Final = re.compile(r" (?=\n)")
_UNTIDY: Final = re.compile(
    r"""\n(?=[ \#'=(\\nN-])                                            # most cells are through with here
        (?:[ \#']|="|-+(?=\n)|(?i:null|\(null\)|none|nil|n/a|\\n)(?=\n))  # blank, error value, guard, formula, word
    """,
    re.VERBOSE,
)
_EXPONENT: Final = re.compile(r"[eE]\+\d")
_GUARDED_PART: Final = re.compile(r"[,;|]'")
_NUMBERED_ERROR: Final = re.compile(r"\nErr:\d{3}(?=\n)")
# Matches each cell that is blank or a plain address; the group is the domain.
_ADDRESS: Final = re.compile(r"\n(?:[A-Za-z0-9_][A-Za-z0-9_+-]*(?:\.[A-Za-z0-9_+-]+)*@([A-Za-z0-9.-]+))?(?=\n)")
_LOCAL_CHARS: Final = 64

_CHOSEN: Final = (Rule.LOGIN_SOURCE, Rule.PROVINCE, Rule.USER_TYPE, Rule.LOCKER_TYPE, Rule.DATE)
_DOUBT: Final = Problem("", "", "needs a closer look")


class ColumnScreen:
    """The first look at the rows of one file. `judges` names the attributes in their order."""

    def __init__(self, header: Header, client: ClientSettings, judges: dict[str, rules.Judge]) -> None:
        names = tuple(judges)
        self._width = header.width
        self._clear_token = unicodedata.normalize("NFC", client.clear_token)  # as the cells are
        # Two columns of one attribute may disagree: all rows of such a file are looked at closely.
        self._is_direct = all(len(columns) == 1 for columns in header.columns.values())
        self._nameless = tuple(index for index in header.nameless if index < header.width)
        self._looks = tuple(
            (header.columns[name][0], _look(ATTRIBUTES[name], judges[name], client), name == "unique_id")
            for name in names
        )

    def columns(self, records: Sequence[list[str]]) -> tuple[list[Cells], set[int]]:
        """Return the values of each attribute in the records, "" where blank, and which records are suspect."""
        if not self._is_direct or not records:
            return [[""] * len(records) for _ in self._looks], set(range(len(records)))
        suspects: set[int] = set()
        columns = list(zip(*self._of_same_width(records, suspects), strict=True))
        for index in self._nameless:
            suspects.update(_positions(columns[index], bool))
        values: list[Cells] = []
        for index, look, always in self._looks:
            cells = look(columns[index], suspects)
            if self._clear_token and self._clear_token in cells:
                suspects.update(_positions(cells, self._clear_token.__eq__))
            if always and "" in cells:
                suspects.update(_positions(cells, "".__eq__))
            values.append(cells)
        return values, suspects

    def _of_same_width(self, records: Sequence[list[str]], suspects: set[int]) -> Sequence[list[str]]:
        if set(map(len, records)) == {self._width}:
            return records
        suspects.update(position for position, cells in enumerate(records) if len(cells) != self._width)
        blank = [""] * self._width
        return [cells if len(cells) == self._width else blank for cells in records]


_Look = Callable[[Cells, set[int]], Cells]  # returns the cells as they are stored, adds the positions of suspect ones


def _look(attribute: Attribute, judge: rules.Judge, client: ClientSettings) -> _Look:
    limit = rules.limit_of(attribute, client)
    if attribute.rule in _CHOSEN:
        return _Chosen(judge, limit)
    if attribute.rule is Rule.EMAIL:
        return _Address(judge, min(limit, _LOCAL_CHARS))
    return _Text(limit)


class _Text:
    """Looks at any text."""

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def __call__(self, cells: Cells, suspects: set[int]) -> Cells:
        if any(cells):
            suspects.update(_too_long(cells, self._limit))
            suspects.update(_untidy(_joined(cells)))
        return cells


class _Chosen:
    """Looks at values that repeat: each distinct one is judged once."""

    def __init__(self, judge: rules.Judge, limit: int) -> None:
        def judged(text: str) -> str | Problem:
            is_doubtful = len(text) > limit or any(True for _ in _untidy(_joined((text,))))
            return _DOUBT if is_doubtful else judge(text) if text else text

        self._verdicts = rules.Memo(judged)

    def __call__(self, cells: Cells, suspects: set[int]) -> Cells:
        verdicts = self._verdicts
        unlike = {text: verdict for text in set(cells) if (verdict := verdicts[text]) != text}
        if not unlike:
            return cells
        spelt = {text: verdict for text, verdict in unlike.items() if isinstance(verdict, str)}
        suspects.update(_positions(cells, (unlike.keys() - spelt).__contains__))
        return [spelt.get(cell, cell) for cell in cells]


class _Address:
    """Looks at e-mail addresses."""

    def __init__(self, judge: rules.Judge, limit: int) -> None:
        self._judge = judge
        self._limit = limit

    def __call__(self, cells: Cells, suspects: set[int]) -> Cells:
        joined = _joined(cells)
        domains: list[str] = _ADDRESS.findall(joined)
        if len(domains) != len(cells):
            others = set(_ADDRESS.sub("", joined).split("\n")) - {""}
            suspects.update(_positions(cells, others.__contains__))
            suspects.update(_found(_ODD, joined))
        if refused := {domain for domain in set(domains) if not self._is_accepted(domain)}:
            suspects.update(_positions(cells, lambda cell: cell.rpartition("@")[2] in refused))
        suspects.update(_too_long(cells, self._limit))
        return cells

    def _is_accepted(self, domain: str) -> bool:
        return not domain or isinstance(self._judge(f"a@{domain}"), str)


def _positions(cells: Cells, is_suspect: Callable[[str], bool]) -> Iterator[int]:
    return (position for position, cell in enumerate(cells) if is_suspect(cell))


def _too_long(cells: Cells, limit: int) -> Iterator[int]:
    if max(map(len, cells)) > limit:
        yield from _positions(cells, lambda cell: len(cell) > limit)


def _joined(cells: Cells) -> str:
    """Return the cells, each between two line feeds; a line feed inside a cell becomes another control character."""
    text = "\n".join(("", *cells, ""))
    if text.count("\n") > len(cells) + 1:
        text = "\n".join(("", *(cell.replace("\n", "\x7f") for cell in cells), ""))
    return text


def _untidy(joined: str) -> Iterator[int]:
    """Yield the positions of cells that need a closer look."""
    # Most columns are ASCII, and leaving out the bytes that are in order is four times as fast as looking for others.
    if not joined.isascii() or joined.encode().translate(None, _TIDY_ASCII):
        yield from _found(_ODD, joined)
        yield from _found(_GARBLED, joined)
    yield from _found(_UNTIDY, joined)
    if " \n" in joined:
        yield from _found(_BLANK_END, joined)
    if "+" in joined:
        yield from _found(_EXPONENT, joined)
    if "'" in joined:
        yield from _found(_GUARDED_PART, joined)
    if "Err:" in joined:
        yield from _found(_NUMBERED_ERROR, joined)


def _found(pattern: re.Pattern[str], joined: str) -> Iterator[int]:
    """Yield the position of each cell in which a match ends."""
    position, counted = -1, 0
    for match in pattern.finditer(joined):
        last = match.end() - 1
        position += joined.count("\n", counted, last)
        counted = last
        yield position
