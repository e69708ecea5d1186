"""Damage that programs do to values: reported, never repaired. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from importer.attributes import Attribute, Rule
from importer.characters import SHOWN_CHARS, is_placeholder
from importer.model import Problem, message
from importer.patterns import regex
from importer.rows.values import addresses, days, kinds, remarks, words

LONG_DIGITS: Final = 16  # a spreadsheet keeps 15 digits of a number, and writes zeros for the others
LOST_DIGITS: Final = "value.damaged/digits"
MOST_LOST: Final = 1000  # ids that may have lost digits: of more no line is noted, or each night would look at all

_MONTH: Final = (
    "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec|"
    "janv|févr|mars|avr|mai|juin|juil|août|sept|oct|nov|déc|"  # as Excel writes them in French
    "Jän|Mrz|Mär|Mai|Okt|Dez|ene|abr|ago|dic|gen|mag|giu|lug|ott"  # in German, Spanish and Italian
)
_DECIMAL: Final = r"\d++(?:\.0++|,0{1,2})"
_THOUSANDS: Final = r"\d{1,3}+(?:,\d{3})+(?:\.\d+)?"
_FORMATTED: Final = r"[$\u20ac\xa3] ?\d[\d.,]*|\d[\d.,]*+ ?[$\u20ac\xa3%]|\(\d[\d.,]*\)"
_TIME: Final = r"\d{1,2}:\d\d(?::\d\d)?(?: ?[AP]M)?"
_SPACED: Final = r"\d{1,3}+(?:[ \u00a0\u2007\u2009\u202f]\d{3})+(?:[.,]\d+)?"
_MARKED_THOUSANDS: Final = r"\d{1,3}+(?:['\u2019\u02bc]\d{3})+(?:[.,]\d+)?|\d{1,3}+(?:\.\d{3})+,\d+"
_DOTTED: Final = r"[1-9]\d{0,2}(?:\.\d{3})+"  # thousands
_DAY: Final = (
    rf"\d{{1,2}}-(?:{_MONTH})\.?(?:-\d{{2,4}})?|(?:{_MONTH})\.?-\d{{2,4}}|\d{{4}}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?"
)
_DOTTED_DAY: Final = rf"\d{{1,2}}\.\d{{1,2}}\.\d{{4}}|\d{{1,2}}\. ?(?:{_MONTH})\.?(?: \d{{2,4}})?"
_SPELT_DAY: Final = rf"(?:{_MONTH})\.? \d{{2,4}}"
_SLASHED_DAY: Final = r"\d{1,2}/\d{1,2}/(?:\d{4}|\d\d)(?: \d{1,2}:\d\d(?::\d\d)?)?"
_LOST_DIGITS: Final = r"\d{15}0++"
_ALL_DIGITS: Final = r"\d{15}0*+[1-9]\d*+"

_BROKEN_IDS: Final = (  # a row with such an id fails
    (regex(rf"(?:{_DECIMAL})\Z", re.ASCII), "9033/decimal"),
    (regex(rf"(?:{_THOUSANDS})\Z", re.ASCII), "9033/thousands"),
    (regex(rf"(?:{_MARKED_THOUSANDS})\Z", re.ASCII), "9033/thousands_mark"),
    (regex(rf"(?:{_FORMATTED})\Z", re.ASCII), "9033/formatted"),
)
_DOUBTFUL_IDS: Final = (  # could be meant
    (regex(rf"(?:{_DAY}|{_SLASHED_DAY}|{_DOTTED_DAY}|{_SPELT_DAY}|{_TIME})\Z", re.ASCII), "value.damaged/date"),
    (regex(rf"(?:{_SPACED})\Z", re.ASCII), "value.damaged/spaces"),
    (regex(rf"(?:{_LOST_DIGITS})\Z", re.ASCII), LOST_DIGITS),
    (regex(rf"(?:{_DOTTED})\Z", re.ASCII), "value.damaged/dots"),
)
_WORDS_AS_ID: Final = r"(?=\S+ )[^\W\d_]{2,}(?:[ ,.'-]+[^\W\d_]+)+"  # such as the name of the user
_DOUBTFUL_NUMBERS: Final = (  # of people, in another column than the id
    *_DOUBTFUL_IDS[:2],
    (_BROKEN_IDS[0][0], "value.damaged/decimal"),
    *((pattern, "value.damaged/number") for pattern, _ in _BROKEN_IDS[1:]),
)
_ONLY_WORDS: Final = regex(rf"{_WORDS_AS_ID}\Z")
_FULL_NUMBER: Final = regex(rf"(?:{_ALL_DIGITS})\Z", re.ASCII)
_DECIMAL_VALUE: Final = regex(r"\d++\.0++\Z", re.ASCII)

# Marks that quote a value, or the \\ that a database writes before one. They have no place in what identifies a user.
KEYED: Final = (Rule.KEY, Rule.USER_NAME, Rule.EMAIL)
_MARKED_KEY: Final = regex(
    r"""(?:[\[({]+["']|["'\u2018\u2019\u201a\u201b“”„‟«»`\u00b4\u2032\u2033\u2039\u203a]).*\Z"""
    r"""|.*["'\u2018\u2019“”«»`\u00b4\u2032\u2033\u2039\u203a]\Z|.*\\["']""",
    re.DOTALL,
)
_MARKED: Final = regex(
    r"""".*"\Z|'.*'\Z|'\d|.*\\["']|\u2018.*\u2019\Z|«.*»\Z|[“”„‟][^“”„‟]*["“”„‟]\Z|[“”„‟][^“”„‟"]*\Z|[^“”„‟"]*[“”„‟]\Z"""
    r"""|\u2039.*\u203a\Z|[`\u00b4].*['`\u00b4]\Z|[\u2032\u2033].*[\u2032\u2033]\Z|"[^"]*\Z|[^"]*[^\W\d]"\Z"""
    r"""|'[A-Za-z]\d|[buneNE]?'.*'\Z|[\[({]+["'].*["'],?[\])}]+\Z|.*\w''\w""",  # of a program; doubled
    re.DOTALL,
)
# A value in a pair of marks. The straight double one is there when a program quoted a value twice.
_IN_MARKS: Final = regex(
    r"""".*"\Z|'.*'\Z|[\u2018\u2019\u201a\u201b].*[\u2018\u2019\u201b]\Z|[“”„‟].*[“”„‟"]\Z|«.*»\Z|».*«\Z"""
    r"""|\u2039.*\u203a\Z|[`\u00b4].*['`\u00b4]\Z|[\u2032\u2033].*[\u2032\u2033]\Z""",
    re.DOTALL,
)
_ODD_MARKS: Final = frozenset(("~~", "||", "^^", "##", "$$", "%%", "**", "[]", "{}", "()", "<>"))
_ANY_MARK: Final = regex("""["'`\u00ab\u00b4\u00bb\u2018-\u201f\u2032\u2033\u2039\u203a]""")
# What opens a cell and closes a later one, of values that are split in two.
_SPLIT: Final = tuple(
    (regex(rf"\s*{opening}[^{closing}]*\Z"), regex(rf"[{closing}]\s*\Z"))
    for opening, closing in (
        ("'{1,2}", "'"),
        ("[\u2018\u201a\u201b]", "\u2018\u2019'"),
        ("[“”„‟]", '“”"'),
        ("«", "»"),
        ("\u2039", "\u203a"),
        ("[`\u00b4]", "`\u00b4'"),
    )
)
# Nothing of this module is in such a value, unless it is an id or a number.
_PLAIN: Final = regex(r"[\w .,:;@()/#-]*\Z", re.ASCII)

UNLESS_KNOWN: Final = ("9033/around", "9033/label", "9033/edge", "9033/alphabet", "9033/odd_sign")
_IDS: Final = (Rule.KEY, Rule.USER_NAME)
NAMES: Final = ("first_name", "last_name")
NUMBERS: Final = ("student_no", "employ_no")
_NO_NAME: Final = regex(
    r".*\S@\S+\.\w|[+(#]?\d[\d ().-]*\Z|\d+[ -].*[A-Za-z]{2}|.*\d{3}|[A-Za-z]{1,3}-?\d+\Z|(?:https?://|www\.)", re.ASCII
)

ODD_ACCENTS: Final = "\xc3\xc5\xcc\xcd\xd0\xd2\xd5\xdd-\xdf\xe3\xe5\xec\xed\xf0\xf2\xf5\xf8\xfd-\xff"  # rare in French
# Letters of UTF-8 as Mac Roman, code pages 850, 437 and 1250 have them; Windows-1252 is known to `clean`.
_GARBLED: Final = regex(
    "[\u221a\u2248\u00ac\u2500-\u259f]|\u00d4\u00c7[\u00d6\u00ff\u00f4\u00a3\u00a5]|\u0393\u00c7[\u00d6\u00f4]"
    "|(?:[\u0420\u0421][\u0402-\u040f\u0451-\u045f\u0490\u0491\xa0-\xbb\u2013-\u2122]){2}"  # Cyrillic, as Windows-1251
    "|[A-Za-z][\u0370-\u052f\u0590-\u06ff\u0e00-\u0e7f]|[\u0370-\u052f\u0590-\u06ff\u0e00-\u0e7f][A-Za-z]|[a-z][\u3400-\u9fff\uff61-\uff9f]|[\u3400-\u9fff][a-z]"
    "|(?:\\A|[ -])[\u0300-\u036f]"
    "|[\u0102\u0139][\u00a9\u00a8\u00ab\u00ae\u00bb\u00a4\u00a7\u00ad\u00b0-\u00b8\u0142\u2018-\u2030\u2122\u02c7]"
)
# Cyrillic in another of its encodings: a capital behind a small letter, or letters of two languages in a word.
_MISREAD_CYRILLIC: Final = regex(
    "[\u0400-\u045f](?:(?<=[\u0430-\u045f])[\u0410-\u042f]|\u2116"
    "|(?<=[\u0452\u0453\u0455-\u045c\u045f])\\w*[\u044a\u044b\u044d\u0451]"
    "|(?<=[\u044a\u044b\u044d\u0451])\\w*[\u0452\u0453\u0458-\u045c\u045f])"
)
# Cyrillic, Greek or Hebrew as Windows-1252 has it: letters with accents alone.
_ACCENTS_ALONE: Final = regex(
    f"[\xc0-\xff]{{3}}(?:(?<=[{ODD_ACCENTS}]..)|(?<=[{ODD_ACCENTS}].)|(?<=[{ODD_ACCENTS}])|(?=[\xc0-\xff]*[{ODD_ACCENTS}]))"
    "(?:(?=[\xc0-\xff])|(?<![^\\W\\d_][\xc0-\xff]{3})(?![^\\W\\d_]))"
)
# Letters of Mac Roman and of code page 850 as Windows-1252 has them: signs that are at no letter otherwise, or in the
# middle of a word, and capitals behind a small letter. Those that could be meant are below.
_MISREAD_CAPITALS: Final = "\u0152\u0160\u017d\u0178\xc6\u0102\u0139\u0106"  # the last ones: UTF-8 in Eastern Europe
_MISREAD_SIGNS: Final = "\u201a\u0192\u201e\u2020\u2021\u02c6\u2030\u2039\u20ac\u02dc\xa1-\xa6\xa8\xaf\xb5\xb6"
_MISREAD_INSIDE: Final = "\u201c\u201d\u2022\u2026\u203a\u2122\u2014\xf7\xb1\xb2\xb3\xb9"
_MISREAD_IN_FRONT: Final = "\u0192\u2020\u2021\u02c6\u2030\u02dc\xa1-\xa5\xb5"
_MISREAD: Final = regex(  # all that it can be comes first: other values are through in no time
    rf"[{_MISREAD_SIGNS}{_MISREAD_INSIDE}{_MISREAD_CAPITALS}\xd5\u2018]"
    rf"(?:(?<=[^\W\d_][{_MISREAD_SIGNS}])|(?<=[^\W\d_][{_MISREAD_INSIDE}])(?=[a-z])"
    rf"|(?<=[a-z][{_MISREAD_CAPITALS}])|(?<=[A-Z][{_MISREAD_CAPITALS}])(?=[a-z])"
    rf"|(?<=[{_MISREAD_IN_FRONT}])(?<!\w.)(?=[^\W\d_])|(?<=\b[DLO]\xd5)(?=[A-Z])|(?<=\b[DLO]\xc6)(?=[A-Z][a-z])|(?<=[ao]\u2018)l(?:le)?\b)"
)
# The same of signs and letters that are right in other places, as in Mu\u2013oz, Garc\u2019a and J\u0161rg; and of
# the capitals that Mac Roman has for letters of Windows-1252, as in Ren\xc8, but not in O h\xd3g\xe1in.
_CONSONANT: Final = "bcdfghjklmnpqstvwxz"  # r can be a syllable in Slavic names
_BEHIND_A_SMALL_LETTER: Final = r"(?<=[^\W\d_][a-z].)(?<!Mac.)(?<!Mc.)(?<!De.)(?<!La.)(?<!Le.)"
_AMBIGUOUS: Final = {
    "\u2013": r"(?<=[a-z].)(?=[a-z])(?!(?:d[eu]s?|l[ae]s?|sur|sous|en|et|y|aux?|v[oa]n|und|of|the|and|to)\b)",
    "\u2019": r"(?:(?<=[A-Za-z][bcdfgjklmnprstvz].)(?=(?:as?|os?|n|n?[gd]uez|nez)\b)|(?<=qu.)(?=n\b)"
    r"|(?<=\bR.)(?=os\b)|(?<=\bD.)(?=az\b)|(?<=\bV.)(?=ctor))",
    "\u2018": r"(?<=[A-Za-z]o.)(?!\w)",
    "\xb7": r"(?<=[A-Za-z].)(?=[a-z]|\b|\Z)(?<!l.)(?!l)",
    **dict.fromkeys("\u02d8\u02d9\u02da\xb8", r"(?<=[A-Za-z].)"),
    "\u0161": rf"(?:(?i:(?<=[{_CONSONANT}].))(?=[{_CONSONANT}r])|(?<=Schr.))",
    "\u017e": r"(?<=o.)(?=t\b)",
    "\u0153": r"(?:(?<=[aeiou].)|(?<=s.)(?=s\b))",
    "\xe7": rf"(?<!\w.)(?=[{_CONSONANT}r])",
    "\xe3": "(?=[\xa7-\xae\xb1-\xb6\xb9\xbc-\xbe])",  # of letters in UTF-8 that a program made small
    "\xb4": r"(?<=[a-z][aeiou].)(?![^\W\d_])",
    **dict.fromkeys("\xc1\xc2\xc3\xcb\xcc\xcd\xce\xd2\xd3\xd4\xd9\xdb", _BEHIND_A_SMALL_LETTER),
    # \xe9 in Mac Roman and in code page 850.
    **dict.fromkeys("\xc4\xc7\xc8\xd6\xda", rf"(?:{_BEHIND_A_SMALL_LETTER}|(?<=\b[B-DF-HJ-NP-TV-Z].)(?=[a-z]))"),
}
_MISREAD_ONE: Final = regex("|".join(f"{char}{place}" for char, place in _AMBIGUOUS.items()))
# A letter that a program could not write and replaced by another sign.
_LOST: Final = regex(r"[\u25a0\u25a1\u25af\ufffc\ue000-\uf8ff]|[^\W\d_][?\u00bf]|[?\u00bf][^\W\d_]")
# In names: in place of a letter of a word. Dots say so in several rows.
_LOST_IN_NAME: Final = regex(
    r"[^\W\d_][*#_^~!$%=|:;+/]{1,2}[a-z]|[^\W\d_]{2}[#_^~]{1,2}(?![^\W_])|(?<![^\W_])[#_^~]{1,2}[^\W\d_]{2}"
)
_INITIALS: Final = 3  # characters, such as n/a
_XML_CODE: Final = regex(r"_x[0-9A-Fa-f]{4}_")  # in names; as a workbook has letters and line ends
_WITH_DOTS: Final = regex(r"(?<![.])\b[^\W\d_]+\.[a-z]{2}(?!\w*\.)|[^\W\d_]\.\.[a-z]")
_DOTS: Final = "encoding.garbled/dots"
_FEWEST_DOTTED: Final = 2
_WIDE: Final = regex(r"[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\ufb00-\ufb06\u2460-\u24ff\U0001d400-\U0001d7ff]")
_MARKUP: Final = regex(
    r"<!\[CDATA\[|&[A-Za-z](?:acute|grave|circ|uml|cedil|tilde|ring|slash|caron)\b|&(?:[A-Za-z]{2,8}|#\d{2,6}|#[xX][0-9A-Fa-f]{2,5});|</?(?:b|br|i|u|p|em|span|div|strong|font|a|sup|sub|td|tr|li)\b[^<>]*>"
)
_ESCAPED: Final = regex(
    r"\\u(?:[0-9A-Fa-f]{4}|\{[0-9A-Fa-f]{2,6}\})|(?<=\w)\\/(?=\w)|\\x[0-9A-Fa-f]{2}|=[CDE][0-9A-F]=[89AB][0-9A-F]|%[CDE][0-9A-F]%[89AB][0-9A-F]|%2[0-9A-F]"
    r"|\+(?:A[K-X]|IB)[AEIMQUYcgkosw048](?:(?:[AB][A-Za-z0-9+/]{2,8})?-|(?![A-Za-z0-9+/@.]))"  # UTF-7
    r"|(?<=[a-z])(?:[%=][CDEF][0-9A-F](?![0-9A-F])|\\3[0-7]{2}(?!\d))|%u[0-9A-Fa-f]{4}|U\+00[0-9A-F]{2}"
    r"|<(?:[0-9a-f]{2}|[0-9A-F]{2})>|\\[nrt](?=[A-Z\d\\\n]|\Z)|=\?[\w-]+\?[BbQq]\?"
)
_TURNED: Final = regex(
    r"[\u00ad\u180e\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff]|(?<=[A-Za-z])[\u200c-\u200f]|[\u200c-\u200f](?=[A-Za-z])"
)
_SPOILED_ASCII: Final = (
    (_MARKUP, "encoding.garbled/markup"),
    (_ESCAPED, "encoding.garbled/escaped"),
    (_LOST, "encoding.garbled/lost"),
)
_SPOILED: Final = (  # the surest first
    (remarks.TWO_ALPHABETS, "encoding.garbled/alphabet"),
    (_GARBLED, "encoding.garbled"),
    (_MISREAD_CYRILLIC, "encoding.garbled"),
    (_ACCENTS_ALONE, "encoding.garbled"),
    (_MISREAD, "encoding.garbled/older"),
    (_MISREAD_ONE, "encoding.garbled/older"),
    *_SPOILED_ASCII[:2],
    (_TURNED, "encoding.garbled/invisible"),
    *_SPOILED_ASCII[2:],
)

# The same in a column, as `column_screen` has it; before each what the column must have, which is found faster.
_ID_SHAPES: Final = tuple(
    (needed, regex(rf"\n(?:{shape})(?=\n)", re.ASCII))
    for needed, shape in (
        (".0", _DECIMAL),
        (",0", _DECIMAL),
        (",", _THOUSANDS),
        ("'", _MARKED_THOUSANDS),
        (",", _MARKED_THOUSANDS),
        (" ", _SPACED),
        ("-", _DAY),
        (".", _DOTTED_DAY),
        (".", _DOTTED),
        (" ", _SPELT_DAY),
        ("/", _SLASHED_DAY),
        (":", _TIME),
        *((sign, _FORMATTED) for sign in "$%("),
    )
)
_WORDS_SHAPE: Final = (" ", regex(rf"\n{_WORDS_AS_ID}(?=\n)"))
LOST_DIGITS_SHAPE: Final = regex(rf"\n(?:{_LOST_DIGITS})(?=\n)", re.ASCII)
FULL_NUMBER_SHAPE: Final = regex(rf"\n(?:{_ALL_DIGITS})(?=\n)", re.ASCII)
# Marks beyond ASCII, or at the front, are looked at closely anyway.
_MARK_SHAPES: Final = (
    ('"\n', regex(r'"(?=\n)')),
    ("'\n", regex(r"'(?=\n)")),
    ("`", regex("`")),
    ("\\", regex(r"\\[\"']")),
    ("''", regex("''")),
    *((f"{mark}{end}", regex(f"{mark}(?={re.escape(end)})")) for mark in "\"'" for end in (")", ",)")),
)
_SIGNS_OF_LOST: Final = "*#_^~!$%=|:;+/"
_NAME_SHAPES: Final = (
    ("@", regex("@")),
    *((sign, regex(re.escape(sign))) for sign in "0123456789,([{&\\>]}" + _SIGNS_OF_LOST),
    (".", regex(r"[A-Za-z]\.{1,2}[a-z]|\.\.(?=\n)")),
)
SIGNS_IN_NAMES: Final = b"@0123456789,([{&\\>]}" + _SIGNS_OF_LOST.encode()  # of ASCII, with which these begin
_UTF7_SHAPES: Final = (("+A", _ESCAPED), ("+IB", _ESCAPED))
_ADDRESS_SHAPES: Final = (
    *_UTF7_SHAPES,
    ("\n", regex(rf"\n(?:{addresses.NO_LOCAL}|{addresses.LEFT})")),  # faster than to look for each
)
_CODE_POINT_SHAPE: Final = ("+00", _ESCAPED)
# Most letters of those above are looked at closely anyway, and are not here.
_SPOILED_SHAPES: Final = (
    ("&", _MARKUP),
    ("<", _MARKUP),
    ("<", _ESCAPED),
    ("\\", _ESCAPED),
    ("=", _ESCAPED),
    ("%", _ESCAPED),
    *_UTF7_SHAPES,
    _CODE_POINT_SHAPE,
    ("?", _LOST),
    ("\u00d4\u00c7", _GARBLED),
    ("\u0393\u00c7", _GARBLED),
    ("\u0102", _GARBLED),
    ("\u0139", _GARBLED),
    ("\u0192", regex("\u0192")),
    *((capital, regex(f"{capital}(?<=[A-Za-z].)")) for capital in _MISREAD_CAPITALS),
    ("\xd5", regex("\xd5(?<=[DLO].)")),
    ("\xf7", regex("\xf7(?=[a-z])")),
    *((char, regex(char + place)) for char, place in _AMBIGUOUS.items() if "\xc0" <= char <= "\u024f"),
)
SIGNS: Final = b".\"'\\&<=%+?`"  # of ASCII, with which these begin; in names also SIGNS_IN_NAMES
_TEXT_SHAPES: Final = ((".0\n", _ID_SHAPES[0][1]), *_MARK_SHAPES, *_SPOILED_SHAPES)
_IN_NAMES: Final = (*_TEXT_SHAPES, *_NAME_SHAPES)
_TEXT_FIRSTS, _NAME_FIRSTS = (frozenset(needed[0] for needed, _ in each) for each in (_TEXT_SHAPES, _IN_NAMES))


def problem_in(attribute: Attribute, value: str) -> Problem | None:
    """Return for which damage a value is rejected."""
    key = ""
    if attribute.rule is Rule.KEY:
        key = "9033/no_id" if value in words.NO_IDS else _first_of(_BROKEN_IDS, value)
    if not key and attribute.rule in KEYED and has_marks(value):
        key = "9033/marks"
    if not key and attribute.rule in _IDS and not is_placeholder(value):
        key = _problem_of_id(value, is_key=attribute.rule is Rule.KEY)
    return _damaged(key, attribute.name, value) if key else None


def _problem_of_id(value: str, *, is_key: bool) -> str:
    if not value.isascii() and _WIDE.search(value):
        return "9033/full_width"
    is_spoiled = not _PLAIN.match(value) and any(pattern.search(value) for pattern, _ in _SPOILED)  # that is told
    return "" if is_spoiled and not remarks.TWO_ALPHABETS.search(value) else remarks.problem_of_id(value, is_key=is_key)


def has_marks(value: str) -> bool:
    """Tell whether a value begins or ends with a quotation mark, or has a backslash before one."""
    return bool(_ANY_MARK.search(value) and _MARKED_KEY.match(value))  # most have no mark at all


def marks_in(attribute: Attribute, value: str) -> Problem:
    """Return the problem of a value with such marks."""
    return _damaged("9033/marks", attribute.name, value)


def _first_of(patterns: Iterable[tuple[re.Pattern[str], str]], value: str) -> str:
    return next((key for pattern, key in patterns if pattern.match(value)), "")


def _damaged(key: str, name: str, value: str) -> Problem:
    precise = message(f"{key}!", column=name, value=value[:SHOWN_CHARS])
    return Problem(name, message(key, column=name), precise)


def warnings_in(attribute: Attribute, value: str) -> Iterator[str]:
    """Yield the codes of what looks damaged in a value."""
    if attribute.rule is Rule.KEY:
        yield from (key for pattern, key in _DOUBTFUL_IDS if pattern.match(value))
        yield from ["value.placeholder/id"] if value in words.DOUBTFUL_IDS else []
        yield from ["value.placeholder/id_words"] if _ONLY_WORDS.match(value) else []
    elif attribute.rule is Rule.TEXT and _DECIMAL_VALUE.match(value):
        yield "value.damaged/decimal"
    elif attribute.name in NUMBERS:
        yield from (key for pattern, key in _DOUBTFUL_NUMBERS if pattern.match(value))
    elif attribute.rule is Rule.DATE:
        is_no_day = value in words.NO_IDS or days.is_none(value)
        yield from filter(None, ["value.placeholder" if is_no_day else days.doubt_of(value)])
    elif attribute.rule is Rule.EMAIL:
        yield from filter(None, [addresses.doubt_of(value)])
    if attribute.rule in _IDS:
        yield from filter(None, [remarks.doubt_of_id(value, is_key=attribute.rule is Rule.KEY)])
    yield from _doubts_of_kind(attribute.name, value)
    if attribute.rule is Rule.TEXT and not _PLAIN.match(value):
        yield from ["value.marks"] if _MARKED.match(value) else []
        yield from ["value.damaged/full_width"] if _WIDE.search(value) else []
    if attribute.rule in (Rule.TEXT, *KEYED) and not _PLAIN.match(value):
        families = _SPOILED_ASCII if value.isascii() else _SPOILED
        yield from filter(None, [next((key for pattern, key in families if pattern.search(value)), "")])


def _doubts_of_kind(name: str, value: str) -> Iterator[str]:
    if value in words.IN_PLACE_OF.get(name, ()):
        yield "value.placeholder/number" if value[-1:].isdigit() else "value.placeholder"
    elif doubt := kinds.doubt_of(name, value):
        yield doubt
    if name in NAMES:
        yield from _doubts_of_name(value)


def _doubts_of_name(value: str) -> Iterator[str]:
    has_codes = bool(_MARKUP.search(value) or _ESCAPED.search(value))  # which have signs and digits
    if _XML_CODE.search(value):
        yield "encoding.garbled/escaped"
    elif _NO_NAME.match(value) and ("@" in value or not has_codes):
        yield "name.doubtful"
    elif not has_codes and (doubt := remarks.doubt_of_name(value)):
        yield doubt
        return
    if len(value) > _INITIALS and _LOST_IN_NAME.search(value):
        yield from [] if has_codes or _XML_CODE.search(value) else ["encoding.garbled/lost"]
    elif _WITH_DOTS.search(value) and not _NO_NAME.match(value):  # an address has dots of its own
        yield _DOTS


def unexplained(codes: Collection[str]) -> list[str]:
    """Return the codes of the warnings of a value but those that another one explains."""
    told = [code for code in codes if code not in (remarks.SIGN, remarks.REMARK)] or [*codes]
    if "value.placeholder" in told:
        return [code for code in told if code not in (kinds.PHONE, kinds.OTHER, "encoding.garbled/lost")]
    is_garbled = "encoding.garbled" in told
    return [code for code in told if not (is_garbled and code.startswith("encoding.garbled/"))]


def placeholder_in(attribute: Attribute, value: str) -> Problem:
    """Return the problem of a word, or of a day that never was, in place of a value."""
    key = "9033/no_day" if attribute.rule is Rule.DATE and days.is_none(value) else "9033/placeholder"
    return Problem(attribute.name, message(key, column=attribute.name))


def is_reported(key: str, rows: int, rows_of_file: int) -> bool:
    """Tell whether this number of rows is enough for a warning."""
    if key == remarks.TWO:
        return remarks.is_two_reported(rows, rows_of_file)
    return rows >= _FEWEST_DOTTED if key == _DOTS else days.is_reported(key, rows, rows_of_file)


def is_full_number(value: str) -> bool:
    """Tell whether a value is a number of so many digits that a spreadsheet would have lost some."""
    return len(value) >= LONG_DIGITS and bool(_FULL_NUMBER.match(value))


def id_patterns(joined: str, rest: str) -> Iterator[re.Pattern[str]]:
    """Yield what finds the damaged ids in a column but for long ones, as far as it may have some; see text_patterns."""
    yield from (pattern for needed, pattern in (*_ID_SHAPES, _WORDS_SHAPE) if needed in joined)
    yield from _needed(joined, rest, (*_MARK_SHAPES, *_SPOILED_SHAPES))


def number_patterns(joined: str) -> Iterator[re.Pattern[str]]:
    """Yield the same for a column of numbers of people."""
    return (pattern for needed, pattern in _ID_SHAPES if needed in joined)


def address_patterns(joined: str) -> Iterator[re.Pattern[str]]:
    """Yield the same for a column of addresses, of those that only have letters, digits, and + - . _ in front of @."""
    return _needed(joined, joined, _ADDRESS_SHAPES)


def text_patterns(joined: str, name: str, rest: str) -> Iterator[re.Pattern[str]]:
    """Yield the same for a column of text, which has this name; `rest`: its SIGNS, and all that is beyond ASCII."""
    firsts, shapes = (_NAME_FIRSTS, _IN_NAMES) if name in NAMES else (_TEXT_FIRSTS, _TEXT_SHAPES)
    return iter(()) if firsts.isdisjoint(rest) else _needed(joined, rest, shapes)


def _needed(joined: str, rest: str, shapes: Iterable[tuple[str, re.Pattern[str]]]) -> Iterator[re.Pattern[str]]:
    return (pattern for needed, pattern in shapes if needed[0] in rest and needed in joined)


def have_marks(cells: Sequence[str]) -> bool:
    """Tell whether any cell has a quotation mark."""
    text = "".join(cells)
    return ("'" in text or '"' in text or "`" in text) if text.isascii() else bool(_ANY_MARK.search(text))


def has_split_marks(cells: Sequence[str]) -> bool:
    """Tell whether a value in other marks than " is split: a cell begins with one, and a later one ends with one."""
    for opening, closing in _SPLIT:
        opened = next((place for place, cell in enumerate(cells) if opening.match(cell)), len(cells))
        if any(map(closing.search, cells[opened + 1 :])):
            return True
    return False


def is_split(cell: str, following: str) -> bool:
    """Tell whether a value in marks is split between a cell and the next one."""
    mark = cell[:1]
    is_marked = mark in ("'", "`") and following.endswith(mark)
    return is_marked and cell.count(mark) == following.count(mark) == 1 and len(following) > 1


def odd_marks_around(cells: Sequence[str]) -> str:
    """Return the marks that all values of a row are in, which quote in no program of ours; "" if there are none."""
    texts = [text for cell in cells if (text := cell.strip())]
    marks = texts[0][0] + texts[0][-1] if texts else ""
    is_around = len({*texts}) > 1 and marks in _ODD_MARKS  # the same in all cells is a word of its own, as <clear>
    if not is_around or not all(len(text) > 1 and text[0] + text[-1] == marks for text in texts):
        return ""
    return marks if marks[0] != marks[1] else marks[0]


def is_in_marks(text: str) -> bool:
    """Tell whether a value is in a pair of quotation marks."""
    return bool(_IN_MARKS.match(text))
