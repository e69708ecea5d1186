"""
The command line, run many times a second: processes are forked from one that has loaded everything.

A trial costs 0.15 s in place of 0.7 s, and its first system call is the first of `rosterd`, not of Python's start.
`Nursery` is used by the tests; the module run as a program is the parent of the processes.
"""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from tests import REPOSITORY


class Nursery:
    """
    A context manager; `broken` is the mistake of `broken.py` that all its processes make.

    Processes are started stopped, so that a tracer can be attached before their first system call.
    """

    def __init__(self, broken: str = "") -> None:
        self._broken = broken
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.faults.nursery", *([self._broken] if self._broken else [])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def start(self, *arguments: str | Path, log: Path, **mishaps: float) -> int:
        """
        Return the pid of a new, stopped process that writes to the end of `log`.

        `mishaps` are functions of `mishaps.py` and their argument.
        """
        return self._ask({"arguments": [str(each) for each in arguments], "log": str(log), "mishaps": mishaps})

    def wait(self, pid: int) -> int:
        """Wait for the end of a process; return its exit status, or the negative number of what killed it."""
        return self._ask({"wait": pid})

    def run(self, *arguments: str | Path, log: Path, **mishaps: float) -> int:
        """Run one process to its end; return its exit status as `wait` does."""
        pid = self.start(*arguments, log=log, **mishaps)
        os.kill(pid, signal.SIGCONT)
        return self.wait(pid)

    def _ask(self, order: dict[str, object]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())


def serve() -> None:
    """Do what the orders on standard input say until it ends."""
    for line in sys.stdin:
        order = json.loads(line)
        answer = _wait(order["wait"]) if "wait" in order else _fork(order)
        print(answer, flush=True)  # noqa: T201 - the answer to who asked


def _wait(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _fork(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _run(order)
    os.waitpid(pid, os.WUNTRACED)
    return pid


def _run(order: dict[str, Any]) -> None:
    """Be `rosterd`, to the end of this process."""
    code: str | int | None = 70
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for descriptor, number in ((null, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, number)
        os.closerange(3, 64)
        for name, argument in order["mishaps"].items():
            getattr(mishaps, name)(argument)
        os.kill(os.getpid(), signal.SIGSTOP)
        cli.main(order["arguments"])
    except SystemExit as end:
        code = end.code
    finally:
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else code is not None)


if __name__ == "__main__":
    from operate import cli
    from tests.faults import broken, mishaps

    faulthandler.enable()
    # What the command line loads when it runs; here it comes before the first fork.
    for name in (
        "watcher.start",
        "watcher.log",
        "watcher.config",
        "importer.dry_run",
        "operate.backup.command",
        "operate.backup.restore",
        "operate.person",
        "operate.verify",
        "operate.roster.decide",
        "operate.roster.undo",
    ):
        importlib.import_module(name)
    for mistake in sys.argv[1:]:
        broken.MISTAKES[mistake]()
    serve()
