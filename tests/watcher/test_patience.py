"""Signs of life while the main thread waits for a disk."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults.disk import Disk
from tests.lab import wait_until
from tests.lab.daemon import Rosterd
from watcher import notify
from watcher.health import patience
from watcher.health.patience import LONGEST_S, Patience, waits_for_disk

FILE = "unique_id,login_source,first_name,last_name,email\n1,OPSCOM,Ann,Lee,ann@school.example\n"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield the socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)  # a third of what the unit allows
        yield listener


def test_a_commit_that_takes_long_gets_signs_of_life(tmp_path: Path, manager: socket.socket, needs: Needs) -> None:
    """While the disk of the database stands still the manager hears of it, and then the file is imported."""
    needs("mkfs.ext4", "losetup", "fsfreeze", "/dev/loop-control", root=True)
    (tmp_path / "acme").mkdir()
    with Disk(tmp_path) as disk:
        settings = {"service": {"state_dir": str(tmp_path / "state"), "database": str(disk.folder / "rosterd.db")}}
        environment = {"NOTIFY_SOCKET": manager.getsockname()}
        with Rosterd(tmp_path, {"acme": tmp_path / "acme"}, settings=settings, environment=environment) as rosterd:
            rosterd.start()
            subprocess.run(["fsfreeze", "-f", disk.folder], check=True)
            try:
                rosterd.drop("users.csv", FILE)
                wait_until(lambda: stands_still(rosterd.pid), "the main thread to wait for the frozen disk")
                while manager_has_more(manager):  # what was said before
                    manager.recv(100)
                assert [b"WATCHDOG=1"] * 3 == [manager.recv(100) for _ in range(3)]
                assert waits_for_disk(rosterd.pid)
            finally:
                subprocess.run(["fsfreeze", "-u", disk.folder], check=True)
            rosterd.wait_for_event("file.archived")


def stands_still(pid: int) -> bool:
    """Return whether a process waits for a disk for half a second: any sync waits for one, for a moment."""
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        if not waits_for_disk(pid):
            return False
    return True


@pytest.mark.parametrize(
    ("silent_s", "waits", "is_told"),
    [(30.0, True, True), (30.0, False, False), (0.0, True, False), (LONGEST_S, True, False)],
    ids=["slow disk", "hang", "at work", "dead disk"],
)
def test_what_is_no_slow_disk_gets_none(
    tmp_path: Path,
    manager: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    *,
    silent_s: float,
    waits: bool,
    is_told: bool,
) -> None:
    """There is a sign only for a wait for the disk, of less than ten minutes, while the main thread gives none."""
    looked: list[int] = []

    def note_look() -> float:
        looked.append(1)
        return silent_s

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setattr(notify, "silent_s", note_look)
    monkeypatch.setattr(patience, "waits_for_disk", lambda _: waits)
    watching = Patience(0.01)
    try:
        wait_until(lambda: len(looked) > 3, "some looks")
    finally:
        watching.close()
    assert is_told == manager_has_more(manager)


def manager_has_more(manager: socket.socket) -> bool:
    """Return whether anything was said that the manager has not read."""
    return bool(select.select([manager], [], [], 0)[0])


def test_a_process_that_sleeps_does_not_wait_for_a_disk() -> None:
    """A wait for time, a pipe or a lock, and work, are none for a disk, whatever the program is called."""
    assert not waits_for_disk(os.getpid())
    with subprocess.Popen(["sleep", "60"]) as child:
        wait_until(lambda: Path(f"/proc/{child.pid}/wchan").read_text() != "0", "it to sleep")
        assert not waits_for_disk(child.pid)
        child.kill()
