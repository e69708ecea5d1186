"""A receipt to what the client reads: the failed CSV, the result text, the mail. Pure."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import Final

from importer import names
from importer.attributes import REPORT_NAMES
from importer.characters import guarded, unguarded
from importer.codes import CODES
from importer.file.header import Header
from importer.model import FileRejected, FileWarning, Outcome, ProblemGroup, Receipt, Tally, printable
from importer.store.rejected import FailedRow

_GROUPS_TOLD: Final = 20
_WIDTH: Final = 96

_HEADLINES: Final = {
    Outcome.IMPORTED: "IMPORTED",
    Outcome.PARTLY: "PARTLY IMPORTED",
    Outcome.REFUSED: "NOT IMPORTED",
}


def failed_csv(header: Header, rows: Iterable[FailedRow], receipt: Receipt) -> Iterator[bytes]:
    """
    Yield the failed CSV: the original columns and cells, then what is wrong with each row.

    UTF-8 with BOM and CRLF, as spreadsheets like it; the upload's delimiter; all fields quoted. Columns with secrets
    and rosterd's own columns of an earlier report are left out. The last row tells of those that are not in it.
    """
    out = _Written()
    writer = csv.writer(out, delimiter=header.delimiter, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow([*(guarded(header.titles[index]) for index in header.echoed), *REPORT_NAMES])
    yield b"\xef\xbb\xbf"
    for number, row in enumerate(rows, 1):
        cells = row.cells + [""] * (header.width - len(row.cells))
        more = _unlisted(receipt) if number == receipt.listed else 0
        writer.writerow([*(guarded(unguarded(cells[index])) for index in header.echoed), *_report_cells(row, more)])
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


def _unlisted(receipt: Receipt) -> int:
    """Return how many of the rows that failed are not in the failed CSV."""
    return receipt.tally.failed - receipt.listed


def _report_cells(row: FailedRow, more_rows: int) -> list[str]:
    problems = row.problems
    reasons = [f"{problem.field} {problem.precise or problem.detail}".strip() for problem in problems]
    if more_rows:
        reasons.append(f"and {_number(more_rows, 'more row')}, for which this file has no room")
    return [
        str(row.line),
        "; ".join(problem.code for problem in problems),
        "; ".join(problem.field for problem in problems if problem.field),
        guarded("; ".join(reasons)),  # some quote a cell
    ]


def subject(receipt: Receipt) -> str:
    """Return the subject of the mail: counts and outcome, nothing from the file."""
    if receipt.refusal:
        return f"rosterd: file of {receipt.claim.client} not imported ({receipt.refusal.code})"
    tally = receipt.tally
    if tally.failed:
        return f"rosterd: {tally.failed:,} of {_number(tally.rows, 'user')} of {receipt.claim.client} not imported"
    return f"rosterd: {_number(tally.applied, 'user')} of {receipt.claim.client} imported"


def result_text(receipt: Receipt) -> str:
    """Return what happened, in sentences, for people: the result text, and the body of the mail."""
    return "\n".join(_wrapped(_paragraphs(receipt))) + "\n"


def check_text(receipt: Receipt) -> str:
    """Return what would become of a file, for whoever runs `rosterd check`."""
    return "\n".join(
        _wrapped((f"{_HEADLINES[receipt.outcome]} if uploaded now: {receipt.claim.file}", "", *_body(receipt)))
    )


def _paragraphs(receipt: Receipt) -> Iterator[str]:
    claim = receipt.claim
    yield f"{_HEADLINES[receipt.outcome]}: {claim.file}"
    yield f"Client {claim.client}, {receipt.finished_at:%Y-%m-%d %H:%M:%S} UTC, import {claim.claim_id}."
    yield ""
    yield from _body(receipt)
    yield ""
    yield from _what_to_do(receipt)


def _body(receipt: Receipt) -> Iterator[str]:
    if receipt.refusal:
        yield from _refusal(receipt.refusal)
    else:
        yield from _counts(receipt.tally)
    if receipt.problems:
        yield ""
        yield "What is wrong"
        yield from (f"  - {_group(group, receipt.tally.rows)}" for group in receipt.problems[:_GROUPS_TOLD])
        if len(receipt.problems) > _GROUPS_TOLD:
            yield "  - and more; see the failed CSV"
    if receipt.warnings:
        yield ""
        yield "Worth knowing"
        yield from (f"  - {_notice(notice)}" for notice in receipt.warnings)


def _refusal(refusal: FileRejected) -> Iterator[str]:
    code = CODES[refusal.code]
    yield f"Nothing of the file was applied: {code.title} ({code.code})."
    yield ""
    yield refusal.detail[:1].upper() + refusal.detail[1:]


def _counts(tally: Tally) -> Iterator[str]:
    yield f"{_number(tally.rows, 'row')} below the header:"
    yield f"  {tally.created:>9,} created"
    yield f"  {tally.updated:>9,} updated"
    yield f"  {tally.unchanged:>9,} unchanged"
    if tally.repeated:
        yield f"  {tally.repeated:>9,} repeated, counted once"
    yield f"  {tally.failed:>9,} not imported"


def _group(group: ProblemGroup, rows: int) -> str:
    who = _number(group.rows, "row")
    if group.rows == rows > 1:
        who = "both rows" if rows == 2 else f"all {who}"  # noqa: PLR2004 - as the language has it
    where = f"line {group.first_line}" if group.rows == 1 else f"first in line {group.first_line}"
    return f"{who}: {group.field} {group.detail} ({where}, code {group.code})".replace("  ", " ")


def _notice(notice: FileWarning) -> str:
    code = CODES[notice.code]
    text = notice.detail or f"{code.title}. {code.remedy}"
    about = f"{notice.field}: " if notice.field else ""
    if not notice.rows:
        return f"{about}{text} ({code.code})"
    where = f"line {notice.first_line}" if notice.rows == 1 else f"first in line {notice.first_line}"
    return f"{_number(notice.rows, 'row')}: {about}{text} ({where}, {code.code})"


def _what_to_do(receipt: Receipt) -> Iterator[str]:
    claim = receipt.claim
    if receipt.tally.failed:
        name = printable(names.failed_csv(claim.archive))
        file = f"{name}, which is in the folder .bak and, if this is a mail, is attached"
        yield _upload_whole(file, receipt) if _unlisted(receipt) else _upload_corrected(file)
        yield ""
    yield f"The uploaded file is kept as {printable(claim.archive)} in the folder .bak."


def _upload_corrected(file: str) -> str:
    return (
        f"What to do: open {file}. It holds just the rows that were not imported; its last columns say what is wrong "
        "with each. Correct the cells, save it as CSV UTF-8, and upload that file: its rows are imported, all others "
        "stay as they are. The last four columns may stay in it. In Excel open it by Data, From Text/CSV, with "
        "Text as the type of its columns: a double click changes dates and drops leading zeros."
    )


def _upload_whole(file: str, receipt: Receipt) -> str:
    return (
        f"What to do: look into {file}. Its last columns say what is wrong with {_number(receipt.listed, 'row')} that "
        f"were not imported, and {_number(_unlisted(receipt), 'more row')}, for which it has no room, were not either. "
        "Correct all of them where the file comes from, and upload the whole file again: what is recorded already "
        "stays as it is."
    )


def mail_text(receipt: Receipt, *, attached_rows: int) -> str:
    """Return the body of the mail: the result text, and where the failed CSV is when it is not attached whole."""
    text = result_text(receipt)
    if attached_rows == receipt.listed:
        return text
    name = printable(names.failed_csv(receipt.claim.archive))
    return (
        f"{text}\nThe failed CSV is too large for a mail: attached are its first {attached_rows:,} rows; "
        f"the whole lies in the folder .bak as {name}.\n"
    )


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _wrapped(lines: Iterable[str]) -> Iterator[str]:
    """Break long lines between words; what follows a bullet or an indent keeps it."""
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip(" -")))
        rest = line
        while len(rest) > _WIDTH and (cut := rest.rfind(" ", len(indent) + 1, _WIDTH)) > 0:
            yield rest[:cut]
            rest = indent + rest[cut + 1 :]
        yield rest
