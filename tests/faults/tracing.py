"""System calls of one `rosterd sweep` that are counted, killed or refused, by strace."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.faults.ground import Ground
from tests.faults.nursery import Nursery
from tests.lab import wait_until

# All that leave a trace on disk or on the network, by the kernel's names.
CALLS = (
    *("openat", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "sendto"),
    *("rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "fchmod", "fchown", "fchownat"),
)

PATIENCE_S = 120.0


@dataclasses.dataclass(frozen=True)
class Point:
    """The `number`th `call` of a thread. strace counts each thread by itself; the main one comes first to a number."""

    call: str
    number: int


def points(nursery: Nursery, ground: Ground, *command: str) -> list[Point]:
    """Run a sweep, or another command; return all its calls in their order, and what only its other threads do."""
    trace = ground.folder / "trace"
    pid = nursery.start(*(command or ("sweep",)), "--config", ground.config, log=ground.log)
    with _traced(pid, "-o", trace, "-e", f"trace={','.join(CALLS)}"):
        assert nursery.wait(pid) == 0, ground.log.read_text()
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    found: dict[Point, None] = {}
    for thread, call in re.findall(r"^(\d+) +(\w+)\(", trace.read_text(), re.MULTILINE):
        counts[thread, call] += 1
        found[Point(call, counts[thread, call])] = None
    trace.unlink()
    return list(found)


def sweep(nursery: Nursery, ground: Ground) -> int:
    """Run a sweep that nobody disturbs; return its exit status."""
    return nursery.run("sweep", "--config", ground.config, log=ground.log)


def sweep_killed_at(nursery: Nursery, ground: Ground, point: Point) -> int:
    """Run a sweep that is killed before that call; return its exit status, 0 when it never came there."""
    return killed_at(nursery, point, "sweep", "--config", ground.config, log=ground.log)


def killed_at(nursery: Nursery, point: Point, *arguments: str | Path, log: Path) -> int:
    """Run a command that is killed before that call; return its exit status, 0 when it never came there."""
    return _traced_to_its_end(nursery, f"{point.call}:signal=KILL:when={point.number}", arguments, log)


@dataclasses.dataclass(frozen=True)
class Commands:
    """Runs commands on one configuration; what the last of them wrote lies in the file `told`."""

    nursery: Nursery
    config: Path
    told: Path

    def run(self, *command: str) -> tuple[int, str]:
        """Run a command to its end; return its exit status and all that it wrote."""
        self.told.unlink(missing_ok=True)
        status = self.nursery.run(*command, "--config", self.config, log=self.told)
        return status, self.told.read_text()

    def killed_at(self, point: Point, *command: str) -> bool:
        """Run a command that is killed before that call; return whether it came there."""
        return killed_at(self.nursery, point, *command, "--config", self.config, log=self.told) != 0


def sweep_refused_at(nursery: Nursery, ground: Ground, point: Point, error: str, *, for_good: bool) -> tuple[int, bool]:
    """Run a sweep in which that call fails, once or from then on; return its exit status, and if it came there."""
    when = f"{point.number}{'+' if for_good else ''}"
    inject = f"{point.call}:error={error}:when={when}"
    trace = ground.folder / "trace"
    status = _traced_to_its_end(nursery, inject, ("sweep", "--config", ground.config), ground.log, "-o", trace)
    came_there = "(INJECTED)" in trace.read_text()
    trace.unlink()
    return status, came_there


def sweep_that_cannot_read(nursery: Nursery, ground: Ground, path: Path) -> int:
    """Run a sweep that meets a bad sector wherever it reads this file; return its exit status."""
    arguments = ("sweep", "--config", ground.config)
    return _traced_to_its_end(nursery, "read,pread64:error=EIO", arguments, ground.log, "-P", path)


def _traced_to_its_end(
    nursery: Nursery, inject: str, arguments: Sequence[str | Path], log: Path, *options: str | Path
) -> int:
    pid = nursery.start(*arguments, log=log)
    # Should it hang, its stacks go to its log.
    alarm = threading.Timer(PATIENCE_S, os.kill, (pid, signal.SIGABRT))
    trace = f"trace={inject.partition(':')[0]}"
    with _traced(pid, "-o", os.devnull, *options, "-e", trace, "-e", f"inject={inject}"):
        alarm.start()
        status = nursery.wait(pid)
    alarm.cancel()
    alarm.join()
    return status


@contextlib.contextmanager
def _traced(pid: int, *options: str | Path) -> Iterator[None]:
    """Let strace follow a stopped process, and let that go on; at the end both are gone."""
    strace = subprocess.Popen(["strace", "-f", "-qq", *options, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: _tracer(pid) or strace.poll() is not None, "strace")
        os.kill(pid, signal.SIGCONT)
        yield
    finally:
        _, complaint = strace.communicate(timeout=60)
        assert strace.returncode <= 0, complaint


def _tracer(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("TracerPid:")[2].split()[0])
