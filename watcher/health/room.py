"""Is there room on the disks for what an import may take? Known before it begins, so that none fails half-way."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from typing import Final

from importer import disk_space
from importer.fs import temporary_folder
from importer.model import Claim
from importer.store.database import Store
from watcher.settings import Config

# Of each disk so much is to be left when an import has taken all that it can (importer/disk_space.py).
FREE_BYTES: Final = 64 << 20


class Room:
    """Compares what an import may take with what the disks have free; asks `stopping` now and then meanwhile."""

    def __init__(self, store: Store, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._stopping = stopping

    def use(self, config: Config) -> None:
        """Work by this configuration from now on."""
        self._limits = config.file
        self._state_dir = config.service.state_dir
        self._inboxes = {client.name: client.inbox for client in config.clients}

    def check_claim(self, claim: Claim) -> None:
        """
        Raise OSError ENOSPC when the import of a claimed file may take more than a disk has free.

        The lines of the file are counted, 3 s for 1 GiB, only where as many as its size allows would be too many.
        """
        size_bytes, rows = claim.size_bytes, 0
        if size_bytes <= self._limits.max_file_bytes and not claim.refusal:
            rows = min(size_bytes // 2 + 1, self._limits.max_rows)  # a row has a character and the end of its line
            if self._shortage(claim.client, claim.folder_fd, self._need(claim.client, size_bytes, rows)):
                rows = disk_space.count_lines(claim, self._stopping)
        self.check(claim.client, claim.folder_fd, size_bytes, rows)

    def check(self, client: str, inbox_fd: int, size_bytes: int, rows: int = 0) -> None:
        """Raise OSError ENOSPC when a disk has less free than an import may take; 0 `rows`: they are not known yet."""
        needed = self._need(client, size_bytes, rows)
        if self._shortage(client, inbox_fd, needed):
            self._store.shrink_log()
            if shortage := self._shortage(client, inbox_fd, needed):
                raise OSError(errno.ENOSPC, shortage)

    def _need(self, client: str, size_bytes: int, rows: int) -> disk_space.Need:
        read_bytes = size_bytes if size_bytes <= self._limits.max_file_bytes else 0  # else it is refused unread
        return disk_space.need(read_bytes, rows, client=client, database_bytes=self._store.size_bytes)

    def _shortage(self, client: str, inbox_fd: int, needed: disk_space.Need) -> str:
        """Say which disk has too little free; "" when none. On one disk the needs of several folders add up."""
        temporary = temporary_folder()
        asked: Counter[int] = Counter()
        for name, folder, taken in (
            (self._inboxes[client], inbox_fd, needed.inbox),
            (self._state_dir, self._state_dir, needed.state),
            (temporary, temporary, needed.temporary),
        ):
            device, disk = os.stat(folder).st_dev, os.statvfs(folder)
            asked[device] += taken
            floor = FREE_BYTES + asked[device]
            if disk.f_bavail * disk.f_frsize < floor:
                return f"less than {floor >> 20} MiB are free in {name}"
        return ""
