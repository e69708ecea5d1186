"""
The value of a cell of a workbook as text, as a person sees it: by the number format of the cell. Pure.

Dates are ISO, whatever their format. Source of the formats: ECMA-376 part 1, 18.8.31. What is never shown rounded or
cut is the number itself where its format is General: all digits that a spreadsheet keeps, which are 15.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import msgspec

Number = int | float
Show = Callable[[Number], str]

ERROR: Final = "#VALUE!"  # of what a spreadsheet shows as "####", too
_MOST_DIGITS: Final = 15
_DAYS: Final = 2_958_466  # up to the last day of the year 9999
_SECONDS: Final = 86_400
_FEBRUARY_29: Final = 60  # of 1900, which was none: spreadsheets count it

# Formats that a file names by their number alone, and whose form depends on the country. All are dates or times.
_NUMBERED: Final = {
    **dict.fromkeys((*range(27, 32), 36, *range(50, 59)), "yyyy-mm-dd"),
    **dict.fromkeys((32, 33), "h:mm:ss"),
    34: "h:mm",
    35: "h:mm:ss",
}
_TOKEN: Final = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|_(?P<blank>.)|\*(?P<fill>.)|\[(?P<bracket>[^\]]*)\]'
    r"|(?P<half>AM/PM|A/P)|(?P<general>General)|(?P<exponent>E[+-])|(?P<other>.)",
    re.DOTALL | re.IGNORECASE,
)
_CONDITION: Final = re.compile(r"(<=|>=|<>|<|>|=)(-?\d+(?:\.\d+)?)\Z")
# Letters that no date has outside quotation marks. Some libraries write T and Z without them; e, g, b: years of Asia.
_FOREIGN: Final = frozenset(string.ascii_letters) - frozenset("dmyhsegbtzDMYHSEGBTZ")
_THOUSANDS: Final = re.compile(r"[#0?](,+)[^#0?,]*\Z")  # behind the last digit: so many are not shown
_ELAPSED: Final = re.compile(r"(?:h+|m+|s+)\Z", re.IGNORECASE)
_COMPARE: Final[dict[str, Callable[[Number, float], bool]]] = {
    "<": lambda value, other: value < other,
    "<=": lambda value, other: value <= other,
    ">": lambda value, other: value > other,
    ">=": lambda value, other: value >= other,
    "=": lambda value, other: value == other,
    "<>": lambda value, other: value != other,
}


class Token(msgspec.Struct, frozen=True):
    """A part of a format: "literal", "bracket", "half", "general", "exponent" or "sign", and its text."""

    kind: str
    text: str


def shower(code: str, number: int, epoch: datetime) -> Show | None:
    """
    Return what shows a number by a format, its code or its number in the file; None: the format is not known.

    `epoch`: the day that the workbook counts from.
    """
    code = _NUMBERED.get(number, code)
    sections = [_tokens(each) for each in _sections(code)]
    if any(_is_date(tokens) for tokens in sections[:1]):
        if any(each.kind == "sign" and each.text in _FOREIGN for each in sections[0]):
            return None
        return functools.partial(_shown_date, sections[0], epoch)
    shows = [_number_shower(tokens) for tokens in sections]
    if any(show is None for show in shows[:3]):
        return None
    return functools.partial(_by_section, sections, shows)


def general(value: Number) -> str:
    """Return a number with all its digits; one with more than a spreadsheet keeps in the form that has lost some."""
    if value == 0:
        return "0"
    if abs(value) >= 10**_MOST_DIGITS:
        return f"{value:.5E}"
    text = f"{value:.{_MOST_DIGITS}g}"
    return f"{Decimal(text):f}" if "e" in text else text


def _sections(code: str) -> list[str]:
    """Split a format at its semicolons: positive; negative; zero; text."""
    parts, last = [""], 0
    for match in _TOKEN.finditer(code):
        if match["other"] == ";":
            parts.append("")
        else:
            parts[-1] += match[0]
        last = match.end()
    return parts if last == len(code) else [code]


def _tokens(section: str) -> list[Token]:
    return [*_tokens_of(section)]


def _tokens_of(section: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(section):
        kind = match.lastgroup or ""
        if kind in ("quoted", "escaped"):
            yield Token("literal", match[kind])
        elif kind == "blank":
            yield Token("literal", " ")
        elif kind == "bracket" and match[kind].startswith("$"):  # a currency, a language or both
            yield Token("literal", match[kind][1:].partition("-")[0])
        elif kind in ("bracket", "half", "general", "exponent"):
            yield Token(kind, match[kind])
        elif kind == "other":
            yield Token("sign", match[kind])


def _is_date(tokens: list[Token]) -> bool:
    if any(each.kind == "general" for each in tokens):
        return False
    return any(
        (each.kind == "sign" and each.text in "dmyhsDMYHS") or (each.kind == "bracket" and _ELAPSED.match(each.text))
        for each in tokens
    )


# Dates


def _shown_date(tokens: list[Token], epoch: datetime, value: Number) -> str:
    letters = "".join(each.text.lower() for each in tokens if each.kind == "sign")
    elapsed = any(each.kind == "bracket" and _ELAPSED.match(each.text) for each in tokens)
    if not 0 <= value < _DAYS:
        return ERROR
    has_time = bool(re.search("[hs]", letters)) or elapsed
    if elapsed or (has_time and not re.search("[dy]", letters)):
        return _shown_time(tokens, value)
    day, seconds = divmod(round(value * _SECONDS), _SECONDS)
    text = _day(day, epoch)
    if not (has_time and seconds):
        return text
    return f"{text} {timedelta(seconds=seconds)!s:0>8}".removesuffix(":00")


def _day(day: int, epoch: datetime) -> str:
    if epoch.year == 1899:  # noqa: PLR2004 - two days before the first one of its calendar
        if day == 0:
            return "1900-01-00"
        if day == _FEBRUARY_29:
            return "1900-02-29"
        day += day < _FEBRUARY_29
    return f"{epoch + timedelta(days=day):%Y-%m-%d}"


def _shown_time(tokens: list[Token], value: Number) -> str:
    """Return a time as its format has it, but for parts of seconds."""
    total = round(value * _SECONDS)
    hours, minutes, seconds = total // 3600, total // 60, total
    is_half = any(each.kind == "half" for each in tokens)
    parts, last = [], ""
    runs = _runs(tokens)
    for at, (kind, text) in enumerate(runs):
        follows = next((each.lower()[0] for name, each in runs[at + 1 :] if name in ("time", "elapsed")), "")
        unit = text[0].lower() if text else ""
        if kind == "elapsed":
            parts.append(str({"h": hours, "m": minutes, "s": seconds}[unit]).zfill(len(text)))
            last = unit
        elif kind == "half":
            parts.append("AM" if hours % 24 < 12 else "PM")  # noqa: PLR2004 - hours of half a day
        elif kind != "time":
            parts.append(text)
        elif unit == "h":
            hour = (hours % 12 or 12) if is_half else hours % 24
            parts.append(str(hour).zfill(min(len(text), 2)))
            last = unit
        elif unit == "m" and (last == "h" or follows == "s"):
            parts.append(str(minutes % 60).zfill(min(len(text), 2)))
            last = unit
        elif unit == "s":
            parts.append(str(seconds % 60).zfill(min(len(text), 2)))
            last = unit
    return "".join(parts).strip().rstrip(".")


def _runs(tokens: list[Token]) -> list[tuple[str, str]]:
    """Return the parts of a format of a time: "time", "elapsed", "half" or "text", and the letters of each."""
    runs: list[tuple[str, str]] = []
    for each in tokens:
        if each.kind == "bracket":
            runs += [("elapsed", each.text)] if _ELAPSED.match(each.text) else []
        elif each.kind == "half":
            runs.append(("half", each.text))
        elif each.kind == "sign" and each.text in "hmsHMS":
            if runs and runs[-1][0] == "time" and runs[-1][1][0].lower() == each.text.lower():
                runs[-1] = ("time", runs[-1][1] + each.text)
            else:
                runs.append(("time", each.text))
        elif each.kind == "literal" or each.text not in "0@":
            runs.append(("text", each.text))
    return runs


# Numbers


def _by_section(sections: list[list[Token]], shows: list[Show | None], value: Number) -> str:
    conditions = [_condition(tokens) for tokens in sections[:2]]
    if any(conditions):
        at = next((at for at, holds in enumerate(conditions) if holds and holds(value)), None)
        if at is None:
            at = 2 if len(shows) > 2 else int(conditions[0] is not None and len(shows) > 1)  # noqa: PLR2004
        show = shows[at]
        return show(value) if show else general(value)
    if value < 0 and len(shows) > 1:
        show, value = shows[1], -value
    elif value == 0 and len(shows) > 2:  # noqa: PLR2004 - the third one is of zero
        show = shows[2]
    else:
        show = shows[0]
    return show(value) if show else general(value)


def _condition(tokens: list[Token]) -> Callable[[Number], bool] | None:
    for each in tokens:
        if each.kind == "bracket" and (match := _CONDITION.match(each.text)):
            compare, other = _COMPARE[match[1]], float(match[2])
            return lambda value: compare(value, other)
    return None


def _number_shower(tokens: list[Token]) -> Show | None:
    """Return what shows a number by one section; None for a format that is not known, such as one of fractions."""
    signs = "".join(each.text for each in tokens if each.kind == "sign")
    if any(each.kind == "general" for each in tokens) or signs == "@":
        return functools.partial(_shown_general, tokens)
    if re.search(r"[A-Za-z]", signs) or re.search("[#0?] */", signs):
        return None
    if any(each.kind == "exponent" for each in tokens):
        decimals = len(re.findall("[0#?]", signs.partition(".")[2].partition("+")[0]))
        return lambda value: f"{value:.{max(0, decimals - 2)}E}"
    if not re.search("[#0?]", signs):
        return lambda _: _text_of(tokens)
    return functools.partial(_shown_number, tokens)


def _text_of(tokens: list[Token]) -> str:
    return "".join(each.text for each in tokens if each.kind in ("literal", "sign")).strip()


def _shown_general(tokens: list[Token], value: Number) -> str:
    parts = (
        general(value) if each.kind == "general" or each == Token("sign", "@") else each.text
        for each in tokens
        if each.kind != "bracket"
    )
    return "".join(parts).strip()


def _shown_number(tokens: list[Token], value: Number) -> str:
    """Return a number in the places for digits of a format, with what stands between them."""
    marks = [(each.kind == "sign", each.text) for each in tokens if each.kind in ("literal", "sign")]
    signs = "".join(text for is_sign, text in marks if is_sign)
    whole, _, part = signs.partition(".")
    places = len(re.findall("[0#?]", part))
    scaled = Decimal(repr(value)) * 100 ** signs.count("%")
    thousands = _THOUSANDS.search(whole)
    scaled /= 1000 ** (len(thousands[1]) if thousands else 0)
    digits, _, decimals = f"{abs(scaled).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):f}".partition(".")
    if len(digits) > _MOST_DIGITS:
        return f"{value:.5E}"
    is_grouped = bool(re.search(r"[0#?],+[0#?]", whole))
    text = _filled(marks, digits.lstrip("0"), decimals, is_grouped=is_grouped)
    return f"-{text}" if scaled < 0 and text.strip("0.") else text


def _filled(marks: list[tuple[bool, str]], digits: str, decimals: str, *, is_grouped: bool) -> str:
    """Put the digits into their places, from the point to the left and to the right."""
    point = next((at for at, mark in enumerate(marks) if mark == (True, ".")), len(marks))
    left, rest, count = [], digits, 0
    first = next((at for at, (is_sign, text) in enumerate(marks) if is_sign and text in "#0?"), -1)
    for at in range(point - 1, -1, -1):
        is_sign, text = marks[at]
        if not (is_sign and text in "#0?,"):
            left.append(text)
            continue
        if text == ",":
            continue
        taken = rest[-1:] or {"0": "0", "?": " "}.get(text, "")
        rest = rest[:-1]
        while taken:
            if is_grouped and count and count % 3 == 0 and taken.strip():
                left.append(",")
            left.append(taken)
            count += 1
            taken, rest = (rest[-1:], rest[:-1]) if at == first else ("", rest)
    right, at = [], 0
    shown = decimals
    for is_sign, text in marks[point + 1 :]:
        if is_sign and text in "#0?":
            optional = text == "#" and not shown[at:].strip("0")
            right.append("" if optional else shown[at])
            at += 1
        elif not (is_sign and text == ","):
            right.append(text)
    dot = "." if point < len(marks) else ""
    return ("".join(reversed(left)) + dot + "".join(right)).strip()
