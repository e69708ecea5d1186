"""
Signs and remarks that people and programs add to ids, user names and names, and signs in place of plain ones. Pure.

Where a sign is part of no id the row fails, unless the id is recorded so; where it may be, the value is told.
"""

from __future__ import annotations

import operator
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from importer.patterns import regex

SIGN: Final = "value.marks/sign"
REMARK: Final = "value.marks/remark"
TWO: Final = "value.marks/two"

_GUID: Final = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_AROUND: Final = regex(  # brackets, or the same sign at the front and at the end
    rf"\([^()]*\)\Z|\[[^\[\]]*\]\Z|\{{(?!{_GUID}\}})[^{{}}]*\}}\Z|<[^<>]*>\Z|([~|*^/\\#%!=+:;-])\1*\w.*\1\Z", re.DOTALL
)
_BASE_64: Final = regex(  # with its end, which no other id has: of an account at Microsoft
    r"(?=.*[A-Za-z])(?:[A-Za-z\d+/]{4}){2,}(?:[A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=)\Z", re.ASCII
)
_LABEL_PATTERN: Final = (
    r"(?:(?:(?:student|employee|user|staff|person|account|unique)[ _-]?)?"
    r"(?:(?:ids?|no|nr|num|number|numéro|matricule|emplid|pidm|i\.d)(?:\s*[:=#°]\s*|\.?\s+)|(?:emp|stu)\s*[:=#°]\s*)"
    r"|(?:n[°º]|№)(?:\s*[:=#°]\s*|\.?\s+))(?=\S*\d)"
)
_LABEL: Final = regex(_LABEL_PATTERN, re.IGNORECASE)
_AT_EDGE: Final = regex(  # of no id
    rf"(?!\{{{_GUID}\}}\Z)(?:[]()\[{{}}<>,;:*?!|~^=\\/%]|[^(]*\)\Z|.*[]\[({{}}<>,;:*?!|~^=\\/]\Z)", re.DOTALL
)
_DOUBTFUL: Final = regex(  # such as #100; + is also in front of a phone number
    r"[@&.$#-]\S|\+(?!\d{10})|.*\d\s?[/&+]\s\S*\d|.*\S[@&.$#%+-]\Z|.*[;|]|.*,\s*[^\W\d_]+\d", re.DOTALL
)
_TWO: Final = regex(  # in one cell, with the same letters; of digits alone, as long
    r"([A-Za-z]{1,5}[-_]?)\d+\s?(?:[/,;|+&]|(?<=\s)(?:and|or|et|ou|und|y)(?=\s))\s?\1\d+\Z"
    r"|\d{4,}\s?,\s?\d{4,}\Z|\d{3,}\s?(?:[;|+&]|(?<=\s)(?:and|or|et|ou|und|y)(?=\s)|(?<=\s)/(?=\s))\s?\d{3,}\Z"
    r"|(?=\d{4}/\d{4}\Z|\d{5}/\d{5}\Z|\d{6}/\d{6}\Z|\d{7}/\d{7}\Z|\d{8}/\d{8}\Z|\d{9}/\d{9}\Z)"
)
ALIKE: Final = (  # letters of Cyrillic and Greek that look like Latin ones
    "\u0405\u0406\u0408\u0410\u0412\u0415\u041a\u041c-\u041e\u0420-\u0423\u0425\u0430\u0435\u043e\u0440\u0441\u0443"
    "\u0445\u0455\u0456\u0458\u0391\u0392\u0395-\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf"
)
_LOOKS_LATIN: Final = regex(rf"(?=.*[{ALIKE}])(?:[{ALIKE}A-Za-z\d]|[\W_])*\Z", re.DOTALL)
TWO_ALPHABETS: Final = regex(rf"(?<![^\W\d_])(?=[A-Za-z]+[{ALIKE}]|[{ALIKE}]+[A-Za-z])[A-Za-z{ALIKE}]+(?![^\W\d_])")
_OTHER_FORMS: Final = ("<super", "<sub> ", "<circl", "<font>", "<compa", "<fract", "<squar", "<noBre")
_IN_WORDS: Final = "\u2019\u2018\xb7\u30fb"

# A word and a number in place of an id.
_NUMBERED: Final = (
    *("pending", "temp", "temporary", "tmp", "tba", "tbc", "tbd", "test", "dummy", "sample", "unknown", "undefined"),
    *("null", "none", "placeholder", "xxx", "xxxx", "xxxxx", "new", "noid", "default", "fake", "nouveau", "inconnu"),
    *("provisoire", "attente"),
)
_SPELT: Final = frozenset(spelt for word in _NUMBERED for spelt in (word, word.upper(), word.capitalize()))
IN_NUMBERED_WORDS: Final = b"eEnNtTuUxX"  # one of these is in each
_NUMBERED_ID: Final = regex(rf"(?:{'|'.join(sorted(_SPELT))})[-_ .#]*\d+\Z")

_GONE: Final = (  # what nobody is called
    r"deceased|inactive|dup|deleted|disabled|withdrawn|terminated|duplicate|expired|archived|do not use|dnu|graduated"
    r"|inactif|décédée?|doublon|supprimée?|désactivée?|archivée?|ne pas utiliser"
)
_BRACKETED: Final = (
    rf"{_GONE}|old|dup|dupe|copy|retired|left|former|transferred|removed|obsolete|wrong|test|ancien(?:ne)?|copie"
    r"|retraitée?|partie?"
    r"|on leave|loa|gone|late|contractor|student|staff|guest|visitor|external|externe|ext|ret|suspended|pending"
)
_REMARK: Final = regex(
    rf"[(\[{{]\W*(?:{_BRACKETED})(?![^\W\d_])|[(\[{{]\d{{1,2}}[)\]}}]\Z|\s[-\u2013\u2014/:*]+\s*(?:{_BRACKETED})\b"
    rf"|[ _.*-](?:{_GONE})\W*\Z|(?:\A|[ (\[_-])(?:he|she|they|il|elle|iel)\s?[/,]\s?[a-z]"
    rf"|\A(?:zz+|xx+)[ _.*-]*(?=[^\W\d_])|\A(?:{_GONE})(?:\s?[:_*-]| )|[\u2605\u2606]",
    re.IGNORECASE,
)
_REMARK_OF_ID: Final = regex(
    rf"\w[-_ .(\[*]+(?:{_GONE}|old|dup|copy|bak|backup|archive|wrong|ancien|copie)\W*\d?\Z"
    r"|(?:\w |\w\w)\(\w{0,3}\d+\)\Z|\A(?:copy of |copie de |zz+(?=\w)|(?:old|deleted|dup|inactive|disabled)[-_ ])",
    re.IGNORECASE,
)
_SUFFIX: Final = (
    r"(?:[JS]r|I{1,3}|IV|VI{0,3}|Ph\.?D|M\.?D|Esq|C\.?P\.?A|R\.?N|P\.?Eng|[BM]\.?(?:A|Sc|Ed)|D\.?D\.?S|J\.?D|ing|fils"
    r"|père)"
)
_NO_LETTERS: Final = "\xa9\xae\xb0\xb2\xb3\xb9\u2010-\u2015\u2026\u2122\u2190-\u24ff\u25a2-\u2bff\U0001f000-\U0001faff"
_IN_NAME: Final = regex(  # at the front, at the end, or between two names
    rf"[](\[{{}}<>,;:*|=\\/@$%&+{_NO_LETTERS}-]|.*[]\[({{}}<>,;:*|^=\\/@$%&+{_NO_LETTERS}-]\Z|.*[^\W\d_][;|][^\W\d_]"
    r"|.*[^\W\d_][=^][A-Z]|.*\s[|=:>/^~]\s|[\u2020\u2022]|.*\s\u2020\Z|.*\.\.\Z",
    re.DOTALL,
)
_WHOLE_NAME: Final = regex(rf"[^,()]*[^\W\d_][^,()]*,\s*(?!{_SUFFIX}\b\.?)[^\W\d_]", re.IGNORECASE)
_UNDEFINED: Final = regex(r"\bundefined\b|\[object Object\]")  # as JavaScript joins names
# But in ordinals, such as 3rd.
_DIGIT: Final = regex(r".*\d(?!\d*(?:st|nd|rd|th|e|er|re|ère|ème)\b)", re.ASCII)
# In front of a last name, where they can also be a first name, or in front of one.
_PARTICLE_WORDS: Final = (
    "al el ben bin ibn abu san são santa santo saint sainte st st. ste de da do dos del di du le la van von mac"
)
_PARTICLES: Final = frozenset(_PARTICLE_WORDS.split())
_SOME_NAME: Final = regex(r".*[^\W\d_]{2}")
_BLANK: Final = regex(r"[\xa0\u2000-\u200a\u202f\u205f]|(?<=[A-Za-z])\u3000|\u3000(?=[A-Za-z])")


def problem_of_id(value: str, *, is_key: bool) -> str:
    """Return why a value is no id, or no user name, "" if nothing says so."""
    if _AROUND.match(value):
        return "9033/around"
    if is_key and _LABEL.match(value):
        return "9033/label"
    if _AT_EDGE.match(value) and not _BASE_64.match(value):
        return "9033/edge"
    if value.isascii():
        return ""
    if _LOOKS_LATIN.match(value) and (is_key or TWO_ALPHABETS.search(value)):
        return "9033/alphabet"
    return "9033/odd_sign" if any(map(_is_odd, value)) else ""


def _is_odd(char: str) -> bool:
    if char.isascii() or char in _IN_WORDS:
        return False
    return unicodedata.category(char)[0] in "PS" or unicodedata.decomposition(char)[:6] in _OTHER_FORMS


def doubt_of_id(value: str, *, is_key: bool) -> str:
    """Return the code of what is doubtful about an id or a user name, "" if nothing is."""
    if is_key and _NUMBERED_ID.match(value):
        return "value.placeholder/id"
    if _REMARK_OF_ID.search(value):
        return REMARK
    if value == "-1" or _BASE_64.match(value):
        return ""
    if is_key and _TWO.match(value):
        return TWO
    return SIGN if _DOUBTFUL.match(value if is_key else value.strip("-.@")) else ""


def doubt_of_name(value: str) -> str:
    """Return the code of a sign or a remark that does not belong in a name, "" if there is none."""
    if _REMARK.search(value):
        return REMARK
    if _WHOLE_NAME.match(value):
        return "name.doubtful/whole"
    if not value.isascii() and _BLANK.search(value):
        return "encoding.garbled/blank"
    if _UNDEFINED.search(value):
        return "value.placeholder"
    if _IN_NAME.match(value):
        return SIGN
    return "name.doubtful" if _DIGIT.match(value) else ""


def is_two_reported(rows: int, rows_of_file: int) -> bool:
    """Tell whether so few rows have two ids in one cell that it is not how ids are written, such as 2024/0012."""
    return rows * 2 <= rows_of_file or rows_of_file <= _FEW_ROWS


def is_whole(first: str, last: str) -> bool:
    """Tell whether the whole name of a user is in the column of the first name."""
    return " " in first and bool(last) and (first == last or first.endswith(f" {last}"))


def is_whole_last(first: str, last: str) -> bool:
    """Tell whether the whole name of a user is in the column of the last name."""
    if not first:
        return False
    if last.startswith(f"{first} "):
        return first.lower() not in _PARTICLES and bool(_SOME_NAME.match(last.removeprefix(first)))
    return last.endswith(f" {first}") and last.removesuffix(first).strip(" ,").lower() not in _PARTICLES


# The same in a column, as `column_screen` has it. What is not ASCII, and signs in names, are looked at closely anyway.
_PLAIN_IN_IDS: Final = bytes(char for char in range(0x80) if chr(char).isalnum()) + b"\n"
_NO_WORD_IN_IDS: Final = b"0123456789-_ .#"
_WORDS: Final = frozenset(word.encode() for word in _SPELT)
_NUMBERED_SHAPE: Final = regex(rf"\n(?:{'|'.join(sorted(_SPELT))})[-_ .#]*\d")
_EDGE_SHAPE: Final = regex(r"\n[^\w\n]|[^\w\n](?=\n)|[;|,]|[/&+] |[^\x00-\x7f]")
_TWO_SHAPE: Final = regex(r"\d ?(?:[/+&]|and|or|et|ou|und|y) ?[A-Za-z\d]")
_BETWEEN_TWO: Final = frozenset("/+& ")
_FEW_ROWS: Final = 2
_NO_EDGES: Final = frozenset("-.@ _")
_LABEL_SIGNS: Final = frozenset(" :=#\xb0")
_EDGES: Final = tuple(edge for sign in "-.@" for edge in (f"\n{sign}", f"{sign}\n"))
_LABEL_SHAPE: Final = regex(rf"\n{_LABEL_PATTERN}", re.IGNORECASE)
# Small letters, as the column is made: a pattern that ignores the case takes ten times as long.
_REMARK_SHAPE: Final = regex(
    rf"[-_ .(\[*](?=[a-zé])(?:{_GONE}|old|dup|copy|bak|backup|archive|wrong|ancien|copie)(?![a-z])|\(\w"
    r"|copy of |copie de |\nzz|\n(?:old|deleted|dup|inactive|disabled)[-_ ]"
)
_REMARK_IN_NAMES: Final = regex(
    rf" (?:{_GONE}|undefined)(?![a-z])|\n(?:{_GONE}|undefined) | (?:he|she|they|il|elle|iel) ?[/,]"
)
_HYPHEN_SHAPE: Final = regex(rf"-(?=[\n ]|(?:{_GONE})(?![a-z]))")


def signs_in(column: bytes) -> str:
    """Return all of a column of ids that is not a letter or a digit of ASCII: of most columns nothing."""
    return column.translate(None, _PLAIN_IN_IDS).decode()


def in_ids(joined: str, signs: str, *, is_key: bool) -> Iterator[tuple[re.Pattern[str], str]]:
    """Yield what finds such values in a column of ids or user names with these signs, and the text in which it does."""
    if is_key and not _WORDS.isdisjoint(joined.encode().translate(None, _NO_WORD_IN_IDS).split(b"\n")):
        yield _NUMBERED_SHAPE, joined
    if not signs:
        return
    if not _NO_EDGES.issuperset(signs) or (is_key and any(edge in joined for edge in _EDGES)):
        yield _EDGE_SHAPE, joined
    if is_key and not _LABEL_SIGNS.isdisjoint(signs):
        yield _LABEL_SHAPE, joined
    if is_key and not _BETWEEN_TWO.isdisjoint(signs):
        yield _TWO_SHAPE, joined
    yield _REMARK_SHAPE, joined.lower()


def in_names(joined: str) -> Iterator[tuple[re.Pattern[str], str]]:
    """Yield the same for a column of names."""
    if "-" in joined or " " in joined:
        small = joined.lower()
        yield _HYPHEN_SHAPE, small
        yield _REMARK_IN_NAMES, small


def whole_names_among(first: Sequence[str], last: Sequence[str]) -> Iterator[int]:
    """Yield the positions of whole names in the column of the first name, or of the last name."""
    if " " in "".join(first) and True in map(operator.contains, first, last):
        yield from (at for at, names in enumerate(zip(first, last, strict=True)) if is_whole(*names))
    if " " in "".join(last) and True in map(operator.contains, last, first):
        yield from (at for at, name in enumerate(last) if " " in name and is_whole_last(first[at], name))
