"""A first line without names between our delimiters: an error message, or names with another separator."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from importer.attributes import POSSIBLE_NAMES
from importer.characters import SHOWN_CHARS
from importer.file.proposals import nearest
from importer.model import FileRejected, Message, message, printable
from importer.patterns import regex
from importer.settings import ClientSettings

_BRACKETS: Final = ("[]", "{}", "()", "<>")
_COLUMNS: Final = 64  # that are looked at
_FEWEST_NAMES, _FEWEST_COLUMNS = 3, 2  # of a file whose columns are lines
# What is between two names, but for what may be in a name, such as brackets or hyphens, or around it. In linear time:
# blanks are taken from the first of them on, or 60,000 of them would take a minute.
_BETWEEN: Final = regex(r"(?<![ \t\xa0])[ \t\xa0]*([^\w \t\xa0\"'()\[\]{}<>.-]+)[ \t\xa0]*")
_GAP: Final = regex(r"[ \xa0]{2,}")
_THORN: Final = "\xfe"  # around the values of Concordance, or between them
_WRITTEN_TAB: Final = r"\t"  # in place of the character
_LETTERS_BETWEEN: Final = regex("\xfe[^\\w]?\xfe?|\\\\t")
_ERROR_CODE: Final = regex(
    r"\b(?:[A-Z]{2,5}\d?-\d{4,5}:|SQLSTATE\b|Msg \d|HTTP/\d|SQLState = )|^(?:Warning|Notice|Avertissement) ?:"
)
_ERROR_WORD: Final = regex(
    r"error|fehler|exception|traceback|fatal|fail(?:ed|ure)\b|segmentation fault|deadlock|out of memory|disk full"
    r"|truncated|unexpectedly"
    r"|(?:down for|under|en) maintenance|returned no (?:results|rows|records|data|matches)"
    r"|\b[45]\d\d (?:not found|forbidden|unauthorized|bad|internal|service|gateway|request|too many)\b"
    r"|limit (?:reached|exceeded)|limite .*(?:atteinte|dépassée)|exceeded|unavailable|indisponible"
    r"|invalid (?:user|pass)|\b(?:denied|refused|expired|timed out|timeout|not found|no such"
    r"|unable to|cannot|could not|does not exist|unauthori[sz]ed|forbidden|not recognized|interrupted|aborted|cancel+ed"
    r"|connection (?:lost|reset|closed)|lost connection)\b"
    r"|\b(?:erreur|échec|échoué|refusée?|expirée?|introuvable|impossible|interrompue?|non autorisée?|dépassé|annulée?"
    r"|connexion perdue|perdu la connexion)\b",
    re.IGNORECASE,
)

_NOTHING_FOUND: Final = regex(
    r"(?:no|aucune?|aucuns) (?:data|rows?|records?|results?|users?|students?|matche?s?|données?|résultats?|lignes?"
    r"|enregistrements?|élèves?|utilisateurs?|employés?)\b|\(?0 (?:rows?|records?|lignes?|enregistrements?)\b",
    re.IGNORECASE,
)
# A whole line of one word, such as java.lang.NullPointerException.
_ERROR_NAME: Final = regex(
    r"(?:\w+\.)+\w*(?:Exception|Error)\Z|(?:Type|Value|Key|Runtime|Syntax|Reference|OS|IO|SQL)(?:Error|Exception)\Z"
    r"|(?i:unauthori[sz]ed|forbidden|timeout|denied|failed|failure|killed|aborted|segfault|non autorisé|interdit|échec)"
    r"[.!]?\Z"
)
_ERROR_VALUE: Final = regex(r"#(?:REF!|N/A|NAME\?|VALUE!|DIV/0!|NULL!|NUM!|ERROR!?)\Z", re.IGNORECASE)  # of a formula
_LISTED: Final = regex(r"\W*(\w[\w .-]*?)\s*[:=]")  # a name before its value


def _separator(cells: Sequence[str], delimiter: str, delimiters: Sequence[str], client: ClientSettings) -> str:
    """Return what is between all names of a line where it is none of the delimiters, "" elsewhere."""
    text = delimiter.join(cells[:_COLUMNS]).strip()
    if _THORN in text or _WRITTEN_TAB in text:  # which have letters, as names have
        names = _LETTERS_BETWEEN.split(text)
        between = _LETTERS_BETWEEN.findall(text.strip(_THORN))
        return between[0] if between and _known(names, client) > 1 else ""
    parts = _BETWEEN.split(text)
    if len({*parts[1::2]}) != 1 or {*parts[1]} <= {*delimiters}:
        return ""
    # An asterisk in front of each name makes ",*" of a comma; who means a separator writes "|~|".
    if any(each in parts[1] for each in delimiters) and parts[1] != parts[1][::-1]:
        return ""
    return parts[1] if _known(parts[::2], client) > 1 else ""


def refuse_separator(
    cells: Sequence[str], delimiter: str, delimiters: Sequence[str], client: ClientSettings, line: int
) -> None:
    """Raise header.unknown when something else than a delimiter is between all names of the line."""
    if between := _separator(cells, delimiter, delimiters, client):
        # Excel offers no other choice.
        kind = "separator" if len(between) == 1 and between.isprintable() else "separator_other"
        separator = printable(between.encode())
        raise FileRejected(message(f"header.unknown/{kind}", line=str(line), separator=separator), line=line)


def refuse_each_line(cells: Sequence[str], row: Sequence[str], client: ClientSettings, line: int) -> None:
    """Raise header.unknown when names are in the row below, too, next to values."""
    same = [cell for cell, below in zip(cells, row, strict=False) if cell == below]
    values = [below for cell, below in zip(cells, row, strict=False) if cell != below]
    if values and _known(same, client) >= _FEWEST_COLUMNS and not _known(values, client):
        raise FileRejected(message("header.unknown/each_line", line=str(line)), line=line)


def refuse_marks(cells: Sequence[str], row: Sequence[str], delimiters: Sequence[str], line: int) -> None:
    """Raise header.unknown when names, and the values of the row below, are in marks that may mean something else."""
    bars = {cell.strip(" ") for cell in cells[2:-1:2]}  # each taken for a delimiter
    if len(bars) == 1 and bars < {*delimiters} and not (cells[0].strip() or cells[-1].strip()):
        raise FileRejected(message("header.unknown/marks", line=str(line), mark="|"), line=line)
    texts = [text for cell in (*cells, *row) if (text := cell.strip())]
    for opening, closing in _BRACKETS if row else ():
        if all(text[0] == opening and text[-1] == closing for text in texts):
            raise FileRejected(message("header.unknown/marks", line=str(line), mark=opening + closing), line=line)


def refuse_names_in_column(cells: Sequence[str], column: Sequence[str], client: ClientSettings, line: int) -> None:
    """Raise header.unknown when the names are in the first column; `column` has its first cells, one of each line."""
    if len(cells) < _FEWEST_COLUMNS or len(column) < _FEWEST_NAMES or _known(cells[1:], client):
        return
    known = _known(column, client)
    if known >= _FEWEST_NAMES and 2 * known > len(column[:_COLUMNS]):
        raise FileRejected(message("header.unknown/transposed"), line=line)


def refuse_list(lines: Iterable[str], client: ClientSettings, line: int) -> None:
    """Raise header.unknown when each of the lines has the name of a column and its value."""
    listed = [match[1] for text in lines if (match := _LISTED.match(text[:SHOWN_CHARS]))]
    if len(listed) >= _FEWEST_NAMES and 2 * _known(listed, client) > len(listed[:_COLUMNS]):
        raise FileRejected(message("header.unknown/list"), line=line)


def one_name(text: str, delimiters: Sequence[str], client: ClientSettings, line: int) -> Message:
    """Return what to do about a line that is one name: all names together, or something else."""
    if any(delimiter in text for delimiter in delimiters):
        return message("header.unknown/quoted_line", line=str(line))
    is_spaced = _known(text.split(), client) > 1 or _known(_GAP.split(text), client) > 1
    return message(f"header.unknown/{'spaces' if is_spaced else 'one_name'}", line=str(line))


def refuse_error_message(text: str, cells: Sequence[str], line: int) -> None:
    """
    Raise file.not_csv when the text of the line is what a program says that could not export anything.

    Only its first cell is searched: a user, whose id and address can look alike, must not be quoted in an answer.
    """
    first = cells[0].strip()
    words = len(first.split())
    is_sentence = words > 2 and (len(cells) == 1 or ":" in first)  # noqa: PLR2004 - words of no name
    is_short = words == 2 and len(cells) == 1 and ":" not in first  # noqa: PLR2004 - likewise
    is_word = len(cells) == 1 and bool(_ERROR_NAME.match(first))
    if first.lower() in ("error", "erreur", "sorry", "désolé") and len(text.split()) > len(cells):
        first, is_sentence = text, True
    if (
        is_word
        or _ERROR_VALUE.match(first)
        or _ERROR_CODE.search(first)
        or ((is_sentence or is_short) and (_ERROR_WORD.search(first) or _NOTHING_FOUND.match(first)))
    ):
        shown = printable(text[:SHOWN_CHARS].encode())
        raise FileRejected(message("file.not_csv/error", text=shown), line=line)


def has_error_words(text: str) -> bool:
    """Tell whether a text of several words is an error message."""
    return " " in text and bool(_ERROR_CODE.search(text) or _ERROR_WORD.search(text))


def _known(names: Sequence[str], client: ClientSettings) -> int:
    stripped = (name.strip(" \"'") for name in names[:_COLUMNS])
    return sum(name in POSSIBLE_NAMES or name in client.headings or bool(nearest(name)) for name in stripped if name)
