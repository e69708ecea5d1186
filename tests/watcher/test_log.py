"""Logging: what a line looks like, that it tells no secrets, and that nobody who reads it can hold up the service."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import structlog

from importer.store.errors import StoreBusy, StoreError
from tests.lab import wait_until
from watcher import log
from watcher.settings import LogSettings

SECRET = "Tremblay-4711"

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Lines:
    """Return a function that reads what was written to standard output since the last call."""
    return lambda: [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def caught(error: Exception) -> None:
    """Log an exception from where it is handled, with a value in a local variable."""
    value = SECRET
    try:
        raise error
    except (ValueError, OSError):
        structlog.get_logger().exception("file.failed", length=len(value))


def test_a_line_is_one_json_object(lines: Lines) -> None:
    """In service mode an event is one object: time in UTC, level and name first, then what is bound and given."""
    with log.configured(LogSettings()), structlog.contextvars.bound_contextvars(client="acme"):
        structlog.get_logger().info("file.imported", rows=3)
    [line] = lines()
    assert ["at", "level", "event"] == list(line)[:3]
    assert line.pop("at").endswith("Z")
    assert {"level": "info", "event": "file.imported", "rows": 3, "client": "acme"} == line


@pytest.mark.parametrize("level", ["debug", "info", "error"])
def test_events_are_kept_for_others_whatever_is_written(level: Literal["debug", "info", "error"]) -> None:
    """What is to be told to others does not depend on the level that is written; a repetition at debug is no news."""
    with log.configured(LogSettings(level=level)), structlog.contextvars.bound_contextvars(client="acme"):
        log.note_events(["inbox.restored", "inbox.unusable"])
        structlog.get_logger().info("inbox.restored")
        structlog.get_logger().debug("inbox.unusable")
        structlog.get_logger().info("file.claimed")
        [event] = log.noted_events()
        assert [] == log.noted_events()
        log.note_events([])
        structlog.get_logger().info("inbox.restored")
        assert [] == log.noted_events()
    assert ("inbox.restored", "acme") == (event["event"], event["client"])


def test_levels_below_the_configured_one_are_left_out(lines: Lines) -> None:
    """Only events of the configured level and graver ones are written."""
    with log.configured(LogSettings(level="warning")):
        structlog.get_logger().info("file.imported")
        structlog.get_logger().warning("file.refused")
    assert ["file.refused"] == [line["event"] for line in lines()]


def test_no_name_can_break_a_line(capfd: pytest.CaptureFixture[str]) -> None:
    """Line ends, terminal controls, odd Unicode and undecodable bytes of a name are escaped into ASCII."""
    name = "a\nb\x1b[31m\u2028\u202e\udcff.csv"
    with log.configured(LogSettings()):
        structlog.get_logger().info("file.claimed", file=name, raw=b"\xff")
    [line] = capfd.readouterr().out.splitlines()
    assert line.isascii()
    assert name == json.loads(line)["file"]


def test_a_terminal_gets_readable_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """Lines for people carry time, level, event and pairs, and a name cannot drive the terminal."""
    with log.configured(LogSettings(format="console")):
        structlog.get_logger().info("file.claimed", file="é \x1b[31m\n.csv", size_bytes=3, code="")
    [line] = capfd.readouterr().out.splitlines()
    assert "info     file.claimed " in line
    assert line.endswith(r'file="é \\x1b[31m\\n.csv" size_bytes=3 code=""')


def test_a_terminal_gets_exceptions_below_the_line(capfd: pytest.CaptureFixture[str]) -> None:
    """For people an exception is its type, a harmless message and its places, a line each."""
    with log.configured(LogSettings(format="console")):
        caught(FileNotFoundError(2, "No such file", "x.csv"))
    first, second, *places = capfd.readouterr().out.splitlines()
    assert first.endswith("length=13")
    assert second == "  FileNotFoundError: [Errno 2] No such file: 'x.csv'"
    assert places[0].endswith(" caught")


def test_exceptions_tell_no_values(lines: Lines, capfd: pytest.CaptureFixture[str]) -> None:
    """An exception is logged with types and places, without local variables and without a message that may quote."""
    with log.configured(LogSettings()):
        caught(ValueError(f"invalid literal: {SECRET!r}"))
    [line] = lines()
    [error] = line["exception"]
    assert error["type"] == "ValueError"
    assert error["frames"][-1].endswith(" caught")
    assert SECRET not in json.dumps(line)
    assert SECRET not in capfd.readouterr().err


def test_causes_are_told(lines: Lines) -> None:
    """What an exception was raised from follows it, unless that was suppressed."""
    with log.configured(LogSettings()):
        try:
            try:
                raise StoreBusy("database is locked")
            except StoreError as error:
                raise RuntimeError from error
        except RuntimeError as error:
            structlog.get_logger().error("a.b", exc_info=error)
            structlog.get_logger().error("a.b", exc_info=(type(error), error, None))
    for line in lines():
        assert ["RuntimeError", "StoreBusy"] == [link["type"] for link in line["exception"]]
        assert line["exception"][1]["message"] == "database is locked"


def test_exc_info_outside_of_a_handler_is_no_exception(lines: Lines) -> None:
    """Asking for the current exception where there is none logs the event alone."""
    with log.configured(LogSettings()):
        structlog.get_logger().error("a.b", exc_info=True)
    assert "exception" not in lines()[0]


def test_libraries_are_heard(lines: Lines) -> None:
    """Warnings that libraries log become events, what is less grave does not."""
    with log.configured(LogSettings()):
        logging.getLogger("watchdog.x").warning("overflow of %d", 3)
        logging.getLogger("watchdog.x").info("nothing to see")
    assert ["overflow of 3"] == [line["message"] for line in lines()]


COMPLAINING = f"""
import threading, warnings
from watcher.settings import LogSettings
from watcher.log import configured

class Odd:
    def __del__(self):
        raise ValueError("{SECRET}")

def die():
    raise ValueError("{SECRET}")

with configured(LogSettings()):
    thread = threading.Thread(target=die, name="odd")
    thread.start()
    thread.join()
    Odd()
    warnings.warn("deprecated")
"""


def test_python_itself_is_heard() -> None:
    """Warnings and errors that Python would write to standard error are events, and quote nothing."""
    ended = subprocess.run([sys.executable, "-c", COMPLAINING], capture_output=True, text=True, check=True)
    out = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ["thread.died", "exception.ignored", "library.logged"] == [line["event"] for line in out]
    assert "Odd.__del__" == out[1]["where"]
    assert "deprecated" in out[2]["message"]
    assert SECRET not in ended.stdout
    assert "" == ended.stderr


def test_a_library_that_logs_wrongly_is_heard_too(lines: Lines) -> None:
    """A record whose arguments do not fit its format is told without them."""
    record = logging.LogRecord("watchdog.x", logging.WARNING, __file__, 1, "overflow of %d", ("many",), None)
    with log.configured(LogSettings()):
        log._Bridge().emit(record)
    assert ["overflow of %d"] == [line["message"] for line in lines()]


def test_a_dying_thread_is_told(lines: Lines) -> None:
    """An exception that ends a thread is an event of its own, without its message."""

    def fail() -> None:
        raise ValueError(SECRET)

    with log.configured(LogSettings()):
        thread = threading.Thread(target=fail, name="sender")
        thread.start()
        thread.join()
    [line] = lines()
    assert ("critical", "thread.died", "sender") == (line["level"], line["event"], line["thread"])
    assert SECRET not in json.dumps(line)


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Put a pipe in the place of standard output; yield its reading and its writing end."""
    reading, writing = os.pipe()
    monkeypatch.setattr(log, "_STDOUT_FD", writing)
    yield reading, writing
    for fd in (reading, writing):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_a_stalled_reader_costs_lines_and_not_the_service(
    stdout: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a reader that does not read, calls return at once; what was dropped is counted once it reads again."""
    monkeypatch.setattr(log, "_QUEUE_LINES", 100)
    received = b""
    with log.configured(LogSettings()):
        started_at = time.monotonic()
        for number in range(1000):
            structlog.get_logger().info("file.claimed", number=number, padding="x" * 1000)
        assert time.monotonic() - started_at < 60

        def dropped() -> int:
            nonlocal received
            received += os.read(stdout[0], 1 << 20)
            structlog.get_logger().info("file.claimed")
            told = [json.loads(line) for line in received.splitlines(keepends=True) if line.endswith(b"\n")]
            return sum(line["lines"] for line in told if line["event"] == "log.dropped")

        assert log.dropped_lines() >= 1000 - 100 - 70  # a pipe holds 64 KiB
        wait_until(lambda: dropped() >= log.dropped_lines() > 0, "the dropped lines to be told")
        os.close(stdout[0])  # lets the writer go


def test_nothing_is_dropped_where_nothing_is_logged() -> None:
    """Lines are counted while logging is configured."""
    assert 0 == log.dropped_lines()


def test_a_reader_that_never_reads_does_not_hold_the_end(
    stdout: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logging ends within its time, whatever is still unwritten."""
    monkeypatch.setattr(log, "_FLUSH_S", 0.1)
    started_at = time.monotonic()
    with log.configured(LogSettings()):
        structlog.get_logger().info("file.claimed", padding="x" * (1 << 20))
    assert time.monotonic() - started_at < 60
    os.close(stdout[0])  # lets the writer go


def test_a_closed_reader_does_not_kill(stdout: tuple[int, int]) -> None:
    """A pipe nobody reads any more and a full disk are survived."""
    os.close(stdout[0])
    with log.configured(LogSettings()):
        structlog.get_logger().info("file.claimed")
        structlog.get_logger().info("file.claimed")
