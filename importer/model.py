"""What passes between the stages: frozen values, and the one exception that refuses a whole file."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import ClassVar, Final, Union

import msgspec

from importer.durable import Unsynced

MOST_GROUPS: Final = 100
NAMED_LINES: Final = 10  # of those that have the same problem


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """
    One uploaded file that only the service can change: `.work/<claim_id>/<name>`.

    `folder_fd` is an open handle on that claim folder; the pipeline reads the upload and writes its drafts
    (see importer/names.py) relative to it, never through a path. `bak_fd` is one on `.bak`, with the
    earlier files. What is `unsynced` is made durable before the ledger row is.
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
    refusal: Message | None = None  # why it is refused, for a reason outside of the file
    bak_fd: int | None = None  # None: it is not compared with earlier files
    is_released: bool = False  # the operator says that it is complete
    unsynced: Unsynced = msgspec.field(default_factory=Unsynced)

    @property
    def file(self) -> str:
        """Return the name as text that any log, database or terminal can hold."""
        return printable(self.name)


class HoldReason(enum.StrEnum):
    """Why a file is held although no process is writing it any more."""

    NONE = "none"
    UNTERMINATED = "unterminated"  # the last line does not end, but has all its fields
    CUT_OFF = "cut_off"  # the last line does not end and is short
    OPEN_QUOTE = "open_quote"
    EMPTY = "empty"
    # What the importer cannot see in the file itself.
    BROKEN_OFF = "broken_off"  # its connection ended before it was closed
    UNACCOMPANIED = "unaccompanied"  # its sidecar has not come
    MISMATCHED = "mismatched"  # its sidecar has the digest of other content
    UNREAD = "unread"  # checking whether it is complete took too long


class Outcome(enum.StrEnum):
    """How a file ended."""

    IMPORTED = "imported"  # every row applied, or found unchanged
    PARTLY = "partly"  # something applied, something failed
    REFUSED = "refused"  # nothing applied
    ON_HOLD = "on_hold"  # nothing applied until somebody approves it


Param = Union[str, int, "Message", tuple[str, ...]]


class Message(msgspec.Struct, frozen=True):
    """
    What is to be said, in no language yet: a key of the catalogue, and the parameters of its template.

    The key begins with the code, if it has one: "9033/date". See importer/wording/catalogue.py, and `message`.
    """

    key: str
    params: tuple[tuple[str, Param], ...] = ()

    @property
    def code(self) -> str:
        """Return the code that the message belongs to."""
        return self.key.partition("/")[0]


def message(key: str, **params: Param) -> Message:
    """Return the message of this key with these parameters."""
    return Message(key, tuple(params.items()))


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with one row."""

    field: str  # the attribute, "" when it is the whole row
    reason: Message  # never holds a cell value, so that equal problems group
    precise: Message | None = None  # the same with the value at hand, for the failed CSV alone

    @property
    def code(self) -> str:
        """Return the code, such as "9033"; see importer/wording/codes.py."""
        return self.reason.code


class ProblemGroup(msgspec.Struct, frozen=True, kw_only=True):
    """All rows of a file that have the same problem."""

    field: str
    reason: Message
    rows: int
    lines: tuple[int, ...]  # the first few

    @property
    def code(self) -> str:
        """Return the code of the reason."""
        return self.reason.code

    @property
    def first_line(self) -> int:
        """Return the first line that has the problem, 0 when it is about the file as a whole."""
        return self.lines[0] if self.lines else 0


def most_rows_first(groups: Iterable[ProblemGroup]) -> list[ProblemGroup]:
    """Return the groups, those with most rows first; of very many not all."""
    return sorted(groups, key=lambda group: (-group.rows, group.first_line))[:MOST_GROUPS]


class FileWarning(msgspec.Struct, frozen=True, kw_only=True):
    """A warning: something the client should know although the row, or the file, was applied."""

    reason: Message  # never holds the value of a personal attribute
    field: str = ""
    rows: int = 0  # 0: it is about the file as a whole
    lines: tuple[int, ...] = ()  # the first few

    @property
    def code(self) -> str:
        """Return the code, such as "file.no_users"; see importer/wording/codes.py."""
        return self.reason.code

    @property
    def first_line(self) -> int:
        """Return the first line that it is about, 0 when it is about the file as a whole."""
        return self.lines[0] if self.lines else 0


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """
    How many rows ended how. `repeated` rows equal an earlier row of the same file and count for nothing else.

    The names are those of columns of the ledger, of fields in the log and of labels of the metric, which all go by
    them.
    """

    created: int = 0
    updated: int = 0
    reinstated: int = 0  # active again, whatever else was changed of them
    unchanged: int = 0
    failed: int = 0
    repeated: int = 0
    deactivated: int = 0  # users who are not in the file, and so no rows; and those updated whose status says so

    OF_ROWS: ClassVar = ("created", "updated", "reinstated", "unchanged", "failed", "repeated")

    @property
    def rows(self) -> int:
        """Return the number of rows with content below the header."""
        return self.applied + self.failed + self.repeated

    @property
    def applied(self) -> int:
        """Return the number of rows that the database now has as in the file."""
        return self.created + self.updated + self.reinstated + self.unchanged


class Leaving(msgspec.Struct, frozen=True):
    """Users who become inactive by their status, and those whom a snapshot lacks and a guard keeps."""

    by_status: int = 0
    pending: int = 0


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of change that a file makes to the roster, such as would be counted by a guard: so many of so many."""

    guard: str  # "identity", "attribute", "created", ...; see importer/roster/guards.py
    field: str = ""  # the attribute, if it is about one
    count: int
    of: int
    lines: tuple[int, ...] = ()  # the first few


class OnHold(msgspec.Struct, frozen=True, kw_only=True):
    """
    A file that is over a limit: claimed, previewed, and nothing of it applied. See importer/roster/on_hold.py.

    Or only the removals of a snapshot that is applied, `kind` "removals": users whom it lacks, and who stay active.
    """

    kind: str = "file"
    claim_id: str
    import_id: int  # in the ledger, of a file while it is on hold
    users: int = 0  # who are missing, of removals
    client: str
    feed: str  # "": all files of the client
    file: str
    is_correction: bool
    code: str  # approves this preview; random
    tripped: tuple[Change, ...]  # what is above its limit
    changes: tuple[Change, ...]  # all that guards count
    held_at: datetime
    approval_days: int  # after which it is given up
    is_for_client: bool  # the client may approve it
    was_approved: bool = False  # before it came to do more
    decision: str = ""  # "approved", "rejected", "superseded" or "expired"; "": none yet
    decided_by: str = ""  # "operator", "client", a user of the console; of a superseded one the newer file
    decided_at: datetime | None = None
    reason: str = ""  # why it was rejected, in the words of who did it; the client is told

    @property
    def is_of_removals(self) -> bool:
        """Tell whether the file is applied, but for those whom it lacks."""
        return self.kind == "removals"


SHOWN_COUNTS: Final = ("created", "updated", "unchanged", "failed")  # where there is one line for an import
_SHOWN_IF_ANY: Final = ("reinstated", "deactivated")


def shown_counts(imports: Sequence[object]) -> tuple[str, ...]:
    """Return the names of the counts that are shown of these imports: most clients have no snapshots."""
    return (*SHOWN_COUNTS, *(name for name in _SHOWN_IF_ANY if any(getattr(each, name) for each in imports)))


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """All there is to say about one file once it is dealt with."""

    claim: Claim
    sha256: str
    outcome: Outcome
    tally: Tally
    finished_at: datetime
    feed: str = ""  # to which the file belongs, "" for that of all others
    left: int = 0  # how many of those deactivated are in the file: their status says so
    listed: int = 0  # how many of the rows that failed are in the failed CSV
    problems: tuple[ProblemGroup, ...] = ()  # most rows first; the failed CSV has them row by row
    warnings: tuple[FileWarning, ...] = ()
    changes: tuple[Change, ...] = ()  # of users who were recorded, as far as a guard may want to know
    refusal: FileRejected | None = None
    on_hold: OnHold | None = None
    removals: OnHold | None = None  # on hold, while the file is not
    asks_anew: bool = False  # about the removals: no earlier file has asked that lacks about the same
    is_correction: bool = False  # it is a failed CSV that came back
    sheet: str = ""  # of the workbook, whose rows are the lines; "" if the file was none
    was_encrypted: bool = False  # by PGP: no row of it is mailed
    approved_by: str = ""  # who let it through after it was on hold
    is_by_pause: bool = False  # it is above a limit that is paused
    superseded: tuple[str, ...] = ()  # claims on hold that it replaces

    @property
    def code(self) -> str:
        """Return why nothing of the file was applied, if that is not for its rows."""
        if self.on_hold:
            return f"guard.{self.on_hold.tripped[0].guard}"
        return self.refusal.code if self.refusal else ""


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """A mail before it is composed; `compose` returns the bytes that are sent."""

    message_id: str  # with its angle brackets, "<claim id@domain>"; unique for ever
    client: str  # "" for a letter to the operator
    claim_id: str  # "" when the letter is not about one file
    sender: str
    recipients: tuple[str, ...]  # from the configuration, never from a file; at least one
    sender_name: str = ""  # as mail programs show it, "" for none
    subject: str
    text: str
    html: str = ""  # the same for mail programs that show HTML, "" for none
    languages: tuple[str, ...] = ("en",)  # of the text, in this order
    attachments: tuple[tuple[str, bytes], ...] = ()  # file name, content: CSV in UTF-8, or a workbook
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

    Each of `reasons` is one thing that is wrong with it; the code is that of the first. The words are made at the edge,
    see `Words.refusal`.
    """

    def __init__(self, *reasons: Message, line: int = 0) -> None:
        super().__init__(*reasons)
        self.reasons = reasons
        self.line = line

    @property
    def code(self) -> str:
        """Return one of importer/wording/codes.py."""
        return self.reasons[0].code


class AlreadyRecorded(Exception):
    """The end of the claim was committed before; nothing was done now, and its drafts are those of that commit."""


class Interrupted(Exception):
    """An import was aborted, to stop or because it was preempted; nothing of the file was applied."""


def printable(name: bytes) -> str:
    """Return a file name as ASCII-safe-enough text: valid UTF-8 as it is, other bytes and controls escaped."""
    text = name.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
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
