"""What passes between the parts of the service: frozen values, and the errors of an inbox."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

import msgspec

from importer.model import HoldReason
from watcher.settings import IntakeSettings


class Kind(enum.StrEnum):
    """What a directory entry is."""

    FILE = "file"
    LINK = "link"
    FOLDER = "folder"
    FIFO = "fifo"
    OTHER = "other"  # device, socket


class Writer(enum.StrEnum):
    """Whether a process has the file open for writing."""

    NONE = "none"
    OPEN = "open"
    UNKNOWN = "unknown"  # the system does not tell


class Identity(msgspec.Struct, frozen=True):
    """What changes whenever a file is touched."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    sidecar: tuple[int, int, int] | None = None  # inode, size and mtime_ns, if there is one


def _resume_grace_s(settings: IntakeSettings) -> float:
    return settings.resume_grace_s


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a reason to hold a file."""

    grace_s: Callable[[IntakeSettings], float] = _resume_grace_s  # after it the file is claimed
    is_reported: bool = True  # else the file waits without a report
    is_in_file: bool = False  # the importer detects it as well; else the file is claimed to be refused
    alert: str = ""  # to the operator
    reason: str = "upload.incomplete"  # of the refusal, a key of the catalogue with the parameter `name`


HOLDS: Final = {
    HoldReason.NONE: Hold(grace_s=lambda _: 0.0, is_reported=False, is_in_file=True),
    HoldReason.UNTERMINATED: Hold(
        grace_s=lambda settings: settings.unterminated_grace_s, is_reported=False, is_in_file=True
    ),
    HoldReason.CUT_OFF: Hold(is_in_file=True),
    HoldReason.OPEN_QUOTE: Hold(is_in_file=True),
    HoldReason.EMPTY: Hold(is_in_file=True),
    HoldReason.BROKEN_OFF: Hold(reason="upload.incomplete/connection"),
    HoldReason.UNACCOMPANIED: Hold(reason="upload.incomplete/no_companion"),
    HoldReason.MISMATCHED: Hold(reason="upload.incomplete/other_companion"),
    HoldReason.UNREAD: Hold(
        alert="file.unread",
        reason="upload.incomplete/unread",
    ),
}


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A name that an event or a sweep reported, and the file that had it a moment later."""

    client: str
    name: bytes
    identity: Identity
    closed: bool = False  # a writer has just closed it
    broken_off: bool | None = None  # its connection ended before it was closed; None: unknown
    swept: bool = False  # seen in a listing: that alone is not activity
    age_s: float = 0.0  # for how long it had not changed before we saw it, where that is reliable


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A close examination of one name. `writer` is NONE unless it is a file."""

    identity: Identity
    kind: Kind
    links: int = 1
    foreign: bool = False  # belongs neither to the client nor to the service
    writer: Writer = Writer.NONE


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A name that is not claimed yet, as `rosterd status` shows it."""

    name: bytes
    size_bytes: int
    quiet_since: float  # by the monotonic clock
    due_at: float  # infinity: only after another event
    in_writing: bool
    held: bool
    ignored: bool
    hold_reason: HoldReason  # why it is held
    behind: str = ""  # the file on hold for which it waits


class Verdict(enum.StrEnum):
    """What to do with a name that was looked at."""

    WAIT = "wait"
    TAKE = "take"
    RELEASE = "release"  # take: the operator says that it is complete
    REFUSE = "refuse"  # take it and answer that it is incomplete
    APPROVE = "approve"  # its name approves a file on hold
    HOLD = "hold"  # looks cut off: wait, and report it once
    IGNORE = "ignore"  # never imported: report it once


class Capture(msgspec.Struct, frozen=True):
    """A claim just made. Not `settled`: the file was changed at the last moment, and its name is in use again."""

    claim_id: str
    settled: bool


class ClaimGone(Exception):
    """The claim is no longer in `.work`, or contains no upload."""


class InboxUnusable(Exception):
    """The folders of a client cannot be used. The message says where, what was found and what to do."""
