"""A database that is locked, torn or gone, many starts at once, and a standard output that takes nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import REPOSITORY
from tests.faults import harnesses, tracing
from tests.faults.checker import violations
from tests.faults.ground import Ground, Kind
from tests.faults.nursery import Nursery
from tests.faults.trials import FULL
from tests.lab import wait_until

pytestmark = pytest.mark.faults

STARTS = 100 if FULL else 20
LOCKED_S = 150.0 if FULL else 12.0  # SQLite itself waits 5 s for each client
EXIT_UNUSABLE_DATABASE = 65


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with Nursery() as running:
        yield running


@pytest.fixture
def ground(tmp_path: Path, nursery: Nursery) -> Ground:
    """Return an installation that has imported a file, with another waiting."""
    ground = Ground(tmp_path / "ground")
    ground.upload("first.csv")
    assert tracing.sweep(nursery, ground) == 0
    ground.upload("second.csv", Kind.GOOD)
    return ground


def test_locked_database_is_waited_for(ground: Ground, nursery: Nursery) -> None:
    """While another program holds the database nothing is lost and nothing half done; afterwards all goes on."""
    with contextlib.closing(sqlite3.connect(ground.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert tracing.sweep(nursery, ground) != 0
        other.execute("ROLLBACK")
    assert violations(ground, finished=False) == []

    assert tracing.sweep(nursery, ground) == 0

    assert violations(ground, finished=True) == []


def test_database_locked_for_minutes(tmp_path: Path, nursery: Nursery) -> None:
    """A running daemon whose database another program holds tells it once, and goes on by itself afterwards."""
    ground = Ground(tmp_path / "ground", clients=("acme", "beta"))
    for client in ground.clients:
        ground.upload("first.csv", Kind.PARTLY, client=client)
    assert harnesses.locked_out(nursery, ground, LOCKED_S) == []


@contextlib.contextmanager
def start_locked_out(ground: Ground, nursery: Nursery) -> Iterator[int]:
    """Start a daemon while somebody has the database alone; yield its pid once it has told so."""
    with contextlib.closing(sqlite3.connect(ground.database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        pid = nursery.start("run", "--config", ground.config, log=ground.log)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: harnesses.alerts(ground), "the alert")
        yield pid


def test_daemon_waits_for_a_database_at_its_start(ground: Ground, nursery: Nursery) -> None:
    """A daemon that finds its database locked when it starts tells so once, and works as soon as it can."""
    with start_locked_out(ground, nursery) as pid:
        pass
    wait_until(lambda: harnesses.is_idle(pid, ground), "the import")
    os.kill(pid, signal.SIGTERM)
    assert nursery.wait(pid) == 0
    assert [alert["event"] for alert in harnesses.alerts(ground)] == ["store.refused"]
    assert violations(ground, finished=True) == []


def test_daemon_that_waits_for_its_database_can_be_stopped(ground: Ground, nursery: Nursery) -> None:
    """A daemon that was told to stop waits no longer, and ends as any that was."""
    with start_locked_out(ground, nursery) as pid:
        os.kill(pid, signal.SIGTERM)
        assert nursery.wait(pid) == 0
    assert ground.waiting() == ["second.csv"]


def garble_header(database: Path) -> None:
    with database.open("r+b") as file:
        file.write(b"not a database at all")


def tear_pages(database: Path) -> None:
    """Write over all but the first page, as when half of a write reached the disk."""
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (database.stat().st_size - 4096))


def cut_short(database: Path) -> None:
    os.truncate(database, 4096 + 100)


@pytest.mark.parametrize("damage", [garble_header, tear_pages, cut_short])
def test_damaged_database_is_left_alone(damage: Callable[[Path], None], ground: Ground, nursery: Nursery) -> None:
    """A damaged database ends the run with its own status; it and the inbox stay as they are."""
    damage(ground.database)
    damaged = ground.database.read_bytes()

    assert tracing.sweep(nursery, ground) == EXIT_UNUSABLE_DATABASE

    assert ground.waiting() == ["second.csv"]
    assert ground.database.read_bytes() == damaged
    assert '"event": "daemon.failed"' in ground.log.read_text()


def test_lost_write_ahead_log_is_told_of(ground: Ground, nursery: Nursery) -> None:
    """When somebody removed the log with the last commits, the next run goes on, and `verify` tells what is missing."""
    command = ("sweep", "--config", ground.config)
    assert nursery.run(*command, log=ground.log) == 0
    pid = nursery.start("run", "--config", ground.config, log=ground.log)
    os.kill(pid, signal.SIGCONT)
    ground.upload("third.csv")
    wait_until(lambda: ground.log.read_text().count('"file.archived"') == 3, "the import")
    os.kill(pid, signal.SIGKILL)
    nursery.wait(pid)
    for ending in ("-wal", "-shm"):
        ground.database.with_name(f"rosterd.db{ending}").unlink()
    ground.upload("fourth.csv")

    assert tracing.sweep(nursery, ground) == 0

    assert nursery.run("verify", "--config", ground.config, log=ground.log) != 0
    assert [failure for failure in violations(ground, finished=True) if "is in .bak and not in the ledger" in failure]


def test_many_starts_at_once(ground: Ground, nursery: Nursery) -> None:
    """Of many runs that start at once each works alone, or is refused and says so by status and log."""
    assert harnesses.started_at_once(nursery, ground, STARTS) == []


@pytest.mark.parametrize("output", ["/dev/full", "closed", "nobody reads"])
def test_output_that_takes_nothing(output: str, ground: Ground) -> None:
    """A run whose log has nowhere to go does its work all the same."""
    command = [sys.executable, "-m", "operate.cli", "sweep", "--config", str(ground.config)]
    reading, writing = os.pipe()
    try:
        if output == "closed":
            command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]
        elif output == "nobody reads":
            os.set_blocking(writing, False)
            with contextlib.suppress(BlockingIOError):
                while os.write(writing, b"x" * 65536):
                    pass
            os.set_blocking(writing, True)
        with open("/dev/full", "wb") as full:
            stdout = full.fileno() if output == "/dev/full" else writing
            done = subprocess.run(command, stdout=stdout, stderr=stdout, cwd=REPOSITORY, check=False, timeout=180)
    finally:
        os.close(reading)
        os.close(writing)

    assert done.returncode == 0
    assert violations(ground, finished=True) == []
