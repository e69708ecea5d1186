"""
Set-up of logging: structlog and the libraries' stdlib logging, one line per event on standard output.

A log call renders its line and puts it on a bounded queue; one thread writes. A stalled reader, a full disk or a
closed terminal therefore costs lines, which are counted and reported, and never stops the service. No other module
configures logging. For the journal each line begins with its level as in sd-daemon(3), "<3>".
"""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import logging
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

import structlog
from structlog.typing import EventDict, ExcInfo, WrappedLogger

from importer.model import printable
from importer.store.errors import StoreError
from watcher.settings import LogSettings

_STDOUT_FD: Final = 1
_QUEUE_LINES: Final = 10_000  # a few MB: how far a reader can fall behind before lines are dropped
_MOST_NOTED: Final = 1000
_FLUSH_S: Final = 2.0  # how long the exit waits for a reader that may never read
_MAX_FRAMES: Final = 20
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # of syslog(3)
# Their messages name files, tables and system calls; those of other exceptions may quote a cell.
_EXPLAINED_ERRORS: Final = (OSError, StoreError)


@contextlib.contextmanager
def configured(settings: LogSettings) -> Iterator[None]:
    """
    Within the block, send events of at least `settings.level`, and the libraries' warnings, to standard output.

    The same goes for what Python itself would write to standard error: dead threads, warnings, errors in finalizers.
    """
    writer = _Writer(_STDOUT_FD, _renderer(settings))
    # What is told to others must not depend on how much is written.
    taken = settings.level if settings.level == "debug" else "info"
    bridge = _Bridge(level=logging.WARNING)
    thread_hook, ignored_hook = threading.excepthook, sys.unraisablehook
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            writer.noted.take_in,
            functools.partial(_drop_below, settings.level),
            _describe_exception,
            writer.render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(taken),
        logger_factory=writer,
        cache_logger_on_first_use=False,
    )
    logging.getLogger().addHandler(bridge)
    logging.captureWarnings(capture=True)
    threading.excepthook, sys.unraisablehook = _log_dead_thread, _log_ignored
    writer.start()
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = thread_hook, ignored_hook
        logging.captureWarnings(capture=False)
        logging.getLogger().removeHandler(bridge)
        writer.close()
        structlog.reset_defaults()


def dropped_lines() -> int:
    """Return how many lines were dropped since logging was configured."""
    writer = structlog.get_config()["logger_factory"]
    return writer.dropped_lines if isinstance(writer, _Writer) else 0


def note_events(names: Collection[str]) -> None:
    """Keep the events with these names, from now on, for `noted_events`."""
    writer = structlog.get_config()["logger_factory"]
    if isinstance(writer, _Writer):
        writer.noted.names = frozenset(names)


def noted_events() -> list[EventDict]:
    """Return the events that were logged since the last call and that `note_events` asks for, oldest first."""
    writer = structlog.get_config()["logger_factory"]
    return writer.noted.take_out() if isinstance(writer, _Writer) else []


class _Noted:
    """Events to be told to others, from all threads; of very many the oldest are lost."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self._events: collections.deque[EventDict] = collections.deque(maxlen=_MOST_NOTED)

    def take_in(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Keep a copy of an event that is asked for; what is repeated at level debug is no news."""
        if event["event"] in self.names and event["level"] != "debug":
            self._events.append(dict(event))
        return event

    def take_out(self) -> list[EventDict]:
        """Return what was kept."""
        return [self._events.popleft() for _ in range(len(self._events))]


class _Writer:
    """The thread that writes lines, and the bounded queue in front of it. It makes the loggers that write to it."""

    def __init__(self, fd: int, render: Callable[[EventDict], str]) -> None:
        self._fd = fd
        self._render = render
        self._lines: queue.Queue[str | None] = queue.Queue(_QUEUE_LINES)
        self.noted = _Noted()
        self.dropped_lines = 0
        self._told_lines = 0
        self._counting = threading.Lock()
        # A daemon thread: a reader that never reads must not keep the process from ending.
        self._thread = threading.Thread(target=self._write_all, name="log-writer", daemon=True)

    def __call__(self, *_: object) -> _LineLogger:
        return _LineLogger(self.put)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Write what is queued, for at most `_FLUSH_S`."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_FLUSH_S)
        self._thread.join(_FLUSH_S)

    def put(self, line: str) -> None:
        """Queue one line; drop and count it when the queue is full. Never blocks, never raises."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._count_dropped()

    def render(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """Return an event as the line to write: the last processor of the chain."""
        return self._render(event)

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._report_dropped()
                _write_fully(self._fd, line)
            except OSError:
                self._count_dropped()

    def _report_dropped(self) -> None:
        if count := self.dropped_lines - self._told_lines:
            stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")
            event = stamp(None, "", {"event": "log.dropped", "level": "error", "lines": count})
            _write_fully(self._fd, self._render(event))
            self._told_lines += count

    def _count_dropped(self) -> None:
        with self._counting:
            self.dropped_lines += 1


class _LineLogger:
    """The end of structlog's chain: every level goes to the same queue."""

    def __init__(self, put: Callable[[str], None]) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = put


class _Bridge(logging.Handler):
    """Turns records of libraries into our events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; a record whose arguments do not fit its format is logged without them."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        log = structlog.get_logger()
        log.log(record.levelno, "library.logged", library=record.name, message=message, exc_info=record.exc_info)


def _log_dead_thread(args: threading.ExceptHookArgs) -> None:
    name = args.thread.name if args.thread else ""
    structlog.get_logger().critical("thread.died", thread=name, exc_info=args.exc_value)


def _log_ignored(args: sys.UnraisableHookArgs) -> None:
    where = getattr(args.object, "__qualname__", type(args.object).__name__)
    structlog.get_logger().error("exception.ignored", where=where, exc_info=args.exc_value)


def _write_fully(fd: int, line: str) -> None:
    rest = memoryview(line.encode("utf-8", "backslashreplace") + b"\n")
    while rest:
        rest = rest[os.write(fd, rest) :]


def _drop_below(level: str, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Return an event that is to be written. Raises DropEvent for another one."""
    if _PRIORITIES.get(event["level"], 0) > _PRIORITIES[level]:
        raise structlog.DropEvent
    return event


# Exceptions


def _describe_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by `exception`: types and locations, never local variables, messages only if harmless."""
    error = _current(event.pop("exc_info", None))
    if error is not None:
        event["exception"] = [_described(link) for link in _chain(error)]
    return event


def _current(exc_info: ExcInfo | BaseException | bool | None) -> BaseException | None:  # noqa: FBT001 - structlog's own type
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1]
    return sys.exc_info()[1] if exc_info else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, what caused it, what caused that."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _described(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    described: dict[str, Any] = {
        "type": type(error).__name__,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
    if isinstance(error, _EXPLAINED_ERRORS):
        described["message"] = str(error)
    return described


# Lines


def _renderer(settings: LogSettings) -> Callable[[EventDict], str]:
    form = settings.format
    if form == "auto":
        form = "console" if os.isatty(_STDOUT_FD) else "json"
    if form == "console":
        return _as_text
    return _as_journaled_json if _is_journal(_STDOUT_FD) else _as_json


def _is_journal(fd: int) -> bool:
    """Return whether what is written goes to the journal. Source: systemd.exec(5), $JOURNAL_STREAM."""
    with contextlib.suppress(OSError):  # closed
        info = os.fstat(fd)
        return os.environ.get("JOURNAL_STREAM") == f"{info.st_dev}:{info.st_ino}"
    return False


def _as_journaled_json(event: EventDict) -> str:
    """Return an event as the journal takes it: it keeps the level as the PRIORITY and the object as the MESSAGE."""
    priority = _PRIORITIES.get(event["level"], _PRIORITIES["info"])
    return f"<{priority}>{_as_json(event)}"


def _as_json(event: EventDict) -> str:
    """Return an event as one ASCII line: nothing in a name can break the line or drive a terminal."""
    ordered = {"at": event.pop("at"), "level": event.pop("level"), "event": event.pop("event"), **event}
    return json.dumps(ordered, default=repr)


def _as_text(event: EventDict) -> str:
    """Return an event as a line for people, an exception below it."""
    at, level, name = event.pop("at"), event.pop("level"), event.pop("event")
    below = "".join(_exception_as_text(error) for error in event.pop("exception", ()))
    pairs = " ".join(f"{key}={_value_as_text(value)}" for key, value in event.items())
    return f"{at[11:19]} {level:<8} {name:<18} {pairs}".rstrip() + below


def _exception_as_text(error: dict[str, Any]) -> str:
    frames = "".join(f"\n    {frame}" for frame in error["frames"])
    return f"\n  {error['type']}: {printable(error.get('message', '').encode('utf-8', 'backslashreplace'))}{frames}"


def _value_as_text(value: object) -> str:
    text = printable(str(value).encode("utf-8", "backslashreplace"))
    return json.dumps(text, ensure_ascii=False) if " " in text or not text else text
