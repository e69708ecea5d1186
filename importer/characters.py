"""The characters of a single cell: what is trimmed, what is wrong with them, what a spreadsheet would run. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import msgspec

from importer.attributes import ATTRIBUTES, Attribute, Rule
from importer.model import Message, Problem, message
from importer.patterns import regex

# All Unicode blanks that str.strip() knows, and three that it does not: zero width space, BOM, word joiner. It takes
# four control characters for blanks as well, which are not.
_SEPARATORS: Final = "\x1c\x1d\x1e\x1f"
EDGE: Final = (
    "".join(char for char in map(chr, range(0x3001)) if char.isspace() and char not in _SEPARATORS)
    + "\u200b\ufeff\u2060"
)

SHOWN_CHARS: Final = 80  # of a name or value in an answer

_CONTROL: Final = regex(r"[\x00-\x1f\x7f-\x9f]")
_LINE_BREAK: Final = regex(r"[\r\n\t\u2028\u2029]")
# In the words of English, French, German, Spanish and Italian spreadsheets; LibreOffice has numbers for some: Err:502.
_ERROR_VALUE: Final = regex(r"#(?:N/A|N/D|NV|GETTING_DATA|[¡¿]?[A-ZÀ-Ý/0]{2,12}[!?])\Z|#{2,}\Z|Err:\d{3}\Z")
_SPACED: Final = regex(r"\d{1,3}(?:[ \u00a0\u2007\u2009\u202f]\d{3})+\Z", re.ASCII)  # thousands
_FORMULA_TEXT: Final = regex(r'="')
NO_RESULT: Final = "#FORMULA!"  # of a cell of a workbook whose value is not in the file, or cannot be shown
_EXPONENT: Final = regex(r"[+-]?\d(?:[.,]\d+)?[eE]\+\d+\Z")
# What programs and people write where they have no value. Nan and Na are names. Each begins with a sign or one of few
# letters, or `column_screen` would take 3 % longer; words with others are in `damage`.
_WORDS: Final = (
    r"null|none|nil|(?-i:NaN)|undefined|unknown|unassigned|x{3,}|inconnue?|n/[ad]|no (?:name|id|value|data)"
    r"|not (?:available|applicable|assigned)|non (?:disponible|assignée?)|null null|undefined undefined|\\n"
)
_PLACEHOLDER: Final = regex(
    rf"(?:{_WORDS}|à déterminer|à venir|[(<\[{{](?:{_WORDS}|na|blank|vide|empty|aucune?|object object)[)>\]}}]"
    rf"|\{{\{{.*\}}\}}|\$\{{.*\}}|[\W_]+)\Z",
    re.IGNORECASE,
)
# Nothing can be wrong with the characters of such a value, and it needs no cleaning: most are like it.
_PLAIN: Final = regex(
    rf"(?!(?=[nuixe_\\ ./,:;@&*()-])(?:{_WORDS}|[_ ./,:;@&*()-]+|Err:\d{{3}})\Z)\w(?:[\w ./,:;@&*()-]*[\w.)])?\Z",
    re.ASCII | re.IGNORECASE,
)
# Two or three bytes of a letter in UTF-8 as Windows-1252 has them: an odd letter, then some of those above 0x7F; behind
# letters of more languages without those that are at a letter in a text.
_LATER_BYTES: Final = bytes(range(0x80, 0xC0))
_LATER: Final = re.escape(_LATER_BYTES.decode("cp1252", "ignore"))
_SURE: Final = re.escape(
    _LATER_BYTES.translate(None, b"\x85\x91\x92\x93\x94\x96\x97\xa0\xaa\xb0\xba\xbb").decode("cp1252", "ignore")
)
_GARBLED: Final = regex(
    f"[ÂÃÄÅÎ][{_LATER}]|â[{_LATER}]{{2}}|á[º»][{_LATER}]|Æ[°¡¯]|[ÐÑØÙÆ\xd7][{_SURE}]|[äåæçèêëìí][{_SURE}]{{2}}"
)

# What makes a spreadsheet run a cell: one of these signs at its front, full-width forms included, also behind
# characters that programs ignore: blanks, control and format characters, marks, fillers.
_SIGNS: Final = r"=+@\-\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u207c\u207a\u207b\u208c\u208a\u208b\u2212"
_UNSEEN: Final = r"[^\w!-~\t\r\n]|[\u115f\u1160\u3164\uffa0]"
_RUN: Final = regex(rf"'*(?:{_UNSEEN})*[{_SIGNS}\t\r\n]")
# A program that splits at another separator than the file's, as Excel does by country, makes a cell of its own of what
# follows one inside a cell, quotation marks or not.
_PART: Final = rf"'*(?:{_UNSEEN}|\")*[{_SIGNS}]"
_RUN_PART: Final = regex(rf"[,;|\t\r\n](?={_PART})")  # looking behind would be slower
# Cells with which neither of them has anything to do, joined by NUL, as most are; what matched once is not tried again.
_HARMLESS: Final = regex(r"(?:[A-Za-z0-9][^',;|\t\r\n\0]*+)?(?:\0(?:[A-Za-z0-9][^',;|\t\r\n\0]*+)?)*\Z")
_GUARDED_PART: Final = regex(rf"(?<=[,;|\t\r\n])'(?={_PART})")


class Cell(msgspec.Struct, frozen=True):
    """One cell after cleaning: its value, what is wrong with its characters, what is worth a warning."""

    value: str
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()  # codes


def is_plain(raw: str) -> bool:
    """Tell whether `clean` finds nothing in a cell, whatever its attribute."""
    return bool(_PLAIN.match(raw))


def is_placeholder(value: str) -> bool:
    """Tell whether a value is a word or signs in place of one."""
    return bool(_PLACEHOLDER.match(value))


def clean(attribute: Attribute, raw: str) -> Cell:
    """Trim and normalise one cell and judge its characters; the rule of the attribute is not asked here."""
    if is_plain(raw):
        return Cell(raw)
    value = unicodedata.normalize("NFC", raw.strip(EDGE))
    if not value:
        return Cell("")
    problems = tuple(_bad_characters(attribute, value))
    warnings = []
    if attribute.rule is not Rule.KEY and _EXPONENT.match(value):
        warnings.append("value.damaged")
    if attribute.rule is not Rule.KEY and _PLACEHOLDER.match(value):
        warnings.append("value.placeholder")
    if not value.isascii() and _GARBLED.search(value):
        warnings.append("encoding.garbled")
    return Cell(value, problems, tuple(warnings))


def _bad_characters(attribute: Attribute, value: str) -> list[Problem]:  # noqa: PLR0911 - a list of cases
    """Return the first thing wrong with the characters of a value: what comes after would only repeat it."""
    name = attribute.name
    is_printable = value.isprintable()  # ten times as fast as the patterns, whose time 64 KiB of junk would cost
    if not is_printable and (reason := _unprintable(name, value)):
        return [Problem(name, reason)]
    if "\ufffd" in value:
        return [Problem(name, message("9033/lost_letter", column=name))]
    if value == NO_RESULT:
        return [Problem(name, message("9033/result", column=name))]
    if _ERROR_VALUE.match(value):
        return [_with_value("9033/error_value", name, value)]
    if _FORMULA_TEXT.match(value):
        return [Problem(name, message("9033/formula", column=name))]
    if attribute.rule is Rule.KEY and _EXPONENT.match(value):
        return [_with_value("9033/shortened", name, value)]
    if attribute.rule is Rule.KEY and _PLACEHOLDER.match(value):
        return [_with_value("9033/no_id", name, value)]
    if attribute.rule in (Rule.KEY, Rule.USER_NAME, Rule.EMAIL) and (hidden := _hidden(value)):
        if attribute.rule is Rule.KEY and _SPACED.match(value):
            return [_with_value("9033/thousands_space", name, value)]
        return [Problem(name, message("9033/invisible", column=name, character=_named(hidden)))]
    return []


def _unprintable(name: str, value: str) -> Message | None:
    if _LINE_BREAK.search(value):
        return message("9033/line_break", column=name)
    if match := _CONTROL.search(value):
        # Those from U+0080 on are what is left of a letter that was decoded wrongly: to remove it would not do.
        key = "9033/control" if match[0] <= "\x7f" else "9033/lost_control"
        return message(key, column=name, character=_named(match[0]))
    return None


def _with_value(key: str, name: str, value: str) -> Problem:
    return Problem(name, message(key, column=name), message(f"{key}!", column=name, value=value[:SHOWN_CHARS]))


def _hidden(value: str) -> str:
    """Return the first format character or blank beyond ASCII, "" when there is none."""
    if value.isprintable():
        return ""
    return next((c for c in value if not c.isascii() and (c.isspace() or unicodedata.category(c) == "Cf")), "")


def _named(char: str) -> str:
    return f"U+{ord(char):04X}"


def unique_id_in(cell: str) -> str:
    """Return the unique id that a cell of that column means."""
    return clean(ATTRIBUTES["unique_id"], unguarded(cell)).value


def is_unique_id(cell: str, unique_id: str) -> bool:
    """Tell whether a cell of that column means this id."""
    cell = unguarded(cell)
    if unique_id not in unicodedata.normalize("NFC", cell):  # most cells, and clean() takes its time
        return False
    return clean(ATTRIBUTES["unique_id"], cell).value == unique_id


def sent_back(cells: list[str]) -> list[str]:
    """Return cells of an upload, none of which has a NUL, as a failed CSV has them."""
    if _HARMLESS.match("\0".join(cells)):
        return cells
    return [cell if _HARMLESS.match(cell) else guarded(unguarded(cell)) for cell in cells]


def guarded(cell: str) -> str:
    """Return the cell so that no spreadsheet runs it, or a part of it; the inverse of `unguarded`."""
    front = "'" if _RUN.match(cell) else ""
    return front + _RUN_PART.sub(_with_guard, cell)


def _with_guard(match: re.Match[str]) -> str:
    return f"{match[0]}'"


def unguarded(cell: str) -> str:
    """Undo each ' that keeps a spreadsheet from running a cell; the inverse of `guarded`."""
    if "'" not in cell:
        return cell
    start = 1 if cell[0] == "'" and _RUN.match(cell, 1) else 0
    return _GUARDED_PART.sub("", cell[start:])
