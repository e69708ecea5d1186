"""What passes between the parts of the service: frozen values, and the errors of an inbox."""

from __future__ import annotations

import enum
import math
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
    """What stays the same exactly as long as nobody touches a file."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    sidecar: tuple[int, int, int] | None = None  # inode, size and mtime_ns of the file that vouches for it, if any


def _resume_grace_s(settings: IntakeSettings) -> float:
    return settings.resume_grace_s


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a reason to hold a file."""

    grace_s: Callable[[IntakeSettings], float] = _resume_grace_s  # after it the file is claimed
    is_reported: bool = True  # else the file waits without a word
    is_in_file: bool = False  # the importer sees it for itself; else the file is claimed to be refused
    alert: str = ""  # to the operator
    code: str = ""  # of the refusal; "": upload.incomplete
    text: str = "it looks cut off, and the operator has refused it. Upload the whole file again."


HOLDS: Final = {
    HoldReason.NONE: Hold(grace_s=lambda _: 0.0, is_reported=False, is_in_file=True),
    HoldReason.UNTERMINATED: Hold(
        grace_s=lambda settings: settings.unterminated_grace_s, is_reported=False, is_in_file=True
    ),
    HoldReason.CUT_OFF: Hold(is_in_file=True),
    HoldReason.OPEN_QUOTE: Hold(is_in_file=True),
    HoldReason.EMPTY: Hold(is_in_file=True),
    HoldReason.BROKEN_OFF: Hold(
        text="the connection ended before the upload was finished, and it was not resumed. Upload the whole file again."
    ),
    HoldReason.UNACCOMPANIED: Hold(
        text='no "{sidecar}" came, which has to say that the upload is complete. Upload the whole file again, and '
        "then that one."
    ),
    HoldReason.MISMATCHED: Hold(
        text='"{sidecar}" does not hold the digest of this file: one of the two was cut off, or belongs to another '
        "file. Upload both again."
    ),
    # It may well be meant so: only the operator can tell, or another upload.
    HoldReason.SHRUNK: Hold(
        grace_s=lambda _: math.inf,
        alert="file.shrunk",
        code="file.shrunk",
        text="it has far fewer rows than the file before it, and the operator has refused it. Upload a file of all "
        "users, or ask the operator to let this one through.",
    ),
    HoldReason.UNREAD: Hold(
        alert="file.unread",
        text="it may be whole, but to check that took longer than is allowed: it holds very many quotation marks, or "
        "line breaks inside cells. Remove them, or split the file, and upload it again.",
    ),
}


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """A name that an event or a sweep reported, and the file that had it a moment later."""

    client: str
    name: bytes
    identity: Identity
    closed: bool = False  # a writer has just closed it
    broken_off: bool | None = None  # its connection ended before it was closed; None: no news of that
    swept: bool = False  # seen in a listing: by itself no sign of life
    age_s: float = 0.0  # how long it was as it is before we saw it, where that is believed


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """A close examination of one name. `writer` is NONE for whatever is not a file."""

    identity: Identity
    kind: Kind
    links: int = 1
    foreign: bool = False  # belongs neither to the client nor to the service
    writer: Writer = Writer.NONE


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A name that is not claimed yet, for people who ask why."""

    name: bytes
    size_bytes: int
    quiet_since: float  # by the monotonic clock
    due_at: float  # infinity: not before something happens to it
    in_writing: bool
    held: bool
    ignored: bool
    hold_reason: HoldReason  # why it is held


class Verdict(enum.StrEnum):
    """What to do with a name that was looked at."""

    WAIT = "wait"
    TAKE = "take"
    RELEASE = "release"  # take, the operator says that it is whole
    REFUSE = "refuse"  # take it and answer that it is incomplete
    HOLD = "hold"  # looks cut off: wait, and say so once
    IGNORE = "ignore"  # never imported: say so once


class Capture(msgspec.Struct, frozen=True):
    """A claim just made. Not `settled`: it was touched in the last moment, and its name in the inbox is taken again."""

    claim_id: str
    settled: bool


class ClaimGone(Exception):
    """There is no such claim in `.work` any more, or it holds no upload."""


class InboxUnusable(Exception):
    """The folders of a client are not as they must be. The message says where, what was found and what to do."""
