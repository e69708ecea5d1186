"""
Watching the inboxes: events become hints, and whatever makes hearing doubtful becomes a hint to sweep.

The only user of watchdog. Its threads say nothing when they die, its queue overflows in silence, and a watch stays
with a folder that was renamed, replaced or unmounted (7.1.0). So nothing here is trusted: a canary file proves every
CANARY_INTERVAL_S that events still arrive, and each inbox is compared with the folder that is watched for it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import threading
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from watchdog.events import (
    DirDeletedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import ObservedWatch
from watchdog.observers.inotify import InotifyEmitter, InotifyObserver
from watchdog.observers.inotify_c import InotifyConstants, Mask

log = structlog.get_logger()

CANARY_INTERVAL_S: Final = 30.0
CANARY_PATIENCE_S: Final = 10.0
MAX_HINTS: Final = 50_000  # names; beyond them a sweep is cheaper

# Created, because a rename by SFTP is link and unlink on the server and shows as nothing else. Unfiltered, a burst of
# 10,000 files overflows the kernel's queue; with these it does not (measured on tmpfs).
_EVENTS: Final[list[type[FileSystemEvent]]] = [FileCreatedEvent, FileClosedEvent, DirDeletedEvent]
_OVERFLOW_LOGGER: Final = "watchdog.observers.inotify_c"

FolderIdentity = tuple[int, int]  # device, inode


class Hint(msgspec.Struct, frozen=True):
    """Something happened to a name; `closed`: a writer has closed it."""

    client: str
    name: bytes
    closed: bool


class Hints:
    """
    What was heard since it was last asked for. Bounded: a name counts once, and too many become one sweep.

    Any thread may add; `wake` may be called from a signal handler.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[tuple[str, bytes], bool] = {}
        self._doubtful: set[str] = set()
        self._all_doubtful = False
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()

    def add(self, client: str, name: bytes, *, closed: bool) -> None:
        """Note an event."""
        with self._lock:
            key = (client, name)
            if len(self._names) >= MAX_HINTS and key not in self._names:
                self._doubtful.add(client)
            else:
                self._names[key] = self._names.get(key, False) or closed
        self.wake()

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

    def take(self) -> list[Hint]:
        """Return and forget the names, in the order in which they were first heard of."""
        with self._lock:
            names, self._names = self._names, {}
        return [Hint(client, name, closed) for (client, name), closed in names.items()]

    def take_doubts(self) -> tuple[bool, set[str]]:
        """Return and forget whether to sweep all, and which inboxes to sweep."""
        with self._lock:
            doubts = (self._all_doubtful, self._doubtful)
            self._all_doubtful, self._doubtful = False, set()
        return doubts


class _Emitter(InotifyEmitter):
    """
    Asks for no moved-from events.

    watchdog keeps one back for 0.5 s, and everything behind it, to see whether its other half comes. Each claim is
    one: the next upload was heard of 500 ms late, without them 0.7 ms (medians of 12). Moved-to comes as created.
    """

    def get_event_mask_from_filter(self) -> Mask:
        return Mask(super().get_event_mask_from_filter() & ~InotifyConstants.IN_MOVED_FROM)


class _Observer(InotifyObserver):
    def __init__(self) -> None:
        super().__init__()
        self._emitter_class = _Emitter


class _InboxHandler(FileSystemEventHandler):
    """Only passes on: an exception here would end all hearing, and time spent here delays every other inbox."""

    def __init__(self, client: str, hints: Hints, accepts: Callable[[bytes], bool]) -> None:
        self._client = client
        self._hints = hints
        self._accepts = accepts

    def on_any_event(self, event: FileSystemEvent) -> None:
        try:
            if isinstance(event, DirDeletedEvent):
                self._hints.doubt(self._client)
                return
            name = os.path.basename(os.fsencode(event.src_path))
            if self._accepts(name):
                self._hints.add(self._client, name, closed=isinstance(event, FileClosedEvent))
        except Exception:  # noqa: BLE001 - see the class
            self._hints.doubt(self._client)


class _CanaryHandler(FileSystemEventHandler):
    def __init__(self, heard: threading.Event) -> None:
        self._heard = heard

    def on_closed(self, _event: FileSystemEvent) -> None:
        self._heard.set()


class _OverflowHandler(logging.Handler):
    """The library logs that the kernel's queue overflowed, and tells nobody else."""

    def __init__(self, hints: Hints) -> None:
        super().__init__(logging.WARNING)
        self._hints = hints

    def emit(self, _record: logging.LogRecord) -> None:
        self._hints.doubt()


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
        try:
            os.close(os.open(os.path.join(self.folder, "canary"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError:
            return False
        return True


class _Followed:
    """One inbox: where it is, which folder was there, and the watch on it, if there is one."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.identity: FolderIdentity | None = None
        self.watch: ObservedWatch | None = None
        self.refused = False


class Watch:
    """
    Hears what happens in the inboxes. Every failure costs hearing only: it is logged, made good by sweeps, and mended.

    One thread uses it; the library's own threads only add hints.
    """

    def __init__(self, hints: Hints, accepts: Callable[[bytes], bool], canary_folder: str) -> None:
        self._hints = hints
        self._accepts = accepts
        self._canary = _Canary(canary_folder)
        self._overflow = _OverflowHandler(hints)
        self._inboxes: dict[str, _Followed] = {}
        self._observer: _Observer | None = None
        self.restarts = 0

    def start(self, now: float) -> None:
        """Begin to hear; inboxes are added by `follow`."""
        logging.getLogger(_OVERFLOW_LOGGER).addHandler(self._overflow)
        os.makedirs(self._canary.folder, mode=0o700, exist_ok=True)
        self._build(now)

    def close(self) -> None:
        """End all threads."""
        logging.getLogger(_OVERFLOW_LOGGER).removeHandler(self._overflow)
        self._abandon()

    def hears(self, client: str) -> bool:
        """Return whether events of this inbox are heard; else it is only swept."""
        inbox = self._inboxes.get(client)
        return inbox is not None and inbox.watch is not None

    @property
    def next_at(self) -> float:
        """Return when `tend` is to be called next."""
        return self._canary.next_at

    def tend(self, now: float) -> None:
        """Prove that events arrive, and rebuild the watching when they do not; look for inboxes that were replaced."""
        if now < self._canary.next_at:
            return
        if self._canary.is_missed(now) or self._observer is None:
            log.error("watch.lost", reason="no events arrive")
            self.restarts += 1
            self._build(now)
            self._hints.doubt()
            if self._observer is not None:
                log.info("watch.restored")
        for client, inbox in self._inboxes.items():
            if _folder_identity(inbox.path) != inbox.identity:
                self._hints.doubt(client)

    def follow(self, client: str, path: str, identity: FolderIdentity | None) -> None:
        """
        Watch the folder that is now the inbox of a client; `identity` None: there is no usable one.

        To be called with every sweep, before the folder is listed.
        """
        inbox = self._inboxes.setdefault(client, _Followed(path))
        if inbox.identity == identity and (inbox.watch is not None or identity is None):
            return
        self._drop(inbox)
        inbox.identity = identity
        self._watch(client, inbox)

    def forget(self, client: str) -> None:
        """Hear no more of a client that is not served any longer."""
        inbox = self._inboxes.pop(client, None)
        if inbox is not None:
            self._drop(inbox)

    def _build(self, now: float) -> None:
        """Replace the observer and all its threads."""
        self._abandon()
        self._canary.reset(now)
        try:
            self._observer = _Observer()
            self._observer.start()
            self._schedule(self._canary.folder, _CanaryHandler(self._canary.heard))
        except (OSError, RuntimeError) as error:  # out of inotify instances, watches or threads
            log.warning("watch.refused", reason=str(error))
            self._abandon()
        for client, inbox in self._inboxes.items():
            self._watch(client, inbox)

    def _abandon(self) -> None:
        for inbox in self._inboxes.values():
            inbox.watch = None
        observer, self._observer = self._observer, None
        if observer is not None:
            # A reader thread that has died makes the library raise what it likes while it stops.
            with contextlib.suppress(Exception):
                observer.stop()
            with contextlib.suppress(RuntimeError):
                observer.join(CANARY_PATIENCE_S)

    def _watch(self, client: str, inbox: _Followed) -> None:
        if self._observer is None or inbox.identity is None:
            return
        try:
            inbox.watch = self._schedule(inbox.path, _InboxHandler(client, self._hints, self._accepts))
        except (OSError, RuntimeError) as error:
            if not inbox.refused:
                log.warning("watch.refused", client=client, reason=str(error))
            inbox.refused = True
        else:
            inbox.refused = False

    def _schedule(self, path: str, handler: FileSystemEventHandler) -> ObservedWatch:
        """Watch a folder, not what is below it: churn in sub-folders can end the library's reader thread."""
        if self._observer is None:
            raise AssertionError
        return self._observer.schedule(handler, path, event_filter=_EVENTS)

    def _drop(self, inbox: _Followed) -> None:
        watch, inbox.watch = inbox.watch, None
        if watch is not None and self._observer is not None:
            try:
                self._observer.unschedule(watch)
            except Exception:  # noqa: BLE001 - as in _abandon
                self._canary.condemn()


def _folder_identity(path: str) -> FolderIdentity | None:
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError:
        return None
    return found.st_dev, found.st_ino
