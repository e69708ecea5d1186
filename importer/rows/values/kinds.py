"""Values of another kind than their column has, such as a word or a date in the column of a phone. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from importer.patterns import regex
from importer.rows.values.provinces import CODES

PHONES: Final = ("phone_cell", "employee_phone", "student_phone")
_POSTAL_CODES: Final = ("postal_code", "postal_code2")
_STREETS: Final = ("street", "street2")
PHONE: Final = "row.shifted/phone"
OTHER: Final = "row.shifted/other"

_MAIL: Final = r"[^\s@]+@[^\s@]+\.[^\s@]+"
_DATE: Final = r"(?:19|20)\d\d([-/.])\d{1,2}\1\d{1,2}(?:[ T]\d.*)?|\d{1,2}/\d{1,2}/(?:19|20)\d\d(?: \d.*)?"
_SPELT_DATE: Final = r"\d{1,2}[- ][A-Za-z]{3,4}\.?(?:[- ]\d{2,4})?"
_DIALLED: Final = r"(?:\+?1[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}"
_POSTAL: Final = r"[A-Za-z]\d[A-Za-z] ?\d[A-Za-z]\d"
_NO_PHONE: Final = regex(
    rf".*@|{_DATE}\Z|{_SPELT_DATE}\Z|{_POSTAL}\Z|\D*[^\W\d_]\D*\Z|.*(?:(?<![A-Za-z])[OolI]\d|\d[OolI](?![A-Za-z]))"
    rf"|\d{{1,5}}[A-Za-z]?,? +(?!ext|poste|loc|x)[^\W\d_]{{2,}}\.? \D*\Z"
    r"|(?!x|ext|loc|p|tel)[A-Za-z]{1,3}-?(?:\d{4,6}|\d{8,9})\Z"
)
_NO_POSTAL_CODE: Final = regex(rf".*@|{_DATE}\Z|(?=[^\W\d_]{{3}})\D*[a-z]\D*\Z")
_STREET: Final = (
    r"\d{1,5}[A-Za-z]?,? (?:[^\W\d_].* )?(?:(?:St|Street|Ave?|Avenue|Rd|Road|Dr|Drive|Blvd|Cres|Lane|Court)\b\.?"
    r"|(?i:rue|avenue|boul|boulevard|chemin)\b.*)"
)
_NO_TOWN: Final = regex(
    rf"{_MAIL}\Z|{_DATE}\Z|{_DIALLED}\Z|{_POSTAL}\Z|(?:{'|'.join(sorted(CODES))})\Z|{_STREET}(?: \w+)?\Z"
)
_NO_STREET: Final = regex(rf"{_MAIL}\Z")
_NO_NUMBER: Final = regex(rf"{_MAIL}\Z|{_DIALLED}\Z")

_KINDS: Final = {
    **dict.fromkeys(PHONES, _NO_PHONE),
    **dict.fromkeys(_POSTAL_CODES, _NO_POSTAL_CODE),
    **dict.fromkeys(("city", "city2"), _NO_TOWN),
    **dict.fromkeys(_STREETS, _NO_STREET),
    **dict.fromkeys(("student_no", "employ_no"), _NO_NUMBER),
}


def doubt_of(name: str, value: str) -> str:
    """Return the code of a value that is of another kind than the column of this name has, "" if it is not."""
    if name not in _KINDS or not _KINDS[name].match(value):
        return ""
    return PHONE if name in PHONES else OTHER


def unexplained(warnings: Iterable[tuple[str, str]], moved: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the warnings, each a code and a column, without those that moved values explain."""
    told = dict(moved)  # of which "row.shifted" says "and perhaps more"
    explained = {name for names in told.values() for name in names.split()}
    return [
        (code, name)
        for code, name in warnings
        if code not in (PHONE, OTHER) or not ("row.shifted" in told or name in explained)
    ]


# The same in a column of each kind, as `column_screen` has it: before each, what the column must have.
SIGNS: Final = b"@"  # that are rare in any column
_AT: Final = ("@", regex("@"))
_DATES: Final = tuple((f"\n{century}", regex(rf"\n{century}\d\d[-/.]\d", re.ASCII)) for century in ("19", "20"))
_DIALLED_SHAPE: Final = regex(rf"\n{_DIALLED}(?=\n)")
_NEEDED: Final = {
    **dict.fromkeys((*PHONES, *_POSTAL_CODES), _DATES),
    **dict.fromkeys(("student_no", "employ_no"), tuple((sign, _DIALLED_SHAPE) for sign in "-( .")),
}
_LETTERS_FOR_DIGITS: Final = tuple((letter, regex(letter)) for letter in "OolI")
_SPELT_DATES: Final = tuple((letter, regex(r"\n\d{1,2}[- ][A-Za-z]")) for letter in "aepuc")  # one is in each month
_RARE: Final = {
    **dict.fromkeys(PHONES, (_AT, ("/", regex("/")), *_LETTERS_FOR_DIGITS, *_SPELT_DATES)),
    **dict.fromkeys(_POSTAL_CODES, (_AT, ("/", regex("/")))),
    **dict.fromkeys((*_STREETS, "student_no", "employ_no"), (_AT,)),
}


class Search:
    """Finds such values in the column of an attribute."""

    def __init__(self, name: str) -> None:
        self._needed = _NEEDED.get(name, ())
        self._rare = _RARE.get(name, ())
        self.has_some = bool(self._needed)  # although no rare sign is in the column

    def __call__(self, joined: str, rest: str) -> Iterator[re.Pattern[str]]:
        """Yield what finds them, as far as the column may have some; `rest`: its rare signs."""
        yield from (pattern for needed, pattern in self._needed if needed in joined)
        if rest:
            yield from (pattern for sign, pattern in self._rare if sign in rest)
