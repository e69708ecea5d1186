"""A disk that is full, out of inodes or read-only, under the running daemon: told once, nothing half done, resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Needs
from tests.faults.checker import violations
from tests.faults.ground import Ground, Kind
from tests.faults.harnesses import still
from tests.faults.nursery import Nursery
from tests.faults.trials import let_mail_be_due
from tests.lab import wait_until

pytestmark = pytest.mark.faults

SIZE_MIB = 200  # twice and more of the space below which nothing is taken in
INODES = 400
RESUMED_S = 120.0  # the pauses between tries double from 1 s


@dataclasses.dataclass(frozen=True)
class Trouble:
    """How to bring a disk into trouble, and out of it; with the state directory on it, or the inbox alone."""

    begin: Callable[[Path], None]
    end: Callable[[Path], None]
    inbox_alone: bool = False


def fill(disk: Path) -> None:
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(1 << 20)):
            pass


def empty(disk: Path) -> None:
    (disk / "filler").unlink()


def use_up_inodes(disk: Path) -> None:
    (disk / "fillers").mkdir()
    with contextlib.suppress(OSError):
        for number in range(INODES):
            (disk / "fillers" / str(number)).touch()


def free_inodes(disk: Path) -> None:
    subprocess.run(["rm", "-r", disk / "fillers"], check=True)


def forbid_writing(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


def allow_writing(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


TROUBLES = {
    "full": Trouble(fill, empty),
    "out of inodes": Trouble(use_up_inodes, free_inodes),
    "read-only": Trouble(forbid_writing, allow_writing, inbox_alone=True),
}


@pytest.fixture
def disk(tmp_path: Path, needs: Needs) -> Iterator[Path]:
    needs(root=True)
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={SIZE_MIB}m,nr_inodes={INODES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def events(ground: Ground, *names: str) -> list[dict[str, str]]:
    entries = [json.loads(line) for line in ground.log.read_text().splitlines() if line.startswith("{")]
    return [entry for entry in entries if entry["event"] in names]


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=list(TROUBLES))
def test_disk_in_trouble(trouble: Trouble, disk: Path, tmp_path: Path) -> None:
    """Trouble with the disk is told once, however often it is met; when it is over all goes on by itself."""
    (disk / "inbox").mkdir()
    ground = Ground(
        tmp_path / "ground" if trouble.inbox_alone else disk / "ground",
        inboxes={"acme": disk / "inbox"},
    )
    ground.log = tmp_path / "log"
    with Nursery() as nursery:
        pid = nursery.start("run", "--config", ground.config, log=ground.log)
        os.kill(pid, signal.SIGCONT)
        try:
            wait_until(lambda: ground.log.exists() and events(ground, "daemon.started"), "the start")
            ground.upload("before.csv")
            wait_until(lambda: events(ground, "file.archived"), "the first import")
            os.kill(pid, signal.SIGSTOP)
            ground.upload("users.csv", Kind.PARTLY)
            trouble.begin(disk)
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: alerts(ground), "the alert")
            with still(pid):
                assert violations(ground, finished=False) == []

            trouble.end(disk)

            wait_until(lambda: len(events(ground, "file.archived")) == 2, "the second import", patience_s=RESUMED_S)
            causes = [(alert["event"], alert["reason"]) for alert in alerts(ground)]
            assert sorted(set(causes)) == sorted(causes)
        finally:
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGTERM)
            assert nursery.wait(pid) == 0
        let_mail_be_due(ground)
        nursery.run("sweep", "--config", ground.config, log=ground.log)

    assert violations(ground, finished=True) == []


def alerts(ground: Ground) -> list[dict[str, str]]:
    return [entry for entry in events(ground, "file.deferred", "inbox.unusable") if entry["level"] == "error"]
