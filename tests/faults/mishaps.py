"""What can happen to one process from within: killed at a step of a thread, or a clock that is wrong."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any, Self

from importer import pipeline
from watcher import chores, single_pass
from watcher.health import alerts
from watcher.inbox import layout, processing
from watcher.inbox.work import claims

# The steps that leave a trace, and those just before one, as Python makes them. SQLite's are between them.
_STEPS = ("mkdir", "open", "fsync", "rename", "unlink", "rmdir", "chown", "close", "listdir")


def kill_at(number: int) -> None:
    """Kill this process just before its step of that number."""
    _count_steps(number, lambda: True)


def kill_sender_at(number: int) -> None:
    """
    Kill this process just before the step of that number of the thread that delivers mail.

    strace cannot: it counts the calls of each thread by itself, and the main thread comes first to every number.
    """
    _count_steps(number, lambda: threading.current_thread().name == "sender")


def _count_steps(number: int, counts: Callable[[], bool]) -> None:
    steps = 0

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def wrapper(*arguments: Any, **more: Any) -> Any:  # noqa: ANN401 - any call
            nonlocal steps
            steps += counts()
            if steps == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*arguments, **more)

        return wrapper

    for name in _STEPS:
        setattr(os, name, counted(getattr(os, name)))
    layout.move = counted(layout.move)


def shift_clock(seconds: float) -> None:
    """Let the wall clock of this process be wrong by so much; the monotonic one is not touched."""
    shift = timedelta(seconds=seconds)
    time_ns = time.time_ns

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + shift

    time.time_ns = lambda: time_ns() + int(seconds * 1e9)
    for module in (alerts, chores, pipeline, processing, claims, single_pass):
        module.datetime = Shifted  # type: ignore[attr-defined]
