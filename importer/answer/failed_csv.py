"""The failed CSV: the rows that were not imported, to be corrected and uploaded again."""

from __future__ import annotations

import csv
import functools
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from importer.attributes import REPORT_NAMES
from importer.characters import guarded, sent_back
from importer.file.header import Header
from importer.model import Message, Receipt, message
from importer.store.recording import FULL_ROWS, FailedRow
from importer.wording.catalogue import Words, words


def failed_csv(
    header: Header, rows: Iterable[FailedRow], receipt: Receipt, languages: Sequence[str]
) -> Iterator[bytes]:
    """
    Yield the failed CSV: the original columns and cells, then what is wrong with each row.

    UTF-8 with BOM and CRLF, and the delimiter of the upload: with these a double click opens it right in most
    spreadsheets. All fields are quoted. Columns with secrets and rosterd's own columns of an earlier report are left
    out. The last row says how many are not in it.
    """
    out, report = _Written(), _Report(languages)
    writer = csv.writer(out, delimiter=header.delimiter, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([*(guarded(header.titles[index]) for index in header.echoed), *REPORT_NAMES])
    yield b"\xef\xbb\xbf"
    for number, row in enumerate(rows, 1):
        cells = row.cells + [""] * (header.width - len(row.cells))
        more = receipt.tally.failed - receipt.listed if number == receipt.listed else 0
        writer.writerow([*sent_back([cells[index] for index in header.echoed]), *report.cells(row, more)])
        yield out.taken()
    yield out.taken()


class _Written(list[str]):
    """What a csv writer wrote; io.StringIO would take four bytes for each letter."""

    def write(self, text: str) -> None:
        self.append(text)

    def taken(self) -> bytes:
        """Return it, once, as UTF-8."""
        text = "".join(self).encode()
        self.clear()
        return text


class _Report:
    """The report's own cells of each row."""

    def __init__(self, languages: Sequence[str]) -> None:
        self._reasons = [_Reasons(words(language)) for language in languages]
        self._same: dict[str, list[str]] = {}  # by the problems of rows: what all further ones of that kind have

    def cells(self, row: FailedRow, more_rows: int) -> list[str]:
        """Return line, codes, fields and reasons; `more_rows`: how many this file has no room for, told if any."""
        if not more_rows and (same := self._same.get(row.kinds)):
            return [str(row.line), *same]
        reasons = " / ".join(each.of(row, more_rows) for each in self._reasons)
        cells = [
            "; ".join(problem.code for problem in row.problems),
            "; ".join(problem.field for problem in row.problems if problem.field),
            guarded(reasons),  # some quote a cell
        ]
        if row.kinds and not more_rows and all(each.is_short for each in self._reasons):
            self._same[row.kinds] = cells
        return [str(row.line), *cells]


class _Remedy(msgspec.Struct):
    """A sentence that says what to do, in how many rows, and what refers to the first of them."""

    text: str
    as_above: str
    rows: int = 0

    def taken(self) -> str:
        """Return what one more row says."""
        self.rows += 1
        return self.text if self.rows <= FULL_ROWS or len(self.text) <= len(self.as_above) else self.as_above


@functools.lru_cache(1000)
def _sentences(reason: Message, say: Words) -> tuple[str, str]:
    return say.sentences(reason)


class _Reasons:
    """What is wrong with each row, and what to do, in one language; of very many rows the later ones are shorter."""

    def __init__(self, say: Words) -> None:
        self._say = say
        self._remedies: dict[str, _Remedy] = {}
        self.is_short = False  # whether another row with the problems of the last one has the same text

    def of(self, row: FailedRow, more_rows: int) -> str:
        """Return the sentences about a row."""
        pairs = [
            self._say.sentences(each.precise) if each.precise else _sentences(each.reason, self._say)
            for each in row.problems
        ]
        remedies = {remedy: self._remedy(remedy, row.line) for _, remedy in pairs if remedy}
        taken = {text: remedy.taken() for text, remedy in remedies.items()}
        self.is_short = all(each.rows > FULL_ROWS for each in remedies.values())
        sentences = [text for problem, remedy in pairs for text in (problem, taken.get(remedy, ""))]
        if more_rows:
            sentences.append(self._say.say(message("more_rows", count=more_rows)))
        return " ".join(dict.fromkeys(filter(None, sentences)))  # what to do about several problems is often the same

    def _remedy(self, text: str, line: int) -> _Remedy:
        if text not in self._remedies:
            self._remedies[text] = _Remedy(text, self._say.say(message("as_above", line=str(line))))
        return self._remedies[text]
