"""What a client reads about one file, in one language but in no format yet: texts, and what each of them is. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from importer import names
from importer.model import FileWarning, Message, OnHold, ProblemGroup, Receipt, Tally, message, printable
from importer.roster.on_hold import approval_name
from importer.settings import MailSettings
from importer.wording.catalogue import Words, words
from importer.wording.times import local_time

_MOST_FINDINGS: Final = 20  # of kinds of problems; the failed CSV has all
_SUBJECT_NAME_CHARS: Final = 60

# The step after the remedy of a refusal, where it is not "save and upload again"; "": none. By key, else by code.
_LAST_STEPS: Final = {
    "check.name": "",
    "check.time": "",
    "csv.quoting": "step/refused/saved",
    "encoding.invalid": "step/refused/that",
    "encoding.nul": "",
    "feed.frozen": "",
    "file.empty": "",
    "file.empty/workbook": "step/refused/saved",
    "file.not_csv": "",
    "file.not_csv/data": "step/refused/that",
    "file.not_csv/database": "step/refused/that",
    "file.not_csv/html": "step/refused/that",
    "file.not_csv/pdf": "step/refused/that",
    "file.not_csv/picture": "step/refused/that",
    "guard.expired": "",
    "guard.rejected": "",
    "guard.superseded": "",
    "header.unknown/list": "step/refused/that",
    "header.unknown/mapping": "",
    "header.unknown/marks": "step/refused/saved",
    "header.unknown/one_line": "step/refused/that",
    "header.unknown/one_name": "step/refused/that",
    "header.unknown/quoted_line": "step/refused/that",
    "header.unknown/separator": "step/refused/that",
    "header.unknown/separator_other": "step/refused/that",
    "header.unknown/spaces": "step/refused/that",
    "header.unknown/transposed": "step/refused/that",
    "order.older": "",
    "limit.file": "step/refused/each",
    "limit.inbox": "",
    "limit.rows": "step/refused/each",
    "limit.rows/blank": "",
    "pgp.damaged": "step/refused/that",
    "pgp.expired": "step/refused/that",
    "pgp.messages": "step/refused/that",
    "pgp.not_encrypted": "step/refused/that",
    "pgp.not_encrypted/key": "",
    "pgp.symmetric": "step/refused/that",
    "pgp.unsigned": "step/refused/that",
    "pgp.wrong_key": "step/refused/that",
    "sheet.choice": "",
    "sheet.choice/none": "step/refused/saved",
    "upload.incomplete": "",
    "upload.incomplete/curly_mark": "step/refused/saved",
    "wrap.damaged": "",
    "wrap.files": "",
    "wrap.limit": "step/refused/each",
    "wrap.limit/memory": "",
    "wrap.limit/ratio": "",
    "wrap.limit/time": "",
    "wrap.limit/wide": "",
    "wrap.locked": "step/refused/that",
    "wrap.locked/archive": "",
}


_WORKBOOKS: Final = (b".xlsx", b".xlsm")
_ALL_NEW: Final = "/all_new"  # ends the key of a reason whose remedy is the one thing to do
_SAY_WHERE: Final = (
    "9019/lines",
    "9020/lines",
    "9022/lines",
    "id.case/lines",
    "id.case/zeros/lines",
    "value.damaged/digits_many",
)  # reasons that name all lines themselves


class Medium(enum.Enum):
    """Where the client reads it; what to do differs."""

    MAIL = enum.auto()
    FILE = enum.auto()  # the result text in `.bak`
    CHECK = enum.auto()  # a dry run: nothing happened
    TRIAL = enum.auto()  # a dry run of what the client put into its folder `check`

    @property
    def is_dry_run(self) -> bool:
        """Tell whether nothing happened."""
        return self in (Medium.CHECK, Medium.TRIAL)


class ListedProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One problem or warning."""

    where: str = ""  # "Lines 2-5, 9", "412 rows, first line 2"; "" when the problem says it
    column: str = ""
    problem: str
    remedy: str

    @property
    def text(self) -> str:
        """Return both sentences."""
        return f"{self.problem} {self.remedy}".rstrip()


class SupportLine(msgspec.Struct, frozen=True):
    """A line that helps support, and where it links to."""

    text: str
    url: str = ""


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one file."""

    language: str
    subject: str
    title: str  # the subject with the whole name of the file
    summary: str
    steps: tuple[str, ...] = ()
    problems: tuple[ListedProblem, ...] = ()
    more_problems: int = 0  # how many are not in `problems`
    see: str = ""  # the file that lists them
    warnings: tuple[ListedProblem, ...] = ()
    more_warnings: int = 0
    support: tuple[SupportLine, ...] = ()
    names: tuple[str, ...] = ()  # of files, as the texts have them


class Attached(msgspec.Struct, frozen=True):
    """What comes with an answer: rows of the failed CSV; and where these are as a workbook, see the keys step/book."""

    rows: int = 0
    workbook: Literal["", "mail", "file", "bak"] = ""


def sheets(
    receipt: Receipt,
    languages: Sequence[str],
    medium: Medium,
    mail: MailSettings,
    attached: Attached = Attached(),  # noqa: B008 - frozen
) -> list[Sheet]:
    """Return the answer in each language."""
    # The anchors of a guide in several languages, see operate/pages/guide.
    anchors = {each: "" if each == languages[0] else f"{each}-" for each in languages}
    return [_sheet(receipt, words(each), medium, mail, attached, anchors[each]) for each in languages]


def _sheet(receipt: Receipt, say: Words, medium: Medium, mail: MailSettings, attached: Attached, anchors: str) -> Sheet:
    claim, archive = receipt.claim, printable(receipt.claim.archive)
    failed_csv, failed_workbook = _failed_names(receipt)
    problems = _problems(receipt, say)
    most = len(problems) if medium.is_dry_run else _MOST_FINDINGS
    is_in_csv = receipt.tally.failed and not medium.is_dry_run
    return Sheet(
        language=say.language,
        subject=say.say(_title(receipt, medium, _shortened(claim.file))),
        title=say.say(_title(receipt, medium, claim.file)),
        summary=" ".join(map(say.say, (*_preface(medium), *_summary(receipt, say, medium), *_sheet_read(receipt)))),
        steps=tuple(_steps(receipt, say, medium, attached)),
        problems=tuple(problems[:most]),
        more_problems=max(0, len(problems) - most),
        see=say.say(message("more/see", name=failed_csv)) if is_in_csv else "",
        warnings=tuple(_listed_problem(each, say) for each in receipt.warnings[:_MOST_FINDINGS]),
        more_warnings=max(0, len(receipt.warnings) - _MOST_FINDINGS),
        support=tuple(_support(receipt, say, medium, mail, anchors)),
        names=(claim.file, archive, failed_csv, failed_workbook, *_approval_names(receipt)),
    )


def _key(medium: Medium, key: str) -> str:
    return f"check/{key}" if medium.is_dry_run else key


def _title(receipt: Receipt, medium: Medium, file: str) -> Message:
    tally = receipt.tally
    total = tally.applied + tally.failed
    if receipt.refusal:
        return message(_key(medium, "subject/refused"), file=file)
    if receipt.on_hold:
        return message(_key(medium, "subject/on_hold"), file=file)
    if tally.failed and tally.failed == total:
        return _of_all(_key(medium, "subject"), total, file=file)
    if tally.failed:
        return message(_key(medium, "subject/some"), file=file, count=tally.failed, total=total)
    if receipt.warnings:
        key, count = ("removals", held.users) if (held := receipt.removals) else ("warned", len(receipt.warnings))
        return message(_key(medium, f"subject/{key}"), file=file, count=count)
    return message(_key(medium, "subject/imported"), file=file)


def _of_all(key: str, count: int, **params: str) -> Message:
    """Return what is said of all rows or users; two are "both"."""
    return message(f"{key}/both", **params) if count == 2 else message(f"{key}/all", count=count, **params)  # noqa: PLR2004


def _shortened(file: str) -> str:
    """Return the name of a file, without its middle if it is long."""
    half = _SUBJECT_NAME_CHARS // 2
    return file if len(file) <= _SUBJECT_NAME_CHARS else f"{file[:half]}...{file[-half:]}"


def _preface(medium: Medium) -> Iterator[Message]:
    if medium is Medium.TRIAL:
        yield message("summary/trial")


def _summary(receipt: Receipt, say: Words, medium: Medium) -> Iterator[Message]:
    tally = receipt.tally
    total = tally.applied + tally.failed
    details = ", ".join(map(say.say, _counts(tally)))
    if receipt.approved_by:
        yield message("summary/approved")
    if receipt.refusal:
        yield message(_key(medium, "summary/refused"))
    elif receipt.on_hold:
        yield message("summary/on_hold_again" if receipt.on_hold.was_approved else _key(medium, "summary/on_hold"))
    elif not total:
        yield message(_key(medium, "summary/no_users"))
    elif not tally.applied:
        yield message(_key(medium, "summary/none"))
    elif not tally.failed:
        yield _of_all(_key(medium, "summary"), total, details=details)
    else:
        yield message(_key(medium, "summary/some"), count=tally.applied, total=total, details=details)
    if tally.failed:
        yield message("summary/failed", count=tally.failed)
    if missing := tally.deactivated - receipt.left:
        yield message(_key(medium, "summary/deactivated"), count=missing)
    if receipt.left:
        yield message(_key(medium, "summary/left"), count=receipt.left)


def _sheet_read(receipt: Receipt) -> Iterator[Message]:
    if receipt.sheet:
        yield message("summary/sheet", sheet=receipt.sheet)


def _counts(tally: Tally) -> Iterator[Message]:
    for name in ("created", "updated", "reinstated", "unchanged"):
        if count := getattr(tally, name):
            yield message(f"count/{name}", count=count)


# What to do


def _failed_names(receipt: Receipt) -> tuple[str, str]:
    archive = receipt.claim.archive
    return printable(names.failed_csv(archive)), printable(names.failed_workbook(archive))


def _steps(receipt: Receipt, say: Words, medium: Medium, attached: Attached) -> Iterator[str]:
    if receipt.refusal:
        is_workbook = receipt.claim.name.lower().endswith(_WORKBOOKS)
        yield from refusal_steps(receipt.refusal.reasons, say, is_workbook=is_workbook)
    elif receipt.on_hold:
        yield from map(say.say, _approval_steps(receipt, receipt.on_hold, medium))
    elif reason := next((each.reason for each in receipt.problems if each.reason.key.endswith(_ALL_NEW)), None):
        yield say.remedy(reason)  # to correct the rows would be a mistake
    elif receipt.tally.failed:
        yield from map(say.say, _row_steps(receipt, medium, attached))
    if receipt.removals:
        yield from map(say.say, _removal_steps(receipt.removals, medium))
    if medium is Medium.TRIAL and not receipt.refusal:  # its remedy says what to upload
        yield say.say(message("step/trial/again" if receipt.tally.failed else "step/trial/import"))


def _approval_steps(receipt: Receipt, held: OnHold, medium: Medium) -> Iterator[Message]:
    """Yield what to do about a file that waits for an approval."""
    if medium.is_dry_run:
        yield message("step/check/on_hold")
        return
    yield message("step/on_hold/look", file=held.file)
    if held.is_for_client:
        yield message("step/on_hold/approve", name=approval_name(held), count=held.approval_days)
    else:
        yield message("step/on_hold/wait", count=held.approval_days)
    if receipt.tally.failed:
        yield message("step/on_hold/failed", name=_failed_names(receipt)[0])


def _removal_steps(held: OnHold, medium: Medium) -> Iterator[Message]:
    """Yield what to do about users whom the file lacks, and who stay active until somebody approves."""
    yield message("step/removals/look")
    if medium.is_dry_run:
        yield message("step/check/removals")
    elif held.is_for_client:
        yield message("step/removals/approve", name=approval_name(held))
    else:
        yield message("step/removals/wait", count=held.approval_days)


def refusal_steps(reasons: Sequence[Message], say: Words, *, is_workbook: bool = False) -> Iterator[str]:
    """Yield the remedy, or where the remedies are, and the upload, unless the remedy is to upload something."""
    upload = "step/refused/saved" if is_workbook else "step/refused/upload"
    if len(reasons) > 1:
        yield say.say(message("step/refused/correct"))
        yield say.say(message(upload))
        return
    (reason,) = reasons
    yield say.remedy(reason)
    last = _LAST_STEPS.get(reason.key, _LAST_STEPS.get(reason.code, upload))
    if last:
        yield say.say(message(last))


def _row_steps(receipt: Receipt, medium: Medium, attached: Attached) -> Iterator[Message]:
    failed, listed = receipt.tally.failed, receipt.listed
    failed_csv, failed_workbook = _failed_names(receipt)
    if medium.is_dry_run:
        if medium is Medium.TRIAL:
            yield message("step/trial/look", name=failed_workbook if attached.workbook else failed_csv)
        yield message("step/check/correct")
        yield message("step/check/book" if receipt.sheet else "step/check/save")
    elif listed < failed:
        yield message("step/whole/look", name=failed_csv, listed=listed, failed=failed)
        yield message("step/whole/correct", failed=failed)
        yield message("step/whole/upload")
    else:
        if attached.workbook:
            yield message(f"step/book/{attached.workbook}", name=failed_workbook)
        elif medium is Medium.FILE:
            yield message("step/open/file", name=failed_csv)
        elif receipt.was_encrypted:
            yield message("step/open/bak", name=failed_csv)
        elif attached.rows < listed:
            yield message("step/open/part", name=failed_csv, count=attached.rows)
        else:
            yield message("step/open/mail", name=failed_csv)
        yield message("step/book/correct" if attached.workbook else "step/correct")
        yield message("step/book/save" if attached.workbook else "step/save")
        yield message("step/upload")


def _approval_names(receipt: Receipt) -> Iterator[str]:
    if (held := receipt.on_hold or receipt.removals) and held.is_for_client:
        yield approval_name(held)


# What needs correcting


def _problems(receipt: Receipt, say: Words) -> list[ListedProblem]:
    if receipt.refusal:
        reasons = receipt.refusal.reasons
        is_step = len(reasons) == 1  # the remedy; see refusal_steps
        return [ListedProblem(problem=say.say(each), remedy="" if is_step else say.remedy(each)) for each in reasons]
    return [_listed_problem(group, say) for group in receipt.problems]


def _listed_problem(each: ProblemGroup | FileWarning, say: Words) -> ListedProblem:
    return ListedProblem(
        where=_where(each, say),
        column=each.field,
        problem=say.say(each.reason),
        remedy="" if each.reason.key.endswith(_ALL_NEW) else say.remedy(each.reason),
    )


def _where(each: ProblemGroup | FileWarning, say: Words) -> str:
    lines = () if each.reason.key in _SAY_WHERE else each.lines
    if each.rows > len(each.lines):
        return say.say(message("lines_from", count=each.rows, line=str(each.lines[0])))
    return say.say(message("lines", count=len(lines), lines=ranges(lines))) if lines else ""


def ranges(lines: Iterable[int]) -> str:
    """Return the numbers of lines, those that follow on each other as "2-5"."""
    runs: list[list[int]] = []
    for line in sorted(lines):
        if runs and line == runs[-1][-1] + 1:
            runs[-1].append(line)
        else:
            runs.append([line])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


# For support


def _support(receipt: Receipt, say: Words, medium: Medium, mail: MailSettings, anchors: str) -> Iterator[SupportLine]:
    if mail.contact and medium is not Medium.CHECK:
        yield SupportLine(say.say(message("support/contact", contact=mail.contact)))
    if not medium.is_dry_run:
        archive, time = printable(receipt.claim.archive), local_time(receipt.finished_at, mail.timezone)
        if not receipt.on_hold:
            yield SupportLine(say.say(message("support/archive", archive=archive)))
        yield SupportLine(say.say(message("support/import", id=receipt.claim.claim_id, time=time)))
    if mail.guide_url:
        yield SupportLine(say.say(message("support/guide")), mail.guide_url)
    codes = _codes(receipt)
    if mail.guide_url:
        for code in codes:
            yield SupportLine(say.say(message("support/code", code=code)), f"{mail.guide_url}#{anchors}{code}")
    elif codes:
        yield SupportLine(say.say(message("support/codes", codes=", ".join(codes))))


def _codes(receipt: Receipt) -> list[str]:
    refusal = [each.code for each in receipt.refusal.reasons] if receipt.refusal else []
    problems = [each.code for each in receipt.problems]
    return [*dict.fromkeys((*refusal, *problems, *(each.code for each in receipt.warnings)))]
