"""Runs a command and measures all of it: time, processor time and memory of the process and its children; on what."""

from __future__ import annotations

import contextlib
import os
import platform
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Final

import msgspec

_PAGE_MIB: Final = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
_SAMPLE_S: Final = 0.02
_IDLE_LOAD: Final = 0.5


class Measured(msgspec.Struct, frozen=True):
    """
    What one run took.

    `work_s` is the part of `wall_s` that a running service takes, from claimed to archived; `peak_mib` the largest sum
    of the resident memory of all its processes at one time.
    """

    wall_s: float
    work_s: float
    cpu_s: float
    peak_mib: float


def machine() -> str:
    """Return what the figures are measured on, and how busy it is beside that: without it they tell little."""
    models = (line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    model = next(models, platform.machine()).rpartition(":")[2].strip()
    usable, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, Linux {platform.release()}"
    state = "idle" if load < _IDLE_LOAD else "busy: take ratios of processor time"
    return f"{usable} of {os.cpu_count()} processors, {model}; {versions}; load {load:.1f}, {state}"


def measure(command: list[str], output: Path = Path(os.devnull), **environment: str) -> Measured:
    """
    Run a command to its end, with its standard output in a file.

    Its standard error is thrown away: the sqlite3 shell writes a line there for each of the rows that break a unique
    index, which is one or two in a hundred. Raises CalledProcessError for an exit code above 1, the shell's after such.
    """
    os.sync()  # what the run before left to be written is not this one's
    began = perf_counter()
    with output.open("wb") as stdout:
        process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL, env={**os.environ, **environment})
        with _watched(process.pid) as peak:
            _, status, used = os.wait4(process.pid, 0)
            wall_s = perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise subprocess.CalledProcessError(process.returncode, command)
    return Measured(wall_s, wall_s, used.ru_utime + used.ru_stime, max(peak))


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """Sample the memory of a process and its children meanwhile."""
    samples, ended = [0.0], threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_S):
            samples[0] = max(samples[0], sum(_resident_mib(each) for each in _family(pid)))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def _family(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *(member for child in children for member in _family(int(child)))]
    return []


def _resident_mib(pid: int) -> float:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MIB
    return 0.0
