"""Names that the service gives to folders and files of an inbox: the uploads, their answers, their drafts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Final

WORK: Final = b".work"  # one folder for each claim
BAK: Final = b".bak"  # uploads that were dealt with, and their answers
CHECK: Final = b"check"  # in which clients try files out

# In a claim folder the whole name of a draft, in `.bak` the end of a name. No upload can have these names: those that
# begin with a dot are never claimed.
FAILED_CSV: Final = b".failed.csv"
RESULT_TXT: Final = b".result.txt"
FAILED_XLSX: Final = b".failed.xlsx"  # to whoever uploaded a workbook
# Every answer to an upload, and whether an import of which so many rows failed must have it. The first one reaches
# `.bak` last: a client that sees the result text has all others.
ANSWERS: Final[dict[bytes, Callable[[int], bool]]] = {
    RESULT_TXT: lambda _: True,
    FAILED_CSV: bool,
    FAILED_XLSX: lambda _: False,
}
CHECK_TXT: Final = b".check.txt"  # the end of the name of an answer in `check`, next to failed CSV and workbook
REWRITTEN_DRAFTS: Final = (b".rewritten.csv", b".rewritten.failed.csv")
SIDECARS: Final = (b"done", b"sha256", b"md5")  # endings of files that confirm that another is complete

# What a name ends with says how its content is stored, packed and encrypted: `file/unwrap/kinds` has the kinds.
_STORED: Final = re.compile(
    r"(?P<stem>.+?)(\.csv|\.xls[xmb]?|\.ods|\.zip)?(\.gz)?(\.pgp|\.gpg|\.asc)?", re.DOTALL | re.IGNORECASE
)
_ARCHIVE: Final = re.compile(rb"(?P<stem>.*)(?P<stamp>\.\d{8}T\d{6}Z(?:-\d+)?)(?P<ending>.*)", re.DOTALL)
# Windows hides endings: a new text file, or a copy of users.csv, has its own behind the name that it is given.
_APPROVAL: Final = re.compile(
    rb"(?P<file>.+)\.approve-(?P<code>[0-9A-Z]{1,32})(?P<ending>\.txt|\.csv)?", re.DOTALL | re.IGNORECASE
)


def as_csv(file: str) -> str:
    """Return the name of an upload as CSV, by which it belongs to a feed: "users.csv" for users.xlsx.gpg."""
    parts = _STORED.fullmatch(file)
    return f"{parts['stem']}.csv" if parts and parts["stem"] != file else file


def answer(archive: bytes, ending: bytes) -> bytes:
    """Return the name in `.bak` of an answer to an upload."""
    return _named_alike(archive) + ending


def _named_alike(archive: bytes) -> bytes:
    """Return what the names of an upload and of its answers begin with."""
    parts = _ARCHIVE.fullmatch(archive)
    return parts["stem"] + parts["stamp"] if parts else os.path.splitext(archive)[0]


def failed_csv(archive: bytes) -> bytes:
    """Return the name in `.bak` of the failed CSV of an upload."""
    return answer(archive, FAILED_CSV)


def failed_workbook(archive: bytes) -> bytes:
    """Return the name in `.bak` of the failed rows as a workbook."""
    return answer(archive, FAILED_XLSX)


def answers(archive: bytes) -> list[bytes]:
    """Return the names in `.bak` of all answers that an upload may have."""
    start = _named_alike(archive)
    return [start + ending for ending in ANSWERS]


def due_answers(archive: bytes, failed: int) -> list[bytes]:
    """Return the names in `.bak` of the answers that an upload must have, of which so many rows failed."""
    start = _named_alike(archive)
    return [start + ending for ending, is_due in ANSWERS.items() if is_due(failed)]


def all_of(archive: bytes) -> list[bytes]:
    """Return all names that `.bak` may have for one upload, itself first: while it is there its answers are due."""
    return [archive, *(archive + b"." + each for each in SIDECARS), *answers(archive)]


def as_uploaded(archive: bytes) -> bytes:
    """Return the name of an upload by that of its archive."""
    parts = _ARCHIVE.fullmatch(archive)
    return parts["stem"] + parts["ending"] if parts else archive


def approval_in(name: bytes) -> tuple[bytes, str] | None:
    """Return the file that a name of an upload approves, and with which code; None: it approves nothing."""
    match = _APPROVAL.fullmatch(name)
    if match is None:
        return None
    file, ending = match["file"], (match["ending"] or b"").lower()
    is_upload = ending == b".csv" and not file.lower().endswith(ending)  # users.approve-2026.csv is a file of users
    return None if is_upload else (file, match["code"].decode())
