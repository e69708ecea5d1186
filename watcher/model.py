"""What passes between the parts of the service: frozen values, and the errors of an inbox."""

from __future__ import annotations

import enum

import msgspec


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
    companion: tuple[int, int, int] | None = None  # inode, size and mtime_ns of the file that vouches for it, if any


class Doubt(enum.StrEnum):
    """What speaks against a file that is quiet and closed."""

    NONE = "none"
    UNTERMINATED = "unterminated"  # the last line does not end, but has all its fields
    CUT_OFF = "cut_off"  # the last line does not end and is short
    OPEN_QUOTE = "open_quote"
    EMPTY = "empty"
    BROKEN_OFF = "broken_off"  # its connection ended before it was closed
    UNACCOMPANIED = "unaccompanied"  # its companion has not come
    MISMATCHED = "mismatched"  # its companion speaks of other content
    SHRUNK = "shrunk"  # it has far fewer rows than the file before it
    UNREAD = "unread"  # to look whether it is whole took too long


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
    doubt: Doubt  # why it is held


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
