"""Runs rosterd as an operator does, and reads what came of it from its database and its log."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from time import perf_counter
from typing import Final

import msgspec

from bench.generate import write_file
from bench.measure import Measured, measure

_ROOT: Final = Path(__file__).resolve().parent.parent
_CONFIG: Final = """
[service]
state_dir = "state"
[intake]
quiet_s = 0.01
[file]
max_file_bytes = 4294967296
max_rows = 20000000
[guard]
identity = "off"
attribute = "off"
created = "off"
[[client]]
name = "bench"
inbox = "inbox"
failed_import_email = ["bench@example.org"]
"""
_SNAPSHOTS: Final = """
[[client.feed]]
name = "all"
files = "*"
mode = "snapshot"
misses = 2
"""
_SMALL_ROWS: Final = 100


class Counts(msgspec.Struct, frozen=True):
    """How the rows of one import ended."""

    created: int
    updated: int
    unchanged: int
    failed: int
    repeated: int


class SmallFiles(msgspec.Struct, frozen=True):
    """How many files of 100 rows go through."""

    p50_ms: float  # claimed to archived
    p99_ms: float
    files_per_s: float


class Product:
    """One installation in a folder of its own; `is_snapshot`: each file states all users."""

    def __init__(self, folder: Path, *, is_snapshot: bool) -> None:
        self._folder = folder
        self._inbox = folder / "inbox"
        self._inbox.mkdir(parents=True)
        (folder / "config.toml").write_text(_CONFIG + _SNAPSHOTS * is_snapshot)

    def take(self, file: Path) -> tuple[Measured, Counts]:
        """Upload a file and import it by a sweep; return what the whole process took, and how the rows ended."""
        shutil.copyfile(file, self._inbox / "users.csv")
        log = self._folder / "log"
        measured = measure(command(self._folder, "sweep"), log, **environment())
        [(claimed_at, archived_at)] = _spans(log.read_bytes())
        work_s = (archived_at - claimed_at).total_seconds()
        return msgspec.structs.replace(measured, work_s=work_s), self._last_counts()

    def take_small_files(self, files: int) -> SmallFiles:
        """Upload files of 100 users each and import them by one sweep; the log tells how long each took."""
        for number in range(files):
            write_file(self._inbox / f"users{number}.csv", _SMALL_ROWS, first=number * _SMALL_ROWS)
        log = subprocess.run(
            command(self._folder, "sweep"), env=_environment_of_all(), capture_output=True, check=True
        ).stdout
        spans = _spans(log)
        percentiles = statistics.quantiles((1000 * (end - start).total_seconds() for start, end in spans), n=100)
        whole_s = (max(end for _, end in spans) - min(start for start, _ in spans)).total_seconds()
        return SmallFiles(percentiles[49], percentiles[98], len(spans) / whole_s)

    def start(self) -> float:
        """Start the daemon, stop it again; return the seconds until it was ready."""
        began = perf_counter()
        with subprocess.Popen(
            command(self._folder, "run"), env=_environment_of_all(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as daemon:
            assert daemon.stdout is not None  # noqa: S101 - asked for just above
            for line in daemon.stdout:
                if b'"daemon.started"' in line:
                    break
            took_s = perf_counter() - began
            daemon.send_signal(signal.SIGTERM)
        return took_s

    def _last_counts(self) -> Counts:
        with contextlib.closing(sqlite3.connect(self._folder / "state" / "rosterd.db")) as conn:
            names = ", ".join(Counts.__struct_fields__)
            row = conn.execute(f"SELECT {names} FROM imports ORDER BY id DESC LIMIT 1").fetchone()  # noqa: S608
        return Counts(*row)


def command(folder: Path, name: str) -> list[str]:
    """Return a command of rosterd for the installation in a folder."""
    return [sys.executable, "-m", "operate.cli", name, "--config", str(folder / "config.toml")]


def environment() -> dict[str, str]:
    """Return what has such a command find this checkout."""
    return {"PYTHONPATH": str(_ROOT)}


def _environment_of_all() -> dict[str, str]:
    return {**os.environ, **environment()}


def _spans(log: bytes) -> list[tuple[datetime, datetime]]:
    """Return when each file was claimed and archived."""
    events = [msgspec.json.decode(line, type=dict[str, object]) for line in log.splitlines()]
    claimed_at, archived_at = (
        {event["claim_id"]: datetime.fromisoformat(str(event["at"])) for event in events if event["event"] == name}
        for name in ("file.claimed", "file.archived")
    )
    return [(claimed_at[claim], at) for claim, at in archived_at.items()]


@contextlib.contextmanager
def installed(folder: Path, *, is_snapshot: bool = False) -> Iterator[Product]:
    """Make an installation, and remove it afterwards."""
    try:
        yield Product(folder, is_snapshot=is_snapshot)
    finally:
        shutil.rmtree(folder)
