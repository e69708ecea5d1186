"""
A fast check of many rows at once: which of them are certainly valid, and the users in them.

It goes column by column, because one call over a column of some hundred cells costs a tenth of as many calls: 5 us a
row of 24 cells instead of 12. A cell that fails a test here is only suspect; `Checker.explain` decides. What passes
here must have the same result in `explain`; a property test compares the two.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from importer.attributes import COLUMNS, Attribute, Rule
from importer.characters import is_plain
from importer.file.header import Header
from importer.model import Message, Problem
from importer.rows import damage, rules, shifts
from importer.rows.no_users import NoUsers
from importer.rows.shifts import Shifts
from importer.rows.values import addresses, days, kinds, remarks, samples, words
from importer.settings import ClientSettings

Cells = Sequence[str]

# The cells of a column are searched as one text, each between two line feeds.
# Valid anywhere: printable ASCII, and letters that are one code point each.
_ODD: Final = re.compile("[^\n -~\xc0-\u024f\u0391-\u03a1\u03a3-\u03c9\u0410-\u044f\u1e00-\u1eff\u4e00-\u9fff]+")
_PLAIN_ASCII: Final = (b"\n" + bytes(range(0x20, 0x7F))).translate(None, damage.SIGNS + b":")
# All signs, and the letters with which words for no value begin. What has none of them, as most numbers, is right.
_TELLING: Final = b" #\"'=()\\[]<>{}`?.!*_/,:;&@%~^|$+-iInNuUxXzZ"
_UNTELLING: Final = _PLAIN_ASCII.translate(None, _TELLING)
_UNTELLING_IN_IDS: Final = _UNTELLING.translate(None, remarks.IN_NUMBERED_WORDS)
_GARBLED: Final = re.compile(  # and letters of two alphabets in one word
    "[ÂÃÄÅÎâ](?=[\u0152-\u017e])|[ÐÑØÙÆ\xd7](?=[ŒŠŽŸœšž\u0192])|[äåæçèêëìí](?=[ŒŠŽŸœšž\u0192]{2})"
    "|[A-Za-z](?=[\u0370-\u052f])|[\u0370-\u052f](?=[A-Za-z])"
)
_GARBLED_SIGNS: Final = re.compile("[ÂÃÄÅÎâÐÑØÙÆ\xd7äåæçèêëìí\u0370-\u052f]")
_ODD_ACCENTS: Final = re.compile(f"[{damage.ODD_ACCENTS}]")
_ACCENTS: Final = re.compile("[\xc0-\xff]{3}")
_CYRILLIC: Final = re.compile("[\u0410-\u044f]")
_TWO_CASES: Final = re.compile("[\u0430-\u044f](?=[\u0410-\u042f])")
_MIXED: Final = re.compile("[a-z](?=[\u4e00-\u9fff])|[\u4e00-\u9fff](?=[a-z])")  # what is read as Chinese
_CHINESE: Final = re.compile("[\u4e00-\u9fff]")
_BLANK_END: Final = re.compile(r" (?=\n)")
_UNTIDY: Final = re.compile(
    rf"\n(?=[{re.escape(_TELLING.decode())}\xd7\xf7àÀ])"  # most cells are through with here
    r"""
        (?:[ \#"'?.!*_/,:;&@%~^|$\[\]<>{})`\xd7\xf7-]|[zZ]{2}|[xX]{2}  # blank, error value, guard, sign
          |="|[-+=(\\](?:[^\w\n]|_)*(?=\n)|\([A-Za-z/\ ]+\)(?=\n)  # formula, signs alone
          |(?=[nN][uUoOiIaA/]|[uU][nN]|[iI][nN]|[xX]{3}|[àÀ\\])  # words
           (?:[nN](?i:ull(?:\ null)?|one|il|/[ad]|o\ (?:name|id|value|data))|NaN|\\[nN]|[xX]{3,}|[àÀ]\ [^\n]*
            |[nN](?i:ot\ (?:available|applicable|assigned)|on\ (?:disponible|assign[^\n]*))
            |[uU](?i:ndefined(?:\ undefined)?|nknown|nassigned)|[iI](?i:nconnue?))(?=\n))
    """,
    re.VERBOSE,
)
_EXPONENT: Final = re.compile(r"[eE]\+\d")
_GUARDED_PART: Final = re.compile(r"[,;|]'")
_NUMBERED_ERROR: Final = re.compile(r"\nErr:\d{3}(?=\n)")
# Matches each cell that is blank or a plain address; the group is the domain.
_ADDRESS: Final = re.compile(r"\n(?:[A-Za-z0-9_][A-Za-z0-9_+-]*+(?:\.[A-Za-z0-9_+-]++)*@([A-Za-z0-9.-]++))?(?=\n)")
_LOCAL_CHARS: Final = 64
_KNOWN_DOMAINS: Final = 10_000
_KNOWN_TEXTS: Final = 5_000  # of one column

_CHOSEN: Final = (Rule.LOGIN_SOURCE, Rule.PROVINCE, Rule.USER_TYPE, Rule.LOCKER_TYPE, Rule.DATE, Rule.STATUS)
_UNDECIDED: Final = Problem("", Message(""))  # needs a closer look


class Screened(msgspec.Struct, frozen=True):
    """
    The values of each attribute in some records, "" where blank, and which records are `suspects`.

    `doubts`: for each attribute in which of them its value is suspect; the other values are right.
    """

    columns: list[Cells]
    suspects: set[int]
    doubts: list[set[int]]

    def add(self, cells: Cells, suspects: set[int]) -> None:
        """Add an attribute."""
        self.columns.append(cells)
        self.doubts.append(suspects)
        self.suspects.update(suspects)

    def certain(self, position: int) -> list[str | None]:
        """Return the values of a record, None where they are suspect."""
        pairs = zip(self.columns, self.doubts, strict=True)
        return [None if position in doubts else column[position] for column, doubts in pairs]


class ColumnScreen:
    """The fast check of the rows of one file. `judges` names the attributes in their order."""

    def __init__(
        self,
        header: Header,
        client: ClientSettings,
        judges: dict[str, rules.Judge],
        no_users: NoUsers,
        moved: Shifts,
    ) -> None:
        names = tuple(judges)
        self._no_users = no_users
        self._moved = moved
        self._width = header.width
        self._clear_token = unicodedata.normalize("NFC", client.clear_token)  # as the cells are
        # Two columns of one attribute may disagree: all rows of such a file are looked at closely.
        self.is_direct = all(len(columns) == 1 for columns in header.columns.values())
        self._nameless = tuple(index for index in header.nameless if index < header.width)
        self.days: Counter[str] = Counter()  # of birth, and "", of the rows so far
        self._looks = tuple(
            (
                header.columns[name][0],
                _look(COLUMNS[name], judges[name], client, self.days, moved.long_sources),
                name == "unique_id",
            )
            for name in names
        )
        self._names = tuple(header.columns[name][0] for name in damage.NAMES if name in names)

    def screened(self, records: Sequence[list[str]], *, has_line_feeds: bool = True) -> Screened:
        """Check the records; `has_line_feeds`: a cell may have one."""
        every = set(range(len(records)))
        if not self.is_direct or not records:
            return Screened([[""] * len(records) for _ in self._looks], every, [every for _ in self._looks])
        misfits: set[int] = set()
        columns: list[Cells] = list(zip(*self._of_same_width(records, misfits), strict=True))
        if has_line_feeds:
            columns = [_without_line_feeds(column) for column in columns]
        screened = Screened([], {*misfits}, [])
        for index in self._nameless:
            screened.suspects.update(_positions(columns[index], bool))
        for index, look, is_id in self._looks:
            if len(screened.suspects) == len(records) and not (isinstance(look, _Chosen) and look.is_counting):
                screened.add(columns[index], every)  # all rows are looked at closely anyway
                continue
            suspects = {*misfits}
            cells = look(columns[index], suspects)
            if self._clear_token and self._clear_token in cells:
                suspects.update(_positions(cells, self._clear_token.__eq__))
            if is_id:
                if "" in cells:
                    suspects.update(_positions(cells, "".__eq__))
                suspects.update(self._no_users.among(cells, records))
                suspects.update(self._moved.login_sources_among(cells))
            screened.add(cells, suspects)
        if len(self._names) == len(damage.NAMES):
            screened.suspects.update(remarks.whole_names_among(*(columns[at] for at in self._names)))
        return screened

    def _of_same_width(self, records: Sequence[list[str]], misfits: set[int]) -> Sequence[list[str]]:
        if set(map(len, records)) == {self._width}:
            return records
        misfits.update(position for position, cells in enumerate(records) if len(cells) != self._width)
        blank = [""] * self._width
        return [cells if len(cells) == self._width else blank for cells in records]


_Look = Callable[[Cells, set[int]], Cells]  # returns the cells as they are stored, adds the positions of suspect ones


def _look(
    attribute: Attribute, judge: rules.Judge, client: ClientSettings, births: Counter[str], sources: frozenset[str]
) -> _Look:
    limit = rules.limit_of(attribute, client)
    if attribute.rule in _CHOSEN:
        return _Chosen(judge, limit, births if attribute.rule is Rule.DATE else None)
    if attribute.rule is Rule.EMAIL:
        return _Address(judge, min(limit, _LOCAL_CHARS))
    if attribute.rule is Rule.KEY:
        return _Key(limit)
    return _Text(limit, attribute.name, sources)


class _Text:
    """Looks at any text; where values repeat, as most names and towns do, at each of them once."""

    def __init__(self, limit: int, name: str, sources: frozenset[str]) -> None:
        self._limit = limit
        self._name = name
        self._moved = shifts.signs_in(name)
        self._is_name = name in damage.NAMES
        self._is_user_name = COLUMNS[name].rule is Rule.USER_NAME
        self._other_kinds = kinds.Search(name)
        rare = self._moved[0] if self._moved else damage.SIGNS_IN_NAMES if self._is_name else kinds.SIGNS
        self._plain = _PLAIN_ASCII.translate(None, rare)
        self._untelling = _UNTELLING.translate(None, rare)
        self._is_town = name in shifts.TOWNS
        self._is_number = name in damage.NUMBERS
        self._has_more = self._is_name or self._is_user_name or self._is_number or self._other_kinds.has_some
        self._words = words.IN_PLACE_OF.get(name, frozenset()) | samples.SUSPECTS.get(name, frozenset())
        self._words |= sources if self._is_name else frozenset()
        self._right: set[str] | None = set()  # values that are; None: they hardly repeat

    def __call__(self, cells: Cells, suspects: set[int]) -> Cells:
        if self._right is None:
            suspects.update(self._doubtful(cells) if any(cells) else ())
        elif not self._right.issuperset(cells):
            suspects.update(self._doubtful_once(cells, self._right))
        return cells

    def _doubtful_once(self, cells: Cells, right: set[str]) -> Iterator[int]:
        """Yield the positions of doubtful cells, of which only new ones are looked at."""
        new = [*{*cells} - right]
        wrong = {new[position] for position in self._doubtful(new)}
        if len(right) > 1 and 2 * len(new) > len(cells):
            self._right = None
        elif len(right) > _KNOWN_TEXTS:
            right.clear()
        else:
            right.update(text for text in new if text not in wrong)
        return _positions(cells, wrong.__contains__) if wrong else iter(())

    def _doubtful(self, cells: Cells) -> Iterator[int]:
        yield from _too_long(cells, self._limit)
        joined = _joined(cells)
        if telling := joined.encode().translate(None, self._untelling):
            rest = _rest(telling, self._plain)
            yield from _untidy(joined, telling, rest)
            if rest or self._has_more:
                for pattern, text in self._searches(joined, telling, rest):
                    yield from _found(pattern, text)
        if self._words and not self._words.isdisjoint(cells):
            yield from _positions(cells, self._words.__contains__)
        if self._is_town:
            yield from shifts.provinces_among(cells)

    def _searches(self, joined: str, telling: bytes, rest: str) -> Iterator[tuple[re.Pattern[str], str]]:
        """Yield what finds doubtful values in the column, and the text in which it does."""
        if rest:
            yield from ((pattern, joined) for pattern in damage.text_patterns(joined, self._name, rest))
            if self._moved and self._moved[1].search(rest):
                yield self._moved[2], joined
        if self._is_number and not remarks.signs_in(telling):
            return
        yield from ((pattern, joined) for pattern in self._other_kinds(joined, rest))
        if self._is_name:
            yield from remarks.in_names(joined)
        elif self._is_user_name:
            yield from remarks.in_ids(joined, remarks.signs_in(telling), is_key=False)
        elif self._is_number:
            yield from ((pattern, joined) for pattern in damage.number_patterns(joined))


class _Key:
    """Looks at unique ids."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._has_full_number = False
        self._lost = 0  # ids that may have lost digits

    def __call__(self, cells: Cells, suspects: set[int]) -> Cells:
        longest = max(map(len, cells))
        if longest > self._limit:
            suspects.update(_too_long(cells, self._limit))
        joined = _joined(cells)
        if telling := joined.encode().translate(None, _UNTELLING_IN_IDS):
            suspects.update(self._doubtful(joined, telling))
        if not words.SUSPECT_IDS.isdisjoint(cells):
            suspects.update(_positions(cells, words.SUSPECT_IDS.__contains__))
        if not self._has_full_number and longest >= damage.LONG_DIGITS:
            self._look_for_lost_digits(joined, suspects)
        return cells

    def _doubtful(self, joined: str, telling: bytes) -> Iterator[int]:
        rest, signs = _rest(telling), remarks.signs_in(telling)
        yield from _untidy(joined, telling, rest)
        if signs:
            for pattern in damage.id_patterns(joined, rest):
                yield from _found(pattern, joined)
        for pattern, text in remarks.in_ids(joined, signs, is_key=True):
            yield from _found(pattern, text)

    def _look_for_lost_digits(self, joined: str, suspects: set[int]) -> None:
        full = [*itertools.islice(_found(damage.FULL_NUMBER_SHAPE, joined), 1)]  # one is enough to know
        self._has_full_number = bool(full)
        suspects.update(full)
        if not full and self._lost <= damage.MOST_LOST:
            lost = [*_found(damage.LOST_DIGITS_SHAPE, joined)]
            self._lost += len(lost)
            suspects.update(lost)


class _Chosen:
    """Looks at values that repeat: each distinct one is judged once. `counts` the right ones, of which are few."""

    def __init__(self, judge: rules.Judge, limit: int, counts: Counter[str] | None) -> None:
        def judged(text: str) -> str | Problem:
            is_doubtful = len(text) > limit or days.is_dummy(text) or not (is_plain(text) or _is_tidy(text))
            return _UNDECIDED if is_doubtful else judge(text) if text else text

        self._verdicts = rules.Memo(judged)
        self._right: set[str] = set()  # texts that stay as they are
        self._counts = counts
        self.is_counting = counts is not None

    def __call__(self, cells: Cells, suspects: set[int]) -> Cells:
        differing = {} if self._right.issuperset(cells) else self._differing(cells)
        if self._counts is not None:
            self._counts.update([cell for cell in cells if cell not in differing] if differing else cells)
        if not differing:
            return cells
        corrected = {text: verdict for text, verdict in differing.items() if isinstance(verdict, str)}
        suspects.update(_positions(cells, (differing.keys() - corrected).__contains__))
        return [corrected.get(cell, cell) for cell in cells]

    def _differing(self, cells: Cells) -> dict[str, str | Problem]:
        """Return the verdicts on those that are wrong, or stored in another spelling."""
        verdicts = self._verdicts
        seen = {*cells}
        differing = {text: verdict for text in seen - self._right if (verdict := verdicts[text]) != text}
        if len(self._right) > rules.MEMO_ENTRIES:
            self._right.clear()
        self._right |= seen - differing.keys()
        return differing


class _Address:
    """Looks at e-mail addresses."""

    def __init__(self, judge: rules.Judge, limit: int) -> None:
        self._judge = judge
        self._limit = limit
        self._accepted: set[str] = {""}  # domains, of which a file as a rule has few

    def __call__(self, cells: Cells, suspects: set[int]) -> Cells:
        joined = _joined(cells)
        domains: list[str] = _ADDRESS.findall(joined)
        if len(domains) != len(cells):
            others = set(_ADDRESS.sub("", joined).split("\n")) - {""}
            suspects.update(_positions(cells, others.__contains__))
            suspects.update(_found(_ODD, joined))
        for pattern in damage.address_patterns(joined):
            suspects.update(_found(pattern, joined))
        if refused := {domain for domain in set(domains) - self._accepted if not self._is_accepted(domain)}:
            suspects.update(_positions(cells, lambda cell: cell.rpartition("@")[2] in refused))
        suspects.update(_too_long(cells, self._limit))
        return cells

    def _is_accepted(self, domain: str) -> bool:
        if addresses.is_doubtful(domain) or not isinstance(self._judge(f"a@{domain}"), str):
            return False
        if len(self._accepted) < _KNOWN_DOMAINS:
            self._accepted.add(domain)
        return True


def _positions(cells: Cells, is_suspect: Callable[[str], bool]) -> Iterator[int]:
    return (position for position, cell in enumerate(cells) if is_suspect(cell))


def _too_long(cells: Cells, limit: int) -> Iterator[int]:
    if max(map(len, cells)) > limit:
        yield from _positions(cells, lambda cell: len(cell) > limit)


def _without_line_feeds(cells: Cells) -> Cells:
    """Return the cells with another control character for each line feed, so that they can be joined."""
    return [cell.replace("\n", "\x7f") for cell in cells] if "\n" in "".join(cells) else cells


def _joined(cells: Cells) -> str:
    """Return the cells, none of which has a line feed, each between two of them."""
    return "\n".join(("", *cells, ""))


def _is_tidy(text: str) -> bool:
    joined = _joined((text,))
    telling = joined.encode().translate(None, _UNTELLING)
    return not any(True for _ in _untidy(joined, telling, _rest(telling)))


def _rest(telling: bytes, plain: bytes = _PLAIN_ASCII) -> str:
    """Return what is left of a column without the characters that are in order in any text: of most columns nothing."""
    # Leaving out bytes is four times as fast as looking for others, and what is left is short.
    return telling.translate(None, plain).decode()


def _untidy(joined: str, telling: bytes, rest: str) -> Iterator[int]:
    """Yield the positions of cells that need a closer look."""
    if telling.strip(b"-") or "\n-" in joined:  # or they are numbers such as those of phones
        yield from _found(_UNTIDY, joined)
    if " \n" in joined:
        yield from _found(_BLANK_END, joined)
    if rest:
        for pattern in _patterns(rest):
            yield from _found(pattern, joined)


def _patterns(rest: str) -> Iterator[re.Pattern[str]]:
    """Yield what finds untidy cells, as far as there may be some."""
    if _ODD.search(rest):
        yield _ODD
    if not rest.isascii() and _GARBLED_SIGNS.search(rest):
        yield _GARBLED
    if not rest.isascii() and _ODD_ACCENTS.search(rest):
        yield _ACCENTS
    if not rest.isascii() and _CYRILLIC.search(rest):
        yield _TWO_CASES
    if not rest.isascii() and _CHINESE.search(rest):
        yield _MIXED
    if "+" in rest:
        yield _EXPONENT
    if "'" in rest:
        yield _GUARDED_PART
    if ":" in rest:
        yield _NUMBERED_ERROR


def _found(pattern: re.Pattern[str], joined: str) -> Iterator[int]:
    """Yield the position of each cell in which a match ends."""
    position, counted = -1, 0
    for match in pattern.finditer(joined):
        last = match.end() - 1
        position += joined.count("\n", counted, last)
        counted = last
        yield position
