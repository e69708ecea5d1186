"""
Rows whose values are in the columns of their neighbours, although there are as many as columns. Pure.

A delimiter inside a value moves the others to the right, a missing cell moves them to the left; where a blank cell
takes up the difference, the row looks whole. One value in a wrong column says little, unless its own column next to it
is empty: two that are off by as many columns or exchanged, each in the form of what belongs there and not of its own,
are told. In a row that fails they are told in place of the rules that they break, as are marks around the values.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from importer.file.header import Header, delimiter_message
from importer.file.header_reasons import shown_name
from importer.model import Message, Problem, message
from importer.patterns import regex
from importer.rows import damage
from importer.rows.values import provinces, remarks, samples
from importer.rows.values.provinces import CODES
from importer.settings import ReferenceSettings

_COLUMNS: Final = (-1, 1, -2, 2, -3, 3)  # by which values are looked for, to where they belong
_SIGNS: Final = 2  # that are enough
_LONG: Final = 4  # letters of a login source that nobody is called
_ADRIFT_KINDS: Final = ("street", "town", "postal", "phone")  # where a value without the form of its column is a sign
_NEXT_KINDS: Final = ("street", "postal", "phone", "mail", "province")  # whose form few other values have
_WORD_KINDS: Final = ("name", "town")  # a word may belong there, or anywhere
_TELLING_KINDS: Final = ("mail", "login")  # one such value in another column is enough, if its own has none

_POSTAL: Final = r"[A-Za-z]\d[A-Za-z][ -]?\d[A-Za-z]\d"
_POSTALS: Final = rf"{_POSTAL}|\d{{5}}(?:-\d{{4}})?|[A-Za-z]{{1,2}}\d[A-Za-z\d]? ?\d[A-Za-z]{{2}}"  # of other countries
_PHONE: Final = r"\+?(?:\d[ .-]?)?\(?\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}(?:\D.*)?"
_MAIL: Final = r"[A-Za-z][^\s@]*+@[^\s@]+\.[^\s@]+"
_UNIT: Final = r"(?:apt|apartment|unit|suite|app|appt|appartement|bureau|room|floor|po box|p\.o\. box)\b\.?.*\d.*"
_STREET: Final = r"\d[\w/-]*,? +(?!ext|poste|x|mile house)[^\W\d_]{2}.*"
_WORDS: Final = r"[^\W\d_]{3}[^\d@]*"
_CODE: Final = rf"(?=[A-Z]{{2}}\Z)(?:{'|'.join(sorted(CODES))})"
_SOME_LOWER: Final = r"(?=.*(?-i:[a-z]))"
_SOME_LETTER: Final = r"(?=.*[A-Za-z])"


def _whole(*patterns: str) -> re.Pattern[str]:
    return regex(rf"(?:{'|'.join(patterns)})\Z", re.IGNORECASE)


_NOTHING: Final = regex(r"(?!)")
# Kind of column -> the form of what belongs there, and of what surely does not, as far as `signs_in` can find it.
_FORMS: Final = {
    "name": (_whole(_WORDS), _whole(_PHONE, _STREET, _MAIL)),
    "town": (_whole(_WORDS), _whole(_POSTALS, _PHONE, _MAIL, _STREET, _UNIT, rf"(?-i:{_CODE})")),
    "street": (_whole(_STREET, _UNIT), _whole(_POSTAL, _PHONE, _MAIL)),
    "postal": (_whole(_POSTALS), _whole(_SOME_LOWER + _WORDS)),
    "phone": (_whole(_PHONE), _whole(_SOME_LETTER + _WORDS, _POSTAL, _MAIL, _STREET, _UNIT)),
    "mail": (_whole(_MAIL), _NOTHING),
    "province": (regex(rf"(?:{_CODE})\Z"), _NOTHING),
    "": (_NOTHING, _NOTHING),
}
_KINDS: Final = {
    **dict.fromkeys(("first_name", "last_name"), "name"),
    **dict.fromkeys(("city", "city2"), "town"),
    **dict.fromkeys(("street", "street2"), "street"),
    **dict.fromkeys(("postal_code", "postal_code2"), "postal"),
    **dict.fromkeys(("phone_cell", "employee_phone", "student_phone"), "phone"),
    **dict.fromkeys(("province", "province2"), "province"),
    "email": "mail",
}

# In a column, what one of these may be in: the signs that others hardly have, and what finds such a value by them.
_LOWER: Final = bytes(range(0x61, 0x7B))
_LETTERS: Final = _LOWER + bytes(range(0x41, 0x5B))
_BY_KIND: Final = {
    "postal": (_LOWER + b"@/", regex(r"[a-z]"), regex(r"\n[^\W\d_]{3}")),
    "phone": (
        _LETTERS + b"@/",
        regex(r"[A-Za-z]"),
        regex(r"\n(?:[^\W\d_]|\d[\w/-]*,? +(?!ext|poste|x)[^\W\d_]{2})", re.IGNORECASE),
    ),
}
_IN_TOWNS: Final = (b"@0123456789", regex(r"[@0-9]"), regex(r"[@\d]"))
TOWNS: Final = ("city", "city2")


def signs_in(name: str) -> tuple[bytes, re.Pattern[str], re.Pattern[str]] | None:
    """Return the ASCII that a column of this name hardly has, what tells whether it has some, and what finds where."""
    return _IN_TOWNS if name in TOWNS else _BY_KIND.get(_KINDS.get(name, ""))


def provinces_among(cells: Sequence[str]) -> Iterator[int]:
    """Yield the positions of codes of provinces in the column of a town."""
    return _positions(cells, CODES)


def _positions(cells: Sequence[str], words: frozenset[str]) -> Iterator[int]:
    if not words.isdisjoint(cells):
        yield from (position for position, cell in enumerate(cells) if cell in words)


# Kind of column -> the form of what belongs there, in a row that fails: what breaks the rule of its column need not be
# found among right values, so more can be told.
_BELONGS: Final = {
    **{kind: belongs for kind, (belongs, _) in _FORMS.items()},
    "name": _whole(rf"(?!(?:{_CODE})\Z)[^\W\d_][^\d@]*"),
    "postal": _whole(_POSTAL),
    "date": _whole(r"\d{4}-\d\d-\d\d"),
    "login": _NOTHING,
    "secret": _NOTHING,
}
_TELLING: Final = (_MAIL, _STREET, _UNIT, _POSTAL, _PHONE, r"\d{4}-\d\d-\d\d", rf"(?-i:{_CODE})")
_STRONG: Final = _whole(*_TELLING)  # all that belongs anywhere but mere words and login sources
_ELSEWHERE: Final = _whole(*_TELLING, r"[^\W\d_][^\d@]*")  # what breaks a rule because it moved is one of these
# What surely does not belong there, where _FORMS has not all of it.
_FOREIGN: Final = {
    "postal": _whole(_SOME_LOWER + _WORDS, rf"(?-i:{_CODE})"),
    "secret": _whole(_POSTAL, _MAIL, _STREET),
    "date": _NOTHING,
    "login": _NOTHING,
}
_ADDRESS: Final = _whole(_MAIL)
_IDS: Final = ("unique_id", "user_name", "student_no", "employ_no")
_ID: Final = regex(rf"(?=\S*\d)(?!(?:{_PHONE})\Z)[\w.-]+\Z")
_NO_ADDRESS_IN: Final = frozenset(name for name, kind in _KINDS.items() if kind != "mail")
_PROVINCES: Final = frozenset(name for name, kind in _KINDS.items() if kind == "province")
_FAILING_KINDS: Final = {**_KINDS, "date_of_birth": "date", "login_source": "login"}


_Near = dict[int, list[tuple[int, str, Callable[[str], object]]]]  # how far, the kind there, what tells its values


class Cause(msgspec.Struct, frozen=True):
    """One problem in place of those of some attributes; `by`: how many columns to the right the values moved."""

    problem: Problem
    explained: frozenset[str]
    by: int = 0


class _Strays:
    """Finds values in columns that are not theirs; `kinds`: of the columns that have a form."""

    def __init__(self, kinds: Mapping[int, str]) -> None:
        self._kinds = kinds

    def found(self, cells: Sequence[str]) -> tuple[str, Sequence[int]]:
        """Return the key of the warning and two columns, none if no value is in a wrong one."""
        texts = {at: text for at in self._kinds if (text := cells[at].strip())}
        strange = [at for at, text in texts.items() if _FORMS[self._kinds[at]][1].match(text)]
        surely = [at for at in strange if self._kinds[at] != "street"]  # streets are not screened
        if not surely:
            return "", ()
        if places := self._moved(texts, strange) or self._exchanged(texts, surely):
            return "row.shifted", places
        return "row.shifted/one", self._next_to_blank(texts, surely)

    def _moved(self, texts: Mapping[int, str], strange: Collection[int]) -> Sequence[int]:
        """Return the columns of the first two values that moved as far, none if there are fewer."""
        for by in _COLUMNS:
            moved = {
                text: at
                for at, text in texts.items()
                if self._fits(at + by, text) and (at in strange or self._is_adrift(at, at + by, texts))
            }
            places = sorted(moved.values(), key=lambda at: at not in strange)  # the surest first
            if len(places) >= _SIGNS and places[0] in strange:  # a word for "unknown" in several columns counts once
                return sorted(places[:_SIGNS])
        return ()

    def _exchanged(self, texts: Mapping[int, str], strange: Iterable[int]) -> Sequence[int]:
        """Return two columns each of which has a value of the other, none if there are none."""
        for at in strange:
            for other, text in texts.items():
                if self._fits(at, text) and self._fits(other, texts[at]) and not self._fits(other, text):
                    return sorted((at, other))
        return ()

    def _next_to_blank(self, texts: Mapping[int, str], strange: Iterable[int]) -> Sequence[int]:
        """Return the column of a value that belongs in the empty one next to it, and that one, or none."""
        for at in strange:
            for other in (at - 1, at + 1):
                is_free = other not in texts and self._kinds.get(other, "") in _NEXT_KINDS
                if is_free and self._fits(other, texts[at]):
                    return (at, other)
        return ()

    def _fits(self, at: int, text: str) -> bool:
        return bool(_FORMS[self._kinds.get(at, "")][0].match(text))

    def _is_adrift(self, at: int, to: int, texts: Mapping[int, str]) -> bool:
        """Tell whether a value has not the form of its column, nor what is in the one to which it may belong."""
        is_free = to not in texts or not self._fits(to, texts[to])
        return is_free and self._kinds[at] in _ADRIFT_KINDS and not self._fits(at, texts[at])


class Shifts:
    """Finds the moved values in the rows of one file."""

    def __init__(self, header: Header, reference: ReferenceSettings) -> None:
        self._login_sources = frozenset(("OPSCOM", *reference.login_sources))
        self.long_sources = frozenset(source for source in self._login_sources if len(source) >= _LONG)
        names = {index: name for name, (index, *_) in header.columns.items()}
        self._name_places = {name: at for at, name in names.items() if name in damage.NAMES}
        self._kinds = {at: _KINDS[name] for at, name in sorted(names.items()) if name in _KINDS}
        self._strays = _Strays(self._kinds)
        self._mail_at = next((at for at, kind in self._kinds.items() if kind == "mail"), -1)
        self._delimiter = delimiter_message(header.delimiter)
        secret = {at: shown_name(title) for at, title in enumerate(header.titles) if title in header.secret}
        self._names = dict(sorted((names | secret).items()))
        self._failing_kinds = {
            at: "secret" if at in secret else _FAILING_KINDS.get(name, "") for at, name in self._names.items()
        }
        foreign = {**{kind: pattern for kind, (_, pattern) in _FORMS.items()}, **_FOREIGN}
        self._looks = [(at, name, foreign[self._failing_kinds[at]]) for at, name in self._names.items()]

    def login_sources_among(self, ids: Sequence[str]) -> Iterator[int]:
        """Yield the positions of ids that are a login source."""
        return _positions(ids, self._login_sources)

    def warnings_in(self, unique_id: str, cells: Sequence[str]) -> list[tuple[str, str]]:
        """Return the warning of a row with moved values, if it has some, as its code and the names of two columns."""
        if unique_id in self._login_sources:
            return [("row.shifted/id", "unique_id")]
        key, places = self._strays.found(cells)
        moved = [(key, " ".join(self._names[at] for at in places))] if places else []
        moved += [("value.marks", self._names[at]) for at in _split(self._names, cells)]
        values = {name: cells[at].strip() for name, at in self._name_places.items()}
        moved += _of_names(values, self.long_sources)
        if samples.may_be_one(values.get("first_name", ""), values.get("last_name", "")):
            moved += samples.doubts_of({name: cells[at].strip() for at, name in self._names.items()})
        return moved

    def cause(self, cells: Sequence[str], problems: Sequence[Problem]) -> Cause | None:
        """Return what explains problems of a row that has as many cells as the header, or that it has no address."""
        if not (problems or self._has_address_elsewhere(cells)):
            return None
        failed = frozenset([problem.field for problem in problems])
        if marks := damage.odd_marks_around(cells):
            return _cause(message("9033/in_marks", mark=marks), self._names.values())
        has_marks = damage.have_marks(cells)
        if has_marks and damage.has_split_marks(cells):
            return _cause(message("9003/marks_moved", delimiter=self._delimiter), failed)
        if has_marks and (cause := self._marks(cells, failed)):
            return cause
        wrong = [cells[at].strip() for at, name in self._names.items() if name in failed]
        may_have_moved = not failed or any(map(_ELSEWHERE.match, wrong))
        return (self._move(cells, failed) if may_have_moved else None) or self._exchange(cells, failed)

    def _has_address_elsewhere(self, cells: Sequence[str]) -> bool:
        """Tell whether a user has no address, and another cell may be one."""
        return self._mail_at >= 0 and not cells[self._mail_at].strip() and "@" in "".join(cells)

    def _marks(self, cells: Sequence[str], failed: Collection[str]) -> Cause | None:
        marked = {name: text[0] for at, name in self._names.items() if damage.is_in_marks(text := cells[at].strip())}
        if len(marked) < _SIGNS or marked.keys().isdisjoint(failed):
            return None
        mark = next(iter(marked.values()))
        return _cause(message("9033/quoted_twice") if mark == '"' else message("9033/in_marks", mark=mark), marked)

    def _exchange(self, cells: Sequence[str], failed: Collection[str]) -> Cause | None:
        """Return that two values are exchanged, of which the e-mail address or the login source is one."""
        texts = {name: cells[at].strip() for at, name in self._names.items()}
        if "login_source" in failed and texts.get("unique_id") in self._login_sources:
            pair = ("unique_id", "login_source")
        elif "email" in failed and "@" not in texts["email"]:
            others = [at for at, name in self._names.items() if name in _NO_ADDRESS_IN and _ADDRESS.match(texts[name])]
            if not others and _ID.match(texts["email"]):  # what may be an address changed places with an id
                others = [at for at, name in self._names.items() if name in _IDS and _ADDRESS.match(texts[name])]
            pair = ("email", self._names[others[0]]) if len(others) == 1 else ("", "")
        else:
            pair = ("", "")
        return _cause(message("9003/exchanged", first=pair[0], second=pair[1]), pair) if all(pair) else None

    def _move(self, cells: Sequence[str], failed: Collection[str]) -> Cause | None:
        """Return how the values moved, None if nothing says that they did."""
        strange, sources = self._strange(cells, failed), self._login_sources
        strong = {at: text for at in strange if (text := cells[at].strip()) in sources or _STRONG.match(text)}
        # A wrong date is a date all the same.
        if not any(text in sources or not self._belongs(at, text) for at, text in strong.items()):
            return None
        texts = {at: text for at in self._names if (text := cells[at].strip())}
        signs = self._signs(strange, strong, texts)
        by = max(_COLUMNS, key=lambda each: len(signs[each]))
        if not self._are_enough(by, signs[by], texts):
            return None
        first = signs[by][0]
        for at in reversed([at for at in strange if at < first and self._belongs(at + by, texts[at])]):
            first = at if self._all_may_have_moved(range(at, first), by, texts) else first
        for at in sorted(filter(first.__gt__, self._names), reverse=True):
            if at not in strange:
                break
            first = at
        key = f"9003/{'right' if by < 0 else 'left'}"
        reason = message(key, column=self._names[first], delimiter=self._delimiter)
        if abs(by) > 1:
            reason = message(f"{key}_many", column=self._names[first], delimiter=self._delimiter, columns=abs(by))
        return _cause(reason, [name for at, name in self._names.items() if at >= first], -by)

    def _strange(self, cells: Sequence[str], failed: Collection[str]) -> list[int]:
        """Return the columns whose values break their rule, or surely belong elsewhere."""
        sources = self._login_sources
        return [
            at
            for at, name, foreign in self._looks
            if (text := cells[at].strip())
            and (name in failed or foreign.match(text) or (text in sources and name != "login_source"))
            and not (name in _PROVINCES and provinces.code_meant(text))
        ]

    def _belongs(self, at: int, text: str) -> bool:
        kind = self._failing_kinds.get(at, "")
        return text in self._login_sources if kind == "login" else bool(_BELONGS[kind].match(text))

    @functools.cached_property
    def _near(self) -> tuple[_Near, _Near]:
        """Return to which columns a mere word may have moved from each, and to which any other value."""
        kinds = {at: kind for at, kind in self._failing_kinds.items() if kind not in ("", "secret")}
        fits: dict[str, Callable[[str], object]] = {kind: _BELONGS[kind].match for kind in kinds.values()}
        fits["login"] = self._login_sources.__contains__
        near = {at: [(by, kinds[at + by]) for by in _COLUMNS if at + by in kinds] for at in self._names}
        others = {at: [(by, kind, fits[kind]) for by, kind in each] for at, each in near.items()}
        words = {at: [place for place in each if place[1] in _WORD_KINDS] for at, each in others.items()}
        return words, others

    def _signs(self, strange: Iterable[int], strong: Collection[int], texts: Mapping[int, str]) -> dict[int, list[int]]:
        """Return, by how far, the columns whose values fit there; a mere word only if what is there does not fit."""
        signs: dict[int, list[int]] = {by: [] for by in _COLUMNS}
        for at in strange:
            text = texts[at]
            fitting: dict[str, object] = {}  # near columns are often of one kind
            for by, kind, fits in self._near[at in strong][at]:
                if kind not in fitting:
                    fitting[kind] = fits(text)
                if fitting[kind] and not (kind in _WORD_KINDS and self._is_settled(at + by, texts)):
                    signs[by].append(at)
        return signs

    def _is_settled(self, at: int, texts: Mapping[int, str]) -> bool:
        return at in texts and self._belongs(at, texts[at])

    def _are_enough(self, by: int, signs: Sequence[int], texts: Mapping[int, str]) -> bool:
        """Tell whether values moved: two of different content, one of which is no mere word, or the one that tells."""
        strong = [at for at in signs if self._failing_kinds[at + by] not in _WORD_KINDS]
        is_telling = any(
            self._failing_kinds[at + by] in _TELLING_KINDS
            and not self._is_settled(at + by, texts)
            and not self._belongs(at, texts.get(at + by, ""))  # or the two were exchanged
            for at in strong
        )
        if not is_telling and (not strong or len({texts[at] for at in signs}) < _SIGNS):
            return False
        return self._all_may_have_moved(range(signs[0], signs[-1]), by, texts)

    def _all_may_have_moved(self, columns: range, by: int, texts: Mapping[int, str]) -> bool:
        """Tell whether no value between these columns is surely in its own."""
        return not any(
            self._failing_kinds[at] not in _WORD_KINDS
            and self._is_settled(at, texts)
            and not self._belongs(at + by, texts[at])
            for at in texts
            if at in columns
        )


def _split(columns: Container[int], cells: Sequence[str]) -> Iterator[int]:
    """Yield those of the columns between which a value in marks is split, although no cell is too many."""
    if damage.have_marks(cells):
        for at, (cell, following) in enumerate(itertools.pairwise(cells)):
            if at in columns and at + 1 in columns and damage.is_split(cell.strip(), following.strip()):
                yield from (at, at + 1)


def _of_names(values: Mapping[str, str], sources: Collection[str]) -> list[tuple[str, str]]:
    """Return the warnings of names, that are a login source, or both names in one."""
    wrong = [("row.shifted/source", name) for name, text in values.items() if text in sources]
    if len(values) == len(damage.NAMES):
        first, last = values["first_name"], values["last_name"]
        if remarks.is_whole(first, last):
            wrong.append(("name.doubtful/whole", "first_name"))
        elif remarks.is_whole_last(first, last):
            wrong.append(("name.doubtful/whole", "last_name"))
    return wrong


def _cause(reason: Message, explained: Collection[str], by: int = 0) -> Cause:
    """Return the cause; its field says that the id is not known, or a snapshot would take its user for missing."""
    return Cause(Problem("unique_id" if "unique_id" in explained else "", reason), frozenset(explained), by)
