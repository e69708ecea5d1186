"""
Watching the inboxes: events become hints, and whatever makes hearing doubtful becomes a hint to sweep.

The only user of watchdog, and of its reader alone: one thread and one inotify instance whatever the number of inboxes,
each with a watch and a callback. The library's Observer has a thread for each folder instead (1,003 for 1,000 inboxes),
and holds back what follows a move by 0.5 s, that is, what follows each claim.

A reader says nothing when it dies, and a watch stays with a folder that was renamed, replaced or unmounted (7.1.0). So
nothing here is trusted: a canary file proves every CANARY_INTERVAL_S that events still arrive, and each inbox is
compared with the folder that is watched for it.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

import msgspec
import structlog
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

log = structlog.get_logger()

CANARY_INTERVAL_S: Final = 30.0
CANARY_PATIENCE_S: Final = 10.0
MAX_HINTS: Final = 50_000  # names; beyond them a sweep is cheaper

# Created, because a rename by SFTP is link and unlink on the server and shows as nothing else. With modified and the
# rest, a burst of 10,000 files overflows the kernel's queue; with these it does not (measured on tmpfs).
_HEARD: Final = Mask(
    InotifyConstants.IN_CREATE
    | InotifyConstants.IN_MOVED_TO
    | InotifyConstants.IN_CLOSE_WRITE
    | InotifyConstants.IN_DELETE
    | InotifyConstants.IN_MOVED_FROM
    | InotifyConstants.IN_DELETE_SELF
    | InotifyConstants.IN_MOVE_SELF
    | InotifyConstants.IN_DONT_FOLLOW
    | InotifyConstants.IN_ONLYDIR
)

About = Callable[[bytes], bytes | None]  # the upload that a name is or speaks of; None: of no upload
FolderIdentity = tuple[int, int]  # device, inode


@dataclass(frozen=True, slots=True)
class InboxEvent:
    """Something happened to a name; `closed`: a writer has closed it; `broken_off`: its connection ended before."""

    client: str
    name: bytes
    closed: bool
    broken_off: bool | None = None  # None: no news of that
    at: float = field(default_factory=time.monotonic, compare=False)  # of the last event


class EventQueue:
    """
    What was heard since it was last asked for. Bounded: a name counts once, and too many become one sweep.

    Any thread may add; `wake` may be called from a signal handler.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[tuple[str, bytes], InboxEvent] = {}
        self._doubtful: set[str] = set()
        self._all_doubtful = False
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def add(self, client: str, name: bytes, *, closed: bool, broken_off: bool | None = None) -> None:
        """Note an event."""
        with self._lock:
            key = (client, name)
            if len(self._names) >= MAX_HINTS and key not in self._names:
                self._doubtful.add(client)
            else:
                known = self._names.get(key)
                if known is not None:
                    closed = closed or known.closed
                    broken_off = known.broken_off if broken_off is None else broken_off
                self._names[key] = InboxEvent(client, name, closed, broken_off)
        self.wake()

    def forget(self, client: str, name: bytes) -> None:
        """Forget the event of a name that is gone: no import has to make way for it."""
        with self._lock:
            self._names.pop((client, name), None)

    def doubt(self, client: str | None = None) -> None:
        """Ask for a sweep of one inbox, or of all: events may be missing."""
        with self._lock:
            if client is None:
                self._all_doubtful = True
            else:
                self._doubtful.add(client)
        self.wake()

    def wake(self) -> None:
        """Let `wait` return. The queue of the standard library is safe to use while a signal is handled."""
        self._wake.put(None)

    def wait(self, timeout_s: float) -> None:
        """Return after `timeout_s`, or as soon as there is something to take."""
        with contextlib.suppress(queue.Empty):
            self._wake.get(timeout=min(max(timeout_s, 0.0), threading.TIMEOUT_MAX))
            while True:
                self._wake.get_nowait()

    def take(self) -> list[InboxEvent]:
        """Return and forget the names, in the order of their first events."""
        with self._lock:
            names, self._names = self._names, {}
        return list(names.values())

    def quiet_since(self, without: Collection[str]) -> float:
        """Return when the last event came for the name that is quiet longest, of all clients but these; or infinity."""
        with self._lock:
            return min((event.at for event in self._names.values() if event.client not in without), default=math.inf)

    def take_doubts(self) -> tuple[bool, set[str]]:
        """Return and forget whether to sweep all, and which inboxes to sweep."""
        with self._lock:
            doubts = (self._all_doubtful, self._doubtful)
            self._all_doubtful, self._doubtful = False, set()
        return doubts


class _InboxCallback(WatchCallback):
    """Only passes on: an exception here would end all hearing, and time spent here delays every other inbox."""

    def __init__(self, client: str, events: EventQueue, about: About) -> None:
        self._client = client
        self._events = events
        self._about = about
        self.is_dead = False  # the folder is gone; one made anew may well have the same inode

    def on_event(self, event: InotifyEvent) -> None:
        try:
            upload = self._about(event.name)
            if event.is_delete or event.is_moved_from:
                self._events.forget(self._client, event.name)
            elif upload:
                self._events.add(self._client, upload, closed=event.is_close_write and upload == event.name)
            elif event.is_directory:  # the inbox itself, or a folder in it, which is no inbox: a sweep will tell
                self._events.doubt(self._client)
        except Exception:  # noqa: BLE001 - see the class
            self._events.doubt(self._client)

    def on_watch_deleted(self, _wd: WatchDescriptor) -> None:
        self.is_dead = True
        self._events.doubt(self._client)

    def on_queue_overflow(self) -> None:
        """Leave it to the canary's, which speaks for all."""


class _CanaryCallback(WatchCallback):
    """Hears the canary, and of events that the kernel had no room for."""

    def __init__(self, heard: threading.Event, events: EventQueue) -> None:
        self._heard = heard
        self._events = events
        self.is_dead = False

    def on_event(self, event: InotifyEvent) -> None:
        if event.is_close_write:
            self._heard.set()

    def on_watch_deleted(self, _wd: WatchDescriptor) -> None:
        self.is_dead = True  # the canary will not be heard

    def on_queue_overflow(self) -> None:
        log.warning("watch.overflowed")
        self._events.doubt()


class _Canary:
    """A file that is opened for writing and closed, to hear of it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.heard = threading.Event()
        self.next_at = -math.inf  # when to send it, or when to have heard of it
        self._sent = False

    def reset(self, now: float) -> None:
        """Begin anew, with another observer to prove."""
        self._sent, self.next_at = False, now + CANARY_INTERVAL_S

    def condemn(self) -> None:
        """Let the next check fail: the observer is known to be broken."""
        self._sent, self.next_at = True, -math.inf
        self.heard.clear()

    def is_missed(self, now: float) -> bool:
        """Send it, or return whether it was not heard of; to be called at `next_at`."""
        if self._sent:
            self._sent, self.next_at = False, now + CANARY_INTERVAL_S - CANARY_PATIENCE_S
            return not self.heard.is_set()
        self.heard.clear()
        self._sent, self.next_at = self._touch(), now + CANARY_PATIENCE_S
        return False

    def _touch(self) -> bool:
        """Return False when the disk refuses: then nothing is proved either way."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            os.close(os.open(os.path.join(self.folder, "canary"), flags, 0o600))
        except OSError:
            return False
        return True


class _Followed:
    """One inbox: where it is, which folder was there, and the watch on it, if there is one."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.identity: FolderIdentity | None = None
        self.watch: _Listening | None = None
        self.refused = False

    @property
    def is_heard(self) -> bool:
        return self.watch is not None and not self.watch.callback.is_dead


class _Listening(msgspec.Struct, frozen=True):
    """A watch of the kernel's, and whom it calls."""

    wd: WatchDescriptor
    callback: _InboxCallback | _CanaryCallback


class Watch:
    """
    Hears what happens in the inboxes. Every failure costs hearing only: it is logged, made good by sweeps, and mended.

    One thread uses it; the library's reader only adds hints.
    """

    def __init__(self, events: EventQueue, about: About, canary_folder: str) -> None:
        self._events = events
        self._about = about
        self._canary = _Canary(canary_folder)
        self._inboxes: dict[str, _Followed] = {}
        self._reader: InotifyFD | None = None
        self.restarts = 0

    def start(self, now: float) -> None:
        """Begin to hear; inboxes are added by `follow`."""
        os.makedirs(self._canary.folder, mode=0o700, exist_ok=True)
        self._build(now)

    def close(self) -> None:
        """End the reader."""
        self._abandon()

    def is_watching(self, client: str) -> bool:
        """Return whether events of this inbox are heard; else it is only swept."""
        inbox = self._inboxes.get(client)
        return inbox is not None and inbox.is_heard

    @property
    def next_at(self) -> float:
        """Return when `tend` is to be called next."""
        return self._canary.next_at

    def tend(self, now: float) -> None:
        """Prove that events arrive, and rebuild the watching when they do not; look for inboxes that were replaced."""
        if now < self._canary.next_at:
            return
        if self._canary.is_missed(now) or self._reader is None:
            log.error("watch.lost", reason="no events arrive")
            self.restarts += 1
            self._build(now)
            self._events.doubt()
            if self._reader is not None:
                log.info("watch.restored")
        for client, inbox in self._inboxes.items():
            if _folder_identity(inbox.path) != inbox.identity:
                self._events.doubt(client)

    def follow(self, client: str, path: str, identity: FolderIdentity | None) -> None:
        """
        Watch the folder that is now the inbox of a client; `identity` None: there is no usable one.

        To be called with every sweep, before the folder is listed.
        """
        inbox = self._inboxes.get(client)
        if inbox is None or inbox.path != path:
            self.forget(client)
            inbox = self._inboxes[client] = _Followed(path)
        if inbox.identity == identity and (inbox.is_heard or identity is None):
            return
        self._drop(inbox)
        inbox.identity = identity
        self._watch(client, inbox)

    def forget(self, client: str) -> None:
        """Hear no more of the inbox that is followed for a client."""
        inbox = self._inboxes.pop(client, None)
        if inbox is not None:
            self._drop(inbox)

    def _build(self, now: float) -> None:
        """Replace the reader and all watches."""
        self._abandon()
        self._canary.reset(now)
        try:
            self._reader = InotifyFD()
            self._reader.start()
            self._listen(self._canary.folder, _CanaryCallback(self._canary.heard, self._events))
        except (OSError, RuntimeError) as error:  # out of inotify instances, watches or threads
            log.warning("watch.refused", reason=str(error))
            self._abandon()
        for client, inbox in self._inboxes.items():
            self._watch(client, inbox)

    def _abandon(self) -> None:
        for inbox in self._inboxes.values():
            inbox.watch = None
        reader, self._reader = self._reader, None
        if reader is not None:
            # One that has died makes the library raise what it likes while it stops.
            with contextlib.suppress(Exception):
                reader.stop()
            with contextlib.suppress(RuntimeError):
                reader.join(CANARY_PATIENCE_S)

    def _watch(self, client: str, inbox: _Followed) -> None:
        if self._reader is None or inbox.identity is None:
            return
        try:
            inbox.watch = self._listen(inbox.path, _InboxCallback(client, self._events, self._about))
        except OSError as error:
            if not inbox.refused:
                log.warning("watch.refused", client=client, reason=str(error))
            inbox.refused = True
        else:
            inbox.refused = False

    def _listen(self, path: str, callback: _InboxCallback | _CanaryCallback) -> _Listening:
        """Watch a folder, not what is below it: churn in sub-folders can end the library's reader. Raises OSError."""
        if self._reader is None:
            raise AssertionError
        wd = self._reader.add_callback(os.fsencode(path), _HEARD, callback, CallbackId(id(callback)))
        listening = _Listening(wd, callback)
        if wd < 0:  # what the library makes of a folder that we may not read (7.1.0)
            self._unlisten(listening)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return listening

    def _unlisten(self, listening: _Listening) -> None:
        if self._reader is not None:
            self._reader.remove_callbacks([(listening.wd, CallbackId(id(listening.callback)))])

    def _drop(self, inbox: _Followed) -> None:
        watch, inbox.watch = inbox.watch, None
        if watch is not None:
            try:
                self._unlisten(watch)
            except Exception:  # noqa: BLE001 - as in _abandon
                self._canary.condemn()


def _folder_identity(path: str) -> FolderIdentity | None:
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino
