"""What passes between the stages: frozen values, and the one exception that refuses a whole file."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

_MOST_GROUPS: Final = 100


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """
    One uploaded file that is ours alone: it lies in `.work/<claim_id>/<name>`.

    `folder_fd` is an open handle on that claim folder; the pipeline reads the upload and writes its drafts
    (see importer/names.py) relative to it, never through a path. `bak_fd` is one on `.bak`, where
    earlier files lie.
    """

    claim_id: str  # "<UTC stamp>-<8 hex>", sorts by time of claim
    client: str
    name: bytes  # as uploaded: bytes, trusted for nothing
    folder_fd: int
    archive: bytes  # the name the upload will have in `.bak`, "<stem>.<UTC stamp>.csv"
    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    claimed_at: datetime
    refusal: str = ""  # why it is given up, for a reason that is not in it; below a code if it has one of its own
    bak_fd: int | None = None  # None: it is not compared with earlier files
    is_released: bool = False  # the operator says that it is whole, whatever its end looks like

    @property
    def file(self) -> str:
        """Return the name as text that any log, database or terminal can hold."""
        return printable(self.name)


class HoldReason(enum.StrEnum):
    """What speaks against a file that nobody writes any more."""

    NONE = "none"
    UNTERMINATED = "unterminated"  # the last line does not end, but has all its fields
    CUT_OFF = "cut_off"  # the last line does not end and is short
    OPEN_QUOTE = "open_quote"
    EMPTY = "empty"
    # What the importer cannot see in the file itself.
    BROKEN_OFF = "broken_off"  # its connection ended before it was closed
    UNACCOMPANIED = "unaccompanied"  # its companion has not come
    MISMATCHED = "mismatched"  # its companion has the digest of other content
    SHRUNK = "shrunk"  # it has far fewer rows than the file before it
    UNREAD = "unread"  # to look whether it is whole took too long


class Outcome(enum.StrEnum):
    """How a file ended."""

    IMPORTED = "imported"  # every row applied, or found unchanged
    PARTLY = "partly"  # something applied, something failed
    REFUSED = "refused"  # nothing applied


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with one row."""

    code: str  # "9033"; see importer/codes.py
    field: str  # the attribute, "" when it is the whole row
    detail: str  # what is wrong and what to do; never holds a cell value, so that equal problems group
    precise: str = ""  # the same with the value at hand, for the failed CSV alone


class ProblemGroup(msgspec.Struct, frozen=True, kw_only=True):
    """All rows of a file that have the same problem."""

    code: str
    field: str
    detail: str
    rows: int
    first_line: int


def most_rows_first(groups: Iterable[ProblemGroup]) -> list[ProblemGroup]:
    """Return the groups as they are told, those with most rows first; of very many not all."""
    return sorted(groups, key=lambda group: (-group.rows, group.first_line))[:_MOST_GROUPS]


class FileWarning(msgspec.Struct, frozen=True, kw_only=True):
    """A warning: something the client should know although the row, or the file, was applied."""

    code: str  # "file.no_users"; see importer/codes.py
    detail: str  # never holds the value of a personal attribute
    field: str = ""
    rows: int = 0  # 0: it is about the file as a whole
    first_line: int = 0


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows ended how. `repeated` rows equal an earlier row of the same file and count for nothing else."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    repeated: int = 0

    @property
    def rows(self) -> int:
        """Return the number of rows with content below the header."""
        return self.applied + self.failed + self.repeated

    @property
    def applied(self) -> int:
        """Return the number of rows that now stand in the database as the file has them."""
        return self.created + self.updated + self.unchanged


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """All there is to say about one file once it is dealt with."""

    claim: Claim
    sha256: str
    outcome: Outcome
    tally: Tally
    finished_at: datetime
    listed: int = 0  # how many of the rows that failed are in the failed CSV
    problems: tuple[ProblemGroup, ...] = ()  # most rows first; the failed CSV has them row by row
    warnings: tuple[FileWarning, ...] = ()
    refusal: FileRejected | None = None


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told to whom; `compose` makes it the bytes that are sent."""

    message_id: str  # with its angle brackets, "<claim id@domain>"; unique for ever
    client: str  # "" for a letter to the operator
    claim_id: str  # "" when the letter is not about one file
    sender: str
    recipients: tuple[str, ...]  # from the configuration, never from a file; at least one
    subject: str
    text: str
    attachments: tuple[tuple[str, bytes], ...] = ()  # file name, content in UTF-8 CSV
    written_at: datetime


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """One mail that waits in the outbox."""

    id: int
    message_id: str
    client: str
    claim_id: str
    sender: str
    recipients: tuple[str, ...]  # those who still lack it
    subject: str
    attempts: int
    created_at: datetime
    body: bytes  # finished RFC 5322 bytes


class FileRejected(Exception):
    """
    The file as a whole cannot be imported; nothing of it is applied.

    `code` is one of importer/codes.py, `detail` says where, what is wrong, what was expected and what to do.
    """

    def __init__(self, code: str, detail: str, *, line: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail
        self.line = line


class Interrupted(Exception):
    """A file was left while it was being imported, to stop or to let others go first; nothing of it was applied."""


def printable(name: bytes) -> str:
    """Return a file name as ASCII-safe-enough text: valid UTF-8 as it is, other bytes and controls escaped."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def message_id_of(name: str, sender: str) -> str:
    """Return a Message-ID: a name that is unique for ever, at the domain of the sender."""
    return f"<{name}@{sender.rpartition('@')[2]}>"


def host_name() -> str:
    """Return the name of this host."""
    return os.uname().nodename


def for_operator(subject: str) -> str:
    """Return the subject of a mail to the operator, who may look after several hosts."""
    return f"rosterd on {host_name()}: {subject}"
