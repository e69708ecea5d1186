"""
Watching the inboxes: events are queued as hints, and a sweep is requested when events may have been lost.

The only user of watchdog, and of its reader alone: one thread and one inotify instance for all inboxes,
each with a watch and a callback. The library's Observer has a thread for each folder instead (1,003 for 1,000 inboxes),
and delays what follows a move by 0.5 s, that is, what follows each claim.

A reader dies silently, and a watch stays on a folder that was renamed, replaced or unmounted (7.1.0). So
neither is trusted: a canary file proves every CANARY_INTERVAL_S that events still arrive, and each inbox is
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
MAX_QUEUED_NAMES: Final = 50_000  # names; above this a sweep is cheaper

# Created, because a rename by SFTP is link and unlink on the server and shows as nothing else. With modified and the
# rest, a burst of 10,000 files overflows the kernel's queue; with these it does not (measured on tmpfs).
_EVENTS: Final = Mask(
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

UploadOf = Callable[[bytes], bytes | None]  # the upload that a name is, or is the sidecar of; None: neither
FolderIdentity = tuple[int, int]  # device, inode


@dataclass(frozen=True, slots=True)
class InboxEvent:
    """Something happened to a name; `closed`: a writer has closed it; `broken_off`: its connection ended before."""

    client: str
    name: bytes
    closed: bool
    broken_off: bool | None = None  # None: unknown
    at: float = field(default_factory=time.monotonic, compare=False)  # of the last event


class EventQueue:
    """
    The events since they were last taken. Bounded: one for each name, and too many become one sweep.

    Any thread may add; `wake` may be called from a signal handler. The one who waits for another queue is woken there:
    `wakes`.
    """

    def __init__(self, wakes: EventQueue | None = None) -> None:
        self._lock = threading.Lock()
        self._names: dict[tuple[str, bytes], InboxEvent] = {}
        self._clients_to_sweep: set[str] = set()
        self._sweep_all = False
        self._wake: queue.SimpleQueue[None] = wakes._wake if wakes else queue.SimpleQueue()  # noqa: SLF001 - our own class

    def add(self, client: str, name: bytes, *, closed: bool, broken_off: bool | None = None) -> None:
        """Add an event."""
        with self._lock:
            key = (client, name)
            if len(self._names) >= MAX_QUEUED_NAMES and key not in self._names:
                self._clients_to_sweep.add(client)
            else:
                known = self._names.get(key)
                if known is not None:
                    closed = closed or known.closed
                    broken_off = known.broken_off if broken_off is None else broken_off
                self._names[key] = InboxEvent(client, name, closed, broken_off)
        self.wake()

    def forget(self, client: str, name: bytes) -> None:
        """Discard the event of a name that is gone: no import is preempted for it."""
        with self._lock:
            self._names.pop((client, name), None)

    def request_sweep(self, client: str | None = None) -> None:
        """Request a sweep of one inbox, or of all: events may be missing."""
        with self._lock:
            if client is None:
                self._sweep_all = True
            else:
                self._clients_to_sweep.add(client)
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
        """Take the names, in the order of their first events."""
        with self._lock:
            names, self._names = self._names, {}
        return list(names.values())

    def quiet_since(self, without: Collection[str]) -> float:
        """Return the time of the last event of the name that is quiet longest, without these clients; or infinity."""
        with self._lock:
            return min((event.at for event in self._names.values() if event.client not in without), default=math.inf)

    def take_sweep_requests(self) -> tuple[bool, set[str]]:
        """Take the requests for sweeps: whether to sweep all, and which inboxes."""
        with self._lock:
            requests = (self._sweep_all, self._clients_to_sweep)
            self._sweep_all, self._clients_to_sweep = False, set()
        return requests


class _InboxCallback(WatchCallback):
    """Only queues: an exception here would end all watching, and time spent here delays every other inbox."""

    def __init__(self, client: str, events: EventQueue, upload_of: UploadOf) -> None:
        self._client = client
        self._events = events
        self._upload_of = upload_of
        self.is_dead = False  # the folder is gone; a new one may have the same inode

    def on_event(self, event: InotifyEvent) -> None:
        try:
            upload = self._upload_of(event.name)
            if event.is_delete or event.is_moved_from:
                self._events.forget(self._client, event.name)
            elif upload:
                self._events.add(self._client, upload, closed=event.is_close_write and upload == event.name)
            elif event.is_directory:  # the inbox itself, or a folder in it: a sweep finds out
                self._events.request_sweep(self._client)
        except Exception:  # noqa: BLE001 - see the class
            self._events.request_sweep(self._client)

    def on_watch_deleted(self, _wd: WatchDescriptor) -> None:
        self.is_dead = True
        self._events.request_sweep(self._client)

    def on_queue_overflow(self) -> None:
        """Leave it to the callback of the canary: an overflow concerns all."""


class _CanaryCallback(WatchCallback):
    """Receives the events of the canary, and overflows of the kernel's queue."""

    def __init__(self, arrived: threading.Event, events: EventQueue) -> None:
        self._arrived = arrived
        self._events = events
        self.is_dead = False

    def on_event(self, event: InotifyEvent) -> None:
        if event.is_close_write:
            self._arrived.set()

    def on_watch_deleted(self, _wd: WatchDescriptor) -> None:
        self.is_dead = True  # the canary fails

    def on_queue_overflow(self) -> None:
        log.warning("watch.overflowed")
        self._events.request_sweep()


class _Canary:
    """A file that is opened for writing and closed, to see whether the event arrives."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.arrived = threading.Event()
        self.next_at = -math.inf  # when to write it, or when its event is overdue
        self._sent = False

    def reset(self, now: float) -> None:
        """Start again, with a new observer to test."""
        self._sent, self.next_at = False, now + CANARY_INTERVAL_S

    def expect_failure(self) -> None:
        """Let the next check fail: the observer is known to be broken."""
        self._sent, self.next_at = True, -math.inf
        self.arrived.clear()

    def is_missed(self, now: float) -> bool:
        """Write it, or return whether its event did not arrive; to be called at `next_at`."""
        if self._sent:
            self._sent, self.next_at = False, now + CANARY_INTERVAL_S - CANARY_PATIENCE_S
            return not self.arrived.is_set()
        self.arrived.clear()
        self._sent, self.next_at = self._touch(), now + CANARY_PATIENCE_S
        return False

    def _touch(self) -> bool:
        """Return False when the disk refuses: then the test proves nothing."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            os.close(os.open(os.path.join(self.folder, "canary"), flags, 0o600))
        except OSError:
            return False
        return True


class _Followed:
    """One folder: its path, what was there, the watch on it, if there is one, and where its events go."""

    def __init__(self, path: str, events: EventQueue, upload_of: UploadOf) -> None:
        self.path = path
        self.events = events
        self.upload_of = upload_of
        self.identity: FolderIdentity | None = None
        self.watch: _Listening | None = None
        self.refused = False

    @property
    def is_watched(self) -> bool:
        return self.watch is not None and not self.watch.callback.is_dead


class _Listening(msgspec.Struct, frozen=True):
    """A watch of the kernel, and its callback."""

    wd: WatchDescriptor
    callback: _InboxCallback | _CanaryCallback


class Watch:
    """
    Receives the events of the inboxes. A failure costs only events: it is logged, and watching is restarted.

    Sweeps make up for lost events. One thread uses it; the library's reader only adds events.
    """

    def __init__(self, events: EventQueue, upload_of: UploadOf, canary_folder: str) -> None:
        self._events = events
        self._upload_of = upload_of
        self._canary = _Canary(canary_folder)
        self._inboxes: dict[str, _Followed] = {}
        self._reader: InotifyFD | None = None
        self.restarts = 0

    def start(self, now: float) -> None:
        """Start the reader; inboxes are added by `follow`."""
        os.makedirs(self._canary.folder, mode=0o700, exist_ok=True)
        self._build(now)

    def close(self) -> None:
        """Stop the reader."""
        self._abandon()

    def is_watching(self, client: str) -> bool:
        """Return whether events of this inbox arrive; else it is only swept."""
        inbox = self._inboxes.get(client)
        return inbox is not None and inbox.is_watched

    @property
    def next_at(self) -> float:
        """Return when `tend` is to be called next."""
        return self._canary.next_at

    def tend(self, now: float) -> None:
        """Test whether events arrive, and restart watching if not; look for inboxes that were replaced."""
        if now < self._canary.next_at:
            return
        if self._canary.is_missed(now) or self._reader is None:
            log.error("watch.lost", reason="no events arrive")
            self.restarts += 1
            self._build(now)
            self._events.request_sweep()
            if self._reader is not None:
                log.info("watch.restored")
        for client, inbox in self._inboxes.items():
            if _folder_identity(inbox.path) != inbox.identity:
                inbox.events.request_sweep(client)

    def follow(self, client: str, path: str, identity: FolderIdentity | None, events: EventQueue | None = None) -> None:
        """
        Watch the folder that is now the inbox of a client; `identity` is None if it cannot be used.

        Call it with every sweep, before the folder is listed. Another folder of a client has another name in place of
        that of the client, and a queue of its own, to which events of all names in it go.
        """
        inbox = self._inboxes.get(client)
        if inbox is None or inbox.path != path:
            self.forget(client)
            upload_of = (lambda name: name) if events else self._upload_of
            inbox = self._inboxes[client] = _Followed(path, events or self._events, upload_of)
        if inbox.identity == identity and (inbox.is_watched or identity is None):
            return
        self._drop(inbox)
        inbox.identity = identity
        self._watch(client, inbox)

    def forget(self, client: str) -> None:
        """Stop watching the inbox of a client."""
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
            self._listen(self._canary.folder, _CanaryCallback(self._canary.arrived, self._events))
        except (OSError, RuntimeError) as error:  # no inotify instances, watches or threads left
            log.warning("watch.refused", reason=str(error))
            self._abandon()
        for client, inbox in self._inboxes.items():
            self._watch(client, inbox)

    def _abandon(self) -> None:
        for inbox in self._inboxes.values():
            inbox.watch = None
        reader, self._reader = self._reader, None
        if reader is not None:
            # Stopping one that has died makes the library raise all kinds of exceptions.
            with contextlib.suppress(Exception):
                reader.stop()
            with contextlib.suppress(RuntimeError):
                reader.join(CANARY_PATIENCE_S)

    def _watch(self, client: str, inbox: _Followed) -> None:
        if self._reader is None or inbox.identity is None:
            return
        try:
            inbox.watch = self._listen(inbox.path, _InboxCallback(client, inbox.events, inbox.upload_of))
        except OSError as error:
            if not inbox.refused:
                log.warning("watch.refused", client=client, reason=str(error))
            inbox.refused = True
        else:
            inbox.refused = False

    def _listen(self, path: str, callback: _InboxCallback | _CanaryCallback) -> _Listening:
        """Watch a folder, not what is below it: changes in sub-folders can end the library's reader. Raises OSError."""
        if self._reader is None:
            raise AssertionError
        wd = self._reader.add_callback(os.fsencode(path), _EVENTS, callback, CallbackId(id(callback)))
        listening = _Listening(wd, callback)
        if wd < 0:  # what the library raises for an unreadable folder (7.1.0)
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
                self._canary.expect_failure()


def _folder_identity(path: str) -> FolderIdentity | None:
    try:
        info = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return info.st_dev, info.st_ino
