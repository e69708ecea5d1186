"""A file system that can lose power: what was not synced is gone, as far as the kernel goes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import subprocess
from pathlib import Path
from typing import Self

from tests.faults import tracing
from tests.faults.checker import violations
from tests.faults.ground import Ground, Kind
from tests.faults.nursery import Nursery
from tests.faults.tracing import Point
from tests.faults.trials import Run, Trials

# EXT4_IOC_SHUTDOWN is _IOR('X', 125, __u32); NOLOGFLUSH leaves what the journal holds in memory there.
_SHUTDOWN = 0x8004587D
_NOLOGFLUSH = struct.pack("I", 2)
_SIZE_BYTES = 512 << 20  # sparse; below 100 MiB or so of free space nothing is taken in


class Disk:
    """An ext4 of its own below `folder`, on a loop device, as a context manager. Needs root. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "disk.img"
        self.folder = folder / "disk"

    def __enter__(self) -> Self:
        self.folder.mkdir()
        self._image.touch()
        os.truncate(self._image, _SIZE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,nodiscard", self._image], check=True)
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", self.folder], check=True, capture_output=True)

    def _mount(self) -> None:
        done = subprocess.run(
            ["mount", "-o", "loop", self._image, self.folder], check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise OSError(done.stderr)

    def cut_power(self) -> None:
        """Lose all that was not synced; the power is back when this returns."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, _NOLOGFLUSH)
        finally:
            os.close(descriptor)
        subprocess.run(["umount", self.folder], check=True)
        # A copy, because a mount namespace made meanwhile can keep the dead file system, and mount would find it again.
        fresh = self._image.with_suffix(".fresh")
        subprocess.run(["cp", "--sparse=always", self._image, fresh], check=True)
        fresh.replace(self._image)
        self._mount()

    def sync(self) -> None:
        """Make all that was written so far durable."""
        subprocess.run(["sync", "-f", self.folder], check=True)


def power_cut_at(trials: Trials, nursery: Nursery, disk: Disk, start: Ground, point: Point) -> list[str]:
    """
    Cut the power before a system call of a sweep, on a copy of `start`; return what is wrong then and later.

    The files of `start` are durable; one more upload is not, as sshd leaves it.
    """
    subprocess.run(["rm", "-rf", disk.folder / "ground"], check=True)
    ground = start.copy(disk.folder / "ground")
    ground.log = disk.folder.with_name("log")
    ground.log.unlink(missing_ok=True)
    disk.sync()
    ground.upload("volatile.csv", Kind.PARTLY, sync=False)
    tracing.sweep_killed_at(nursery, ground, point)
    disk.cut_power()
    told = acknowledged(ground)
    found = [f"at once: {failure}" for failure in violations(ground, finished=False, acknowledged=told)]
    found += trials.recovered(Run(nursery=nursery, ground=ground))
    found += violations(ground, finished=True, acknowledged=told)
    return [f"{point}: {failure}" for failure in found]


def acknowledged(ground: Ground) -> set[str]:
    """Return the claims whose import the log tells of."""
    lines = ground.log.read_text().splitlines() if ground.log.exists() else []
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return {entry["claim_id"] for entry in entries if entry["event"] in ("file.imported", "file.refused")}
